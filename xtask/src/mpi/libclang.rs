//! libclang, which reads an MPI's headers when its bindings are built.

use crate::{Result, apt};
use std::path::{Path, PathBuf};
use std::process::Command;

const DEBIAN: &str = "libclang-dev";

/// Ensures that libclang exists: installs it where permitted, else fails with advice.
pub(crate) fn need() -> Result {
    if find().is_some() {
        return Ok(());
    }
    apt::install(&[DEBIAN], "building for MPI needs libclang, which is missing")?;
    find().map(drop).ok_or_else(|| format!("{DEBIAN} was installed, but there is no libclang").into())
}

/// The folder where the build finds it: `LIBCLANG_PATH`, LLVM's, or one of the system's.
pub(super) fn find() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("LIBCLANG_PATH").map(PathBuf::from) {
        return Some(named).filter(|path| path.is_file() || is_in(path));
    }
    let llvm = Command::new("llvm-config").arg("--libdir").output().ok();
    let llvm = llvm.and_then(|output| String::from_utf8(output.stdout).ok()).map(|text| text.trim().into());
    llvm.into_iter().chain(folders()).find(|folder| is_in(folder))
}

/// The folders of system libraries and LLVM versions.
fn folders() -> Vec<PathBuf> {
    let roots = ["/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/local/lib64", "/lib", "/lib64"];
    let mut found: Vec<PathBuf> = roots.map(PathBuf::from).into();
    for root in roots {
        for entry in std::fs::read_dir(root).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.contains("-linux-") {
                found.push(entry.path());
            } else if name.starts_with("llvm") {
                found.extend([entry.path().join("lib"), entry.path().join("lib64")]);
            }
        }
    }
    found
}

fn is_in(folder: &Path) -> bool {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.into_iter().any(|entry| is_libclang(&entry.file_name().to_string_lossy()))
}

/// `libclang.so`, `libclang-14.so`, either followed by a version.
pub(super) fn is_libclang(name: &str) -> bool {
    let Some((stem, version)) = name.split_once(".so") else { return false };
    let stem = stem == "libclang"
        || stem.strip_prefix("libclang-").is_some_and(|number| number.chars().all(|c| c.is_ascii_digit()));
    stem && (version.is_empty() || version.starts_with('.'))
}
