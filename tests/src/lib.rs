//! The conformance suite: one list of cases, run on every backend.
//!
//! A *case* is a program that tests one promise, on every backend to which the promise applies. A *trial* is a case on
//! a backend, named like `pymp::objects::put_and_get`. It runs in its own process with a time limit, and must leave
//! nothing behind: no object in the session, no process, no entry in `/dev/shm`. With `UNIDIST_CONFORMANCE_SERIES`, for
//! environments in which starting a program is slow, all cases of a group that can share a session are one trial.
//!
//! The runner ([`main`]) executes itself once for each trial, with `UNIDIST_CONFORMANCE_CASE` naming the case. The
//! workers of a case run the same executable but never reach `main`. `UNIDIST_CONFORMANCE_TIMEOUT` is the time limit of
//! a trial in seconds.
//!
//! `UNIDIST_CONFORMANCE_BACKENDS` selects the backends, separated by commas; the default is those that need only this
//! machine. `UNIDIST_CONFORMANCE_LAUNCHER` is a command that starts each trial, one word per line, such as `mpiexec`
//! with its arguments. It has to pass variables with the prefix `UNIDIST_` to all processes that it starts.
//! `UNIDIST_CONFORMANCE_SHARED_MEMORY` lists the folders of shared memory that are checked, instead of `/dev/shm`
//! alone. `UNIDIST_CONFORMANCE_SPMD` says that the launcher starts the processes of the session. `cargo xtask mpi-test`
//! sets all of these.
//!
//! Cases wait for events, not for time to pass.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod case;
mod cases;
mod environment;
mod process;
mod program;
mod runner;
mod seccomp;
mod self_test;
mod support;
mod unix;

pub use runner::main;
