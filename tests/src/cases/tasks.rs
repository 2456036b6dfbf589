//! Calls of functions.

use crate::case::{Case, PYMP, Result, cases};
use crate::support::{Signal, blocked_on, process, square, sum};
use std::collections::HashSet;
use unidist::Portable;
use unidist::prelude::*;

pub(super) const CASES: &[Case] = cases!["tasks":
    remote_function_stays_a_plain_function, call_gives_a_ref, chained_values, any_number_of_arguments,
    unit_is_a_result, remote_returns_at_once, tuple_can_be_split, tuple_is_one_value_by_default,
    several_returns_into_calls, zero_returns, four_kinds_of_arguments, list_of_refs, empty_list_of_refs,
    refs_travel_as_refs, delayed_ref_as_an_argument, async_function, async_function_waits, generic_functions,
    functions_with_one_name_differ, functions_in_traits_and_impls, long_task_does_not_delay_others,
    tasks_run_in_other_processes.only(PYMP), tasks_run_at_the_same_time.only(PYMP),
    result_is_available_while_the_worker_runs_another_task.only(PYMP), thousands_of_tasks, long_chain,
    wide_fan_in, standard_functions, function_calls_itself,
];

#[remote]
fn divided(a: i64, b: i64) -> (i64, i64) {
    (a / b, a % b)
}

/// `square(4)` is still a plain function, and a value like any other.
fn remote_function_stays_a_plain_function() -> Result {
    assert_eq!(square(4), 16);
    let function: fn(i64) -> i64 = square;
    assert_eq!(function(3), 9);
    assert_eq!([1, 2].map(square), [1, 4]);
    Ok(())
}

/// `f.remote(args)` gives one ref; `get` its value.
fn call_gives_a_ref() -> Result {
    assert_eq!(get(square.remote(4))?, 16);
    Ok(())
}

/// A ref given as an argument is resolved before the task starts.
fn chained_values() -> Result {
    let two = put(2)?;
    let sixteen = square.remote(square.remote(&two));
    assert_eq!(get(square.remote(sixteen))?, 256);
    Ok(())
}

#[remote]
fn none() -> u8 {
    0
}

#[remote]
fn six(a: u8, b: String, c: Vec<u8>, d: Option<i64>, e: (u8, u8), f: bool) -> String {
    format!("{a} {b} {c:?} {d:?} {e:?} {f}")
}

/// From none to six arguments.
fn any_number_of_arguments() -> Result {
    assert_eq!(get(none.remote())?, 0);
    assert_eq!(get((|a: u8| a).remote(1))?, 1);
    assert_eq!(get((|a: u8, b: u8| a + b).remote(1, 2))?, 3);
    assert_eq!(get((|a: u8, b: u8, c: u8| a + b + c).remote(1, 2, 3))?, 6);
    assert_eq!(get((|a: u8, b: u8, c: u8, d: u8| a + b + c + d).remote(1, 2, 3, 4))?, 10);
    assert_eq!(get((|a: u8, b: u8, c: u8, d: u8, e: u8| a + b + c + d + e).remote(1, 2, 3, 4, 5))?, 15);
    let all = six.remote(put(1)?, "b".to_owned(), vec![3_u8], Some(4), (5, 6), true);
    assert_eq!(get(all)?, "1 b [3] Some(4) (5, 6) true");
    Ok(())
}

#[remote]
fn nothing(_: i64) {}

/// A function without a result gives a ref to `()`, which can be waited for.
fn unit_is_a_result() -> Result {
    let reference: ObjectRef<()> = nothing.remote(1);
    assert_eq!(wait(&reference, 1, None)?.ready.len(), 1);
    get(reference)
}

/// `f.remote(args)` returns at once, though the call cannot run yet.
fn remote_returns_at_once() -> Result {
    let signal = Signal::remote();
    let first = blocked_on.remote(&signal);
    let after = (|process: u32| process).remote(&first);
    get(signal.open.remote())?;
    assert_eq!(get(first)?, get(after)?);
    Ok(())
}

