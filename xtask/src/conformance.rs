//! `conformance`: runs one backend's conformance suite repeatedly.

use crate::Result;
use crate::artifact;
use crate::leak_check::LeakCheck;
use crate::load::Load;
use crate::suite::{GRACE, Suite};
use crate::workspace::Workspace;
use indicatif::{ProgressBar, ProgressStyle};
use std::time::{Duration, Instant};

/// The suite's package and target.
pub(crate) const PACKAGE: &str = "unidist-tests";
pub(crate) const TARGET: &str = "conformance";

/// The arguments of `conformance`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The backend, as in UNIDIST_BACKEND.
    #[arg(long, value_name = "NAME")]
    backend: String,
    /// Number of runs.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    repeat: u32,
    /// Keep every core busy with another load.
    #[arg(long)]
    load: bool,
    /// Build with optimizations.
    #[arg(long)]
    release: bool,
    /// Time limit of one run, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    timeout: u64,
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Result {
    let workspace = Workspace::load()?;
    let suite = build(&workspace, arguments)?;
    let tests = suite.tests(suite.command())?.len();
    let bar = progress(arguments);
    let start = Instant::now();
    {
        let _load = arguments.load.then(Load::start);
        for number in 1..=arguments.repeat {
            let took = suite.run(suite.command()).and_then(|run| run.check()).map_err(|error| {
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
    suite.leak_check.check_processes(GRACE)?;
    suite.leak_check.check_shared_memory()?;
    println!(
        "{}: {tests} tests, {} runs in {:.1} s, no process and no shared memory left behind",
        arguments.backend,
        arguments.repeat,
        start.elapsed().as_secs_f64()
    );
    Ok(())
}

fn build(workspace: &Workspace, arguments: &Arguments) -> Result<Suite> {
    let mut cargo = vec!["test", "--package", PACKAGE, "--test", TARGET, "--no-run"];
    if arguments.release {
        cargo.push("--release");
    }
    let executable = artifact::build(workspace, &cargo, TARGET)?;
    Ok(Suite {
        leak_check: LeakCheck::new(&executable),
        executable,
        folder: workspace.root.join("tests"),
        filter: format!("{}::", arguments.backend),
        limit: Duration::from_secs(arguments.timeout),
        _name: None,
    })
}

/// A progress bar on a terminal, hidden elsewhere.
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
