//! The workspace as cargo describes it.

use crate::Result;
use cargo_metadata::{Metadata, MetadataCommand, Package};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The workspace: its root and its members.
pub(crate) struct Workspace {
    /// The folder of the workspace's manifest.
    pub(crate) root: PathBuf,
    metadata: Metadata,
}

impl Workspace {
    /// Runs `cargo metadata` without dependencies, so it needs no registry.
    pub(crate) fn load() -> Result<Self> {
        let metadata = MetadataCommand::new().no_deps().exec()?;
        Ok(Workspace { root: metadata.workspace_root.clone().into(), metadata })
    }

    /// The target folder.
    pub(crate) fn target(&self) -> &Path {
        self.metadata.target_directory.as_std_path()
    }

    /// The members.
    pub(crate) fn members(&self) -> Vec<&Package> {
        self.metadata.workspace_packages()
    }

    /// The default members with samples in their documentation that are tests. Cargo runs those of every member, whatever
    /// its manifest says, when it is told to run documentation tests alone.
    pub(crate) fn with_doctests(&self) -> Vec<&str> {
        let members = self.metadata.workspace_default_packages().into_iter();
        let tested =
            members.filter(|package| package.targets.iter().any(|target| target.is_lib() && target.doctest));
        tested.map(|package| package.name.as_str()).collect()
    }

    /// The members that may be published.
    pub(crate) fn published(&self) -> Vec<&str> {
        let members = self.members().into_iter();
        let published = members.filter(|package| package.publish.as_ref().is_none_or(|to| !to.is_empty()));
        published.map(|package| package.name.as_str()).collect()
    }

    /// The members that `start` depends on in any way, and those that these need in turn to be used.
    pub(crate) fn dependencies_of(&self, start: &str) -> BTreeSet<String> {
        self.reached_from(start, true)
    }

    /// The members that `start` depends on in any way, its tests and benchmarks left out.
    pub(crate) fn reach_without_tests(&self, start: &str) -> BTreeSet<String> {
        self.reached_from(start, false)
    }

    fn reached_from(&self, start: &str, with_own_tests: bool) -> BTreeSet<String> {
        let members: BTreeMap<&str, &Package> =
            self.members().into_iter().map(|package| (package.name.as_str(), package)).collect();
        let mut reached = BTreeSet::new();
        let mut open = vec![start.to_owned()];
        while let Some(name) = open.pop() {
            let Some(package) = members.get(name.as_str()) else {
                continue;
            };
            let used = package.dependencies.iter().filter(|dependency| {
                let own_tests_only = dependency.kind == cargo_metadata::DependencyKind::Development;
                members.contains_key(dependency.name.as_str())
                    && (!own_tests_only || with_own_tests && name == start)
            });
            for dependency in used {
                if reached.insert(dependency.name.clone()) {
                    open.push(dependency.name.clone());
                }
            }
        }
        reached
    }

    /// The files with this extension below the root, sorted, without hidden and target folders.
    pub(crate) fn files(&self, extension: &str) -> Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        collect(&self.root, extension, &mut found)?;
        found.sort();
        Ok(found)
    }

    /// The path from the root, with `/`.
    pub(crate) fn relative(&self, path: &Path) -> String {
        let relative = path.strip_prefix(&self.root).unwrap_or(path);
        relative.to_string_lossy().replace('\\', "/")
    }

    /// The text of a file, by its path from the root.
    pub(crate) fn read(&self, relative: &str) -> Result<String> {
        read(&self.root.join(relative))
    }
}

/// The text of a file; the error names it.
pub(crate) fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()).into())
}

fn collect(folder: &Path, extension: &str, found: &mut Vec<PathBuf>) -> Result {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        let kind = entry.file_type()?;
        if kind.is_dir() && !name.starts_with('.') && !name.starts_with("target") {
            collect(&path, extension, found)?;
        } else if kind.is_file() && path.extension().is_some_and(|ending| ending == extension) {
            found.push(path);
        }
    }
    Ok(())
}
