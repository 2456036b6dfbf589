//! `put`, `get`, and the lifetime of objects.

use crate::case::{Case, Result, cases};
use crate::program::assert_all_freed;
use crate::support::{Signal, blocked_on, square, sum};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use unidist::prelude::*;
use unidist::{Dep, is_object_ref, live_objects, put_ref};

pub(super) const CASES: &[Case] = cases!["objects":
    put_and_get, every_form_of_get, many_refs_at_once, same_ref_twice, all_kinds_of_values,
    put_keeps_the_value, put_value_is_immutable, argument_is_a_copy, last_ref_frees_the_object,
    clones_share_a_reference, thousands_of_objects_are_freed, large_objects,
    ref_in_an_object_keeps_its_object, ref_in_a_ref, refs_in_every_container, result_may_hold_refs,
    refs_in_arguments_outlive_the_sender, dep_arrives_as_its_value, dep_waits_for_its_object,
    is_object_ref_detects_refs, dropped_ref_does_not_stop_the_task, refs_work_from_any_thread, ref_equality,
    blocked_task_holds_its_arguments,
];

/// `put`, `get` (one ref).
fn put_and_get() -> Result {
    let reference = put(7)?;
    assert_eq!(get(&reference)?, 7);
    assert_eq!(get(reference)?, 7);
    Ok(())
}

/// `get` (one ref, a slice, a tuple): by value and by reference, nested.
fn every_form_of_get() -> Result {
    let (a, b, c) = (put(1)?, put(2)?, put("three".to_owned())?);
    assert_eq!(get([&a, &b])?, [1, 2]);
    assert_eq!(get([a.clone(), b.clone()])?, [1, 2]);
    let list = vec![a.clone(), b.clone()];
    assert_eq!(get(&list)?, [1, 2]);
    assert_eq!(get(&list[1..])?, [2]);
    assert_eq!(get(list.clone())?, [1, 2]);
    assert_eq!(get((&a, &c))?, (1, "three".to_owned()));
    assert_eq!(get((a, (&list, c), &b))?, (1, (vec![1, 2], "three".to_owned()), 2));
    assert_eq!(get(Vec::<ObjectRef<u8>>::new())?, [0_u8; 0]);
    Ok(())
}

/// `get` of many refs gives their values in order.
fn many_refs_at_once() -> Result {
    let refs = (0..2000).map(put).collect::<unidist::Result<Vec<_>>>()?;
    assert_eq!(get(&refs)?, (0..2000).collect::<Vec<_>>());
    Ok(())
}

