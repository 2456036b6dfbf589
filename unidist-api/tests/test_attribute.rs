//! `#[unidist::test]`. Tests that must fail, or that need others beside them, are ignored; a test runs them in a process.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};
use unidist::prelude::*;

#[remote]
fn square(x: i64) -> i64 {
    x * x
}

#[remote]
fn process() -> u32 {
    std::process::id()
}

#[remote]
fn sleep_forever() {
    while !unidist::is_cancelled() {
        std::thread::yield_now();
    }
}

struct Counter;

#[remote]
impl Counter {
    #[new]
    fn new() -> Self {
        Counter
    }
    fn count(&self) -> i64 {
        1
    }
}

#[unidist::test]
fn plain_test_has_a_session() {
    assert_eq!(get(square.remote(3)), Ok(9));
    assert_eq!(unidist::num_cpus(), Ok(2));
    let counter = Counter::remote();
    assert_eq!(get(counter.count.remote()), Ok(1));
}

#[unidist::test]
fn result_of_a_test_may_be_an_error() -> unidist::Result<()> {
    let values = put(vec![1_i64, 2])?;
    assert_eq!(get(&values)?, [1, 2]);
    Ok(())
}

#[unidist::test]
async fn asynchronous_test_awaits_refs() -> Result<(), Box<dyn std::error::Error>> {
    let (nine, sixteen) = (square.remote(3), square.remote(4));
    assert_eq!(nine.await? + sixteen.await?, 25);
    Ok(())
}

#[unidist::test]
#[should_panic(expected = "as it should")]
fn test_that_should_panic() {
    let _left = put(1);
    panic!("as it should");
}

#[unidist::test]
fn call_that_was_sent_may_end_after_the_test() {
    square.send(3);
    drop(square.remote(4));
}

#[unidist::test]
fn test_may_end_its_session() {
    assert_eq!(get(square.remote(3)), Ok(9));
    unidist::shutdown().unwrap();
}

/// The sample of the book is `testing_sample.rs`, whose tests run.
#[test]
fn sample_of_the_book_is_tested() {
    let (_, sample) = include_str!("testing_sample.rs").split_once("\n\n").unwrap();
    assert!(include_str!("../../docs/testing.md").contains(sample));
}

/// Runs ignored tests of this file in a process of their own.
fn run(tests: &[&str], settings: &[(&str, &str)]) -> Output {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(tests).args(["--exact", "--ignored", "--test-threads=4", "--nocapture"]);
    command.env_remove("UNIDIST_BACKEND").env_remove("UNIDIST_CPUS").env_remove("UNIDIST_TEST_BACKEND");
    command.envs(settings.iter().copied()).output().unwrap()
}

/// What a failing test says.
fn failure(test: &str, settings: &[(&str, &str)]) -> String {
    let output = run(&[test], settings);
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && text.contains("1 failed"), "{text}");
    text.into_owned()
}

const BACKENDS: [[(&str, &str); 1]; 2] =
    [[("UNIDIST_TEST_BACKEND", "pymp")], [("UNIDIST_TEST_BACKEND", "pyseq")]];

#[test]
fn leaks_are_listed() {
    for backend in &BACKENDS {
        let text = failure("leaves_objects", backend);
        assert!(text.contains("the test leaves 3 in its session: drop all refs and handles"), "{text}");
        assert!(text.contains(", a result of `test_attribute::square`\n"), "{text}");
        assert!(text.contains(", made by `test_attribute::Counter::new`\n"), "{text}");
        assert_eq!(text.matches("\n- object ").count(), 2, "{text}");
    }
}

#[unidist::test]
#[ignore = "it fails: `leaks_are_listed` runs it"]
fn leaves_objects() -> unidist::Result<()> {
    let squared = square.remote(3);
    get(&squared)?;
    let counter = Counter::remote();
    get(counter.count.remote())?;
    std::mem::forget((put(1)?, squared, counter));
    Ok(())
}

#[test]
fn running_call_is_listed_and_cancelled() {
    let text = failure("leaves_a_call", &BACKENDS[0]);
    assert!(text.contains(" of `test_attribute::sleep_forever`, which has not ended\n"), "{text}");
}

#[unidist::test]
#[ignore = "it fails: `running_call_is_listed_and_cancelled` runs it"]
fn leaves_a_call() {
    std::mem::forget(sleep_forever.remote());
}

#[test]
fn own_failure_comes_before_leaks() {
    let text = failure("fails_and_leaves_a_call", &BACKENDS[0]);
    assert!(text.contains("the failure of the test") && !text.contains("the test leaves"), "{text}");
}

#[unidist::test]
#[ignore = "it fails: `own_failure_comes_before_leaks` runs it"]
fn fails_and_leaves_a_call() -> Result<(), &'static str> {
    std::mem::forget(sleep_forever.remote());
    Err("the failure of the test")
}

#[test]
fn variable_chooses_the_backend() {
    for backend in ["pymp", "pyseq"] {
        let output = run(&["prints_where_calls_run"], &[("UNIDIST_TEST_BACKEND", backend)]);
        let text = String::from_utf8_lossy(&output.stdout);
        let expected = format!("in the same process: {}", backend == "pyseq");
        assert!(output.status.success() && text.contains(&expected), "{backend}: {text}");
    }
    let text = failure("prints_where_calls_run", &[("UNIDIST_TEST_BACKEND", "pysec")]);
    assert!(text.contains("UNIDIST_TEST_BACKEND: `pysec` is not valid"), "{text}");
}

#[unidist::test]
#[ignore = "`variable_chooses_the_backend` runs it"]
fn prints_where_calls_run() {
    println!("in the same process: {}", get(process.remote()) == Ok(std::process::id()));
}

#[test]
fn tests_of_a_process_take_turns() {
    let output = run(&["takes_turns_1", "takes_turns_2", "takes_turns_3"], &[]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("3 passed"), "{text}");
}

/// How many tests of this process run.
static RUNNING: AtomicUsize = AtomicUsize::new(0);

fn takes_turns() {
    assert_eq!(RUNNING.fetch_add(1, Ordering::SeqCst), 0, "another test runs");
    for n in 0..100 {
        assert_eq!(get(square.remote(n)), Ok(n * n));
    }
    RUNNING.fetch_sub(1, Ordering::SeqCst);
}

#[unidist::test]
#[ignore = "`tests_of_a_process_take_turns` runs it"]
fn takes_turns_1() {
    takes_turns();
}

#[unidist::test]
#[ignore = "`tests_of_a_process_take_turns` runs it"]
fn takes_turns_2() {
    takes_turns();
}

#[unidist::test]
#[ignore = "`tests_of_a_process_take_turns` runs it"]
fn takes_turns_3() {
    takes_turns();
}

#[test]
fn session_of_a_plain_test_is_an_error() {
    let text = failure("begins_with_a_session", &[]);
    assert!(text.contains("this process has a session already: mark each test"), "{text}");
}

#[test]
#[ignore = "it fails: `session_of_a_plain_test_is_an_error` runs it"]
fn begins_with_a_session() {
    let _session = unidist::init().unwrap();
    plain_test_has_a_session();
}
