//! The calls made and started, to be compared with the promises.

use crate::protocol::worker::Run;
use crate::scheduler::Caller;
use std::collections::{BTreeMap, BTreeSet};
use unidist_backend::CallKind;
use unidist_common::{ActorId, DataId, ProcessId, Returns, TaskId};

#[derive(Debug, Default)]
pub(super) struct Record {
    /// The call that makes each object.
    makers: BTreeMap<DataId, TaskId>,
    started: BTreeSet<TaskId>,
    /// Calls whose process has died with them: they may start once more.
    lost: BTreeSet<TaskId>,
    /// All calls that a process has ever died with.
    died: BTreeSet<TaskId>,
    /// For each actor and caller the calls that have not started, in order.
    expected: BTreeMap<(ActorId, Caller), Vec<TaskId>>,
    /// The place of each call of an actor in that order.
    places: BTreeMap<TaskId, ((ActorId, Caller), usize)>,
    /// How often each actor may still be started.
    starts: BTreeMap<ActorId, u32>,
    hosts: BTreeMap<ProcessId, ActorId>,
    /// Tasks that may run on this process alone.
    homes: BTreeMap<TaskId, ProcessId>,
}

impl Record {
    pub(super) fn submitted(&mut self, returns: Returns) {
        let call = TaskId::of_first_return(returns.first);
        self.makers.extend(returns.ids().map(|id| (id, call)));
    }

    pub(super) fn is_for(&mut self, task: TaskId, process: Option<ProcessId>) {
        self.homes.extend(process.map(|process| (task, process)));
    }

    pub(super) fn call_of(&self, id: DataId) -> Option<TaskId> {
        self.makers.get(&id).copied()
    }

    pub(super) fn called(&mut self, actor: ActorId, caller: Caller, call: TaskId) {
        self.places.insert(call, ((actor, caller), self.places.len()));
        self.expected.entry((actor, caller)).or_default().push(call);
    }

    pub(super) fn actor_may_restart(&mut self, actor: ActorId, times: u32) {
        self.starts.insert(actor, times + 1);
    }

    pub(super) fn actor_starts(&mut self, process: ProcessId, actor: ActorId) -> Result<(), String> {
        self.hosts.insert(process, actor);
        match self.starts.get_mut(&actor) {
            Some(left @ 1..) => {
                *left -= 1;
                Ok(())
            }
            _ => Err(format!("actor {actor} is started too often")),
        }
    }

    /// A process has died with these calls.
    pub(super) fn lost(&mut self, process: ProcessId, calls: &[TaskId]) {
        self.lost.extend(calls);
        let constructor = self.hosts.remove(&process).map(ActorId::constructor);
        self.lost.extend(constructor);
        self.died.extend(calls.iter().copied().chain(constructor));
    }

    /// It died with these, too, which it had not started, or has said so in vain.
    pub(super) fn lost_unstarted(&mut self, calls: impl Iterator<Item = TaskId>) {
        self.died.extend(calls);
    }

    /// Whether a process has died with this call.
    pub(super) fn has_died(&self, call: TaskId) -> bool {
        self.died.contains(&call)
    }

    /// Calls that were lost with their process and will start again.
    pub(super) fn expect_again(&mut self, calls: impl Iterator<Item = TaskId>) {
        for call in calls {
            let Some((key, place)) = self.places.get(&call) else { continue };
            let places = &self.places;
            let queue = self.expected.entry(*key).or_default();
            let at = queue.partition_point(|other| places.get(other).is_some_and(|(_, other)| other < place));
            if queue.get(at) != Some(&call) {
                queue.insert(at, call);
            }
        }
    }

    /// A call starts. `is_pending` says whether one has not ended.
    pub(super) fn started(
        &mut self,
        process: ProcessId,
        run: &Run,
        is_pending: impl Fn(TaskId) -> bool,
    ) -> Result<(), String> {
        if let Some(home) = self.homes.get(&run.id).filter(|home| **home != process) {
            return Err(format!("call {}, which is for {home} alone, starts on {process}", run.id));
        }
        if !self.started.insert(run.id) && !self.lost.remove(&run.id) {
            return Err(format!("call {} starts twice, now on {process}", run.id));
        }
        let CallKind::Method { actor } = run.kind else { return Ok(()) };
        let Some((key, _)) = self.places.get(&run.id) else { return Ok(()) };
        let queue = self.expected.entry(*key).or_default();
        let Some(at) = queue.iter().position(|call| *call == run.id) else {
            return Err(format!("call {} of actor {actor} starts after a later one", run.id));
        };
        // Those before it that did not start have failed.
        let skipped: Vec<_> = queue.drain(..=at).collect();
        match skipped.into_iter().find(|call| *call != run.id && is_pending(*call)) {
            Some(late) => Err(format!("call {} of actor {actor} overtakes {late}", run.id)),
            None => Ok(()),
        }
    }
}
