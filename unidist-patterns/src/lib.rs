//! Three dialects on one scheduler, for people who know mpi4py.futures, ipyparallel or pyMOR.
//!
//! - [`executor`]: an [`Executor`](executor::Executor) and its futures, as in Python's `concurrent.futures` and mpi4py.
//! - [`view`]: a client, its engines, and views of them, as in ipyparallel.
//! - [`pool`]: a worker pool to which data are pushed and over which arrays are scattered, as in pyMOR.
//!
//! All of them run on whatever session there is, beside each other and beside plain remote calls.

#![forbid(unsafe_code)]

pub mod executor;
mod functions;
pub mod pool;
pub mod view;
