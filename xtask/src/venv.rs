//! Python packages in a virtual environment.

use crate::{Result, apt, process};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Time limit of one installation.
const LIMIT: Duration = Duration::from_secs(1200);
const DEBIAN: &str = "python3-venv";

/// A virtual environment.
#[derive(Debug)]
pub(crate) struct Venv {
    folder: PathBuf,
}

impl Venv {
    /// Opens or creates the environment in this folder. With `system_packages`, installs Debian's venv package if this
    /// Python cannot create environments.
    pub(crate) fn make(folder: &Path, python: &Path, system_packages: bool) -> Result<Self> {
        let venv = Venv { folder: folder.to_owned() };
        if venv.python().exists() {
            return Ok(venv);
        }
        let make = || {
            let mut command = Command::new(python);
            process::run(command.args(["-m", "venv"]).arg(folder), LIMIT)
        };
        let Err(error) = make() else { return Ok(venv) };
        clear(folder)?;
        if !system_packages {
            let advice =
                format!("on Debian and its like: `apt-get install {DEBIAN}`, or this with --system-packages");
            return Err(format!("{error}. Python with its module venv is needed; {advice}").into());
        }
        apt::install(&[DEBIAN], "Python with its module venv is needed")?;
        make().inspect_err(|_| drop(clear(folder)))?;
        Ok(venv)
    }

    fn python(&self) -> PathBuf {
        self.folder.join("bin/python")
    }

    /// Installs packages.
    pub(crate) fn install(&self, packages: &[&str], upgrade: bool) -> Result {
        let mut pip = Command::new(self.python());
        pip.args(["-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"]);
        pip.args(upgrade.then_some("--upgrade")).args(packages);
        eprintln!("$ {}", process::words(&pip));
        let complaints = self.folder.join("bin/pip.log");
        pip.stdin(Stdio::null()).stderr(Stdio::from(std::fs::File::create(&complaints)?));
        let end = process::wait(&mut pip.spawn()?, LIMIT)?;
        end.check("pip").map_err(|error| {
            let text = std::fs::read_to_string(&complaints).unwrap_or_default();
            format!("{error}. {}", reason(&text)).into()
        })
    }

    /// The packages with their versions, if all of them are installed.
    pub(crate) fn versions(&self, packages: &[&str]) -> Option<String> {
        let script = "import importlib.metadata as m, sys\nfor p in sys.argv[1:]: print(p, m.version(p))";
        let output = Command::new(self.python()).args(["-c", script]).args(packages).output().ok()?;
        let text = String::from_utf8(output.stdout).ok().filter(|_| output.status.success())?;
        Some(text.lines().collect::<Vec<_>>().join(", "))
    }
}

/// Removes an incomplete environment, which would look usable.
fn clear(folder: &Path) -> Result {
    if folder.exists() {
        std::fs::remove_dir_all(folder)?;
    }
    Ok(())
}

/// The last error line of pip's output, else its last line.
fn reason(complaints: &str) -> &str {
    let lines = || complaints.lines().map(str::trim).filter(|line| !line.is_empty()).rev();
    lines().find(|line| line.starts_with("ERROR")).or_else(|| lines().next()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reason_is_the_last_error_line() {
        assert_eq!(reason("WARNING: a\nERROR: b\n\nhint: c\n"), "ERROR: b");
        assert_eq!(reason("Killed\n\n"), "Killed");
        assert_eq!(reason(""), "");
    }

    #[test]
    fn missing_packages_have_no_version() {
        let venv = Venv { folder: PathBuf::from("no-such-folder-anywhere") };
        assert_eq!(venv.versions(&["numpy"]), None);
    }
}
