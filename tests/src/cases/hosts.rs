//! Several hosts: placement, transfers between hosts, and crashes on other hosts.

use super::crashes::kill;
use crate::case::{Case, MPI, Result, cases};
use crate::support::{Log, Signal, say};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use unidist::config::LogDir;
use unidist::prelude::*;
use unidist::{
    SharedSlice, cluster_resources, get_ip, init, num_cpus, put_slice, store_usage, wait_for_workers,
};

pub(super) const CASES: &[Case] = cases!["hosts":
    cluster_resources_name_every_host.only(MPI).several_hosts().settings(&[CPUS_6]),
    every_host_runs_tasks.only(MPI).several_hosts().settings(&[CPUS_6]),
    actors_are_spread_over_hosts.only(MPI).several_hosts().settings(&[CPUS_6]),
    each_host_has_a_store.only(MPI).several_hosts().settings(&[CPUS_6]),
    data_crosses_both_ways.only(MPI).several_hosts().settings(&[CPUS_6]),
    thousand_tasks_with_large_arguments.only(MPI).several_hosts().settings(&[CPUS_6]),
    object_is_read_on_all_hosts.only(MPI).several_hosts().settings(&[CPUS_6]),
    object_above_two_gibibytes.only(MPI).several_hosts().settings(&[CPUS_6, ROOMY]),
    nested_tasks_and_refs_cross.only(MPI).several_hosts().settings(&[CPUS_6]),
    remote_store_spills_to_its_disk.only(MPI).several_hosts().settings(&[CPUS_6, MEMORY_8]),
    remote_worker_is_killed.only(MPI).several_hosts().settings(&[CPUS_6]),
    remote_actor_is_killed.only(MPI).several_hosts().settings(&[CPUS_6]),
    remote_workers_have_the_programs_environment.only(MPI).several_hosts().settings(&[CPUS_6]),
    every_process_has_a_log.bare().only(MPI).several_hosts().settings(&[CPUS_6, LOG, ("UNIDIST_MPI_LOG", "true")]),
];

const CPUS_6: (&str, &str) = ("UNIDIST_CPUS", "6");
const LOG: (&str, &str) = ("RUST_LOG", "unidist_tests=info");
const ROOMY: (&str, &str) = ("UNIDIST_OBJECT_STORE_MEMORY", "4GiB");
const MEMORY_8: (&str, &str) = ("UNIDIST_OBJECT_STORE_MEMORY", "8MiB");
const MIB: usize = 1 << 20;

/// Logs its host, and waits until the signal is opened.
#[remote]
fn here(log: ActorHandle<Log>, signal: ActorHandle<Signal>) -> unidist::Result<String> {
    let ip = get_ip()?;
    say(&log, &ip);
    get(signal.wait.remote())?;
    Ok(ip)
}

/// Bytes that depend on their number, in memory of the host that makes them.
fn pattern(seed: u64, len: usize) -> unidist::Result<SharedSlice<u8>> {
    SharedSlice::build(len, |out: &mut [u8]| {
        for (at, chunk) in out.chunks_mut(4096).enumerate() {
            chunk.fill((seed as usize * 31 + at * 7 + 1) as u8);
        }
    })
}

fn is_pattern(seed: u64, bytes: &[u8]) -> bool {
    bytes.chunks(4096).enumerate().all(|(at, chunk)| {
        let byte = (seed as usize * 31 + at * 7 + 1) as u8;
        chunk.iter().all(|other| *other == byte)
    })
}

/// An actor that makes data and looks at it, on its own host.
struct Maker;

#[remote]
impl Maker {
    #[new]
    fn new() -> Self {
        Maker
    }

    fn ip(&self) -> unidist::Result<String> {
        get_ip()
    }

    fn process(&self) -> u32 {
        std::process::id()
    }

    fn make(&self, seed: u64, len: usize) -> unidist::Result<SharedSlice<u8>> {
        pattern(seed, len)
    }

    fn check(&self, seed: u64, bytes: SharedSlice<u8>) -> bool {
        is_pattern(seed, &bytes)
    }

    fn used(&self) -> unidist::Result<u64> {
        store_usage().map(|usage| usage.used)
    }
}

/// One on each host, by address.
fn makers() -> Result<BTreeMap<String, ActorHandle<Maker>>> {
    let count = 3 * cluster_resources()?.len();
    let makers: Vec<_> = (0..count).map(|_| Maker::remote()).collect();
    let ips: Vec<_> = makers.iter().map(|maker| maker.ip.remote()).collect();
    let ips = get(&ips)?;
    Ok(ips.into_iter().zip(makers).collect())
}

