//! Sessions under restrictions of the system: refused system calls, limits of a process, missing file systems. A session
//! works where there is a way; elsewhere the error names the limit or the call.

use crate::case::{Case, MPI, PYMP, Result, cases};
use crate::process::{self, Ended, eventually, is_alive};
use crate::runner;
use crate::seccomp::Refusal;
use crate::support::{BOUND, Counter, failure, process as process_of, square};
use rustix::process::{Pid, Signal, kill_process};
use std::process::Command;
use unidist::ErrorKind;
use unidist::prelude::*;

pub(super) const CASES: &[Case] = cases!["restrictions":
    refused_pidfd_open.bare().only(PYMP).except(MPI),
    refused_death_signal.bare().only(PYMP).except(MPI),
    refused_memfd_create.bare().only(PYMP).except(MPI),
    refused_eventfd.bare().only(PYMP).except(MPI),
    limit_of_file_sizes.bare().only(PYMP).except(MPI),
    limit_of_processes.bare().only(PYMP).except(MPI),
    limit_of_address_space.bare().only(PYMP).except(MPI),
    limit_of_open_files.bare().only(PYMP).except(MPI),
    unusable_temporary_folder.bare().only(PYMP).except(MPI),
    missing_proc.bare().only(PYMP).except(MPI),
];

/// Programs that the cases start.
pub(super) const PROGRAMS: &[Case] = cases!["restrictions_programs": uses_everything.bare()];

/// The system call that is refused to the program.
const REFUSED: &str = "CONFORMANCE_REFUSED";
const MIB: u64 = 1 << 20;

/// Prints `works`, or the error of the session.
fn uses_everything() -> Result {
    if let Ok(word) = std::env::var(REFUSED) {
        Refusal::from_word(&word).unwrap().install().unwrap();
    }
    match session() {
        Ok(()) => println!("works"),
        // With its causes, on one line.
        Err(error) => println!("error: {}", format!("{error:?}").replace('\n', " ")),
    }
    Ok(())
}

fn session() -> Result {
    let session = unidist::init()?;
    assert_eq!(get((0..100).map(|n| square.remote(n)).collect::<Vec<_>>())?[99], 99 * 99);
    let counter = Counter::remote(1);
    assert_eq!(get(counter.add.remote(1))?, 2);
    let large = put(vec![7_u8; MIB as usize])?;
    let sums = |bytes: Vec<u8>| bytes.into_iter().map(i64::from).sum::<i64>();
    assert_eq!(get(sums.remote(large))?, 7 << 20);
    // The end of a process is noticed, whether it is idle, runs a call or keeps an actor.
    let worker = get(process_of.remote())?;
    kill(worker);
    assert!(eventually(BOUND, || !is_alive(worker)));
    assert_eq!(get(square.remote(4))?, 16);
    let exits = || -> i64 { std::process::exit(3) };
    assert_eq!(failure(exits.remote()), ErrorKind::WorkerDied);
    kill(get(counter.process.remote())?);
    assert_eq!(failure(counter.add.remote(1)), ErrorKind::ActorDied);
    drop(session);
    Ok(())
}

fn kill(process: u32) {
    let process = Pid::from_raw(process.try_into().unwrap()).unwrap();
    kill_process(process, Signal::KILL).unwrap();
}

/// Runs the program by a command that ends in its path. Returns `None` if it works, else its error.
fn error_of(words: &[&str], variables: &[(&str, &str)]) -> Option<String> {
    let mut command = Command::new(words.first().map_or("env", |word| *word));
    command.args(words.iter().skip(1)).arg(std::env::current_exe().unwrap());
    runner::command_for(&mut command, PYMP, PROGRAMS);
    let Ended { status, output } = process::run(command.envs(variables.iter().copied()), BOUND).unwrap();
    let what = format!("{words:?} {variables:?}: {status:?}\n{output}");
    assert!(status.is_some_and(|status| status.success()), "{what}");
    let line = output.lines().find(|line| *line == "works" || line.starts_with("error: "));
    line.unwrap_or_else(|| panic!("{what}")).strip_prefix("error: ").map(str::to_owned)
}

fn refused(call: libc::c_long, argument: Option<i32>, errno: i32) -> Option<String> {
    let word = Refusal { call, argument, errno }.to_word();
    error_of(&[], &[(REFUSED, &word)])
}

/// The session works, or its error contains the text.
fn works_or_names(outcome: Option<String>, text: &str) -> bool {
    if let Some(error) = &outcome {
        assert!(error.contains(text), "{error}\ndoes not name {text}");
    }
    outcome.is_none()
}

/// Without `pidfd_open` (Linux before 5.3, valgrind, sandboxes) the end of processes is noticed by other means.
fn refused_pidfd_open() -> Result {
    for errno in [libc::ENOSYS, libc::EPERM] {
        assert_eq!(refused(libc::SYS_pidfd_open, None, errno), None);
    }
    Ok(())
}

