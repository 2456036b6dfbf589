//! `bench`: the benchmarks, of a backend on this machine; [`with_mpi`]; and [`spmd`].

mod compare;
mod spmd;
mod with_mpi;

use crate::mpi::{self, Mode, Mpi, Name};
use crate::suite::UniqueName;
use crate::workspace::{self, Workspace};
use crate::{Result, artifact, peers, process};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const PACKAGE: &str = "unidist-bench";
const BUILD_LIMIT: Duration = Duration::from_secs(2400);

/// Between these lines of the README is the comparison.
const BEGIN: &str = "<!-- cargo xtask bench --readme: begin -->\n";
const END: &str = "<!-- cargo xtask bench --readme: end -->\n";

/// The backends that are measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Backend {
    /// Processes of this machine.
    Pymp,
    /// Beside pymp, and beside what MPI does alone.
    Mpi,
}

/// What is measured that is no backend.
#[derive(Debug, clap::Subcommand)]
enum Other {
    /// Measure shared array, lock and batch of unidist-spmd, beside pshmem on the same MPI
    ///
    /// Four ranks on one host, and two virtual hosts with one each, which need root. pshmem, which is Python's, is
    /// installed in target/peers if need be; where it cannot be, unidist-spmd is measured alone.
    Spmd(spmd::Arguments),
    /// Measure the calls of this checkout and of another one in turns, and print the ratios
    ///
    /// A measure counts as slower when the median of the ratios and the upper end of its 95 % interval are below 0.97.
    Compare(compare::Arguments),
}

/// The arguments of `bench`.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    other: Option<Other>,
    /// The backend.
    #[arg(long, value_enum, value_name = "NAME", default_value_t = Backend::Pymp)]
    backend: Backend,
    /// Which MPI, with the backend mpi; it is installed if need be.
    #[arg(long, value_enum, value_name = "NAME", default_value_t = Name::System)]
    mpi: Name,
    /// How the processes of the backend mpi are started.
    #[arg(long, value_enum, value_name = "MODE", default_value_t = Mode::Spawn)]
    mode: Mode,
    /// On how many hosts the backend mpi is measured. Several are virtual ones, which need root; then it is what crosses
    /// between them that is measured.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=20))]
    hosts: u8,
    #[command(flatten)]
    extent: Extent,
    /// Also measure the peers, other systems that do the same work: those that `cargo xtask peers` has installed. With
    /// the backend mpi those that use MPI, with the same MPI.
    #[arg(long)]
    peers: bool,
    /// Write the comparison with the peers into README.md, in place of the one that is there. With the peers.
    #[arg(long, conflicts_with_all = ["backend", "only"])]
    readme: bool,
    /// How many workers the peers have, and unidist beside them: as many as cores, up to 4, unless it is said.
    #[arg(long, value_name = "N")]
    workers: Option<u32>,
    /// Time limit without building, in seconds.
    #[arg(long, default_value_t = 7200)]
    timeout: u64,
}

/// What is measured, and where results go.
#[derive(Debug, clap::Args)]
struct Extent {
    /// Also write the results to this file, as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Fewer rounds and smaller numbers, for a first look.
    #[arg(long)]
    quick: bool,
    /// Number of rounds.
    #[arg(long, value_name = "N")]
    rounds: Option<u32>,
    /// Measure only the parts and peers with this in their names.
    #[arg(long, value_name = "WORD")]
    only: Option<String>,
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Result {
    match &arguments.other {
        Some(Other::Spmd(arguments)) => return spmd::run(arguments),
        Some(Other::Compare(arguments)) => return compare::run(arguments),
        None => {}
    }
    if arguments.backend == Backend::Mpi {
        return with_mpi::run(arguments);
    }
    let root = Workspace::load()?.root;
    process::run(process::cargo(&root).args(["build", "--release", "--package", PACKAGE]), BUILD_LIMIT)?;
    let mut bench = process::cargo(&root);
    bench.args(["run", "--quiet", "--release", "--package", PACKAGE, "--"]);
    let table = peers::folder()?.join("table.md");
    pass_on(arguments, &table, &mut bench)?;
    bench.args(arguments.workers.iter().flat_map(|workers| ["--workers".to_owned(), workers.to_string()]));
    process::run(&mut bench, Duration::from_secs(arguments.timeout))?;
    if arguments.readme {
        let readme = root.join("README.md");
        let text = with_table(&workspace::read(&readme)?, &workspace::read(&table)?)?;
        std::fs::write(readme, text)?;
    }
    Ok(())
}

impl Extent {
    /// Passes these options on to the benchmark program.
    fn pass_on(&self, bench: &mut Command) -> Result {
        bench.args(self.quick.then_some("--quick"));
        if let Some(file) = &self.json {
            // Relative to the current folder, not to the workspace.
            bench.arg("--json").arg(std::path::absolute(file)?);
        }
        bench.args(self.rounds.iter().flat_map(|rounds| ["--rounds".to_owned(), rounds.to_string()]));
        bench.args(self.only.iter().flat_map(|word| ["--only", word]));
        Ok(())
    }
}

/// Passes all options on, with the folder of the peers if they are measured.
fn pass_on(arguments: &Arguments, table: &Path, bench: &mut Command) -> Result {
    arguments.extent.pass_on(bench)?;
    if arguments.peers || arguments.readme {
        bench.arg("--peers").arg(peers::folder()?).arg("--markdown").arg(table);
    }
    Ok(())
}

/// The benchmark program built for an MPI, under a unique name.
fn build_with_mpi(workspace: &Workspace, mpi: &Mpi) -> Result<UniqueName> {
    mpi::need_libclang()?;
    let mut cargo = process::cargo(&workspace.root);
    cargo.args(["build", "--release", "--package", PACKAGE, "--features", "mpi"]);
    cargo.env_remove("RUSTFLAGS").envs(mpi.build_environment()?);
    UniqueName::of(&artifact::build_with(&mut cargo, PACKAGE)?)
}

/// The document with its table replaced.
fn with_table(document: &str, table: &str) -> Result<String> {
    let parts = document.split_once(BEGIN).and_then(|(before, rest)| Some((before, rest.split_once(END)?)));
    let (before, (_, after)) =
        parts.ok_or_else(|| format!("no lines `{}`, `{}`", BEGIN.trim(), END.trim()))?;
    Ok(format!("{before}{BEGIN}\n{}\n\n{END}{after}", table.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_is_replaced_each_time() {
        let document = format!("# T\n{BEGIN}\nold\n\n{END}## Next\n");
        let once = with_table(&document, "new\n").unwrap();
        assert_eq!(once, format!("# T\n{BEGIN}\nnew\n\n{END}## Next\n"));
        assert_eq!(with_table(&once, "new\n").unwrap(), once);
        assert!(with_table("# T\n", "new").is_err());
    }

    #[test]
    fn readme_has_a_place_for_the_table() {
        let readme = Workspace::load().unwrap().read("README.md").unwrap();
        assert!(with_table(&readme, "new").is_ok());
    }
}
