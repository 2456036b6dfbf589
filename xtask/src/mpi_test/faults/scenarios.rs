//! The fault scenarios and their expected outcomes.

use super::environment::{FaultEnvironment, StartMethod, eventually, on_host};
use super::program::{Ended, Program};
use crate::mpi::Kind;
use crate::{Result, process};
use rustix::process::Signal;
use std::time::{Duration, Instant};

/// Time limit for a job to end.
const END_LIMIT: Duration = Duration::from_secs(20);
/// How often a worker is killed.
const KILL_EVERY: Duration = Duration::from_millis(200);
/// A slow link, and an object that takes seconds to transfer on it.
const MEGABITS: u32 = 100;
const MEBIBYTES: usize = 64;
/// A host timeout, and its setting.
const SILENCE: Duration = Duration::from_secs(3);
const THREE_SECONDS: (&str, &str) = ("UNIDIST_HOST_TIMEOUT", "3");

/// The settings with which a job survives the death of a process; empty if the MPI does not support that.
fn recovery(kind: Kind) -> &'static [(&'static str, &'static str)] {
    match kind {
        Kind::OpenMpi4 => &[THREE_SECONDS, ("OMPI_MCA_orte_enable_recovery", "1")],
        Kind::OpenMpi5 | Kind::Mpich | Kind::Intel => &[],
    }
}

/// Settings with which the launcher detects an unreachable host instead of waiting for it.
fn fast_detection(kind: Kind) -> &'static [(&'static str, &'static str)] {
    match kind {
        Kind::OpenMpi4 => &[
            ("UNIDIST_HOST_TIMEOUT", "6"),
            ("OMPI_MCA_oob_tcp_keepalive_time", "1"),
            ("OMPI_MCA_oob_tcp_keepalive_intvl", "1"),
            ("OMPI_MCA_oob_tcp_keepalive_probes", "3"),
        ],
        Kind::OpenMpi5 => &[
            ("UNIDIST_HOST_TIMEOUT", "6"),
            ("PRTE_MCA_oob_tcp_keepalive_time", "1"),
            ("PRTE_MCA_oob_tcp_keepalive_intvl", "1"),
            ("PRTE_MCA_oob_tcp_keepalive_probes", "3"),
        ],
        Kind::Mpich | Kind::Intel => &[THREE_SECONDS],
    }
}

/// A scenario; returns a description of the outcome.
type Scenario = fn(&FaultEnvironment<'_>) -> Result<String>;

/// The scenarios for this environment.
pub(super) fn on(environment: &FaultEnvironment<'_>) -> Vec<(&'static str, Scenario)> {
    let mut all: Vec<(&str, Scenario)> = Vec::new();
    let several = environment.cluster.is_some();
    all.extend([
        ("ends with 0", (|environment| ends(environment, "end 0", Some(0))) as Scenario),
        ("ends with 3", |environment| ends(environment, "end 3", Some(3))),
        ("exits with 0", |environment| ends(environment, "exit 0", Some(0))),
        ("exits with 3", |environment| ends(environment, "exit 3", Some(3))),
        ("panics", |environment| ends(environment, "panic", Some(101))),
        ("aborts", |environment| ends(environment, "abort", None)),
        ("killed", kill_program),
        ("terminated", |environment| program_signalled(environment, Signal::TERM)),
        ("Ctrl-C", |environment| launcher_signalled(environment, Signal::INT, true)),
        ("workers killed", |environment| kill_workers(environment, Duration::from_secs(4), 1)),
        ("idle", idle),
    ]);
    if environment.method != StartMethod::Direct {
        all.push(("launcher interrupted", |environment| launcher_signalled(environment, Signal::INT, false)));
        all.push(("launcher terminated", |environment| launcher_signalled(environment, Signal::TERM, false)));
    }
    if several {
        all.push(("monitor killed", |environment| monitor_killed(environment, &[])));
        if !recovery(environment.mpi.kind).is_empty() {
            all.push(("monitor killed, recovery", |environment| {
                monitor_killed(environment, recovery(environment.mpi.kind))
            }));
        }
        all.extend([
            ("link cut for 2 s", link_cut_and_healed as Scenario),
            ("link cut", |environment| link_cut(environment, fast_detection(environment.mpi.kind))),
            ("large objects", large_objects),
        ]);
    }
    all
}

fn busy(environment: &FaultEnvironment<'_>, settings: &[(&'static str, &str)]) -> Result<Program> {
    let mut program = environment.start(settings)?;
    program.host_processes()?;
    program.request("load tasks")?;
    Ok(program)
}

