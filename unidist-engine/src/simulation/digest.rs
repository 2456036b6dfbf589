//! A digest of the scheduler's input and output, to show that a change of the code leaves its decisions unchanged.
//!
//! The digest covers explicit numbers: a tag for each variant, ids, counts and blocks. Type names, `Debug` output and
//! error texts are excluded, so it survives renames and better wording. A tag keeps its number; a new variant gets a
//! new one.

use crate::scheduler::{Action, Blocks, Event, Reply, Request, Role, Run, Timer, Value};
use crate::store::{Blob, Block, StoredObject};
use std::time::Duration;
use unidist_backend::{CallKind, CallStatus, Which};
use unidist_common::{
    ActorId, Arg, DataId, Error, ErrorKind, GroupId, ProcessId, Target, TaskError, TaskId, TaskOptions,
    TaskSpec,
};

/// A hash over a sequence of numbers, which depends on their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest(u64);

impl Default for Digest {
    fn default() -> Self {
        Digest(0x9e37_79b9_7f4a_7c15)
    }
}

impl Digest {
    /// Adds a number.
    pub fn add(&mut self, number: u64) {
        // The mixing step of SplitMix64 (Steele, Lea and Flood, 2014).
        let mut mixed = self.0.rotate_left(7) ^ number;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        self.0 = mixed ^ (mixed >> 31);
    }

    /// The hash of what was added so far.
    pub fn value(self) -> u64 {
        self.0
    }

    pub(super) fn event(&mut self, event: &Event) {
        match event {
            Event::Request { process, request } => {
                self.all([1, process.to_number()]);
                self.request(request);
            }
            // The scheduler decides nothing by the id that the operating system gave it.
            Event::Joined { process, pid: _ } => self.all([2, process.to_number()]),
            Event::Lost { process, undelivered, .. } => {
                self.all([3, process.to_number()]);
                self.calls(undelivered);
            }
            Event::Done { process, task, result } => {
                self.all([4, process.to_number(), task.to_number()]);
                self.result(result, |digest, objects| digest.list(objects, Self::object));
            }
            Event::Retracted { process, tasks } => {
                self.all([5, process.to_number()]);
                self.calls(tasks);
            }
            Event::Suspended { process, task } => self.all([6, process.to_number(), task.to_number()]),
            Event::Resumed { process, task } => self.all([16, process.to_number(), task.to_number()]),
            Event::ReplyUndelivered { process, values } => {
                self.all([7, process.to_number()]);
                self.list(values, Self::value_of_object);
            }
            Event::Spilled { host, id, object, .. } => {
                self.all([8, host.place() as u64, id.to_number()]);
                self.object(object);
            }
            Event::MemoryShort(host) => self.all([14, host.place() as u64]),
            Event::MemoryFound(host) => self.all([15, host.place() as u64]),
            Event::Copied { transfer, result } => {
                self.all([9, transfer.0]);
                self.result(result, Self::object);
            }
            Event::HostLost { host, .. } => self.all([10, host.place() as u64]),
            Event::Started { process, task: call } => self.all([11, process.to_number(), call.to_number()]),
            Event::Expired(timer) => {
                self.add(12);
                self.timer(*timer);
            }
            Event::Shutdown => self.add(13),
        }
    }

