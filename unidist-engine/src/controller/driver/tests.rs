//! The engine against a fake worker: messages that do not fit, and invalid ones.

use super::link::End;
use super::*;
use crate::client::pending::Slot;
use crate::controller::inbox::{InboxSender, inbox};
use crate::controller::local_store::SharedArena;
use crate::host::supervisor::SupervisorConfig;
use crate::link::channel::Channel;
use crate::link::ring::{LinkMemory, Side, Writer};
use crate::protocol::handshake::Welcome;
use crate::protocol::worker::{
    Blocks, FromWorker, MAX_RETURNS, Reply, Request, RequestId, Run, ToWorker, Value,
};
use crate::scheduler::{HostLimits, Limits};
use crate::store::arena::Arena;
use crate::store::segment::{HEADER, Segment};
use crate::store::spill::SpillSpace;
use crate::store::{Blob, Block, Place, StoredObject};
use crate::testing::call;
use std::collections::BTreeMap;
use unidist_backend::LaunchCommand;
use unidist_common::{DataId, ErrorKind, IdSource, TaskError, TaskId};

mod several_hosts;

const LIMIT: usize = 1000;

/// An engine whose workers are faked by the test.
struct Engine {
    driver: Driver,
    inbox: InboxSender,
    requests: Arc<PendingRequests>,
    ids: IdSource,
}

/// A fake worker process.
struct FakeWorker {
    process: ProcessId,
    ids: IdSource,
    memory: Arc<LinkMemory>,
    channel: Channel<FromWorker, ToWorker>,
}

impl Engine {
    /// An engine with this many workers, with a small limit for messages to them.
    fn start(workers: u32) -> (Engine, Vec<FakeWorker>) {
        Engine::start_with(workers, vec![], None)
    }

    /// An engine with this many workers and these other hosts.
    fn start_with(
        workers: u32,
        others: Vec<HostLimits>,
        hosts: Option<RemoteHosts>,
    ) -> (Engine, Vec<FakeWorker>) {
        let segment = Segment::create("unidist-test", 1 << 20).unwrap();
        let spill = SpillSpace::create(&std::env::temp_dir(), Some(1 << 20)).unwrap();
        let process = ProcessId::CONTROLLER;
        let config = SupervisorConfig {
            // The started process ends at once and is not reported: the test says who joins and who is lost.
            command: LaunchCommand { program: "/bin/true".into(), ..LaunchCommand::default() },
            segment: segment.clone(),
            spill: None,
            welcome: Welcome {
                build_id: String::new(),
                process,
                actor: false,
                log_dir: None,
                host: None,
                inline_limit: 1 << 15,
            },
            notify: Box::new(drop),
        };
        let ((inbox, receiver), requests) = (inbox(), Arc::new(PendingRequests::default()));
        let scheduler = Scheduler::new(Limits {
            hosts: std::iter::once(limits(workers as usize)).chain(others).collect(),
            cancel_grace: Duration::ZERO,
        });
        let mut driver = Driver::new(
            scheduler,
            receiver,
            Arc::new(Supervisor::start(config).unwrap()),
            LocalStore::new(
                segment.clone(),
                SharedArena::new(Arena::new(HEADER, segment.len())),
                Some(spill),
            ),
            requests.clone(),
            ClusterInfo { local_ip: String::new(), hosts: BTreeMap::new() },
            Arc::default(),
        );
        if let Some(hosts) = hosts {
            driver.set_remote_hosts(hosts);
        }
        driver.start_workers();
        let mut played = Vec::new();
        for number in 1..=workers {
            let (process, memory) = (ProcessId::new(number).unwrap(), LinkMemory::create().unwrap());
            inbox
                .send(Input::Process(ProcessEvent::Joined { process, pid: number, link: memory.clone() }))
                .unwrap();
            let channel = Channel::new(&memory, Side::Worker);
            played.push(FakeWorker { process, ids: IdSource::new(process), memory, channel });
        }
        driver.poll();
        driver.links.iter_mut().for_each(|link| match &mut link.end {
            End::Here { channel, .. } => channel.set_limit(LIMIT),
            End::There { .. } => panic!("it is on this host"),
        });
        (Engine { driver, inbox, requests, ids: IdSource::new(process) }, played)
    }

    fn submit(&self, argument: usize) -> TaskId {
        let spec = call(self.ids.reserve(1), argument);
        let id = spec.id();
        self.inbox
            .send(Input::Message(FromWorker::Request(Request::Submit { spec: Box::new(spec), caller: None })))
            .unwrap();
        id
    }

    fn get(&self, call: TaskId) -> Arc<Slot> {
        let (request, slot) = self.requests.open();
        self.inbox
            .send(Input::Message(FromWorker::Request(Request::Get {
                request,
                ids: vec![call.first_return()],
                blocks: Blocks::Nothing,
            })))
            .unwrap();
        slot
    }

