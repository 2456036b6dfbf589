//! `package`: the published crates, packaged and built from their packages.

use crate::mpi;
use crate::workspace::Workspace;
use crate::{Result, process};
use std::path::{Path, PathBuf};
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
    forget_unpacked(&cargo_home()?, &published)?;
    process::run(&mut cargo, LIMIT)?;
    println!("{} packages: {}", published.len(), published.join(", "));
    Ok(())
}

/// The folder where cargo keeps what it has downloaded and unpacked.
fn cargo_home() -> Result<PathBuf> {
    let chosen = std::env::var_os("CARGO_HOME").filter(|path| !path.is_empty()).map(PathBuf::from);
    let home = chosen.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")));
    Ok(home.ok_or("cargo's folder is unknown: set CARGO_HOME")?)
}

/// Removes what an earlier run has unpacked. `cargo package` puts the packages into a local registry, always at the same
/// path, and cargo takes the sources of a registry's package to be immutable: those of an earlier run would be built
/// in place of the ones that have just been packaged with the same version.
fn forget_unpacked(cargo_home: &Path, packages: &[&str]) -> Result {
    let sources = cargo_home.join("registry/src");
    if !sources.is_dir() {
        return Ok(());
    }
    for registry in folders(&sources)? {
        // The name of a registry's folder is its host and a hash; a local one has no host.
        if !file_name(&registry).starts_with('-') {
            continue;
        }
        for unpacked in folders(&registry)? {
            if packages.iter().any(|package| is_version_of(package, &file_name(&unpacked))) {
                std::fs::remove_dir_all(&unpacked)
                    .map_err(|error| format!("cannot remove {}: {error}", unpacked.display()))?;
            }
        }
    }
    Ok(())
}

/// Whether this is the folder of a version of the package, and not of another one whose name begins like it.
fn is_version_of(package: &str, folder: &str) -> bool {
    let version = folder.strip_prefix(package).and_then(|rest| rest.strip_prefix('-'));
    version.is_some_and(|version| version.starts_with(|first: char| first.is_ascii_digit()))
}

fn folders(parent: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(parent).map_err(|error| format!("{}: {error}", parent.display()))?;
    let paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    Ok(paths.into_iter().filter(|path| path.is_dir()).collect())
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_unpacked_sources_of_local_registries_are_removed() {
        let home = std::env::temp_dir().join(format!("unidist-package-{}", std::process::id()));
        let sources = home.join("registry/src");
        let stale = ["-4af2/unidist-core-0.1.0", "-4af2/unidist-0.1.0-rc.1", "-99/unidist-core-0.2.0"];
        let kept =
            ["-4af2/unidist-core-extra-0.1.0", "-4af2/other-0.1.0", "example.org-1/unidist-core-0.1.0"];
        for path in stale.iter().chain(&kept) {
            std::fs::create_dir_all(sources.join(path).join("src")).unwrap();
        }
        forget_unpacked(&home, &["unidist-core", "unidist"]).unwrap();
        let exists = |path: &&str| sources.join(path).exists();
        assert!(!stale.iter().any(&exists) && kept.iter().all(exists));
        std::fs::remove_dir_all(&home).unwrap();
        forget_unpacked(&home, &["unidist-core"]).unwrap(); // nothing was unpacked yet
    }
}
