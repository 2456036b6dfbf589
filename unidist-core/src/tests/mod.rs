//! Tests that take several modules together, over a session in memory.

mod calls;
mod executor;
mod runner;
mod values;
