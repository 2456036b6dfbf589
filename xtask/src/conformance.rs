//! `conformance`: one backend's suite, again and again.

use crate::Result;
use crate::artifact;
use crate::leftovers::Before;
use crate::load::Load;
use crate::process::{self, End};
use crate::workspace::Workspace;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::Read;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const PACKAGE: &str = "unidist-tests";
const TARGET: &str = "conformance";

/// How long processes that are about to end may take to do so.
const GRACE: Duration = Duration::from_secs(5);

/// The arguments of `conformance`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The backend, as UNIDIST_BACKEND takes it.
    #[arg(long, value_name = "NAME")]
    backend: String,
    /// How many times.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    repeat: u32,
    /// Meanwhile keep every core busy with something else.
    #[arg(long)]
    load: bool,
    /// Build with optimizations.
    #[arg(long)]
    release: bool,
    /// How many seconds one run may take.
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    timeout: u64,
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Result {
    let workspace = Workspace::load()?;
    let suite = Suite::build(&workspace, arguments)?;
    let trials = suite.trials()?;
    let bar = progress(arguments);
    let start = Instant::now();
    {
        let _load = arguments.load.then(Load::start);
        for number in 1..=arguments.repeat {
            let took = suite.run_once().map_err(|error| {
                bar.abandon();
                format!("run {number} of {}: {error}", arguments.repeat)
            })?;
            if bar.is_hidden() {
                println!("run {number} of {}: {:.1} s", arguments.repeat, took.as_secs_f64());
            }
            bar.inc(1);
        }
    }
    bar.finish();
    suite.before.check_processes(GRACE)?;
    suite.before.check_shared_memory()?;
    println!(
        "{}: {trials} tests, {} runs in {:.1} s, no process and no shared memory left behind",
        arguments.backend,
        arguments.repeat,
        start.elapsed().as_secs_f64()
    );
    Ok(())
}

/// The suite, built.
struct Suite {
    executable: PathBuf,
    before: Before,
    folder: PathBuf,
    filter: String,
    limit: Duration,
}

impl Suite {
    fn build(workspace: &Workspace, arguments: &Arguments) -> Result<Self> {
        let mut cargo = vec!["test", "--package", PACKAGE, "--test", TARGET, "--no-run"];
        if arguments.release {
            cargo.push("--release");
        }
        let executable = artifact::build(workspace, &cargo, TARGET)?;
        Ok(Suite {
            before: Before::of(&executable),
            executable,
            folder: workspace.root.join("tests"),
            filter: format!("{}::", arguments.backend),
            limit: Duration::from_secs(arguments.timeout),
        })
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.executable);
        command.arg(&self.filter).current_dir(&self.folder).stdin(Stdio::null());
        command
    }

    /// How many tests the suite has for this backend; none is an error.
    fn trials(&self) -> Result<usize> {
        let listed = self.command().arg("--list").stderr(Stdio::inherit()).output()?;
        let lines = String::from_utf8_lossy(&listed.stdout);
        match lines.lines().filter(|line| line.starts_with(&self.filter)).count() {
            0 => Err(format!("the suite has no test called {}...", self.filter).into()),
            count => Ok(count),
        }
    }

    /// Runs the suite; its output is part of the error.
    fn run_once(&self) -> Result<Duration> {
        let start = Instant::now();
        let (output, writer) = std::io::pipe()?;
        let mut child = self.command().stdout(writer.try_clone()?).stderr(writer).spawn()?;
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
        end.check("the suite").map_err(|error| format!("{error}\n{text}"))?;
        Ok(start.elapsed())
    }
}

fn text_of(mut output: impl Read) -> String {
    let mut bytes = Vec::new();
    // What could be read is better than nothing.
    let _ = output.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A bar on a terminal, nothing elsewhere.
fn progress(arguments: &Arguments) -> ProgressBar {
    let template = "{msg} {wide_bar} {pos}/{len} [{elapsed}, {eta} left]";
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    let load = if arguments.load { " under load" } else { "" };
    let bar = ProgressBar::new(arguments.repeat.into())
        .with_style(style)
        .with_message(format!("{}{load}", arguments.backend));
    bar.enable_steady_tick(Duration::from_millis(500));
    bar
}
