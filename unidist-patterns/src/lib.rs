//! Three compatibility APIs: mpi4py.futures, ipyparallel and pyMOR.
//!
//! - [`executor`]: an [`Executor`](executor::Executor) and its futures, as in Python's `concurrent.futures` and mpi4py.
//! - [`view`]: a client, its engines, and views of them, as in ipyparallel.
//! - [`pool`]: a worker pool that keeps pushed objects and scattered arrays, as in pyMOR.
//!
//! All of them run on the current session, together with each other and with plain remote calls.

#![forbid(unsafe_code)]

pub mod executor;
mod functions;
pub mod pool;
pub mod view;
