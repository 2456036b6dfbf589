//! The types of refs follow from those of the parameters.
use unidist::prelude::*;

#[remote]
fn pair((number, text): (i64, Option<String>)) -> usize {
    text.map_or(0, |text| text.len()) + number as usize
}

#[remote]
fn sum(values: Vec<f64>) -> f64 {
    values.iter().sum()
}

fn main() -> unidist::Result<()> {
    unidist::config::Backend::put(unidist::config::BackendName::Pyseq)?;
    let _session = unidist::init()?;
    let number = put(1)?;
    let first: ObjectRef<usize> = pair.remote((&number, None));
    let none: ObjectRef<usize> = pair.remote((2, Some("x".into())));
    let list: ObjectRef<f64> = sum.remote(refs((0..3).map(|_| put(1.0).unwrap())));
    let array: ObjectRef<f64> = sum.remote([1.0, 2.0].map(|x| put(x).unwrap()));
    assert_eq!(get((first, none, list, array))?, (1, 3, 3.0, 3.0));
    Ok(())
}