fn expect(ended: &Ended, code: Option<i32>) -> Result<String> {
    let Ended { code: found, took, text } = ended;
    let good = match (found, code) {
        (None, _) => return Err(format!("it does not end\n{text}").into()),
        (Some(found), Some(wanted)) => *found == wanted,
        (Some(found), None) => *found != 0,
    };
    match good {
        true => Ok(format!("code {}, after {:.1} s", found.unwrap_or(-1), took.as_secs_f64())),
        false => Err(format!("exit code {found:?} instead of {code:?}\n{text}").into()),
    }
}

/// The program ends by itself while it has work.
fn ends(environment: &FaultEnvironment<'_>, how: &str, code: Option<i32>) -> Result<String> {
    let mut program = busy(environment, &[])?;
    if how.starts_with("end") {
        program.request("rest")?;
    }
    program.send(how)?;
    expect(&program.wait_for_end(END_LIMIT)?, code)
}

fn program_signalled(environment: &FaultEnvironment<'_>, signal: Signal) -> Result<String> {
    let program = busy(environment, &[])?;
    process::signal(program.process, signal, false)?;
    expect(&program.wait_for_end(END_LIMIT)?, None)
}

fn launcher_signalled(environment: &FaultEnvironment<'_>, signal: Signal, group: bool) -> Result<String> {
    let program = busy(environment, &[])?;
    program.signal(signal, group)?;
    let ended = program.wait_for_end(END_LIMIT)?;
    match (environment.mpi.kind == Kind::Mpich, ended.code) {
        // Its launcher may see its helpers exit successfully before it handles the signal.
        (true, Some(0)) => expect(&ended, Some(0)),
        _ => expect(&ended, None),
    }
}

/// Kills a worker on any host every 200 ms; every result must be right.
pub(crate) fn kill_workers(environment: &FaultEnvironment<'_>, time: Duration, seed: u64) -> Result<String> {
    let mut program = environment.start(&[])?;
    program.host_processes()?;
    program.request("load graph")?;
    let (mut rng, mut killed) = (fastrand::Rng::with_seed(seed), 0);
    let end = Instant::now() + time;
    while Instant::now() < end {
        if let Some(victim) = rng.choice(program.workers()) {
            process::kill(victim);
            killed += 1;
        }
        std::thread::sleep(KILL_EVERY);
    }
    let right = program.request("rest")?;
    program.send("end 0")?;
    let ended = expect(&program.wait_for_end(END_LIMIT)?, Some(0))?;
    Ok(format!("{killed} workers killed, {right} calls right, {ended}"))
}

/// Kills the busy program.
pub(crate) fn kill_program(environment: &FaultEnvironment<'_>) -> Result<String> {
    program_signalled(environment, Signal::KILL)
}

/// The program is idle for longer than the host timeout.
fn idle(environment: &FaultEnvironment<'_>) -> Result<String> {
    let mut program = environment.start(&[("UNIDIST_HOST_TIMEOUT", "1")])?;
    program.host_processes()?;
    std::thread::sleep(SILENCE);
    program.host_processes()?;
    program.send("end 0")?;
    expect(&program.wait_for_end(END_LIMIT)?, Some(0))
}

/// Transfers over a slow link that take longer than the host timeout.
fn large_objects(environment: &FaultEnvironment<'_>) -> Result<String> {
    let (host, cluster) = (last(environment)?, environment.cluster.ok_or("there is one host")?);
    let mut program = environment.start(&[("UNIDIST_HOST_TIMEOUT", "1")])?;
    program.host_processes()?;
    cluster.throttle(host, Some(MEGABITS))?;
    let start = Instant::now();
    let done = program.request(&format!("large {MEBIBYTES}"));
    cluster.throttle(host, None)?;
    done?;
    let took = start.elapsed().as_secs_f64();
    program.host_processes()?;
    program.send("end 0")?;
    let how = expect(&program.wait_for_end(END_LIMIT)?, Some(0))?;
    Ok(format!("{MEBIBYTES} MiB from each host, and to each over {MEGABITS} Mbit/s, in {took:.1} s, {how}"))
}

