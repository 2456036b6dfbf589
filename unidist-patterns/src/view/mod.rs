//! A client, its engines, and views of them, as in ipyparallel.
//!
//! - A [`Client`] numbers the session's workers as *engines*, and keeps records of their tasks.
//! - A [`DirectView`] runs each call on all of its engines. A [`BroadcastView`] does the same, and sends arguments
//!   once.
//! - A [`LoadBalancedView`] runs each task on one engine, chosen by a [`Scheme`], when the task's dependencies are met
//!   ([`Dependency`], [`depend`]).
//! - All of them return an [`AsyncResult`] at once.
//! - Each engine has a [`Namespace`]: values by name, which persist from call to call.
//!
//! ```
//! use unidist::view::{Client, Distribution, Reference, Result};
//!
//! # fn main() -> Result<()> {
//! let _session = unidist::init()?;
//! let client = Client::new()?;
//! let all = client.view(..)?;
//!
//! let hello = all.apply(|name: String| format!("Hello, {name}"), ("engines",));
//! assert_eq!(hello.get(None)?[0], "Hello, engines");
//!
//! let numbers: Vec<u64> = (0..1000).collect();
//! all.scatter("part", &numbers, Distribution::Block).get(None)?;
//! let sum = all.apply(|part: Vec<u64>| part.iter().sum::<u64>(), (Reference::new("part"),)).reduce(|a, b| a + b)?;
//! assert_eq!(sum, Some(499_500));
//!
//! let balanced = client.load_balanced_view(..)?;
//! assert_eq!(balanced.map_sync(|x: u64| x * x, 0..5)?, [0, 1, 4, 9, 16]);
//! # Ok(())
//! # }
//! ```
//!
//! All failures are a [`ViewError`]; `?` converts it into the crate's own error.

mod arguments;
mod balanced;
mod broadcast;
mod call;
mod client;
mod client_loop;
mod dependencies;
mod direct;
mod engines;
mod error;
mod history;
mod load_balancer;
mod namespace;
mod record;
mod result;
mod scatter;
mod task;

pub use arguments::{IntoViewArg, IntoViewArgs, Reference, ViewArgs};
pub use balanced::{Imap, LoadBalancedView};
pub use broadcast::BroadcastView;
pub use client::{Client, ClientBuilder, EngineStatus, QueueStatus, ResultStatus};
pub use dependencies::{Depend, Dependency, depend};
pub use direct::DirectView;
pub use engines::{EngineNumber, Targets};
pub use error::{CompositeError, EngineId, Result, Unmet, ViewError};
pub use history::History;
pub use load_balancer::Scheme;
pub use namespace::{Namespace, namespace};
pub use record::{Query, TaskId, TaskRecord, TaskStatus};
pub use result::{AsyncResult, Results};
pub use scatter::Distribution;