/// `cluster_resources()` names each host once, with its CPUs; `num_cpus()` is their sum; tasks see the same.
fn cluster_resources_name_every_host() -> Result {
    let hosts = cluster_resources()?;
    assert!(hosts.len() > 1, "{hosts:?}");
    assert!(hosts.contains_key(&get_ip()?), "{hosts:?}");
    let cpus: f64 = hosts.values().map(|host| host["CPU"]).sum();
    assert_eq!(cpus, num_cpus()? as f64);
    assert!(hosts.values().all(|host| host["CPU"] >= 1.0), "{hosts:?}");
    let most = hosts.values().map(|host| host["CPU"] as usize).max();
    let least = hosts.values().map(|host| host["CPU"] as usize).min();
    assert!(most <= least.map(|least| least + 1), "evenly: {hosts:?}");
    let seen = || cluster_resources();
    assert_eq!(get(seen.remote())?, hosts);
    Ok(())
}

/// As many tasks as CPUs run at once, on all hosts, and each knows its host.
fn every_host_runs_tasks() -> Result {
    wait_for_workers(num_cpus()?, None)?; // one may have died just now
    let (log, signal) = (Log::remote(), Signal::remote());
    let tasks: Vec<_> = (0..num_cpus()?).map(|_| here.remote(&log, &signal)).collect();
    let said: BTreeSet<_> = get(log.said.remote(num_cpus()?))?.into_iter().collect();
    assert_eq!(said, cluster_resources()?.into_keys().collect());
    get(signal.open.remote())?;
    let ips: BTreeSet<_> = get(&tasks)?.into_iter().collect();
    assert_eq!(ips, said);
    Ok(())
}

/// Actors do not all live on the program's host.
fn actors_are_spread_over_hosts() -> Result {
    let makers = makers()?;
    assert_eq!(makers.into_keys().collect::<BTreeSet<_>>(), cluster_resources()?.into_keys().collect());
    Ok(())
}

/// An object takes memory on the host where it was made, and where it is read.
fn each_host_has_a_store() -> Result {
    let makers = makers()?;
    let me = get_ip()?;
    let (_, far) = makers.iter().find(|(ip, _)| **ip != me).unwrap();
    let before = store_usage()?.used;
    let object = far.make.remote(1, 4 * MIB);
    wait(&object, 1, None)?;
    assert!(get(far.used.remote())? >= 4 * MIB as u64);
    assert_eq!(store_usage()?.used, before, "to wait is not to read");
    let here = get(&object)?;
    assert!(is_pattern(1, &here) && store_usage()?.used >= before + 4 * MIB as u64);
    Ok(())
}

/// From the program to each host and back, and between other hosts; small, and large.
fn data_crosses_both_ways() -> Result {
    let makers = makers()?;
    for (seed, len) in (0..).zip([0, 1, 32 * 1024, 32 * 1024 + 1, 3 * MIB + 5, 40 * MIB]) {
        let mine = put_slice(&pattern(seed, len)?)?;
        for maker in makers.values() {
            assert!(get(maker.check.remote(seed, &mine))?);
            let theirs = maker.make.remote(seed + 100, len);
            for other in makers.values() {
                assert!(get(other.check.remote(seed + 100, &theirs))?);
            }
            assert!(is_pattern(seed + 100, &get(&theirs)?));
        }
    }
    Ok(())
}

#[remote]
fn sum_of_two(one: SharedSlice<u8>, two: SharedSlice<u8>) -> u64 {
    one.iter().step_by(4096).chain(two.iter().step_by(4096)).map(|byte| u64::from(*byte)).sum()
}

/// 1,000 tasks, each with two arguments of 1 MiB from anywhere.
fn thousand_tasks_with_large_arguments() -> Result {
    let makers: Vec<_> = makers()?.into_values().collect();
    let sum =
        |seed: u64| -> u64 { (0..256).map(|at| u64::from((seed as usize * 31 + at * 7 + 1) as u8)).sum() };
    let objects: Vec<_> =
        (0..40).map(|seed| makers[seed % makers.len()].make.remote(seed as u64, MIB)).collect();
    let pairs: Vec<_> = (0..1000).map(|n| (n * 7 % 40, n * 11 % 40)).collect();
    let sums: Vec<_> = pairs.iter().map(|(a, b)| sum_of_two.remote(&objects[*a], &objects[*b])).collect();
    for ((a, b), total) in pairs.iter().zip(get(&sums)?) {
        assert_eq!(total, sum(*a as u64) + sum(*b as u64));
    }
    Ok(())
}

/// Many tasks on all hosts read one object at once.
fn object_is_read_on_all_hosts() -> Result {
    let makers: Vec<_> = makers()?.into_values().collect();
    let object = makers[0].make.remote(9, 30 * MIB);
    let checks: Vec<_> =
        (0..5).flat_map(|_| makers.iter().map(|maker| maker.check.remote(9, &object))).collect();
    assert!(get(&checks)?.into_iter().all(|is_right| is_right));
    Ok(())
}

/// The available memory in bytes, according to Linux.
fn free_memory() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.unwrap_or(0) << 10
}

/// An object of more than 2 GiB, which no MPI sends in one piece.
fn object_above_two_gibibytes() -> Result {
    if free_memory() < 9 << 30 {
        println!("skipped: less than 9 GiB of memory are free");
        return Ok(());
    }
    let me = get_ip()?;
    let makers = makers()?;
    let (_, far) = makers.iter().find(|(ip, _)| **ip != me).unwrap();
    let object = far.make.remote(5, (2 << 30) + 4097);
    let here = get(&object)?;
    assert_eq!(here.len(), (2 << 30) + 4097);
    assert!(is_pattern(5, &here));
    Ok(())
}

