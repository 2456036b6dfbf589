//! A test program, run with a limit of time, after which nothing of it may be left.

use crate::Result;
use crate::leftovers::Before;
use crate::process::{self, End};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How long processes that are about to end may take to do so.
pub(crate) const GRACE: Duration = Duration::from_secs(5);

/// A test program, built.
pub(crate) struct Suite {
    pub(crate) executable: PathBuf,
    pub(crate) before: Before,
    pub(crate) folder: PathBuf,
    /// What the names of its tests have to have in them.
    pub(crate) filter: String,
    /// How long one run may take.
    pub(crate) limit: Duration,
    /// If the executable has this name for these runs alone.
    pub(crate) _name: Option<OwnName>,
}

/// Another name of an executable, by which its processes are told from those of another run at the same time. It is
/// removed with this value.
pub(crate) struct OwnName(pub(crate) PathBuf);

impl OwnName {
    /// A name beside the executable's.
    pub(crate) fn of(executable: &Path) -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = executable.with_extension(format!("{}-{number}", std::process::id()));
        if name.exists() {
            std::fs::remove_file(&name)?;
        }
        std::fs::hard_link(executable, &name).map_err(|error| format!("{}: {error}", name.display()))?;
        Ok(OwnName(name))
    }
}

impl Drop for OwnName {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// What a run has said.
pub(crate) struct Run {
    pub(crate) took: Duration,
    pub(crate) end: End,
    pub(crate) text: String,
}

impl Run {
    /// An error, with what was said, unless it has ended well.
    pub(crate) fn check(self) -> Result<Duration> {
        self.end.check("the suite").map_err(|error| format!("{error}\n{}", self.text))?;
        Ok(self.took)
    }
}

impl Suite {
    /// The program, on this machine.
    pub(crate) fn command(&self) -> Command {
        self.prepare(Command::new(&self.executable))
    }

    /// What is run, after what has to come before its arguments.
    pub(crate) fn prepare(&self, mut command: Command) -> Command {
        command.arg(&self.filter).current_dir(&self.folder).stdin(Stdio::null());
        command
    }

    /// How many tests there are; none is an error.
    pub(crate) fn trials(&self, mut command: Command) -> Result<usize> {
        let listed = command.arg("--list").stderr(Stdio::inherit()).output()?;
        let lines = String::from_utf8_lossy(&listed.stdout);
        match lines.lines().filter(|line| line.ends_with(": test") && line.contains(&self.filter)).count() {
            0 => Err(format!("the suite has no test called ..{}..", self.filter).into()),
            count => Ok(count),
        }
    }

    /// Runs it.
    pub(crate) fn run(&self, mut command: Command) -> Result<Run> {
        let start = Instant::now();
        let (output, writer) = std::io::pipe()?;
        let mut child = command.stdout(writer.try_clone()?).stderr(writer).spawn()?;
        drop(command);
        // The command and with it this process's ends of the pipe are gone, so the text ends when the writers do.
        let reader = std::thread::spawn(move || text_of(output));
        let end = process::wait(&mut child, self.limit)?;
        if matches!(end, End::TimedOut(_)) {
            // Whatever outlived its parent would keep the pipe open.
            process::processes_of(&self.executable).into_iter().for_each(process::kill);
        } else {
            self.before.check_processes(GRACE)?;
        }
        let text = reader.join().unwrap_or_default();
        Ok(Run { took: start.elapsed(), end, text })
    }
}

fn text_of(mut output: impl Read) -> String {
    let mut bytes = Vec::new();
    // What could be read is better than nothing.
    let _ = output.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}
