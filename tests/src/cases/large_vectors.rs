//! Large vectors of numbers, texts and bytes, wherever they are in a value.

use crate::case::{Case, Result, cases};
use crate::program::assert_all_freed;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fmt::Debug;
use unidist::prelude::*;
use unidist::{Dep, SharedSlice, live_objects, put_ref};

pub(super) const CASES: &[Case] = cases!["large_vectors":
    all_types_and_sizes, vectors_inside_values, lists_of_refs_to_large_vectors, refs_among_large_parts,
    results_of_several_values, actors_keep_large_vectors, values_are_freed, unequal_types_are_refused,
];

/// From here on, a part has memory of its own.
const LARGE: usize = 256 << 10;

#[remote]
fn same<T>(value: T) -> T
where
    T: Serialize + DeserializeOwned + Send + 'static,
{
    value
}

/// By `put` and `get`, as an argument and as a result, more than once: the first value of a type is sent in another way.
fn survives<T>(value: &T) -> Result
where
    T: Serialize + DeserializeOwned + Send + PartialEq + 'static,
{
    for _ in 0..3 {
        let reference = put_ref(value)?;
        assert!(get(&reference)? == *value);
        assert!(get(same::<T>.remote(value))? == *value);
        assert!(get(same::<T>.remote(&reference))? == *value);
    }
    Ok(())
}

