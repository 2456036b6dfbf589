//! A session on several hosts, over a network in memory. Each host is a thread with real worker processes.
#![allow(clippy::unwrap_used, reason = "a test")]

mod memory_network;
mod numbers;

use libtest_mimic::{Arguments, Failed, Trial};
use memory_network::{Cutter, MemoryNetwork, mesh};
use numbers::{
    BIG, COUNT_ONES, EXIT, FIB, HOST, NAP, PID, SUM, get, install, number, program, settings, submit,
};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use unidist_backend::Backend;
use unidist_backend::LaunchCommand;
use unidist_common::{
    Arg, DataId, Error, ErrorKind, FunctionKey, Result, Returns, Target, TaskOptions, TaskSpec,
};
use unidist_engine::controller::{ControllerSettings, HostSettings, OtherHosts, start_on_hosts};
use unidist_engine::monitor::serve;
use unidist_engine::network::{HostId, Network};
use unidist_engine::worker::serve_if_worker;

/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(50);

/// A session on this host and others, each with one CPU.
struct Session {
    controller: Arc<dyn Backend>,
    monitors: Vec<JoinHandle<Result<()>>>,
    cutters: Vec<Cutter>,
    /// Receives the network once the session has ended.
    ended: Receiver<Box<dyn Network>>,
}

/// The other hosts with their monitors; the first of them has the given build.
struct Others {
    settings: OtherHosts,
    monitors: Vec<JoinHandle<Result<()>>>,
    cutters: Vec<Cutter>,
    ended: Receiver<Box<dyn Network>>,
}

fn others(count: u32, build_id: &'static str) -> Others {
    let (ends, cutters) = mesh(count + 1);
    let mut ends = ends.into_iter();
    let network = ends.next().unwrap();
    let monitor = |(host, mut end): (u32, MemoryNetwork)| {
        let build_id = if host == 1 { build_id } else { "numbers" };
        std::thread::spawn(move || serve(&mut end, HostId::new(host), build_id))
    };
    let monitors = (1..).zip(ends).map(monitor).collect();
    let host = |host: u32| HostSettings {
        ip: format!("127.0.0.{}", 1 + host),
        name: format!("node{host}"),
        cpus: 1,
        resources: BTreeMap::from([(format!("host{host}"), 1.0)]),
        object_store_memory: None,
        launch: Some(LaunchCommand {
            envs: vec![("TEST_HOST".into(), host.to_string().into())],
            ..LaunchCommand::this_program()
        }),
    };
    let (sender, ended) = channel();
    let on_end = Box::new(move |network| drop(sender.send(network)));
    let hosts = (1..=count).map(host).collect();
    let settings = OtherHosts { on_end, ..OtherHosts::new(hosts, Box::new(network)) };
    Others { settings, monitors, cutters, ended }
}

fn here() -> ControllerSettings {
    ControllerSettings { cpus: 1, resources: BTreeMap::from([("host0".into(), 1.0)]), ..settings() }
}

fn session(count: u32) -> Session {
    let Others { settings, monitors, cutters, ended } = others(count, "numbers");
    let controller = start_on_hosts(here(), settings, program()).unwrap();
    Session { controller, monitors, cutters, ended }
}

impl Session {
    /// Shuts the session down.
    fn end(self) {
        let Session { controller, monitors, ended, .. } = self;
        controller.shutdown().unwrap();
        ended.recv_timeout(LONG).unwrap();
        for monitor in monitors {
            monitor.join().unwrap().unwrap();
        }
    }

    /// Submits a call that runs on this host.
    fn submit_at(&self, host: u32, function: FunctionKey, args: &[u64]) -> DataId {
        let args = args.iter().map(|value| Arg::Value(value.to_le_bytes().to_vec().into())).collect();
        self.submit_spec(host, function, args, vec![])
    }

    /// The number of ones in these objects, counted on this host.
    fn count_at(&self, host: u32, objects: &[DataId]) -> u64 {
        let args = objects.iter().map(|id| Arg::Ref(*id)).collect();
        let count = self.submit_spec(host, COUNT_ONES, args, objects.to_vec());
        number(&get(&*self.controller, count).unwrap().header)
    }

    fn submit_spec(&self, host: u32, function: FunctionKey, args: Vec<Arg>, needs: Vec<DataId>) -> DataId {
        let first = self.controller.reserve(1);
        let options = TaskOptions { resources: vec![(format!("host{host}"), 1.0)], ..TaskOptions::default() };
        self.controller.submit(TaskSpec {
            function,
            body: None,
            name: "number".into(),
            target: Target::Pool,
            asynchronous: false,
            args,
            dependencies: needs,
            borrowed: vec![],
            returns: Returns { first, count: 1 },
            options: Arc::new(options),
        });
        first
    }
}

