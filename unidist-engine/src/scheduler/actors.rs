//! Actors: each in a process of its own, its calls in order for each caller.
//!
//! An actor is *new* until its constructor has ended, then *alive* or *dead*. Its id is an object whose references are
//! the handles and the calls under way; when the last is gone, so is the actor.

use super::Scheduler;
use super::event::Role;
use super::restart::Again;
use super::tasks::{Caller, Task, TaskState};
use crate::network::HostId;
use rustc_hash::{FxHashMap, FxHashSet};
use std::collections::VecDeque;
use std::sync::Arc;
use unidist_common::{DataId, ErrorKind, ProcessId, TaskError, TaskSpec};

#[derive(Debug)]
pub(crate) struct Actor {
    pub(super) name: Arc<str>,
    pub(super) state: ActorState,
    pub(super) process: Option<ProcessId>,
    /// Calls that wait: for the constructor, for a dependency, or behind such a call of the same caller.
    pub(super) waiting: FxHashMap<Caller, VecDeque<DataId>>,
    /// Calls that were sent.
    pub(super) sent: FxHashSet<DataId>,
    /// What it is started again with, while it may be.
    pub(super) again: Option<Box<Again>>,
    /// How often it was started again.
    pub(super) restarts: u32,
}

#[derive(Clone, Debug)]
pub(super) enum ActorState {
    New,
    Alive,
    Dead(Arc<TaskError>),
}

impl Scheduler {
    pub(crate) fn declare_actor(&mut self, spec: &TaskSpec) {
        let name = spec.options.name.as_deref().map_or_else(|| spec.name.clone(), Arc::from);
        let actor = Actor {
            name,
            state: ActorState::New,
            process: None,
            waiting: FxHashMap::default(),
            sent: FxHashSet::default(),
            again: self.keep_for_restarts(spec),
            restarts: 0,
        };
        self.actors.insert(spec.id(), actor);
    }

    /// Starts the process of an actor whose constructor can run and whose resources are free on this host.
    pub(crate) fn start_actor(&mut self, actor: DataId, host: HostId) {
        let Some(process) = self.start(Role::Actor(actor), host) else {
            let error = TaskError::new(ErrorKind::WorkerDied, "the session has used up its process numbers");
            return self.fail_task(actor, error);
        };
        if let Some(entry) = self.actors.get_mut(&actor) {
            entry.process = Some(process);
        }
        if let Some(task) = self.tasks.get_mut(&actor) {
            task.state = TaskState::Sent(process);
        }
        // Its one frame holds the actor's resources until the process has ended.
        self.push_frame(process, actor);
    }

    pub(crate) fn actor_process_joined(&mut self, process: ProcessId, actor: DataId) {
        if let Some(task) = self.tasks.get(&actor)
            && !self.ending
        {
            if let Some(limit) = task.spec.options.timeout {
                self.arm(actor, limit);
            }
            self.send(process, actor, false);
        } else {
            self.stop(process); // it failed meanwhile: the session ends
        }
    }

    /// The constructor has ended.
    pub(crate) fn actor_made(&mut self, id: DataId, error: Option<Arc<TaskError>>) {
        let Some(actor) = self.actors.get_mut(&id) else {
            return;
        };
        match error {
            None if matches!(actor.state, ActorState::Dead(_)) => {} // the session ends
            None => {
                actor.state = ActorState::Alive;
                self.flush_all(id);
                // The handles may be gone already: then the last reference went with the constructor.
                if self.objects_lack(id) {
                    self.actor_unreferenced(id);
                }
            }
            Some(error) => self.kill_actor(id, error),
        }
    }

    /// Sends what waited for the constructor, in the order in which it came, whoever the caller was.
    fn flush_all(&mut self, id: DataId) {
        let Some(actor) = self.actors.get(&id) else { return };
        let queues = actor.waiting.iter();
        let mut calls: Vec<_> =
            queues.flat_map(|(caller, queue)| queue.iter().map(|call| (*call, *caller))).collect();
        calls.sort_unstable_by_key(|(call, _)| self.tasks.get(call).map_or(0, |task| task.arrival));
        for (call, caller) in calls {
            let is_first =
                |actor: &Actor| actor.waiting.get(&caller).and_then(|queue| queue.front()) == Some(&call);
            if self.actors.get(&id).is_some_and(is_first) && self.can_be_sent(id, call) {
                let queue = self.actors.get_mut(&id).and_then(|actor| actor.waiting.get_mut(&caller));
                queue.and_then(VecDeque::pop_front);
                self.send_to_actor(id, call);
            }
        }
        if let Some(actor) = self.actors.get_mut(&id) {
            actor.waiting.retain(|_, queue| !queue.is_empty()); // a caller without an entry need not queue
        }
    }

    pub(super) fn objects_lack(&self, id: DataId) -> bool {
        matches!(self.objects.known(id), super::directory::Known::Lost)
    }

