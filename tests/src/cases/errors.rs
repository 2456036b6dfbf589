//! Failures of calls and their contents.

use crate::case::{Case, PYMP, Result, cases};
use crate::support::{Counter, Refusal, failure, kind, refuse, square, sum};
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use unidist::prelude::*;
use unidist::{Error, ErrorKind, cluster_resources};

pub(super) const CASES: &[Case] = cases!["errors":
    panic_fails_the_call, panic_has_its_location, panic_with_any_payload, user_error_is_downcast,
    error_is_the_same_for_every_get, error_keeps_its_sources, io_error_keeps_its_text,
    nested_error_keeps_its_cause, dependents_fail_with_the_cause, failure_in_a_list_of_refs,
    failure_of_one_argument, long_chain_of_failures, all_outputs_fail, failure_does_not_end_the_worker,
    get_gives_the_first_failure, error_value_is_a_value, error_value_from_a_closure,
    error_value_from_an_actor, async_failure, argument_that_cannot_be_encoded, result_that_cannot_be_encoded,
    argument_that_cannot_be_decoded, result_that_cannot_be_decoded, put_that_cannot_be_encoded,
    error_implements_std_error, error_can_be_sent, error_names_the_worker.only(PYMP), failed_calls_are_freed,
    debug_output_shows_the_causes,
    text_of_an_error_shows_the_root_cause, question_mark_takes_other_errors, static_text_is_an_error,
];

#[remote]
fn panics(text: String) -> i64 {
    panic!("{text}");
}

/// A panic is the failure of its call.
fn panic_fails_the_call() -> Result {
    let error = get(panics.remote("oh no".to_owned())).unwrap_err();
    assert_eq!(kind(&error), ErrorKind::Panicked);
    let text = error.to_string();
    assert!(text.contains("panics") && text.contains("oh no"), "{text}");
    Ok(())
}

/// The error has the location of the panic.
fn panic_has_its_location() -> Result {
    let error = get(panics.remote("oh no".to_owned())).unwrap_err();
    let location = error.as_task().unwrap().location.clone().unwrap();
    assert!(location.contains("errors.rs:"), "{location}");
    Ok(())
}

/// The same for an overflow, an index out of bounds, or any panic payload.
fn panic_with_any_payload() -> Result {
    let divides = |x: i64| 1 / x;
    assert_eq!(failure(divides.remote(0)), ErrorKind::Panicked);
    let indexes = |list: Vec<u8>| list[7];
    let error = get(indexes.remote(vec![1])).unwrap_err();
    assert!(error.to_string().contains("index is 7"), "{error}");
    let throws = || -> i64 { std::panic::panic_any(5_u8) };
    assert_eq!(failure(throws.remote()), ErrorKind::Panicked);
    Ok(())
}

/// A portable `E` is restored by `downcast`.
fn user_error_is_downcast() -> Result {
    let reference: ObjectRef<i64> = refuse.remote(20);
    let error = get(reference).unwrap_err();
    assert_eq!(kind(&error), ErrorKind::Failed);
    assert_eq!(error.downcast::<Refusal>(), Some(Refusal { with: 20 }));
    assert_eq!(error.downcast::<String>(), None);
    assert!(error.to_string().contains("refuse"), "{error}");
    Ok(())
}

/// The same value reaches every `get` on every ref.
fn error_is_the_same_for_every_get() -> Result {
    let failed = refuse.remote(1);
    let errors = [get(&failed).unwrap_err(), get(failed.clone()).unwrap_err()];
    assert_eq!(errors[0], errors[1]);
    Ok(())
}

#[derive(Debug)]
struct Outer(std::num::ParseIntError);

impl std::fmt::Display for Outer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the number is wrong")
    }
}

impl std::error::Error for Outer {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

#[remote]
fn parses(text: String) -> Result<i64, Outer> {
    text.parse().map_err(Outer)
}

#[remote]
fn boxed(text: String) -> Result<i64, Box<dyn std::error::Error + Send + Sync>> {
    Ok(parses(text)?)
}

/// Any other error comes back as its text and chain.
fn error_keeps_its_sources() -> Result {
    for failed in [parses.remote("x".to_owned()), boxed.remote("x".to_owned())] {
        let error = get(failed).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("the number is wrong") && text.contains("invalid digit"), "{text}");
        assert_eq!(error.as_task().unwrap().chain.len(), 1);
    }
    assert_eq!(get(boxed.remote("5".to_owned()))?, 5);
    Ok(())
}

#[remote]
fn length(path: String) -> std::io::Result<u64> {
    Ok(std::fs::metadata(path)?.len())
}

