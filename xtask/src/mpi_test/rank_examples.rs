//! The examples that are programs of ranks: their output must not depend on the number of ranks.

use super::configuration::{TestEnvironment, build_binary};
use super::report::Outcome;
use super::{Arguments, programs};
use crate::mpi::Mpi;
use crate::suite::Suite;
use crate::workspace::Workspace;
use crate::{Result, cluster};
use std::path::Path;
use std::process::{Command, Stdio};

/// The package of these examples.
const PACKAGE: &str = "unidist-examples-numeric";
/// Ranks of each program.
pub(super) const RANKS: u32 = 4;

/// Runs them on this many hosts.
pub(super) fn run(hosts: u32, workspace: &Workspace, mpi: &Mpi, arguments: &Arguments) -> Result<Outcome> {
    if hosts > 1
        && let Err(error) = cluster::check_available()
    {
        return Ok(Outcome::Skipped(error.to_string()));
    }
    let place = programs::place(RANKS, hosts, mpi)?;
    let build = |name| build_binary(workspace, mpi, arguments, PACKAGE, name);
    let folder = tempfile::tempdir()?;
    array(&said(&build("spmd_array")?, &place, &[])?, hosts)?;
    let batch = build("spmd_batch")?;
    let states = folder.path().join("states");
    let nap = [states.as_path(), "--nap".as_ref(), "5".as_ref()];
    tasks(&said(&batch, &place, &nap)?, 10)?;
    tasks(&said(&batch, &place, &nap)?, 0)?;
    heat(&build("heat2d")?, &place, folder.path())?;
    Ok(Outcome::Passed("spmd_array, spmd_batch, heat2d: as with one rank".to_owned()))
}

/// Each rank sees each state of the array. The lines of different ranks may arrive in any order.
fn array(text: &str, hosts: u32) -> Result {
    let place = if hosts == 1 { "1 host (4 ranks)" } else { "2 hosts (2 + 2 ranks)" };
    let mut expected = vec![
        (format!("SharedArray: [3, 5] of f64, on {place}"), 1),
        (format!("rank {}: element (2, 3) is 50", RANKS - 1), 1),
    ];
    for when in ["made", "set", "assigned"] {
        expected.extend((0..RANKS).map(|rank| (format!("rank {rank}, {when}:"), 1)));
    }
    let rows = ["[0, 0, 1, 2, 0],", "[0, 3, 4, 5, 0]]", "[0, 0, 10, 20, 0],", "[0, 30, 40, 50, 0]]"];
    expected.extend(rows.map(|row| (row.to_owned(), RANKS as usize)));
    for (line, count) in expected {
        let found = text.lines().filter(|other| other.trim() == line).count();
        if found != count {
            return Err(format!("spmd_array says {line:?} {found} times, not {count}:\n{text}").into());
        }
    }
    Ok(())
}

/// Both workers list their tasks; each task was done once.
fn tasks(text: &str, count: usize) -> Result {
    let lines = ["worker 0 of 2: ", "worker 1 of 2: "].map(|worker| {
        let line = text.lines().find_map(|line| line.strip_prefix(worker));
        line.ok_or_else(|| format!("spmd_batch does not say {worker:?}:\n{text}"))
    });
    let mut done = Vec::new();
    for line in lines {
        done.extend(line?.split(", ").filter(|task| *task != "nothing"));
    }
    let mut expected: Vec<_> = (0..count).map(|task| format!("{task} DONE")).collect();
    expected.sort_unstable();
    done.sort_unstable();
    if done == expected {
        Ok(())
    } else {
        Err(format!("spmd_batch has done {done:?}, not {expected:?}").into())
    }
}

/// The picture is that of one rank.
fn heat(program: &Suite, place: &TestEnvironment, folder: &Path) -> Result {
    let pictures = ["ranks.png", "alone.png"].map(|name| folder.join(name));
    let plate = ["--rows", "101", "--columns", "80", "--steps", "50", "--output"].map(Path::new);
    let [ranks, alone] = pictures.each_ref().map(|picture| [&plate[..], &[picture.as_path()]].concat());
    let text = said(program, place, &[&["--check".as_ref()], &ranks[..]].concat())?;
    if !text.contains("all numbers are those of one rank") || !text.contains(&format!("ranks: {RANKS}")) {
        return Err(format!("heat2d does not say that all numbers are those of one rank:\n{text}").into());
    }
    let mut command = Command::new(&program.executable);
    command.args(alone).env("UNIDIST_SPMD_LOCAL", "1");
    program.run(command)?.check()?;
    let [ranks, alone] = pictures.each_ref().map(std::fs::read);
    if ranks? == alone? { Ok(()) } else { Err("heat2d draws another picture than one rank does".into()) }
}

/// The output of a program that must succeed.
fn said(program: &Suite, place: &TestEnvironment, arguments: &[&Path]) -> Result<String> {
    let mut command = place.launched_program(&program.executable);
    command.args(arguments).stdin(Stdio::null());
    let run = program.run(command)?;
    eprint!("{}", run.text);
    let text = run.text.clone();
    run.check()?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_is_done_once() {
        let text = |one: &str, two: &str| format!("worker 1 of 2: {two}\nworker 0 of 2: {one}\n");
        assert!(tasks(&text("0 DONE, 2 DONE", "1 DONE"), 3).is_ok());
        assert!(tasks(&text("nothing", "nothing"), 0).is_ok());
        assert!(tasks(&text("0 DONE", "0 DONE"), 2).is_err());
        assert!(tasks(&text("0 DONE", "1 FAILED"), 2).is_err());
        assert!(tasks("worker 0 of 2: 0 DONE", 1).is_err());
    }
}
