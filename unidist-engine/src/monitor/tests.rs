//! A monitor with real worker processes; the test is the controller.

use super::*;
use crate::link::channel::Relayed;
use crate::memory_network::{Cutter, MemoryNetwork, mesh};
use crate::protocol::monitor::{SpillFailure, ToMonitor, unpack};
use crate::protocol::worker::{FromWorker, Reply, Request, Run, ToWorker};
use crate::store::segment::HEADER;
use crate::store::{Blob, Block, Place, StoredObject};
use crate::worker::serve_if_worker;
use bytes::Bytes;
use std::thread::JoinHandle;
use unidist_backend::LaunchCommand;
use unidist_backend::{Backend, Call, CallKind, CallResult, Program, Progress, TaskRunner, WritableBuffer};
use unidist_common::{ActorId, Arg, DataId, FunctionKey, Object, Payload, TaskId};

/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(50);
const MONITOR: HostId = HostId::new(1);
const BUILD: &str = "monitored";

/// Returns its first argument, or its first object; sleeps if that is empty.
struct Echo;

impl TaskRunner for Echo {
    fn start(&self, call: Call) -> Option<CallResult> {
        let given = match call.args.first() {
            Some(Arg::Value(bytes)) => bytes.clone(),
            _ => call.objects[0].1.header.clone(),
        };
        if given.is_empty() {
            std::thread::sleep(LONG);
        }
        Some(Ok(vec![Object::from(Payload::inline(given))]))
    }

    fn turn(&self, _: &mut dyn FnMut(Progress)) -> bool {
        false
    }

    fn pending(&self) -> usize {
        0
    }

    fn drop_actor(&self, _: ActorId) {}
}

/// The monitors of the other tests start this test as their worker; in an ordinary run it does nothing.
#[test]
fn worker_process() {
    fn install(_: Arc<dyn Backend>) {}
    serve_if_worker(Program { runner: |_| Box::new(Echo), build_id: || BUILD.to_owned() }, install);
}

/// A monitor, and the test as its controller.
struct Session {
    network: MemoryNetwork,
    monitor: Option<JoinHandle<Result<()>>>,
    cutters: Vec<Cutter>,
    others: Vec<MemoryNetwork>,
    arrivals: Vec<Arrival>,
    heard: std::collections::VecDeque<FromMonitor>,
}

fn greeting() -> Greeting {
    let args = ["monitor::tests::worker_process", "--exact", "--test-threads=1", "--quiet"];
    let launch = LaunchCommand {
        program: "/proc/self/exe".into(),
        args: args.map(Into::into).to_vec(),
        dir: Some("/".into()),
        affinities: vec![(0..1024).collect()],
        ..LaunchCommand::default()
    };
    Greeting {
        build_id: BUILD.into(),
        host: MONITOR,
        launch,
        object_store_memory: 1 << 20,
        spill_dir: None,
        spill_limit: Some(1 << 20),
        log_dir: None,
        inline_limit: 1 << 15,
        backoff: Duration::from_micros(100),
    }
}

impl Session {
    /// The monitor's answer to a greeting, with the session.
    fn greet(greeting: &Greeting) -> (Session, GreetingReply) {
        let (mut ends, cutters) = mesh(3);
        let others = ends.split_off(2);
        let mut network = ends.pop().unwrap();
        let monitor = std::thread::spawn(move || serve(&mut network, MONITOR, BUILD));
        let mut controller = ends.pop().unwrap();
        controller.send(MONITOR, handshake::encode(greeting).unwrap());
        let mut session = Session {
            network: controller,
            monitor: Some(monitor),
            cutters,
            others,
            arrivals: Vec::new(),
            heard: Default::default(),
        };
        let words = session.wait(|arrival| match arrival {
            Arrival::Message(MONITOR, words) => Ok(words),
            other => Err(other),
        });
        let welcomed = handshake::decode(&words).unwrap();
        (session, welcomed)
    }

    fn start() -> Session {
        let (session, welcomed) = Session::greet(&greeting());
        assert!(matches!(welcomed, GreetingReply::Ready { segment, spill_limit, .. }
            if segment == HEADER + (1 << 20) && spill_limit == 1 << 20));
        session
    }

    fn wait<T>(&mut self, mut wanted: impl FnMut(Arrival) -> std::result::Result<T, Arrival>) -> T {
        let deadline = Instant::now() + LONG;
        loop {
            let mut arrivals = std::mem::take(&mut self.arrivals);
            self.network.poll(&mut arrivals);
            let mut found = None;
            for arrival in arrivals {
                match found {
                    None => match wanted(arrival) {
                        Ok(is) => found = Some(is),
                        Err(other) => self.arrivals.push(other),
                    },
                    Some(_) => self.arrivals.push(arrival),
                }
            }
            if let Some(found) = found {
                return found;
            }
            assert!(Instant::now() < deadline, "nothing comes: {:?}", self.arrivals);
            std::thread::sleep(Duration::from_micros(100));
        }
    }