    pub(super) fn action(&mut self, action: &Action) {
        match action {
            Action::StartProcess { process, role, host } => {
                self.all([101, process.to_number(), host.place() as u64]);
                match role {
                    Role::Pool => self.add(1),
                    Role::Actor(actor) => self.all([2, actor.to_number()]),
                }
            }
            Action::Run { process, run } => {
                self.all([102, process.to_number(), 1]);
                self.run(run);
            }
            Action::RetractTasks { process, tasks } => {
                self.all([102, process.to_number(), 2]);
                self.calls(tasks);
            }
            Action::CancelTask { process, task, error } => {
                self.all([102, process.to_number(), 3, task.to_number()]);
                self.error(error);
            }
            Action::Stop(process) => self.all([102, process.to_number(), 5]),
            Action::Reply { process, request, reply } => {
                self.all([103, process.to_number(), request.0]);
                self.reply(reply);
            }
            Action::Kill(process) => self.all([104, process.to_number()]),
            Action::Arm { timer, after: time } => {
                self.add(105);
                self.timer(*timer);
                self.time(*time);
            }
            Action::Disarm(timer) => {
                self.add(106);
                self.timer(*timer);
            }
            Action::SetCpus { host, cpus: slots } => self.all([107, host.place() as u64, *slots as u64]),
            Action::Free { host, block } => {
                self.all([108, host.place() as u64]);
                self.block(*block);
            }
            Action::FreeSpilled { host, block } => {
                self.all([109, host.place() as u64]);
                self.block(*block);
            }
            Action::Copy(copy) => {
                self.all([110, copy.transfer.0, copy.id.to_number()]);
                self.all([copy.from.place() as u64, copy.to.place() as u64]);
                self.object(&copy.object);
            }
            Action::Unobserved(error) => {
                self.add(111);
                self.error(error);
            }
        }
    }

    fn request(&mut self, request: &Request) {
        match request {
            Request::Submit { spec, caller } => {
                self.add(1);
                self.option(caller.map(Number::to_number));
                self.spec(spec);
            }
            Request::SubmitFailed { spec, caller, error } => {
                self.add(2);
                self.option(caller.map(Number::to_number));
                self.spec(spec);
                self.error(error);
            }
            Request::Put { id, object, views } => {
                self.all([3, id.to_number(), u64::from(*views)]);
                self.object(object);
            }
            Request::Get { request, ids, blocks } => {
                self.all([4, request.0]);
                self.ids(ids);
                self.blocks(*blocks);
            }
            Request::Wait { request, ids, count, timed, blocks } => {
                self.all([5, request.0, *count, u64::from(*timed)]);
                self.ids(ids);
                self.blocks(*blocks);
            }
            Request::Expire { request } => self.all([6, request.0]),
            Request::Retain(id) => self.all([7, id.to_number()]),
            Request::Release(id) => self.all([8, id.to_number()]),
            Request::PinView(id) => self.all([9, id.to_number()]),
            Request::UnpinView(id) => self.all([10, id.to_number()]),
            Request::LiveObjects { request } => self.all([11, request.0]),
            Request::Cancel { request, ids, which } => {
                let which = match which {
                    Which::All => 1,
                    Which::Unstarted => 2,
                };
                self.all([12, request.0, which]);
                self.ids(ids);
            }
            Request::Status { request, ids } => {
                self.all([13, request.0]);
                self.ids(ids);
            }
            Request::Workers { request, at_least } => self.all([14, request.0, *at_least]),
            Request::EndWorker { request, worker } => self.all([15, request.0, worker.to_number()]),
            Request::FindActor { request, .. } => self.all([16, request.0]),
            Request::Live { request, at_most } => self.all([17, request.0, *at_most]),
        }
    }

    fn run(&mut self, run: &Run) {
        let Run { id, function, body, kind, args, objects, returns, nested, timed } = run;
        self.all([id.to_number(), function.0 as u64, (function.0 >> 64) as u64, u64::from(*returns)]);
        self.all([u64::from(*nested), u64::from(*timed)]);
        self.option(body.as_ref().map(|body| body.len() as u64));
        match kind {
            CallKind::Task => self.add(1),
            CallKind::NewActor { max_concurrency } => {
                self.add(2);
                self.option(max_concurrency.map(u64::from));
            }
            CallKind::Method { actor } => self.all([3, actor.to_number()]),
        }
        self.list(args, Self::arg);
        self.list(objects, |digest, (id, object)| {
            digest.add(id.to_number());
            digest.object(object);
        });
    }

