//! The engine with real processes and a runner of its own, for cases that the typed layers rule out.
#![allow(clippy::unwrap_used, reason = "a test")]

mod numbers;

use libtest_mimic::{Arguments, Failed, Trial};
use numbers::{
    BIG, EXIT, FIB, NAP, PID, SUBMIT_AND_KEEP, SUM, WRITE, WRITE_AND_EXIT, get, install, number, program,
    settings, submit, submit_with,
};
use std::path::PathBuf;
use std::sync::Arc;
use unidist_backend::LaunchCommand;
use unidist_backend::{Backend, Program};
use unidist_common::{Arg, Error, ErrorKind, FunctionKey, Object, Payload};
use unidist_engine::controller::{ControllerSettings, start};
use unidist_engine::worker::serve_if_worker;

fn session() -> Arc<dyn Backend> {
    start(settings(), program()).unwrap()
}

fn sum_is_computed_in_a_worker() {
    let session = session();
    let a = submit(&*session, SUM, &[1, 2]);
    let b = submit_with(&*session, SUM, vec![Arg::Ref(a), Arg::Ref(a)], vec![a]);
    assert_eq!(number(&get(&*session, b).unwrap().header), 6);
    session.release(a);
    assert_eq!(session.live_objects().unwrap(), 0);
    let pid = number(&get(&*session, submit(&*session, PID, &[])).unwrap().header);
    assert_ne!(pid, u64::from(std::process::id()));
}

fn ten_thousand_small_tasks_all_come_back() {
    let session = session();
    let ids: Vec<_> = (0..10_000).map(|n| submit(&*session, SUM, &[n, 1])).collect();
    let outcomes = session.get(&ids).unwrap();
    for (n, outcome) in outcomes.into_iter().enumerate() {
        assert_eq!(number(&outcome.unwrap().header), n as u64 + 1);
    }
    ids.iter().for_each(|id| session.release(*id));
    assert_eq!(session.live_objects().unwrap(), 0);
}

fn naive_recursion_ends_on_two_workers() {
    let session = session();
    assert_eq!(number(&get(&*session, submit(&*session, FIB, &[20])).unwrap().header), 6765);
    assert_eq!(session.live_objects().unwrap(), 0);
}

fn exit_in_a_task_fails_that_task_alone() {
    let session = session();
    let bad = submit(&*session, EXIT, &[3]);
    let good: Vec<_> = (0..100).map(|n| submit(&*session, SUM, &[n])).collect();
    let error = get(&*session, bad).unwrap_err();
    assert_eq!((error.kind, error.function.as_str()), (ErrorKind::WorkerDied, "number"));
    assert!(error.message.contains("exit status: 3"), "{error}");
    assert!(session.get(&good).unwrap().iter().all(Result::is_ok));
}

fn large_result_goes_through_the_store_and_is_freed() {
    let session = session();
    for _ in 0..10 {
        // in total ten times the size of the store
        let payload = get(&*session, submit(&*session, BIG, &[20 << 20])).unwrap();
        assert_eq!(payload.header.len(), 20 << 20);
        assert!(payload.header.iter().all(|byte| *byte == 1));
    }
    let larger_than_the_store = get(&*session, submit(&*session, BIG, &[100 << 20])).unwrap();
    assert!(larger_than_the_store.header.iter().all(|byte| *byte == 1));
}

fn references_of_a_dead_worker_are_released() {
    let session = session();
    get(&*session, submit(&*session, SUBMIT_AND_KEEP, &[])).unwrap();
    for _ in 0..8 {
        // all workers, as the test does not know which of them keeps a reference
        let _ = get(&*session, submit(&*session, EXIT, &[1]));
    }
    while session.live_objects().unwrap() > 0 {
        let _ = get(&*session, submit(&*session, EXIT, &[1]));
    }
}

fn launch_error(program: &str, build_id: fn() -> String) -> String {
    let launch = LaunchCommand { program: PathBuf::from(program), ..LaunchCommand::default() };
    let started =
        start(ControllerSettings { launch, ..settings() }, Program { build_id, ..numbers::program() });
    match started.map(drop) {
        Err(Error::Launch { message }) => message,
        other => panic!("{other:?}"),
    }
}

fn foreign_executable_is_detected() {
    let message = launch_error("/bin/true", || "numbers".to_owned());
    assert!(message.contains("a program that uses unidist"), "{message}");
    let message = launch_error("/bin/echo", || "numbers".to_owned());
    assert!(message.contains("a program that uses unidist"), "{message}");
    let message = launch_error("/no/such/program", || "numbers".to_owned());
    assert!(message.contains("/no/such/program"), "{message}");
}

fn other_build_is_detected() {
    let message = launch_error("/proc/self/exe", || "letters".to_owned());
    assert!(message.contains("different builds"), "{message}");
}

