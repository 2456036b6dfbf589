//! Refs in places where they are not replaced by their values.
use std::collections::HashMap;
use unidist::prelude::*;

#[remote]
fn total(prices: HashMap<String, f64>) -> f64 {
    prices.values().sum()
}

#[remote]
fn pair(pair: (i64, String)) -> usize {
    pair.1.len()
}

#[remote]
fn sum(values: Vec<i64>) -> i64 {
    values.iter().sum()
}

fn main() {
    let (price, number) = (put(1.5).unwrap(), put(1).unwrap());
    let _ = total.remote(HashMap::from([("pear".to_owned(), price.clone())]));
    let _ = pair.remote((&number, &price));
    let _ = sum.remote([&number].iter().map(|number| *number));
}
