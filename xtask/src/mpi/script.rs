//! The command that starts a job, as a script.

use super::{Job, Mpi};
use crate::Result;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// The prefix of the folders; the process id and a number follow.
const PREFIX: &str = "unidist-mpi-";

/// A script that runs a program with MPI: `SCRIPT PROGRAM...`. It and the folder for its jobs' temporary files are
/// removed on drop.
#[derive(Debug)]
pub(crate) struct Script {
    folder: PathBuf,
    path: PathBuf,
}

impl Script {
    /// A script for a job, with these settings for all its ranks.
    pub(crate) fn new(mpi: &Mpi, job: &Job, settings: &[(&str, String)]) -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        remove_abandoned();
        let folder = std::env::temp_dir().join(format!("{PREFIX}{}-{number}", std::process::id()));
        fs::create_dir(&folder)?;
        let script = Script { path: folder.join("launch"), folder };
        fs::write(&script.path, text(mpi, job, settings)?)?;
        fs::set_permissions(&script.path, fs::Permissions::from_mode(0o755))?;
        Ok(script)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Removes the folders of killed processes.
fn remove_abandoned() {
    for entry in fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let process = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next()?.parse::<u32>().ok());
        if process.is_some_and(|process| !Path::new("/proc").join(process.to_string()).exists()) {
            // Fails for folders of other users.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// The script. A rank of another job may run it, so it unsets the variables of that job's MPI. Not every mpiexec passes
/// variables on to other hosts, so they are part of the command.
pub(super) fn text(mpi: &Mpi, job: &Job, settings: &[(&str, String)]) -> Result<String> {
    let mut lines = vec![
        "#!/bin/sh".to_owned(),
        format!("# Runs a program with {mpi}, {} ranks.", job.ranks),
        "set -eu".to_owned(),
        "for name in $(env | sed -n 's/^\\(\\(OMPI\\|PMIX\\|PRTE\\|PMI\\|HYDRA\\|HYDI\\|I_MPI\\|MPI\\|MPIR\\)_[A-Za-z0-9_]*\\)=.*/\\1/p'); do"
            .to_owned(),
        "    unset \"$name\"".to_owned(),
        "done".to_owned(),
    ];
    let exported = mpi.run_environment(job)?;
    let settings = settings.iter().map(|(name, value)| (*name, value.into()));
    for (name, value) in exported.into_iter().chain(settings) {
        lines.push(format!("export {name}={}", quoted(&value)?));
    }
    lines.extend([
        "for name in $(env | sed -n 's/^\\(\\(UNIDIST\\|RUST\\)_[A-Z0-9_]*\\)=.*/\\1/p'); do".to_owned(),
        "    eval \"value=\\$$name\"".to_owned(),
        "    set -- \"$name=$value\" \"$@\"".to_owned(),
        "done".to_owned(),
    ]);
    if let Some(variable) = mpi.temporary_folder_variable() {
        lines.push(format!("export {variable}=\"$(dirname \"$0\")/$$\""));
        lines.push(format!("mkdir -p \"${variable}\""));
    }
    let words: Vec<String> = mpi.mpiexec(job)?.iter().map(|word| quoted(word)).collect::<Result<_>>()?;
    lines.push(format!("exec {} /usr/bin/env \"$@\"", words.join(" ")));
    Ok(lines.join("\n") + "\n")
}

/// A word for the shell.
fn quoted(word: &OsStr) -> Result<String> {
    let word = word.to_str().ok_or("a path that is no text")?;
    Ok(format!("'{}'", word.replace('\'', "'\\''")))
}