/// The last of the hosts.
fn last<'a>(environment: &FaultEnvironment<'a>) -> Result<&'a str> {
    let hosts = environment.cluster.map(|cluster| cluster.hosts()).unwrap_or_default();
    hosts.last().map(String::as_str).ok_or_else(|| "there is one host".into())
}

/// A monitor dies: the other hosts continue if the MPI permits, else the job ends and names the host.
fn monitor_killed(environment: &FaultEnvironment<'_>, settings: &[(&'static str, &str)]) -> Result<String> {
    let host = last(environment)?;
    let mut program = environment.start(settings)?;
    let monitor = on_host(&program.host_processes()?, host)?.engine;
    program.request("load tasks")?;
    process::kill(monitor);
    let start = Instant::now();
    let Ok(right) = program.request("rest") else {
        let ended = program.wait_for_end(END_LIMIT)?;
        let how = expect(&ended, None)?;
        return match ended.text.contains(host) {
            true => Ok(format!("the job ends, and names the host; {how}")),
            false => Err(format!("the job ends, and does not name the host\n{}", ended.text).into()),
        };
    };
    let continued = start.elapsed().as_secs_f64();
    program.send("end 0")?;
    let ended = program.wait_for_end(END_LIMIT)?;
    let how = expect(&ended, Some(0))?;
    Ok(format!("the other hosts continue ({right} right, after {continued:.1} s); {how}"))
}

fn link_cut_and_healed(environment: &FaultEnvironment<'_>) -> Result<String> {
    let (host, cluster) = (last(environment)?, environment.cluster.ok_or("there is one host")?);
    let mut program = environment.start(&[("UNIDIST_HOST_TIMEOUT", "15")])?;
    let leak_check = program.host_processes()?;
    program.request("load graph")?;
    cluster.cut(host)?;
    std::thread::sleep(Duration::from_secs(2));
    cluster.heal(host)?;
    let start = Instant::now();
    let right = program.request("rest")?;
    let took = start.elapsed().as_secs_f64();
    let after = program.host_processes()?;
    if after.len() != leak_check.len() {
        return Err("a host is missing".into());
    }
    program.send("end 0")?;
    let how = expect(&program.wait_for_end(END_LIMIT)?, Some(0))?;
    Ok(format!("{right} calls right {took:.1} s after, all hosts there, {how}"))
}

/// The link to a host is cut and stays cut.
fn link_cut(environment: &FaultEnvironment<'_>, settings: &[(&'static str, &str)]) -> Result<String> {
    let (host, cluster) = (last(environment)?, environment.cluster.ok_or("there is one host")?);
    let mut program = environment.start(settings)?;
    let processes = program.host_processes()?;
    let there = on_host(&processes, host)?.clone();
    program.request("load tasks")?;
    cluster.cut(host)?;
    let start = Instant::now();
    let right = program.request("rest");
    let continued = start.elapsed();
    let gone =
        || process::command_line(there.engine).is_empty() && process::command_line(there.worker).is_empty();
    if !eventually(2 * SILENCE + Duration::from_secs(8), gone) {
        return Err(format!("processes on {host} have not ended\n{}", program.text()).into());
    }
    let cut_off = start.elapsed().as_secs_f64();
    let continued = match &right {
        Ok(right) => {
            format!("the other hosts continue ({right} right, after {:.1} s)", continued.as_secs_f64())
        }
        Err(_) => "the job ends".to_owned(),
    };
    let _ = program.send("end 0"); // unless the launcher has ended it
    let mut continued = continued;
    if environment.mpi.kind == Kind::Mpich && environment.method == StartMethod::Spawn {
        // The launcher waits for its helper there even after the program has ended.
        let controller = program.process;
        if !eventually(END_LIMIT, || process::command_line(controller).is_empty()) {
            return Err("the program does not end".into());
        }
        program.signal(Signal::TERM, false)?;
        continued += "; the program ends, its launcher waits and is ended by SIGTERM";
    }
    let ended = program.wait_for_end(END_LIMIT)?;
    let outcome = match expect(&ended, Some(0)) {
        Ok(how) => format!("{continued}; {how}"),
        Err(_) if !ended.text.contains(host) => {
            return Err(format!("the job ends, and does not name the host\n{}", ended.text).into());
        }
        Err(_) => format!("{continued}; it is ended and the host named, {}", expect(&ended, None)?),
    };
    Ok(format!("{outcome}; nothing is left on the host after {cut_off:.1} s"))
}
