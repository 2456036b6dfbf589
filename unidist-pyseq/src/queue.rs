//! The calls that have not started, and the order in which they start.

use rustc_hash::{FxHashMap, FxHashSet};
use std::collections::{BTreeSet, VecDeque};
use std::thread::ThreadId;
use unidist_common::{ActorId, DataId, Target, TaskId, TaskSpec};

/// The origin of a call. Calls of one caller on one actor start in the order in which they were made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Caller {
    /// A thread of the program.
    Thread(ThreadId),
    /// The call with this id, running on the sequential thread's stack.
    Call(TaskId),
    /// Some asynchronous call that was resumed.
    Asynchronous,
}

type Lane = (ActorId, Caller);

/// What must be settled or started before a call can start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blocker {
    /// An object that it needs.
    Object(DataId),
    /// The first call of its lane.
    Call(TaskId),
}

/// Calls are *waiting* for dependencies, or *ready*. They are numbered in order of submission.
#[derive(Default)]
pub(crate) struct Queue {
    next: u64,
    calls: FxHashMap<u64, Queued>,
    numbers: FxHashMap<TaskId, u64>,
    ready: BTreeSet<u64>,
    /// The unstarted calls of each caller on each actor, in order: only the first can be ready.
    lanes: FxHashMap<Lane, VecDeque<u64>>,
}

struct Queued {
    spec: TaskSpec,
    /// The number of dependencies that are not settled.
    missing: usize,
    lane: Option<Lane>,
}

impl Queue {
    /// Adds a call. `awaits` gets each object that the call needs and the call's number, and returns whether the
    /// object is not settled yet.
    pub(crate) fn push(
        &mut self,
        spec: TaskSpec,
        caller: Caller,
        mut awaits: impl FnMut(DataId, u64) -> bool,
    ) {
        let number = self.next;
        self.next += 1;
        let missing = needed(&spec).filter(|id| awaits(*id, number)).count();
        let lane = match spec.target {
            Target::Actor(actor) => Some((actor, caller)),
            Target::Pool | Target::NewActor => None,
        };
        let first = match lane {
            Some(lane) => {
                let calls = self.lanes.entry(lane).or_default();
                calls.push_back(number);
                calls.len() == 1
            }
            None => true,
        };
        if missing == 0 && first {
            self.ready.insert(number);
        }
        self.numbers.insert(spec.id(), number);
        self.calls.insert(number, Queued { spec, missing, lane });
    }

    /// Counts one needed object of the call as settled.
    pub(crate) fn settled_one(&mut self, number: u64) {
        let Some(call) = self.calls.get_mut(&number) else {
            return;
        };
        call.missing = call.missing.saturating_sub(1);
        self.check(number);
    }

    /// Takes the ready call that was submitted first; preferred calls go before all others.
    pub(crate) fn take_ready(&mut self, preferred: &FxHashSet<TaskId>) -> Option<TaskSpec> {
        let first = *self.ready.first()?;
        let preferred = preferred.iter().filter_map(|id| self.numbers.get(id).copied());
        let number = preferred.filter(|number| self.ready.contains(number)).min();
        self.take(number.unwrap_or(first))
    }

    /// Takes this call if it is ready.
    pub(crate) fn take_if_ready(&mut self, id: TaskId) -> Option<TaskSpec> {
        let number = *self.numbers.get(&id)?;
        match self.ready.contains(&number) {
            true => self.take(number),
            false => None,
        }
    }

    /// Removes a call, ready or not. False if it is not queued.
    pub(crate) fn remove(&mut self, id: TaskId) -> bool {
        let Some(number) = self.numbers.remove(&id) else { return false };
        self.ready.remove(&number);
        let lane = self.calls.remove(&number).and_then(|call| call.lane);
        if let Some(lane) = lane
            && let Some(calls) = self.lanes.get_mut(&lane)
        {
            calls.retain(|other| *other != number);
            match calls.front().copied() {
                Some(next) => self.check(next),
                None => {
                    self.lanes.remove(&lane);
                }
            }
        }
        true
    }

    /// Whether more than one call is ready.
    pub(crate) fn has_choice(&self) -> bool {
        self.ready.len() > 1
    }

    pub(crate) fn is_ready(&self, id: TaskId) -> bool {
        let number = self.numbers.get(&id);
        number.is_some_and(|number| self.ready.contains(number))
    }

    /// What must be settled or started before this call can start; `None` if the call is not queued.
    pub(crate) fn blockers(&self, id: TaskId) -> Option<impl Iterator<Item = Blocker>> {
        let number = self.numbers.get(&id)?;
        let call = self.calls.get(number)?;
        let before = call.lane.and_then(|lane| self.lanes.get(&lane)?.front());
        let before = before.filter(|first| *first != number).and_then(|first| self.calls.get(first));
        Some(needed(&call.spec).map(Blocker::Object).chain(before.map(|call| Blocker::Call(call.spec.id()))))
    }

    /// Takes every call, in order.
    pub(crate) fn drain(&mut self) -> Vec<TaskSpec> {
        let mut calls: Vec<_> = std::mem::take(&mut self.calls).into_iter().collect();
        calls.sort_unstable_by_key(|(number, _)| *number);
        self.numbers.clear();
        self.ready.clear();
        self.lanes.clear();
        calls.into_iter().map(|(_, call)| call.spec).collect()
    }

