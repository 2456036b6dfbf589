//! What happens to the program, and what has to come of it.

use super::program::{Ended, Program};
use super::stage::{Stage, Way, eventually, on_host};
use crate::mpi::Kind;
use crate::{Result, process};
use rustix::process::Signal;
use std::time::{Duration, Instant};

/// How long a job may take to end once it has to.
const SOON: Duration = Duration::from_secs(20);
/// How often a worker is killed.
const KILL_EVERY: Duration = Duration::from_millis(200);
/// A slow link, and an object that takes some seconds on it.
const MEGABITS: u32 = 100;
const MEBIBYTES: usize = 64;
/// A silence that loses a host, and what settings call it.
const SILENCE: Duration = Duration::from_secs(3);
const THREE_SECONDS: (&str, &str) = ("UNIDIST_HOST_TIMEOUT", "3");

/// What an MPI is told so that a job survives the death of a process; nothing where it cannot.
fn recovery(kind: Kind) -> &'static [(&'static str, &'static str)] {
    match kind {
        Kind::OpenMpi4 => &[THREE_SECONDS, ("OMPI_MCA_orte_enable_recovery", "1")],
        Kind::OpenMpi5 | Kind::Mpich | Kind::Intel => &[],
    }
}

/// What a launcher is told that else waits for a host that it cannot reach: it has to find that out first.
fn watchful(kind: Kind) -> &'static [(&'static str, &'static str)] {
    match kind {
        Kind::OpenMpi4 => &[
            ("UNIDIST_HOST_TIMEOUT", "6"),
            ("OMPI_MCA_oob_tcp_keepalive_time", "1"),
            ("OMPI_MCA_oob_tcp_keepalive_intvl", "1"),
            ("OMPI_MCA_oob_tcp_keepalive_probes", "3"),
        ],
        Kind::OpenMpi5 | Kind::Mpich | Kind::Intel => &[THREE_SECONDS],
    }
}

