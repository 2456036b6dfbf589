//! A digest of the scheduler's input and output, to show that a change of the code leaves its decisions unchanged.
//!
//! The digest covers explicit numbers: a tag for each variant, ids, counts and blocks. Type names, `Debug` output and
//! error texts are excluded, so it survives renames and better wording. A tag keeps its number; a new variant gets a
//! new one.

mod calls;
mod messages;
mod values;

use crate::scheduler::{Action, Event, Role, Timer};
use std::time::Duration;
use unidist_common::{ActorId, DataId, GroupId, ProcessId, TaskError, TaskId};

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

#[cfg(test)]
mod tests;
