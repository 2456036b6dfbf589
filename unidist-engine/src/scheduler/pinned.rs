//! Calls for one worker alone.
//!
//! They go to it when it is idle, wait behind what it runs as others do, and run on top of a task of it that waits for
//! them. While it waits for something else they wait, too; whether that can ever end is asked when it begins. When the
//! worker is gone, they fail.

use super::Scheduler;
use super::dispatch::{Placed, Site};
use super::event::Role;
use super::request::RequestId;
use super::resources::{Class, HeldBack};
use super::tasks::TaskState;
use super::workers::{FrameState, Phase};
use crate::network::HostId;
use unidist_common::{DataId, ErrorKind, ProcessId, TaskError};

impl Scheduler {
    /// Where the worker is for which a call is.
    pub(super) fn home_of_worker(&self, worker: ProcessId) -> Result<(ProcessId, HostId), TaskError> {
        let known = self.workers.get(&worker).filter(|known| known.role == Role::Pool);
        match known.filter(|known| matches!(known.phase, Phase::Starting | Phase::Live)) {
            Some(known) => Ok((worker, known.host)),
            None => Err(gone(worker)),
        }
    }

    pub(super) fn is_pinned(&self, call: DataId) -> bool {
        self.tasks.get(&call).is_some_and(|task| self.resources.worker(task.class).is_some())
    }

    /// Puts a ready call where it is to run, if it can be now.
    pub(super) fn place_on_worker(
        &mut self,
        class: Class,
        task: DataId,
        process: ProcessId,
        site: Option<Site>,
        held: &mut HeldBack,
    ) -> Placed {
        if let Err(error) = self.home_of_worker(process) {
            self.fail_task(task, error);
            return Placed::Yes;
        }
        if let Some(error) = self.resources.why_hopeless(class) {
            self.fail_task(task, error);
            return Placed::Yes;
        }
        let Some(site) = site else { return Placed::Busy };
        if site.absent > 0 {
            return if self.fetch(class, task, site) { Placed::Yes } else { Placed::Busy };
        }
        let Some(worker) = self.workers.get(&process) else { return Placed::Busy };
        if worker.is_idle() {
            return match self.resources.fits(class, site.host) {
                true => {
                    self.resources.pop(class);
                    self.run_on(process, task, false);
                    Placed::Yes
                }
                false if self.resources.lacks_cpus_only(class, site.host) => Placed::NoWorker,
                false => Placed::NoResource,
            };
        }
        if let Some(request) = worker.blocked_on() {
            if self.run_nested(process, request) {
                return Placed::Yes; // not necessarily this one, but the queue is looked at again
            }
            self.look_for_deadlock(process, request);
            return Placed::Busy;
        }
        if self.is_awaited_asynchronously(process, task) && self.resources.fits(class, site.host) {
            self.resources.pop(class);
            self.run_on(process, task, true);
            return Placed::Yes;
        }
        let Some(worker) = self.workers.get(&process) else { return Placed::Busy };
        if worker.is_active() && self.resources.may_go_ahead(class) {
            if self.takes_more(worker) && !held.is_reserved(process) {
                self.resources.pop(class);
                self.send_ahead(process, task);
                return Placed::Yes;
            }
        } else {
            // It waits until the worker is idle: nothing else is to come before it there.
            held.reserve(process);
            let ahead = worker.ahead.iter().copied().collect();
            self.recall(process, ahead);
        }
        Placed::Busy
    }

    /// Whether the asynchronous task on top of this worker's stack, which waits, waits for this call.
    fn is_awaited_asynchronously(&self, process: ProcessId, call: DataId) -> bool {
        let top = self.workers.get(&process).and_then(|worker| worker.stack.last());
        top.is_some_and(|frame| frame.state == FrameState::Yielded)
            && self
                .requests
                .keys()
                .filter(|key| key.0 == process)
                .any(|key| self.search_awaited(process, key.1, |other, _| other == call).is_some())
    }

    /// A call waits behind a task that waits: if that, over others, waits for the call, it is told so. Asked whenever such
    /// calls have become ready; whoever begins to wait later asks for itself.
    fn look_for_deadlock(&mut self, process: ProcessId, request: RequestId) {
        let Some(worker) = self.workers.get_mut(&process) else { return };
        let now = (request, self.resources.pinned_arrivals());
        if worker.looked_behind.replace(now) == Some(now) {
            return;
        }
        let Some(waiting) = worker.stack.last().map(|frame| frame.task) else { return };
        if let Some(error) = self.deadlock(process, request, waiting) {
            self.refuse(process, request, &error);
        }
    }

    /// The worker is gone: so is every call that was for it alone.
    pub(super) fn fail_pinned(&mut self, process: ProcessId, error: &TaskError) {
        if !self.resources.is_anything_for(process) {
            return;
        }
        let is_for_it = |class: Class| self.resources.worker(class) == Some(process);
        let left = self.tasks.iter().filter(|(_, task)| is_for_it(task.class));
        let mut left: Vec<_> =
            left.filter(|(_, task)| !matches!(task.state, TaskState::Sent(_))).map(|(id, _)| id).collect();
        left.sort_unstable();
        let error = TaskError { kind: ErrorKind::WorkerGone, ..error.clone() };
        left.into_iter().for_each(|call| self.fail_task(call, error.clone()));
    }
}

fn gone(worker: ProcessId) -> TaskError {
    let message = format!("the call is for {worker} alone, and there is no such worker (any more)");
    TaskError::new(ErrorKind::WorkerGone, message).on_worker(&worker.to_string())
}