/// A ref may be named more than once.
fn same_ref_twice() -> Result {
    let reference = put(3)?;
    assert_eq!(get([&reference, &reference])?, [3, 3]);
    let two = |a: i64, b: i64| a * b;
    assert_eq!(get(two.remote(&reference, &reference))?, 9);
    assert_eq!(get(sum.remote(vec![reference.clone(), reference]))?, 6);
    Ok(())
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Shape {
    Nothing,
    Named { x: f64, tags: Vec<String> },
    Pair(Box<Shape>, Option<u8>),
}

#[remote]
fn same<T: unidist::Portable>(value: T) -> T {
    value
}

fn round_trip<T: unidist::Portable + Clone + PartialEq + std::fmt::Debug>(value: T) -> Result {
    assert_eq!(get(put(value.clone())?)?, value);
    assert_eq!(get(same::<T>.remote(value.clone()))?, value);
    Ok(())
}

/// Any value that serde can encode can be an object, an argument and a result.
fn all_kinds_of_values() -> Result {
    round_trip(())?;
    round_trip(true)?;
    round_trip('ß')?;
    round_trip((u8::MAX, i128::MIN, u128::MAX, -0.0_f32))?;
    round_trip(String::from("çé\0\u{1F980}"))?;
    round_trip(Some(Some(None::<u8>)))?;
    round_trip(vec![(1_u8, vec![None, Some("x".to_owned())])])?;
    round_trip(HashMap::from([(1, "one".to_owned())]))?;
    round_trip(BTreeMap::from([("k".to_owned(), vec![1.5])]))?;
    round_trip(Shape::Nothing)?;
    round_trip(Shape::Pair(Box::new(Shape::Named { x: f64::INFINITY, tags: vec!["a".into()] }), Some(1)))?;
    assert!(get(same::<f64>.remote(f64::NAN))?.is_nan());
    Ok(())
}

/// `put_ref(&T)`: the caller keeps the value.
fn put_keeps_the_value() -> Result {
    let text = "kept".to_owned();
    assert_eq!(get(put_ref(&text)?)?, text);
    Ok(())
}

/// An object is immutable: changes of the original do not affect it.
fn put_value_is_immutable() -> Result {
    let mut list = vec![1, 2];
    let reference = put_ref(&list)?;
    list.push(3);
    assert_eq!(get(&reference)?, [1, 2]);
    let mut fetched = get(&reference)?;
    fetched.clear();
    assert_eq!(get(&reference)?, [1, 2]);
    Ok(())
}

/// An object is immutable: a task that changes its argument does not affect it.
fn argument_is_a_copy() -> Result {
    let append = |mut list: Vec<i64>| {
        list.push(9);
        list
    };
    let reference = put(vec![1])?;
    assert_eq!(get([append.remote(&reference), append.remote(&reference)])?, [[1, 9], [1, 9]]);
    assert_eq!(get(reference)?, [1]);
    Ok(())
}

/// When the last ref drops, the object is freed.
fn last_ref_frees_the_object() -> Result {
    assert_eq!(live_objects()?, 0);
    let reference = put(1)?;
    assert_eq!(live_objects()?, 1);
    drop(reference);
    assert_all_freed();
    let result = square.remote(2);
    get(&result)?;
    assert_eq!(live_objects()?, 1);
    drop(result);
    assert_all_freed();
    Ok(())
}

/// An object lives until its last ref drops, not longer and not shorter.
fn clones_share_a_reference() -> Result {
    let reference = put(5)?;
    let clone = reference.clone();
    drop(reference);
    assert_eq!(get(&clone)?, 5);
    assert_eq!(live_objects()?, 1);
    Ok(())
}

/// Objects are freed immediately, without a task-count heuristic.
fn thousands_of_objects_are_freed() -> Result {
    for _ in 0..20 {
        let refs: Vec<_> = (0..100).map(|x| square.remote(x)).collect();
        let kept = put(refs.clone())?;
        assert_eq!(get(sum.remote(&refs))?, (0..100).map(|x| x * x).sum::<i64>());
        drop((refs, kept));
        assert_all_freed();
    }
    Ok(())
}

/// Large data goes through the store and comes back unchanged.
fn large_objects() -> Result {
    let data: Vec<u32> = (0..4 << 20).collect(); // 16 MiB
    let reference = put_ref(&data)?;
    assert!(get(&reference)? == data);
    let reversed = (|mut data: Vec<u32>| {
        data.reverse();
        data
    })
    .remote(&reference);
    let length = (|data: Vec<u32>| data.len()).remote(&reversed);
    assert_eq!(get(length)?, data.len());
    assert!(get(reversed)?.iter().rev().eq(&data));
    let direct = (|data: Vec<u32>| data[1]).remote(data); // with the call
    assert_eq!(get(direct)?, 1);
    Ok(())
}

/// Refs inside a value keep their objects alive after the sender dropped its own.
fn ref_in_an_object_keeps_its_object() -> Result {
    let inner = put("inner".to_owned())?;
    let outer = put(vec![inner])?;
    assert_eq!(live_objects()?, 2);
    let inner = get(&outer)?.remove(0);
    drop(outer);
    assert_eq!(get(inner)?, "inner");
    Ok(())
}

/// A ref can be put, and a ref to that, and so on.
fn ref_in_a_ref() -> Result {
    let outer = put(put(put(1)?)?)?;
    assert_eq!(get(get(get(&outer)?)?)?, 1);
    assert_eq!(live_objects()?, 3);
    drop(outer);
    assert_all_freed();
    Ok(())
}

#[derive(Serialize, Deserialize)]
struct Package {
    label: String,
    content: ObjectRef<Vec<i64>>,
}

#[remote]
fn unpack(
    list: Vec<ObjectRef<i64>>,
    pair: (ObjectRef<i64>, u8),
    package: Package,
    table: BTreeMap<String, Option<ObjectRef<i64>>>,
) -> unidist::Result<(i64, i64, String, Vec<i64>, i64)> {
    let table = table.into_values().flatten().collect::<Vec<_>>();
    Ok((
        get(&list)?.iter().sum(),
        get(pair.0)?,
        package.label,
        get(package.content)?,
        get(&table)?.iter().sum(),
    ))
}

/// Refs nested in a `Vec`, tuple, struct field or map travel as refs.
fn refs_in_every_container() -> Result {
    let package = Package { label: "box".into(), content: put(vec![1, 2])? };
    let table = BTreeMap::from([("a".to_owned(), Some(put(10)?)), ("b".to_owned(), None)]);
    let unpacked = unpack.remote(vec![put(1)?, put(2)?], (put(5)?, 0), package, table);
    assert_eq!(get(unpacked)?, (3, 5, "box".into(), vec![1, 2], 10));
    Ok(())
}

#[remote]
fn make_refs(count: i64) -> unidist::Result<Vec<ObjectRef<i64>>> {
    Ok((0..count).map(|x| square.remote(x)).chain([put(-1)?]).collect())
}

/// A task may return refs that it made; they outlive it.
fn result_may_hold_refs() -> Result {
    let outer = make_refs.remote(3);
    let refs = get(&outer)?;
    drop(outer);
    assert_eq!(get(&refs)?, [0, 1, 4, -1]);
    Ok(())
}

#[remote]
fn open_later(signal: ActorHandle<Signal>, package: Vec<ObjectRef<i64>>) -> unidist::Result<i64> {
    get(signal.wait.remote())?;
    Ok(get(&package)?.iter().sum())
}

/// Refs inside an argument keep their objects alive until the call has ended.
fn refs_in_arguments_outlive_the_sender() -> Result {
    let signal = Signal::remote();
    let late = open_later.remote(&signal, vec![put(1)?, square.remote(3)]);
    get(signal.waiting.remote(1_usize))?;
    get(signal.open.remote())?;
    assert_eq!(get(late)?, 10);
    Ok(())
}

#[derive(Serialize, Deserialize)]
struct Job {
    data: Dep<Vec<i64>>,
    times: i64,
}

#[remote]
fn work(job: Job) -> i64 {
    job.data.iter().sum::<i64>() * job.times
}

/// `Dep<T>` as a struct field travels as a ref and arrives as the value.
fn dep_arrives_as_its_value() -> Result {
    let data = put(vec![1, 2, 3])?;
    let jobs: Vec<_> = (1..4).map(|times| work.remote(Job { data: (&data).into(), times })).collect();
    drop(data);
    assert_eq!(get(&jobs)?, [6, 12, 18]);
    Ok(())
}

/// The object behind a `Dep` is resolved before the task starts, ready or not, and its failure is the task's.
fn dep_waits_for_its_object() -> Result {
    let signal = Signal::remote();
    let late = (|signal: ActorHandle<Signal>| get(signal.wait.remote()).map(|()| vec![4_i64]).unwrap())
        .remote(&signal);
    let job = work.remote(Job { data: late.into(), times: 2 });
    get(signal.waiting.remote(1_usize))?;
    get(signal.open.remote())?;
    assert_eq!(get(job)?, 8);
    let failed = (|| -> Vec<i64> { panic!("no data") }).remote();
    let error = get(work.remote(Job { data: failed.into(), times: 2 })).unwrap_err();
    assert!(error.as_task().unwrap().root_cause().message.contains("no data"), "{error:?}");
    Ok(())
}

/// `is_object_ref`.
fn is_object_ref_detects_refs() -> Result {
    let reference = put(1)?;
    assert!(is_object_ref(&reference));
    assert!(!is_object_ref(&1) && !is_object_ref(&vec![reference]) && !is_object_ref(&"ObjectRef<"));
    Ok(())
}

/// A task runs even if its ref was dropped.
fn dropped_ref_does_not_stop_the_task() -> Result {
    let signal = Signal::remote();
    let task = |signal: ActorHandle<Signal>| get(signal.open.remote()).unwrap();
    drop(task.remote(&signal));
    get(signal.wait.remote())
}

/// Every call may be made from any thread.
fn refs_work_from_any_thread() -> Result {
    let shared = put(2)?;
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8_i64)
            .map(|n| {
                let shared = &shared;
                scope.spawn(move || {
                    let refs: Vec<_> = (0..20).map(|x| square.remote(x + n)).collect();
                    let total: i64 = get(&refs).unwrap().iter().sum();
                    assert_eq!(total, (0..20).map(|x| (x + n) * (x + n)).sum::<i64>());
                    get((square.remote(shared), put(n).unwrap())).unwrap()
                })
            })
            .collect();
        for (n, thread) in (0..).zip(threads) {
            assert_eq!(thread.join().unwrap(), (4, n));
        }
    });
    Ok(())
}

/// Refs are equal if they refer to one object.
fn ref_equality() -> Result {
    let (a, b) = (put(1)?, put(1)?);
    assert!(a == a.clone() && a != b);
    let back = get(put(vec![a.clone()])?)?.remove(0);
    assert_eq!(back, a);
    let set = std::collections::HashSet::from([a.clone(), a, b]);
    assert_eq!(set.len(), 2);
    Ok(())
}

/// A task that blocks still holds its arguments.
fn blocked_task_holds_its_arguments() -> Result {
    let signal = Signal::remote();
    let held = blocked_on.remote(&signal);
    get(signal.waiting.remote(1_usize))?;
    assert!(live_objects()? >= 3); // the actor, the call, and the call that it waits for
    get(signal.open.remote())?;
    get(held).map(drop)
}
