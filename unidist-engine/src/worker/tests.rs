//! What does not fit into a message fails alone; the link stays open.

use super::engine_link::EngineLink;
use crate::client::{Client, Transport};
use crate::link::channel::Channel;
use crate::link::ring::{LinkMemory, Side};
use crate::protocol::worker::{FromWorker, Request, Run, ToWorker};
use crate::store::client::{INLINE_LIMIT, ObjectStore};
use crate::store::segment::{HEADER, Segment};
use crate::store::{Blob, Block, Place, StoredObject};
use crate::testing::call;
use bytes::Bytes;
use std::sync::Arc;
use unidist_backend::{Backend, CallKind};
use unidist_common::{DataId, Error, ErrorKind, Object, Payload, ProcessId, TaskError, TaskId};

const LIMIT: usize = 1000;
const ME: ProcessId = match ProcessId::new(7) {
    Some(process) => process,
    None => panic!("out of range"),
};

/// A worker's link and client whose messages are short, and the engine's end of the link.
fn connected() -> (Arc<EngineLink>, Client<EngineLink>, Channel<ToWorker, FromWorker>) {
    let memory = LinkMemory::create().unwrap();
    let engine = Channel::new(&memory, Side::Engine);
    let segment = Segment::create("unidist-test", 1 << 16).unwrap();
    let link = Arc::new(EngineLink::new(ME, false, memory, segment.clone(), INLINE_LIMIT));
    link.channel().set_limit(LIMIT);
    let store = ObjectStore::new(segment, None, link.clone(), INLINE_LIMIT);
    (link.clone(), Client::new(link, store), engine)
}

#[test]
fn stopped_worker_gives_back_what_it_has_not_started() {
    let (link, _, mut engine) = connected();
    let calls = [1, 2].map(|number| TaskId::of_first_return(DataId::new(ProcessId::CONTROLLER, number)));
    for (call, nested) in calls.into_iter().zip([false, true]) {
        engine.send(&ToWorker::Run(run(call, nested))).unwrap();
    }
    engine.send(&ToWorker::Stop).unwrap();
    engine.flush().unwrap();
    link.pump();
    match engine.receive() {
        Ok(Some(FromWorker::Retracted(mut returned))) => {
            returned.sort_unstable();
            assert_eq!(returned, calls);
        }
        other => panic!("{other:?}"),
    }
    assert!(link.is_stopping() && link.tasks.next(|_| true).is_none());
}

fn run(id: TaskId, nested: bool) -> Run {
    let (body, args, objects) = Default::default();
    let function = unidist_common::FunctionKey(1);
    Run { id, function, body, kind: CallKind::Task, args, objects, returns: 1, nested, timed: false }
}

#[test]
fn oversized_call_becomes_a_failed_call() {
    let (_, client, mut engine) = connected();
    let (long, short) = (call(client.reserve(1), LIMIT), call(client.reserve(1), 8));
    client.submit(long.clone());
    client.submit(short.clone());
    match engine.receive() {
        Ok(Some(FromWorker::Request(Request::SubmitFailed { spec, caller: None, error }))) => {
            assert_eq!((spec.returns, spec.args.len()), (long.returns, 0));
            assert_eq!((error.kind, error.function.as_str()), (ErrorKind::Encode, "big"));
            assert!(error.message.contains("more than 1000 bytes"), "{error}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(
        engine.receive(),
        Ok(Some(FromWorker::Request(Request::Submit { spec: Box::new(short), caller: None })))
    );
    assert_eq!(engine.receive(), Ok(None));
}

#[test]
fn oversized_request_fails_and_is_not_pending() {
    let (link, client, mut engine) = connected();
    let ids = vec![DataId::new(ME, 1); LIMIT / 8];
    for result in [client.get(&ids).map(drop), client.wait(&ids, 1, None).map(drop)] {
        match result {
            Err(Error::InvalidArgument { call, message }) => {
                assert!(call == "get" || call == "wait");
                assert!(message.contains("more than 1000 bytes"), "{message}");
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(!link.pending().any_open());
    assert_eq!(engine.receive(), Ok(None));
}

#[test]
fn oversized_result_becomes_an_error_and_frees_its_memory() {
    let (link, _, mut engine) = connected();
    let id = TaskId::of_first_return(link.ids().reserve(1));
    let block = Block { offset: HEADER, len: 100 };
    let result = StoredObject {
        header: Blob::Inline(vec![0; LIMIT].into()),
        buffers: vec![Blob::Shared(block)],
        borrowed: vec![],
    };
    link.report_done(id, Ok(vec![result]));
    assert_eq!(engine.receive(), Ok(Some(FromWorker::FreeBlock(Place::Memory(block)))));
    match engine.receive() {
        Ok(Some(FromWorker::Done { task: call, result: Err(error) })) => {
            assert_eq!((call, error.kind), (id, ErrorKind::Encode));
        }
        other => panic!("{other:?}"),
    }
    let huge = TaskError::new(ErrorKind::Failed, "x".repeat(LIMIT));
    link.report_done(id, Err(huge));
    assert!(matches!(
        engine.receive(),
        Ok(Some(FromWorker::Done { result: Err(error), .. })) if error.kind == ErrorKind::Encode
    ));
}

#[test]
fn object_of_too_many_small_parts_is_rejected() {
    let (_, client, mut engine) = connected();
    let buffers = vec![Bytes::from(vec![0; 10]); LIMIT / 10];
    let object = Object::from(Payload { header: Bytes::new(), buffers });
    match client.put(object) {
        Err(Error::InvalidArgument { call, message }) => {
            assert_eq!(call, "put");
            assert!(message.contains("101 parts") && message.contains("1000 bytes"), "{message}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(engine.receive(), Ok(None));
    client.put(Payload::inline(vec![1; 100]).into()).unwrap();
    assert!(matches!(engine.receive(), Ok(Some(FromWorker::Request(Request::Put { .. })))));
}
