//! A full object store with room on disk: whatever the program has submitted ahead, each call gets room for its results.

use super::store::{DISK_256, MEMORY_8, MEMORY_16, MIB, is_pattern, pattern};
use crate::case::{Case, Result, cases};
use crate::program::assert_all_freed;
use crate::support::{Signal, is_parallel};
use unidist::prelude::*;
use unidist::{Group, SharedSlice, put_slice, store_usage};

pub(super) const CASES: &[Case] = cases!["store_pressure":
    results_and_their_readers_at_once.settings(&[MEMORY_8, DISK_256]),
    pairs_of_objects_that_fill_the_store.settings(&[MEMORY_16, DISK_256]),
    external_sort.settings(&[MEMORY_2, DISK_256]),
    queued_calls_of_an_actor.settings(&[MEMORY_8, DISK_256]),
    waiting_calls_of_an_asynchronous_actor.settings(&[MEMORY_8, DISK_256]),
    puts_beside_queued_calls.settings(&[MEMORY_8, DISK_256]),
    result_larger_than_what_is_free.settings(&[MEMORY_8, DISK_256]),
    argument_list_that_fills_the_store.settings(&[MEMORY_8, DISK_256]),
    views_that_fill_the_store.settings(&[MEMORY_8, DISK_256]),
    object_larger_than_the_memory.settings(&[MEMORY_8, DISK_256]),
    slices_built_in_a_full_store.settings(&[MEMORY_8, DISK_256]),
    recursion_with_large_arguments.settings(&[MEMORY_8, DISK_256]),
    groups_that_take_turns.settings(&[MEMORY_8, DISK_256]),
];

const MEMORY_2: (&str, &str) = ("UNIDIST_OBJECT_STORE_MEMORY", "2MiB");

/// A result that is encoded first, and so copied into the store.
#[remote]
fn make(seed: usize, len: usize) -> Vec<u8> {
    pattern(seed, len)
}

/// A result that is written into the store's memory directly.
#[remote]
fn build(seed: usize, len: usize) -> unidist::Result<SharedSlice<u8>> {
    SharedSlice::build(len, |out: &mut [u8]| out.copy_from_slice(&pattern(seed, len)))
}

#[remote]
fn is_made(seed: usize, data: Vec<u8>) -> bool {
    is_pattern(seed, data.len(), &data)
}

#[remote]
fn is_built(seed: usize, data: SharedSlice<u8>) -> bool {
    is_pattern(seed, data.len(), &data)
}

#[remote]
fn filled(with: u8, len: usize) -> unidist::Result<SharedSlice<u8>> {
    SharedSlice::build(len, |out: &mut [u8]| out.fill(with))
}

#[remote]
fn is_filled(with: u8, data: SharedSlice<u8>) -> bool {
    data.iter().step_by(1000).all(|byte| *byte == with)
}

/// Forty results of an eighth of the store each, and a call on each, all submitted before one of them has run.
fn results_and_their_readers_at_once() -> Result {
    let results: Vec<_> = (0..40).map(|with| filled.remote(with, MIB)).collect();
    let right: Vec<_> = (0..40).zip(&results).map(|(with, data)| is_filled.remote(with, data)).collect();
    assert_eq!(get(right)?, [true; 40]);
    let encoded: Vec<_> = (0..20).map(|seed| make.remote(seed, MIB / 2)).collect();
    let right: Vec<_> = (0..20).zip(&encoded).map(|(seed, data)| is_made.remote(seed, data)).collect();
    assert_eq!(get(right)?, [true; 20]);
    drop((results, encoded));
    assert_all_freed();
    Ok(())
}

#[remote]
fn added(a: SharedSlice<u8>, b: SharedSlice<u8>) -> unidist::Result<SharedSlice<u8>> {
    SharedSlice::build(a.len(), |out: &mut [u8]| {
        out.copy_from_slice(&a);
        out.iter_mut().zip(&*b).step_by(1000).for_each(|(sum, byte)| *sum = sum.wrapping_add(*byte));
    })
}

/// Objects that fill the store, added in pairs.
fn pairs_of_objects_that_fill_the_store() -> Result {
    const LEN: usize = MIB / 4;
    let objects = (0..64).map(|with| put_slice(&[with; LEN])).collect::<unidist::Result<Vec<_>>>()?;
    let sums: Vec<_> = objects.chunks(2).map(|pair| added.remote(&pair[0], &pair[1])).collect();
    let right: Vec<_> = sums.iter().zip(0..).map(|(sum, at)| is_filled.remote(4 * at + 1_u8, sum)).collect();
    assert_eq!(get(right)?, [true; 32]);
    drop((objects, sums));
    assert_all_freed();
    Ok(())
}

