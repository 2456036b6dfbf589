//! Parts of the engine by themselves, without processes, for micro-benchmarks.

use crate::protocol::wire;
use crate::protocol::worker::{FromWorker, Request, Run, ToWorker};
use crate::scheduler::{Action, Event, HostLimits, Limits, Scheduler};
use crate::store::arena::Arena;
use crate::store::{Blob, Block, StoredObject};
use bytes::Bytes;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use unidist_backend::CallKind;
use unidist_common::{Arg, DataId, FunctionKey, ProcessId, Returns, Target, TaskId, TaskSpec};

/// The number of events that a loaded engine handles before it dispatches calls.
const EVENTS_PER_TURN: usize = 256;

/// A message of a link.
#[derive(Debug)]
pub struct Message(Direction);

#[derive(Debug)]
enum Direction {
    Down(ToWorker),
    Up(FromWorker),
}

/// The messages of a small call, by name: the request, the call and its result.
pub fn messages() -> Vec<(&'static str, Message)> {
    let spec = call(1, vec![Arg::Value(Bytes::from_static(&[7; 8]))]);
    let run = Run {
        id: spec.id(),
        function: spec.function,
        body: None,
        kind: CallKind::Task,
        args: spec.args.clone(),
        objects: Vec::new(),
        returns: 1,
        nested: false,
        timed: false,
    };
    let id = spec.id();
    vec![
        (
            "submit",
            Message(Direction::Up(FromWorker::Request(Request::Submit {
                spec: Box::new(spec),
                caller: None,
            }))),
        ),
        ("run", Message(Direction::Down(ToWorker::Run(run)))),
        ("done", Message(Direction::Up(FromWorker::Done { task: id, result: Ok(vec![result()]) }))),
    ]
}

impl Message {
    /// Appends the message in the format of a ring.
    ///
    /// # Errors
    ///
    /// The message cannot be encoded.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), String> {
        let encoded = match &self.0 {
            Direction::Down(message) => wire::append(message, wire::MAX_MESSAGE_LEN, out),
            Direction::Up(message) => wire::append(message, wire::MAX_MESSAGE_LEN, out),
        };
        encoded.map_err(|error| error.to_string())
    }

    /// Reads a message in the same direction as this one.
    ///
    /// # Errors
    ///
    /// The bytes are not such a message.
    pub fn decode(&self, bytes: &[u8]) -> Result<Message, String> {
        let split = wire::split(bytes).map_err(|error| error.to_string())?;
        let (body, _) = split.ok_or("the message is cut off")?;
        let decoded = match &self.0 {
            Direction::Down(_) => wire::decode(body).map(Direction::Down),
            Direction::Up(_) => wire::decode(body).map(Direction::Up),
        };
        decoded.map(Message).map_err(|error| error.to_string())
    }
}

/// The allocator of the store, without memory.
#[derive(Debug)]
pub struct Ranges(Arena);

/// An allocation of [`Ranges`].
#[derive(Clone, Copy, Debug)]
pub struct Range(Block);

impl Ranges {
    /// `len` bytes, all of them free.
    pub fn new(len: u64) -> Ranges {
        Ranges(Arena::new(0, len))
    }

    /// Allocates a range of this length, if one is free.
    pub fn allocate(&mut self, len: u64) -> Option<Range> {
        self.0.allocate(len).map(Range)
    }

    /// Frees a range; false if it is not in use.
    pub fn free(&mut self, range: Range) -> bool {
        self.0.free(range.0)
    }
}

/// The scheduler of a session with simulated workers, which complete each call at once.
#[derive(Debug)]
pub struct Reactor {
    scheduler: Scheduler,
    actions: Vec<Action>,
    sent: VecDeque<(ProcessId, TaskId)>,
    replies: usize,
}

/// Calls that can be submitted to a [`Reactor`].
#[derive(Debug)]
pub struct Calls(Vec<Request>);

