//! The engine against fake monitors.

mod full_store;

use super::*;
use crate::link::channel::Channel;
use crate::link::raw::RawEnd;
use crate::memory_network::{Cutter, MemoryNetwork, mesh};
use crate::network::{Arrival, Network, Transfer};
use crate::protocol::handshake;
use crate::protocol::monitor::{
    FromMonitor, Greeting, GreetingReply, MessageBatch, SpillFailure, ToMonitor, unpack,
};
use crate::scheduler::{Copy, Event};
use crate::store::segment::HEADER;
use bytes::Bytes;
use unidist_backend::{StoreUsage, WritableBuffer};
use unidist_common::HeldBy;

const FIRST: HostId = HostId::new(1);
const SECOND: HostId = HostId::new(2);
const STORE: u64 = 1 << 18;

struct Session {
    engine: Engine,
    monitors: [Monitor; 2],
    cutters: Vec<Cutter>,
}

/// The fake monitor of a remote host.
struct Monitor {
    host: HostId,
    network: MemoryNetwork,
    heard: VecDeque<ToMonitor>,
    arrivals: Vec<Arrival>,
}

impl Session {
    fn start() -> Session {
        let (mut ends, cutters) = mesh(3);
        let mut monitor = |host| Monitor {
            host,
            network: ends.pop().unwrap(),
            heard: VecDeque::new(),
            arrivals: Vec::new(),
        };
        let mut monitors = [monitor(SECOND), monitor(FIRST)];
        monitors.reverse();
        let stranger = |monitor: &mut Monitor| {
            let ready =
                GreetingReply::Ready { build_id: "b".into(), segment: HEADER + STORE, spill_limit: 1 << 20 };
            monitor.network.send(HostId::CONTROLLER, handshake::encode(&ready).unwrap());
            let (greeting, _) = crate::fuzz::greetings();
            let greeting = Greeting { build_id: "b".into(), host: monitor.host, ..greeting };
            MonitorSpec {
                name: format!("node{}", monitor.host.place()),
                ip: monitor.host.to_string(),
                greeting,
            }
        };
        let monitor_specs = monitors.iter_mut().map(stranger).collect();
        let network = Box::new(ends.pop().unwrap());
        let mut hosts = RemoteHosts::new(
            network,
            2,
            Box::new(drop),
            Duration::from_millis(1),
            [Duration::from_secs(50); 2],
        );
        hosts.connect(monitor_specs).unwrap();
        for monitor in &mut monitors {
            let greeted = monitor.poll().remove(0);
            assert!(matches!(greeted, Arrival::Message(HostId::CONTROLLER, _)));
        }
        let (engine, _) = Engine::start_with(1, vec![limits(1), limits(1)], Some(hosts));
        Session { engine, monitors, cutters }
    }

    fn first(&mut self) -> &mut Monitor {
        &mut self.monitors[0]
    }

    fn poll(&mut self) {
        self.engine.driver.poll();
    }

    /// The events that follow from the monitors' messages, before the scheduler handles them.
    fn follow_up_events(&mut self) -> Vec<Event> {
        self.engine.driver.poll_network();
        self.engine.driver.follow_up_events.drain(..).collect()
    }

    /// A process of the first remote host: one that the scheduler wants, if it wants any.
    fn process(&mut self, number: u32) -> RemoteHost {
        self.poll();
        let started = self.first().find(|message| matches!(message, ToMonitor::Start { .. }));
        let process = match started {
            Some(ToMonitor::Start { process, .. }) => process,
            _ => {
                let process = ProcessId::new(number).unwrap();
                self.engine.driver.start(process, false, FIRST);
                self.poll();
                let started = self.first().next_order();
                assert_eq!(started, ToMonitor::Start { process, actor: false });
                process
            }
        };
        self.first().say(&[FromMonitor::Joined { process, pid: process.number() }]);
        self.poll();
        let memory = LinkMemory::create().unwrap();
        let channel = Channel::new(&memory, Side::Worker);
        let end = RawEnd::new(&memory, Side::Engine);
        RemoteHost { process, channel, end, ids: IdSource::new(process) }
    }

    /// The next message to the process.
    fn answer(&mut self, remote: &mut RemoteHost) -> ToWorker {
        for _ in 0..10 {
            self.poll();
            while let Some(message) =
                self.first().find(|message| matches!(message, ToMonitor::Deliver { .. }))
            {
                let ToMonitor::Deliver { process, bytes, .. } = message else { continue };
                assert_eq!(process, remote.process);
                remote.end.out().extend_from_slice(&bytes);
                remote.end.flush().unwrap();
            }
            if let Some(message) = remote.channel.receive().unwrap() {
                return message;
            }
        }
        panic!("no answer; {:?}", self.first().heard)
    }

