//! `wait(refs, num_returns, timeout)`.

use crate::case::{Case, Result, cases};
use crate::support::{Signal, blocked_on, failure, refuse, square};
use std::time::Duration;
use unidist::prelude::*;
use unidist::{Error, ErrorKind, get_timeout};

pub(super) const CASES: &[Case] = cases!["wait":
    one_of_puts, two_of_puts, one_of_tasks, two_of_tasks, exactly_num_returns_are_ready, input_order_is_kept,
    one_ref, zero_returns_at_once, empty_list, num_returns_above_the_number_of_refs_is_an_error,
    timeout_returns_fewer, zero_timeout_polls, failed_task_is_ready, failed_dependency_is_ready,
    inside_a_task, failed_task_inside_a_task, ref_to_unit, same_ref_twice, every_form_of_refs,
    loop_as_tasks_complete, many_refs, long_timeout_ends_early, borrowed_refs_and_nested_lists, tuples_of_any_types,
    get_with_a_timeout, get_with_a_timeout_inside_a_task, timeout_of_get_covers_all_refs,
];

/// `wait` with one return, on puts.
fn one_of_puts() -> Result {
    let refs = [put(1)?, put(2)?];
    let waited = wait(&refs, 1, None)?;
    assert_eq!((waited.ready.as_slice(), waited.pending.as_slice()), (&refs[..1], &refs[1..]));
    Ok(())
}

/// `wait` with two returns, on puts.
fn two_of_puts() -> Result {
    let refs = [put(1)?, put(2)?];
    let waited = wait(&refs, 2, None)?;
    assert_eq!((waited.ready.as_slice(), waited.pending.len()), (&refs[..], 0));
    Ok(())
}

/// `wait` with one return, on tasks.
fn one_of_tasks() -> Result {
    let refs = [square.remote(1), square.remote(2)];
    let waited = wait(&refs, 1, None)?;
    assert_eq!((waited.ready.len(), waited.pending.len()), (1, 1));
    assert_ne!(waited.ready, waited.pending);
    assert_eq!(get(&waited.ready)?[0] + get(&waited.pending)?[0], 5);
    Ok(())
}

/// `wait` with two returns, on tasks.
fn two_of_tasks() -> Result {
    let refs = [square.remote(1), square.remote(2)];
    let waited = wait(&refs, 2, None)?;
    assert_eq!(waited.ready, refs);
    assert_eq!(get(waited.ready)?, [1, 4]);
    Ok(())
}

/// Exactly `num_returns` refs are ready, even if more could be, and the others are pending.
fn exactly_num_returns_are_ready() -> Result {
    let refs: Vec<_> = (0..10).map(|x| square.remote(x)).collect();
    get(&refs)?;
    for count in 0..=10 {
        let waited = wait(&refs, count, None)?;
        assert_eq!((waited.ready.len(), waited.pending.len()), (count, 10 - count));
    }
    Ok(())
}

/// Input order is kept, in both groups.
fn input_order_is_kept() -> Result {
    let signal = Signal::remote();
    let late = [blocked_on.remote(&signal), blocked_on.remote(&signal)];
    let refs = [late[0].clone(), put(1)?, late[1].clone(), put(2)?, put(3)?];
    let waited = wait(&refs, 3, None)?;
    assert_eq!(waited.ready, [refs[1].clone(), refs[3].clone(), refs[4].clone()]);
    assert_eq!(waited.pending, late);
    get(signal.open.remote())?;
    assert_eq!(wait(&refs, 5, None)?.ready, refs);
    Ok(())
}

/// One ref or a list.
fn one_ref() -> Result {
    let reference = square.remote(3);
    let waited = wait(&reference, 1, None)?;
    assert_eq!((waited.ready.len(), &waited.ready[0]), (1, &reference));
    Ok(())
}

/// 0 returns at once.
fn zero_returns_at_once() -> Result {
    let signal = Signal::remote();
    let refs = [signal.wait.remote()];
    let waited = wait(&refs, 0, None)?;
    assert_eq!((waited.ready.len(), waited.pending.len()), (0, 1));
    get(signal.open.remote())
}

/// An empty list is fine.
fn empty_list() -> Result {
    let none: [ObjectRef<u8>; 0] = [];
    assert!(wait(none, 0, None)?.ready.is_empty());
    Ok(())
}

/// More than there are is an error.
fn num_returns_above_the_number_of_refs_is_an_error() -> Result {
    let error = wait([put(1)?], 2, None).unwrap_err();
    assert!(matches!(&error, Error::InvalidArgument { call, .. } if call == "wait"), "{error:?}");
    assert!(error.to_string().contains("num_returns is 2"), "{error}");
    Ok(())
}