fn session_on_three_hosts_starts_works_and_ends() {
    let session = session(2);
    let cluster = session.controller.cluster().unwrap();
    assert_eq!(cluster.local_ip, "127.0.0.1");
    let addresses: Vec<_> = cluster.hosts.keys().map(String::as_str).collect();
    assert_eq!(addresses, ["127.0.0.1", "127.0.0.2", "127.0.0.3"]);
    assert!(cluster.hosts.values().all(|host| host["CPU"] == 1.0));
    let ids: Vec<_> = (0..1000).map(|n| submit(&*session.controller, SUM, &[n, 1])).collect();
    for (n, outcome) in session.controller.get(&ids).unwrap().into_iter().enumerate() {
        assert_eq!(number(&outcome.unwrap().header), n as u64 + 1);
    }
    ids.into_iter().for_each(|id| session.controller.release(id));
    assert_eq!(
        number(&get(&*session.controller, submit(&*session.controller, FIB, &[12])).unwrap().header),
        144
    );
    assert_eq!(session.controller.live_objects().unwrap(), 0);
    session.end();
}

fn dropped_session_ends_its_monitors() {
    let Session { controller, monitors, ended, .. } = session(1);
    drop(controller);
    drop(ended);
    monitors.into_iter().for_each(|monitor| monitor.join().unwrap().unwrap());
}

fn host_that_cannot_join_is_named() {
    let Others { settings, monitors, ended, .. } = others(2, "letters");
    match start_on_hosts(here(), settings, program()).map(drop) {
        Err(Error::Launch { message }) => {
            assert!(message.contains("node1") && message.contains("different builds"), "{message}");
        }
        other => panic!("{other:?}"),
    }
    ended.recv_timeout(LONG).unwrap();
    let ends: Vec<_> = monitors.into_iter().map(|monitor| monitor.join().unwrap().is_ok()).collect();
    assert_eq!(ends, [false, true]);
}

fn session_that_cannot_start_ends_its_monitors() {
    let Others { settings, monitors, ended, .. } = others(2, "numbers");
    let nowhere = ControllerSettings { spill_dir: Some(PathBuf::from("/no/such/folder")), ..here() };
    assert!(matches!(start_on_hosts(nowhere, settings, program()), Err(Error::Config(_))));
    ended.recv_timeout(LONG).unwrap();
    monitors.into_iter().for_each(|monitor| monitor.join().unwrap().unwrap());
}

fn host_that_does_not_answer_is_named() {
    let (mut ends, _cutters) = mesh(2);
    let silent = ends.pop().unwrap();
    let host = HostSettings {
        ip: "127.0.0.2".into(),
        name: "node1".into(),
        cpus: 1,
        resources: BTreeMap::new(),
        object_store_memory: None,
        launch: None,
    };
    let others = OtherHosts {
        start_timeout: Duration::from_millis(100),
        end_timeout: Duration::from_millis(100),
        ..OtherHosts::new(vec![host], Box::new(ends.pop().unwrap()))
    };
    match start_on_hosts(here(), others, program()).map(drop) {
        Err(Error::Launch { message }) => {
            assert!(message.contains("node1") && message.contains("within the time limit"), "{message}");
        }
        other => panic!("{other:?}"),
    }
    drop(silent);
}

fn session_continues_without_a_lost_host() {
    let session = session(2);
    session.cutters[0].cut(HostId::new(1));
    session.cutters[1].cut(HostId::CONTROLLER);
    for n in 0..100 {
        let sum = get(&*session.controller, session.submit_at(0, SUM, &[n, 1])).unwrap();
        assert_eq!(number(&sum.header), n + 1);
    }
    session.controller.shutdown().unwrap();
    let ends: Vec<_> = session.monitors.into_iter().map(|monitor| monitor.join().unwrap().is_ok()).collect();
    assert_eq!(ends, [false, true]);
}

