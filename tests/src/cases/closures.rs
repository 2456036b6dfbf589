//! Closures, with and without captured values.

use crate::case::{Case, Result, cases};
use crate::support::{Counter, Signal};
use unidist::prelude::*;
use unidist::{closure, map};

pub(super) const CASES: &[Case] = cases!["closures":
    closure_needs_no_attribute, closures_of_one_signature_differ, map_over_items, map_over_refs,
    values_are_captured, values_are_captured_once, ref_is_captured, handle_is_captured,
    closure_without_parameters, list_argument, closure_in_a_task,
];

/// A closure needs no attribute.
fn closure_needs_no_attribute() -> Result {
    let double = |x: i64| 2 * x;
    assert_eq!(get(double.remote(double.remote(1)))?, 4);
    assert_eq!(get(closure!(|x: i64| x - 1).remote(5))?, 4);
    Ok(())
}

/// Two closures with the same signature are two functions.
fn closures_of_one_signature_differ() -> Result {
    let (a, b) = ((|x: i64| x + 1).remote(1), (|x: i64| x + 2).remote(1));
    assert_eq!(get([a, b])?, [2, 3]);
    Ok(())
}

/// `map` calls a function once for each item, and keeps the order.
fn map_over_items() -> Result {
    assert_eq!(get(map(|x: i64| x + 1, 0..8))?, (1..9).collect::<Vec<_>>());
    assert_eq!(get(map(crate::support::square, vec![3, 4]))?, [9, 16]);
    Ok(())
}

/// The items may be refs.
fn map_over_refs() -> Result {
    let refs = map(|x: i64| x + 1, 0..3);
    assert_eq!(get(map(|x: i64| x * 10, &refs))?, [10, 20, 30]);
    Ok(())
}

/// `closure!([k] |x| ..)` captures clones of variables.
fn values_are_captured() -> Result {
    let (factor, words) = (10, vec!["a".to_owned(), "bc".to_owned()]);
    let scale = closure!([factor, words] |x: i64| x * factor + words[1].len() as i64);
    assert_eq!(get(scale.map(0..3))?, [2, 12, 22]);
    assert_eq!(words.len(), 2);
    Ok(())
}

/// The captured value is that at the time of the capture.
fn values_are_captured_once() -> Result {
    let mut k = 1;
    let add = closure!([k] |x: i64| x + k);
    k += 100;
    assert_eq!(get(add.remote(1))? + k, 103);
    Ok(())
}

/// A ref can be captured, and keeps its object alive.
fn ref_is_captured() -> Result {
    let data = put(vec![1, 2, 3])?;
    let item = closure!([data] |place: usize| get(&data).unwrap()[place]);
    drop(data);
    assert_eq!(get(item.map(0..3))?, [1, 2, 3]);
    Ok(())
}

/// An actor's handle can be captured.
fn handle_is_captured() -> Result {
    let (counter, signal) = (Counter::remote(0), Signal::remote());
    let add = closure!([counter, signal] |by: i64| {
        get(signal.open.remote()).unwrap();
        get(counter.add.remote(by)).unwrap()
    });
    get(add.map(0..5))?;
    get(signal.wait.remote())?;
    assert_eq!(get(counter.value.remote())?, 10);
    Ok(())
}

/// A closure may have no parameters.
fn closure_without_parameters() -> Result {
    let word = "word".to_owned();
    assert_eq!(get(closure!([word] || word.len()).remote())?, 4);
    assert_eq!(get((|| 1).remote())?, 1);
    Ok(())
}

/// A parameter `Vec<T>` accepts a list of refs.
fn list_argument() -> Result {
    let refs = map(|x: i64| x, 0..8);
    assert_eq!(get((|v: Vec<i64>| v.iter().sum::<i64>()).remote(&refs))?, 28);
    Ok(())
}

/// A task may call closures of its own.
fn closure_in_a_task() -> Result {
    let outer = |n: i64| {
        let inner = closure!([n] |x: i64| x * n);
        get(inner.map(0..3)).unwrap().iter().sum::<i64>()
    };
    assert_eq!(get(outer.remote(5))?, 15);
    Ok(())
}
