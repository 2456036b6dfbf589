//! The primitives that the protocols are built from: atomics, fences, and a counter to sleep on.
//!
//! Outside of the models these are the standard library and the futex. In the models (`models.rs`, built with
//! `--cfg unidist_loom`) loom takes their place and tries every order of events and every value that a load may return.

#[cfg(all(test, unidist_loom))]
mod loom;
#[cfg(not(all(test, unidist_loom)))]
mod system;

#[cfg(all(test, unidist_loom))]
pub(crate) use self::loom::{AtomicU32, AtomicU64, Fault, WakeCounter, fence, with_fault};
#[cfg(not(all(test, unidist_loom)))]
pub(crate) use self::system::{AtomicU32, AtomicU64, WakeCounter, fence};
pub(crate) use std::sync::atomic::Ordering;
