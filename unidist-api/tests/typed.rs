//! The typed API, end to end, on the backend that the environment selects.

use serde::{Deserialize, Serialize};
use std::cell::Cell;
use std::time::Duration;
use unidist::prelude::*;
use unidist::{Dep, ErrorKind, SharedSlice, closure, map, put_ref, put_slice};

#[remote]
fn double(x: i64) -> i64 {
    2 * x
}

#[remote(name = "typed.sum", num_cpus = 0.5)]
fn sum(items: Vec<i64>) -> i64 {
    items.iter().sum()
}

#[test]
fn arguments_are_values_refs_and_lists_of_refs() {
    let _session = unidist::init().unwrap();
    let refs: Vec<_> = (0..4).map(|n| double.remote(n)).collect();
    assert_eq!(get(sum.remote(&refs)).unwrap(), 12);
    assert_eq!(get(sum.remote([&refs[1]].map(Clone::clone))).unwrap(), 2);
    assert_eq!(get(sum.remote(&refs[2..])).unwrap(), 10);
    assert_eq!(get(sum.remote(vec![1, 2])).unwrap(), 3);
    let long = vec![1i64; 100_000]; // an object of its own
    assert_eq!(get(sum.remote(&long)).unwrap(), 100_000);
    assert_eq!(get(double.remote(put(21i64).unwrap())).unwrap(), 42);
    assert_eq!(get((|s: String| s.len()).remote("four")).unwrap(), 4);
}

#[test]
fn refs_inside_values_stay_refs_and_deps_become_values() {
    #[derive(Serialize, Deserialize)]
    struct Job {
        data: Dep<Vec<u8>>,
        other: ObjectRef<i64>,
    }
    let _session = unidist::init().unwrap();
    let data = put(vec![1u8, 2, 3]).unwrap();
    let run = |job: Job| (job.data.len(), job.data.object_ref(), vec![job.other]);
    let other = double.remote(4);
    let (len, same, others) = get(run.remote(Job { data: (&data).into(), other: other.clone() })).unwrap();
    assert_eq!((len, &same, others), (3, &data, vec![other]));
    drop(data);
    assert_eq!(get(same).unwrap(), [1, 2, 3]);
}

#[test]
fn task_returns_a_ref() {
    let _session = unidist::init().unwrap();
    let made: ObjectRef<ObjectRef<i64>> = (|x: i64| put(x + 1).unwrap()).remote(1);
    let inner = get(&made).unwrap();
    drop(made);
    assert_eq!(get(inner).unwrap(), 2);
}

#[test]
fn results_are_split_by_the_call() {
    let _session = unidist::init().unwrap();
    let three = |x: u8| (x, x.to_string(), [x; 2]);
    let (a, b, c) = three.options().num_returns::<3>().remote(7);
    assert_eq!(get((a, b, c)).unwrap(), (7, "7".to_owned(), [7, 7]));
    three.options().num_returns::<0>().remote(7);
    let fallible = |x: u8| if x > 0 { Ok((x, x)) } else { Err("zero".to_owned()) };
    let (a, b) = fallible.options().num_returns::<2>().remote(0);
    for error in [get(a).unwrap_err(), get(b).unwrap_err()] {
        assert_eq!(error.downcast::<String>().as_deref(), Some("zero"));
    }
}

/// Quotient and remainder.
#[remote(num_returns = 2)]
fn divmod(a: i64, b: i64) -> (i64, i64) {
    (a / b, a % b)
}

#[remote(name = "typed.halves", num_cpus = 0.5, num_returns = 2)]
fn halves(text: String, at: usize) -> Result<(String, String), usize> {
    if at > text.len() {
        return Err(text.len());
    }
    let (left, right) = text.split_at(at);
    Ok((left.to_owned(), right.to_owned()))
}

#[remote(num_returns = 3)]
async fn thrice(x: u8) -> std::io::Result<(u8, u8, u8)> {
    tokio::time::sleep(Duration::from_millis(1)).await;
    if x == 0 { Err(std::io::Error::other("nothing")) } else { Ok((x, x, x)) }
}

#[remote(num_returns = 2, resources(unobtainium = 1))]
fn unsatisfiable() -> (u8, u8) {
    (0, 0)
}

#[remote(num_returns = 0)]
fn forget(object: ObjectRef<i64>) {
    drop(object);
}

/// The sums of the two halves of `from..to`, by recursive calls.
#[remote(num_returns = 2)]
fn sums(from: u64, to: u64) -> unidist::Result<(u64, u64)> {
    let middle = from.midpoint(to);
    if to - from < 4 {
        return Ok(((from..middle).sum(), (middle..to).sum()));
    }
    let (lower, upper) = (sums.remote(from, middle), sums.remote(middle, to));
    let whole = |(left, right): (ObjectRef<u64>, ObjectRef<u64>)| get((left, right)).map(|(l, r)| l + r);
    assert_eq!(sums(0, 3)?, (0, 3));
    Ok((whole(lower)?, whole(upper)?))
}

