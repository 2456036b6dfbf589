//! `package`: the published crates, packaged and built from their packages.

use crate::workspace::Workspace;
use crate::{Result, process};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(2400);

/// The arguments of `package`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Also package the crates that need an MPI and libclang to build.
    #[arg(long)]
    mpi: bool,
}

/// Runs the command. Members with `publish = false` are left out.
pub(crate) fn run(arguments: &Arguments) -> Result {
    let workspace = Workspace::load()?;
    let published = workspace.published();
    let mut cargo = process::cargo(&workspace.root);
    // A change may be checked before it is committed.
    cargo.args(["package", "--locked", "--allow-dirty"]);
    for name in &published {
        if arguments.mpi || !workspace.needs_mpi(name) {
            cargo.args(["--package", name]);
        }
    }
    process::run(&mut cargo, LIMIT)?;
    println!("packaged: {}", published.join(", "));
    Ok(())
}
