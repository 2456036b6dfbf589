//! Waits that can never end: a call that waits, over others, for itself.
//!
//! Looked for when a call blocks in `get`, which is when a circle can close: what was there before had none, and a new
//! call can only wait for older ones. A `wait` closes no circle, as it may end by its time.

use super::Scheduler;
use super::event::Role;
use super::tasks::TaskState;
use super::workers::FrameState;
use rustc_hash::FxHashMap;
use unidist_common::{DataId, ErrorKind, ProcessId, Target, TaskError};

/// How many calls a search looks at before it gives up; a larger circle goes unnoticed.
const SEARCH_LIMIT: usize = 10_000;

impl Scheduler {
    /// The error of a `get` of these objects by this call, if it can never end.
    pub(crate) fn deadlock(&self, process: ProcessId, call: DataId, ids: &[DataId]) -> Option<TaskError> {
        // The whole of an actor stands still while one of its calls blocks.
        let actor = self.workers.get(&process).is_some_and(|worker| worker.role != Role::Pool);
        let mut came_from: FxHashMap<DataId, DataId> = FxHashMap::default();
        let mut search: Vec<_> = ids.iter().map(|id| (*id, call)).collect();
        while let Some((id, waiting)) = search.pop() {
            let Some(maker) = self.objects.maker(id) else { continue };
            let Some(task) = self.tasks.get(&maker) else { continue };
            if maker == call || actor && task.state == TaskState::Sent(process) {
                return Some(self.circle(call, waiting, maker, &came_from));
            }
            if came_from.len() < SEARCH_LIMIT && !came_from.contains_key(&maker) {
                came_from.insert(maker, waiting);
                search.extend(self.waits_for(maker).into_iter().map(|id| (id, maker)));
            }
        }
        None
    }

    /// The objects without which this call does not go on.
    fn waits_for(&self, call: DataId) -> Vec<DataId> {
        let Some(task) = self.tasks.get(&call) else { return Vec::new() };
        match (task.state, task.spec.target) {
            (TaskState::Waiting, Target::Actor(actor)) => {
                task.spec.dependencies.iter().copied().chain([actor]).collect()
            }
            (TaskState::Waiting, _) => task.spec.dependencies.clone(),
            (TaskState::Ready, _) => Vec::new(),
            (TaskState::Sent(process), _) => self.waits_for_on(process, call),
        }
    }

    fn waits_for_on(&self, process: ProcessId, call: DataId) -> Vec<DataId> {
        let Some(worker) = self.workers.get(&process) else { return Vec::new() };
        let asked = |request| self.requests.get(&(process, request)).map_or(&[][..], |open| open.needs_all());
        if worker.role != Role::Pool {
            return worker.blocking.iter().flat_map(|request| asked(*request)).copied().collect();
        }
        let Some(at) = worker.stack.iter().position(|frame| frame.task == call) else { return Vec::new() };
        let above = worker.stack[at + 1..].iter().map(|frame| frame.task);
        match worker.stack[at].state {
            FrameState::Blocked(request) => asked(request).iter().copied().chain(above).collect(),
            FrameState::Active | FrameState::Answered | FrameState::Yielded => above.collect(),
        }
    }

    fn circle(
        &self,
        call: DataId,
        last: DataId,
        closing: DataId,
        came_from: &FxHashMap<DataId, DataId>,
    ) -> TaskError {
        let name = |id: DataId| self.tasks.get(&id).map_or("?", |task| &task.spec.name);
        let mut chain = vec![closing];
        let mut at = last;
        while at != call {
            chain.push(at);
            match came_from.get(&at) {
                Some(before) => at = *before,
                None => break,
            }
        }
        let mut text = format!("`{}` ({call})", name(call));
        for id in chain.into_iter().rev() {
            text += &format!(" waits for `{}` ({id})", name(id));
            if id != closing {
                text += ", which";
            }
        }
        text += ", which waits for the former: none of them can end";
        TaskError::new(ErrorKind::Deadlock, text).of_function(name(call))
    }
}
