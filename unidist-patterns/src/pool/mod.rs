//! A worker pool with pushed objects and scattered lists and arrays, as in pyMOR.
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
//! let _session = unidist::init()?; // without a session, the pool is sequential
//! let pool = new_pool()?;
//! let model = pool.push(&Arc::new(vec![1.0, 2.0, 3.0]))?;
//! assert_eq!(pool.map(solve, (&model, each([0.5, 1.0, 2.0])))?, [3.0, 6.0, 12.0]);
//! # Ok(())
//! # }
//! ```
//!
//! # Vocabulary
//!
//! - A [`WorkerPool`] is a fixed set of workers. [`apply`](WorkerPool::apply) calls a function on each of them,
//!   [`map`](WorkerPool::map) calls it for each item of a list, on any of them.
//! - A [`RemoteObject`] refers to an object that all workers have: each has a copy of a [pushed](WorkerPool::push)
//!   object, or a part of a [scattered](WorkerPool::scatter_list) list. [`RemoteObjectManager`] removes them at the end
//!   of a scope.
//! - [`Local`] and [`LocalMut`] give a function the worker's own copy or part.
//! - [`rng`] gives a call random numbers that depend only on the pool's seed and the position of the call.

mod arguments;
mod calls;
mod error;
mod local;
mod local_copies;
mod random;
mod registry;
mod remote_object;
mod scatter;
mod worker_pool;

#[doc(hidden)]
pub use arguments::{AtOwner, Column, PoolParameters, SentObject};
pub use arguments::{Each, IntoMapArg, IntoMapArgs, IntoPoolArg, IntoPoolArgs, PoolParameter, each};
pub use error::{Failure, FailurePlace, PoolError, Result};
pub use fastrand::Rng;
pub use local::{Local, LocalError, LocalMut};
pub use random::{rng, seed};
pub use remote_object::{RemoteObject, RemoteObjectManager};
pub use worker_pool::{WorkerPool, new_pool};
