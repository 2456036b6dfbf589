//! unidist's front end for Rust: typed refs, remote functions and actors over the contract of `unidist-backend`, and
//! the runner that calls Rust functions in workers.
mod actor;
mod args;
#[cfg(feature = "ndarray")]
mod array_view;
mod await_ref;
pub mod bulk;
mod call;
mod callbacks;
mod cancel;
mod closure;
mod definition;
mod dep;
mod executor;
mod fn_item;
mod generic;
mod get;
mod group;
mod into_arg;
mod object_ref;
mod options;
mod outcome;
mod panics;
mod portable;
mod put;
mod received_args;
mod reference;
pub mod registry;
mod rust_runner;
mod serialize_context;
pub mod session;
mod shared_slice;
mod split;
mod started;
mod status;
mod submit;
pub mod terminate;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod wait;
mod wait_set;
mod waitable;
mod when_ready;
mod workers;

pub use actor::{Actor, ActorHandle, ActorMethod, ActorOptions, MethodOptions, get_actor};
pub use await_ref::Fetch;
pub use call::{CallOptions, map};
pub use cancel::{cancel, cancel_unstarted, is_cancelled};
pub use closure::Bound;
pub use definition::FunctionOptions;
pub use dep::Dep;
pub use generic::{Fallible, Prepared, RemoteFn, fallible, prepare};
pub use get::{Gettable, get, get_timeout};
pub use group::Group;
pub use into_arg::{IntoArg, refs};
pub use object_ref::{ObjectRef, is_object_ref};
pub use options::ByteSize;
pub use portable::Portable;
pub use put::{put, put_ref};
pub use rust_runner::{PROGRAM, RustRunner};
pub use session::BackendProxy;
pub use shared_slice::{SharedSlice, put_slice};
pub use status::status;
pub use submit::CallSettings;
pub use unidist_backend::{
    Backend, CallStatus, Live, LiveKind, Program, StoreUsage, Which, WorkerInfo, build_id, current_call,
};
pub use unidist_common::{Error, ErrorKind, HeldBy, ProcessId, Result, StoreFull, StoreHolder, TaskError};
pub use wait::{Waited, wait, wait_at_least};
pub use wait_set::{AsCompleted, WaitSet, as_completed};
pub use waitable::{AnyValue, Waitable};
pub use when_ready::Ready;
pub use workers::{current_worker, end_worker, wait_for_workers, workers};

/// The traits that give functions their `.remote` and `.options`.
pub mod remote_traits {
    pub use crate::call::{
        Remote0, Remote1, Remote2, Remote3, Remote4, Remote5, Remote6, RemoteAny0, RemoteAny1, RemoteAny2,
        RemoteAny3, RemoteAny4, RemoteAny5, RemoteAny6, TooMany7, TooMany8,
    };
}

/// What the macros refer to. No part of the API.
#[doc(hidden)]
pub mod __private {
    pub use crate::actor::ActorRef;
    pub use crate::actor::{
        AnyErrorKind, Constructor, Method, SentErrorKind, State, constructor_key, exclusive, later, shared,
    };
    pub use crate::closure::{bind0, bind1, bind2, typed0, typed1, typed2};
    pub use crate::definition::{Definition, now};
    pub use crate::options::seconds;
    pub use crate::portable::{assert_argument, assert_result, assert_split};
    pub use crate::received_args::ReceivedArgs;
    pub use crate::registry::{Metadata, NamedFunction, keep, subject_of};
    pub use crate::split::SplitInto;
    pub use crate::started::Started;
    pub use unidist_common::{FunctionKey, TaskError, TaskOptions};
}
