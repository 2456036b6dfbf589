//! A submitted call.

use super::callbacks::Callbacks;
use super::completion::{Completion, EndStatus, OnEnd};
use super::error::{Error, Result};
use super::future::Source;
use super::shared::{Outstanding, Shared};
use std::sync::{Arc, OnceLock};
use std::time::Instant;
use unidist_core::{
    CallStatus, ErrorKind, ObjectRef, Portable, Ready, TaskError, cancel_unstarted, get, status, wait,
};

pub(super) struct Call<T> {
    shared: Arc<Shared>,
    reference: ObjectRef<T>,
    completion: Completion,
    failure: OnceLock<TaskError>,
}

impl<T: Portable> Call<T> {
    /// Registers a call with the executor until it has ended.
    pub(super) fn register(shared: &Arc<Shared>, reference: ObjectRef<T>) -> Arc<Self> {
        let call = Arc::new(Call {
            shared: shared.clone(),
            reference,
            completion: Completion::default(),
            failure: OnceLock::new(),
        });
        let key = shared.register(call.clone());
        let this = call.clone();
        call.reference.when_ready(move |ready| {
            this.complete(&ready);
            this.shared.unregister(key);
        });
        call
    }

    fn complete(&self, ready: &Ready<T>) {
        let Some(error) = ready.error() else {
            self.completion.complete(EndStatus::Value);
            return;
        };
        self.shared.record_failure(error);
        let _ = self.failure.set(error.clone());
        self.completion.complete(self.end_of(Some(error)));
    }

    fn end_of(&self, error: Option<&TaskError>) -> EndStatus {
        match error {
            Some(error) if error.kind == ErrorKind::Cancelled && !self.shared.is_broken() => {
                EndStatus::Cancelled
            }
            _ => EndStatus::Failed,
        }
    }
}

impl<T: Portable> Source<T> for Call<T> {
    fn wait(&self, deadline: Option<Instant>) -> Result<bool> {
        if self.completion.end().is_some() {
            return Ok(true);
        }
        // Not on the completion: `wait` releases the CPU slot in a task, and runs the event loop elsewhere.
        let timeout = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let waited = wait(&self.reference, 1, timeout).map_err(|error| self.shared.classify(error))?;
        Ok(!waited.ready.is_empty())
    }

    fn outcome(&self) -> Result<T> {
        get(&self.reference).map_err(|error| self.shared.classify(error))
    }

    fn end(&self) -> Option<EndStatus> {
        if let Some(end) = self.completion.end() {
            return Some(end);
        }
        // It may have ended without a report yet.
        match status(&self.reference).as_deref() {
            Ok([CallStatus::Ended]) => {
                let end = match get(&self.reference) {
                    Ok(_) => EndStatus::Value,
                    Err(error) => self.end_of(error.as_task()),
                };
                self.completion.complete(end);
                self.completion.end()
            }
            Ok(_) => None,
            Err(_) => Some(EndStatus::Failed), // the session has ended
        }
    }

    fn failure(&self) -> Option<Error> {
        if let Some(error) = self.failure.get() {
            return Some(self.shared.classify_task(error.clone()));
        }
        match self.completion.end() {
            Some(EndStatus::Cancelled) => Some(Error::Cancelled),
            _ => self.outcome().err(),
        }
    }

    fn is_running(&self) -> bool {
        self.completion.end().is_none()
            && matches!(status(&self.reference).as_deref(), Ok([CallStatus::Running(_)]))
    }

    fn cancel(&self) -> bool {
        if self.completion.end().is_none() && cancel_unstarted(&self.reference).is_ok_and(|count| count > 0) {
            self.completion.complete(EndStatus::Cancelled);
        }
        self.completion.end() == Some(EndStatus::Cancelled)
    }

    fn on_end(&self, then: OnEnd) {
        self.completion.on_end(then);
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
        if self.completion.end().is_none() {
            wait(&self.reference, 1, None)?;
        }
        Ok(())
    }

    fn cancel_unstarted(&self) -> unidist_core::Result<()> {
        cancel_unstarted(&self.reference).map(|_| ())
    }
}