/// `num_returns::<N>()` splits a tuple of N values into N refs.
fn tuple_can_be_split() -> Result {
    let (quotient, rest) = divided.options().num_returns::<2>().remote(17, 5);
    assert_eq!(get([&quotient, &rest])?, [3, 2]);
    let (a, b, c) = (|| (1_u8, "two".to_owned(), vec![3])).options().num_returns::<3>().remote();
    assert_eq!(get((c, a, b))?, (vec![3], 1, "two".to_owned()));
    Ok(())
}

/// One ref, whatever the result type.
fn tuple_is_one_value_by_default() -> Result {
    let both = divided.remote(17, 5);
    assert_eq!(get(&both)?, (3, 2));
    let one: ObjectRef<(i64, i64)> = divided.options().num_returns::<1>().remote(9, 2);
    assert_eq!(get(one)?, (4, 1));
    Ok(())
}

/// Each of several returns is an object: one may be dropped, another be an argument.
fn several_returns_into_calls() -> Result {
    let (quotient, rest) = divided.options().num_returns::<2>().remote(put(17)?, 5);
    drop(quotient);
    assert_eq!(get(square.remote(&rest))?, 4);
    assert_eq!(get(sum.remote([rest.clone(), rest]))?, 4);
    Ok(())
}

/// 0 gives `()`, and the task still runs.
fn zero_returns() -> Result {
    let signal = Signal::remote();
    let open = |signal: ActorHandle<Signal>| get(signal.open.remote()).unwrap();
    let () = open.options().num_returns::<0>().remote(&signal);
    get(signal.wait.remote())?;
    let () = divided.options().num_returns::<0>().remote(1, 0); // its failure is not reported
    Ok(())
}

/// A parameter `T` accepts `T`, `&T`, `ObjectRef<T>` and `&ObjectRef<T>`.
#[expect(clippy::needless_borrows_for_generic_args, reason = "a borrowed argument is what this is about")]
fn four_kinds_of_arguments() -> Result {
    let (value, reference) = (3, put(3)?);
    let refs =
        [square.remote(value), square.remote(&value), square.remote(&reference), square.remote(reference)];
    assert_eq!(get(refs)?, [9; 4]);
    let text = "abc".to_owned();
    let length = |text: String| text.len();
    assert_eq!(get([length.remote(&text), length.remote(put(text)?)])?, [3, 3]);
    Ok(())
}

/// `Vec<T>` accepts a list of refs.
fn list_of_refs() -> Result {
    let refs = vec![put(1)?, square.remote(3), put(5)?];
    assert_eq!(get(sum.remote(&refs))?, 15);
    assert_eq!(get(sum.remote(&refs[1..]))?, 14);
    assert_eq!(get(sum.remote(refs))?, 15);
    assert_eq!(get(sum.remote(put(vec![1, 2])?))?, 3); // a ref to a list
    assert_eq!(get(sum.remote(vec![1, 2, 3]))?, 6);
    let words = |words: Vec<String>| words.join(" ");
    assert_eq!(
        get(words.remote(vec![put("a".to_owned())?, put(String::new())?, put("c".to_owned())?]))?,
        "a  c"
    );
    Ok(())
}

/// A list of refs may be empty.
fn empty_list_of_refs() -> Result {
    assert_eq!(get(sum.remote(Vec::<ObjectRef<i64>>::new()))?, 0);
    assert_eq!(get(sum.remote(Vec::<i64>::new()))?, 0);
    Ok(())
}

