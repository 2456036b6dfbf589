//! The event loop of this process as the transport of the program's requests.

use super::driver::Driver;
use super::event_loop::EventLoop;
use super::inbox::Input;
use super::settings::ControllerSettings;
use super::shutdown_once::ShutdownOnce;
use crate::client::Transport;
use crate::client::forked;
use crate::client::pending::{Callback, PendingRequests, Slot};
use crate::host::supervisor::Supervisor;
use crate::protocol::worker::{Blocks, FromWorker, Reply, Request, RequestId};
use crate::store::{Block, Place};
use std::io::{Write, stderr};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use unidist_backend::Owner;
use unidist_common::{DataId, Error, IdSource, Object, ProcessId, Result, TaskId, TaskSpec};

/// How long the end of a session waits for running calls without a word.
const QUIET_END: Duration = Duration::from_secs(3);
/// How many calls the message about that names.
const MAX_NAMED: usize = 8;

/// The controller's end of the engine: its event loop, and what starts and ends with it.
pub(super) struct Controller {
    pub(super) owner: Owner,
    pub(super) event_loop: Arc<EventLoop>,
    pub(super) supervisor: Arc<Supervisor>,
    pub(super) settings: ControllerSettings,
    pub(super) ids: IdSource,
    pub(super) engine_thread: Mutex<Option<JoinHandle<()>>>,
    pub(super) shutdown: ShutdownOnce,
}

impl Controller {
    /// Starts the first workers and waits until they have joined.
    pub(super) fn start_workers(&self) -> Result<()> {
        self.event_loop.lock_driver().start_workers();
        let mut started = None;
        self.event_loop.run_until(None, |driver| {
            started = driver.and_then(Driver::started);
            started.is_some()
        });
        started.unwrap_or(Ok(()))
    }
}

impl Transport for Controller {
    fn backend_name(&self) -> &'static str {
        self.settings.backend
    }

    fn owner(&self) -> &Owner {
        &self.owner
    }

    fn ids(&self) -> &IdSource {
        &self.ids
    }

    fn pending(&self) -> &PendingRequests {
        &self.event_loop.requests
    }

    fn check_running(&self, call: &str) -> Result<()> {
        if self.is_forked() {
            return Err(forked(call));
        }
        if self.event_loop.ended.load(Ordering::Acquire) {
            Err(self.event_loop.end_error(call))
        } else {
            Ok(())
        }
    }

    /// No call runs in this process.
    fn check_cancelled(&self) -> Result<()> {
        Ok(())
    }

    /// The inbox takes objects of any size.
    fn check_size(&self, _: &Object) -> Result<()> {
        Ok(())
    }

    fn blocks(&self) -> Blocks {
        Blocks::Nothing
    }

    fn current_worker(&self) -> Option<ProcessId> {
        None
    }

    fn is_cancelled(&self, _: TaskId) -> bool {
        false
    }

    fn submit(&self, task: Box<TaskSpec>) {
        let event_loop = &*self.event_loop;
        if let Some(limit) = self.settings.max_pending_tasks {
            event_loop.throttled.fetch_add(1, Ordering::SeqCst);
            event_loop.run_until(None, |_| event_loop.pending_tasks.load(Ordering::Relaxed) < limit);
            event_loop.throttled.fetch_sub(1, Ordering::SeqCst);
        }
        event_loop.send(FromWorker::Request(Request::Submit { spec: task, caller: None }));
        event_loop.poll_or_wake();
    }

    fn send(&self, message: FromWorker) {
        self.event_loop.send(message);
    }

    fn post(&self, message: FromWorker) {
        self.event_loop.send(message);
    }

    fn send_request(&self, call: &str, request: RequestId, message: FromWorker) {
        if !self.event_loop.send(message) {
            let callback = self.pending().answer(request, Reply::Failed(self.event_loop.end_error(call)));
            callback.into_iter().for_each(Callback::call);
        }
    }

    fn flush(&self) {
        self.event_loop.poll_or_wake();
    }

    fn wait(&self, slot: &Slot, deadline: Option<Instant>, _: &[DataId], _: Blocks) {
        self.event_loop.run_until(deadline, |_| slot.is_done());
    }

    fn wait_uninterrupted(&self, slot: &Slot) {
        self.event_loop.run_until(None, |_| slot.is_done());
    }

    fn allocate_block(&self, len: u64) -> Option<Block> {
        self.event_loop.arena.allocate(len)
    }

    fn free_block(&self, place: Place) {
        match place {
            Place::Memory(block) => self.event_loop.arena.free(block),
            Place::Disk(_) => _ = self.event_loop.send(FromWorker::FreeBlock(place)),
        }
    }

    fn shutdown(&self) -> Result<()> {
        let Some(_guard) = self.shutdown.begin() else {
            return Ok(());
        };
        let Some(thread) = self.engine_thread.lock().unwrap_or_else(PoisonError::into_inner).take() else {
            return Ok(());
        };
        let event_loop = &*self.event_loop;
        // It fails only after the end of the session.
        let _ = event_loop.inbox.send(Input::Shutdown);
        let quiet = Instant::now().checked_add(QUIET_END);
        let mut has_ended = false;
        event_loop.run_until(quiet, |driver| {
            has_ended = driver.is_some_and(Driver::has_ended);
            has_ended
        });
        if !has_ended {
            let mut calls = Vec::new();
            event_loop.run_until(None, |driver| {
                calls = driver.map(Driver::running_calls).unwrap_or_default();
                driver.is_some()
            });
            print_running_calls(calls);
            event_loop.run_until(None, |driver| driver.is_some_and(Driver::has_ended));
        }
        event_loop.ended.store(true, Ordering::Release);
        event_loop.segment.bell().ring();
        self.supervisor.end();
        let (hosts, inbox) = {
            let mut driver = event_loop.lock_driver();
            (driver.take_remote_hosts(), driver.take_inbox())
        };
        // Without the lock: the first waits for the monitors, the second drops values of the program.
        drop(hosts);
        drop(inbox);
        event_loop.requests.answer_all(&Reply::Failed(event_loop.end_error("get")));
        if thread.thread().id() == std::thread::current().id() {
            return Ok(()); // a callback ends the session: the thread ends after it
        }
        thread.join().map_err(|_| {
            Error::system("the engine's thread panicked", "see its message on standard error")
        })?;
        event_loop.failure().cloned().map_or(Ok(()), Err)
    }
}

/// Says what the end of the session waits for: with the program's handle of the session, `main` waits, and an error that
/// it returns is not printed yet.
fn print_running_calls(mut calls: Vec<String>) {
    if calls.is_empty() {
        return; // processes that have nothing left to do end
    }
    let others = calls.len().saturating_sub(MAX_NAMED);
    calls.truncate(MAX_NAMED);
    let others = if others > 0 { format!(", and {others} more") } else { String::new() };
    // Standard error may be closed.
    let _ = writeln!(
        stderr(),
        "unidist: the end of the session waits for calls that have not returned: {}{others}. It continues when they \
         return; then an error of `main` is printed. Press Ctrl-C to end the program at once",
        calls.join(", ")
    );
}