/// The same of an error of the standard library.
fn io_error_keeps_its_text() -> Result {
    let error = get(length.remote("/no/such/file".to_owned())).unwrap_err();
    assert!(error.to_string().contains("No such file"), "{error}");
    Ok(())
}

#[remote]
fn passes_on(with: i64) -> unidist::Result<i64> {
    get(refuse.remote(with))
}

/// A failure of a nested task keeps its cause in the callers' errors.
fn nested_error_keeps_its_cause() -> Result {
    let error = get(passes_on.remote(3)).unwrap_err();
    assert_eq!(error.downcast::<Refusal>(), Some(Refusal { with: 3 }), "{error:?}");
    let error = get(square.remote(passes_on.remote(4))).unwrap_err();
    assert_eq!(error.downcast::<Refusal>(), Some(Refusal { with: 4 }), "{error:?}");
    Ok(())
}

/// A failed task fails, in order, everything that depends on it; the error keeps its cause. However long the chain,
/// that is the failure it began with.
fn dependents_fail_with_the_cause() -> Result {
    let first = refuse.remote(1);
    let second = square.remote(&first);
    let third = square.remote(&second);
    let error = get(&third).unwrap_err();
    assert_eq!(kind(&error), ErrorKind::DependencyFailed);
    assert_eq!(error.downcast::<Refusal>(), Some(Refusal { with: 1 }));
    let kinds: Vec<_> = {
        let mut next = error.as_task();
        std::iter::from_fn(|| {
            let this = next?;
            next = this.cause.as_deref();
            Some(this.kind)
        })
        .collect()
    };
    assert_eq!(kinds, [ErrorKind::DependencyFailed, ErrorKind::Failed]);
    Ok(())
}

/// The same, for a ref in a list of refs.
fn failure_in_a_list_of_refs() -> Result {
    let refs = vec![put(1)?, refuse.remote(2), put(3)?];
    let error = get(sum.remote(refs)).unwrap_err();
    assert_eq!(error.downcast::<Refusal>(), Some(Refusal { with: 2 }));
    Ok(())
}

/// The same, for one of several arguments.
fn failure_of_one_argument() -> Result {
    let adds = |a: i64, b: i64, c: i64| a + b + c;
    assert_eq!(failure(adds.remote(put(1)?, refuse.remote(2), 3)), ErrorKind::DependencyFailed);
    Ok(())
}

/// The same in a long chain.
fn long_chain_of_failures() -> Result {
    let mut last = refuse.remote(9);
    for _ in 0..50 {
        last = square.remote(last);
    }
    assert_eq!(get(last).unwrap_err().downcast::<Refusal>(), Some(Refusal { with: 9 }));
    Ok(())
}

#[remote]
fn splits(x: i64) -> Result<(i64, i64), Refusal> {
    if x < 0 { Err(Refusal { with: x }) } else { Ok((x, x)) }
}

/// A failed task fails its outputs.
fn all_outputs_fail() -> Result {
    let (a, b) = splits.options().num_returns::<2>().remote(-1);
    for failed in [a, b] {
        assert_eq!(get(failed).unwrap_err().downcast::<Refusal>(), Some(Refusal { with: -1 }));
    }
    let (a, _) = splits.options().num_returns::<2>().remote(1);
    assert_eq!(get(a)?, 1);
    Ok(())
}

/// A panic does not end the worker.
fn failure_does_not_end_the_worker() -> Result {
    let failed: Vec<_> = (0..20).map(|n| panics.remote(n.to_string())).collect();
    assert_eq!(wait(&failed, 20, None)?.ready.len(), 20);
    assert_eq!(get(square.remote(2))?, 4);
    Ok(())
}

