//! Closures, with and without values that they take along.

use crate::case::{Case, Result, cases};
use crate::support::{Counter, Signal};
use unidist::prelude::*;
use unidist::{closure, map};

pub(super) const CASES: &[Case] = cases!["closures":
    without_an_attribute, two_of_one_type_signature, mapped_over_items, mapped_over_refs, values_are_taken_along,
    values_are_taken_once, a_ref_is_taken_along, a_handle_is_taken_along, no_parameters, a_list_as_the_argument,
    defined_in_a_task,
];

/// A closure needs no attribute.
fn without_an_attribute() -> Result {
    let double = |x: i64| 2 * x;
    assert_eq!(get(double.remote(double.remote(1)))?, 4);
    assert_eq!(get(closure!(|x: i64| x - 1).remote(5))?, 4);
    Ok(())
}

/// Two closures that look the same are two functions.
fn two_of_one_type_signature() -> Result {
    let (a, b) = ((|x: i64| x + 1).remote(1), (|x: i64| x + 2).remote(1));
    assert_eq!(get([a, b])?, [2, 3]);
    Ok(())
}

/// `map` calls a function once for each item, and keeps the order.
fn mapped_over_items() -> Result {
    assert_eq!(get(map(|x: i64| x + 1, 0..8))?, (1..9).collect::<Vec<_>>());
    assert_eq!(get(map(crate::support::square, vec![3, 4]))?, [9, 16]);
    Ok(())
}

/// The items may be refs.
fn mapped_over_refs() -> Result {
    let refs = map(|x: i64| x + 1, 0..3);
    assert_eq!(get(map(|x: i64| x * 10, &refs))?, [10, 20, 30]);
    Ok(())
}

/// `closure!([k] |x| ..)` takes clones of variables along.
fn values_are_taken_along() -> Result {
    let (factor, words) = (10, vec!["a".to_owned(), "bc".to_owned()]);
    let scale = closure!([factor, words] |x: i64| x * factor + words[1].len() as i64);
    assert_eq!(get(scale.map(0..3))?, [2, 12, 22]);
    assert_eq!(words.len(), 2);
    Ok(())
}

/// What is taken along is what the variable was then.
fn values_are_taken_once() -> Result {
    let mut k = 1;
    let add = closure!([k] |x: i64| x + k);
    k += 100;
    assert_eq!(get(add.remote(1))? + k, 103);
    Ok(())
}

/// A ref can be taken along, and keeps its object.
fn a_ref_is_taken_along() -> Result {
    let data = put(vec![1, 2, 3])?;
    let item = closure!([data] |place: usize| get(&data).unwrap()[place]);
    drop(data);
    assert_eq!(get(item.map(0..3))?, [1, 2, 3]);
    Ok(())
}

/// An actor's handle can be captured.
fn a_handle_is_taken_along() -> Result {
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
fn no_parameters() -> Result {
    let word = "word".to_owned();
    assert_eq!(get(closure!([word] || word.len()).remote())?, 4);
    assert_eq!(get((|| 1).remote())?, 1);
    Ok(())
}

/// A parameter `Vec<T>` accepts a list of refs.
fn a_list_as_the_argument() -> Result {
    let refs = map(|x: i64| x, 0..8);
    assert_eq!(get((|v: Vec<i64>| v.iter().sum::<i64>()).remote(&refs))?, 28);
    Ok(())
}

/// A task may call closures of its own.
fn defined_in_a_task() -> Result {
    let outer = |n: i64| {
        let inner = closure!([n] |x: i64| x * n);
        get(inner.map(0..3)).unwrap().iter().sum::<i64>()
    };
    assert_eq!(get(outer.remote(5))?, 15);
    Ok(())
}
