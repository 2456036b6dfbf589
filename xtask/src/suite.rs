//! Runs a test program with a time limit, and checks that it leaves nothing behind.

use crate::Result;
use crate::leak_check::LeakCheck;
use crate::process::{self, End};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Time limit for processes to end after the program.
pub(crate) const GRACE: Duration = Duration::from_secs(5);

/// A test program that has been built.
pub(crate) struct Suite {
    pub(crate) executable: PathBuf,
    pub(crate) leak_check: LeakCheck,
    pub(crate) folder: PathBuf,
    /// Run the tests with this in their names.
    pub(crate) filter: String,
    /// Time limit of one run.
    pub(crate) limit: Duration,
    /// Removes the executable's unique name on drop.
    pub(crate) _name: Option<UniqueName>,
}

/// A hard link to an executable: its processes are distinguishable from those of concurrent runs. Removed on drop.
pub(crate) struct UniqueName(pub(crate) PathBuf);

impl UniqueName {
    /// Creates the name in the executable's folder.
    pub(crate) fn of(executable: &Path) -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = executable.with_extension(format!("{}-{number}", std::process::id()));
        if name.exists() {
            std::fs::remove_file(&name)?;
        }
        std::fs::hard_link(executable, &name).map_err(|error| format!("{}: {error}", name.display()))?;
        Ok(UniqueName(name))
    }
}

impl Drop for UniqueName {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// The outcome of a run.
pub(crate) struct Run {
    pub(crate) took: Duration,
    pub(crate) end: End,
    pub(crate) text: String,
}

impl Run {
    /// An error with the output, unless the run succeeded.
    pub(crate) fn check(self) -> Result<Duration> {
        self.end.check("the suite").map_err(|error| format!("{error}\n{}", self.text))?;
        Ok(self.took)
    }
}

impl Suite {
    /// The command that runs the program on this machine.
    pub(crate) fn command(&self) -> Command {
        self.prepare(Command::new(&self.executable))
    }

    /// Adds the arguments of the program to a command that runs it.
    pub(crate) fn prepare(&self, mut command: Command) -> Command {
        command.arg(&self.filter).current_dir(&self.folder).stdin(Stdio::null());
        command
    }

    /// The names of the tests; none is an error.
    pub(crate) fn tests(&self, mut command: Command) -> Result<Vec<String>> {
        let listed = command.arg("--list").stderr(Stdio::inherit()).output()?;
        let lines = String::from_utf8_lossy(&listed.stdout);
        let names = lines.lines().filter_map(|line| line.strip_suffix(": test"));
        let names: Vec<_> = names.filter(|name| name.contains(&self.filter)).map(str::to_owned).collect();
        match names.is_empty() {
            true => Err(format!("the suite has no test with `{}` in its name", self.filter).into()),
            false => Ok(names),
        }
    }

    /// Runs it.
    pub(crate) fn run(&self, mut command: Command) -> Result<Run> {
        let start = Instant::now();
        let (output, writer) = std::io::pipe()?;
        let mut child = command.stdout(writer.try_clone()?).stderr(writer).spawn()?;
        drop(command);
        // This process's ends of the pipe are closed with the command, so the output ends with the writers.
        let reader = std::thread::spawn(move || text_of(output));
        let end = process::wait(&mut child, self.limit)?;
        if matches!(end, End::TimedOut(_)) {
            // Processes that outlive the program keep the pipe open.
            process::processes_of(&self.executable).into_iter().for_each(process::kill);
        } else {
            self.leak_check.check_processes(GRACE)?;
        }
        let text = reader.join().unwrap_or_default();
        Ok(Run { took: start.elapsed(), end, text })
    }
}

fn text_of(mut output: impl Read) -> String {
    let mut bytes = Vec::new();
    // Partial output is still useful.
    let _ = output.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}
