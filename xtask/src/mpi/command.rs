//! `mpi`: an MPI, installed, and how to use it by hand.

use super::{Job, Name, find, libclang, need_libclang};
use crate::Result;
use crate::workspace::Workspace;

/// The arguments of `mpi`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Which one; it is installed if need be.
    #[arg(long = "mpi", value_enum, value_name = "NAME", default_value_t = Name::System)]
    name: Name,
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Result {
    let mpi = find(&Workspace::load()?, arguments.name)?;
    println!("# {mpi}");
    need_libclang()?;
    if let Some(folder) = libclang::find() {
        println!("# libclang is in {}", folder.display());
    }
    println!("# to build:");
    for (name, value) in mpi.build_environment()? {
        println!("export {name}='{}'", value.to_string_lossy().replace('\u{1f}', "'$'\\x1f''"));
    }
    println!("# to run:");
    for (name, value) in mpi.run_environment(&Job::local(1))? {
        println!("export {name}='{}'", value.to_string_lossy());
    }
    let line: Vec<_> =
        mpi.mpiexec(&Job::local(4))?.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    println!("# {} PROGRAM", line.join(" "));
    Ok(())
}
