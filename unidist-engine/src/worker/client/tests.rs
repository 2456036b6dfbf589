//! What does not fit into a message fails by itself, and the link goes on.

use super::*;
use crate::protocol::worker::ToWorker;
use crate::store::segment::HEADER;
use crate::store::{Blob, Block};
use crate::testing::call;
use bytes::Bytes;
use unidist_common::{ErrorKind, Payload};

const LIMIT: usize = 1000;
const ME: ProcessId = match ProcessId::new(7) {
    Some(process) => process,
    None => panic!("out of range"),
};

/// A client whose messages are short, and the engine's end of its link.
fn pair() -> (Client, Channel<ToWorker, FromWorker>) {
    let memory = LinkMemory::create().unwrap();
    let engine = Channel::new(&memory, Side::Engine);
    let client = Client::new(
        ME,
        false,
        memory,
        Segment::create("unidist-test", 1 << 16).unwrap(),
        None,
        crate::store::client::INLINE_LIMIT,
    );
    client.end.channel().set_limit(LIMIT);
    (client, engine)
}

#[test]
fn a_call_that_is_too_long_becomes_one_that_fails() {
    let (client, mut engine) = pair();
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
fn a_request_that_is_too_long_fails_and_is_not_open() {
    let (client, mut engine) = pair();
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
    assert!(!client.requests().any_open());
    assert_eq!(engine.receive(), Ok(None));
}

#[test]
fn a_result_that_is_too_long_is_an_error_and_gives_its_memory_back() {
    let (client, mut engine) = pair();
    let id = client.reserve(1);
    let block = Block { offset: HEADER, len: 100 };
    let result = StoredObject {
        header: Blob::Inline(vec![0; LIMIT].into()),
        buffers: vec![Blob::Shared(block)],
        borrowed: vec![],
    };
    client.done(id, Ok(vec![result]));
    assert_eq!(engine.receive(), Ok(Some(FromWorker::GiveBack(block))));
    match engine.receive() {
        Ok(Some(FromWorker::Done(call, Err(error)))) => {
            assert_eq!((call, error.kind), (id, ErrorKind::Encode));
        }
        other => panic!("{other:?}"),
    }
    let huge = TaskError::new(ErrorKind::Failed, "x".repeat(LIMIT));
    client.done(id, Err(huge));
    assert!(
        matches!(engine.receive(), Ok(Some(FromWorker::Done(_, Err(error)))) if error.kind == ErrorKind::Encode)
    );
}

#[test]
fn an_object_of_too_many_small_parts_is_refused() {
    let (client, mut engine) = pair();
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
