//! `nightly`: what takes too long for every change.

use crate::steps::{self, Selection, Step, command};
use crate::workspace::Workspace;
use crate::{Result, bench, chaos, ci, conformance, fuzz, loom, mpi_test, process, simulate};
use std::path::Path;
use std::time::Duration;

/// The time limit of the first build.
const BUILD_LIMIT: Duration = Duration::from_secs(1800);

/// The arguments of `nightly`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    selection: Selection,
}

const PARTS: [Step; 16] = [
    Step {
        name: "ci",
        about: "everything that a change must pass",
        run: |_| command(["--keep-going"], ci::run),
    },
    Step {
        name: "simulate",
        about: "50,000 seeds of the scheduler's simulation",
        run: |_| command(["--seeds", "50000"], simulate::run),
    },
    Step {
        name: "loom",
        about: "models of the shared-memory protocols, with more time",
        run: |_| command(["--timeout", "3600"], loom::run),
    },
    Step {
        name: "fuzz",
        about: "each fuzz target, for 5 minutes",
        run: |_| command(["--seconds", "300"], fuzz::run),
    },
    Step {
        name: "fuzz-address",
        about: "each fuzz target with the address sanitizer, for 2 minutes",
        run: |_| command(["--seconds", "120", "--address"], fuzz::run),
    },
    Step {
        name: "chaos",
        about: "processes of a program are killed, for 10 minutes, then the program, 30 times",
        run: |_| command(["--minutes", "10", "--controllers", "30"], chaos::run),
    },
    Step {
        name: "chaos-mpi-1",
        about: "the same with MPI, on one host, 3 minutes in each mode",
        run: |_| command(["--backend", "mpi", "--minutes", "3"], chaos::run),
    },
    Step {
        name: "chaos-mpi-3",
        about: "the same with MPI, on three virtual hosts, 3 minutes in each mode",
        run: |_| command(["--backend", "mpi", "--hosts", "3", "--minutes", "3"], chaos::run),
    },
    Step {
        name: "conformance-pyseq",
        about: "the conformance suite, 10 times on a busy machine",
        run: |_| command(["--backend", "pyseq", "--repeat", "10", "--load"], conformance::run),
    },
    Step {
        name: "conformance-pymp",
        about: "the conformance suite, 10 times on a busy machine",
        run: |_| command(["--backend", "pymp", "--repeat", "10", "--load"], conformance::run),
    },
    Step {
        name: "mpi-system",
        about: "all tests with the system's MPI, on 1 and 3 hosts",
        run: |_| mpi_tests("system"),
    },
    Step { name: "mpi-mpich", about: "all tests with MPICH, on 1 and 3 hosts", run: |_| mpi_tests("mpich") },
    Step {
        name: "mpi-openmpi",
        about: "all tests with Open MPI, on 1 and 3 hosts",
        run: |_| mpi_tests("openmpi"),
    },
    Step {
        name: "bench",
        about: "the benchmarks with pymp, with small numbers",
        run: |_| command(["--quick"], bench::run),
    },
    Step {
        name: "bench-mpi",
        about: "the benchmarks with mpi, on two hosts, with small numbers",
        run: |_| command(["--quick", "--backend", "mpi", "--hosts", "2"], bench::run),
    },
    Step {
        name: "first-command",
        about: "the first command of the README in a fresh target folder",
        run: first_command,
    },
];

/// Runs the command: all parts, also after one that failed.
pub(crate) fn run(arguments: &Arguments) -> Result {
    let root = Workspace::load()?.root;
    steps::run(&root, &PARTS, &arguments.selection, true)
}

fn mpi_tests(name: &str) -> Result {
    command(["--mpi", name, "--hosts", "1", "--hosts", "3"], mpi_test::run)
}

/// Builds what the README's first command builds, from nothing; the time of this part is what a user waits.
fn first_command(root: &Path) -> Result {
    let folder = Workspace::load()?.target().join("first-command");
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    let mut cargo = process::cargo(root);
    cargo.args(["build", "--release", "--package", "unidist-examples", "--bin", "julia"]);
    let outcome = process::run(cargo.env("CARGO_TARGET_DIR", &folder), BUILD_LIMIT);
    std::fs::remove_dir_all(&folder)?;
    outcome
}
