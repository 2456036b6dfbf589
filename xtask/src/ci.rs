//! `ci`: the checks that a change must pass.

use crate::process;
use crate::steps::{self, Selection, Step, command};
use crate::workspace::Workspace;
use crate::{
    Result, book, chaos, config_doc, deny, footprint, fuzz, loom, messages, mpi, package, simulate, test,
    tidy,
};
use std::path::Path;
use std::time::Duration;

/// Time limit of one step, with building.
const LIMIT: Duration = Duration::from_secs(2400);

/// The arguments of `ci`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Continue after a failed step, to see all failures.
    #[arg(long)]
    keep_going: bool,
    #[command(flatten)]
    selection: Selection,
}

/// Cheap ones first.
const STEPS: [Step; 17] = [
    Step {
        name: "format",
        about: "rustfmt",
        run: |root| {
            cargo(root, &["fmt", "--all", "--check"])?;
            cargo(root, &["fmt", "--manifest-path", "fuzz/Cargo.toml", "--check"])
        },
    },
    Step {
        name: "config-doc",
        about: "docs/configuration.md is current",
        run: |_| command(["--check"], |arguments| config_doc::PAGE.run(arguments)),
    },
    Step {
        name: "messages",
        about: "docs/messages.md is current",
        run: |_| command(["--check"], |arguments| messages::PAGE.run(arguments)),
    },
    Step { name: "tidy", about: "the rules that no compiler checks", run: |_| command([], tidy::run) },
    Step {
        name: "footprint",
        about: "how many crates a user builds, and the Rust version they need",
        run: |_| command([], footprint::run),
    },
    Step {
        name: "deny",
        about: "licences, sources and known defects of dependencies",
        run: |_| command([], deny::run),
    },
    Step {
        name: "clippy",
        // The default members: the others need an MPI.
        about: "lints",
        run: |root| cargo(root, &["clippy", "--all-targets", "--", "-D", "warnings"]),
    },
    Step { name: "features", about: "lints with each backend alone", run: features },
    Step {
        name: "doc",
        about: "the documentation builds without warnings",
        run: |root| {
            let mut doc = process::cargo(root);
            doc.args(["doc", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings");
            process::run(&mut doc, LIMIT)
        },
    },
    Step { name: "book", about: "the user's book builds without warnings", run: |_| book::run() },
    Step {
        name: "mpi",
        about: "lints and documentation of the crates that need an MPI",
        run: members_with_mpi,
    },
    Step {
        name: "package",
        about: "every published crate builds from its package",
        run: |_| command([], package::run),
    },
    Step {
        name: "simulate",
        about: "4,000 seeds of the scheduler's simulation",
        run: |_| command(["--seeds", "4000"], simulate::run),
    },
    Step { name: "loom", about: "models of the shared-memory protocols", run: |_| command([], loom::run) },
    Step {
        name: "chaos",
        about: "processes of a small program are killed, for 6 s",
        // Built like the tests, so that the build is shared.
        run: |_| command(["--dev", "--minutes", "0.1", "--controllers", "3", "--tasks", "3000"], chaos::run),
    },
    Step {
        name: "fuzz",
        about: "each fuzz target, for 10 s",
        run: |_| command(["--seconds", "10"], fuzz::run),
    },
    Step { name: "test", about: "all tests, with the system's MPI", run: |_| command([], test::run) },
];

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Result {
    let root = Workspace::load()?.root;
    steps::run(&root, &STEPS, &arguments.selection, arguments.keep_going)
}

/// Clippy and the documentation of the members that need an MPI, if there is one or it can be installed.
fn members_with_mpi(root: &Path) -> Result {
    let mpi = match mpi::find(&Workspace::load()?, mpi::Name::System) {
        Ok(mpi) => mpi,
        Err(error) => {
            println!("skipped: {error}");
            return Ok(());
        }
    };
    mpi::need_libclang()?;
    let with_mpi = |arguments: &[&str]| {
        let mut cargo = process::cargo(root);
        cargo.env_remove("RUSTFLAGS").envs(mpi.build_environment()?).env("RUSTDOCFLAGS", "-D warnings");
        cargo.args(arguments);
        process::run(&mut cargo, LIMIT)
    };
    let packages = ["unidist-mpi", "unidist-mpi-comm", "unidist-spmd", "unidist-tests", "unidist-bench"];
    let packages = packages.map(|package| ["--package", package]);
    let features = "unidist-mpi/bench,unidist-spmd/mpi,unidist-tests/mpi,unidist-bench/mpi";
    let rest = ["--all-targets", "--features", features, "--", "-D", "warnings"];
    with_mpi(&[&["clippy"], packages.as_flattened(), &rest].concat())?;
    let documented =
        ["unidist-mpi", "unidist-mpi-comm", "unidist-spmd"].map(|package| ["--package", package]);
    with_mpi(
        &[
            &["doc", "--no-deps", "--features", "unidist-spmd/mpi,unidist-spmd/ndarray"],
            documented.as_flattened(),
        ]
        .concat(),
    )
}

/// Clippy for the facade alone: with the default features, and with one backend only.
fn features(root: &Path) -> Result {
    let alone = ["--no-default-features", "--features"];
    let combinations: [&[&str]; 3] = [&[], &[alone[0], alone[1], "pyseq"], &[alone[0], alone[1], "pymp"]];
    for combination in combinations {
        let mut clippy = vec!["clippy", "--package", "unidist-api", "--all-targets"];
        clippy.extend(combination);
        clippy.extend(["--", "-D", "warnings"]);
        cargo(root, &clippy)?;
    }
    // By itself: with the other members, its feature ndarray is on.
    cargo(root, &["clippy", "--package", "unidist-spmd", "--all-targets", "--", "-D", "warnings"])
}

fn cargo(root: &Path, arguments: &[&str]) -> Result {
    process::run(process::cargo(root).args(arguments), LIMIT)
}
