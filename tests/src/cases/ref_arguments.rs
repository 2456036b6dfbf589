//! Refs where the parts of a value are expected.

use crate::case::{Case, Result, cases};
use crate::support::{Counter, Signal, failure, refuse, square, sum};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use unidist::prelude::*;
use unidist::{CallSettings, Dep, ErrorKind, prepare, refs};

pub(super) const CASES: &[Case] = cases!["ref_arguments":
    options, vecs_of_borrowed_refs, arrays, lists_of_lists, pairs, triples, tuples_of_four, iterators,
    refs_that_are_not_ready, same_ref_at_several_places, large_values_beside_refs, shared_slices_in_parts,
    refs_beside_values_that_hold_refs, failed_part_fails_the_call, actors_and_closures, prepared_calls, map_over_tuples,
];

#[remote]
fn or_zero(value: Option<i64>) -> i64 {
    value.unwrap_or(0)
}

#[remote]
fn joined(words: [String; 3]) -> String {
    words.concat()
}

#[remote]
fn rows(rows: Vec<Vec<i64>>) -> Vec<i64> {
    rows.iter().map(|row| row.iter().sum()).collect()
}

#[remote]
fn pair((number, text): (i64, String)) -> String {
    format!("{number} {text}")
}

#[remote]
fn triple((a, b, c): (i64, Option<i64>, Vec<i64>)) -> i64 {
    a + b.unwrap_or(1000) + c.iter().sum::<i64>()
}

#[remote]
fn four((a, b, c, d): (u8, String, f64, Vec<u16>)) -> String {
    format!("{a} {b} {c} {d:?}")
}

/// A ref in an option, owned and borrowed; and none.
fn options() -> Result {
    let four = square.remote(2);
    assert_eq!(get(or_zero.remote(Some(four.clone())))?, 4);
    assert_eq!(get(or_zero.remote(Some(&four)))?, 4);
    let borrowed = &Some(four);
    assert_eq!(get(or_zero.remote(borrowed))?, 4);
    assert_eq!(get(or_zero.remote(Some(7)))?, 7);
    assert_eq!(get(or_zero.remote(None::<ObjectRef<i64>>))?, 0);
    assert_eq!(get(or_zero.remote(None::<&ObjectRef<i64>>))?, 0);
    assert_eq!(get(or_zero.remote(None::<i64>))?, 0);
    Ok(())
}

/// Lists that borrow their refs.
fn vecs_of_borrowed_refs() -> Result {
    let (four, nine) = (square.remote(2), square.remote(3));
    let list = vec![&four, &nine, &four];
    assert_eq!(get(sum.remote(&list))?, 17);
    assert_eq!(get(sum.remote(&list[1..]))?, 13);
    assert_eq!(get(sum.remote([&four, &nine]))?, 13);
    let borrowed = &[&four, &nine];
    assert_eq!(get(sum.remote(borrowed))?, 13);
    assert_eq!(get(sum.remote(list))?, 17);
    Ok(())
}

/// Arrays as parameters.
fn arrays() -> Result {
    let words = ["a", "", "bc"].map(|word| put(word.to_owned()).unwrap());
    assert_eq!(get(joined.remote(&words))?, "abc");
    assert_eq!(get(joined.remote([&words[2], &words[0], &words[0]]))?, "bcaa");
    assert_eq!(get(joined.remote(words))?, "abc");
    assert_eq!(get((|none: [i64; 0]| none.len()).remote([] as [ObjectRef<i64>; 0]))?, 0);
    Ok(())
}

/// Lists of lists, of different lengths.
fn lists_of_lists() -> Result {
    let (four, nine) = (square.remote(2), square.remote(3));
    let lists = vec![vec![four.clone(), nine.clone()], vec![], vec![nine.clone()]];
    assert_eq!(get(rows.remote(&lists))?, [13, 0, 9]);
    assert_eq!(get(rows.remote(&lists[1..]))?, [0, 9]);
    assert_eq!(get(rows.remote(lists))?, [13, 0, 9]);
    assert_eq!(get(rows.remote(vec![vec![&four], vec![&nine, &nine]]))?, [4, 18]);
    assert_eq!(get(rows.remote(Vec::<Vec<ObjectRef<i64>>>::new()))?, [] as [i64; 0]);
    Ok(())
}

