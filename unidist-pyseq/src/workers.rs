//! The workers of a session. They differ in name only: the sequential thread is all of them.

use unidist_backend::WorkerInfo;
use unidist_common::{ErrorKind, ProcessId, Result, Target, TaskError, TaskSpec};

/// One worker for each CPU slot, so that programs which spread work over workers behave as on other backends.
#[derive(Debug)]
pub(crate) struct Workers {
    names: Vec<ProcessId>,
    next: usize,
}

impl Workers {
    pub(crate) fn new(count: usize) -> Self {
        let number = |n: usize| u32::try_from(n).ok().and_then(ProcessId::new);
        Workers { names: (1..=count.max(1)).map_while(number).collect(), next: 0 }
    }

    /// The worker of a new call: the one it asks for, or the next.
    ///
    /// # Errors
    ///
    /// There is no such worker.
    pub(crate) fn choose(&mut self, spec: &TaskSpec) -> Result<Option<ProcessId>, TaskError> {
        match (spec.target, spec.options.worker) {
            (Target::NewActor | Target::Actor(_), _) => Ok(None),
            (Target::Pool, Some(worker)) => self.check(worker).map(|()| Some(worker)),
            (Target::Pool, None) => {
                self.next = (self.next + 1) % self.names.len();
                Ok(Some(self.names[self.next]))
            }
        }
    }

    /// Whether there is this worker.
    ///
    /// # Errors
    ///
    /// There is none.
    pub(crate) fn check(&self, worker: ProcessId) -> Result<(), TaskError> {
        if self.names.contains(&worker) {
            return Ok(());
        }
        let message = format!("the call is bound to {worker}, which has ended or never existed");
        Err(TaskError::new(ErrorKind::WorkerGone, message).on_worker(&worker.to_string()))
    }

    /// Removes a worker: whether it existed; `None` if it is the last.
    pub(crate) fn end(&mut self, worker: ProcessId) -> Option<bool> {
        if !self.names.contains(&worker) {
            return Some(false);
        }
        if self.names.len() == 1 {
            return None;
        }
        self.names.retain(|other| *other != worker);
        Some(true)
    }

    pub(crate) fn list(&self, host: &str) -> Vec<WorkerInfo> {
        let pid = std::process::id();
        self.names.iter().map(|name| WorkerInfo::new(*name, host, pid)).collect()
    }
}
