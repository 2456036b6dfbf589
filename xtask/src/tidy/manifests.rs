//! What the manifests must say.

use crate::Result;
use crate::workspace::{self, Workspace};
use std::collections::BTreeSet;

const CORE: &str = "unidist-core";
const API: &str = "unidist-api";
const CONTRACT: &str = "unidist-backend";
const SPMD: &str = "unidist-spmd";
const MPI_COMM: &str = "unidist-mpi-comm";
const BACKENDS: [&str; 4] = ["unidist-engine", "unidist-mpi", "unidist-pymp", "unidist-pyseq"];

/// Core and backends know the contract only: neither depends on the other, the contract on none of them.
pub(super) fn core_and_backends_meet_in_the_contract(workspace: &Workspace) -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    let mut check = |package: &str, reached: &BTreeSet<String>, forbidden: &[&str]| {
        let found = forbidden.iter().filter(|name| reached.contains(**name));
        wrong.extend(found.map(|name| format!("{package} depends on {name}")));
    };
    let above_contract: Vec<&str> = BACKENDS.into_iter().chain([CORE, API]).collect();
    check(CONTRACT, &workspace.dependencies_of(CONTRACT), &above_contract);
    check(CORE, &workspace.dependencies_of(CORE), &[&BACKENDS[..], &[API]].concat());
    for backend in BACKENDS {
        check(backend, &workspace.reach_without_tests(backend), &[CORE]);
    }
    Ok(wrong)
}

/// Only the facade names the backends; none of them names the facade.
pub(super) fn no_backend_reaches_the_api(workspace: &Workspace) -> Result<Vec<String>> {
    let wrong = BACKENDS.into_iter().filter(|backend| workspace.dependencies_of(backend).contains(API));
    Ok(wrong.map(|backend| format!("{backend} depends on {API}")).collect())
}

/// Programs of ranks call MPI without the engine, and one crate alone calls MPI.
pub(super) fn programs_of_ranks_reach_no_engine(workspace: &Workspace) -> Result<Vec<String>> {
    let reached = workspace.dependencies_of(SPMD);
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

/// A published crate has what a registry shows, and states the versions of the members it depends on.
pub(super) fn published_members_are_complete(workspace: &Workspace) -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    for package in workspace.members() {
        if package.publish.as_ref().is_some_and(Vec::is_empty) {
            continue;
        }
        let manifest = workspace.relative(package.manifest_path.as_std_path());
        let folder = package.manifest_path.as_std_path().with_file_name("");
        let has = |file: &str| folder.join(file).exists();
        let fields = [
            (package.description.is_some(), "`description`"),
            (package.license.is_some(), "`license`"),
            (!package.keywords.is_empty(), "`keywords`"),
            (!package.categories.is_empty(), "`categories`"),
            (has("README.md"), "a README.md beside it"),
            (has("LICENSE"), "a LICENSE beside it"),
        ];
        let missing = fields.iter().filter(|(present, _)| !present);
        wrong.extend(missing.map(|(_, field)| format!("{manifest}: is published without {field}")));
        let unversioned = package.dependencies.iter().filter(|dependency| {
            dependency.kind != cargo_metadata::DependencyKind::Development
                && dependency.path.is_some()
                && dependency.req.to_string() == "*"
        });
        wrong.extend(unversioned.map(|dependency| {
            format!("{manifest}: the dependency {} has a path and no `version`", dependency.name)
        }));
    }
    Ok(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_facade_reaches_what_it_offers() {
        let reached = Workspace::load().unwrap().dependencies_of(API);
        for name in [CORE, CONTRACT, "unidist-common", "unidist-pyseq", "unidist-pymp", "unidist-engine"] {
            assert!(reached.contains(name), "{name}");
        }
    }
}
