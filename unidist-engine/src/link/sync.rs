//! What the protocols of the shared memory are made of: atomics, fences, and a word to sleep on.
//!
//! Everywhere but in the models this is the standard library and the futex. In the models (`models.rs`, built with
//! `--cfg unidist_loom`), loom takes their place, and tries every order of events and every value that a load may see.

#[cfg(all(test, unidist_loom))]
mod loom;
#[cfg(not(all(test, unidist_loom)))]
mod system;

#[cfg(all(test, unidist_loom))]
pub(crate) use self::loom::{AtomicU32, AtomicU64, Fault, Word, fence, with_fault};
#[cfg(not(all(test, unidist_loom)))]
pub(crate) use self::system::{AtomicU32, AtomicU64, Word, fence};
pub(crate) use std::sync::atomic::Ordering;