/// A parameter `ObjectRef<T>` or `Vec<ObjectRef<T>>` receives the refs themselves.
fn refs_travel_as_refs() -> Result {
    let signal = Signal::remote();
    let late = signal.wait.remote(); // not ready: were it resolved, the task could not start
    let opens = |signal: ActorHandle<Signal>, late: ObjectRef<()>, more: Vec<ObjectRef<()>>| {
        get(signal.open.remote()).unwrap();
        get((late, more)).unwrap();
    };
    get(opens.remote(&signal, &late, vec![late.clone(), late.clone()]))
}

/// A ref is resolved before the task starts, ready or not.
fn delayed_ref_as_an_argument() -> Result {
    let signal = Signal::remote();
    let late = (|signal: ActorHandle<Signal>| get(signal.wait.remote()).map_or(0, |()| 6)).remote(&signal);
    let results = [square.remote(&late), sum.remote([put(1)?, late])];
    get(signal.waiting.remote(1_usize))?;
    get(signal.open.remote())?;
    assert_eq!(get(results)?, [36, 7]);
    Ok(())
}

#[remote]
async fn later(x: u64) -> std::io::Result<u64> {
    tokio::task::yield_now().await;
    Ok(x + 1)
}

/// `#[remote] async fn`.
fn async_function() -> Result {
    assert_eq!(get(later.remote(later.remote(1)))?, 3);
    Ok(())
}

#[remote]
async fn opened(signal: ActorHandle<Signal>) -> unidist::Result<i64> {
    let timer = tokio::time::sleep(std::time::Duration::from_millis(1));
    signal.wait.remote().await?;
    timer.await;
    square.remote(3).await
}

/// An asynchronous function may wait for refs and timers.
fn async_function_waits() -> Result {
    let signal = Signal::remote();
    let result = opened.remote(&signal);
    get(signal.waiting.remote(1_usize))?;
    get(signal.open.remote())?;
    assert_eq!(get(result)?, 9);
    Ok(())
}

#[remote]
fn twice<T: Portable + Clone>(value: T) -> Vec<T> {
    vec![value.clone(), value]
}

/// Functions generic over `Portable` types, named with a turbofish: each instance is a function of its own.
fn generic_functions() -> Result {
    assert_eq!(get(twice::<u8>.remote(1))?, [1, 1]);
    assert_eq!(get(twice::<String>.remote("a".to_owned()))?, ["a", "a"]);
    assert_eq!(get(twice::<Vec<f64>>.remote(vec![0.5]))?, [[0.5], [0.5]]);
    Ok(())
}

mod here {
    use unidist::prelude::*;

    #[remote]
    pub(super) fn place() -> String {
        "here".into()
    }
}

mod there {
    use unidist::prelude::*;

    #[remote]
    pub(super) fn place() -> String {
        "there".into()
    }
}

/// Two functions with the same name or body are two functions.
fn functions_with_one_name_differ() -> Result {
    #[remote]
    fn place() -> String {
        "within".into()
    }
    assert_eq!(
        get([here::place.remote(), there::place.remote(), place.remote()])?,
        ["here", "there", "within"]
    );
    Ok(())
}

struct Unit;

trait Scale {
    fn scale(x: i64) -> i64;
}

impl Scale for Unit {
    fn scale(x: i64) -> i64 {
        10 * x
    }
}

impl Unit {
    fn shift(x: i64) -> i64 {
        x + 1
    }
}

/// Every fn item can be called, with no attribute.
fn functions_in_traits_and_impls() -> Result {
    assert_eq!(get(Unit::shift.remote(<Unit as Scale>::scale.remote(4)))?, 41);
    Ok(())
}

/// The same for functions of the standard library.
fn standard_functions() -> Result {
    assert_eq!(get(i64::abs.remote(-3))?, 3);
    assert_eq!(get(u32::pow.remote(2, 5))?, 32);
    Ok(())
}

/// Tasks may run for a long time; others end meanwhile.
fn long_task_does_not_delay_others() -> Result {
    let signal = Signal::remote();
    let long = blocked_on.remote(&signal);
    assert_eq!(get((0..20).map(|x| square.remote(x)).collect::<Vec<_>>())?.len(), 20);
    get(signal.open.remote())?;
    get(long).map(drop)
}