/// Sizes around the limits: of what is sent inline, and of what has memory of its own.
fn all_types_and_sizes() -> Result {
    for bytes in [0, 8, 32 << 10, LARGE - 16, LARGE, LARGE + 16, 3 << 20] {
        survives(&(0..bytes).map(|n| n as u8).collect::<Vec<_>>())?;
        survives(&(0..bytes / 8).map(|n| n as f64 * 0.5).collect::<Vec<_>>())?;
    }
    let len = LARGE + 5;
    survives(&(0..len).map(|n| n as i8).collect::<Vec<_>>())?;
    survives(&(0..len).map(|n| n as u16).collect::<Vec<_>>())?;
    survives(&(0..len).map(|n| n as i128 - 9).collect::<Vec<_>>())?;
    survives(&(0..len).map(|n| n as f32).collect::<Vec<_>>())?;
    survives(&(0..len).collect::<Vec<usize>>())?;
    survives(&(0..len).map(|n| n % 3 == 0).collect::<Vec<_>>())?;
    survives(&(0..len).map(|n| if n % 2 == 0 { 'ß' } else { 'x' }).collect::<String>())?;
    survives(&(0..len).map(|n| n as u32).collect::<Box<[_]>>())
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Table {
    name: String,
    columns: Vec<Vec<f32>>,
    state: State,
    #[serde(with = "unidist::bulk")]
    points: Vec<[f64; 3]>,
    #[serde(with = "unidist::bulk")]
    histogram: [u32; 100],
    rest: std::collections::BTreeMap<u8, Vec<i64>>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum State {
    Empty,
    Mask(Vec<bool>),
    Text { text: String, words: Option<Vec<u64>> },
}

fn table(state: State) -> Table {
    Table {
        name: "t".into(),
        columns: vec![vec![0.5; LARGE], vec![], vec![1.5; 7]],
        state,
        points: vec![[1.0, 2.0, 3.0]; LARGE / 8],
        histogram: std::array::from_fn(|n| n as u32),
        rest: [(1, vec![-1; LARGE]), (2, vec![])].into(),
    }
}

/// In tuples, options, lists, structs and variants.
fn vectors_inside_values() -> Result {
    let numbers = vec![7_u32; LARGE];
    survives(&(1_u8, numbers.clone(), "x".repeat(LARGE)))?;
    survives(&[None, Some(numbers.clone())].to_vec())?;
    survives(&vec![numbers.clone(), vec![], numbers])?;
    survives(&table(State::Empty))?;
    survives(&table(State::Mask(vec![true; LARGE])))?;
    survives(&table(State::Text { text: "y".repeat(LARGE), words: Some(vec![3; LARGE]) }))
}

#[remote]
fn ramp(from: i64, len: usize) -> Vec<i64> {
    (from..).take(len).collect()
}

#[remote]
fn sums(lists: Vec<Vec<i64>>) -> Vec<i64> {
    lists.iter().map(|list| list.iter().sum()).collect()
}

#[remote]
fn sum_of_pair((left, right): (Vec<i64>, Option<Vec<i64>>)) -> i64 {
    left.iter().chain(right.iter().flatten()).sum()
}

/// Refs in place of lists: each object has parts of its own.
fn lists_of_refs_to_large_vectors() -> Result {
    let len = LARGE / 8;
    for _ in 0..2 {
        let refs: Vec<_> = [len, 3, 2 * len, 0].iter().map(|len| ramp.remote(1_i64, *len)).collect();
        let sum = |len: usize| (len * (len + 1) / 2) as i64;
        assert_eq!(get(sums.remote(&refs))?, [sum(len), 6, sum(2 * len), 0]);
        assert_eq!(get(sum_of_pair.remote((&refs[0], Some(vec![1; len]))))?, sum(len) + len as i64);
    }
    Ok(())
}

#[derive(Serialize, Deserialize)]
struct Job {
    before: Vec<i64>,
    dep: Dep<Vec<i64>>,
    slice: SharedSlice<i64>,
    reference: ObjectRef<Vec<i64>>,
    after: Vec<i64>,
}

#[remote]
fn total(job: Job) -> unidist::Result<i64> {
    let fetched = get(&job.reference)?;
    let parts = [&job.before[..], &job.dep[..], &job.slice[..], &fetched, &job.after];
    Ok(parts.iter().zip(1..).map(|(part, factor)| factor * part.iter().sum::<i64>()).sum())
}

/// Large parts beside shared slices, refs and values that are filled in.
fn refs_among_large_parts() -> Result {
    let len = LARGE / 4;
    let part = |item: i64| vec![item; len];
    for _ in 0..2 {
        let job = Job {
            before: part(1),
            dep: Dep::from(put(part(2))?),
            slice: SharedSlice::build(len, |out| out.fill(3))?,
            reference: put(part(4))?,
            after: part(5),
        };
        assert_eq!(get(total.remote(job))?, 55 * len as i64);
    }
    Ok(())
}

#[remote(num_returns = 2)]
fn both(len: usize) -> (Vec<u16>, String) {
    (vec![9; len], "z".repeat(len))
}

/// The values of a tuple as objects of their own.
fn results_of_several_values() -> Result {
    for _ in 0..2 {
        let (numbers, text) = both.remote(LARGE);
        assert!(get(numbers)? == vec![9; LARGE] && get(text)? == "z".repeat(LARGE));
    }
    Ok(())
}

struct Keeper {
    kept: Vec<f64>,
}

#[remote]
impl Keeper {
    #[new]
    fn new(kept: Vec<f64>) -> Self {
        Keeper { kept }
    }

    fn replace(&mut self, with: Vec<f64>) -> Vec<f64> {
        std::mem::replace(&mut self.kept, with)
    }
}

/// What an actor gets is its own, whatever becomes of the object.
fn actors_keep_large_vectors() -> Result {
    let keeper = Keeper::remote(vec![0.0; LARGE]);
    for n in 0..4 {
        let before = get(keeper.replace.remote(vec![f64::from(n) + 1.0; LARGE]))?;
        assert!(before == vec![f64::from(n); LARGE]);
    }
    Ok(())
}

/// A value that was read keeps no object, and nothing else does.
fn values_are_freed() -> Result {
    let mut values = Vec::new();
    for n in 0..4_u8 {
        values.push(get(same::<Vec<u8>>.remote(vec![n; 2 * LARGE]))?);
        values.push(get(put(vec![n; 2 * LARGE])?)?);
    }
    assert_eq!((values[7][0], live_objects()?), (3, 0));
    assert_all_freed();
    Ok(())
}

mod as_halves {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(numbers: &Vec<u32>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(numbers)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u32>, D::Error> {
        Vec::<u16>::deserialize(deserializer).map(|halves| halves.into_iter().map(u32::from).collect())
    }
}

#[derive(Serialize, Deserialize)]
struct Unequal {
    #[serde(with = "as_halves")]
    numbers: Vec<u32>,
}

/// What is copied as a whole is compared with what is read, like everything else.
fn unequal_types_are_refused() -> Result {
    for len in [1, LARGE] {
        let error = put(Unequal { numbers: vec![7; len] }).unwrap_err().to_string();
        assert!(error.contains("field `numbers` of `Unequal`") && error.contains("u32"), "{error}");
    }
    Ok(())
}