const CHUNK: usize = MIB / 32; // numbers: one eighth of the store

#[remote]
fn numbers(seed: u64) -> unidist::Result<SharedSlice<u64>> {
    let mut state = seed ^ 0x9e37_79b9_7f4a_7c15;
    SharedSlice::build(CHUNK, |out: &mut [u64]| {
        for item in out {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *item = state;
        }
    })
}

#[remote]
fn sample(chunk: SharedSlice<u64>) -> Vec<u64> {
    chunk.iter().step_by(CHUNK / 64).copied().collect()
}

/// The numbers of a chunk, in six ranges.
#[remote(num_returns = 6)]
fn partition(chunk: SharedSlice<u64>, bounds: Vec<u64>) -> (Part, Part, Part, Part, Part, Part) {
    let mut parts: [Vec<u64>; 6] = Default::default();
    chunk.iter().for_each(|number| parts[bounds.partition_point(|bound| bound <= number)].push(*number));
    let part = |part: Vec<u64>| {
        SharedSlice::build(part.len(), |out: &mut [u64]| out.copy_from_slice(&part)).unwrap()
    };
    parts.map(part).into()
}

type Part = SharedSlice<u64>;

#[remote]
fn merge(parts: Vec<SharedSlice<u64>>) -> unidist::Result<SharedSlice<u64>> {
    SharedSlice::build(parts.iter().map(|part| part.len()).sum(), |out: &mut [u64]| {
        let mut rest = &mut *out;
        for part in &parts {
            let (start, end) = rest.split_at_mut(part.len());
            start.copy_from_slice(part);
            rest = end;
        }
        out.sort_unstable();
    })
}

/// The sum of the numbers, the first and the last one, if they are sorted.
#[remote]
fn summary(sorted: SharedSlice<u64>) -> Option<(u64, u64, u64)> {
    let sum = sorted.iter().fold(0_u64, |sum, number| sum.wrapping_add(*number));
    sorted.is_sorted().then(|| (sum, sorted[0], sorted[sorted.len() - 1]))
}

/// Sorts six times as many numbers as the store holds, by sampling, partitioning and merging, all submitted at once.
fn external_sort() -> Result {
    let chunks: Vec<_> = (0..48).map(|seed| numbers.remote(seed)).collect();
    let mut samples = get(chunks.iter().map(|chunk| sample.remote(chunk)).collect::<Vec<_>>())?.concat();
    samples.sort_unstable();
    let bounds: Vec<_> = (1..6).map(|at| samples[at * samples.len() / 6]).collect();
    let mut ranges: [Vec<ObjectRef<Part>>; 6] = Default::default();
    for chunk in &chunks {
        let parts: [_; 6] = partition.remote(chunk, bounds.clone()).into();
        ranges.iter_mut().zip(parts).for_each(|(range, part)| range.push(part));
    }
    drop(chunks);
    let sorted: Vec<_> = ranges.into_iter().map(|range| merge.remote(range)).collect();
    let summaries: Vec<_> = sorted.iter().map(|range| summary.remote(range)).collect();
    let mut last = 0;
    let mut total = 0_u64;
    for summary in get(summaries)? {
        let (sum, first, end) = summary.expect("the range is not sorted");
        assert!(last <= first, "the ranges overlap");
        (last, total) = (end, total.wrapping_add(sum));
    }
    Ok(())
}

struct Adder {
    sum: Vec<u8>,
}

#[remote]
impl Adder {
    #[new]
    fn new(len: usize) -> Self {
        Adder { sum: vec![0; len] }
    }

    fn add(&mut self, data: SharedSlice<u8>) {
        self.sum.iter_mut().zip(&*data).for_each(|(sum, byte)| *sum = sum.wrapping_add(*byte));
    }

    fn result(&self) -> unidist::Result<SharedSlice<u8>> {
        SharedSlice::build(self.sum.len(), |out: &mut [u8]| out.copy_from_slice(&self.sum))
    }

    fn equals(&self, range: (usize, usize)) -> bool {
        let mut expected = vec![0_u8; self.sum.len()];
        for seed in range.0..range.1 {
            let data = pattern(seed, expected.len());
            expected.iter_mut().zip(data).for_each(|(sum, byte)| *sum = sum.wrapping_add(byte));
        }
        self.sum == expected
    }
}

