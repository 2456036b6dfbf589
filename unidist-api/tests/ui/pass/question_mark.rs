//! `?` takes errors of the standard library and boxed ones, in a task as in `main`.
use std::error::Error as StdError;
use unidist::prelude::*;

#[remote]
fn length(path: String) -> unidist::Result<u64> {
    Ok(std::fs::metadata(path)?.len())
}

#[remote]
fn number(text: String) -> unidist::Result<i64> {
    let parse = |text: &str| -> Result<i64, Box<dyn StdError + Send + Sync>> { Ok(text.parse()?) };
    Ok(parse(&text)?)
}

#[remote]
fn local(text: String) -> unidist::Result<i64> {
    let parse = |text: &str| -> Result<i64, Box<dyn StdError>> { Ok(text.parse()?) };
    Ok(parse(&text)?)
}

fn main() -> unidist::Result<()> {
    unidist::config::Backend::put(unidist::config::BackendName::Pyseq)?;
    let _session = unidist::init()?;
    let here = std::env::current_dir()?;
    assert!(get(length.remote(here.display().to_string())).is_ok());
    let missing = get(length.remote("/no/such/file".to_owned())).unwrap_err();
    assert!(missing.to_string().contains("No such file"), "{missing}");
    assert!(missing.root_cause().to_string().contains("No such file"), "{missing}");
    let wrong = get(number.remote("x".to_owned())).unwrap_err();
    assert!(wrong.to_string().contains("invalid digit"), "{wrong}");
    let wrong = get(local.remote("x".to_owned())).unwrap_err();
    assert!(wrong.to_string().contains("invalid digit"), "{wrong}");
    Ok(())
}
