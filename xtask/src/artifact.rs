//! Builds executables of the workspace.

use crate::Result;
use crate::process::{self, End};
use crate::workspace::Workspace;
use cargo_metadata::Message;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Runs cargo with these arguments and returns the path of the executable with this name.
pub(crate) fn build(workspace: &Workspace, arguments: &[&str], name: &str) -> Result<PathBuf> {
    build_with(process::cargo(&workspace.root).args(arguments), name)
}

/// The same, given a cargo command.
pub(crate) fn build_with(cargo: &mut Command, name: &str) -> Result<PathBuf> {
    cargo.arg("--message-format=json-render-diagnostics");
    eprintln!("$ {}", process::words(cargo));
    let mut child = cargo.stdout(Stdio::piped()).spawn()?;
    let output = child.stdout.take().ok_or("cargo has no output")?;
    let mut executable = None;
    for message in Message::parse_stream(BufReader::new(output)) {
        if let Message::CompilerArtifact(artifact) = message?
            && artifact.target.name == name
        {
            executable = artifact.executable.or(executable);
        }
    }
    End::Exited(child.wait()?).check(&format!("building {name}"))?;
    let executable = executable.ok_or_else(|| format!("cargo built no executable {name}"))?;
    Ok(Path::new(&executable).canonicalize()?)
}