/// Has a task write these bytes into its ring with this counter, while the other worker is busy. Only its process is
/// lost; returns the text of the error.
fn lost_after_writing(function: FunctionKey, bytes: &[u8], count: u64) -> String {
    let session = session();
    // One call for each process, so that no other message is on that link meanwhile.
    let busy = submit(&*session, NAP, &[200]);
    let args = vec![Arg::Value(bytes.to_vec().into()), Arg::Value(count.to_le_bytes().to_vec().into())];
    let mad = submit_with(&*session, function, args, vec![]);
    let error = get(&*session, mad).unwrap_err();
    assert_eq!(error.kind, ErrorKind::WorkerDied);
    assert!(get(&*session, busy).is_ok());
    assert_eq!(number(&get(&*session, submit(&*session, SUM, &[1, 2])).unwrap().header), 3);
    assert_eq!(session.live_objects().unwrap(), 0);
    error.message
}

fn process_that_writes_garbage_is_killed_alone() {
    let frame = |body: &[u8]| [&(body.len() as u32).to_le_bytes(), body].concat();
    let (garbage, unknown) = ([0xff; 100], frame(&[77, 0, 0, 0]));
    // It frees a block that was not allocated to it.
    let not_its_own = frame(&[&[7, 0, 0, 0][..], &4096u64.to_le_bytes(), &64u64.to_le_bytes()].concat());
    for bytes in [&garbage[..], &unknown, &not_its_own, &frame(&[])] {
        let message = lost_after_writing(WRITE, bytes, bytes.len() as u64);
        assert!(message.contains("signal: 9"), "{message}");
    }
    for count in [1 << 40, u64::MAX] {
        let message = lost_after_writing(WRITE, &[], count);
        assert!(message.contains("signal: 9"), "{message}");
    }
}

fn process_that_ends_within_a_message_is_lost() {
    let half = [200, 0, 0, 0, 1, 2, 3];
    let message = lost_after_writing(WRITE_AND_EXIT, &half, half.len() as u64);
    assert!(message.contains("exit status: 3"), "{message}");
}

fn max_pending_tasks_throttles_the_program() {
    let settings = ControllerSettings { max_pending_tasks: Some(4), ..settings() };
    let session = start(settings, program()).unwrap();
    let ids: Vec<_> = (0..1000).map(|n| submit(&*session, SUM, &[n])).collect();
    assert!(session.get(&ids).unwrap().iter().all(Result::is_ok));
}

fn inline_limit_decides_what_is_stored() {
    let used = |inline_limit| {
        let session = start(ControllerSettings { inline_limit, ..settings() }, program()).unwrap();
        let before = session.store_usage().unwrap().used;
        let result = submit(&*session, SUM, &[1]); // of 8 bytes, from a worker
        session.get(&[result]).unwrap()[0].as_ref().unwrap();
        let after_call = session.store_usage().unwrap().used;
        let payload = Payload::inline(vec![0; 1000]);
        session.put(payload.into()).unwrap();
        (after_call > before, session.store_usage().unwrap().used > after_call)
    };
    assert_eq!(used(ControllerSettings::INLINE_LIMIT), (false, false));
    assert_eq!(used(999), (false, true));
    assert_eq!(used(7), (true, true));
}

fn threads_of_the_program_share_the_session() {
    let session = session();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let session = &*session;
            scope.spawn(move || {
                for n in 0..500 {
                    let outcome = get(session, submit(session, SUM, &[thread, n])).unwrap();
                    assert_eq!(number(&outcome.header), thread + n);
                }
            });
        }
    });
    assert_eq!(session.live_objects().unwrap(), 0);
}

fn requests_after_shutdown_fail_and_do_not_hang() {
    let session = session();
    let id = submit(&*session, SUM, &[1]);
    session.shutdown().unwrap();
    session.shutdown().unwrap();
    assert!(matches!(session.get(&[id]), Err(Error::SessionEnded { .. })));
    assert!(matches!(session.put(Object::default()), Err(Error::SessionEnded { .. })));
    submit(&*session, SUM, &[1]);
    session.release(id);
}

fn shutdown_waits_for_the_end_in_every_thread() {
    let session = session();
    let pid = number(&get(&*session, submit(&*session, PID, &[])).unwrap().header);
    let worker = PathBuf::from(format!("/proc/{pid}"));
    assert!(worker.exists());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                session.shutdown().unwrap();
                assert!(!worker.exists(), "the session has not ended");
            });
        }
    });
}

macro_rules! trials {
    ($($name:ident),* $(,)?) => { vec![$(Trial::test(stringify!($name), || { $name(); Ok::<(), Failed>(()) })),*] };
}

fn main() {
    serve_if_worker(program(), install);
    let trials = trials![
        sum_is_computed_in_a_worker,
        ten_thousand_small_tasks_all_come_back,
        naive_recursion_ends_on_two_workers,
        exit_in_a_task_fails_that_task_alone,
        large_result_goes_through_the_store_and_is_freed,
        references_of_a_dead_worker_are_released,
        foreign_executable_is_detected,
        other_build_is_detected,
        process_that_writes_garbage_is_killed_alone,
        process_that_ends_within_a_message_is_lost,
        max_pending_tasks_throttles_the_program,
        inline_limit_decides_what_is_stored,
        threads_of_the_program_share_the_session,
        requests_after_shutdown_fail_and_do_not_hang,
        shutdown_waits_for_the_end_in_every_thread,
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}
