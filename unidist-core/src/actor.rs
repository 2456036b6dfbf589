//! Actors: state with methods, in a process of its own.
//!
//! # Methods and the state
//!
//! A method that takes `&mut self` has the state to itself; methods that take `&self` overlap, where they are
//! asynchronous and wait. So an asynchronous `&self` method that waits for something that a `&mut self` method would
//! bring about waits for ever. Let both take `&self` and put what changes into a cell: an actor never leaves its
//! thread, so [`Cell`](std::cell::Cell), [`RefCell`](std::cell::RefCell) and `tokio::sync::Notify` do.
//!
//! ```
//! use std::cell::Cell;
//! use tokio::sync::Notify;
//!
//! #[derive(Default)]
//! struct Gate {
//!     open: Cell<bool>,
//!     changed: Notify,
//! }
//!
//! impl Gate {
//!     // `&mut self` here would wait for `passed` to end, which waits for this.
//!     pub fn open(&self) {
//!         self.open.set(true);
//!         self.changed.notify_waiters();
//!     }
//!     pub async fn passed(&self) {
//!         while !self.open.get() {
//!             self.changed.notified().await;
//!         }
//!     }
//! }
//! ```

mod handle;
mod method;
mod state;

pub use handle::{Actor, ActorHandle, ActorRef, get_actor};
pub use method::{ActorMethod, ActorOptions, Constructor, Method, MethodOptions, constructor_key};
pub use state::{AnyErrorKind, SentErrorKind, State, exclusive, later, shared};
