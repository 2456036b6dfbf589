//! Which calls a wait needs, and whether it can ever end.

use super::{Frame, Progress, State};
use crate::queue::Blocker;
use rustc_hash::{FxHashMap, FxHashSet};
use unidist_common::{DataId, ErrorKind, TaskError, TaskId};

/// The condition of a wait.
#[derive(Clone, Copy)]
pub(crate) struct Goal<'a> {
    pub(crate) ids: &'a [DataId],
    /// The number of `ids` that must be settled.
    pub(crate) count: usize,
}

impl State {
    pub(crate) fn is_met(&self, goal: Goal<'_>) -> bool {
        let settled = goal.ids.iter().filter(|id| self.directory.is_settled(**id));
        settled.take(goal.count).count() == goal.count
    }

    /// The error if `goal` can never be met with the present stack: it names the first object that cannot be settled.
    /// `awaits_actor_state` tells whether a pending call waits for the state of its actor.
    pub(crate) fn is_hopeless(
        &self,
        goal: Goal<'_>,
        awaits_actor_state: impl Fn(TaskId) -> bool,
    ) -> Option<TaskError> {
        let mut known = FxHashMap::default();
        let mut reason = None;
        let mut possible = 0;
        for &id in goal.ids {
            match self.blocker(id, &awaits_actor_state, &mut known) {
                None => possible += 1,
                blocker => reason = reason.or(blocker),
            }
        }
        if possible >= goal.count {
            return None;
        }
        let blocked = reason?;
        let name = self.calls.get(&blocked).map_or("", |call| &call.name);
        let message = format!(
            "it waits for `{name}` (object {blocked}), which runs further down on the same stack and cannot end before it"
        );
        Some(TaskError::new(ErrorKind::Deadlock, message).of_function(self.innermost()))
    }

    /// The call on the stack that has to end before the object can be settled. `known` caches the answers
    /// for other calls.
    fn blocker(
        &self,
        id: DataId,
        awaits_actor_state: &impl Fn(TaskId) -> bool,
        known: &mut FxHashMap<TaskId, Option<TaskId>>,
    ) -> Option<TaskId> {
        let root = self.directory.unsettled_by(id)?;
        let mut to_do = vec![root];
        let mut seen = FxHashSet::default();
        while let Some(call) = to_do.pop() {
            if !seen.insert(call) {
                continue;
            }
            let blocker = match (known.get(&call), self.calls.get(&call).map(|call| call.progress)) {
                (Some(None), _) => continue,
                (Some(blocker), _) => *blocker,
                (None, Some(Progress::Running)) => Some(call),
                (None, Some(Progress::Pending)) if awaits_actor_state(call) => self.of_same_actor(call),
                (None, _) => None,
            };
            if blocker.is_some() {
                known.insert(root, blocker);
                return blocker;
            }
            to_do.extend(self.directly_before(call));
        }
        known.extend(seen.into_iter().map(|call| (call, None)));
        None
    }

    /// The topmost call on the stack of the same actor.
    fn of_same_actor(&self, id: TaskId) -> Option<TaskId> {
        let target = self.calls.get(&id)?.target;
        self.stack.iter().rev().find_map(|frame| match frame {
            Frame::Call(other) if self.calls.get(other)?.target == target => Some(*other),
            _ => None,
        })
    }

    /// The calls that have to end, or start, before this one can start.
    fn directly_before(&self, call: TaskId) -> impl Iterator<Item = TaskId> {
        let blockers = self.queue.blockers(call).into_iter().flatten();
        blockers.filter_map(|blocker| match blocker {
            Blocker::Call(call) => Some(call),
            Blocker::Object(id) => self.directory.unsettled_by(id),
        })
    }

    /// The unfinished calls that `goal` needs, directly or indirectly.
    pub(super) fn calls_needed_for(&self, goal: Goal<'_>) -> FxHashSet<TaskId> {
        let calls = goal.ids.iter().filter_map(|id| self.directory.unsettled_by(*id));
        let mut to_do: Vec<_> = calls.collect();
        let mut found = FxHashSet::default();
        while let Some(call) = to_do.pop() {
            if found.insert(call) {
                to_do.extend(self.directly_before(call));
            }
        }
        found
    }

    fn innermost(&self) -> &str {
        let frame = self.stack.last();
        let call = frame.and_then(|frame| match frame {
            Frame::Call(id) => self.calls.get(id),
            Frame::Turn => None,
        });
        call.map_or("", |call| &call.name)
    }
}