/// Without the signal at the parent's end, workers notice by their link that the program has ended.
fn refused_death_signal() -> Result {
    for errno in [libc::ENOSYS, libc::EPERM, libc::EINVAL] {
        assert_eq!(refused(libc::SYS_prctl, Some(libc::PR_SET_PDEATHSIG), errno), None);
    }
    Ok(())
}

/// Without `memfd_create` there is no shared memory: the error names the call.
fn refused_memfd_create() -> Result {
    for errno in [libc::ENOSYS, libc::EPERM] {
        let error = refused(libc::SYS_memfd_create, None, errno).unwrap();
        assert!(error.contains("memfd_create") && error.contains("seccomp"), "{error}");
    }
    Ok(())
}

/// The same for `eventfd`.
fn refused_eventfd() -> Result {
    let error = refused(libc::SYS_eventfd2, None, libc::EPERM).unwrap();
    assert!(error.contains("eventfd") && error.contains("seccomp"), "{error}");
    Ok(())
}

/// A limit of file sizes holds for shared memory too: the store keeps below it, or the error names it. Exceeding it would
/// raise a signal.
fn limit_of_file_sizes() -> Result {
    let with = |limit: u64, variables: &[_]| error_of(&["prlimit", &format!("--fsize={limit}")], variables);
    // The program prints its error to a file.
    for limit in [4096, 100_000] {
        assert!(!works_or_names(with(limit, &[]), "ulimit -f"), "{limit}");
    }
    for limit in [4 * MIB, 100 * MIB] {
        assert!(works_or_names(with(limit, &[]), "ulimit -f"), "{limit}");
    }
    let error = with(100 * MIB, &[("UNIDIST_OBJECT_STORE_MEMORY", "1GiB")]).unwrap();
    assert!(error.contains("ulimit -f") && error.contains("UNIDIST_OBJECT_STORE_MEMORY"), "{error}");
    Ok(())
}

/// The limit of processes of a user: the error names it, at the start of the session and of an actor.
fn limit_of_processes() -> Result {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: another user is needed, whose processes are counted from 0");
        return Ok(());
    }
    let mut has_worked = false;
    for limit in (1..10).chain([100]) {
        let limit = format!("--nproc={limit}");
        // A user of whom nothing else runs.
        let other = ["setpriv", "--reuid=63217", "--regid=63217", "--clear-groups"];
        has_worked = works_or_names(error_of(&[&other[..], &["prlimit", &limit]].concat(), &[]), "ulimit -u");
    }
    assert!(has_worked);
    Ok(())
}

/// The limit of the address space: the store keeps below it, or the error names it.
fn limit_of_address_space() -> Result {
    let with = |limit: u64, variables: &[_]| error_of(&["prlimit", &format!("--as={limit}")], variables);
    for limit in [1024 * MIB, 4096 * MIB] {
        assert!(works_or_names(with(limit, &[]), "ulimit -v"), "{limit}");
    }
    let error = with(1024 * MIB, &[("UNIDIST_OBJECT_STORE_MEMORY", "2GiB")]).unwrap();
    assert!(error.contains("ulimit -v") && error.contains("UNIDIST_OBJECT_STORE_MEMORY"), "{error}");
    Ok(())
}

/// The limit of open files: the error names it.
fn limit_of_open_files() -> Result {
    let mut has_worked = false;
    for limit in [5, 8, 10, 11, 12, 13, 14, 15, 16, 18, 20, 24, 64] {
        has_worked = works_or_names(error_of(&["prlimit", &format!("--nofile={limit}")], &[]), "ulimit -n");
    }
    assert!(has_worked);
    Ok(())
}

/// Runs the program after a command of the shell in a mount namespace of its own; `None` if there can be none.
fn behind_mount(mount: &str) -> Option<Option<String>> {
    let possible = Command::new("unshare").args(["-m", "sh", "-c", mount]).output();
    if !possible.as_ref().is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: `unshare -m` and `{mount}` are not possible here: {possible:?}");
        return None;
    }
    Some(error_of(&["unshare", "-m", "sh", "-c", &format!("{mount} && exec \"$@\""), "sh"], &[]))
}

/// A temporary folder that is full or read-only: nothing is spilled, and everything else works.
fn unusable_temporary_folder() -> Result {
    let full = "mount -t tmpfs -o size=4k none /tmp && ! head -c 8192 /dev/zero > /tmp/full 2> /dev/null";
    for mount in ["mount -t tmpfs -o ro none /tmp", full] {
        assert_eq!(behind_mount(mount).flatten(), None);
    }
    Ok(())
}

/// Without `/proc`, as in some containers, a session works.
fn missing_proc() -> Result {
    assert_eq!(behind_mount("mount -t tmpfs -o ro none /proc").flatten(), None);
    Ok(())
}
