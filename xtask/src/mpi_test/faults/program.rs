//! A program that is controlled over a socket.

use super::environment::check_for_leaks;
use crate::Result;
use crate::leak_check::LeakCheck;
use crate::mpi::Script;
use crate::process::{self, End};
use rustix::process::Signal;
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Child, Command};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Time limit for the program to start, and for one command.
const STEP_LIMIT: Duration = Duration::from_secs(60);

/// A running program. Dropping it kills all its processes.
pub(crate) struct Program {
    child: Child,
    socket: BufReader<UnixStream>,
    /// Its process id.
    pub(crate) process: u32,
    folder: TempDir,
    _script: Script,
    leak_check: LeakCheck,
    mark: String,
    is_checked: bool,
}

/// The processes of a host.
#[derive(Clone, Debug)]
pub(crate) struct HostProcesses {
    pub(crate) host: String,
    /// The controller or the monitor.
    pub(crate) engine: u32,
    /// A worker.
    pub(crate) worker: u32,
}

/// How it ended, with its output.
#[derive(Debug)]
pub(crate) struct Ended {
    /// None if it did not end in time.
    pub(crate) code: Option<i32>,
    pub(crate) took: Duration,
    pub(crate) text: String,
}

impl Program {
    pub(super) fn start(
        command: &mut Command,
        folder: TempDir,
        script: Script,
        leak_check: LeakCheck,
        mark: String,
    ) -> Result<Self> {
        let listener = UnixListener::bind(folder.path().join("socket"))?;
        listener.set_nonblocking(true)?;
        let mut child = command.spawn()?;
        let end = Instant::now() + STEP_LIMIT;
        let stream = loop {
            match listener.accept() {
                Ok((stream, _)) => break Ok(stream),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => break Err(error.to_string()),
            }
            if child.try_wait()?.is_some() {
                break Err("it has ended".into());
            }
            if Instant::now() > end {
                break Err(format!("it has no session after {} s", STEP_LIMIT.as_secs()));
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        let stream = match stream {
            Ok(stream) => stream,
            Err(why) => {
                process::kill_with_children(&mut child)?;
                let text = text(&folder);
                return Err(format!("the program does not start: {why}\n{text}").into());
            }
        };
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(STEP_LIMIT))?;
        let socket = BufReader::new(stream);
        let mut program = Program {
            child,
            socket,
            process: 0,
            folder,
            _script: script,
            leak_check,
            mark,
            is_checked: false,
        };
        program.process = program.answer("program")?.parse()?;
        Ok(program)
    }

    /// Sends a command and waits for the answer.
    pub(crate) fn request(&mut self, command: &str) -> Result<String> {
        self.send(command)?;
        self.answer(command.split(' ').next().unwrap_or_default())
    }

    /// Sends a command that has no answer.
    pub(crate) fn send(&mut self, command: &str) -> Result {
        Ok(writeln!(self.socket.get_mut(), "{command}")?)
    }

    fn answer(&mut self, name: &str) -> Result<String> {
        let mut line = String::new();
        match self.socket.read_line(&mut line) {
            Ok(0) => return Err(format!("{name}: the program has ended\n{}", self.text()).into()),
            Ok(_) => {}
            Err(error) => return Err(format!("{name}: no answer: {error}\n{}", self.text()).into()),
        }
        let answer = line.strip_prefix(name).map(str::trim);
        answer.map(str::to_owned).ok_or_else(|| format!("{name}: {}\n{}", line.trim(), self.text()).into())
    }

    /// The processes of each host.
    pub(crate) fn host_processes(&mut self) -> Result<Vec<HostProcesses>> {
        let said = self.request("workers")?;
        let words: Vec<&str> = said.split(' ').collect();
        let told = |words: &[&str]| {
            Ok(HostProcesses {
                host: words[0].to_owned(),
                engine: words[1].parse()?,
                worker: words[2].parse()?,
            })
        };
        words.chunks_exact(3).map(told).collect()
    }

    /// The workers on all hosts.
    pub(crate) fn workers(&self) -> Vec<u32> {
        let all = process::with_environment(super::super::MARK, &self.mark);
        all.into_iter().filter(|process| process::command_line(*process).starts_with("unidist-")).collect()
    }

    /// Sends a signal to the process that was started, which is the launcher or the program, or to its group like a
    /// terminal.
    pub(crate) fn signal(&self, signal: Signal, group: bool) -> Result {
        process::signal(self.child.id(), signal, group)
    }

    /// Waits for the end; no process and no file may be left.
    pub(crate) fn wait_for_end(mut self, limit: Duration) -> Result<Ended> {
        let start = Instant::now();
        let end = process::wait(&mut self.child, limit)?;
        let took = start.elapsed();
        self.is_checked = true;
        let left = check_for_leaks(&self.leak_check, &self.mark);
        let text = self.text();
        left.map_err(|error| format!("{error}\n{text}"))?;
        let code = match end {
            End::Exited(status) => Some(code(status)),
            End::TimedOut(_) => None,
        };
        Ok(Ended { code, took, text })
    }

    /// Its output so far.
    pub(crate) fn text(&self) -> String {
        text(&self.folder)
    }
}

/// The exit code as a shell reports it.
fn code(status: std::process::ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status.code().or_else(|| Some(128 + status.signal()?)).unwrap_or(-1)
}

fn text(folder: &TempDir) -> String {
    let text = std::fs::read(folder.path().join("output")).unwrap_or_default();
    String::from_utf8_lossy(&text).into_owned()
}

impl Drop for Program {
    fn drop(&mut self) {
        if !self.is_checked {
            // An earlier error is reported.
            let _ = process::kill_with_children(&mut self.child);
            process::with_environment(super::super::MARK, &self.mark).into_iter().for_each(process::kill);
            let _ = check_for_leaks(&self.leak_check, &self.mark);
        }
    }
}
