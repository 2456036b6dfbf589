//! What the encoding carries: attributes, types and refs that arrive as they were sent.

use crate::case::{Case, Result, cases};
use crate::support::Signal;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fmt::Debug;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};
use unidist::prelude::*;
use unidist::{Dep, SharedSlice, put_ref, put_slice};

pub(super) const CASES: &[Case] = cases!["encodable":
    harmless_attributes_work, common_types_work, refs_and_slices_are_sent_as_before,
];

mod doubled {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        (value, value).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        <(u64, u64)>::deserialize(deserializer).map(|(value, _)| value)
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct Harmless {
    #[serde(rename(serialize = "to", deserialize = "from"))]
    renamed: u8,
    #[serde(alias = "other", alias = "another")]
    aliased: u16,
    #[serde(skip)]
    skipped: u32,
    #[serde(with = "doubled")]
    with: u64,
    choice: Choice,
    transparent: Transparent,
    through: Through,
    last: i8,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
enum Choice {
    #[serde(rename(serialize = "x", deserialize = "y"))]
    First(u8),
    #[default]
    #[serde(alias = "z")]
    Second,
    #[serde(other)]
    Other,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
struct Transparent {
    inner: Option<Box<Harmless>>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
struct Through(String);

impl From<String> for Through {
    fn from(text: String) -> Self {
        Through(text)
    }
}

impl From<Through> for String {
    fn from(through: Through) -> Self {
        through.0
    }
}

/// The value arrives as it was sent, from the program and from the worker.
#[track_caller]
fn assert_sent<T>(value: T)
where
    T: Serialize + DeserializeOwned + PartialEq + Debug + Send + Sync + 'static,
{
    let id = |value: T| value;
    assert_eq!(get(id.remote(&value)).unwrap(), value);
    assert_eq!(get(put_ref(&value).unwrap()).unwrap(), value);
}

/// Attributes that change names, or both sides alike.
fn harmless_attributes_work() -> Result {
    let inner =
        Harmless { choice: Choice::First(2), through: Through("é".to_owned()), ..Harmless::default() };
    assert_sent(Harmless {
        renamed: 1,
        aliased: 2,
        skipped: 0,
        with: u64::MAX,
        choice: Choice::Other,
        transparent: Transparent { inner: Some(Box::new(inner)) },
        through: Through("x".to_owned()),
        last: -1,
    });
    let skipped = get((|value: Harmless| value).remote(Harmless { skipped: 9, ..Harmless::default() }))?;
    assert_eq!(skipped, Harmless::default(), "a field that is skipped on both sides has its default");
    Ok(())
}

/// Decodes only if the number of cells is that of the shape.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "(Vec<f64>, usize, usize)", into = "(Vec<f64>, usize, usize)")]
struct Grid {
    cells: Vec<f64>,
    rows: usize,
    columns: usize,
}

impl TryFrom<(Vec<f64>, usize, usize)> for Grid {
    type Error = String;

    fn try_from((cells, rows, columns): (Vec<f64>, usize, usize)) -> Result<Self, String> {
        match cells.len() == rows * columns {
            true => Ok(Grid { cells, rows, columns }),
            false => Err(format!("{} cells in {rows} rows of {columns}", cells.len())),
        }
    }
}

impl From<Grid> for (Vec<f64>, usize, usize) {
    fn from(grid: Grid) -> Self {
        (grid.cells, grid.rows, grid.columns)
    }
}

/// Types of the standard library, and values at the edge of their type.
fn common_types_work() -> Result {
    assert_sent((u128::MAX, i128::MIN, char::MAX, f32::MIN_POSITIVE, -0.0_f64));
    let not_a_number = |x: f32| x.to_bits();
    assert_eq!(get(not_a_number.remote(f32::NAN))?, f32::NAN.to_bits());
    assert_sent((PathBuf::from("/tmp/ä b"), SystemTime::UNIX_EPOCH + Duration::new(1, 5)));
    assert_sent(HashMap::from([((1_u8, 'x'), vec![Some(1.5)]), ((2, 'y'), vec![None])]));
    assert_sent(("10.0.0.1".parse::<std::net::IpAddr>().unwrap(), std::ffi::OsString::from("x"), 1..=3_u8));
    assert_sent(std::rc::Rc::new(5).as_ref() + 1);
    assert_sent((std::sync::Arc::<str>::from("text"), Ok::<(), String>(()), [[1_u16; 32]; 2], ()));
    assert_sent((std::num::NonZeroU8::new(3), std::cmp::Reverse(4), std::ops::Bound::Included(5)));
    assert_sent(vec![String::new(); 3]);
    assert_sent(vec![vec![0.5_f64; 1_000]; 300]);
    assert_sent(Grid { cells: vec![0.5; 100_000], rows: 100, columns: 1_000 });
    Ok(())
}

#[derive(Debug, Serialize, Deserialize)]
struct Parts {
    later: ObjectRef<i64>,
    value: Option<Dep<Vec<i64>>>,
    view: SharedSlice<f64>,
    actor: ActorHandle<Signal>,
    text: String,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Sums {
    value: i64,
    view: f64,
    text: String,
    views: Vec<SharedSlice<u8>>,
}

/// The check of a value that contains refs waits for none of them, and keeps none.
fn refs_and_slices_are_sent_as_before() -> Result {
    let signal = Signal::remote();
    let later = (|signal: ActorHandle<Signal>| get(signal.wait.remote()).map(|()| 5_i64)).remote(&signal);
    let data = put(vec![1_i64, 2])?;
    let slice = get(put_slice(&[0.5, 0.25])?)?;
    let use_parts = |parts: Parts| -> Result<Sums> {
        Ok(Sums {
            value: parts.value.as_ref().map_or(0, |list| list.iter().sum()),
            view: parts.view.iter().sum(),
            text: parts.text,
            views: vec![SharedSlice::build(3, |out: &mut [u8]| out.fill(7))?],
        })
    };
    for value in [Some(Dep::from(&data)), None] {
        let has_value = value.is_some();
        let parts = Parts {
            later: later.clone(),
            value,
            view: slice.clone(),
            actor: signal.clone(),
            text: "text".to_owned(),
        };
        let stored = put_ref(&parts)?; // while `later` has no value
        let sums = get(use_parts.remote(&parts))?;
        assert_eq!(
            (sums.value, sums.view, sums.text.as_str()),
            (if has_value { 3 } else { 0 }, 0.75, "text")
        );
        assert_eq!(sums.views[0][..], [7; 3]);
        assert_eq!(get(&stored)?.view[..], [0.5, 0.25]);
    }
    // The ref of a call that has not ended, in an argument of which the value is a dependency.
    let waits = (|pair: (Dep<i64>, u8)| *pair.0 + 1).remote((Dep::from(&later), 1_u8));
    get(signal.open.remote())?;
    assert_eq!(get(waits)?, 6);
    assert_eq!(get(&later)?, 5);
    drop((signal, later, data, slice));
    crate::program::assert_all_freed();
    Ok(())
}