#[remote]
fn nested(depth: u32) -> unidist::Result<Vec<String>> {
    let mut seen = vec![get_ip()?];
    if depth > 0 {
        let children: Vec<_> = (0..2).map(|_| nested.remote(depth - 1)).collect();
        get(&children)?.into_iter().for_each(|ips| seen.extend(ips));
    }
    Ok(seen)
}

/// Tasks submit tasks, on whatever host; a ref in a value is one everywhere.
fn nested_tasks_and_refs_cross() -> Result {
    let seen: Vec<_> = get(nested.remote(5))?;
    assert_eq!(seen.len(), 63);
    let makers = makers()?;
    for maker in makers.values() {
        let inner = maker.make.remote(3, MIB);
        let outer = put(vec![inner])?;
        let open = |refs: Vec<ObjectRef<SharedSlice<u8>>>| -> unidist::Result<bool> {
            Ok(is_pattern(3, &get(&refs[0])?))
        };
        assert!(get(open.remote(&outer))?);
    }
    Ok(())
}

/// Objects beyond the memory of another host spill to its disk and are read from there.
fn remote_store_spills_to_its_disk() -> Result {
    let me = get_ip()?;
    let makers = makers()?;
    let (_, far) = makers.iter().find(|(ip, _)| **ip != me).unwrap();
    let objects: Vec<_> = (0..12).map(|seed| far.make.remote(seed, 2 * MIB)).collect();
    wait(&objects, 12, None)?;
    for (seed, object) in (0..).zip(&objects) {
        assert!(get(far.check.remote(seed, object))?);
        assert!(is_pattern(seed, &get(object)?));
    }
    Ok(())
}

/// Its first attempt away from the program's host dies.
#[remote]
fn dies_once_far_away(home: String, log: ActorHandle<Log>) -> unidist::Result<String> {
    let ip = get_ip()?;
    if ip != home && get(log.said.remote(0))?.len() < 3 {
        get(log.say.remote(ip.clone()))?;
        kill(std::process::id());
    }
    Ok(ip)
}

/// A worker killed on another host: its calls are retried, and the host continues.
fn remote_worker_is_killed() -> Result {
    let log = Log::remote();
    let home = get_ip()?;
    let tasks: Vec<_> =
        (0..40).map(|_| dies_once_far_away.options().max_retries(4).remote(home.clone(), &log)).collect();
    let ips = get(&tasks)?;
    assert_eq!(ips.len(), 40);
    assert!(!get(log.said.remote(1))?.is_empty(), "one has died");
    every_host_runs_tasks()
}

/// An actor killed on another host: its calls fail, and nothing else does.
fn remote_actor_is_killed() -> Result {
    let me = get_ip()?;
    let makers = makers()?;
    let (_, far) = makers.iter().find(|(ip, _)| **ip != me).unwrap();
    kill(get(far.process.remote())?); // the hosts of a test share their processes' numbers
    assert_eq!(crate::support::failure([far.ip.remote()]), unidist::ErrorKind::ActorDied);
    every_host_runs_tasks()
}

/// Workers everywhere have the program's arguments and working directory.
fn remote_workers_have_the_programs_environment() -> Result {
    let mine = (std::env::args().skip(1).collect::<Vec<_>>(), std::env::current_dir().unwrap());
    let theirs = || (std::env::args().skip(1).collect::<Vec<_>>(), std::env::current_dir().unwrap());
    let all: Vec<_> = (0..20).map(|_| theirs.remote()).collect();
    assert!(get(&all)?.into_iter().all(|other| other == mine));
    Ok(())
}

/// Each process of each host logs to a file of its own, named after it; monitors say what goes over the network.
fn every_process_has_a_log() -> Result {
    let folder = std::env::temp_dir().join(format!("unidist-logs-{}", std::process::id()));
    LogDir::put(folder.clone())?;
    let session = init()?;
    let hosts = cluster_resources()?.len();
    let said = || log::info!("a task was here");
    get((0..40).map(|_| said.remote()).collect::<Vec<_>>())?;
    every_host_runs_tasks()?;
    drop(session);
    let files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    let named = |what: &str| {
        let is_named = |path: &&PathBuf| path.to_string_lossy().contains(what);
        files.iter().filter(is_named).map(|path| std::fs::read_to_string(path).unwrap()).collect::<Vec<_>>()
    };
    let [monitors, workers] = [named("-monitor-on-"), named("-worker-")];
    assert_eq!(monitors.len(), hosts - 1, "{files:?}");
    assert!(
        monitors.iter().all(|log| log.contains("unidist_mpi") && log.contains("Message")),
        "{monitors:?}"
    );
    assert!(workers.iter().any(|log| log.contains("a task was here") && log.contains(" on ")), "{workers:?}");
    std::fs::remove_dir_all(folder).unwrap();
    Ok(())
}