/// A ref at either place of a pair, or at both.
fn pairs() -> Result {
    let (four, word) = (square.remote(2), put("word".to_owned())?);
    assert_eq!(get(pair.remote((&four, "own".to_owned())))?, "4 own");
    assert_eq!(get(pair.remote((5, &word)))?, "5 word");
    assert_eq!(get(pair.remote((&four, &word)))?, "4 word");
    assert_eq!(get(pair.remote((four.clone(), &word)))?, "4 word");
    assert_eq!(get(pair.remote((four, word)))?, "4 word");
    assert_eq!(get(pair.remote((6, "own".to_owned())))?, "6 own");
    Ok(())
}

/// A ref at each of three places; parts that are containers themselves.
fn triples() -> Result {
    let (one, some, list) = (put(1)?, put(Some(10))?, put(vec![100, 200])?);
    for (reference, expected) in [
        (triple.remote((&one, &some, &list)), 311),
        (triple.remote((&one, Some(20), &list)), 321),
        (triple.remote((2, &some, vec![300])), 312),
        (triple.remote((2, None, &list)), 1302),
        (triple.remote((one.clone(), None, vec![])), 1001),
    ] {
        assert_eq!(get(reference)?, expected);
    }
    Ok(())
}

/// Four places: first, last, and all.
fn tuples_of_four() -> Result {
    let (a, b, c, d) = (put(1u8)?, put("b".to_owned())?, put(0.5)?, put(vec![7u16, 8])?);
    assert_eq!(get(four.remote((&a, "x".to_owned(), 2.0, vec![])))?, "1 x 2 []");
    assert_eq!(get(four.remote((2, "x".to_owned(), 2.0, &d)))?, "2 x 2 [7, 8]");
    assert_eq!(get(four.remote((2, &b, c.clone(), vec![9])))?, "2 b 0.5 [9]");
    assert_eq!(get(four.remote((a, b, c, d)))?, "1 b 0.5 [7, 8]");
    Ok(())
}

/// The refs of any iterator.
fn iterators() -> Result {
    let map: BTreeMap<i64, ObjectRef<i64>> = (0..5).map(|x| (x, square.remote(x))).collect();
    assert_eq!(get(sum.remote(refs(map.values())))?, 30);
    assert_eq!(get(sum.remote(refs((0..3).map(|x| square.remote(x)))))?, 5);
    assert_eq!(get(refs(map.values().skip(3)))?, [9, 16]);
    assert_eq!(wait(refs(map.values()), 5, None)?.ready.len(), 5);
    Ok(())
}

/// The call waits for every ref.
fn refs_that_are_not_ready() -> Result {
    #[remote]
    fn after(signal: ActorHandle<Signal>, value: i64) -> unidist::Result<i64> {
        get(signal.wait.remote())?;
        Ok(value)
    }
    let signal = Signal::remote();
    let late = after.remote(&signal, 5);
    let calls = [
        or_zero.remote(Some(&late)),
        (|(a, b): (i64, i64)| a + b).remote((0, &late)),
        (|[a, b]: [i64; 2]| a * b / 5).remote([&late, &late]),
    ];
    let lists = rows.remote(vec![vec![&late], vec![]]);
    let pending = wait((&calls, &lists), 1, Some(std::time::Duration::ZERO))?.pending;
    assert!(!crate::support::is_parallel() || pending.len() == 4, "{pending:?}");
    get(signal.open.remote())?;
    assert_eq!((get(&calls)?, get(lists)?), (vec![5, 5, 5], vec![5, 0]));
    Ok(())
}

/// One object in several parts.
fn same_ref_at_several_places() -> Result {
    let list = put(vec![1i64; 50_000])?;
    let lens = |(a, b, c): (Vec<i64>, Vec<i64>, i64)| a.len() as i64 + b.len() as i64 + c;
    assert_eq!(get(lens.remote((&list, &list, 1)))?, 100_001);
    Ok(())
}

/// Values that are objects of their own because of their size.
fn large_values_beside_refs() -> Result {
    let word = put("x".repeat(100_000))?;
    let lens = |(a, b, c): (String, String, String)| (a.len(), b.len(), c.len());
    assert_eq!(get(lens.remote(("y".repeat(50_000), &word, "z".to_owned())))?, (50_000, 100_000, 1));
    Ok(())
}

