//! A continuous load of calls with known results.

use crate::Result;
use crate::graph::{Graph, table};
use crate::remote::{Oracle, combine, grind, mix};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use unidist::SharedSlice;
use unidist::prelude::*;

/// The number of calls that are checked before the next ones are made.
const BATCH: usize = 200;
/// The number of actors.
const ORACLES: usize = 3;
const MIB: usize = 1 << 20;

/// A thread that makes calls until it is stopped.
pub(crate) struct Load {
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<Result<usize>>,
}

impl Load {
    pub(crate) fn begin(kind: &str) -> Result<Self> {
        let round: Box<dyn Fn(u64) -> Result<usize> + Send> = match kind {
            "tasks" => Box::new(tasks),
            "graph" => {
                let table = put_slice(&table())?;
                let oracles: Vec<_> = (0..ORACLES).map(|_| Oracle::remote(&table)).collect();
                Box::new(move |seed| graph(seed, &oracles))
            }
            other => return Err(format!("there is no load {other}").into()),
        };
        let is_over = Arc::new(AtomicBool::new(false));
        let over = is_over.clone();
        let thread = std::thread::Builder::new().name("load".into()).spawn(move || {
            let mut right = 0;
            for seed in 1.. {
                right += round(seed)?;
                if over.load(Ordering::SeqCst) {
                    break;
                }
            }
            Ok(right)
        });
        Ok(Load { is_over, thread: thread? })
    }

    /// Stops the load, and returns the number of calls, all of them correct.
    pub(crate) fn end(self) -> Result<String> {
        self.is_over.store(true, Ordering::SeqCst);
        let right = self.thread.join().map_err(|_| "the load has panicked")??;
        Ok(right.to_string())
    }
}

/// Independent calls with unlimited retries.
fn tasks(seed: u64) -> Result<usize> {
    let input = |at: usize| mix(seed ^ at as u64);
    let calls: Vec<_> = (0..BATCH)
        .map(|at| combine.options().max_retries(1000).remote(input(at), Vec::<u64>::new()))
        .collect();
    for (at, result) in get(&calls)?.into_iter().enumerate() {
        check(seed, at, result, grind(input(at)))?;
    }
    Ok(BATCH)
}

/// Calls of all kinds that depend on each other.
fn graph(seed: u64, oracles: &[ActorHandle<Oracle>]) -> Result<usize> {
    let graph = Graph::draw(BATCH, seed);
    let results = get(&graph.submit(oracles))?;
    for (at, (result, expected)) in results.into_iter().zip(graph.values()).enumerate() {
        check(seed, at, result, expected)?;
    }
    Ok(BATCH)
}

fn check(seed: u64, at: usize, result: u64, expected: u64) -> Result {
    match result == expected {
        true => Ok(()),
        false => Err(format!("seed {seed}, call {at}: {result} instead of {expected}").into()),
    }
}

/// An actor that makes and checks large objects on its own host.
struct Maker;

#[remote]
impl Maker {
    #[new]
    fn new() -> Self {
        Maker
    }

    fn host(&self) -> unidist::Result<String> {
        unidist::get_ip()
    }

    fn make(&self, len: usize) -> unidist::Result<SharedSlice<u64>> {
        SharedSlice::build(len, write)
    }

    fn check(&self, items: SharedSlice<u64>) -> bool {
        is_right(&items)
    }
}

fn write(items: &mut [u64]) {
    for (at, item) in items.iter_mut().enumerate() {
        *item = at as u64 ^ 0x5555;
    }
}

fn is_right(items: &[u64]) -> bool {
    items.iter().enumerate().all(|(at, item)| *item == at as u64 ^ 0x5555)
}

/// Sends an object of this size from each host to the program's and back.
pub(crate) fn large(mib: usize) -> Result<String> {
    let hosts = unidist::cluster_resources()?.len();
    let len = mib * MIB / size_of::<u64>();
    let mut makers = std::collections::BTreeMap::new();
    let mut others = Vec::new();
    while makers.len() < hosts {
        let maker = Maker::remote();
        let host = get(maker.host.remote())?;
        if let Some(other) = makers.insert(host, maker) {
            others.push(other); // kept alive, so that the next actor goes to another host
        }
    }
    let objects: Vec<_> = makers.values().map(|maker| maker.make.remote(len)).collect();
    for object in &objects {
        if !is_right(&get(object)?) {
            return Err("an object from another host arrived with wrong contents".into());
        }
    }
    let here = put_slice(&get(&objects[0])?)?;
    let checks: Vec<_> = makers.values().map(|maker| maker.check.remote(&here)).collect();
    match get(&checks)?.into_iter().all(|is_right| is_right) {
        true => Ok(format!("{hosts} hosts")),
        false => Err("an object arrived on another host with wrong contents".into()),
    }
}
