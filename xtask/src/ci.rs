//! `ci`: what a change must pass.

use crate::process;
use crate::workspace::Workspace;
use crate::{Result, book, chaos, config_doc, fuzz, loom, messages, mpi, simulate, test, tidy};
use clap::Parser;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long one step may take, with building.
const LIMIT: Duration = Duration::from_secs(2400);

/// The digest of all events and actions of 2,000 seeds. It changes when the scheduler decides otherwise, and only then.
const SCHEDULER_DIGEST: &str = "5c10a967fee0ba08";

/// The arguments of `ci`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Go on after a step that failed, to see all that is wrong.
    #[arg(long)]
    keep_going: bool,
}

/// One step, by name.
type Step = (&'static str, fn(&Path) -> Result);

/// Cheap ones first.
const STEPS: [Step; 14] = [
    ("format", |root| {
        cargo(root, &["fmt", "--all", "--check"])?;
        cargo(root, &["fmt", "--manifest-path", "fuzz/Cargo.toml", "--check"])
    }),
    ("config-doc", |_| command(["--check"], config_doc::run)),
    ("messages", |_| command(["--check"], messages::run)),
    ("tidy", |_| command([], tidy::run)),
    // The default members: the others need an MPI.
    ("clippy", |root| cargo(root, &["clippy", "--all-targets", "--", "-D", "warnings"])),
    ("features", features),
    ("doc", |root| {
        let mut doc = process::cargo(root);
        doc.args(["doc", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings");
        process::run(&mut doc, LIMIT)
    }),
    ("book", |_| book::run()),
    ("mpi", what_needs_mpi),
    ("simulate", |_| command(["--seeds", "2000", "--expect", SCHEDULER_DIGEST], simulate::run)),
    ("loom", |_| command([], loom::run)),
    // Built as the tests are, which takes the time once.
    ("chaos", |_| {
        command(["--dev", "--minutes", "0.1", "--controllers", "3", "--tasks", "3000"], chaos::run)
    }),
    // Three targets.
    ("fuzz", |_| command(["--seconds", "10"], fuzz::run)),
    ("test", |_| command([], test::run)),
];

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Result {
    let root = Workspace::load()?.root;
    let mut failed = Vec::new();
    let mut report = Vec::new();
    for (name, step) in STEPS {
        eprintln!("\n== {name}");
        let start = Instant::now();
        let done = step(&root);
        let seconds = start.elapsed().as_secs_f64();
        let verdict = if done.is_ok() { "ok" } else { "FAILED" };
        report.push(format!("{name:<12} {verdict:<6} {seconds:>7.1} s"));
        if let Err(error) = done {
            eprintln!("error: {error}");
            failed.push(name);
            if !arguments.keep_going {
                break;
            }
        }
    }
    println!("\n{}", report.join("\n"));
    match failed.as_slice() {
        [] => Ok(()),
        names => Err(format!("failed: {}", names.join(", ")).into()),
    }
}

/// Clippy and the documentation of what an MPI is needed for, where there is one or can be.
fn what_needs_mpi(root: &Path) -> Result {
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
    with_mpi(&[&["doc", "--no-deps", "--features", "unidist-spmd/mpi"], documented.as_flattened()].concat())
}

/// Each backend alone must do; the default, which has all, is what clippy has seen already, but not by itself.
fn features(root: &Path) -> Result {
    let alone = ["--no-default-features", "--features"];
    let combinations: [&[&str]; 3] = [&[], &[alone[0], alone[1], "pyseq"], &[alone[0], alone[1], "pymp"]];
    for combination in combinations {
        let mut clippy = vec!["clippy", "--package", "unidist-api", "--all-targets"];
        clippy.extend(combination);
        clippy.extend(["--", "-D", "warnings"]);
        cargo(root, &clippy)?;
    }
    Ok(())
}

fn cargo(root: &Path, arguments: &[&str]) -> Result {
    process::run(process::cargo(root).args(arguments), LIMIT)
}

/// Another command of this program, with these arguments.
fn command<A: clap::Args, const N: usize>(arguments: [&str; N], run: impl Fn(&A) -> Result) -> Result {
    #[derive(Parser)]
    struct Line<A: clap::Args> {
        #[command(flatten)]
        arguments: A,
    }
    let line = Line::<A>::try_parse_from(std::iter::once("xtask").chain(arguments))?;
    run(&line.arguments)
}