/// Shared slices in refs and values, in one argument.
fn shared_slices_in_parts() -> Result {
    let slices: Vec<_> =
        (1..4).map(|n| put_slice(&vec![f64::from(n); 10_000 * n as usize])).collect::<Result<_>>()?;
    let own = get(&slices[0])?;
    let sums = |(a, b, c): (SharedSlice<f64>, i64, Vec<SharedSlice<f64>>)| {
        a.iter().sum::<f64>() + b as f64 + c.iter().flat_map(|slice| slice.iter()).sum::<f64>()
    };
    let list = (|slices: Vec<SharedSlice<f64>>| slices).remote(&slices[1..]);
    assert_eq!(get(sums.remote((own.clone(), 1, &list)))?, 140_001.0);
    assert_eq!(get(sums.remote((&slices[1], 1, vec![own])))?, 50_001.0);
    let nested = |rows: Vec<Vec<SharedSlice<f64>>>| rows[1][0][0] + rows[0][1][0];
    assert_eq!(get(nested.remote(vec![vec![&slices[0], &slices[2]], vec![&slices[1]]]))?, 5.0);
    let some = |slice: Option<SharedSlice<f64>>| slice.unwrap().len();
    assert_eq!(get(some.remote(Some(&slices[2])))?, 30_000);
    Ok(())
}

/// A value with refs of its own beside a ref: a `Dep` arrives as the value, an `ObjectRef` as the ref.
fn refs_beside_values_that_hold_refs() -> Result {
    #[derive(Serialize, Deserialize)]
    struct Job {
        data: Dep<Vec<i64>>,
        later: ObjectRef<i64>,
    }
    let run = |(job, factor): (Job, i64)| -> i64 {
        factor * job.data.iter().sum::<i64>() + get(job.later).unwrap()
    };
    let job = Job { data: put(vec![1, 2])?.into(), later: square.remote(2) };
    assert_eq!(get(run.remote((job, square.remote(3))))?, 31);
    Ok(())
}

/// The failure of a part is that of the argument.
fn failed_part_fails_the_call() -> Result {
    let failed = refuse.remote(1);
    assert_eq!(failure(or_zero.remote(Some(&failed))), ErrorKind::DependencyFailed);
    assert_eq!(failure(pair.remote((&failed, "a".to_owned()))), ErrorKind::DependencyFailed);
    assert_eq!(failure(rows.remote(vec![vec![square.remote(2)], vec![failed]])), ErrorKind::DependencyFailed);
    Ok(())
}

/// Constructors, methods, closures with values and calls with options take the same.
fn actors_and_closures() -> Result {
    struct Totals {
        start: i64,
    }
    #[remote]
    impl Totals {
        #[new]
        fn new(start: Option<i64>) -> Self {
            Totals { start: start.unwrap_or(0) }
        }
        fn plus(&self, (a, b): (i64, i64)) -> i64 {
            self.start + a + b
        }
    }
    let counter = Counter::remote(5);
    let totals = Totals::remote(Some(counter.value.remote()));
    assert_eq!(get(totals.plus.remote((1, counter.add.remote(1))))?, 12);
    assert_eq!(get(totals.plus.options().name("sum").remote((square.remote(3), 1)))?, 15);
    let factor = 10;
    let scaled = closure!([factor] |pair: (i64, i64)| factor * (pair.0 + pair.1));
    assert_eq!(get(scaled.remote((square.remote(2), 1)))?, 50);
    assert_eq!(get(or_zero.options().priority(1).remote(Some(square.remote(4))))?, 16);
    Ok(())
}

/// The tuple of arguments of a prepared call.
fn prepared_calls() -> Result {
    let add = prepare(|a: i64, b: i64| a + b, &CallSettings::new());
    let four = square.remote(2);
    assert_eq!(
        get([add.remote((&four, 1)), add.remote((1, &four)), add.remote((four.clone(), &four))])?,
        [5, 5, 8]
    );
    assert_eq!(get(prepare(|x: i64| x, &CallSettings::new()).remote((&four,)))?, 4);
    Ok(())
}

/// `map` over tuples with refs.
fn map_over_tuples() -> Result {
    let four = square.remote(2);
    let sums = map(|(x, y): (i64, i64)| x + y, (0..3).map(|x| (x, &four)));
    assert_eq!(get(&sums)?, [4, 5, 6]);
    Ok(())
}