    fn say(&mut self, remote: &mut RemoteHost, message: &FromWorker) {
        let said = remote.say(message);
        self.first().say(&[said]);
    }

    /// Has the process make an object of one block, without views.
    fn put(&mut self, remote: &mut RemoteHost, len: u64) -> (DataId, Block) {
        self.say(remote, &FromWorker::Allocate { request: RequestId(9), len });
        let block = match self.answer(remote) {
            ToWorker::Reply(RequestId(9), Reply::Allocated(Place::Memory(block))) => block,
            other => panic!("{other:?}"),
        };
        let id = remote.ids.reserve(1);
        self.say(remote, &FromWorker::Request(Request::Put { id, object: outside(&[block]), views: 0 }));
        self.poll();
        (id, block)
    }

    fn usage(&mut self) -> StoreUsage {
        self.engine.driver.store_usage(FIRST)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // Fake monitors do not answer the end of the session.
        [FIRST, SECOND].iter().for_each(|host| self.cutters[0].cut(*host));
    }
}

impl Monitor {
    fn poll(&mut self) -> Vec<Arrival> {
        self.network.poll(&mut self.arrivals);
        std::mem::take(&mut self.arrivals)
    }

    fn listen(&mut self) {
        for arrival in self.poll() {
            match arrival {
                Arrival::Message(HostId::CONTROLLER, bytes) => {
                    self.heard.extend(unpack::<ToMonitor>(&bytes).map(|message| message.unwrap()));
                }
                other => self.arrivals.push(other),
            }
        }
    }

    fn next_order(&mut self) -> ToMonitor {
        self.listen();
        self.heard.pop_front().expect("it is told something")
    }

    /// The next order but those of the scheduler's processes.
    fn next_memory_order(&mut self) -> ToMonitor {
        let told = self.find(|message| !matches!(message, ToMonitor::Start { .. }));
        told.expect("it is told something")
    }

    fn find(&mut self, wanted: impl Fn(&ToMonitor) -> bool) -> Option<ToMonitor> {
        self.listen();
        let at = self.heard.iter().position(wanted)?;
        self.heard.remove(at)
    }

    fn say(&mut self, messages: &[FromMonitor]) {
        let mut batch = MessageBatch::default();
        messages.iter().for_each(|message| batch.add(message).unwrap());
        self.network.send(HostId::CONTROLLER, batch.take().unwrap());
    }
}

/// A fake process of a remote host.
struct RemoteHost {
    process: ProcessId,
    ids: IdSource,
    channel: Channel<FromWorker, ToWorker>,
    end: RawEnd,
}

impl RemoteHost {
    fn say(&mut self, message: &FromWorker) -> FromMonitor {
        self.channel.send(message).unwrap();
        self.channel.flush().unwrap();
        let mut bytes = Vec::new();
        self.end.read(&mut bytes).unwrap();
        FromMonitor::Output { process: self.process, bytes: bytes.into(), taken: self.end.taken() }
    }
}

fn outside(blocks: &[Block]) -> StoredObject {
    let buffers = blocks.iter().map(|block| Blob::Shared(*block)).collect();
    StoredObject { header: Blob::Inline("header".into()), buffers, borrowed: vec![] }
}

