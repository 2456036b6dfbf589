//! The workers of each host.

use crate::Result;
use crate::remote::grind;
use std::collections::BTreeMap;
use std::os::unix::process::parent_id;
use unidist::prelude::*;

/// The number of rounds of tasks after which every host must have run one.
const ROUNDS: usize = 200;

/// The host, the parent process, which is the engine's process there, and the worker's process.
#[remote(max_retries = 100)]
fn whoami(x: u64) -> (String, u32, u32) {
    grind(x);
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    (name, parent_id(), std::process::id())
}

/// `HOST ENGINE WORKER`, for each host of the session.
pub(crate) fn find() -> Result<String> {
    let hosts = unidist::cluster_resources()?.len();
    let mut found = BTreeMap::new();
    for round in 0..ROUNDS {
        let tasks: Vec<_> = (0..16).map(|task| whoami.remote((round * 16 + task) as u64)).collect();
        found.extend(get(&tasks)?.into_iter().map(|(host, engine, worker)| (host, (engine, worker))));
        if found.len() == hosts {
            let words = found.into_iter().map(|(host, (engine, worker))| format!("{host} {engine} {worker}"));
            return Ok(words.collect::<Vec<_>>().join(" "));
        }
    }
    Err(format!("of {hosts} hosts, only these run tasks: {:?}", found.keys()).into())
}
