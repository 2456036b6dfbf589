//! What the world asks of a process.

use super::Process;
use crate::protocol::worker::{Run, ToWorker};
use crate::simulation::frame::View;
use unidist_backend::CallKind;
use unidist_common::TaskId;

impl Process {
    /// The views of this process.
    pub(in crate::simulation) fn views(&self) -> impl Iterator<Item = &View> {
        self.stack.iter().chain(&self.suspended).flat_map(|frame| &frame.views)
    }

    /// The calls that have started and not ended.
    pub(in crate::simulation) fn running(&self) -> impl Iterator<Item = TaskId> + '_ {
        self.stack.iter().chain(&self.suspended).map(|frame| frame.run.id)
    }

    /// How many calls that have not started keep arguments in memory. Not counted are as many as the scheduler may take to
    /// be running: the next one of an idle worker, and one on top of each running call.
    pub(in crate::simulation) fn arguments_kept_ahead(&self) -> usize {
        let arriving = self.inbox.iter().filter_map(|message| match message {
            ToWorker::Run(run) => Some(run),
            _ => None,
        });
        let waiting = self.queue.iter().chain(arriving);
        let keeps = |run: &&Run| run.objects.iter().any(|(_, object)| object.blocks().next().is_some());
        waiting
            .filter(|run| run.kind == CallKind::Task && !run.nested)
            .filter(keeps)
            .count()
            .saturating_sub(1 + self.stack.len())
    }

    /// The calls that were sent here and have not started.
    pub(in crate::simulation) fn unstarted(&self) -> impl Iterator<Item = TaskId> + '_ {
        let arriving = self.inbox.iter().filter_map(|message| match message {
            ToWorker::Run(run) => Some(run.id),
            _ => None,
        });
        self.queue.iter().map(|run| run.id).chain(arriving)
    }

    /// Whether this call waits here for its turn while another one runs.
    pub(in crate::simulation) fn runs_before(&self, call: TaskId) -> bool {
        let is_it = |run: &Run| run.id == call && !run.nested;
        let arrives = |message: &ToWorker| matches!(message, ToWorker::Run(run) if is_it(run));
        !self.can_take() && (self.queue.iter().any(is_it) || self.inbox.iter().any(arrives))
    }
}
