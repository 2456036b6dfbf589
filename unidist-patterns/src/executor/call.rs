//! A call that was submitted.

use super::callbacks::Callbacks;
use super::error::{Error, Result};
use super::future::Source;
use super::notice::{End, Notice, Then};
use super::shared::{Outstanding, Shared};
use std::sync::{Arc, OnceLock};
use std::time::Instant;
use unidist_core::{
    CallStatus, ErrorKind, ObjectRef, Portable, Ready, TaskError, cancel_unstarted, get, status, wait,
};

pub(super) struct Call<T> {
    shared: Arc<Shared>,
    reference: ObjectRef<T>,
    notice: Notice,
    failure: OnceLock<TaskError>,
}

impl<T: Portable> Call<T> {
    /// Enters a call into the executor's ledger, until it has ended.
    pub(super) fn enter(shared: &Arc<Shared>, reference: ObjectRef<T>) -> Arc<Self> {
        let call = Arc::new(Call {
            shared: shared.clone(),
            reference,
            notice: Notice::default(),
            failure: OnceLock::new(),
        });
        let key = shared.enter(call.clone());
        let told = call.clone();
        call.reference.when_ready(move |ready| {
            told.settle(&ready);
            told.shared.leave(key);
        });
        call
    }

    fn settle(&self, ready: &Ready<T>) {
        let Some(error) = ready.error() else {
            self.notice.settle(End::Value);
            return;
        };
        self.shared.notice_failure(error);
        let _ = self.failure.set(error.clone());
        self.notice.settle(self.end_of(Some(error)));
    }

    fn end_of(&self, error: Option<&TaskError>) -> End {
        match error {
            Some(error) if error.kind == ErrorKind::Cancelled && !self.shared.is_broken() => End::Cancelled,
            _ => End::Failed,
        }
    }
}

impl<T: Portable> Source<T> for Call<T> {
    fn wait(&self, deadline: Option<Instant>) -> Result<bool> {
        if self.notice.end().is_some() {
            return Ok(true);
        }
        // Not for the notice: in a task this gives the CPU slot back, and outside it takes the engine's turns.
        let timeout = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let waited = wait(&self.reference, 1, timeout).map_err(|error| self.shared.judge(error))?;
        Ok(!waited.ready.is_empty())
    }

    fn outcome(&self) -> Result<T> {
        get(&self.reference).map_err(|error| self.shared.judge(error))
    }

    fn end(&self) -> Option<End> {
        if let Some(end) = self.notice.end() {
            return Some(end);
        }
        // It may have ended without that having been told yet.
        match status(&self.reference).as_deref() {
            Ok([CallStatus::Ended]) => {
                let end = match get(&self.reference) {
                    Ok(_) => End::Value,
                    Err(error) => self.end_of(error.as_task()),
                };
                self.notice.settle(end);
                self.notice.end()
            }
            Ok(_) => None,
            Err(_) => Some(End::Failed), // the session has ended
        }
    }

    fn failure(&self) -> Option<Error> {
        if let Some(error) = self.failure.get() {
            return Some(self.shared.judge_task(error.clone()));
        }
        match self.notice.end() {
            Some(End::Cancelled) => Some(Error::Cancelled),
            _ => self.outcome().err(),
        }
    }

    fn is_running(&self) -> bool {
        self.notice.end().is_none()
            && matches!(status(&self.reference).as_deref(), Ok([CallStatus::Running(_)]))
    }

    fn cancel(&self) -> bool {
        if self.notice.end().is_none() && cancel_unstarted(&self.reference).is_ok_and(|count| count > 0) {
            self.notice.settle(End::Cancelled);
        }
        self.notice.end() == Some(End::Cancelled)
    }

    fn tell(&self, then: Then) {
        self.notice.tell(then);
    }

    fn reference(&self) -> Option<&ObjectRef<T>> {
        Some(&self.reference)
    }

    fn callbacks(&self) -> &Arc<Callbacks> {
        &self.shared.callbacks
    }
}

impl<T: Portable> Outstanding for Call<T> {
    fn wait(&self) -> unidist_core::Result<()> {
        if self.notice.end().is_none() {
            wait(&self.reference, 1, None)?;
        }
        Ok(())
    }

    fn cancel_unstarted(&self) -> unidist_core::Result<()> {
        cancel_unstarted(&self.reference).map(|_| ())
    }
}
