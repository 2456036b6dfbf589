//! `bench`: the benchmarks.

use crate::Result;
use crate::process;
use crate::workspace::Workspace;
use std::path::PathBuf;
use std::time::Duration;

const PACKAGE: &str = "unidist-bench";
const BUILD_LIMIT: Duration = Duration::from_secs(2400);

/// The arguments of `bench`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Also write what was measured to this file, for programs to read.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Fewer rounds, smaller numbers: good for a first look.
    #[arg(long)]
    quick: bool,
    /// How many seconds it may take, once it is built.
    #[arg(long, default_value_t = 3600)]
    timeout: u64,
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Result {
    let root = Workspace::load()?.root;
    process::run(process::cargo(&root).args(["build", "--release", "--package", PACKAGE]), BUILD_LIMIT)?;
    let mut bench = process::cargo(&root);
    bench.args(["run", "--quiet", "--release", "--package", PACKAGE, "--"]);
    bench.args(arguments.quick.then_some("--quick"));
    if let Some(file) = &arguments.json {
        // As seen from where the command was given.
        bench.arg("--json").arg(std::path::absolute(file)?);
    }
    process::run(&mut bench, Duration::from_secs(arguments.timeout))
}