/// `get` of several gives the first failure, in the order of the refs.
fn get_gives_the_first_failure() -> Result {
    let error = get([square.remote(1), refuse.remote(1), refuse.remote(2)]).unwrap_err();
    assert_eq!(error.downcast::<Refusal>(), Some(Refusal { with: 1 }));
    Ok(())
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Answer {
    Error(Refusal),
}

/// Regression: an error value that a task *returns* must not become a failure.
fn error_value_is_a_value() -> Result {
    let refusal = || Refusal { with: 1 };
    assert_eq!(get(refusal.remote())?, Refusal { with: 1 });
    let in_enum = || Answer::Error(Refusal { with: 2 });
    assert_eq!(get(in_enum.remote())?, Answer::Error(Refusal { with: 2 }));
    let in_option = || Some(Err::<i64, _>(Refusal { with: 3 }));
    assert_eq!(get(in_option.remote())?, Some(Err(Refusal { with: 3 })));
    let in_list = || vec![Ok(1), Err(Refusal { with: 4 })];
    assert_eq!(get(in_list.remote())?, [Ok(1), Err(Refusal { with: 4 })]);
    let a_whole_error = || unidist::TaskError::new(ErrorKind::Panicked, "quoted");
    assert_eq!(get(a_whole_error.remote())?.message, "quoted");
    let put_error = put(Err::<u8, _>(Refusal { with: 5 }))?;
    assert_eq!(get(put_error)?, Err(Refusal { with: 5 }));
    Ok(())
}

/// The same: a `Result` in a tuple or as the argument of another task stays a value.
fn error_value_from_a_closure() -> Result {
    let pair = || (1, Err::<u8, _>(Refusal { with: 6 }));
    let (_, second) = pair.options().num_returns::<2>().remote();
    assert_eq!(get(&second)?, Err(Refusal { with: 6 }));
    let is_error = |result: std::result::Result<u8, Refusal>| result.is_err();
    assert!(get(is_error.remote(&second))?);
    Ok(())
}

/// A method's `Err` is its failure, and ends nothing.
fn error_value_from_an_actor() -> Result {
    let counter = Counter::remote(1);
    let error = get(counter.refuses.remote(7)).unwrap_err();
    assert_eq!(error.downcast::<Refusal>(), Some(Refusal { with: 7 }));
    assert_eq!(get(counter.value.remote())?, 1);
    Ok(())
}

#[remote]
async fn fails_later(panics: bool) -> Result<u8, Refusal> {
    tokio::task::yield_now().await;
    assert!(!panics, "later");
    Err(Refusal { with: 8 })
}

/// An asynchronous function fails like any other.
fn async_failure() -> Result {
    assert_eq!(get(fails_later.remote(false)).unwrap_err().downcast::<Refusal>(), Some(Refusal { with: 8 }));
    let error = get(fails_later.remote(true)).unwrap_err();
    assert_eq!(kind(&error), ErrorKind::Panicked);
    assert!(error.to_string().contains("later"), "{error}");
    Ok(())
}

/// A value whose encoding or decoding fails.
#[derive(Debug, Default)]
struct Stubborn {
    encodes: bool,
}

impl Serialize for Stubborn {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.encodes {
            true => serializer.serialize_u8(0),
            false => Err(S::Error::custom("it does not want to be encoded")),
        }
    }
}

impl<'de> Deserialize<'de> for Stubborn {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(D::Error::custom("it does not want to be decoded"))
    }
}

fn says<T: std::fmt::Debug>(result: unidist::Result<T>, expected: ErrorKind, text: &str) {
    let error = result.unwrap_err();
    let is_expected = match &error {
        Error::Task(error) => error.root_cause().kind == expected,
        Error::Encode { .. } => expected == ErrorKind::Encode,
        Error::Decode { .. } => expected == ErrorKind::Decode,
        _ => false,
    };
    assert!(is_expected && format!("{error:?}").contains(text), "{error:?}");
}

/// An argument that cannot be encoded is the failure of its call.
fn argument_that_cannot_be_encoded() -> Result {
    let takes = |_: Stubborn, x: i64| x;
    says(get(takes.remote(Stubborn::default(), 1)), ErrorKind::Encode, "does not want to be encoded");
    assert_eq!(get(square.remote(2))?, 4);
    Ok(())
}

/// A result that cannot be encoded is the failure of its call.
fn result_that_cannot_be_encoded() -> Result {
    says(get(Stubborn::default.remote()), ErrorKind::Encode, "does not want to be encoded");
    assert_eq!(get(square.remote(2))?, 4);
    Ok(())
}

/// An argument that cannot be decoded is the failure of its call.
fn argument_that_cannot_be_decoded() -> Result {
    let takes = |_: Stubborn, x: i64| x;
    says(get(takes.remote(Stubborn { encodes: true }, 1)), ErrorKind::Decode, "does not want to be decoded");
    assert_eq!(get(square.remote(2))?, 4);
    Ok(())
}

/// A result that cannot be decoded is an error of every `get`.
fn result_that_cannot_be_decoded() -> Result {
    let makes = || Stubborn { encodes: true };
    let reference = makes.remote();
    wait(&reference, 1, None)?;
    for _ in 0..2 {
        says(get(&reference), ErrorKind::Decode, "does not want to be decoded");
    }
    Ok(())
}

/// `put` fails at once.
fn put_that_cannot_be_encoded() -> Result {
    says(put(Stubborn::default()), ErrorKind::Encode, "does not want to be encoded");
    Ok(())
}

/// Errors are `std::error::Error`s, whose sources are the causes.
fn error_implements_std_error() -> Result {
    let error: Box<dyn std::error::Error + Send + Sync> =
        get(square.remote(refuse.remote(1))).unwrap_err().into();
    let cause = error.source().unwrap();
    assert!(cause.to_string().contains("refuse"), "{cause}");
    Ok(())
}

