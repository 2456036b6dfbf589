//! The downstream crate's tests, with the package `unidist`: `#[remote]` refers to its re-exports.

extern crate unidist_downstream_facade as unidist_downstream;

#[path = "../../downstream/tests/library.rs"]
mod library;
