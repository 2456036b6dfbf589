//! unidist's own tooling.
fn main() {}