/// An error can be a value like any other.
fn error_can_be_sent() -> Result {
    let error = get(refuse.remote(1)).unwrap_err();
    let text = |error: Error| error.to_string();
    assert_eq!(get(text.remote(error.clone()))?, error.to_string());
    assert_eq!(get(put(error.clone())?)?, error);
    Ok(())
}

/// The error names the worker, and its host.
fn error_names_the_worker() -> Result {
    let hosts = cluster_resources()?;
    let is_named = |error: &Error| {
        let name = &error.as_task().unwrap().worker;
        name.starts_with("worker") && hosts.keys().any(|host| name.ends_with(&format!(" on {host}")))
    };
    let error = get(panics.remote("x".to_owned())).unwrap_err();
    assert!(is_named(&error), "{error}");
    let actor = Counter::remote(1);
    let error = get(actor.panics.remote()).unwrap_err();
    assert!(is_named(&error), "{error}");
    Ok(())
}

/// Failed calls are freed like all others.
fn failed_calls_are_freed() -> Result {
    for _ in 0..100 {
        let kept = put(vec![put(1)?])?;
        let fails = |kept: Vec<ObjectRef<i64>>| -> i64 { panic!("with {} refs", kept.len()) };
        let failed = fails.remote(&kept);
        drop(square.remote(failed));
    }
    crate::program::assert_all_freed();
    Ok(())
}

/// A debug print (and so `main`'s error) shows the causes.
fn debug_output_shows_the_causes() -> Result {
    let error = get(square.remote(panics.remote("the root".to_owned()))).unwrap_err();
    let text = format!("{error:?}");
    assert!(text.contains("square") && text.contains("caused by") && text.contains("the root"), "{text}");
    Ok(())
}

/// A plain print is one line, of which the end is the line of the failure that it began with.
fn text_of_an_error_shows_the_root_cause() -> Result {
    let first = panics.remote("the root".to_owned());
    let root = get(&first).unwrap_err();
    for error in
        [get(square.remote(&first)).unwrap_err(), get(square.remote(square.remote(first))).unwrap_err()]
    {
        let text = error.to_string();
        assert!(
            text.contains("square") && text.ends_with(&root.to_string()) && !text.contains('\n'),
            "{text}"
        );
        let debug = format!("{error:?}");
        assert_eq!(debug.matches("the root").count(), 1, "{debug}");
    }
    let outer = |with: i64| -> unidist::Result<i64> { get(passes_on.remote(with)) };
    let error = get(outer.remote(3)).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("refuse") && text.contains("with: 3") && !text.contains('\n'), "{text}");
    Ok(())
}

/// `?` takes errors of the standard library and boxed ones in a function that returns `unidist::Result`.
fn question_mark_takes_other_errors() -> Result {
    let length = |path: String| -> unidist::Result<u64> { Ok(std::fs::metadata(path)?.len()) };
    let here = std::env::current_dir()?;
    assert!(get(length.remote(here.display().to_string())).is_ok());
    let error = get(length.remote("/no/such/file".to_owned())).unwrap_err();
    assert_eq!(kind(&error), ErrorKind::Failed);
    assert!(error.to_string().contains("No such file"), "{error}");
    assert!(matches!(error.downcast::<Error>(), Some(Error::Other { os_error: Some(2), .. })), "{error}");
    let number = |text: String| -> unidist::Result<i64> { Ok(boxed(text)?) };
    assert_eq!(get(number.remote("5".to_owned()))?, 5);
    let error = get(square.remote(number.remote("x".to_owned()))).unwrap_err();
    assert!(error.to_string().ends_with("the number is wrong: invalid digit found in string"), "{error}");
    assert!(error.root_cause().to_string().contains("the number is wrong"), "{error}");
    Ok(())
}

#[remote]
fn said(fails: bool) -> Result<u8, &'static str> {
    if fails { Err("it was asked to fail") } else { Ok(5) }
}

/// A text that the program contains is an error as well.
fn static_text_is_an_error() -> Result {
    let unnamed = |fails: bool| -> Result<u8, &'static str> { said(fails) };
    let later = |fails: bool| async move { said(fails) };
    for (ok, failed) in [
        (said.remote(false), said.remote(true)),
        (unnamed.remote(false), unnamed.remote(true)),
        (later.remote(false), later.remote(true)),
    ] {
        assert_eq!(get(ok)?, 5);
        let error = get(failed).unwrap_err();
        assert_eq!(kind(&error), ErrorKind::Failed);
        assert!(error.to_string().ends_with(": it was asked to fail"), "{error}");
        assert_eq!(error.downcast::<String>().as_deref(), Some("it was asked to fail"));
    }
    Ok(())
}
