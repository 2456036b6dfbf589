//! What the manifests must say.

use crate::Result;
use crate::workspace::{self, Workspace};

const CORE: &str = "unidist-core";
const API: &str = "unidist-api";
const SPMD: &str = "unidist-spmd";
const MPI_COMM: &str = "unidist-mpi-comm";
const BACKENDS: [&str; 4] = ["unidist-engine", "unidist-mpi", "unidist-pymp", "unidist-pyseq"];

/// Backends know core; core knows no backend.
pub(super) fn core_reaches_no_backend(workspace: &Workspace) -> Result<Vec<String>> {
    let reached = workspace.reach(CORE);
    let wrong = BACKENDS.into_iter().chain([API]).filter(|name| reached.contains(*name));
    Ok(wrong.map(|name| format!("{CORE} depends on {name}")).collect())
}

/// Only the facade names the backends; none of them names the facade.
pub(super) fn no_backend_reaches_the_api(workspace: &Workspace) -> Result<Vec<String>> {
    let wrong = BACKENDS.into_iter().filter(|backend| workspace.reach(backend).contains(API));
    Ok(wrong.map(|backend| format!("{backend} depends on {API}")).collect())
}

/// Programs of ranks call MPI without the engine, and one crate alone calls MPI.
pub(super) fn programs_of_ranks_reach_no_engine(workspace: &Workspace) -> Result<Vec<String>> {
    let reached = workspace.reach(SPMD);
    let wrong = BACKENDS.into_iter().chain([CORE]).filter(|name| reached.contains(*name));
    let mut wrong: Vec<_> = wrong.map(|name| format!("{SPMD} depends on {name}")).collect();
    for package in workspace.members() {
        // The conformance suite has an MPI program of its own.
        let may_call = [MPI_COMM, "unidist-tests"].contains(&package.name.as_str());
        if !may_call && package.dependencies.iter().any(|dependency| dependency.name == "mpi") {
            wrong.push(format!("{} depends on mpi: only {MPI_COMM} calls MPI", package.name));
        }
    }
    Ok(wrong)
}

/// Lints are set in one place.
pub(super) fn members_take_the_lints(workspace: &Workspace) -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    for package in workspace.members() {
        let path = package.manifest_path.as_std_path();
        let manifest: toml::Table = workspace::read(path)?.parse()?;
        let inherited = manifest.get("lints").and_then(|lints| lints.get("workspace")?.as_bool());
        if inherited != Some(true) {
            wrong.push(format!("{}: without `lints.workspace = true`", workspace.relative(path)));
        }
    }
    Ok(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_facade_reaches_what_it_offers() {
        let reached = Workspace::load().unwrap().reach(API);
        for name in [CORE, "unidist-common", "unidist-pyseq", "unidist-pymp", "unidist-engine"] {
            assert!(reached.contains(name), "{name}");
        }
    }
}
