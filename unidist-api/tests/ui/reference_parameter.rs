//! Parameters that are references.
use unidist::prelude::*;

#[remote]
fn norm(items: &[f64], name: &str) -> f64 {
    items.len() as f64
}

#[remote]
fn shown(item: impl std::fmt::Display) -> String {
    item.to_string()
}

fn plain(items: &[f64]) -> f64 {
    items.len() as f64
}

fn main() {
    let _ = plain.remote(vec![1.0]);
}