/// Calls of an actor queue up with large arguments while tasks make results.
fn queued_calls_of_an_actor() -> Result {
    let adder = Adder::remote(MIB);
    let results: Vec<_> = (0..40).map(|seed| build.remote(seed, MIB)).collect();
    let added: Vec<_> = results.iter().map(|result| adder.add.remote(result)).collect();
    let sum = adder.result.remote();
    let more: Vec<_> = (40..60).map(|seed| build.remote(seed, MIB)).collect();
    let right: Vec<_> = (40..60).zip(&more).map(|(seed, data)| is_built.remote(seed, data)).collect();
    get(added)?;
    assert_eq!((get(sum)?.len(), get(adder.equals.remote((0, 40)))?), (MIB, true));
    assert_eq!(get(right)?, [true; 20]);
    Ok(())
}

struct Waiting;

#[remote]
impl Waiting {
    #[new]
    fn new() -> Self {
        Waiting
    }

    async fn is_filled(
        &self,
        signal: ActorHandle<Signal>,
        with: u8,
        data: SharedSlice<u8>,
    ) -> unidist::Result<bool> {
        signal.wait.remote().await?;
        Ok(data.iter().step_by(1000).all(|byte| *byte == with))
    }
}

/// Asynchronous calls that wait keep their arguments: more of them than the store holds.
fn waiting_calls_of_an_asynchronous_actor() -> Result {
    let (actor, signal) = (Waiting::remote(), Signal::remote());
    let right = (0..20).map(|with| Ok(actor.is_filled.remote(&signal, with, put_slice(&vec![with; MIB])?)));
    let right = right.collect::<unidist::Result<Vec<_>>>()?;
    get(signal.waiting.remote(20_usize))?;
    assert!(get(is_filled.remote(20, filled.remote(20, MIB)))?);
    get(signal.open.remote())?;
    assert_eq!(get(right)?, [true; 20]);
    Ok(())
}

/// The program puts objects and submits calls on them in a loop, without waiting for one.
fn puts_beside_queued_calls() -> Result {
    let adder = Adder::remote(MIB);
    let (mut right, mut added) = (Vec::new(), Vec::new());
    for seed in 0..40 {
        let data = put_slice(&pattern(seed, MIB))?;
        right.push(is_built.remote(seed, &data));
        added.push(adder.add.remote(data));
    }
    assert_eq!(get(right)?, [true; 40]);
    get(added)?;
    assert!(get(adder.equals.remote((0, 40)))?);
    drop(adder);
    assert_all_freed();
    Ok(())
}

#[remote]
fn reversed(data: SharedSlice<u8>) -> unidist::Result<SharedSlice<u8>> {
    SharedSlice::build(data.len(), |out: &mut [u8]| {
        out.iter_mut().zip(data.iter().rev()).for_each(|(out, byte)| *out = *byte)
    })
}

/// The argument and the result of one call do not fit into memory together.
fn result_larger_than_what_is_free() -> Result {
    let data = put_slice(&pattern(1, 5 * MIB))?;
    let twice = reversed.remote(reversed.remote(&data));
    assert!(is_pattern(1, 5 * MIB, &get(&twice)?));
    assert!(is_pattern(1, 5 * MIB, &get(&data)?));
    drop((data, twice));
    assert_all_freed();
    Ok(())
}

#[remote]
fn joined(parts: Vec<SharedSlice<u8>>) -> unidist::Result<SharedSlice<u8>> {
    SharedSlice::build(parts.iter().map(|part| part.len()).sum(), |out: &mut [u8]| {
        let mut out = &mut out[..];
        for part in &parts {
            let (start, rest) = std::mem::take(&mut out).split_at_mut(part.len());
            start.copy_from_slice(part);
            out = rest;
        }
    })
}

/// One call with many large arguments, whose result is as large as all of them.
fn argument_list_that_fills_the_store() -> Result {
    const LEN: usize = MIB / 2;
    let parts = (0..40).map(|seed| put_slice(&pattern(seed, LEN))).collect::<unidist::Result<Vec<_>>>()?;
    let whole = get(joined.remote(&parts))?;
    for (seed, part) in whole.chunks(LEN).enumerate() {
        assert!(is_pattern(seed, LEN, part), "part {seed}");
    }
    drop((parts, whole));
    assert_all_freed();
    Ok(())
}