    fn failure(&mut self, slot: &Slot) -> TaskError {
        self.driver.poll();
        match slot.take() {
            Some(Reply::Values(values)) => match &values[..] {
                [Value::Failed(error)] => (**error).clone(),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }

    fn is_broken(&self, process: ProcessId) -> bool {
        self.driver.links.iter().any(|link| link.process == process && link.broken)
    }

    /// The process was killed.
    fn lose(&mut self, process: ProcessId) {
        self.inbox.send(Input::Process(ProcessEvent::Lost(process, "killed".into()))).unwrap();
        self.driver.poll();
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.driver.supervisor.end();
    }
}

impl FakeWorker {
    fn run(&mut self) -> Run {
        match self.channel.receive() {
            Ok(Some(ToWorker::Run(run))) => run,
            other => panic!("{other:?}"),
        }
    }

    fn say(&mut self, message: &FromWorker) {
        self.channel.send(message).unwrap();
        self.channel.flush().unwrap();
    }

    /// Writes bytes that no worker writes.
    fn write(&self, bytes: &[u8]) {
        let mut writer: Writer = self.memory.ends(Side::Worker).0;
        assert_eq!(writer.write(bytes), Ok(bytes.len()));
    }
}

fn limits(cpus: usize) -> HostLimits {
    HostLimits {
        cpus,
        resources: BTreeMap::new(),
        address: "here".into(),
        store_memory: 1 << 30,
        max_pool: cpus,
    }
}

fn small() -> StoredObject {
    StoredObject { header: Blob::Inline(vec![7; 10].into()), buffers: vec![], borrowed: vec![] }
}

#[test]
fn suspended_call_that_was_answered_takes_its_slot_when_it_resumes() {
    let (mut engine, mut workers) = Engine::start(1);
    let task = engine.submit(10);
    engine.driver.poll();
    let worker = &mut workers[0];
    assert_eq!(worker.run().id, task);
    let (request, id) = (RequestId(1), worker.ids.reserve(1));
    worker.say(&FromWorker::Request(Request::Put { id, object: small(), views: 0 }));
    worker.say(&FromWorker::Request(Request::Get { request, ids: vec![id], blocks: Blocks::Nothing }));
    engine.driver.poll();
    // The answer is in the link when the worker says that the call waits.
    worker.say(&FromWorker::Suspended(task));
    engine.driver.poll();
    assert_eq!(engine.driver.scheduler.free_cpus(), 1.0);
    worker.say(&FromWorker::Resumed(task));
    engine.driver.poll();
    assert_eq!(engine.driver.scheduler.free_cpus(), 0.0);
    assert!(matches!(worker.channel.receive(), Ok(Some(ToWorker::Reply(..)))));
}

#[test]
fn unsendable_call_fails_alone() {
    let (mut engine, mut workers) = Engine::start(1);
    let long: Vec<_> = (0..100).map(|_| engine.submit(LIMIT)).collect();
    let short = engine.submit(10);
    engine.driver.poll();
    assert_eq!(workers[0].run().id, short, "one poll was enough");
    for id in long {
        let slot = engine.get(id);
        let error = engine.failure(&slot);
        assert_eq!((error.kind, error.function.as_str()), (ErrorKind::Encode, "big"));
        assert!(error.message.contains("more than 1000 bytes"), "{error}");
    }
    workers[0].say(&FromWorker::Done { task: short, result: Ok(vec![small()]) });
    let slot = engine.get(short);
    engine.driver.poll();
    assert!(matches!(slot.take(), Some(Reply::Values(values)) if matches!(values[..], [Value::Ready(_)])));
    assert_eq!(engine.driver.scheduler.pending_tasks(), 0);
}

#[test]
fn unsendable_reply_becomes_an_error() {
    let (mut engine, mut workers) = Engine::start(1);
    let ids: Vec<_> = (0..LIMIT / 10)
        .map(|_| {
            let id = workers[0].ids.reserve(1);
            workers[0].say(&FromWorker::Request(Request::Put { id, object: small(), views: 0 }));
            id
        })
        .collect();
    let request = RequestId(3);
    workers[0].say(&FromWorker::Request(Request::Get { request, ids: ids.clone(), blocks: Blocks::Nothing }));
    engine.driver.poll();
    match workers[0].channel.receive() {
        Ok(Some(ToWorker::Reply(RequestId(3), Reply::Failed(Error::InvalidArgument { call, message })))) => {
            assert_eq!(call, "get");
            assert!(message.contains("more than 1000 bytes"), "{message}");
        }
        other => panic!("{other:?}"),
    }
    workers[0].say(&FromWorker::Request(Request::Get {
        request,
        ids: ids[..3].to_vec(),
        blocks: Blocks::Nothing,
    }));
    engine.driver.poll();
    let reply = workers[0].channel.receive();
    assert!(matches!(reply, Ok(Some(ToWorker::Reply(_, Reply::Values(values)))) if values.len() == 3));
}

#[test]
fn call_that_its_caller_could_not_send_fails() {
    let (mut engine, mut workers) = Engine::start(1);
    let spec = call(workers[0].ids.reserve(1), 0);
    let (id, error) = (spec.returns.first, TaskError::new(ErrorKind::Encode, "too long"));
    workers[0].say(&FromWorker::Request(Request::SubmitFailed {
        spec: Box::new(spec),
        caller: None,
        error: error.clone(),
    }));
    workers[0].say(&FromWorker::Request(Request::Get {
        request: RequestId(1),
        ids: vec![id],
        blocks: Blocks::Nothing,
    }));
    engine.driver.poll();
    match workers[0].channel.receive() {
        Ok(Some(ToWorker::Reply(_, Reply::Values(values)))) => match &values[..] {
            [Value::Failed(found)] => assert_eq!((found.kind, &found.message), (error.kind, &error.message)),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

/// Has the first of two workers misbehave while each runs a call: its link is closed, its call fails, and the other
/// call is unaffected.
fn assert_expelled(misbehave: impl FnOnce(&mut FakeWorker, TaskId)) {
    let (mut engine, mut workers) = Engine::start(2);
    let calls = [engine.submit(1), engine.submit(1)];
    engine.driver.poll();
    let (first, second) = (workers[0].run().id, workers[1].run().id);
    assert!(calls.contains(&first) && calls.contains(&second) && first != second);
    misbehave(&mut workers[0], second);
    engine.driver.poll();
    assert!(engine.is_broken(workers[0].process) && !engine.is_broken(workers[1].process));
    // Nothing more is read from it.
    workers[0].channel.send(&FromWorker::Done { task: first, result: Ok(vec![small()]) }).unwrap();
    let _ = workers[0].channel.flush();
    engine.driver.poll();
    let process = workers[0].process;
    engine.lose(process);
    let slot = engine.get(first);
    assert_eq!(engine.failure(&slot).kind, ErrorKind::WorkerDied);
    workers[1].say(&FromWorker::Done { task: second, result: Ok(vec![small()]) });
    let slot = engine.get(second);
    engine.driver.poll();
    assert!(matches!(slot.take(), Some(Reply::Values(values)) if matches!(values[..], [Value::Ready(_)])));
}

#[test]
fn garbage_fails_the_link() {
    assert_expelled(|worker, _| worker.write(&[0xff; 100]));
    assert_expelled(|worker, _| worker.write(&[1, 0, 0, 0, 77]));
    assert_expelled(|worker, _| worker.write(&[0; 64]));
}

#[test]
fn impossible_ring_counters_fail_the_link() {
    assert_expelled(|worker, _| worker.memory.corrupt_counters());
}

#[test]
fn foreign_ids_and_blocks_fail_the_link() {
    let foreign = Block { offset: HEADER, len: 64 };
    let stolen = StoredObject { header: Blob::Shared(foreign), buffers: vec![], borrowed: vec![] };
    assert_expelled(|worker, _| worker.say(&FromWorker::FreeBlock(Place::Memory(foreign))));
    assert_expelled(|worker, _| {
        worker.say(&FromWorker::Request(Request::Put {
            id: worker.ids.reserve(1),
            object: stolen.clone(),
            views: 0,
        }))
    });
    assert_expelled(|worker, other| {
        worker.say(&FromWorker::Done { task: other, result: Ok(vec![stolen.clone()]) })
    });
    let theirs = IdSource::new(ProcessId::CONTROLLER);
    let error = TaskError::new(ErrorKind::Encode, "too long");
    assert_expelled(|worker, _| {
        worker.say(&FromWorker::Request(Request::Put { id: theirs.reserve(1), object: small(), views: 0 }))
    });
    assert_expelled(|worker, _| {
        worker.say(&FromWorker::Request(Request::Submit {
            spec: Box::new(call(theirs.reserve(1), 0)),
            caller: None,
        }))
    });
    let refuse = |spec, error: &TaskError| {
        FromWorker::Request(Request::SubmitFailed {
            spec: Box::new(spec),
            caller: None,
            error: error.clone(),
        })
    };
    assert_expelled(|worker, _| worker.say(&refuse(call(theirs.reserve(1), 0), &error)));
    assert_expelled(|worker, _| {
        let mut spec = call(worker.ids.reserve(1), 0);
        spec.returns.count = MAX_RETURNS + 1;
        worker.say(&refuse(spec, &error));
    });
}

#[test]
fn partial_message_is_not_read() {
    let (mut engine, mut workers) = Engine::start(1);
    let id = engine.submit(1);
    engine.driver.poll();
    assert_eq!(workers[0].run().id, id);
    workers[0].write(&[200, 0, 0, 0, 1, 2, 3]);
    engine.driver.poll();
    assert!(!engine.is_broken(workers[0].process) && !engine.driver.has_work());
    engine.lose(workers[0].process);
    let slot = engine.get(id);
    assert_eq!(engine.failure(&slot).kind, ErrorKind::WorkerDied);
}
