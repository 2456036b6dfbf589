//! Downstream.
