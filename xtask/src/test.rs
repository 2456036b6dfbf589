//! `test`: runs all tests.

use crate::process;
use crate::workspace::Workspace;
use crate::{Result, mpi_test};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

/// The arguments of `test`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Use `cargo test` even if nextest is installed.
    #[arg(long)]
    no_nextest: bool,
    /// Time limit of each part with building, in seconds.
    #[arg(long, default_value_t = 2400)]
    timeout: u64,
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Result {
    let limit = Duration::from_secs(arguments.timeout);
    tests_without_mpi(arguments, limit, &Workspace::load()?)?;
    mpi_test::mpi_tests(limit)
}

fn tests_without_mpi(arguments: &Arguments, limit: Duration, workspace: &Workspace) -> Result {
    let root = &workspace.root;
    let nextest = !arguments.no_nextest && has_nextest(root);
    if !nextest {
        // With nothing selected, cargo runs all tests of the default members, documentation tests last.
        return process::run(process::cargo(root).args(["test", "--no-fail-fast"]), limit);
    }
    process::run(process::cargo(root).args(["nextest", "run"]), limit)?;
    let packages = workspace.with_doctests().into_iter().flat_map(|name| ["--package", name]);
    process::run(process::cargo(root).args(["test", "--doc", "--no-fail-fast"]).args(packages), limit)
}

fn has_nextest(root: &Path) -> bool {
    let mut version = process::cargo(root);
    version.args(["nextest", "--version"]).stdout(Stdio::null()).stderr(Stdio::null());
    version.status().is_ok_and(|status| status.success())
}
