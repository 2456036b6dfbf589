//! `#[unidist::test]` where it cannot be.

#[unidist::test(workers = 2)]
fn with_options() {}

#[unidist::test]
fn with_parameters(x: i64) {
    let _ = x;
}

#[unidist::test]
fn generic<T>() {}

#[unidist::test]
#[test]
fn twice() {}

#[unidist::test]
struct NoFunction;

struct Suite;

impl Suite {
    #[unidist::test]
    fn method(&self) {}
}

fn main() {
    with_options();
    with_parameters(1);
    generic::<i64>();
    twice();
    let _ = NoFunction;
    Suite.method();
}
