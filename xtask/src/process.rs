//! Runs other programs with time limits.

use crate::Result;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It exited.
    Exited(ExitStatus),
    /// It was killed, with all its descendants.
    TimedOut(Duration),
}

impl End {
    /// An error unless the program exited successfully.
    pub(crate) fn check(self, what: &str) -> Result {
        match self {
            End::Exited(status) if status.success() => Ok(()),
            End::Exited(status) => Err(format!("{what}: {status}").into()),
            End::TimedOut(limit) => Err(format!("{what}: not done after {} s", limit.as_secs()).into()),
        }
    }
}

/// The cargo that runs this program, with this working directory.
pub(crate) fn cargo(root: &Path) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")));
    command.current_dir(root);
    command
}

/// The target triple of the host.
pub(crate) fn host(root: &Path) -> Result<String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = Command::new(rustc).arg("-vV").current_dir(root).output()?;
    let version = String::from_utf8(version.stdout)?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.ok_or("`rustc -vV` prints no host")?.to_owned())
}

/// The command line, for display.
pub(crate) fn words(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_stem().unwrap_or_default();
    let mut words = vec![program.to_string_lossy()];
    words.extend(command.get_args().map(|word| word.to_string_lossy()));
    words.join(" ")
}

/// Prints the command line and runs the command with this process's input and output.
pub(crate) fn run(command: &mut Command, limit: Duration) -> Result {
    let words = words(command);
    eprintln!("$ {words}");
    let mut child = command.spawn().map_err(|error| format!("{words}: {error}"))?;
    wait(&mut child, limit)?.check(&words)
}

/// Waits until the program ends, or kills it at the time limit.
pub(crate) fn wait(child: &mut Child, limit: Duration) -> Result<End> {
    let end = Instant::now() + limit;
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(End::Exited(status));
        }
        if Instant::now() >= end {
            kill_with_children(child)?;
            return Ok(End::TimedOut(limit));
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

/// Kills a program and all its descendants.
pub(crate) fn kill_with_children(child: &mut Child) -> Result {
    kill_tree(child.id());
    // A child stays a zombie until it is waited for, so its id is still valid.
    child.kill()?;
    child.wait()?;
    Ok(())
}

/// Kills the descendants of a process. All are listed before the first is killed, since orphans get another parent.
fn kill_tree(root: u32) {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for (process, parent) in processes().filter_map(|process| Some((process, parent(process)?))) {
        children.entry(parent).or_default().push(process);
    }
    let mut tree = vec![root];
    let mut next = 0;
    while let Some(process) = tree.get(next) {
        next += 1;
        let more = children.remove(process).unwrap_or_default();
        tree.extend(more);
    }
    for process in tree.into_iter().skip(1) {
        kill(process);
    }
}

/// Kills a process; does nothing if it has ended.
pub(crate) fn kill(process: u32) {
    if let Some(pid) = i32::try_from(process).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, Signal::KILL);
    }
}

/// Sends a signal to a process or its group.
pub(crate) fn signal(process: u32, signal: Signal, group: bool) -> Result {
    let pid = i32::try_from(process).ok().and_then(Pid::from_raw).ok_or("no such process")?;
    match group {
        true => kill_process_group(pid, signal)?,
        false => kill_process(pid, signal)?,
    }
    Ok(())
}

/// The arguments of a process, with spaces between them; nothing if it has ended.
pub(crate) fn command_line(process: u32) -> String {
    let line = std::fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&line).replace('\0', " ").trim_end().to_owned()
}

/// The other processes that have this value of this variable in their environment; zombies have no environment.
pub(crate) fn with_environment(variable: &str, value: &str) -> Vec<u32> {
    let wanted = format!("{variable}={value}");
    let is_marked = |process: &u32| {
        let environment = std::fs::read(format!("/proc/{process}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|entry| entry == wanted.as_bytes())
    };
    processes().filter(|process| *process != std::process::id()).filter(is_marked).collect()
}

/// The children of a process with a command line that starts with `prefix`.
pub(crate) fn children_named(process: u32, prefix: &str) -> Vec<u32> {
    let is_named = |child: &u32| {
        std::fs::read(format!("/proc/{child}/cmdline")).is_ok_and(|line| line.starts_with(prefix.as_bytes()))
    };
    processes().filter(|child| parent(*child) == Some(process)).filter(is_named).collect()
}

/// The processes that run this executable, without zombies.
pub(crate) fn processes_of(executable: &Path) -> Vec<u32> {
    processes()
        .filter(|process| {
            std::fs::read_link(format!("/proc/{process}/exe")).is_ok_and(|running| running == executable)
        })
        .collect()
}

/// All processes; none without `/proc`.
pub(crate) fn processes() -> impl Iterator<Item = u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// The parent of a process, from `/proc/PID/stat` (see proc_pid_stat(5)): the second word after the name, which is
/// in parentheses and may have any characters in it.
fn parent(process: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Stdio;

    #[test]
    fn exit_statuses_are_checked() {
        let limit = Duration::from_secs(60);
        assert!(run(&mut Command::new("true"), limit).is_ok());
        let error = run(Command::new("false").arg("x"), limit).unwrap_err().to_string();
        assert!(error.starts_with("false x: exit"), "{error}");
        assert!(run(&mut Command::new("no-such-program-anywhere"), limit).is_err());
    }

    #[test]
    fn timed_out_programs_are_killed_with_their_children() {
        let mut child = Command::new("sh")
            .args(["-c", "sleep 1000 & echo $!; wait"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.take().unwrap()), &mut line)
            .unwrap();
        let grandchild: u32 = line.trim().parse().unwrap();
        assert_eq!(parent(grandchild), Some(child.id()));
        let limit = Duration::from_millis(10);
        assert_eq!(wait(&mut child, limit).unwrap(), End::TimedOut(limit));
        let gone = || std::fs::read_link(format!("/proc/{grandchild}/exe")).is_err();
        assert!((0..1000).any(|_| {
            std::thread::sleep(Duration::from_millis(10));
            gone()
        }));
    }

    #[test]
    fn processes_are_found_by_executable() {
        let executable = std::env::current_exe().unwrap();
        assert!(processes_of(&executable).contains(&std::process::id()));
    }
}