#[test]
fn remote_process_is_served_like_a_local_one() {
    let mut session = Session::start();
    let mut remote = session.process(1000);
    session.say(&mut remote, &FromWorker::Cluster(RequestId(1)));
    match session.answer(&mut remote) {
        ToWorker::Reply(RequestId(1), Reply::Cluster(cluster)) => assert_eq!(cluster.local_ip, "host 1"),
        other => panic!("{other:?}"),
    }
    let (_, block) = session.put(&mut remote, 100_000);
    session.say(&mut remote, &FromWorker::StoreUsage(RequestId(2)));
    match session.answer(&mut remote) {
        ToWorker::Reply(RequestId(2), Reply::StoreUsage(usage)) => {
            assert_eq!((usage.used, usage.limit), (block.size(), STORE));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(session.engine.driver.local_store.usage().used, 0);
    // An unsealed block of a lost process is freed; its earlier messages count.
    session.say(&mut remote, &FromWorker::Allocate { request: RequestId(3), len: 64 });
    session.answer(&mut remote);
    assert_eq!(session.usage().used, block.size() + 64);
    let lost = FromMonitor::Lost { process: remote.process, why: "killed".into(), taken: u64::MAX };
    session.first().say(&[lost]);
    session.poll();
    assert!(session.usage().used <= block.size());
    assert!(session.engine.driver.links.iter().all(|link| link.host() == HostId::CONTROLLER));
}

#[test]
fn remote_process_with_invalid_messages_is_killed_alone() {
    let foreign = Block { offset: HEADER, len: 64 };
    for n in 0..3 {
        let mut session = Session::start();
        let mut remote = session.process(1000);
        let process = remote.process;
        let said = match n {
            0 => FromMonitor::Output { process, bytes: vec![0xff; 9].into(), taken: 0 },
            1 => remote.say(&FromWorker::FreeBlock(Place::Memory(foreign))),
            _ => remote.say(&FromWorker::Request(Request::Put {
                id: remote.ids.reserve(1),
                object: outside(&[foreign]),
                views: 0,
            })),
        };
        session.first().say(&[said]);
        session.poll();
        assert!(session.engine.is_broken(process));
        assert_eq!(
            session.first().find(|told| *told == ToMonitor::Kill(process)),
            Some(ToMonitor::Kill(process))
        );
        assert!(session.engine.driver.hosts.as_ref().unwrap().has(FIRST));
    }
}

#[test]
fn monitor_with_invalid_messages_is_expelled() {
    let process = ProcessId::new(77).unwrap();
    let nonsense = [
        FromMonitor::Joined { process, pid: process.number() },
        FromMonitor::Output { process, bytes: "x".into(), taken: 0 },
        FromMonitor::Lost { process, why: "why".into(), taken: 0 },
        FromMonitor::Spilled { id: DataId::new(process, 1), result: Err(SpillFailure::Full) },
        FromMonitor::Flushed,
        FromMonitor::Ended,
    ];
    for message in nonsense {
        let mut session = Session::start();
        session.process(1000);
        session.first().say(&[message, FromMonitor::Flushed]);
        session.poll();
        assert!(!session.engine.driver.hosts.as_ref().unwrap().has(FIRST));
        assert!(session.engine.driver.hosts.as_ref().unwrap().has(SECOND));
        assert_eq!(session.first().find(|told| *told == ToMonitor::End), Some(ToMonitor::End));
        let told = session.monitors[1].find(|told| *told == ToMonitor::HostLost(FIRST));
        assert_eq!(told, Some(ToMonitor::HostLost(FIRST)));
        assert!(session.engine.driver.links.iter().all(|link| link.host() != FIRST));
    }
    let mut session = Session::start();
    session.first().network.send(HostId::CONTROLLER, vec![0xff; 30]);
    session.poll();
    assert!(!session.engine.driver.hosts.as_ref().unwrap().has(FIRST));
}

/// An object of this host in two parts, one of them spilled, with their bytes.
fn local_object(session: &mut Session) -> (Arc<StoredObject>, Vec<Bytes>) {
    let local_store = &mut session.engine.driver.local_store;
    let blocks = [local_store.allocate(1000).unwrap(), local_store.allocate(5000).unwrap()];
    for (n, block) in (1..).zip(blocks) {
        local_store.writable(Place::Memory(block)).unwrap().fill(n);
    }
    let mut object = outside(&[blocks[0]]);
    let spilled = local_store.spill_for_tests(blocks[1]);
    object.buffers.push(Blob::Spilled(spilled));
    (Arc::new(object), vec![vec![1; 1000].into(), vec![2; 5000].into()])
}

fn copy(number: u64, from: HostId, to: HostId, object: Arc<StoredObject>) -> Copy {
    Copy { transfer: Transfer(number), id: DataId::new(ProcessId::CONTROLLER, 1), from, to, object }
}

#[test]
fn object_is_copied_to_a_remote_host_and_back() {
    let mut session = Session::start();
    let (object, bytes) = local_object(&mut session);
    session.engine.driver.copy(copy(1, HostId::CONTROLLER, FIRST, object.clone()));
    session.engine.driver.flush(true);
    let told = session.first().next_memory_order();
    let ToMonitor::Receive { transfer: Transfer(1), from: HostId::CONTROLLER, blocks } = told else {
        panic!("{told:?}")
    };
    let segment = Segment::create("unidist-test", STORE).unwrap();
    let memory = blocks
        .iter()
        .map(|place| Box::new(segment.writable(place.block()).unwrap()) as Box<dyn WritableBuffer>);
    session.first().network.receive_memory(HostId::CONTROLLER, Transfer(1), memory.collect());
    session.first().listen();
    assert!(session.follow_up_events().is_empty(), "the monitor has not said that it is there");
    session.first().say(&[FromMonitor::Received { transfer: Transfer(1), result: Ok(()) }]);
    let follow_up_events = session.follow_up_events();
    let [Event::Copied { transfer: Transfer(1), result: Ok(there) }] = &follow_up_events[..] else {
        panic!("{follow_up_events:?}")
    };
    assert_eq!((&there.header, there.places().collect::<Vec<_>>()), (&object.header, blocks.clone()));
    let found: Vec<_> = blocks.iter().map(|place| segment.view(place.block(), ()).unwrap()).collect();
    assert_eq!(found, bytes);

    let used = session.engine.driver.local_store.usage().used;
    session.engine.driver.copy(copy(2, FIRST, HostId::CONTROLLER, Arc::new(there.clone())));
    session.engine.driver.flush(true);
    let parts = there.external_parts().cloned().collect();
    assert_eq!(
        session.first().next_memory_order(),
        ToMonitor::Send { transfer: Transfer(2), to: HostId::CONTROLLER, parts }
    );
    session.first().network.send_memory(HostId::CONTROLLER, Transfer(2), found);
    assert!(session.follow_up_events().is_empty(), "what came may be anything");
    session.first().say(&[FromMonitor::SendStarted { transfer: Transfer(2), result: Ok(()) }]);
    let follow_up_events = session.follow_up_events();
    let [Event::Copied { transfer: Transfer(2), result: Ok(back) }] = &follow_up_events[..] else {
        panic!("{follow_up_events:?}")
    };
    let local_store = &session.engine.driver.local_store;
    let found: Vec<_> = back.external_parts().map(|part| local_store.read(part).unwrap()).collect();
    assert_eq!((found, local_store.usage().used), (bytes, used + 1024 + 5056));
}

#[test]
fn failed_copy_frees_its_blocks_after_the_last_write() {
    let mut session = Session::start();
    let (object, _) = local_object(&mut session);
    let used = session.engine.driver.local_store.usage().used;
    // The source cannot read the object.
    session.engine.driver.copy(copy(1, FIRST, SECOND, object.clone()));
    let failed = Err("bad disk".to_owned());
    session.monitors[0].say(&[FromMonitor::SendStarted { transfer: Transfer(1), result: failed }]);
    assert!(session.follow_up_events().is_empty());
    session.monitors[1].say(&[FromMonitor::Received { transfer: Transfer(1), result: Ok(()) }]);
    let follow_up_events = session.follow_up_events();
    let [Event::Copied { transfer: Transfer(1), result: Err(error) }] = &follow_up_events[..] else {
        panic!("{follow_up_events:?}")
    };
    assert!(error.kind == ErrorKind::ObjectLost && error.message.contains("bad disk"), "{error}");
    assert_eq!(session.engine.driver.store_usage(SECOND).used, 0);
    // The source is lost: only the target's report says that nothing writes to its blocks any more.
    session.engine.driver.copy(copy(2, FIRST, SECOND, object.clone()));
    session.engine.driver.copy(copy(3, FIRST, HostId::CONTROLLER, object.clone()));
    session.engine.driver.copy(copy(4, HostId::CONTROLLER, FIRST, object.clone()));
    session.cutters[0].cut(FIRST);
    let failed = |follow_up_events: Vec<Event>| {
        let failed = follow_up_events.into_iter().map(|event| match event {
            Event::Copied { transfer: Transfer(number), result: Err(_) } => number,
            other => panic!("{other:?}"),
        });
        let mut failed: Vec<_> = failed.collect();
        failed.sort_unstable();
        failed
    };
    assert_eq!(failed(session.follow_up_events()), [2, 3, 4]);
    assert_eq!(session.engine.driver.local_store.usage().used, used);
    assert_eq!(session.engine.driver.store_usage(SECOND).used, 1024 + 5056);
    session.monitors[1]
        .say(&[FromMonitor::Received { transfer: Transfer(2), result: Err("it is lost".into()) }]);
    assert!(session.follow_up_events().is_empty(), "it is known to have failed");
    assert_eq!(session.engine.driver.store_usage(SECOND).used, 0);
    // Nothing is copied to a lost host.
    session.engine.driver.copy(copy(5, HostId::CONTROLLER, FIRST, object));
    assert_eq!(failed(session.follow_up_events()), [5]);
    assert!(session.engine.driver.transfers.is_empty());
}