    fn send(&mut self, messages: &[ToMonitor]) {
        let mut batch = MessageBatch::default();
        messages.iter().for_each(|message| batch.add(message).unwrap());
        self.network.send(MONITOR, batch.take().unwrap());
    }

    fn hear(&mut self) -> FromMonitor {
        while self.heard.is_empty() {
            let bytes = self.wait(|arrival| match arrival {
                Arrival::Message(MONITOR, bytes) => Ok(bytes),
                other => Err(other),
            });
            self.heard.extend(unpack::<FromMonitor>(&bytes).map(|message| message.unwrap()));
        }
        self.heard.pop_front().unwrap()
    }

    fn end(mut self) -> Result<()> {
        self.monitor.take().unwrap().join().unwrap()
    }

    /// Copies a block of this host's memory into the segment.
    fn fill(&mut self, transfer: Transfer, blocks: &[Block], bytes: Vec<Bytes>) {
        self.send(&[ToMonitor::Receive { transfer, from: HostId::CONTROLLER, blocks: in_memory(blocks) }]);
        self.network.send_memory(MONITOR, transfer, bytes);
        assert_eq!(self.hear(), FromMonitor::Received { transfer, result: Ok(()) });
    }

    fn fetch(&mut self, transfer: Transfer, parts: Vec<Blob>) -> Vec<Bytes> {
        let segment = Segment::create("unidist-test", 1 << 20).unwrap();
        let mut offset = HEADER;
        let blocks = parts.iter().map(|part| {
            let block = Block { offset, len: part.block().unwrap().len };
            offset += block.size();
            block
        });
        let blocks: Vec<_> = blocks.collect();
        let writable = |block: &Block| segment.writable(*block).unwrap();
        let memory = blocks.iter().map(|block| Box::new(writable(block)) as Box<dyn WritableBuffer>);
        self.network.receive_memory(MONITOR, transfer, memory.collect());
        self.send(&[ToMonitor::Send { transfer, to: HostId::CONTROLLER, parts }]);
        assert_eq!(self.hear(), FromMonitor::SendStarted { transfer, result: Ok(()) });
        self.wait(|arrival| match arrival {
            Arrival::Received(done) if done == transfer => Ok(()),
            other => Err(other),
        });
        blocks.iter().map(|block| segment.view(*block, ()).unwrap()).collect()
    }
}

/// A worker of the monitor, with the controller's end of its link.
struct Remote {
    process: ProcessId,
    channel: Relayed<ToWorker, FromWorker>,
}

impl Remote {
    fn start(session: &mut Session, number: u32) -> Remote {
        let process = ProcessId::new(number).unwrap();
        session.send(&[ToMonitor::Start { process, actor: false }]);
        let FromMonitor::Joined { process: joined, pid } = session.hear() else {
            panic!("{process} has not joined");
        };
        let command_line = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap();
        assert_eq!(joined, process);
        assert!(command_line.starts_with(&format!("unidist-worker-{number}\0")), "{command_line:?}");
        Remote { process, channel: Relayed::new() }
    }

    fn call(&mut self, session: &mut Session, id: DataId, arg: Arg, object: Option<StoredObject>) -> u64 {
        let run = Run {
            id: TaskId::of_first_return(id),
            function: FunctionKey(1),
            body: None,
            kind: CallKind::Task,
            args: vec![arg],
            objects: object.into_iter().map(|object| (id, Arc::new(object))).collect(),
            returns: 1,
            nested: false,
            timed: false,
        };
        let end = self.channel.send(&ToWorker::Run(run)).unwrap();
        self.flush(session);
        end
    }

    fn flush(&mut self, session: &mut Session) {
        let bytes = Bytes::from(self.channel.take_output());
        session.send(&[ToMonitor::Deliver { process: self.process, urgent: true, bytes }]);
    }