/// A scenario: what came of it, in words.
type Scenario = fn(&Stage<'_>) -> Result<String>;

/// The scenarios that make sense there.
pub(super) fn on(stage: &Stage<'_>) -> Vec<(&'static str, Scenario)> {
    let mut all: Vec<(&str, Scenario)> = Vec::new();
    let several = stage.cluster.is_some();
    if !several && stage.way == Way::Bare {
        return all; // no MPI at all: as on pymp
    }
    all.extend([
        ("ends with 0", (|stage| ends(stage, "end 0", Some(0))) as Scenario),
        ("ends with 3", |stage| ends(stage, "end 3", Some(3))),
        ("exits with 0", |stage| ends(stage, "exit 0", Some(0))),
        ("exits with 3", |stage| ends(stage, "exit 3", Some(3))),
        ("panics", |stage| ends(stage, "panic", Some(101))),
        ("aborts", |stage| ends(stage, "abort", None)),
        ("killed", kill_program),
        ("terminated", |stage| program_signalled(stage, Signal::TERM)),
        ("Ctrl-C", |stage| launcher_signalled(stage, Signal::INT, true)),
        ("workers killed", |stage| kill_workers(stage, Duration::from_secs(4), 1)),
        ("idle", idle),
    ]);
    if stage.way != Way::Bare {
        all.push(("launcher interrupted", |stage| launcher_signalled(stage, Signal::INT, false)));
        all.push(("launcher terminated", |stage| launcher_signalled(stage, Signal::TERM, false)));
    }
    if several {
        all.push(("monitor killed", |stage| monitor_killed(stage, &[])));
        if !recovery(stage.mpi.kind).is_empty() {
            all.push(("monitor killed, recovery", |stage| monitor_killed(stage, recovery(stage.mpi.kind))));
        }
        all.extend([
            ("link cut for 2 s", link_cut_and_healed as Scenario),
            ("link cut", |stage| link_cut(stage, watchful(stage.mpi.kind))),
            ("large objects", large_objects),
        ]);
    }
    all
}

fn busy(stage: &Stage<'_>, settings: &[(&'static str, &str)]) -> Result<Program> {
    let mut program = stage.start(settings)?;
    program.staff()?;
    program.ask("load tasks")?;
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

/// The program ends by itself, one way or another, while there is work.
fn ends(stage: &Stage<'_>, how: &str, code: Option<i32>) -> Result<String> {
    let mut program = busy(stage, &[])?;
    if how.starts_with("end") {
        program.ask("rest")?;
    }
    program.tell(how)?;
    expect(&program.ended(SOON)?, code)
}

fn program_signalled(stage: &Stage<'_>, signal: Signal) -> Result<String> {
    let program = busy(stage, &[])?;
    process::signal(program.process, signal, false)?;
    expect(&program.ended(SOON)?, None)
}

fn launcher_signalled(stage: &Stage<'_>, signal: Signal, group: bool) -> Result<String> {
    let program = busy(stage, &[])?;
    program.signal(signal, group)?;
    let ended = program.ended(SOON)?;
    match (stage.mpi.kind == Kind::Mpich, ended.code) {
        // Its launcher may see its own helpers end well before it deals with the signal.
        (true, Some(0)) => expect(&ended, Some(0)),
        _ => expect(&ended, None),
    }
}

/// For this long, a worker somewhere is killed every 200 ms; every result has to be right.
pub(crate) fn kill_workers(stage: &Stage<'_>, time: Duration, seed: u64) -> Result<String> {
    let mut program = stage.start(&[])?;
    program.staff()?;
    program.ask("load graph")?;
    let (mut rng, mut killed) = (fastrand::Rng::with_seed(seed), 0);
    let end = Instant::now() + time;
    while Instant::now() < end {
        if let Some(victim) = rng.choice(program.workers()) {
            process::kill(victim);
            killed += 1;
        }
        std::thread::sleep(KILL_EVERY);
    }
    let right = program.ask("rest")?;
    program.tell("end 0")?;
    let ended = expect(&program.ended(SOON)?, Some(0))?;
    Ok(format!("{killed} workers killed, {right} calls right, {ended}"))
}

/// The program is killed while it is busy.
pub(crate) fn kill_program(stage: &Stage<'_>) -> Result<String> {
    program_signalled(stage, Signal::KILL)
}

/// The program calls nothing for longer than hosts may be silent.
fn idle(stage: &Stage<'_>) -> Result<String> {
    let mut program = stage.start(&[("UNIDIST_HOST_TIMEOUT", "1")])?;
    program.staff()?;
    std::thread::sleep(SILENCE);
    program.staff()?;
    program.tell("end 0")?;
    expect(&program.ended(SOON)?, Some(0))
}

/// Objects that take longer to transfer than hosts may be silent, over a link that is slow.
fn large_objects(stage: &Stage<'_>) -> Result<String> {
    let (host, cluster) = (last(stage)?, stage.cluster.ok_or("there is one host")?);
    let mut program = stage.start(&[("UNIDIST_HOST_TIMEOUT", "1")])?;
    program.staff()?;
    cluster.throttle(host, Some(MEGABITS))?;
    let start = Instant::now();
    let done = program.ask(&format!("large {MEBIBYTES}"));
    cluster.throttle(host, None)?;
    done?;
    let took = start.elapsed().as_secs_f64();
    program.staff()?;
    program.tell("end 0")?;
    let how = expect(&program.ended(SOON)?, Some(0))?;
    Ok(format!("{MEBIBYTES} MiB from each host, and to each over {MEGABITS} Mbit/s, in {took:.1} s, {how}"))
}

/// The last of the hosts.
fn last<'a>(stage: &Stage<'a>) -> Result<&'a str> {
    let hosts = stage.cluster.map(|cluster| cluster.hosts()).unwrap_or_default();
    hosts.last().map(String::as_str).ok_or_else(|| "there is one host".into())
}