/// Views of the program fill the memory: what is put and made afterwards goes to disk.
fn views_that_fill_the_store() -> Result {
    let mut views = Vec::new();
    for seed in 0..20 {
        views.push(get(put_slice(&pattern(seed, MIB))?)?);
    }
    let results: Vec<_> = (20..40).map(|seed| build.remote(seed, MIB)).collect();
    let right: Vec<_> = (20..40).zip(&results).map(|(seed, data)| is_built.remote(seed, data)).collect();
    assert_eq!(get(right)?, [true; 20]);
    views.extend(get(results)?);
    for (seed, view) in views.iter().enumerate() {
        assert!(is_pattern(seed, MIB, view), "view {seed}");
    }
    drop(views);
    assert_all_freed();
    Ok(())
}

/// An object may be larger than the memory limit: it is on disk from the start.
fn object_larger_than_the_memory() -> Result {
    let kept = put_slice(&pattern(1, 5 * MIB))?;
    let large = put_slice(&pattern(2, 9 * MIB))?;
    let made = make.remote(3, 9 * MIB);
    assert!(get(is_built.remote(2, &large))?);
    assert!(get(is_made.remote(3, made))?);
    assert!(is_pattern(2, 9 * MIB, &get(large)?));
    assert!(is_pattern(1, 5 * MIB, &get(kept)?));
    assert_all_freed();
    Ok(())
}

/// Slices that are built on disk are put without a copy, returned, put twice, or dropped.
fn slices_built_in_a_full_store() -> Result {
    let held =
        (0..7).map(|seed| get(put_slice(&pattern(seed, MIB))?)).collect::<unidist::Result<Vec<_>>>()?;
    let build = |seed: usize| build(seed, 2 * MIB);
    let slice = build(10)?;
    let before = store_usage();
    let reference = put(slice.clone())?;
    assert!(!is_parallel() || store_usage()?.spilled == before?.spilled, "it was copied");
    let again = put(slice.clone())?;
    drop(reference);
    assert!(is_pattern(10, 2 * MIB, &get(&again)?) && is_pattern(10, 2 * MIB, &slice));
    drop((build(11)?, slice));
    let two = put((build(12)?, build(13)?))?;
    assert!(get((|two: (SharedSlice<u8>, SharedSlice<u8>)| {
        is_pattern(12, 2 * MIB, &two.0) && is_pattern(13, 2 * MIB, &two.1)
    })
    .remote(&two))?);
    assert!(held.iter().enumerate().all(|(seed, view)| is_pattern(seed, MIB, view)));
    drop((two, again, held));
    assert_all_freed();
    Ok(())
}

/// Reverses a slice by halves, in other tasks.
#[remote]
fn reversed_by_halves(data: SharedSlice<u8>) -> unidist::Result<SharedSlice<u8>> {
    if data.len() <= MIB / 2 {
        return reversed(data);
    }
    let (start, end) = data.split_at(data.len() / 2);
    let halves = [put_slice(end)?, put_slice(start)?].map(|half| reversed_by_halves.remote(half));
    let halves = get(halves)?;
    SharedSlice::build(data.len(), |out: &mut [u8]| {
        out[..halves[0].len()].copy_from_slice(&halves[0]);
        out[halves[0].len()..].copy_from_slice(&halves[1]);
    })
}

/// Tasks that wait for other tasks keep their arguments, at each level of a recursion.
fn recursion_with_large_arguments() -> Result {
    let twice = reversed_by_halves.remote(reversed_by_halves.remote(put_slice(&pattern(1, 5 * MIB))?));
    assert!(is_pattern(1, 5 * MIB, &get(&twice)?));
    drop(twice);
    assert_all_freed();
    Ok(())
}

/// Calls of groups are given back by their workers, to be sent again, while the store is full.
fn groups_that_take_turns() -> Result {
    let groups: Vec<_> = (0..3).map(|_| Group::new()).collect::<unidist::Result<_>>()?;
    let mut right = Vec::new();
    for round in 0..4 {
        for group in &groups {
            for seed in 10 * round..10 * round + 5 {
                let built = filled.options().group(group).remote(seed, MIB);
                right.push(is_filled.options().group(group).remote(seed, built));
            }
        }
        get(right.pop().unwrap())?;
    }
    assert!(get(right)?.into_iter().all(|right| right));
    Ok(())
}
