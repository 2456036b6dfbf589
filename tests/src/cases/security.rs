//! What another user of the machine can reach of a session.

use crate::case::{Case, MPI, PYMP, Result, cases};
use crate::process::with_environment;
use crate::runner::MARK;
use crate::support::Counter;
use std::collections::BTreeSet;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::process::Command;
use unidist::prelude::*;
use unidist::put_slice;

pub(super) const CASES: &[Case] = cases!["security":
    other_user_reaches_nothing.only(PYMP).except(MPI).settings(SMALL_STORE),
    shared_memory_and_files_are_private.only(PYMP).settings(SMALL_STORE),
    no_socket_has_a_name.only(PYMP).except(MPI).settings(SMALL_STORE),
];

const SMALL_STORE: &[(&str, &str)] =
    &[("UNIDIST_OBJECT_STORE_MEMORY", "8MiB"), ("UNIDIST_SPILL_LIMIT", "64MiB")];

/// The processes of this session with an actor, while objects are in memory and on disk.
fn with_session(look: impl FnOnce(&[u32])) -> Result {
    let objects: Vec<_> = (0..4).map(|n| put_slice(&vec![n; 3 << 20]).unwrap()).collect();
    let views = get(&objects[..2])?;
    let counter = Counter::remote(1);
    let actor = get(counter.process.remote())?;
    let mut processes = with_environment(MARK, &std::env::var(MARK).unwrap());
    processes.push(std::process::id());
    assert!(processes.contains(&actor) && processes.len() >= 4, "{processes:?}");
    look(&processes);
    drop(views);
    Ok(())
}

/// Prints what it can open of each process, and the processes that it may signal.
const REACHES: &str = r#"
for process in "$@"; do
    ls "/proc/$process/fd" > /dev/null 2>&1 && echo "the list of open files of $process"
    for file in maps environ mem fd/3 fd/4 fd/5 fd/6 fd/7 fd/8 fd/9 fd/10 fd/11 fd/12; do
        (: < "/proc/$process/$file") 2> /dev/null && echo "$file of $process"
    done
    kill -0 "$process" 2> /dev/null && echo "signals to $process"
done
true
"#;

/// Another user opens neither memory nor files of the session's processes, and sends them no signals.
fn other_user_reaches_nothing() -> Result {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can become another user");
        return Ok(());
    }
    with_session(|processes| {
        let reached = |words: &[&str]| {
            let words = [words, &["sh", "-c", REACHES, "sh"]].concat();
            let processes = processes.iter().map(u32::to_string);
            let output = Command::new(words[0]).args(&words[1..]).args(processes).output().unwrap();
            assert!(output.status.success(), "{output:?}");
            String::from_utf8(output.stdout).unwrap()
        };
        // The same user reaches all of it: the script can fail.
        let own = reached(&["env"]);
        for what in ["the list of open files of", "mem of", "fd/4 of", "signals to"] {
            assert!(own.contains(what), "{own}");
        }
        assert_eq!(reached(&["setpriv", "--reuid=63217", "--regid=63217", "--clear-groups"]), "");
    })
}

/// The open files of a process.
fn open_files(process: u32) -> Vec<std::path::PathBuf> {
    std::fs::read_dir(format!("/proc/{process}/fd")).unwrap().flatten().map(|file| file.path()).collect()
}

/// The memory that processes share and the spill file are for their owner alone, by their modes.
fn shared_memory_and_files_are_private() -> Result {
    with_session(|processes| {
        let mut names = BTreeSet::new();
        for file in processes.iter().flat_map(|process| open_files(*process)) {
            // A file may have been closed since.
            let (Ok(name), Ok(metadata)) = (std::fs::read_link(&file), file.metadata()) else { continue };
            let name = name.display().to_string();
            if metadata.nlink() == 0 && metadata.is_file() && !name.contains("conformance-output") {
                assert_eq!(metadata.mode() & 0o077, 0, "{name} has the mode {:o}", metadata.mode());
                names.insert(name);
            }
        }
        for what in ["unidist-store", "unidist-link"] {
            assert!(names.iter().any(|name| name.contains(what)), "{names:?}");
        }
        assert!(names.iter().any(|name| !name.contains("memfd")), "no spill file: {names:?}");
    })
}

/// The processes of a session on one machine have no socket that another process could connect to.
fn no_socket_has_a_name() -> Result {
    with_session(|processes| {
        let of_session: BTreeSet<u64> = processes
            .iter()
            .flat_map(|process| open_files(*process))
            .filter_map(|file| file.metadata().ok())
            .filter(|metadata| metadata.file_type().is_socket())
            .map(|metadata| metadata.ino())
            .collect();
        assert!(!of_session.is_empty());
        let read = |name: &str| std::fs::read_to_string(format!("/proc/net/{name}")).unwrap_or_default();
        for protocol in ["tcp", "tcp6", "udp", "udp6"] {
            for line in read(protocol).lines().skip(1) {
                let inode = line.split_whitespace().nth(9).and_then(|inode| inode.parse().ok());
                assert!(!inode.is_some_and(|inode| of_session.contains(&inode)), "{protocol}: {line}");
            }
        }
        let mut found = 0;
        for line in read("unix").lines().skip(1) {
            let words: Vec<_> = line.split_whitespace().collect();
            if words
                .get(6)
                .and_then(|inode| inode.parse().ok())
                .is_some_and(|inode| of_session.contains(&inode))
            {
                assert_eq!(words.len(), 7, "it has a name: {line}");
                found += 1;
            }
        }
        assert!(found > 0);
    })
}
