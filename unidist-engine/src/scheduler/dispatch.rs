//! Which ready call goes to which worker.
//!
//! Calls go in the order in which they became ready. One that asks for more CPUs than are free holds back the later
//! ones that need any, or it would never come to its turn; one that lacks a custom resource holds back nobody else.

use super::event::Role;
use super::resources::Class;
use super::tasks::TaskState;
use super::workers::{MAX_FAILED_STARTS, Phase, Worker};
use super::{Limits, Scheduler};
use crate::link::message::RequestId;
use rustc_hash::FxHashSet;
use unidist_common::{DataId, ErrorKind, ProcessId, TaskError};

/// How many calls a search for something that a blocked task waits for looks at.
const SEARCH_LIMIT: usize = 10_000;

/// How many of the objects that a blocked task waits for are looked for at busy workers.
const RECALL_LIMIT: usize = 64;

enum Placed {
    Yes,
    /// Not now: a process or a slot has to become free first.
    NoWorker,
    /// A custom resource is missing.
    NoResource,
}

impl Scheduler {
    /// Hands out what can be handed out.
    pub(crate) fn dispatch(&mut self) {
        if self.ending {
            return;
        }
        let mut held_back: Vec<Class> = Vec::new();
        let mut cpus_held_back = false;
        let mut starved: Vec<Class> = Vec::new();
        loop {
            let (resources, tasks) = (&mut self.resources, &self.tasks);
            let front = resources.next_ready(&held_back, cpus_held_back, |task| {
                tasks.get(&task).is_some_and(|task| task.state == TaskState::Ready)
            });
            let Some((class, task)) = front else { break };
            match self.place(class, task) {
                Placed::Yes => {}
                Placed::NoResource => {
                    held_back.push(class);
                    starved.push(class);
                }
                Placed::NoWorker if self.resources.needs_cpus(class) => cpus_held_back = true,
                Placed::NoWorker => held_back.push(class),
            }
        }
        if !starved.is_empty() {
            self.tell_waiters(); // of what could not be placed
            self.end_starvation(&starved);
        }
        self.steal();
        self.retire();
    }

    fn place(&mut self, class: Class, task: DataId) -> Placed {
        if !self.resources.fits(class) {
            return match self.resources.lacks_cpus_only(class) {
                true if class == Class::DEFAULT => self.place_ahead(task),
                true => Placed::NoWorker,
                false => Placed::NoResource,
            };
        }
        if self.resources.is_actor(class) {
            self.resources.pop(class);
            self.start_actor(task);
            return Placed::Yes;
        }
        if let Some(worker) = self.find_worker(Worker::is_idle) {
            self.resources.pop(class);
            self.run_on(worker, task, false);
            return Placed::Yes;
        }
        if self.run_nested_anywhere() {
            return Placed::Yes; // not necessarily this one, but the queue is looked at again
        }
        if self.pool.is_empty() && self.failed_starts >= MAX_FAILED_STARTS {
            let message = "no worker process can be started; the log says why";
            self.fail_task(task, TaskError::new(ErrorKind::WorkerDied, message));
            return Placed::Yes;
        }
        if self.starting == 0 && self.pool.len() < self.limits.max_pool {
            self.start_pool_worker();
        }
        Placed::NoWorker
    }

    fn run_on(&mut self, process: ProcessId, task: DataId, nested: bool) {
        self.send(process, task, nested);
        self.push_frame(process, task);
    }

    /// Sends a task to a busy worker, to be there when it is done with what it runs.
    fn place_ahead(&mut self, task: DataId) -> Placed {
        let depth = Limits::QUEUE_AHEAD;
        let takes_more = |worker: &Worker| {
            worker.is_active()
                && worker.recalling.is_none()
                && worker.ahead.len() < depth
                && matches!(worker.stack.as_slice(), [frame] if frame.class == Class::DEFAULT
                    && !self.is_doomed(frame.task))
        };
        let shortest = self
            .pool
            .iter()
            .filter_map(|process| Some((*process, self.workers.get(process)?)))
            .filter(|(_, worker)| takes_more(worker))
            .min_by_key(|(_, worker)| worker.ahead.len());
        let Some((process, _)) = shortest else {
            return Placed::NoWorker;
        };
        self.resources.pop(Class::DEFAULT);
        self.send(process, task, false);
        if let Some(worker) = self.workers.get_mut(&process) {
            worker.ahead.push_back(task);
        }
        Placed::Yes
    }