    fn reply(&mut self, reply: &Reply) {
        match reply {
            Reply::Values(values) => {
                self.add(1);
                self.list(values, Self::value_of_object);
            }
            Reply::Ready(positions) => {
                self.add(2);
                self.list(positions, |digest, position| digest.add(*position));
            }
            Reply::Allocated(place) => {
                self.add(3);
                self.block(place.block());
            }
            Reply::Cluster(_) => self.add(4),
            Reply::StoreUsage(_) => self.add(5),
            Reply::Count(count) => self.all([6, *count]),
            Reply::Status(all) => {
                self.add(7);
                self.list(all, |digest, status| match status {
                    CallStatus::Waiting => digest.add(1),
                    CallStatus::Running(process) => digest.all([2, process.to_number()]),
                    CallStatus::Ended => digest.add(3),
                });
            }
            Reply::Workers(workers) => {
                self.add(8);
                self.list(workers, |digest, worker| digest.add(worker.id.to_number()));
            }
            Reply::Actor(found) => self.all([10, found.map_or(0, |actor| actor.handle.to_number())]),
            Reply::Live(live) => {
                self.add(11);
                self.list(live, |digest, live| digest.add(live.id.to_number()));
            }
            Reply::Failed(error) => {
                self.add(9);
                self.failure(error);
            }
        }
    }

    fn blocks(&mut self, blocks: Blocks) {
        match blocks {
            Blocks::Nothing => self.add(1),
            Blocks::Call { call, can_nest } => self.all([2, call.to_number(), u64::from(can_nest)]),
            Blocks::Thread => self.add(3),
        }
    }

    fn spec(&mut self, spec: &TaskSpec) {
        let TaskSpec { function, body, name: _, target, args, dependencies, borrowed, .. } = spec;
        let TaskSpec { returns, options, asynchronous, .. } = spec;
        self.all([function.0 as u64, (function.0 >> 64) as u64]);
        self.all([returns.first.to_number(), u64::from(returns.count)]);
        self.option(body.as_ref().map(|body| body.len() as u64));
        match target {
            Target::Pool => self.add(1),
            Target::NewActor => self.add(2),
            Target::Actor(actor) => self.all([3, actor.to_number()]),
        }
        self.list(args, Self::arg);
        self.add(u64::from(*asynchronous));
        self.ids(dependencies);
        self.ids(borrowed);
        let TaskOptions { num_cpus, resources, memory, name: _, max_retries, priority, .. } = &**options;
        let TaskOptions { max_concurrency, timeout, max_restarts, worker, group, .. } = &**options;
        self.option(num_cpus.map(f64::to_bits));
        self.list(resources, |digest, (_, amount)| digest.add(amount.to_bits()));
        self.option(*memory);
        self.option(max_retries.map(u64::from));
        self.option(priority.map(|priority| priority as u64));
        self.option(max_concurrency.map(u64::from));
        self.option(timeout.map(|time| time.as_nanos() as u64));
        self.option(max_restarts.map(u64::from));
        self.option(worker.map(Number::to_number));
        self.option(group.map(|group| group.id.to_number()));
        self.option(group.and_then(|group| group.limit).map(|limit| u64::from(limit.get())));
    }

    fn arg(&mut self, arg: &Arg) {
        match arg {
            Arg::Value(bytes) => self.all([1, bytes.len() as u64]),
            Arg::Ref(id) => self.all([2, id.to_number()]),
            Arg::List(ids) => {
                self.add(3);
                self.ids(ids);
            }
            Arg::Parts(parts) => self.all([4, parts.len() as u64]),
        }
    }

    fn value_of_object(&mut self, value: &Value) {
        match value {
            Value::Ready(object) => {
                self.add(1);
                self.object(object);
            }
            Value::Failed(error) => {
                self.add(2);
                self.error(error);
            }
        }
    }

    fn object(&mut self, object: &StoredObject) {
        let StoredObject { header, buffers, borrowed } = object;
        self.blob(header);
        self.list(buffers, Self::blob);
        self.ids(borrowed);
    }

    fn blob(&mut self, blob: &Blob) {
        match blob {
            Blob::Inline(bytes) => self.all([1, bytes.len() as u64]),
            Blob::Shared(block) => {
                self.add(2);
                self.block(*block);
            }
            Blob::Spilled(block) => {
                self.add(3);
                self.block(*block);
            }
        }
    }

