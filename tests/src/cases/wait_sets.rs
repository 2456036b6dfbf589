//! `as_completed`, `WaitSet` and `wait_at_least`: results in the order in which they arrive.

use crate::case::{Case, Result, cases};
use crate::support::{Signal, blocked_on, failure, refuse, square};
use std::time::Duration;
use unidist::prelude::*;
use unidist::{Error, ErrorKind, WaitSet, as_completed, cancel, wait_at_least};

const ONE_SLOT: &[(&str, &str)] = &[("UNIDIST_CPUS", "1")];

pub(super) const CASES: &[Case] = cases!["wait_sets":
    each_is_given_once, ready_ones_come_first, in_order_of_completion, inside_tasks, inside_an_actor,
    on_one_slot.settings(ONE_SLOT).not_spmd(), failures_are_ready, cancelled_ones_are_ready, a_time_out,
    equal_refs, refs_are_added_later, a_dropped_set_is_forgotten, many_thousands,
    all_that_are_ready, puts_and_empty_sets, from_threads_of_the_program,
];

fn squares(of: impl IntoIterator<Item = i64>) -> Vec<ObjectRef<i64>> {
    of.into_iter().map(|x| square.remote(x)).collect()
}

/// Each ref is given once, whatever the order.
fn each_is_given_once() -> Result {
    let refs = squares(0..50);
    let given = as_completed(&refs, None).collect::<Result<Vec<_>>>()?;
    let mut values = get(&given)?;
    values.sort_unstable();
    assert_eq!(values, (0..50).map(|x| x * x).collect::<Vec<_>>());
    Ok(())
}

/// What is ready comes before what is not.
fn ready_ones_come_first() -> Result {
    let signal = Signal::remote();
    let (blocked, ready) = (blocked_on.remote(&signal), put(1_i64)?);
    let done = square.remote(2);
    get(&done)?;
    let mut set = WaitSet::new();
    set.add(&ready)?;
    set.add(&done)?;
    assert_eq!(set.wait(None)?.len() + set.wait(Some(Duration::ZERO))?.len(), 2);
    get(signal.open.remote())?;
    get(blocked).map(drop)
}

/// Calls that wait for each other end in this order.
fn in_order_of_completion() -> Result {
    let first = square.remote(1);
    let chain: Vec<_> = (0..10)
        .scan(first.clone(), |before, _| {
            *before = square.remote(&*before);
            Some(before.clone())
        })
        .collect();
    let backwards: Vec<_> = chain.iter().rev().collect();
    let given = as_completed(backwards, None).collect::<Result<Vec<_>>>()?;
    assert_eq!(given, chain);
    Ok(())
}

/// A task gives its slot back while it waits; those that it waits for run on top of it.
fn inside_tasks() -> Result {
    let sums = |n: i64| -> unidist::Result<i64> {
        let mut sum = 0;
        for next in as_completed(squares(0..n), None) {
            sum += get(next?)?;
        }
        Ok(sum)
    };
    let all: Vec<_> = (0..6).map(|_| sums.remote(20)).collect();
    assert_eq!(get(all)?, [2470; 6]);
    Ok(())
}

struct Summer;

#[remote]
impl Summer {
    #[new]
    fn new() -> Self {
        Summer
    }

    fn sum(&self, refs: Vec<ObjectRef<i64>>) -> unidist::Result<i64> {
        as_completed(refs, None).map(|next| get(next?)).sum()
    }
}

/// So may the method of an actor.
fn inside_an_actor() -> Result {
    let summer = Summer::remote();
    assert_eq!(get(summer.sum.remote(squares(0..10)))?, 285);
    Ok(())
}

/// With one slot, in tasks that wait for tasks that wait.
fn on_one_slot() -> Result {
    let inner =
        |n: i64| -> unidist::Result<i64> { as_completed(squares(0..n), None).map(|next| get(next?)).sum() };
    let outer = move |n: i64| -> unidist::Result<i64> {
        let calls: Vec<_> = (0..n).map(|n| inner.remote(n)).collect();
        as_completed(calls, None).map(|next| get(next?)).sum()
    };
    assert_eq!(get(outer.remote(6))?, 50); // 0 + 0 + 1 + 5 + 14 + 30
    Ok(())
}

/// A failed call is ready, also one that fails while the set waits.
fn failures_are_ready() -> Result {
    let signal = Signal::remote();
    let fails = |_: u32| -> std::result::Result<i64, &'static str> { Err("no") };
    let later = fails.remote(blocked_on.remote(&signal));
    let refs = [refuse.remote(1), refuse.remote(2)];
    for next in as_completed(&refs, None) {
        assert_eq!(failure(&next?), ErrorKind::Failed);
    }
    let mut set = WaitSet::new();
    set.add(&later)?;
    assert!(set.wait(Some(Duration::ZERO))?.is_empty());
    get(signal.open.remote())?;
    assert_eq!(failure(&set.wait(None)?[0]), ErrorKind::Failed);
    Ok(())
}