/// Tasks run in other processes.
fn tasks_run_in_other_processes() -> Result {
    assert_ne!(get(process.remote())?, std::process::id());
    Ok(())
}

/// As many tasks run at the same time as there are CPUs.
fn tasks_run_at_the_same_time() -> Result {
    // Each continues when the other has begun, and neither releases its slot.
    let meets = |own: String, other: String| {
        std::fs::write(own, "").unwrap();
        assert!(crate::process::eventually(crate::support::BOUND, || std::fs::exists(&other).unwrap()));
        std::process::id()
    };
    let folder = std::env::temp_dir().join(format!("unidist-tests-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let files = ["a", "b"].map(|name| folder.join(name).to_str().unwrap().to_owned());
    let tasks = [meets.remote(&files[0], &files[1]), meets.remote(&files[1], &files[0])];
    let processes: HashSet<_> = get(tasks)?.into_iter().collect();
    std::fs::remove_dir_all(folder).unwrap();
    assert_eq!(processes.len(), 2);
    Ok(())
}

/// Regression: a finished result must be available while its worker runs another task.
fn result_is_available_while_the_worker_runs_another_task() -> Result {
    let large = |seed: u8| vec![seed; 1 << 20];
    let done: Vec<_> = (0..4).map(|seed| large.remote(seed)).collect();
    wait(&done, 4, None)?;
    // Now both workers are busy, and do not block in a call that releases their slots.
    let folder = std::env::temp_dir().join(format!("unidist-tests-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (go, path) = (folder.join("go"), folder.to_str().unwrap().to_owned());
    let busy = |folder: String, n: u8| {
        std::fs::write(format!("{folder}/{n}"), "").unwrap();
        assert!(crate::process::eventually(crate::support::BOUND, || std::fs::exists(format!(
            "{folder}/go"
        ))
        .unwrap()));
    };
    let tasks = [busy.remote(&path, 0), busy.remote(&path, 1)];
    let begun = |n: u8| std::fs::exists(folder.join(n.to_string())).unwrap();
    assert!(crate::process::eventually(crate::support::BOUND, || begun(0) && begun(1)));
    for (seed, data) in (0..).zip(get(&done)?) {
        assert!(data == vec![seed; 1 << 20]);
    }
    std::fs::write(go, "").unwrap();
    get(tasks)?;
    std::fs::remove_dir_all(folder).unwrap();
    Ok(())
}

/// A burst of many small tasks.
fn thousands_of_tasks() -> Result {
    let refs: Vec<_> = (0..5000).map(|x| square.remote(x)).collect();
    assert!(get(&refs)?.into_iter().eq((0..5000).map(|x| x * x)));
    Ok(())
}

/// A long chain of dependencies; the refs in its middle are dropped.
fn long_chain() -> Result {
    let increment = |x: i64| x + 1;
    let mut last = put(0)?;
    for _ in 0..1000 {
        last = increment.remote(last);
    }
    assert_eq!(get(last)?, 1000);
    Ok(())
}

/// A task with many dependencies.
fn wide_fan_in() -> Result {
    let refs: Vec<_> = (0..1000).map(|x| square.remote(x)).collect();
    assert_eq!(get(sum.remote(refs))?, (0..1000).map(|x| x * x).sum::<i64>());
    Ok(())
}

/// A function may call itself and others remotely, by their names.
fn function_calls_itself() -> Result {
    #[remote]
    fn countdown(n: u32) -> unidist::Result<Vec<u32>> {
        match n {
            0 => Ok(vec![0]),
            n => {
                let mut rest = get(countdown.remote(n - 1))?;
                rest.push(n);
                Ok(rest)
            }
        }
    }
    assert_eq!(get(countdown.remote(6))?, [0, 1, 2, 3, 4, 5, 6]);
    Ok(())
}