    /// The actor is dead from now on; its process, if there is one, is to end.
    fn kill_actor(&mut self, id: DataId, cause: Arc<TaskError>) {
        let Some(actor) = self.actors.get_mut(&id) else {
            return;
        };
        actor.state = ActorState::Dead(cause);
        let mut calls: Vec<_> = actor.sent.drain().collect();
        calls.extend(actor.waiting.drain().flat_map(|(_, queue)| queue));
        calls.sort_unstable();
        let process = actor.process;
        self.give_up_restarts(id);
        for call in calls {
            self.fail_with_actor(id, call);
        }
        if let Some(process) = process {
            self.stop(process);
        }
        if self.objects_lack(id) {
            self.actors.remove(&id);
        }
    }

    fn fail_with_actor(&mut self, id: DataId, call: DataId) {
        let mut error = TaskError::new(ErrorKind::ActorDied, "the actor is gone");
        if let Some(Actor { name, state: ActorState::Dead(cause), restarts, .. }) = self.actors.get(&id) {
            error.message = format!("actor `{name}` is dead");
            match restarts {
                0 => {}
                1 => error.message += ", after it was started again once",
                times => error.message += &format!(", after it was started again {times} times"),
            }
            error = error.because((**cause).clone());
        }
        self.fail_task(call, error);
    }

    /// A new call, whose dependencies may still be missing.
    pub(crate) fn call_actor(&mut self, id: DataId, call: DataId) {
        let Some(actor) = self.actors.get_mut(&id) else {
            return self.fail_with_actor(id, call);
        };
        if let ActorState::Dead(_) = actor.state {
            return self.fail_with_actor(id, call);
        }
        let Some(task) = self.tasks.get(&call) else { return };
        let alive = matches!(actor.state, ActorState::Alive);
        let (caller, is_next) = (task.caller, !actor.waiting.contains_key(&task.caller));
        if alive && is_next && self.can_be_sent(id, call) {
            self.send_to_actor(id, call);
        } else if let Some(actor) = self.actors.get_mut(&id) {
            actor.waiting.entry(caller).or_default().push_back(call);
        }
    }

    /// Whether everything is there that the call needs; what lies on another host is sent for.
    fn can_be_sent(&mut self, id: DataId, call: DataId) -> bool {
        if self.tasks.get(&call).is_none_or(|task| task.missing > 0) {
            return false;
        }
        let process = self.actors.get(&id).and_then(|actor| actor.process);
        let host = process.and_then(|process| self.host_of(process));
        host.is_none_or(|host| self.want_for_call(call, host) == 0)
    }

    /// Sends the first calls of this caller that can start, as far as they go without a gap.
    pub(crate) fn flush_caller(&mut self, id: DataId, caller: Caller) {
        loop {
            let Some(actor) = self.actors.get_mut(&id) else {
                return;
            };
            if !matches!(actor.state, ActorState::Alive) {
                return;
            }
            let Some(queue) = actor.waiting.get_mut(&caller) else {
                return;
            };
            match queue.front().copied() {
                None => {
                    actor.waiting.remove(&caller);
                    return;
                }
                Some(call) if !self.can_be_sent(id, call) => return,
                Some(call) => {
                    let queue = self.actors.get_mut(&id).and_then(|actor| actor.waiting.get_mut(&caller));
                    queue.and_then(VecDeque::pop_front);
                    self.send_to_actor(id, call);
                }
            }
        }
    }

    fn send_to_actor(&mut self, id: DataId, call: DataId) {
        if let Some(actor) = self.actors.get_mut(&id)
            && let Some(process) = actor.process
        {
            actor.sent.insert(call);
            self.send(process, call, false);
        }
    }

    /// A call of the actor has ended, or failed while it waited.
    pub(crate) fn actor_call_ended(&mut self, id: DataId, task: &Task) {
        let Some(actor) = self.actors.get_mut(&id) else {
            return;
        };
        let call = task.spec.id();
        if actor.sent.remove(&call) {
            return;
        }
        if let Some(queue) = actor.waiting.get_mut(&task.caller) {
            queue.retain(|waiting| *waiting != call);
            self.flush_caller(id, task.caller);
        }
    }

    /// The last reference to this id is gone; if it is an actor, it ends.
    pub(crate) fn actor_unreferenced(&mut self, id: DataId) {
        let Some(actor) = self.actors.get(&id) else { return };
        if let ActorState::New = actor.state {
            return; // its constructor runs first
        }
        let process = actor.process;
        self.give_up_restarts(id);
        self.actors.remove(&id);
        if let Some(process) = process {
            self.stop(process);
        }
    }

    /// The process of the actor has ended.
    pub(crate) fn actor_process_lost(
        &mut self,
        id: DataId,
        process: ProcessId,
        error: TaskError,
        expected: bool,
        unseen: &[DataId],
    ) {
        let Some(actor) = self.actors.get_mut(&id) else {
            return self.fail_task(id, error); // its constructor, while the session ends
        };
        if actor.process != Some(process) {
            return;
        }
        actor.process = None;
        if !expected && self.restart(id, &error, unseen) {
            return;
        }
        self.fail_task(id, error.clone()); // its constructor, if that has not ended
        if !expected {
            self.kill_actor(id, Arc::new(error));
        }
    }

    /// Every call of an actor fails: the session ends.
    pub(crate) fn end_actors(&mut self, error: &TaskError) {
        let mut actors: Vec<_> = self.actors.keys().copied().collect();
        actors.sort_unstable();
        for id in actors {
            self.kill_actor(id, Arc::new(error.clone()));
        }
    }
}
