//! A text that the program contains is an error as well: of functions, closures, methods, and asynchronous ones.
use unidist::prelude::*;

#[remote]
fn named(fails: bool) -> Result<u8, &'static str> {
    if fails { Err("it was asked to fail") } else { Ok(5) }
}

struct Actor;

#[remote]
impl Actor {
    #[new]
    fn new(fails: bool) -> Result<Self, &'static str> {
        named(fails).map(|_| Actor)
    }

    fn method(&self, fails: bool) -> Result<u8, &'static str> {
        named(fails)
    }
}

fn main() -> unidist::Result<()> {
    unidist::config::Backend::put(unidist::config::BackendName::Pyseq)?;
    let _session = unidist::init()?;
    let closure = |fails: bool| -> Result<u8, &'static str> { named(fails) };
    let later = |fails: bool| async move { named(fails) };
    let actor = Actor::remote(false);
    for (ok, failed) in [
        (named.remote(false), named.remote(true)),
        (closure.remote(false), closure.remote(true)),
        (later.remote(false), later.remote(true)),
        (actor.method.remote(false), actor.method.remote(true)),
    ] {
        assert_eq!(get(ok)?, 5);
        let error = get(failed).unwrap_err();
        assert!(error.to_string().ends_with(": it was asked to fail"), "{error}");
        assert_eq!(error.downcast::<String>().as_deref(), Some("it was asked to fail"));
    }
    let error = get(Actor::remote(true).method.remote(false)).unwrap_err();
    assert!(error.root_cause().to_string().ends_with(": it was asked to fail"), "{error:?}");
    Ok(())
}
