//! Programs that cases start: hidden cases in processes of their own.

use crate::case::{MPI, PYMP};
use crate::{cases, process, runner};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio};
use std::time::Duration;

/// The time limit of a program that ends by itself.
const LIMIT: Duration = Duration::from_secs(45);

/// A running program, with a process group and workers of its own.
pub(super) struct Program {
    child: Child,
    output: Option<BufReader<ChildStdout>>,
    errors: BufReader<ChildStderr>,
}

impl Program {
    /// Starts a hidden case, given as `group::name`.
    pub(super) fn start(path: &str) -> Self {
        let program = cases::HIDDEN.iter().copied().flatten().find(|case| case.path() == path).unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        let backend = std::env::var("UNIDIST_BACKEND").unwrap();
        // Workers on this host are enough, and a launcher is not needed for them.
        let backend = if backend == MPI { PYMP } else { &backend };
        runner::command_for(&mut command, backend, &[*program]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let mut child = command.spawn().unwrap();
        let output = child.stdout.take().map(BufReader::new);
        let errors = BufReader::new(child.stderr.take().unwrap());
        Program { child, output, errors }
    }

    /// The next line on its standard output; `None` at the end.
    pub(super) fn line(&mut self) -> Option<String> {
        read_line(self.output.as_mut()?)
    }

    /// The next line on its standard error; `None` at the end.
    pub(super) fn error_line(&mut self) -> Option<String> {
        read_line(&mut self.errors)
    }

    /// Stops reading its standard output.
    pub(super) fn close_output(&mut self) {
        self.output = None;
    }

    pub(super) fn id(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Sends a signal to the program alone.
    pub(super) fn signal(&self, signal: Signal) {
        kill_process(self.id(), signal).unwrap();
    }

    /// Sends a signal to the program and to all processes of its group, as a terminal does.
    pub(super) fn signal_group(&self, signal: Signal) {
        kill_process_group(self.id(), signal).unwrap();
    }
}

/// Nothing is left of a program whose case fails.
impl Drop for Program {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            let _ = kill_process_group(self.id(), Signal::KILL);
            let _ = self.child.wait();
        }
    }
}

fn read_line(from: &mut impl BufRead) -> Option<String> {
    let mut line = String::new();
    from.read_line(&mut line).unwrap();
    (!line.is_empty()).then(|| line.trim_end().to_owned())
}

/// Waits until the program has ended: its status, and what it has printed on standard error since the last line that was
/// read.
pub(super) fn finish(mut program: Program) -> (ExitStatus, String) {
    if !process::wait_for_end(program.id(), LIMIT).unwrap() {
        program.signal_group(Signal::KILL);
        eprintln!("the program had not ended after {} s and was killed", LIMIT.as_secs());
    }
    let status = program.child.wait().unwrap();
    let mut errors = String::new();
    program.errors.read_to_string(&mut errors).unwrap();
    (status, errors)
}
