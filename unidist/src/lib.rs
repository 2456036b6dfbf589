//! Tasks, actors and objects in worker processes, on one machine or on the hosts of an MPI job.
//!
//! This crate re-exports all of `unidist-api` and adds nothing. Depend on one of the two, not on both: each provides a
//! library called `unidist`.
//!
//! ```
//! use unidist::prelude::*;
//!
//! #[remote]
//! fn square(x: i64) -> i64 {
//!     x * x
//! }
//!
//! fn main() -> unidist::Result<()> {
//!     let _session = unidist::init()?; // ends when it is dropped
//!     let four = square.remote(2);
//!     assert_eq!(get(square.remote(&four))?, 16);
//!     Ok(())
//! }
//! ```

#[doc(inline)]
pub use ::unidist::*; // the library of `unidist-api`
