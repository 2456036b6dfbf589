//! Large arrays without copies.

use crate::case::{Case, PYMP, Result, cases};
use crate::program::assert_all_freed;
use serde::{Deserialize, Serialize};
use unidist::prelude::*;
use unidist::{SharedSlice, live_objects, put_slice};

pub(super) const CASES: &[Case] = cases!["shared_slices":
    put_and_read, two_gets_read_the_same_memory, slice_is_built_in_place, slice_as_an_argument,
    slice_as_a_result, slices_nested_in_values, slice_kept_by_an_actor, empty_and_small_slices,
    small_slices_cost_no_object, slices_around_the_inline_limit,
    all_item_types, view_keeps_the_memory, many_slices_in_one_value, argument_slice_as_the_result,
    memory_is_freed_with_the_last_view, workers_map_the_same_memory.only(PYMP),
];

const LEN: usize = 1 << 18; // 2 MiB of f64

fn numbers() -> Vec<f64> {
    (0..LEN).map(|n| n as f64).collect()
}

/// `put_slice(&[T])` gives `ObjectRef<SharedSlice<T>>`, which derefs to `&[T]`.
fn put_and_read() -> Result {
    let reference = put_slice(&numbers())?;
    let slice = get(&reference)?;
    assert!(*slice == numbers());
    assert_eq!(slice.iter().sum::<f64>(), (LEN * (LEN - 1) / 2) as f64);
    Ok(())
}

/// Large data is read without a copy from shared memory on the same host.
fn two_gets_read_the_same_memory() -> Result {
    let reference = put_slice(&numbers())?;
    let (first, second) = (get(&reference)?, get(&reference)?);
    assert_eq!(first.as_ptr(), second.as_ptr());
    Ok(())
}

/// `SharedSlice::build(len, |out| ..)` writes straight into shared memory, and putting it copies nothing.
fn slice_is_built_in_place() -> Result {
    let slice = SharedSlice::build(LEN, |out: &mut [u64]| {
        out.iter_mut().zip(0..).for_each(|(item, n)| *item = n * n);
    })?;
    assert_eq!(slice[1000], 1_000_000);
    let place = slice.as_ptr();
    let reference = put(slice)?;
    assert_eq!(get(&reference)?.as_ptr(), place);
    Ok(())
}

#[remote]
fn total(data: SharedSlice<f64>) -> f64 {
    data.iter().sum()
}

/// As a parameter, by ref and by value.
fn slice_as_an_argument() -> Result {
    let reference = put_slice(&numbers())?;
    let expected = numbers().iter().sum::<f64>();
    assert_eq!(get([total.remote(&reference), total.remote(&reference)])?, [expected; 2]);
    assert_eq!(get(total.remote(get(&reference)?))?, expected);
    Ok(())
}

#[remote]
fn ramp(len: usize, step: f64) -> unidist::Result<SharedSlice<f64>> {
    SharedSlice::build(len, |out: &mut [f64]| {
        out.iter_mut().zip(0..).for_each(|(item, n)| *item = f64::from(n) * step);
    })
}

/// As a result, also one that goes straight into the next call.
fn slice_as_a_result() -> Result {
    let result = ramp.remote(LEN, 1.0);
    let sum = total.remote(&result);
    assert!(*get(result)? == numbers());
    assert_eq!(get(sum)?, numbers().iter().sum::<f64>());
    Ok(())
}

#[derive(Serialize, Deserialize)]
struct Table {
    name: String,
    columns: Vec<SharedSlice<f64>>,
    mask: Option<SharedSlice<u8>>,
}

#[remote]
fn widen(mut table: Table) -> unidist::Result<Table> {
    let last = table.columns[0].iter().map(|x| -x).collect::<Vec<_>>();
    table.columns.push(get(put_slice(&last)?)?);
    table.name.push('!');
    Ok(table)
}

/// As a field or an item of a list.
fn slices_nested_in_values() -> Result {
    let column = get(put_slice(&numbers())?)?;
    let table = Table {
        name: "t".into(),
        columns: vec![column.clone(), column],
        mask: Some(get(put_slice(&[1_u8; 100_000])?)?),
    };
    let table = get(widen.remote(widen.remote(table)))?;
    assert_eq!((table.name.as_str(), table.columns.len()), ("t!!", 4));
    assert!(table.columns[..2].iter().all(|column| **column == numbers()));
    assert_eq!(table.columns[3][LEN - 1], -((LEN - 1) as f64));
    assert_eq!(table.mask.unwrap().len(), 100_000);
    Ok(())
}

struct Keeper {
    kept: SharedSlice<f64>,
}

#[remote]
impl Keeper {
    #[new]
    fn new(kept: SharedSlice<f64>) -> Self {
        Keeper { kept }
    }

    fn kept(&self) -> SharedSlice<f64> {
        self.kept.clone()
    }

    fn replace(&mut self, with: SharedSlice<f64>) -> f64 {
        std::mem::replace(&mut self.kept, with)[1]
    }
}

/// Inside an actor, which may keep the slice.
fn slice_kept_by_an_actor() -> Result {
    let keeper = Keeper::remote(put_slice(&numbers())?);
    let kept = get(keeper.kept.remote())?;
    assert!(*kept == numbers());
    assert_eq!(get(keeper.replace.remote(ramp.remote(10_usize, 7.0)))?, 1.0);
    assert_eq!(get(keeper.kept.remote())?[..3], [0.0, 7.0, 14.0]);
    drop(keeper);
    assert!(*kept == numbers()); // the view outlives the actor
    Ok(())
}

