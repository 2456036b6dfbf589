//! `loom`: runs the models of the shared-memory protocols.

use crate::Result;
use crate::process;
use crate::workspace::Workspace;
use std::process::Stdio;
use std::time::Duration;

const BUILD_LIMIT: Duration = Duration::from_secs(1200);

/// The arguments of `loom`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Time limit of the models, without building, in seconds.
    #[arg(long, default_value_t = 300)]
    timeout: u64,
    /// Run only the models whose names contain this.
    model: Option<String>,
}

/// Runs the command. Code built with `--cfg unidist_loom` has a target folder of its own, so that nothing else is rebuilt.
pub(crate) fn run(arguments: &Arguments) -> Result {
    let workspace = Workspace::load()?;
    let cargo = |last: &[&str]| {
        let mut cargo = process::cargo(&workspace.root);
        cargo.args(["test", "--quiet", "--release", "--package", "unidist-sync", "--lib"]).args(last);
        cargo.env("RUSTFLAGS", "--cfg unidist_loom").env_remove("CARGO_ENCODED_RUSTFLAGS");
        cargo.env("CARGO_TARGET_DIR", workspace.target().join("loom"));
        cargo
    };
    process::run(&mut cargo(&["--no-run"]), BUILD_LIMIT)?;
    let filter = format!("models::{}", arguments.model.as_deref().unwrap_or_default());
    let listed = cargo(&["--", &filter, "--list"]).stderr(Stdio::inherit()).output()?;
    if !String::from_utf8_lossy(&listed.stdout).lines().any(|line| line.ends_with(": test")) {
        let models = "unidist-sync/src/models.rs has the models";
        return Err(format!("no model has `{filter}` in its name: {models}").into());
    }
    process::run(&mut cargo(&["--", &filter]), Duration::from_secs(arguments.timeout))
}