/// A monitor dies: the others go on where the MPI lets them, else all end and say where it was.
fn monitor_killed(stage: &Stage<'_>, settings: &[(&'static str, &str)]) -> Result<String> {
    let host = last(stage)?;
    let mut program = stage.start(settings)?;
    let monitor = on_host(&program.staff()?, host)?.engine;
    program.ask("load tasks")?;
    process::kill(monitor);
    let start = Instant::now();
    let Ok(right) = program.ask("rest") else {
        let ended = program.ended(SOON)?;
        let how = expect(&ended, None)?;
        return match ended.text.contains(host) {
            true => Ok(format!("the job ends, and names the host; {how}")),
            false => Err(format!("the job ends, and does not name the host\n{}", ended.text).into()),
        };
    };
    let went_on = start.elapsed().as_secs_f64();
    program.tell("end 0")?;
    let ended = program.ended(SOON)?;
    let how = expect(&ended, Some(0))?;
    Ok(format!("the others go on ({right} right, after {went_on:.1} s); {how}"))
}

fn link_cut_and_healed(stage: &Stage<'_>) -> Result<String> {
    let (host, cluster) = (last(stage)?, stage.cluster.ok_or("there is one host")?);
    let mut program = stage.start(&[("UNIDIST_HOST_TIMEOUT", "15")])?;
    let before = program.staff()?;
    program.ask("load graph")?;
    cluster.cut(host)?;
    std::thread::sleep(Duration::from_secs(2));
    cluster.heal(host)?;
    let start = Instant::now();
    let right = program.ask("rest")?;
    let took = start.elapsed().as_secs_f64();
    let after = program.staff()?;
    if after.len() != before.len() {
        return Err("a host is missing".into());
    }
    program.tell("end 0")?;
    let how = expect(&program.ended(SOON)?, Some(0))?;
    Ok(format!("{right} calls right {took:.1} s after, all hosts there, {how}"))
}

/// The link to a host is cut for good.
fn link_cut(stage: &Stage<'_>, settings: &[(&'static str, &str)]) -> Result<String> {
    let (host, cluster) = (last(stage)?, stage.cluster.ok_or("there is one host")?);
    let mut program = stage.start(settings)?;
    let staff = program.staff()?;
    let there = on_host(&staff, host)?.clone();
    program.ask("load tasks")?;
    cluster.cut(host)?;
    let start = Instant::now();
    let right = program.ask("rest");
    let went_on = start.elapsed();
    let gone =
        || process::command_line(there.engine).is_empty() && process::command_line(there.worker).is_empty();
    if !eventually(2 * SILENCE + Duration::from_secs(8), gone) {
        return Err(format!("what was on {host} has not ended\n{}", program.text()).into());
    }
    let cut_off = start.elapsed().as_secs_f64();
    let went_on = match &right {
        Ok(right) => format!("the others go on ({right} right, after {:.1} s)", went_on.as_secs_f64()),
        Err(_) => "the job ends".to_owned(),
    };
    let _ = program.tell("end 0"); // unless the launcher has ended it
    let mut went_on = went_on;
    if stage.mpi.kind == Kind::Mpich && stage.way == Way::Spawn {
        // It waits for its helper there, whatever it is told by the program.
        let controller = program.process;
        if !eventually(SOON, || process::command_line(controller).is_empty()) {
            return Err("the program does not end".into());
        }
        program.signal(Signal::TERM, false)?;
        went_on += "; the program ends, its launcher waits and is ended by SIGTERM";
    }
    let ended = program.ended(SOON)?;
    let outcome = match expect(&ended, Some(0)) {
        Ok(how) => format!("{went_on}; {how}"),
        Err(_) if !ended.text.contains(host) => {
            return Err(format!("the job ends, and does not name the host\n{}", ended.text).into());
        }
        Err(_) => format!("{went_on}; it is ended and the host named, {}", expect(&ended, None)?),
    };
    Ok(format!("{outcome}; nothing is left on the host after {cut_off:.1} s"))
}
