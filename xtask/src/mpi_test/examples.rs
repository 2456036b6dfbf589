//! The examples as they are: with MPI they say, and draw, what they do in the calling process.

use super::Arguments;
use super::configuration::{Configuration, TestEnvironment};
use super::report::{Line, Outcome};
use crate::mpi::{Mode, Mpi};
use crate::workspace::Workspace;
use crate::{Result, artifact, process};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// The package of the examples.
const PACKAGE: &str = "unidist-examples";

/// Runs them in every way that is asked for.
pub(super) fn run(workspace: &Workspace, mpi: &Mpi, arguments: &Arguments) -> Vec<Line> {
    let examples = match Examples::build(workspace, mpi, arguments) {
        Ok(examples) => examples,
        Err(error) => return vec![Line::failed(format!("{mpi}, examples"), error)],
    };
    let mut report = Vec::new();
    for hosts in arguments.hosts.iter().copied() {
        for mode in arguments.modes().iter().copied() {
            let configuration = Configuration { mpi, mode, hosts: hosts.into() };
            eprintln!("\n== {configuration}, examples");
            let outcome = match configuration.limit() {
                Some(limit) => Ok(Outcome::Skipped(limit.into())),
                None => configuration.place().and_then(|place| examples.compare(&configuration, &place)),
            };
            report.push(Line::of(format!("{configuration}, examples"), outcome));
        }
    }
    report
}

struct Examples {
    tour: PathBuf,
    julia: PathBuf,
    wordcount: PathBuf,
    /// Where they write.
    folder: TempDir,
    /// Something with words in it.
    texts: PathBuf,
}

impl Examples {
    fn build(workspace: &Workspace, mpi: &Mpi, arguments: &Arguments) -> Result<Self> {
        let build = |name| {
            let mut cargo = process::cargo(&workspace.root);
            cargo.args(["build", "--package", PACKAGE, "--features", "mpi", "--bin", name]);
            cargo.args(arguments.release.then_some("--release"));
            cargo.env_remove("RUSTFLAGS").envs(mpi.build_environment()?);
            artifact::build_with(&mut cargo, name)
        };
        let folder = tempfile::tempdir()?;
        let texts = workspace.root.join("docs");
        Ok(Examples {
            tour: build("tour")?,
            julia: build("julia")?,
            wordcount: build("wordcount")?,
            folder,
            texts,
        })
    }

    fn compare(&self, configuration: &Configuration<'_>, place: &TestEnvironment) -> Result<Outcome> {
        let mut what = vec!["julia", "wordcount"];
        let drawn = |command: Command| {
            let picture = self.folder.path().join("julia.png");
            said(command, &[Path::new("--output"), &picture])?;
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(std::fs::read(picture)?)
        };
        if drawn(on_mpi(place.launched_program(&self.julia)))? != drawn(here(&self.julia))? {
            return Err("julia draws another picture".into());
        }
        let texts = [self.texts.as_path()];
        // Under a launcher, MPI is what is used where nothing is chosen.
        let with = counted(place.launched_program(&self.wordcount), &texts, "mpi")?;
        let without = counted(here(&self.wordcount), &texts, "pyseq")?;
        if with != without {
            let is_new = |line: &&str| !without.lines().any(|other| other == *line);
            let new: Vec<_> = with.lines().filter(is_new).take(5).collect();
            let counts = [&with, &without].map(|text| text.lines().count());
            return Err(format!("wordcount counts otherwise: {counts:?} lines, among them {new:?}").into());
        }
        // It has tasks that need two CPUs of a host, where there is one worker a host.
        if configuration.mode == Mode::Spawn || configuration.hosts == 1 {
            said(on_mpi(place.launched_program(&self.tour)), &[])?;
            what.push("tour");
        }
        Ok(Outcome::Passed(format!("{}: as in the calling process", what.join(", "))))
    }
}

fn on_mpi(mut command: Command) -> Command {
    command.env("UNIDIST_BACKEND", "mpi");
    command
}

/// The program without MPI.
fn here(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.env("UNIDIST_BACKEND", "pyseq");
    command
}

/// The counts, without the line with the time and any output of MPI after it.
fn counted(command: Command, texts: &[&Path], backend: &str) -> Result<String> {
    let said = said(command, texts)?;
    let (counts, rest) = said.split_once("\ncounted in ").ok_or("wordcount does not say how it counted")?;
    match rest.contains(&format!("on backend {backend} ")) {
        true => Ok(counts.to_owned()),
        false => Err(format!("wordcount was to run on another backend: {rest}").into()),
    }
}

/// The output of a program that must succeed.
fn said(mut command: Command, arguments: &[&Path]) -> Result<String> {
    let ran = command.args(arguments).stdin(Stdio::null()).output()?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match ran.status.success() {
        true => Ok(text(&ran.stdout)),
        false => Err(format!("{}: {}{}", ran.status, text(&ran.stdout), text(&ran.stderr)).into()),
    }
}