/// Fewer on time-out.
fn timeout_returns_fewer() -> Result {
    let signal = Signal::remote();
    let refs = [blocked_on.remote(&signal), put(1)?];
    let waited = wait(&refs, 2, Some(Duration::from_millis(20)))?;
    assert_eq!((waited.ready.as_slice(), waited.pending.as_slice()), (&refs[1..], &refs[..1]));
    get(signal.open.remote())?;
    assert_eq!(wait(&refs, 2, None)?.ready.len(), 2);
    Ok(())
}

/// A time-out of zero polls without waiting.
fn zero_timeout_polls() -> Result {
    let signal = Signal::remote();
    let pending = signal.wait.remote();
    assert!(wait(&pending, 1, Some(Duration::ZERO))?.ready.is_empty());
    get(signal.open.remote())?;
    get(&pending)?;
    assert_eq!(wait(&pending, 1, Some(Duration::ZERO))?.ready.len(), 1);
    Ok(())
}

/// A failed task counts as ready.
fn failed_task_is_ready() -> Result {
    let refs = [refuse.remote(1), put(1)?];
    let waited = wait(&refs, 2, None)?;
    assert_eq!(waited.ready, refs);
    get(&refs[0]).unwrap_err();
    Ok(())
}

/// A task that never ran because an argument failed counts as ready, too.
fn failed_dependency_is_ready() -> Result {
    let failed = square.remote(square.remote(refuse.remote(1)));
    assert_eq!(wait(&failed, 1, None)?.ready.len(), 1);
    Ok(())
}

/// `wait` inside a task.
fn inside_a_task() -> Result {
    let waits = |refs: Vec<ObjectRef<i64>>| {
        let own = [square.remote(5), square.remote(6)];
        let waited = (wait(&refs, 2, None).unwrap(), wait(&own, 1, None).unwrap());
        (waited.0.ready.len(), waited.0.pending.len(), waited.1.ready.len(), waited.1.pending.len())
    };
    let refs = vec![square.remote(1), put(2)?, square.remote(3)];
    assert_eq!(get(waits.remote(refs))?, (2, 1, 1, 1));
    Ok(())
}

/// Regression: `wait` for a failed task inside a task must not hang.
fn failed_task_inside_a_task() -> Result {
    let waits = |refs: Vec<ObjectRef<i64>>| {
        wait([&refs[..], &[refuse.remote(2)]].concat(), 2, None).unwrap().ready.len()
    };
    assert_eq!(get(waits.remote(vec![refuse.remote(1)]))?, 2);
    Ok(())
}

/// A ref to `()` can be waited for.
fn ref_to_unit() -> Result {
    let nothing = (|| ()).remote();
    assert_eq!(wait(&nothing, 1, None)?.ready.len(), 1);
    Ok(())
}

/// A ref counts each time it is named.
fn same_ref_twice() -> Result {
    let reference = put(1)?;
    let refs = [reference.clone(), reference.clone()];
    let waited = wait(&refs, 2, None)?;
    assert_eq!(waited.ready, refs);
    let waited = wait(&refs, 1, None)?;
    assert_eq!((waited.ready.len(), waited.pending.len()), (1, 1));
    Ok(())
}

/// A slice, an array, a `Vec`, by value or by reference.
fn every_form_of_refs() -> Result {
    let list = vec![put(1)?, put(2)?];
    wait(&list, 2, None)?;
    wait(&list[..], 2, None)?;
    wait([list[0].clone()], 1, None)?;
    wait(list, 2, None)?;
    Ok(())
}

/// The usual loop over tasks as they complete ends, and gives each task once.
fn loop_as_tasks_complete() -> Result {
    let mut pending: Vec<_> = (0..50).map(|x| square.remote(x)).collect();
    let mut results = Vec::new();
    while !pending.is_empty() {
        let waited = wait(&pending, 1, None)?;
        results.extend(get(&waited.ready)?);
        pending = waited.pending;
    }
    results.sort_unstable();
    assert_eq!(results, (0..50).map(|x| x * x).collect::<Vec<_>>());
    Ok(())
}

/// Very many refs at once.
fn many_refs() -> Result {
    let refs: Vec<_> = (0..1000).map(|x| square.remote(x)).collect();
    assert_eq!(wait(&refs, 999, None)?.pending.len(), 1);
    assert_eq!(wait(&refs, 1000, None)?.ready, refs);
    Ok(())
}

