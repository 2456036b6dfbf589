//! A program that is told what to do over a socket, and says what it is at.

use super::stage::{Folder, check_nothing_left};
use crate::Result;
use crate::leftovers::Before;
use crate::mpi::Script;
use crate::process::{self, End};
use rustix::process::Signal;
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// How long the program may take to start, and to do one thing.
const PATIENCE: Duration = Duration::from_secs(60);

/// A program that runs. Whatever there is of it ends with this value.
pub(crate) struct Program {
    child: Child,
    socket: BufReader<UnixStream>,
    /// The number of its process.
    pub(crate) process: u32,
    folder: Folder,
    _script: Script,
    before: Before,
    mark: String,
    is_checked: bool,
}

/// Who works on a host.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) host: String,
    /// The controller or the monitor.
    pub(crate) engine: u32,
    /// A worker.
    pub(crate) worker: u32,
}

/// How it ended, and what was written.
#[derive(Debug)]
pub(crate) struct Ended {
    /// None: not in time.
    pub(crate) code: Option<i32>,
    pub(crate) took: Duration,
    pub(crate) text: String,
}

impl Program {
    pub(super) fn start(
        command: &mut Command,
        folder: Folder,
        script: Script,
        before: Before,
        mark: String,
    ) -> Result<Self> {
        let listener = UnixListener::bind(folder.0.join("socket"))?;
        listener.set_nonblocking(true)?;
        let mut child = command.spawn()?;
        let end = Instant::now() + PATIENCE;
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
                break Err(format!("it has no session after {} s", PATIENCE.as_secs()));
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        let stream = match stream {
            Ok(stream) => stream,
            Err(why) => {
                process::end_tree(&mut child)?;
                let text = text(&folder);
                return Err(format!("the program does not start: {why}\n{text}").into());
            }
        };
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let socket = BufReader::new(stream);
        let mut program =
            Program { child, socket, process: 0, folder, _script: script, before, mark, is_checked: false };
        program.process = program.answer("program")?.parse()?;
        Ok(program)
    }

    /// Has it do something and waits until that is done.
    pub(crate) fn ask(&mut self, command: &str) -> Result<String> {
        self.tell(command)?;
        self.answer(command.split(' ').next().unwrap_or_default())
    }

    /// Has it do something of which there is no answer.
    pub(crate) fn tell(&mut self, command: &str) -> Result {
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

    /// Who works where.
    pub(crate) fn staff(&mut self) -> Result<Vec<Told>> {
        let said = self.ask("staff")?;
        let words: Vec<&str> = said.split(' ').collect();
        let told = |words: &[&str]| {
            Ok(Told { host: words[0].to_owned(), engine: words[1].parse()?, worker: words[2].parse()? })
        };
        words.chunks_exact(3).map(told).collect()
    }

    /// All workers, wherever they are.
    pub(crate) fn workers(&self) -> Vec<u32> {
        let all = process::with_environment(super::super::MARK, &self.mark);
        all.into_iter().filter(|process| process::command_line(*process).starts_with("unidist-")).collect()
    }

    /// Sends a signal to what was started, the launcher or the program itself; to its group if that is wanted, as a
    /// terminal does.
    pub(crate) fn signal(&self, signal: Signal, group: bool) -> Result {
        process::signal(self.child.id(), signal, group)
    }

    /// Waits for the end of all of it; nothing may be left.
    pub(crate) fn ended(mut self, limit: Duration) -> Result<Ended> {
        let start = Instant::now();
        let end = process::wait(&mut self.child, limit)?;
        let took = start.elapsed();
        self.is_checked = true;
        let left = check_nothing_left(&self.before, &self.mark);
        let text = self.text();
        left.map_err(|error| format!("{error}\n{text}"))?;
        let code = match end {
            End::Exited(status) => Some(code(status)),
            End::TimedOut(_) => None,
        };
        Ok(Ended { code, took, text })
    }

    /// What it has written so far.
    pub(crate) fn text(&self) -> String {
        text(&self.folder)
    }
}

/// As a shell has it.
fn code(status: std::process::ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status.code().or_else(|| Some(128 + status.signal()?)).unwrap_or(-1)
}

fn text(folder: &Folder) -> String {
    let text = std::fs::read(folder.0.join("output")).unwrap_or_default();
    String::from_utf8_lossy(&text).into_owned()
}

impl Drop for Program {
    fn drop(&mut self) {
        if !self.is_checked {
            // Something went wrong before, and is reported.
            let _ = process::end_tree(&mut self.child);
            process::with_environment(super::super::MARK, &self.mark).into_iter().for_each(process::kill);
            let _ = check_nothing_left(&self.before, &self.mark);
        }
    }
}
