//! The contract between unidist's API and its backends.
mod backend;
mod runner;

pub use backend::{Backend, ClusterInfo, Outcome, WritableBuffer};
pub use runner::{Call, CallKind, CallResult, Program, RunnerFactory, TaskRunner};
