//! A library as a user would write it: it depends only on unidist-api and serde, names no backend, and its remote
//! functions are called from other crates.
//!
//! ```
//! let _session = unidist::init()?;
//! assert_eq!(unidist_downstream::parallel_mean(vec![1.0, 2.0, 3.0, 6.0], 2)?, 3.0);
//! # Ok::<(), unidist::Error>(())
//! ```

pub mod inventory;
pub mod statistics;

pub use statistics::parallel_mean;
