//! The contract between a front end and a backend, over opaque bytes.
//!
//! A *front end* offers calls, objects and actors in a language; unidist-core is the one for Rust. A *backend* runs the
//! calls and keeps the objects; it knows no type of the user's. Three things meet here:
//!
//! - [`Backend`]: what a front end calls, in the program and in tasks.
//! - [`TaskRunner`], made by [`Program`]: what a backend calls in a worker to run a call.
//! - [`LaunchCommand`]: how a backend starts a worker process.
//!
//! A front end in another language needs this crate and a backend, and nothing of unidist-core.

mod backend;
mod build_id;
mod current;
mod launch;
mod live;
mod owner;
mod runner;

pub use backend::{
    Backend, CallStatus, ClusterInfo, NamedActor, Outcome, StoreUsage, Which, WorkerInfo, WritableBuffer,
};
pub use build_id::build_id;
pub use current::{current_call, within_call};
pub use launch::LaunchCommand;
pub use live::{Live, LiveKind};
pub use owner::{Owner, end_forked_child};
pub use runner::{Call, CallKind, CallResult, OnStart, Program, Progress, RunnerFactory, TaskRunner};
