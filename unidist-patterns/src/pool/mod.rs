//! A worker pool to which objects are pushed and over which lists and arrays are scattered, as in pyMOR.
//!
//! ```
//! use std::sync::Arc;
//! use unidist::pool::{Local, each, new_pool};
//!
//! fn solve(model: Local<Vec<f64>>, parameter: f64) -> f64 {
//!     model.iter().map(|entry| entry * parameter).sum()
//! }
//!
//! # fn main() -> unidist::Result<()> {
//! let _session = unidist::init()?; // without it, the pool is a sequential one
//! let pool = new_pool()?;
//! let model = pool.push(&Arc::new(vec![1.0, 2.0, 3.0]))?;
//! assert_eq!(pool.map(solve, (&model, each([0.5, 1.0, 2.0])))?, [3.0, 6.0, 12.0]);
//! # Ok(())
//! # }
//! ```
//!
//! # Vocabulary
//!
//! - A [`WorkerPool`] is a number of workers; [`apply`](WorkerPool::apply) has each of them do something,
//!   [`map`](WorkerPool::map) any of them for each item of a list.
//! - A [`RemoteObject`] is what all workers have: a copy each of what was [pushed](WorkerPool::push), or a part each of
//!   what was [scattered](WorkerPool::scatter_list). [`RemoteObjectManager`] removes them at the end of a scope.
//! - [`Local`] and [`LocalMut`] are the worker's own copy or part, inside the function.
//! - [`rng`] gives a call random numbers that depend on the pool's seed and on nothing else.

mod arguments;
mod calls;
mod error;
mod local;
mod random;
mod registry;
mod remote_object;
mod scatter;
mod store;
mod worker_pool;

#[doc(hidden)]
pub use arguments::{AtPlace, Column, PoolParameters, SentObject};
pub use arguments::{Each, IntoMapArg, IntoMapArgs, IntoPoolArg, IntoPoolArgs, PoolParameter, each};
pub use error::{Failure, FailurePlace, PoolError, Result};
pub use fastrand::Rng;
pub use local::{Local, LocalError, LocalMut};
pub use random::{rng, seed};
pub use remote_object::{RemoteObject, RemoteObjectManager};
pub use worker_pool::{WorkerPool, new_pool};
