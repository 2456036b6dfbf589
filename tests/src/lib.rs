//! The conformance suite: one list of cases, run on every backend.
//!
//! A *case* is a program: it promises something that every backend on which it makes sense must keep. A *trial* is a
//! case on a backend, named `pymp::objects::put_and_get`. It runs in a process of its own with a bounded time, and
//! afterwards nothing may be left of it: no object in the session, no process, no entry in `/dev/shm`. With
//! `UNIDIST_CONFORMANCE_SERIES` set, where starting a program takes long, those cases of a group that can share a session
//! are one trial.
//!
//! The runner ([`main`]) executes itself once for each trial, with `UNIDIST_CONFORMANCE_CASE` naming the case. The
//! workers of a case are the same executable again, but never come as far as `main`. `UNIDIST_CONFORMANCE_TIMEOUT` is
//! the bound of a trial in seconds.
//!
//! `UNIDIST_CONFORMANCE_BACKENDS` names the backends, separated by commas, in place of those that need nothing beside
//! this machine. `UNIDIST_CONFORMANCE_LAUNCHER` is a command that starts each trial, one word a line, such as `mpiexec`
//! with its arguments. It has to pass the variables called `UNIDIST_..` on to all processes that it starts.
//! `UNIDIST_CONFORMANCE_SHARED_MEMORY` names the folders of shared memory where trials may leave nothing, if it is not
//! `/dev/shm` alone; `cargo xtask mpi-test` sets all of these.
//!
//! Cases wait for events, never for time to pass.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod case;
mod cases;
mod place;
mod process;
mod program;
mod runner;
mod self_test;
mod support;

pub use runner::main;
