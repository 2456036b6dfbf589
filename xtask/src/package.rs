//! `package`: the published crates, packaged and built from their packages.

use crate::mpi;
use crate::workspace::Workspace;
use crate::{Result, process};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(2400);

/// The arguments of `package`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {}

/// Runs the command. Members with `publish = false` are left out. Some of the others need an MPI to build; since
/// packages are resolved together, without an MPI all are skipped.
pub(crate) fn run(_: &Arguments) -> Result {
    let workspace = Workspace::load()?;
    let published = workspace.published();
    if published.is_empty() {
        return Err("no member can be published: all have `publish = false`".into());
    }
    let mpi =
        match mpi::find(&workspace, mpi::Name::System).and_then(|mpi| mpi::need_libclang().map(|()| mpi)) {
            Ok(mpi) => mpi,
            Err(error) => {
                println!("skipped: {error}");
                return Ok(());
            }
        };
    let mut cargo = process::cargo(&workspace.root);
    // Building is all that counts, and takes less without debug information.
    cargo.env("CARGO_PROFILE_DEV_DEBUG", "false");
    // A change may be checked before it is committed.
    cargo.args(["package", "--quiet", "--locked", "--allow-dirty"]);
    cargo.args(published.iter().flat_map(|name| ["--package", name]));
    // Each package is built in this one folder, so they share their dependencies.
    cargo.env("CARGO_TARGET_DIR", workspace.target().join("packages"));
    cargo.env_remove("RUSTFLAGS").envs(mpi.build_environment()?);
    process::run(&mut cargo, LIMIT)?;
    println!("{} packages: {}", published.len(), published.join(", "));
    Ok(())
}