/// So is a cancelled one.
fn cancelled_ones_are_ready() -> Result {
    let signal = Signal::remote();
    let blocked: Vec<_> = (0..4).map(|_| blocked_on.remote(&signal)).collect();
    let mut set = WaitSet::new();
    set.add(&blocked)?;
    cancel(&blocked)?;
    let mut left = 4;
    while left > 0 {
        for cancelled in set.wait(None)? {
            assert_eq!(failure(&cancelled), ErrorKind::Cancelled);
            left -= 1;
        }
    }
    get(signal.open.remote())
}

/// A time-out ends `as_completed` with an error, and a wait of a set without one: the set can be used on.
fn a_time_out() -> Result {
    let signal = Signal::remote();
    let blocked = blocked_on.remote(&signal);
    let given: Vec<_> = as_completed(&blocked, Some(Duration::from_millis(1))).collect();
    assert!(matches!(given[..], [Err(Error::TimedOut { .. })]), "{given:?}");
    let mut set = WaitSet::new();
    set.add(&blocked)?;
    assert!(set.wait(Some(Duration::from_millis(1)))?.is_empty());
    get(signal.open.remote())?;
    assert_eq!((set.wait(None)?.len(), set.len()), (1, 0));
    assert!(set.wait(None)?.is_empty());
    Ok(())
}

/// Equal refs are given as often as they were added.
fn equal_refs() -> Result {
    let one = square.remote(3);
    let given = as_completed([&one, &one, &one], None).collect::<Result<Vec<_>>>()?;
    assert_eq!(given, [one.clone(), one.clone(), one.clone()]);
    let mut set = WaitSet::new();
    set.add(&one)?;
    assert_eq!(set.wait(None)?.len(), 1);
    set.add(&one)?; // it is ready already
    assert_eq!(set.wait(None)?.len(), 1);
    Ok(())
}

/// Refs are added while others are waited for: each result leads to another call.
fn refs_are_added_later() -> Result {
    let mut set = WaitSet::new();
    set.add(squares(0..4))?;
    let (mut given, mut added) = (0, 4);
    while !set.is_empty() {
        for next in set.wait(None)? {
            let value = get(next)?;
            given += 1;
            if added < 40 {
                set.add(square.remote(value % 10))?;
                added += 1;
            }
        }
    }
    assert_eq!((given, added), (40, 40));
    Ok(())
}

/// A set that is dropped with pending refs leaves nothing behind; its calls go on.
fn a_dropped_set_is_forgotten() -> Result {
    let signal = Signal::remote();
    let blocked = blocked_on.remote(&signal);
    let mut set = WaitSet::new();
    set.add(&blocked)?;
    set.wait(Some(Duration::ZERO))?;
    drop(set);
    drop(as_completed(&blocked, None));
    get(signal.open.remote())?;
    get(blocked).map(drop)
}

/// Tens of thousands at once.
fn many_thousands() -> Result {
    let refs = squares(0..20_000);
    assert_eq!(as_completed(&refs, None).filter(std::result::Result::is_ok).count(), 20_000);
    Ok(())
}

/// `wait_at_least` gives all that are ready.
fn all_that_are_ready() -> Result {
    let signal = Signal::remote();
    let mut refs = squares(0..5);
    get(&refs)?;
    refs.push((|_: u32| 0_i64).remote(blocked_on.remote(&signal)));
    for count in 0..=5 {
        let waited = wait_at_least(&refs, count, None)?;
        let expected = if count == 0 { 0 } else { 5 };
        assert!(waited.ready.len() >= expected && waited.pending.len() <= 6 - expected);
    }
    assert!(wait_at_least(&refs, 7, None).is_err());
    get(signal.open.remote())?;
    assert_eq!(wait_at_least(&refs, 6, None)?.pending.len(), 0);
    Ok(())
}

/// Objects without a call are ready, and a set may be empty.
fn puts_and_empty_sets() -> Result {
    let refs = [put(1_i64)?, put(2)?];
    assert_eq!(as_completed(&refs, None).count(), 2);
    assert_eq!(as_completed(Vec::<ObjectRef<i64>>::new(), None).count(), 0);
    assert!(WaitSet::<i64>::new().wait(None)?.is_empty());
    Ok(())
}

/// Several threads of the program wait, each with a set of its own.
fn from_threads_of_the_program() -> Result {
    std::thread::scope(|scope| {
        let waits = || as_completed(squares(0..100), None).map(|next| get(next?)).sum::<Result<i64>>();
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(waits)).collect();
        for thread in threads {
            assert_eq!(thread.join().unwrap()?, 328_350);
        }
        Ok(())
    })
}
