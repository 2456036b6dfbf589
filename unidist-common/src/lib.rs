//! The vocabulary of all parts of unidist: ids, payloads, task descriptions, errors.
//!
//! Nothing here schedules tasks or moves data. The main types:
//!
//! - [`DataId`] names one immutable object, or one actor (an actor is an object whose value is "alive").
//! - [`Payload`] is an object's value: header bytes and a list of shareable buffers.
//! - [`Object`] is a payload with the references that lie inside it.
//! - [`TaskSpec`] is one call: of a function, a constructor or a method of an actor.
//! - [`TaskError`] says why a call has no value; [`Error`] is what the public functions return.
//!
//! ```
//! use unidist_common::{DataId, ProcessId};
//!
//! let first = DataId::new(ProcessId::CONTROLLER, 7);
//! assert_eq!(first.nth(1).sequence(), 8);
//! ```

pub mod codec;
mod error;
mod error_conversions;
mod function;
mod ids;
mod options;
mod payload;
mod session_end;
mod stable_hash;
mod store_full;
mod task;

pub use error::{Error, ErrorKind, ErrorPayload, Result, TaskError};
pub use function::FunctionKey;
pub use ids::{ActorId, DataId, GroupId, HostId, IdSource, ProcessId, RequestId, TaskId};
pub use options::{GroupSpec, TaskOptions, amount_in_words};
pub use payload::{Object, Payload};
pub use stable_hash::StableHasher;
pub use store_full::{HeldBy, StoreFull, StoreHolder};
pub use task::{Arg, Part, Returns, Target, TaskSpec};
