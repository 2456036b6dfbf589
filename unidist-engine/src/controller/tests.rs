//! A panic in a turn of the engine ends the session as a whole.

use super::*;
use crate::testing::call;
use std::collections::BTreeMap;
use std::sync::mpsc::channel;
use std::time::Duration;
use unidist_backend::LaunchCommand;
use unidist_common::{ErrorKind, TaskId};

/// A session whose processes never answer.
fn session() -> (Arc<Controller>, Arc<Client<Controller>>) {
    let settings = ControllerSettings {
        backend: "pymp",
        cpus: 2,
        resources: BTreeMap::new(),
        object_store_memory: 1 << 20,
        spill_dir: None,
        spill_limit: Some(0),
        max_pending_tasks: None,
        max_processes: None,
        log_dir: None,
        inline_limit: 1 << 15,
        cancel_grace: Duration::from_secs(1),
        ip: "here".into(),
        launch: LaunchCommand {
            program: "/bin/sleep".into(),
            args: vec!["1000".into()],
            ..LaunchCommand::default()
        },
    };
    let (controller, client) = assemble(settings, String::new, None).unwrap();
    controller.event_loop.lock_driver().start_workers();
    (controller, Arc::new(client))
}

fn assert_failed<T: std::fmt::Debug>(result: Result<T>) {
    match result {
        Err(Error::EngineFailed { message }) => assert_eq!(message, "this panic belongs to the test"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn panic_in_a_turn_fails_all_waits_and_ends_the_processes() {
    let (controller, client) = session();
    let spec = call(client.reserve(1), 8);
    let id = TaskId::first_return(spec.id());
    client.submit(spec);
    let waiting: Vec<_> = (0..3)
        .map(|number| {
            let client = client.clone();
            std::thread::spawn(move || match number {
                0 => client.wait(&[id], 1, None).map(drop),
                _ => client.get(&[id]).map(drop),
            })
        })
        .collect();
    let (sender, outcome) = channel();
    client.on_ready(id, Box::new(move |outcome| sender.send(outcome).unwrap()));
    let is_waiting = || controller.event_loop.requests.open_count() == 4;
    while !is_waiting() {
        std::thread::yield_now();
    }
    controller.event_loop.inbox.send(Input::Panic).unwrap();
    controller.event_loop.segment.bell().ring();
    waiting.into_iter().for_each(|thread| assert_failed(thread.join().unwrap()));
    assert_eq!(outcome.recv().unwrap().unwrap_err().kind, ErrorKind::EngineFailed);
    // Later calls fail in the same way, and nothing hangs.
    let late = call(client.reserve(1), 8);
    client.submit(late.clone());
    assert_failed(client.get(&[late.id().first_return()]));
    assert_failed(client.put(unidist_common::Object::default()));
    assert_failed(client.shutdown());
    assert!(!controller.supervisor.has_processes());
}

#[test]
fn panic_in_a_turn_on_the_engines_thread_ends_the_session() {
    let (controller, client) = session();
    let spec = call(client.reserve(1), 8);
    let id = TaskId::first_return(spec.id());
    client.submit(spec);
    let (sender, outcome) = channel();
    client.on_ready(id, Box::new(move |outcome| sender.send(outcome).unwrap()));
    controller.event_loop.inbox.send(Input::Panic).unwrap();
    controller.event_loop.segment.bell().ring();
    assert_eq!(outcome.recv().unwrap().unwrap_err().kind, ErrorKind::EngineFailed);
    assert_failed(client.get(&[id]));
    assert_failed(client.shutdown());
}

#[test]
fn panic_in_a_turn_within_submit_does_not_unwind_it() {
    let (controller, client) = session();
    controller.event_loop.inbox.send(Input::Panic).unwrap();
    let spec = call(client.reserve(1), 8);
    let id = TaskId::first_return(spec.id());
    client.submit(spec);
    assert_failed(client.get(&[id]));
    assert_failed(client.shutdown());
}