    fn hear(&mut self, session: &mut Session) -> FromWorker {
        loop {
            if let Some(message) = self.channel.receive().unwrap() {
                return message;
            }
            match session.hear() {
                FromMonitor::Output { process, bytes, taken } if process == self.process => {
                    self.channel.note_taken(taken);
                    self.channel.arrived(&bytes);
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

fn id(sequence: u64) -> DataId {
    DataId::new(ProcessId::CONTROLLER, sequence)
}

fn task(sequence: u64) -> TaskId {
    TaskId::of_first_return(id(sequence))
}

fn in_memory(blocks: &[Block]) -> Vec<Place> {
    blocks.iter().copied().map(Place::Memory).collect()
}

fn inline(bytes: &[u8]) -> StoredObject {
    StoredObject { header: Blob::Inline(Bytes::copy_from_slice(bytes)), buffers: vec![], borrowed: vec![] }
}

#[test]
fn process_joins_gets_calls_and_replies() {
    let mut session = Session::start();
    let mut worker = Remote::start(&mut session, 7);
    for n in 1..100u64 {
        let arg = Arg::Value(vec![n as u8; 3000].into());
        let end = worker.call(&mut session, id(n), arg, None);
        assert_eq!(
            worker.hear(&mut session),
            FromWorker::Done { task: task(n), result: Ok(vec![inline(&[n as u8; 3000])]) }
        );
        assert_eq!(worker.channel.taken(), end);
    }
    // Messages longer than a ring are split and joined again, both ways.
    let long: Vec<_> = (0..40).map(|n| Arg::Value(vec![n; 30_000].into())).collect();
    for (n, arg) in (200..).zip(&long) {
        worker.call(&mut session, id(n), arg.clone(), None);
    }
    for (n, _) in (200..).zip(&long) {
        let wanted = inline(&[(n - 200) as u8; 30_000]);
        assert_eq!(worker.hear(&mut session), FromWorker::Done { task: task(n), result: Ok(vec![wanted]) });
    }
    session.send(&[ToMonitor::Flush]);
    assert_eq!(session.hear(), FromMonitor::Flushed);
    session.send(&[ToMonitor::End]);
    match session.hear() {
        FromMonitor::Ended => {}
        FromMonitor::Lost { process, .. } => assert_eq!(process, worker.process),
        other => panic!("{other:?}"),
    }
    assert!(session.end().is_ok());
}

#[test]
fn killed_process_is_lost_with_what_it_had_read() {
    let mut session = Session::start();
    let mut worker = Remote::start(&mut session, 3);
    let seen = worker.call(&mut session, id(1), Arg::Value(b"seen".as_slice().into()), None);
    worker.hear(&mut session);
    // The worker sleeps in this call, and the calls after it do not fit into its ring.
    let naps = worker.call(&mut session, id(2), Arg::Value(Bytes::new()), None);
    for n in 3..40 {
        worker.call(&mut session, id(n), Arg::Value(vec![1; 30_000].into()), None);
    }
    std::thread::sleep(Duration::from_millis(200));
    session.send(&[ToMonitor::Kill(worker.process)]);
    let FromMonitor::Lost { process, why, taken } = session.hear() else { panic!("it is lost") };
    assert!(process == worker.process && why.contains("signal: 9"), "{why}");
    worker.channel.note_taken(taken);
    assert!(taken == worker.channel.taken() && taken >= naps.max(seen), "{taken}");
    // Messages to the lost process are dropped, and another one can start.
    worker.call(&mut session, id(50), Arg::Value(b"late".as_slice().into()), None);
    Remote::start(&mut session, 4);
}

#[test]
fn memory_is_received_sent_and_spilled() {
    let mut session = Session::start();
    let blocks = [(HEADER, 100_000), (HEADER + (1 << 17), 50_000)];
    let blocks = blocks.map(|(offset, len)| Block { offset, len });
    let parts = [Bytes::from(vec![1; 100_000]), Bytes::from(vec![2; 50_000])];
    session.fill(Transfer(1), &blocks, parts.to_vec());
    session.send(&[ToMonitor::Spill { id: id(1), blocks: vec![blocks[1]] }]);
    let FromMonitor::Spilled { result: Ok(spilled), .. } = session.hear() else { panic!("it is spilled") };
    assert_eq!((spilled.len(), spilled[0].len), (1, 50_000));
    let both = vec![Blob::Shared(blocks[0]), Blob::Spilled(spilled[0])];
    assert_eq!(session.fetch(Transfer(2), both.clone()), parts);
    // A worker on that host reads it in place.
    let mut worker = Remote::start(&mut session, 1);
    let object = StoredObject { header: both[1].clone(), buffers: vec![], borrowed: vec![] };
    worker.call(&mut session, id(2), Arg::Ref(id(2)), Some(object));
    let mut answer = worker.hear(&mut session);
    // It asks for a block for its result.
    while let FromWorker::Request(Request::PinView(_) | Request::UnpinView(_)) = answer {
        answer = worker.hear(&mut session);
    }
    let FromWorker::Allocate { request, len: 50_000 } = answer else { panic!("{answer:?}") };
    session.send(&[ToMonitor::Reserve { ticket: 1, lens: vec![50_000, 100_000] }]);
    let reserved = loop {
        match session.hear() {
            FromMonitor::Output { .. } => {}
            FromMonitor::Reserved { ticket: 1, result: Ok(blocks) } => break blocks,
            other => panic!("{other:?}"),
        }
    };
    let block = reserved[0];
    worker.channel.send(&ToWorker::Reply(request, Reply::Allocated(Place::Disk(block)))).unwrap();
    worker.flush(&mut session);
    let answer = loop {
        match worker.hear(&mut session) {
            FromWorker::Request(Request::PinView(_) | Request::UnpinView(_)) => {}
            other => break other,
        }
    };
    let result = StoredObject { header: Blob::Spilled(block), buffers: vec![], borrowed: vec![] };
    assert_eq!(answer, FromWorker::Done { task: task(2), result: Ok(vec![result]) });
    assert_eq!(session.fetch(Transfer(3), vec![Blob::Spilled(block)]), [parts[1].clone()]);
    // A transfer may end on disk, too.
    let (transfer, to) = (Transfer(4), Place::Disk(reserved[1]));
    session.send(&[ToMonitor::Receive { transfer, from: HostId::CONTROLLER, blocks: vec![to] }]);
    session.network.send_memory(MONITOR, transfer, vec![parts[0].clone()]);
    loop {
        match session.hear() {
            FromMonitor::Output { .. } => {}
            other => break assert_eq!(other, FromMonitor::Received { transfer, result: Ok(()) }),
        }
    }
    assert_eq!(session.fetch(Transfer(5), vec![to.into()]), [parts[0].clone()]);
    // More than the spill file may hold.
    session.send(&[
        ToMonitor::FreeSpilled(spilled[0]),
        ToMonitor::FreeSpilled(reserved[0]),
        ToMonitor::FreeSpilled(reserved[1]),
        ToMonitor::Spill { id: id(3), blocks: vec![blocks[0]; 11] },
    ]);
    loop {
        match session.hear() {
            FromMonitor::Output { .. } => {}
            other => {
                break assert_eq!(other, FromMonitor::Spilled { id: id(3), result: Err(SpillFailure::Full) });
            }
        }
    }
}

#[test]
fn transfer_from_a_lost_host_ends() {
    let mut session = Session::start();
    let block = Block { offset: HEADER, len: 100 };
    session.send(&[
        ToMonitor::Receive { transfer: Transfer(1), from: HostId::new(2), blocks: in_memory(&[block]) },
        ToMonitor::Receive { transfer: Transfer(2), from: HostId::CONTROLLER, blocks: in_memory(&[block]) },
        ToMonitor::HostLost(HostId::new(2)),
    ]);
    let heard = session.hear();
    assert!(matches!(heard, FromMonitor::Received { transfer: Transfer(1), result: Err(_) }), "{heard:?}");
    session.network.send_memory(MONITOR, Transfer(2), vec![vec![1; 100].into()]);
    assert_eq!(session.hear(), FromMonitor::Received { transfer: Transfer(2), result: Ok(()) });
    assert_eq!(session.others.len(), 1);
}

#[test]
fn monitor_ends_with_its_processes_when_the_controller_is_lost() {
    let mut session = Session::start();
    let mut worker = Remote::start(&mut session, 1);
    worker.call(&mut session, id(1), Arg::Value(Bytes::new()), None);
    session.cutters[1].cut(HostId::CONTROLLER);
    let error = session.end().unwrap_err();
    assert!(error.to_string().contains("the cable was cut"), "{error}");
}

#[test]
fn invalid_message_ends_the_monitor() {
    for message in [
        ToMonitor::Receive {
            transfer: Transfer(1),
            from: HostId::CONTROLLER,
            blocks: in_memory(&[Block { offset: 0, len: 8 }]),
        },
        ToMonitor::Send {
            transfer: Transfer(1),
            to: HostId::CONTROLLER,
            parts: vec![Blob::Inline(Bytes::new())],
        },
    ] {
        let mut session = Session::start();
        session.send(&[message]);
        assert!(session.end().is_err());
    }
    let mut session = Session::start();
    session.network.send(MONITOR, vec![0xff; 20]);
    assert!(session.end().is_err());
}

#[test]
fn host_that_cannot_join_reports_why() {
    let refused = |greeting: &Greeting| {
        let (session, welcomed) = Session::greet(greeting);
        assert!(session.end().is_err());
        match welcomed {
            GreetingReply::Refused(error) => error.to_string(),
            other => panic!("{other:?}"),
        }
    };
    let why = refused(&Greeting { build_id: "another".into(), ..greeting() });
    assert!(why.contains("different builds"), "{why}");
    let why = refused(&Greeting { host: HostId::new(2), ..greeting() });
    assert!(why.contains("host 1"), "{why}");
    let why = refused(&Greeting { spill_dir: Some("/no/such/folder".into()), ..greeting() });
    assert!(why.contains("/no/such/folder"), "{why}");
}