    fn block(&mut self, block: Block) {
        self.all([block.offset, block.len]);
    }

    fn error(&mut self, error: &TaskError) {
        self.add(kind_number(error.kind));
        match &error.cause {
            None => self.add(0),
            Some(cause) => {
                self.add(1);
                self.error(cause);
            }
        }
    }

    /// Texts do not count, so most variants are their number alone.
    fn failure(&mut self, error: &Error) {
        match error {
            Error::Task(error) => {
                self.add(1);
                self.error(error);
            }
            Error::NotInitialized { .. } => self.add(2),
            Error::SessionEnded { .. } => self.add(3),
            Error::Config(_) => self.add(4),
            Error::Encode { .. } => self.add(5),
            Error::Decode { .. } => self.add(6),
            Error::InvalidArgument { .. } => self.add(7),
            Error::StoreFull(_) => self.add(8),
            Error::Launch { .. } => self.add(9),
            Error::System { .. } => self.add(10),
            Error::Unsupported { .. } => self.add(11),
            _ => self.add(0),
        }
    }

    fn timer(&mut self, timer: Timer) {
        self.all(timer.to_numbers());
    }

    fn time(&mut self, time: Duration) {
        self.add(time.as_nanos() as u64);
    }

    fn result<T>(&mut self, result: &Result<T, TaskError>, add: impl FnOnce(&mut Self, &T)) {
        match result {
            Ok(value) => {
                self.add(1);
                add(self, value);
            }
            Err(error) => {
                self.add(2);
                self.error(error);
            }
        }
    }

    fn option(&mut self, number: Option<u64>) {
        match number {
            None => self.add(0),
            Some(number) => self.all([1, number]),
        }
    }

    fn ids(&mut self, ids: &[DataId]) {
        self.list(ids, |digest, id| digest.add(id.to_number()));
    }

    fn calls(&mut self, calls: &[TaskId]) {
        self.list(calls, |digest, call| digest.add(call.to_number()));
    }

    /// The number of the items, then each.
    fn list<T>(&mut self, items: &[T], mut add: impl FnMut(&mut Self, &T)) {
        self.add(items.len() as u64);
        items.iter().for_each(|item| add(self, item));
    }

    fn all<const N: usize>(&mut self, numbers: [u64; N]) {
        numbers.into_iter().for_each(|number| self.add(number));
    }
}

/// What is known by a number.
trait Number {
    fn to_number(self) -> u64;
}

impl Number for ProcessId {
    fn to_number(self) -> u64 {
        self.number().into()
    }
}

impl Number for DataId {
    fn to_number(self) -> u64 {
        self.to_bits()
    }
}

impl Number for TaskId {
    fn to_number(self) -> u64 {
        self.first_return().to_bits()
    }
}

impl Number for GroupId {
    fn to_number(self) -> u64 {
        self.reserved().to_bits()
    }
}

impl Number for ActorId {
    fn to_number(self) -> u64 {
        self.handle().to_bits()
    }
}

fn kind_number(kind: ErrorKind) -> u64 {
    match kind {
        ErrorKind::Panicked => 1,
        ErrorKind::Failed => 2,
        ErrorKind::DependencyFailed => 3,
        ErrorKind::WorkerDied => 4,
        ErrorKind::ActorDied => 5,
        ErrorKind::UnknownFunction => 6,
        ErrorKind::Encode => 7,
        ErrorKind::Decode => 8,
        ErrorKind::Unsatisfiable => 9,
        ErrorKind::ObjectLost => 10,
        ErrorKind::StoreFull => 11,
        ErrorKind::Deadlock => 12,
        ErrorKind::SessionEnded => 13,
        ErrorKind::NotInitialized => 14,
        ErrorKind::Cancelled => 15,
        ErrorKind::InvalidOption => 16,
        ErrorKind::TimedOut => 17,
        ErrorKind::WorkerGone => 18,
        ErrorKind::NameTaken => 19,
        ErrorKind::Forked => 20,
        _ => 0,
    }
}

#[cfg(test)]
mod tests;
