//! The fuzz targets (`cargo xtask fuzz`): each function takes arbitrary bytes and panics if a property does not hold.

use crate::network::{HostId, Transfer};
use crate::protocol::handshake;
use crate::protocol::monitor::{FromMonitor, Greeting, GreetingReply, SpillFailure, ToMonitor};
use crate::protocol::wire::{self, MAX_MESSAGE_LEN};
use crate::protocol::worker::{Blocks, FromWorker, Reply, Request, RequestId, Run, ToWorker, Value};
use crate::store::{Blob, Block, Place, StoredObject};
use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;
use unidist_backend::LaunchCommand;
use unidist_backend::{
    CallKind, CallStatus, ClusterInfo, Live, LiveKind, NamedActor, StoreUsage, Which, WorkerInfo,
};
use unidist_common::{
    ActorId, Arg, DataId, Error, ErrorKind, FunctionKey, GroupId, GroupSpec, Object, Part, Payload,
    ProcessId, Returns, Target, TaskError, TaskId, TaskOptions, TaskSpec, codec,
};

/// The targets, by name, each with examples of valid input.
pub fn targets() -> [(&'static str, Vec<Vec<u8>>); 3] {
    [("codec", values()), ("handshake", handshake::examples()), ("messages", message_streams())]
}

/// A stream of messages. The first byte selects the direction: to or from a worker, to or from a monitor. Every message
/// that is decoded can be encoded again.
pub fn messages(bytes: &[u8]) {
    match bytes.split_first() {
        Some((0, stream)) => stream_of::<ToWorker>(stream),
        Some((1, stream)) => stream_of::<FromWorker>(stream),
        Some((2, stream)) => stream_of::<ToMonitor>(stream),
        Some((3, stream)) => stream_of::<FromMonitor>(stream),
        _ => {}
    }
}

fn stream_of<M: Serialize + DeserializeOwned>(mut stream: &[u8]) {
    while let Ok(Some((body, used))) = wire::split(stream) {
        assert!(body.len() < used && used <= stream.len());
        if let Ok(message) = wire::decode::<M>(body) {
            let mut frame = Vec::new();
            assert_eq!(wire::append(&message, MAX_MESSAGE_LEN, &mut frame), Ok(()));
            assert_eq!(frame.len(), used, "the encoding of a value has one length");
            assert_same(&message, &wire::decode::<M>(&frame[4..]));
        }
        stream = &stream[used..];
    }
}

/// Compares the encodings, because NaN does not equal itself.
fn assert_same<M: Serialize, E>(message: &M, again: &Result<M, E>) {
    let encoded = again.as_ref().ok().map(codec::encode);
    assert_eq!(encoded, Some(codec::encode(message)), "decoded, encoded and decoded");
}

/// The messages of a handshake.
pub fn handshake(bytes: &[u8]) {
    handshake::decode_anything(bytes);
}

/// An encoded value. The first byte selects its type. Every value that is decoded can be encoded again.
pub fn codec(bytes: &[u8]) {
    let Some((kind, bytes)) = bytes.split_first() else { return };
    match kind % 11 {
        0 => value::<Vec<String>>(bytes),
        1 => value::<BTreeMap<String, Option<f64>>>(bytes),
        2 => value::<(u8, i128, char, bool, [u16; 3])>(bytes),
        3 => value::<Vec<Vec<u64>>>(bytes),
        4 => value::<TaskError>(bytes),
        5 => value::<Error>(bytes),
        6 => value::<TaskSpec>(bytes),
        7 => value::<Object>(bytes),
        8 => value::<Numbers>(bytes),
        9 => value_in_parts(bytes),
        _ => value::<Result<Box<str>, Option<Vec<(u8, String)>>>>(bytes),
    }
}

/// Sequences that are copied as a whole.
type Numbers = (Vec<f32>, Vec<Vec<u16>>, Option<Vec<bool>>, Vec<i128>);

/// An encoded value of which parts are held beside it. The first byte is the length of the encoding, the second one that of
/// each part. Each part is given once, so that the value has no more bytes than these.
fn value_in_parts(bytes: &[u8]) {
    let [header, part, rest @ ..] = bytes else { return };
    let (header, parts) = rest.split_at(usize::from(*header).min(rest.len()));
    let parts: Vec<&[u8]> = parts.chunks(usize::from(*part).max(1)).collect();
    let given = Cell::new(0);
    let held = |index: u32| {
        let next = given.replace(given.get() + 1);
        (index == next).then(|| parts.get(index as usize).copied()).flatten()
    };
    let decoded = codec::decode_with::<(Numbers, String, VecDeque<u32>)>(header, &held);
    let Ok(value) = decoded else { return };
    let encoded = codec::encode(&value);
    assert!(encoded.as_ref().is_ok_and(|again| again.len() <= rest.len()), "{encoded:?}");
    assert_same(&value, &encoded.and_then(|bytes| codec::decode(&bytes)));
}

fn value<T: Serialize + DeserializeOwned>(bytes: &[u8]) {
    let Ok(value) = codec::decode::<T>(bytes) else { return };
    let encoded = codec::encode(&value);
    assert!(encoded.as_ref().is_ok_and(|again| again.len() <= bytes.len()), "{encoded:?}");
    let again = encoded.and_then(|bytes| codec::decode::<T>(&bytes));
    assert_same(&value, &again);
}

fn values() -> Vec<Vec<u8>> {
    let map = BTreeMap::from([("a".to_owned(), Some(1.5)), ("b".to_owned(), None)]);
    let object = Object::from(Payload { header: "header".into(), buffers: vec!["buffer".into()] });
    let last: Result<Box<str>, Option<Vec<(u8, String)>>> = Err(Some(vec![(1, "one".into())]));
    let encoded = [
        codec::encode(&vec!["one", "", "three"]),
        codec::encode(&map),
        codec::encode(&(1u8, -2i128, 'ß', true, [1u16, 2, 3])),
        codec::encode(&vec![vec![1u64, 2], vec![]]),
        codec::encode(&error()),
        codec::encode(&Error::from(error())),
        codec::encode(&spec()),
        codec::encode(&object),
        codec::encode(&numbers()),
        in_parts(),
        codec::encode(&last),
    ];
    let encoded = (0u8..).zip(encoded);
    encoded.filter_map(|(kind, value)| Some([&[kind][..], &value.ok()?].concat())).collect()
}

fn numbers() -> Numbers {
    (vec![0.5, -1.0], vec![vec![1, 2], vec![]], Some(vec![true, false]), vec![-1])
}

/// The encoding of three values, where the numbers of the last one are held beside it.
fn in_parts() -> Result<Bytes, codec::CodecError> {
    let encoded = codec::encode(&(numbers(), "text"))?;
    let held = [&(2_u64 | 1 << 63).to_le_bytes()[..], &0_u32.to_le_bytes()].concat();
    let lengths = [encoded.len() + held.len(), 8].map(|len| len as u8);
    Ok([&lengths[..], &encoded, &held, &[1, 0, 0, 0, 2, 0, 0, 0]].concat().into())
}

fn message_streams() -> Vec<Vec<u8>> {
    let (to, from) = (to_worker(), from_worker());
    let (to_monitor, from_monitor) = (to_monitor(), from_monitor());
    let streams = [stream(0, &to), stream(1, &from), stream(2, &to_monitor), stream(3, &from_monitor)];
    let to = to.into_iter().map(|message| stream(0, &[message]));
    let from = from.into_iter().map(|message| stream(1, &[message]));
    let to_monitor = to_monitor.into_iter().map(|message| stream(2, &[message]));
    let from_monitor = from_monitor.into_iter().map(|message| stream(3, &[message]));
    streams.into_iter().chain(to).chain(from).chain(to_monitor).chain(from_monitor).collect()
}

fn stream<M: Serialize>(direction: u8, messages: &[M]) -> Vec<u8> {
    let mut bytes = vec![direction];
    for message in messages {
        // A message that cannot be encoded is left out.
        let _ = wire::append(message, MAX_MESSAGE_LEN, &mut bytes);
    }
    bytes
}

/// Every kind of message to a worker.
pub(crate) fn to_worker() -> Vec<ToWorker> {
    let id = DataId::new(ProcessId::CONTROLLER, 1);
    let run = Run {
        id: TaskId::of_first_return(id),
        function: FunctionKey(7),
        body: Some("body".into()),
        kind: CallKind::NewActor { max_concurrency: Some(2) },
        args: spec().args,
        objects: vec![(id, Arc::new(object()))],
        returns: 1,
        nested: true,
        timed: true,
    };
    let request = RequestId(3);
    let host = BTreeMap::from([("CPU".to_owned(), 2.0)]);
    let cluster =
        ClusterInfo { local_ip: "127.0.0.1".into(), hosts: BTreeMap::from([("127.0.0.1".to_owned(), host)]) };
    let values = vec![Value::Ready(Arc::new(object())), Value::Failed(Arc::new(error()))];
    let replies = [
        Reply::Values(values),
        Reply::Ready(vec![0, 2]),
        Reply::Allocated(Place::Memory(Block { offset: 4096, len: 100 })),
        Reply::Cluster(cluster),
        Reply::Count(5),
        Reply::Settled(vec![DataId::new(ProcessId::CONTROLLER, 1)]),
        Reply::Status(vec![
            CallStatus::Waiting,
            CallStatus::Running(ProcessId::CONTROLLER),
            CallStatus::Ended,
        ]),
        Reply::Workers(vec![WorkerInfo::new(ProcessId::CONTROLLER, "127.0.0.1", 4711)]),
        Reply::Actor(Some(NamedActor {
            handle: DataId::new(ProcessId::CONTROLLER, 1),
            constructor: FunctionKey(1),
        })),
        Reply::Live(vec![Live {
            id: DataId::new(ProcessId::CONTROLLER, 1),
            kind: LiveKind::Call,
            name: "name".to_owned(),
        }]),
        Reply::StoreUsage(StoreUsage::in_memory(1, 2)),
        Reply::Failed(Error::system("test", "failed")),
    ];
    let mut messages = vec![
        ToWorker::Run(Run { kind: CallKind::Task, body: None, nested: false, ..run.clone() }),
        ToWorker::Run(Run { kind: CallKind::Method { actor: ActorId::of_handle(id) }, ..run.clone() }),
        ToWorker::Run(run),
        ToWorker::RetractTasks(vec![TaskId::of_first_return(id), TaskId::of_first_return(id.nth(1))]),
        ToWorker::Stop,
    ];
    messages.extend(replies.map(|reply| ToWorker::Reply(request, reply)));
    messages
}

/// Every kind of message from a worker.
pub(crate) fn from_worker() -> Vec<FromWorker> {
    let (task, id, request) = (spec().id(), spec().returns.first, RequestId(3));
    let requests = [
        Request::Submit { spec: Box::new(spec()), caller: Some(task) },
        Request::SubmitFailed { spec: Box::new(spec()), caller: None, error: error() },
        Request::Put { id, object: object(), views: 1 },
        Request::PinView(id),
        Request::UnpinView(id),
        Request::Get { request, ids: vec![id], blocks: Blocks::Call { call: task, can_nest: true } },
        Request::Wait { request, ids: vec![id, id.nth(1)], count: 1, timed: true, blocks: Blocks::Thread },
        Request::Expire { request },
        Request::Retain(id),
        Request::Release(id),
        Request::LiveObjects { request },
        Request::Live { request, at_most: 20 },
        Request::Cancel { request, ids: vec![id], which: Which::Unstarted },
        Request::Status { request, ids: vec![id] },
        Request::Workers { request, at_least: 2 },
        Request::EndWorker { request, worker: ProcessId::CONTROLLER },
        Request::Watch { watch: request, ids: vec![id, id.nth(1)] },
        Request::Next { request, watch: RequestId(2), timed: true, blocks: Blocks::Nothing },
        Request::Unwatch { watch: request },
        Request::FindActor { request, name: "name".to_owned() },
    ];
    let mut messages = vec![
        FromWorker::Done { task, result: Ok(vec![object(), object()]) },
        FromWorker::Done { task, result: Err(error()) },
        FromWorker::Retracted(vec![task]),
        FromWorker::Suspended(task),
        FromWorker::Resumed(task),
        FromWorker::Allocate { request, len: 1 << 20 },
        FromWorker::FreeBlock(Place::Disk(Block { offset: 4096, len: 64 })),
        FromWorker::Cluster(request),
        FromWorker::StoreUsage(request),
    ];
    messages.extend(requests.map(FromWorker::Request));
    messages
}

/// Every kind of message to a monitor.
pub(crate) fn to_monitor() -> Vec<ToMonitor> {
    let (process, transfer, host) = (ProcessId::CONTROLLER, Transfer(3), HostId::new(2));
    let block = Block { offset: 4096, len: 100_000 };
    vec![
        ToMonitor::Start { process, actor: true },
        ToMonitor::Deliver { process, urgent: true, bytes: "bytes".into() },
        ToMonitor::Kill(process),
        ToMonitor::Send { transfer, to: host, parts: vec![Blob::Shared(block), Blob::Spilled(block)] },
        ToMonitor::Receive { transfer, from: host, blocks: vec![Place::Memory(block), Place::Disk(block)] },
        ToMonitor::Reserve { ticket: 3, lens: vec![100, 200] },
        ToMonitor::Spill { id: spec().returns.first, blocks: vec![block, block] },
        ToMonitor::FreeSpilled(block),
        ToMonitor::Flush,
        ToMonitor::HostLost(host),
        ToMonitor::End,
    ]
}

/// Every kind of message from a monitor.
pub(crate) fn from_monitor() -> Vec<FromMonitor> {
    let (process, transfer, id) = (ProcessId::CONTROLLER, Transfer(3), spec().returns.first);
    let block = Block { offset: 4096, len: 100_000 };
    vec![
        FromMonitor::Joined { process, pid: 4711 },
        FromMonitor::Lost { process, why: "why".into(), taken: 7 },
        FromMonitor::Output { process, bytes: "bytes".into(), taken: 7 },
        FromMonitor::SendStarted { transfer, result: Ok(()) },
        FromMonitor::Received { transfer, result: Err("why".into()) },
        FromMonitor::Stuck(transfer),
        FromMonitor::Reserved { ticket: 3, result: Ok(vec![block, block]) },
        FromMonitor::Spilled { id, result: Ok(vec![block]) },
        FromMonitor::Spilled { id, result: Err(SpillFailure::Full) },
        FromMonitor::Spilled { id, result: Err(SpillFailure::System("why".into())) },
        FromMonitor::Flushed,
        FromMonitor::Ended,
    ]
}

/// The first messages of the controller and a monitor.
pub(crate) fn greetings() -> (Greeting, [GreetingReply; 2]) {
    let launch = LaunchCommand {
        program: "/proc/self/exe".into(),
        args: vec!["argument".into()],
        envs: vec![("NAME".into(), "value".into())],
        dropped_env_prefixes: vec!["OMPI_".into()],
        dir: Some("folder".into()),
        affinities: vec![vec![0, 1], vec![2]],
    };
    let greeting = Greeting {
        build_id: "build".into(),
        host: HostId::new(1),
        launch,
        object_store_memory: 1 << 30,
        spill_dir: Some("folder".into()),
        spill_limit: None,
        log_dir: None,
        inline_limit: 1 << 15,
        backoff: Duration::from_millis(1),
    };
    let ready = GreetingReply::Ready { build_id: "build".into(), segment: 1 << 30, spill_limit: 1 << 40 };
    (greeting, [ready, GreetingReply::Refused(Error::system("test", "failed"))])
}

fn error() -> TaskError {
    let cause =
        TaskError::new(ErrorKind::Panicked, "cause").on_worker("worker 1").with_payload(&(1u8, "why"));
    TaskError::new(ErrorKind::DependencyFailed, "message").of_function("function").because(cause)
}

fn object() -> StoredObject {
    let block = Block { offset: 4096, len: 100_000 };
    StoredObject {
        header: Blob::Inline("header".into()),
        buffers: vec![Blob::Shared(block), Blob::Spilled(block), Blob::Inline("buffer".into())],
        borrowed: vec![DataId::new(ProcessId::CONTROLLER, 9)],
    }
}

fn spec() -> TaskSpec {
    let id = DataId::new(ProcessId::CONTROLLER, 4);
    let options = TaskOptions {
        num_cpus: Some(0.5),
        resources: vec![("gpu".into(), 1.0)],
        memory: Some(1 << 30),
        name: Some("name".into()),
        max_retries: Some(1),
        priority: Some(-1),
        max_concurrency: None,
        max_restarts: Some(2),
        timeout: Some(Duration::from_secs(2)),
        worker: ProcessId::new(3),
        group: Some(GroupSpec { id: GroupId::of_reserved(id), limit: NonZeroU32::new(2) }),
    };
    let parts = Arg::Parts(vec![Part::Bytes("part".into()), Part::Ref(id)]);
    TaskSpec {
        function: FunctionKey(8),
        body: None,
        name: "function".into(),
        target: Target::Actor(ActorId::of_handle(id)),
        asynchronous: true,
        args: vec![Arg::Value("value".into()), Arg::Ref(id), Arg::List(vec![id]), parts],
        dependencies: vec![id],
        borrowed: vec![id.nth(1)],
        returns: Returns { first: id.nth(2), count: 2 },
        options: Arc::new(options),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_are_decoded() {
        let decode = |stream: Vec<u8>| {
            let (body, used) = wire::split(&stream[1..]).unwrap().unwrap();
            assert_eq!(used, stream.len() - 1);
            match stream[0] {
                0 => wire::decode::<ToWorker>(body).map(drop),
                1 => wire::decode::<FromWorker>(body).map(drop),
                2 => wire::decode::<ToMonitor>(body).map(drop),
                _ => wire::decode::<FromMonitor>(body).map(drop),
            }
        };
        for message in message_streams().into_iter().skip(4) {
            assert_eq!(decode(message), Ok(()));
        }
        for (name, examples) in targets() {
            assert!(examples.len() >= 4, "{name}");
            for example in examples {
                match name {
                    "codec" => codec(&example),
                    "handshake" => handshake(&example),
                    _ => messages(&example),
                }
            }
        }
    }
}