#[test]
fn results_are_split_by_the_definition() {
    let _session = unidist::init().unwrap();
    let (q, r): (ObjectRef<i64>, ObjectRef<i64>) = divmod.remote(17, 5);
    assert_eq!(get((&q, &r)).unwrap(), divmod(17, 5));
    let (q, r) = divmod.options().num_cpus(1).name("again").remote(&q, r);
    assert_eq!(get([q, r]).unwrap(), [1, 1]);
    let whole: ObjectRef<(i64, i64)> = divmod.options().num_returns::<1>().remote(7, 2);
    assert_eq!(get(whole).unwrap(), (3, 1));
    let failed = get(divmod.remote(1, 0).1).unwrap_err();
    assert_eq!(failed.as_task().unwrap().kind, ErrorKind::Panicked);
    assert_eq!(failed.as_task().unwrap().function, "typed::divmod");

    let (left, right) = halves.remote("unidist", 3);
    assert_eq!(get((left, right)).unwrap(), ("uni".to_owned(), "dist".to_owned()));
    let (left, right) = halves.remote("unidist", 9);
    for error in [get(left).unwrap_err(), get(right).unwrap_err()] {
        assert_eq!(error.downcast::<usize>(), Some(7));
        assert_eq!(error.as_task().unwrap().function, "typed.halves");
    }
    let invalid = get(halves.options().num_cpus(-1).remote("", 1).0).unwrap_err();
    assert_eq!(invalid.as_task().unwrap().kind, ErrorKind::InvalidOption);

    let error = get(unsatisfiable.remote().0).unwrap_err();
    assert_eq!(error.as_task().unwrap().kind, ErrorKind::Unsatisfiable);

    let (a, b, c) = thrice.remote(5);
    assert_eq!(get([a, b, c]).unwrap(), [5; 3]);
    let error = get(thrice.remote(0).2).unwrap_err();
    assert!(error.to_string().contains("nothing"), "{error}");
    let () = forget.remote(vec![put(1i64).unwrap()].remove(0));
    let (lower, upper) = sums.remote(0, 16);
    assert_eq!(get((lower, upper)).unwrap(), (28, 92));
}

#[test]
fn function_with_num_returns_is_callable_as_a_function() {
    fn apply(function: fn(i64, i64) -> (i64, i64)) -> (i64, i64) {
        function(9, 2)
    }
    assert_eq!(divmod(9, 2), (4, 1));
    assert_eq!((apply(*divmod), apply(divmod::divmod)), ((4, 1), (4, 1)));
    assert_eq!(format!("{divmod:?}"), "divmod");
    forget((|| 1i64).remote());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    assert_eq!(runtime.block_on(thrice(1)).unwrap(), (1, 1, 1));
    let own = std::thread::spawn(move || runtime.block_on(thrice::thrice(2)).unwrap());
    assert_eq!(own.join().unwrap(), (2, 2, 2));

    let _session = unidist::init().unwrap();
    let whole: ObjectRef<(i64, i64)> = divmod::divmod.remote(9, 2); // like any other function
    assert_eq!(get(whole).unwrap(), (4, 1));
    #[remote(num_returns = 2)]
    fn local(x: u8) -> (u8, u8) {
        (x, 1)
    }
    assert_eq!(get(local.remote(3).0).unwrap(), 3);
    assert_eq!(get((|x: i64| divmod(x, 4).1).remote(7)).unwrap(), 3);
}

#[test]
fn errors_keep_their_type() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Broken(u8);
    let _session = unidist::init().unwrap();
    let sent = get((|x: u8| Err::<u8, _>(Broken(x))).remote(3)).unwrap_err();
    assert_eq!(sent.downcast(), Some(Broken(3)));
    assert_eq!(sent.downcast::<u8>(), None);
    let text = get((|_: u8| std::fs::read_to_string("/no/such/file").map(|_| ())).remote(3)).unwrap_err();
    assert!(text.to_string().contains("No such file"), "{text}");
    let panicked = get((|x: i64| 10 / x).remote(0)).unwrap_err();
    let panicked = panicked.as_task().unwrap();
    assert_eq!(panicked.kind, ErrorKind::Panicked);
    assert!(panicked.location.as_ref().unwrap().contains("typed.rs"), "{panicked:?}");
    assert!(panicked.function.contains("errors_keep"), "{panicked:?}");
    let after =
        get(double.remote((|x: u8| if x > 9 { Ok(1i64) } else { Err(Broken(x)) }).remote(4))).unwrap_err();
    assert_eq!(after.as_task().unwrap().kind, ErrorKind::DependencyFailed);
    assert_eq!(after.downcast(), Some(Broken(4)));
}