    fn take(&mut self, number: u64) -> Option<TaskSpec> {
        self.ready.remove(&number);
        let call = self.calls.remove(&number)?;
        self.numbers.remove(&call.spec.id());
        if let Some(lane) = call.lane
            && let Some(calls) = self.lanes.get_mut(&lane)
        {
            calls.pop_front();
            match calls.front().copied() {
                Some(next) => self.check(next),
                None => {
                    self.lanes.remove(&lane);
                }
            }
        }
        Some(call.spec)
    }

    /// Makes the call ready if nothing blocks it.
    fn check(&mut self, number: u64) {
        let Some(call) = self.calls.get(&number) else {
            return;
        };
        let is_first = match call.lane {
            Some(lane) => self.lanes.get(&lane).and_then(VecDeque::front) == Some(&number),
            None => true,
        };
        if call.missing == 0 && is_first {
            self.ready.insert(number);
        }
    }
}

/// The objects that must be settled before the call can start; a method's actor is one.
fn needed(spec: &TaskSpec) -> impl Iterator<Item = DataId> {
    let actor = match spec.target {
        Target::Actor(actor) => Some(actor.handle()),
        Target::Pool | Target::NewActor => None,
    };
    spec.dependencies.iter().copied().chain(actor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::task;
    use unidist_common::ProcessId;

    fn id(n: u64) -> DataId {
        DataId::new(ProcessId::CONTROLLER, n)
    }

    fn call(n: u64) -> TaskId {
        TaskId::of_first_return(id(n))
    }

    fn caller() -> Caller {
        Caller::Thread(std::thread::current().id())
    }

    fn method(n: u64, actor: ActorId, dependencies: &[DataId]) -> TaskSpec {
        TaskSpec { target: Target::Actor(actor), dependencies: dependencies.to_vec(), ..task(id(n), 1) }
    }

    fn next(queue: &mut Queue) -> Option<TaskId> {
        queue.take_ready(&FxHashSet::default()).map(|spec| spec.id())
    }

    #[test]
    fn ready_calls_start_in_submission_order() {
        let mut queue = Queue::default();
        for n in 1..=3 {
            let mut spec = task(id(n), 1);
            spec.dependencies = vec![id(100 + n)];
            queue.push(spec, caller(), |_, _| true);
        }
        assert_eq!(next(&mut queue), None);
        for number in [2, 0, 1] {
            queue.settled_one(number);
        }
        let order: Vec<_> = std::iter::from_fn(|| next(&mut queue)).collect();
        assert_eq!(order, [call(1), call(2), call(3)]);
    }

    #[test]
    fn calls_of_one_caller_keep_their_order() {
        let mut queue = Queue::default();
        let (actor, late) = (ActorId::of_handle(id(50)), id(60));
        queue.push(method(1, actor, &[late]), caller(), |needed, _| needed == late);
        queue.push(method(2, actor, &[]), caller(), |_, _| false);
        queue.push(method(3, actor, &[]), Caller::Call(call(70)), |_, _| false);
        assert_eq!(next(&mut queue), Some(call(3))); // another caller's
        assert_eq!(next(&mut queue), None);
        assert!(queue.blockers(call(2)).unwrap().any(|blocker| blocker == Blocker::Call(call(1))));
        queue.settled_one(0);
        assert_eq!((next(&mut queue), next(&mut queue)), (Some(call(1)), Some(call(2))));
        assert!(queue.lanes.is_empty() && queue.numbers.is_empty());
    }

    #[test]
    fn method_waits_for_its_actor() {
        let mut queue = Queue::default();
        queue.push(method(1, ActorId::of_handle(id(50)), &[]), caller(), |needed, _| needed == id(50));
        assert!(!queue.is_ready(call(1)));
        queue.settled_one(0);
        assert!(queue.take_if_ready(call(1)).is_some());
    }

    #[test]
    fn removed_call_unblocks_its_lane() {
        let mut queue = Queue::default();
        let (actor, late) = (ActorId::of_handle(id(50)), id(60));
        queue.push(method(1, actor, &[late]), caller(), |needed, _| needed == late);
        queue.push(method(2, actor, &[]), caller(), |_, _| false);
        assert!(queue.remove(call(1)) && !queue.remove(call(1)));
        queue.settled_one(0); // its dependency is settled all the same
        assert_eq!((next(&mut queue), next(&mut queue)), (Some(call(2)), None));
        assert!(queue.lanes.is_empty() && queue.numbers.is_empty());
    }

    #[test]
    fn preferred_calls_start_first() {
        let mut queue = Queue::default();
        for n in 1..=3 {
            queue.push(task(id(n), 1), caller(), |_, _| false);
        }
        let preferred = [call(3), call(9)].into_iter().collect();
        assert_eq!(queue.take_ready(&preferred).unwrap().id(), call(3));
        assert_eq!(queue.take_ready(&preferred).unwrap().id(), call(1));
        assert_eq!(queue.drain().len(), 1);
    }
}
