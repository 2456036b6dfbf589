//! Actors defined in wrong ways.
use unidist::prelude::*;

struct Opaque;

struct NoNew;

#[remote]
impl NoNew {
    pub fn get(&self) -> i64 {
        1
    }
}

struct Faulty;

#[remote(max_concurency = 2)]
impl Faulty {
    #[new]
    pub async fn new() -> Self {
        Faulty
    }
    pub fn borrows(&self, name: &str) {
        drop(name);
    }
    pub fn consumes(self) {}
    pub fn generic<T>(&self, x: T) {
        drop(x);
    }
}

struct Leaky;

#[remote]
impl Leaky {
    #[new]
    pub fn new() -> Self {
        Leaky
    }
    pub fn gives(&self) -> Opaque {
        Opaque
    }
}

#[remote]
struct NotAnImpl;

fn main() {}