#[test]
fn invalid_options_fail_the_ref() {
    let _session = unidist::init().unwrap();
    for call in [double.options().num_cpus(-1), double.options().resource("gpu", f64::NAN)] {
        let error = get(call.remote(1)).unwrap_err();
        assert_eq!(error.as_task().unwrap().kind, ErrorKind::InvalidOption, "{error}");
    }
    let named = get((|x: i64| 1 / x).options().name("inverse").remote(0)).unwrap_err();
    assert!(named.to_string().contains("inverse"), "{named}");
}

#[test]
fn wait_returns_ready_and_pending_refs() {
    let _session = unidist::init().unwrap();
    let refs = map(|x: u8| x, 0..3u8);
    let waited = wait(&refs, 2, None).unwrap();
    assert_eq!((waited.ready.len(), waited.pending.len()), (2, 1));
    assert_eq!(wait(&refs[0], 1, None).unwrap().ready, refs[..1]);
    assert_eq!(wait(&refs, 0, None).unwrap().pending, refs);
    assert!(wait(&refs, 4, None).is_err());
    let failed = (|x: i64| 1 / x).remote(0);
    assert_eq!(wait([failed], 1, Some(Duration::from_secs(20))).unwrap().ready.len(), 1);
}

#[test]
fn closures_send_captured_values() {
    let _session = unidist::init().unwrap();
    let (factor, word) = (3i64, "ab".to_owned());
    let scaled = closure!([factor, word] |x: i64| x * factor + word.len() as i64);
    assert_eq!(get(scaled.map(0..3)).unwrap(), [2, 5, 8]);
    assert_eq!(get(scaled.remote(double.remote(1))).unwrap(), 8);
    assert_eq!(get(closure!([word] || word.to_uppercase()).remote()).unwrap(), "AB");
    assert_eq!(get(closure!([factor] |x: i64, y: i64| factor + x + y).remote(1, 2)).unwrap(), 6);
    let object = put(5i64).unwrap();
    assert_eq!(get(closure!([object] |x: i64| get(&object).unwrap() + x).remote(1)).unwrap(), 6);
    let large = vec![1u8; 100_000];
    assert_eq!(
        get(closure!([large] |x: usize| large.len() + x).map([0usize, 1])).unwrap(),
        [100_000, 100_001]
    );
}

#[test]
fn shared_slices_are_passed_as_values_refs_and_parts() {
    #[derive(Serialize, Deserialize)]
    struct Two {
        left: SharedSlice<f64>,
        right: SharedSlice<u8>,
    }
    let _session = unidist::init().unwrap();
    let total = |slice: SharedSlice<f64>| slice.iter().sum::<f64>();
    let data = put_slice(&vec![0.5; 100_000]).unwrap();
    assert_eq!(get(total.remote(&data)).unwrap(), 50_000.0);
    let view = get(&data).unwrap();
    assert_eq!(get(total.remote(&view)).unwrap(), 50_000.0); // attached: is sent as a ref
    let fresh = SharedSlice::build(3, |out: &mut [f64]| out.copy_from_slice(&[1.0, 2.0, 3.0])).unwrap();
    assert_eq!(get(total.remote(&fresh)).unwrap(), 6.0); // not yet part of an object
    let build = |n: usize| SharedSlice::build(n, |out: &mut [f64]| out.fill(2.0)).unwrap();
    let made = [build.remote(1_000), build.remote(3), build.remote(0)];
    let lens = |slices: Vec<SharedSlice<f64>>| slices.iter().map(|slice| slice.len()).collect::<Vec<_>>();
    assert_eq!(get(lens.remote(&made)).unwrap(), [1_000, 3, 0]);
    let two = |n: usize| Two {
        left: SharedSlice::build(n, |out| out.fill(1.5)).unwrap(),
        right: SharedSlice::build(n + 1, |out| out.fill(7)).unwrap(),
    };
    let two = get(two.remote(2)).unwrap();
    assert_eq!((&two.left[..], &two.right[..]), (&[1.5, 1.5][..], &[7, 7, 7][..]));
    let right = |two: Two| two.right; // a part of an object, in another object
    let right = get(right.remote(two)).unwrap();
    assert_eq!(right[..], [7, 7, 7]);
    drop(data);
    assert_eq!(view[99_999], 0.5); // the value keeps the memory alive
    let again = put_ref(&view).unwrap();
    drop(view);
    assert_eq!(get(again).unwrap().len(), 100_000);
}