    /// The worker that the next call would be sent to, if one has nothing to do.
    pub(crate) fn idle_worker(&self) -> Option<ProcessId> {
        self.find_worker(Worker::is_idle)
    }

    fn find_worker(&self, wanted: impl Fn(&Worker) -> bool) -> Option<ProcessId> {
        self.pool.iter().copied().find(|process| self.workers.get(process).is_some_and(&wanted))
    }

    /// Runs something on top of a blocked task that waits for it.
    fn run_nested_anywhere(&mut self) -> bool {
        let blocked: Vec<_> = self
            .pool
            .iter()
            .filter_map(|process| Some((*process, self.workers.get(process)?.blocked_on()?)))
            .collect();
        blocked.into_iter().any(|(process, request)| self.run_nested(process, request))
    }

    /// Runs on this process, which waits for the request, something ready that it waits for; the newest first.
    pub(crate) fn run_nested(&mut self, process: ProcessId, request: RequestId) -> bool {
        let live = self.workers.get(&process).is_some_and(|worker| worker.phase == Phase::Live);
        if self.ending || !live || self.top_is_doomed(process) {
            return false;
        }
        let Some(task) = self.find_awaited(process, request) else {
            return false;
        };
        self.run_on(process, task, true);
        true
    }

    fn find_awaited(&self, process: ProcessId, request: RequestId) -> Option<DataId> {
        let mut search = self.requests.get(&(process, request))?.ids.clone();
        let mut seen = FxHashSet::default();
        while let Some(id) = search.pop() {
            let Some(maker) = self.objects.maker(id) else {
                continue;
            };
            if seen.len() >= SEARCH_LIMIT || !seen.insert(maker) {
                continue;
            }
            let Some(task) = self.tasks.get(&maker) else {
                continue;
            };
            match task.state {
                TaskState::Ready
                    if !self.resources.is_actor(task.class) && self.resources.fits(task.class) =>
                {
                    return Some(maker);
                }
                TaskState::Waiting => search.extend(&task.spec.dependencies),
                TaskState::Ready | TaskState::Sent(_) => {}
            }
        }
        None
    }

    /// An idle worker takes over half of what the busiest has waiting; a blocked one what it waits for.
    fn steal(&mut self) {
        if !self.resources.fits(Class::DEFAULT) {
            return;
        }
        if self.find_worker(Worker::is_idle).is_none() {
            return self.recall_awaited();
        }
        let busiest = self
            .pool
            .iter()
            .filter_map(|process| Some((*process, self.workers.get(process)?)))
            .filter(|(_, worker)| worker.recalling.is_none() && !worker.ahead.is_empty())
            .max_by_key(|(_, worker)| worker.ahead.len());
        let Some((process, _)) = busiest else { return };
        if let Some(worker) = self.workers.get(&process) {
            let keep = worker.ahead.len() / 2;
            self.recall(process, worker.ahead.iter().skip(keep).copied().collect());
        }
    }

    /// There is a free slot, and blocked tasks wait for what lies ahead at busy workers: it comes back.
    fn recall_awaited(&mut self) {
        let blocked = self.pool.iter().filter_map(|process| {
            let request = self.workers.get(process)?.blocked_on()?;
            self.requests.get(&(*process, request))
        });
        let mut awaited: Vec<(ProcessId, DataId)> = Vec::new();
        for id in blocked.flat_map(|request| request.ids.iter().rev().take(RECALL_LIMIT)) {
            let Some(maker) = self.objects.maker(*id) else { continue };
            if let Some(TaskState::Sent(process)) = self.tasks.get(&maker).map(|task| task.state)
                && self.workers.get(&process).is_some_and(|w| w.is_active() && w.ahead.contains(&maker))
            {
                awaited.push((process, maker));
            }
        }
        awaited.sort_unstable();
        awaited.dedup();
        for calls in awaited.chunk_by(|one, other| one.0 == other.0) {
            self.recall(calls[0].0, calls.iter().map(|(_, call)| *call).collect());
        }
    }

    /// Ends spare processes that a deep recursion has left behind.
    fn retire(&mut self) {
        if self.pool.len() <= self.slots {
            return;
        }
        let idle: Vec<_> = self
            .pool
            .iter()
            .copied()
            .filter(|process| self.workers.get(process).is_some_and(|w| w.role == Role::Pool && w.is_idle()))
            .collect();
        for process in idle.into_iter().skip(2 * self.slots) {
            self.pool.retain(|other| *other != process);
            self.stop(process);
        }
    }
}
