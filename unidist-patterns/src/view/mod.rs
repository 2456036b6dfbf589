//! A client, its engines, and views of them, as in ipyparallel.
//!
//! - A [`Client`] knows the session's workers as *engines*, by small numbers, and remembers what they were asked to do.
//! - A [`DirectView`] is of some engines: what it is asked for, each of them does. A [`BroadcastView`] is the same, and
//!   sends arguments once.
//! - A [`LoadBalancedView`] gives each task to one engine, chosen by a [`Scheme`], when what it depends on is there
//!   ([`Dependency`], [`depend`]).
//! - All give an [`AsyncResult`] at once.
//! - Each engine has a [`Namespace`]: values by name, which stay there from call to call.
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
//! Whatever fails is a [`ViewError`], which `?` turns into the crate's own error where that is wanted.

mod arguments;
mod balanced;
mod balancing;
mod broadcast;
mod call;
mod client;
mod dependencies;
mod direct;
mod engines;
mod error;
mod history;
mod hub;
mod namespace;
mod record;
mod result;
mod scatter;
mod task;

pub use arguments::{IntoViewArg, IntoViewArgs, Reference, ViewArgs};
pub use balanced::{Imap, LoadBalancedView};
pub use balancing::Scheme;
pub use broadcast::BroadcastView;
pub use client::{Client, ClientBuilder, EngineStatus, QueueStatus, ResultStatus};
pub use dependencies::{Depend, Dependency, depend};
pub use direct::DirectView;
pub use engines::{EngineNumber, Targets};
pub use error::{CompositeError, EngineId, Result, Unmet, ViewError};
pub use history::History;
pub use namespace::{Namespace, namespace};
pub use record::{Query, TaskId, TaskRecord, TaskStatus};
pub use result::{AsyncResult, Results};
pub use scatter::Distribution;