#[derive(Debug)]
struct Gate {
    hits: Cell<u32>, // an actor never leaves its thread
    opened: tokio::sync::Notify,
}

#[remote(max_concurrency = 16)]
impl Gate {
    #[new]
    fn new(hits: u32) -> Result<Self, String> {
        if hits > 100 {
            return Err(format!("{hits} is too many"));
        }
        Ok(Gate { hits: Cell::new(hits), opened: tokio::sync::Notify::new() })
    }
    async fn pass(&self) -> u32 {
        self.opened.notified().await;
        self.hits.set(self.hits.get() + 1);
        self.hits.get()
    }
    fn open(&self) {
        self.opened.notify_waiters();
    }
    fn set(&mut self, hits: u32) -> Result<u32, String> {
        if hits == 13 { Err("unlucky".into()) } else { Ok(self.hits.replace(hits)) }
    }
    #[remote(num_returns = 2)]
    fn pair(&self) -> (u32, String) {
        (self.hits.get(), self.hits.get().to_string())
    }
    async fn chain(&self, me: ActorHandle<Gate>, x: ObjectRef<u32>) -> unidist::Result<u32> {
        let x = x.await?;
        me.open.remote().await?;
        tokio::time::sleep(Duration::from_millis(1)).await;
        let local = tokio::task::spawn_local(async move { x + 1 }).await;
        Ok(local.unwrap_or(0))
    }
    fn fail(&self) -> u32 {
        panic!("the gate fell")
    }
    fn clone(&self) -> Vec<ActorHandle<Gate>> {
        vec![]
    }
}

#[test]
fn actors_keep_state_and_overlap_calls() {
    let _session = unidist::init().unwrap();
    let gate = Gate::options().name("gate").remote(0);
    let passing: Vec<_> = (0..3).map(|_| gate.pass.remote()).collect();
    get(gate.pair.remote()).unwrap(); // calls start in order, so all three are waiting now
    get(gate.open.remote()).unwrap();
    assert_eq!(get(passing).unwrap(), [1, 2, 3]);
    assert_eq!(get(gate.set.remote(9)).unwrap(), 3);
    assert_eq!(get(gate.set.remote(13)).unwrap_err().downcast::<String>().unwrap(), "unlucky");
    let (number, text) = gate.pair.remote();
    assert_eq!(get((number, text)).unwrap(), (9, "9".to_owned()));
    let x = put(41u32).unwrap();
    assert_eq!(get(gate.chain.remote(&gate, vec![&x][0])).map_err(|e| e.to_string()), Ok(42));
    assert!(get(gate.fail.remote()).unwrap_err().to_string().contains("the gate fell"));
    assert_eq!(get(gate.clone.remote()).unwrap().len(), 0);
    let captured = gate.clone();
    let set = closure!([captured] |n: u32| get(captured.set.remote(n)).unwrap());
    assert_eq!(get(set.remote(1)).unwrap(), 9);
}

#[test]
fn failed_constructor_fails_the_calls() {
    let _session = unidist::init().unwrap();
    let gate = Gate::remote(101);
    let error = get(gate.pair.remote().0).unwrap_err();
    assert_eq!(error.as_task().unwrap().kind, ErrorKind::ActorDied, "{error:?}");
    assert_eq!(error.downcast::<String>().as_deref(), Some("101 is too many"));
    assert_eq!(get(Gate::remote(1).set.remote(2)).unwrap(), 1);
}

#[test]
fn asynchronous_functions_are_called_like_others() {
    async fn later(x: u64) -> Result<u64, String> {
        tokio::time::sleep(Duration::from_millis(5)).await;
        if x > 0 { Ok(x) } else { Err("none".into()) }
    }
    let _session = unidist::init().unwrap();
    assert_eq!(get([later.remote(1), later.remote(2)]).unwrap(), [1, 2]);
    assert_eq!(get(later.remote(0)).unwrap_err().downcast::<String>().unwrap(), "none");
    let nested = async |x: u64| later.remote(x).await;
    let _ = nested;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (one, two) = (later.remote(1), later.remote(2));
    assert_eq!(runtime.block_on(async { (one.await.unwrap(), (&two).await.unwrap()) }), (1, 2));
    assert_eq!(get(two).unwrap(), 2);

    let refs = [later.remote(1), later.remote(0), later.remote(3)];
    let all = runtime.block_on(async {
        let mut set = tokio::task::JoinSet::new();
        refs.iter().for_each(|each| drop(set.spawn(each.into_future()))); // futures, for combinators
        set.join_all().await
    });
    assert_eq!(all.iter().flatten().sum::<u64>(), 4);
}
