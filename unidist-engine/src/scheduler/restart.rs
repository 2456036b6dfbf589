//! Actors that are started again when their process dies: `max_restarts`.
//!
//! The constructor runs again, with the same arguments, which are kept for it. Calls that the process had not seen, and
//! those that may be retried, run before those that still waited, so each caller's calls stay in order.

use super::Scheduler;
use super::actors::ActorState;
use super::request::Value;
use super::tasks::{Task, TaskState};
use unidist_common::{DataId, ErrorKind, ProcessId, TaskError, TaskSpec};

/// What an actor is started again with. It holds a reference to each dependency and each borrowed object.
#[derive(Debug)]
pub(super) struct Again {
    spec: Box<TaskSpec>,
    /// How often it may be, still.
    left: u32,
}

impl Scheduler {
    pub(super) fn keep_for_restarts(&mut self, spec: &TaskSpec) -> Option<Box<Again>> {
        let left = spec.options.max_restarts.filter(|times| *times > 0)?;
        self.pin(spec);
        Some(Box::new(Again { spec: Box::new(spec.clone()), left }))
    }

    /// Takes the references that a call holds. What they are to is there: somebody else has one.
    fn pin(&mut self, spec: &TaskSpec) {
        for id in spec.dependencies.iter().chain(&spec.borrowed) {
            let _ = self.objects.retain(*id);
        }
    }

    /// The actor will not be started again.
    pub(super) fn give_up_restarts(&mut self, id: DataId) {
        if let Some(again) = self.actors.get_mut(&id).and_then(|actor| actor.again.take()) {
            again.spec.dependencies.iter().chain(&again.spec.borrowed).for_each(|id| self.release(*id));
        }
    }

    /// The process of the actor has died: starts it again, if it may be. False if the actor is dead.
    pub(super) fn restart(&mut self, id: DataId, error: &TaskError, unseen: &[DataId]) -> bool {
        if self.ending || self.objects_lack(id) {
            return false;
        }
        let again = self.actors.get(&id).and_then(|actor| actor.again.as_ref());
        let Some(options) = again.map(|again| again.spec.options.clone()) else { return false };
        if self.resources.classify(&options, true, None).is_err() {
            return false; // the host is lost that had what it needs
        }
        let Some(actor) = self.actors.get_mut(&id) else { return false };
        let Some(again) = actor.again.as_mut() else { return false };
        again.left -= 1;
        let (spec, is_last) = (again.spec.clone(), again.left == 0);
        actor.restarts += 1;
        actor.state = ActorState::New;
        let name = actor.name.clone();
        let mut sent: Vec<_> = actor.sent.drain().collect();
        sent.sort_unstable_by_key(|call| self.tasks.get(call).map_or(0, |task| task.arrival));
        if !self.tasks.contains_key(&id) {
            self.add_constructor(spec);
        }
        if is_last {
            self.give_up_restarts(id);
        }
        self.make_ready_again(id);
        self.fail_for_want_of_objects(id);
        let mut lost = Vec::new();
        for call in sent.into_iter().rev() {
            if !self.put_back(id, call, unseen.contains(&call)) {
                lost.push(call);
            }
        }
        for call in lost.into_iter().rev() {
            let message = format!("the process of actor `{name}` died, and the actor is started again");
            let error = TaskError::new(ErrorKind::ActorDied, message).because(error.clone());
            self.fail_task(call, error);
        }
        true
    }

    /// What the constructor needs may be lost since it ran.
    fn fail_for_want_of_objects(&mut self, id: DataId) {
        let dependencies = self.tasks.get(&id).map(|task| task.spec.dependencies.clone()).unwrap_or_default();
        let failed = dependencies.into_iter().find_map(|needed| match self.objects.value(needed) {
            Value::Failed(cause) => Some(cause),
            Value::Ready(_) => None,
        });
        if let Some(cause) = failed {
            self.fail_dependent(id, &cause);
        }
    }

    /// The actor's constructor, which has run before, is a call once more.
    fn add_constructor(&mut self, spec: Box<TaskSpec>) {
        self.pin(&spec);
        let class =
            self.resources.classify(&spec.options, true, None).unwrap_or(super::resources::Class::DEFAULT);
        let task = Task {
            class,
            caller: (ProcessId::CONTROLLER, None),
            arrival: 0,
            missing: 0,
            lost: 0,
            spared: 0,
            state: TaskState::Waiting,
            spec,
        };
        // It ended when the actor was made, so there is none with this id.
        let _ = self.tasks.insert(task.spec.id(), task);
    }

    /// A call that was with the dead process goes before those that wait, if it may run. False if it is lost.
    fn put_back(&mut self, id: DataId, call: DataId, is_unseen: bool) -> bool {
        let Some(task) = self.tasks.get_mut(&call) else { return true };
        if !is_unseen && !task.may_run_again() {
            return false;
        }
        task.state = TaskState::Waiting;
        let caller = task.caller;
        if let Some(actor) = self.actors.get_mut(&id) {
            actor.waiting.entry(caller).or_default().push_front(call);
        }
        self.disarm(call);
        true
    }
}
