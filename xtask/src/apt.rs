//! System packages, installed with apt-get where permitted.

use crate::{Result, process};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Time limit of one installation.
const LIMIT: Duration = Duration::from_secs(1200);

/// Whether this process runs as root.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The folder on the `PATH` that has this program.
pub(crate) fn folder_of(program: &str) -> Option<std::path::PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).find(|folder| is_executable(&folder.join(program)))
}

fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

/// Installs packages; `purpose` begins the error. Without root or apt-get, the error says what to install.
pub(crate) fn install(packages: &[&str], purpose: &str) -> Result {
    let list = packages.join(" ");
    if !is_root() || folder_of("apt-get").is_none() {
        return Err(format!("{purpose}: on Debian and its like, `apt-get install {list}` as root").into());
    }
    let apt = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive").stdin(std::process::Stdio::null());
        process::run(&mut command, LIMIT)
    };
    let install: Vec<&str> =
        ["install", "--yes", "--no-install-recommends"].into_iter().chain(packages.iter().copied()).collect();
    // The package lists may be missing or outdated.
    apt(&install)
        .or_else(|_| apt(&["update"]).and_then(|()| apt(&install)))
        .map_err(|error| format!("{purpose}: {error}").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_on_the_path() {
        assert!(folder_of("sh").is_some_and(|folder| folder.is_absolute()));
        assert_eq!(folder_of("no-such-program-anywhere"), None);
    }
}