/// A time-out is a limit, not a delay, and may be the longest possible duration.
fn long_timeout_ends_early() -> Result {
    assert_eq!(wait(square.remote(1), 1, Some(Duration::MAX))?.ready.len(), 1);
    Ok(())
}

/// Lists of borrowed refs, and lists of lists, as one list.
fn borrowed_refs_and_nested_lists() -> Result {
    let (a, b) = (square.remote(1), square.remote(2));
    assert_eq!(wait(vec![&a, &b], 2, None)?.ready, [a.clone(), b.clone()]);
    assert_eq!(wait([&a, &b].as_slice(), 2, None)?.ready.len(), 2);
    let lists = [vec![a.clone()], vec![], vec![b.clone(), a.clone()]];
    assert_eq!(wait(&lists, 3, None)?.ready, [a.clone(), b, a]);
    assert!(wait(&lists, 4, None).is_err());
    Ok(())
}

/// Tuples of refs to values of different types, and of lists of them.
fn tuples_of_any_types() -> Result {
    let signal = Signal::remote();
    let (number, text) = (blocked_on.remote(&signal), put("text".to_owned())?);
    let waited = wait((&number, &text), 1, Some(Duration::MAX))?;
    assert!(waited.is_ready(&text));
    get(signal.open.remote())?;
    let waited = wait((&number, (&text, [square.remote(1), square.remote(2)])), 4, None)?;
    assert_eq!((waited.ready.len(), waited.pending.len()), (4, 0));
    assert!(waited.is_ready(&number) && waited.is_ready(&text));
    assert_eq!(wait(&waited.ready, 4, None)?.ready, waited.ready);
    assert!(!waited.is_ready(&square.remote(1)));
    Ok(())
}

/// `get_timeout` returns values and failures as `get` does, and an error of its own when the limit has expired.
fn get_with_a_timeout() -> Result {
    assert_eq!(get_timeout((square.remote(2), [put(1)?]), Duration::MAX)?, (4, vec![1]));
    assert_eq!(get_timeout(&Vec::<ObjectRef<i64>>::new(), Duration::ZERO)?, []);
    let failed = get_timeout(refuse.remote(1), Duration::MAX).unwrap_err();
    assert_eq!(failed.as_task().map(|error| error.kind), Some(ErrorKind::Failed));
    let signal = Signal::remote();
    let late = signal.wait.remote();
    let error = get_timeout(&late, Duration::from_millis(20)).unwrap_err();
    assert!(matches!(&error, Error::TimedOut { call, .. } if call == "get_timeout"), "{error:?}");
    assert!(error.to_string().contains("1 of 1 values were not ready within 20ms"), "{error}");
    get(signal.open.remote())?;
    get_timeout(&late, Duration::MAX) // the call went on
}

/// The same inside a task, where the error is that of the task.
fn get_with_a_timeout_inside_a_task() -> Result {
    let impatient = |refs: Vec<ObjectRef<()>>| match get_timeout(&refs, Duration::ZERO) {
        Err(Error::TimedOut { .. }) => "too late".to_owned(),
        other => format!("{other:?}"),
    };
    let signal = Signal::remote();
    let late = signal.wait.remote();
    assert_eq!(get(impatient.remote(vec![late.clone()]))?, "too late");
    #[remote]
    fn passes_on(refs: Vec<ObjectRef<()>>) -> unidist::Result<()> {
        get_timeout(&refs, Duration::ZERO).map(|_| ())
    }
    let error = get(passes_on.remote(vec![late.clone()])).unwrap_err();
    assert!(matches!(error.downcast::<Error>(), Some(Error::TimedOut { .. })), "{error:?}");
    get(signal.open.remote())?;
    get(late)
}

/// One late ref among many ready ones is too many; a failed one is not late.
fn timeout_of_get_covers_all_refs() -> Result {
    let signal = Signal::remote();
    let refs = [signal.wait.remote(), put(())?];
    wait(&refs[1], 1, None)?;
    let error = get_timeout(&refs, Duration::ZERO).unwrap_err();
    assert!(error.to_string().contains("1 of 2 values"), "{error}");
    get(signal.open.remote())?;
    get_timeout(&refs, Duration::MAX)?;
    let refused = refuse.remote(1);
    assert_eq!(failure(&refused), ErrorKind::Failed);
    let error = get_timeout((&refused, &refs), Duration::ZERO).unwrap_err();
    assert!(error.as_task().is_some(), "{error:?}");
    Ok(())
}