impl Calls {
    /// `count` calls of a function without arguments.
    pub fn new(count: usize) -> Calls {
        let submit = |number| Request::Submit { spec: Box::new(call(number, Vec::new())), caller: None };
        Calls((1..=count as u64).map(submit).collect())
    }
}

impl Reactor {
    /// A session with this number of workers.
    pub fn new(workers: usize) -> Reactor {
        let limits = Limits {
            hosts: vec![HostLimits {
                cpus: workers,
                resources: BTreeMap::new(),
                address: "here".into(),
                store_memory: 1 << 30,
                max_pool: workers,
            }],
            cancel_grace: Duration::ZERO,
        };
        let mut reactor = Reactor {
            scheduler: Scheduler::new(limits),
            actions: Vec::new(),
            sent: VecDeque::new(),
            replies: 0,
        };
        reactor.scheduler.start_workers(&mut reactor.actions);
        let starting: Vec<_> = reactor.actions.drain(..).collect();
        for action in starting {
            if let Action::StartProcess { process, .. } = action {
                reactor
                    .scheduler
                    .handle(Event::Joined { process, pid: process.number() }, &mut reactor.actions);
            }
        }
        reactor
    }

    /// Submits all calls, then completes them and releases their results. Returns the number of events, three for each
    /// call.
    pub fn run(&mut self, calls: Calls) -> usize {
        let ids = (1..=calls.0.len() as u64).map(|number| DataId::new(ProcessId::CONTROLLER, number));
        let request = |request| Event::Request { process: ProcessId::CONTROLLER, request };
        let mut events = self.feed(calls.0.into_iter().map(request));
        while !self.sent.is_empty() {
            let sent: Vec<_> = self.sent.drain(..).collect();
            let done = sent.into_iter().map(|(process, id)| Event::Done {
                process,
                task: id,
                result: Ok(vec![result()]),
            });
            events += self.feed(done);
        }
        events + self.feed(ids.map(|id| request(Request::Release(id))))
    }

    /// Whether no calls and replies are left.
    pub fn is_empty(&self) -> bool {
        self.scheduler.pending_tasks() == 0 && self.replies == 0
    }

    /// Handles events turn by turn, like the engine.
    fn feed(&mut self, events: impl Iterator<Item = Event>) -> usize {
        let mut count = 0;
        for event in events {
            self.scheduler.handle(event, &mut self.actions);
            count += 1;
            if count % EVENTS_PER_TURN == 0 {
                self.turn();
            }
        }
        self.turn();
        count
    }

    fn turn(&mut self) {
        self.scheduler.dispatch_into(&mut self.actions);
        for action in self.actions.drain(..) {
            match action {
                Action::Run { process, run } => self.sent.push_back((process, run.id)),
                Action::Reply { .. } => self.replies += 1,
                _ => {}
            }
        }
    }
}

fn call(number: u64, args: Vec<Arg>) -> TaskSpec {
    TaskSpec {
        function: FunctionKey(0x5851_f42d_4c95_7f2d_0123_4567_89ab_cdef),
        body: None,
        name: Arc::from("empty"),
        target: Target::Pool,
        asynchronous: false,
        args,
        dependencies: Vec::new(),
        borrowed: Vec::new(),
        returns: Returns { first: DataId::new(ProcessId::CONTROLLER, number), count: 1 },
        options: Arc::default(),
    }
}

fn result() -> StoredObject {
    StoredObject { header: Blob::Inline(Bytes::new()), buffers: Vec::new(), borrowed: Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_round_trip() {
        for (name, message) in messages() {
            let (mut bytes, mut again) = (Vec::new(), Vec::new());
            message.encode(&mut bytes).unwrap();
            message.decode(&bytes).unwrap().encode(&mut again).unwrap();
            assert_eq!(bytes, again, "{name}");
            assert!(message.decode(&bytes[..3]).is_err());
        }
    }

    #[test]
    fn call_takes_three_events() {
        let mut reactor = Reactor::new(2);
        for _ in 0..2 {
            assert_eq!(reactor.run(Calls::new(1_000)), 3_000);
            assert!(reactor.is_empty());
        }
    }
}