fn every_host_runs_tasks() {
    let session = session(2);
    for host in 0..3 {
        let found = get(&*session.controller, session.submit_at(host, HOST, &[])).unwrap();
        assert_eq!(number(&found.header), u64::from(host));
    }
    let start = Instant::now();
    let naps: Vec<_> = (0..30).map(|_| submit(&*session.controller, NAP, &[100])).collect();
    assert!(session.controller.get(&naps).unwrap().iter().all(|outcome| outcome.is_ok()));
    assert!(start.elapsed() < Duration::from_millis(2500), "{:?}", start.elapsed());
    let ids: Vec<_> = (0..10_000).map(|n| submit(&*session.controller, SUM, &[n, 1])).collect();
    for (n, outcome) in session.controller.get(&ids).unwrap().into_iter().enumerate() {
        assert_eq!(number(&outcome.unwrap().header), n as u64 + 1);
    }
    session.end();
}

fn objects_are_used_on_other_hosts() {
    let session = session(2);
    let big: Vec<_> = (0..3).map(|host| session.submit_at(host, BIG, &[5_000_000])).collect();
    for host in 0..3 {
        assert_eq!(session.count_at(host, &big), 15_000_000);
    }
    for outcome in session.controller.get(&big).unwrap() {
        assert!(outcome.unwrap().header.iter().all(|byte| *byte == 1));
    }
    big.into_iter().for_each(|id| session.controller.release(id));
    assert_eq!(session.controller.live_objects().unwrap(), 0);
    session.end();
}

fn remote_objects_are_spilled_on_their_host() {
    let session = session(1);
    let big: Vec<_> = (0..8).map(|_| session.submit_at(1, BIG, &[20 << 20])).collect();
    for id in &big {
        assert_eq!(session.count_at(1, &[*id]), 20 << 20);
        assert_eq!(session.count_at(0, &[*id]), 20 << 20);
    }
    let larger_than_the_store = session.submit_at(1, BIG, &[100 << 20]);
    assert_eq!(session.count_at(1, &[larger_than_the_store]), 100 << 20);
    assert_eq!(session.count_at(0, &[larger_than_the_store]), 100 << 20);
    session.controller.release(larger_than_the_store);
    big.into_iter().for_each(|id| session.controller.release(id));
    session.end();
}

fn dead_remote_process_is_replaced() {
    let session = session(1);
    let error = get(&*session.controller, session.submit_at(1, EXIT, &[3])).unwrap_err();
    assert!(error.kind == ErrorKind::WorkerDied && error.message.contains("exit status: 3"), "{error}");
    let pid = number(&get(&*session.controller, session.submit_at(1, PID, &[])).unwrap().header);
    let worker = PathBuf::from(format!("/proc/{pid}"));
    assert!(worker.exists());
    session.end();
    assert!(!worker.exists(), "no orphans");
}

fn tasks_and_objects_of_a_lost_host_fail() {
    let session = session(1);
    let big = session.submit_at(1, BIG, &[5_000_000]);
    assert_eq!(session.count_at(1, &[big]), 5_000_000);
    let naps: Vec<_> = (0..20).map(|_| submit(&*session.controller, NAP, &[50])).collect();
    std::thread::sleep(Duration::from_millis(120));
    session.cutters[0].cut(HostId::new(1));
    session.cutters[1].cut(HostId::CONTROLLER);
    let outcomes = session.controller.get(&naps).unwrap();
    let hosts = session.controller.cluster().unwrap().hosts;
    assert_eq!(hosts.into_keys().collect::<Vec<_>>(), ["127.0.0.1"]);
    // A task without retries that ran on the lost host may have run already, and does not run again.
    let died = |error: &unidist_common::TaskError| error.kind == ErrorKind::WorkerDied;
    assert!(outcomes.iter().all(|outcome| outcome.as_ref().map_or_else(died, |_| true)), "{outcomes:?}");
    assert!(outcomes.iter().any(std::result::Result::is_ok));
    let error = get(&*session.controller, big).unwrap_err();
    assert_eq!(error.kind, ErrorKind::ObjectLost);
    session.controller.shutdown().unwrap();
}

macro_rules! trials {
    ($($name:ident),* $(,)?) => { vec![$(Trial::test(stringify!($name), || { $name(); Ok::<(), Failed>(()) })),*] };
}

fn main() {
    serve_if_worker(program(), install);
    let trials = trials![
        session_on_three_hosts_starts_works_and_ends,
        dropped_session_ends_its_monitors,
        host_that_cannot_join_is_named,
        session_that_cannot_start_ends_its_monitors,
        host_that_does_not_answer_is_named,
        session_continues_without_a_lost_host,
        every_host_runs_tasks,
        objects_are_used_on_other_hosts,
        remote_objects_are_spilled_on_their_host,
        dead_remote_process_is_replaced,
        tasks_and_objects_of_a_lost_host_fail,
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}
