//! Threads that the calls of a simulated process have started.

use super::Process;
use crate::protocol::worker::{Blocks, FromWorker, Request, RequestId};

impl Process {
    /// A thread asks for what it needs, whatever runs on top of the task that has started it by now.
    pub(super) fn ask_on_thread(&mut self) {
        let (request, ids) = self.threads.remove(0);
        self.outbox.push_back(FromWorker::Request(Request::Get {
            request,
            ids: ids.clone(),
            blocks: Blocks::Thread,
        }));
        self.late.push((request, ids));
    }

    /// Whether the running call waits for threads that it has started.
    pub(super) fn waits_for_threads(&self) -> bool {
        let is_open =
            |request: &RequestId| self.late.iter().chain(&self.threads).any(|(other, _)| other == request);
        self.stack.last().is_some_and(|frame| {
            let joins = frame.joins_at_once || frame.steps.is_empty();
            joins && frame.waiting.is_none() && frame.joined.iter().any(is_open)
        })
    }
}