/// Any length is fine.
fn empty_and_small_slices() -> Result {
    assert_eq!(get(put_slice::<f64>(&[])?)?.len(), 0);
    assert_eq!(*get(put_slice(&[1_u8, 2, 3])?)?, [1, 2, 3]);
    assert_eq!(get(total.remote(SharedSlice::build(0, |_| ())?))?, 0.0);
    assert_eq!(get(total.remote(SharedSlice::build(1, |out: &mut [f64]| out[0] = 2.0)?))?, 2.0);
    Ok(())
}

/// A small slice is a part of the value that it is in: it names no object, so it keeps none alive, wherever it is made
/// and read.
fn small_slices_cost_no_object() -> Result {
    let slice = get(put_slice(&[1_u64, 2])?)?;
    assert_eq!((&slice[..], live_objects()?), (&[1, 2][..], 0));
    let step = |data: SharedSlice<u64>| put_slice(&[data[1], data[0] + data[1]]).and_then(get);
    let last = (0..30).fold(step.remote(&slice), |last, _| step.remote(last));
    let slice = get(last)?;
    assert_eq!(slice[0], 3_524_578);
    assert_all_freed();
    assert_eq!(slice[1], 5_702_887);
    Ok(())
}

/// One type serves all sizes: also those that are just sent as a part of the value, and just not.
fn slices_around_the_inline_limit() -> Result {
    let flip = |data: Vec<SharedSlice<u16>>| {
        let flipped = data.iter().map(|data| {
            SharedSlice::build(data.len(), |out: &mut [u16]| {
                out.iter_mut().zip(data).for_each(|(out, item)| *out = !item);
            })
        });
        flipped.collect::<unidist::Result<Vec<_>>>()
    };
    let lengths = [0, 1, 8, (16 << 10) - 1, 16 << 10, (16 << 10) + 1, 1 << 20];
    let slices: Vec<_> = lengths
        .iter()
        .map(|len| SharedSlice::build(*len, |out: &mut [u16]| out.fill(*len as u16)))
        .collect::<unidist::Result<_>>()?;
    let same = get(flip.remote(flip.remote(&slices)))?;
    assert!(same == slices);
    Ok(())
}

/// `T` plain old data: numbers, arrays of them.
fn all_item_types() -> Result {
    assert_eq!(get(put_slice(&[i128::MIN; 5000])?)?[4999], i128::MIN);
    assert_eq!(get(put_slice(&[[1_u16, 2, 3]; 40_000])?)?[39_999], [1, 2, 3]);
    let flipped = |data: SharedSlice<i8>| data.iter().map(|x| !x).collect::<Vec<_>>();
    assert_eq!(get(flipped.remote(put_slice(&[0_i8; 9])?))?, [-1; 9]);
    Ok(())
}

/// The memory is kept alive by the value.
fn view_keeps_the_memory() -> Result {
    let table = Table {
        name: String::new(),
        columns: vec![get(put_slice(&numbers())?)?, get(put_slice(&[1.0; 1000])?)?],
        mask: None,
    };
    let reference = put(table)?;
    let column = get(&reference)?.columns.remove(0);
    drop(reference);
    assert!(*column == numbers());
    Ok(())
}

/// Many slices in one value.
fn many_slices_in_one_value() -> Result {
    let slices: Vec<_> =
        (0..300_u32).map(|n| get(put_slice(&vec![n; 100])?)).collect::<unidist::Result<_>>()?;
    let sums =
        |slices: Vec<SharedSlice<u32>>| slices.iter().map(|slice| slice.iter().sum()).collect::<Vec<u32>>();
    assert_eq!(get(sums.remote(slices))?, (0..300).map(|n| n * 100).collect::<Vec<_>>());
    Ok(())
}

/// A task may return its argument.
fn argument_slice_as_the_result() -> Result {
    let same = |data: SharedSlice<f64>| data;
    let first = put_slice(&numbers())?;
    let last = same.remote(same.remote(same.remote(&first)));
    let slice = get(&last)?;
    drop((first, last));
    assert!(*slice == numbers());
    Ok(())
}

/// The last view frees.
fn memory_is_freed_with_the_last_view() -> Result {
    let reference = put_slice(&numbers())?;
    let view = get(&reference)?;
    drop(reference);
    let clone = view.clone();
    drop(view);
    assert_eq!((clone[5], live_objects()?), (5.0, 1));
    drop(clone);
    assert_all_freed();
    Ok(())
}

/// The processes of a host read the same pages: data of many MiB takes almost no private memory of a worker.
fn workers_map_the_same_memory() -> Result {
    /// Anonymous (private) memory of this process in kB.
    fn private() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
    let data = put_slice(&vec![1_u64; 8 << 20])?; // 64 MiB
    let grown = |data: ObjectRef<SharedSlice<u64>>| {
        let before = private();
        let data = get(data).unwrap();
        assert_eq!(data.iter().sum::<u64>(), 8 << 20);
        private().saturating_sub(before)
    };
    let pass_ref = |data: Vec<ObjectRef<SharedSlice<u64>>>| data;
    let data = get(pass_ref.remote(vec![data]))?.remove(0);
    // A parameter of type `ObjectRef` receives the ref itself.
    let grown = get(grown.remote(&data))?;
    assert!(grown < 16 << 10, "{grown} kB");
    Ok(())
}
