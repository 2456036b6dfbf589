//! What other threads send to the thread that runs the event loop: a channel that is closed when the session ends.

use crate::host::supervisor::ProcessEvent;
use crate::protocol::worker::FromWorker;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// One input of the event loop.
#[derive(Debug)]
pub(super) enum Input {
    /// From a thread of the program.
    Message(FromWorker),
    /// From the supervisor.
    Process(ProcessEvent),
    /// End the session.
    Shutdown,
    /// A planted fault: the turn panics.
    #[cfg(test)]
    Panic,
}

/// The sending end of the inbox. After the receiving end is dropped, sends fail.
#[derive(Clone, Debug)]
pub(super) struct InboxSender(Arc<Shared>);

/// The receiving end of the inbox.
#[derive(Debug)]
pub(super) struct Inbox(Arc<Shared>);

/// A channel whose receiver takes all that there is at once: one lock for each batch. A channel that gives its items one
/// by one costs more here, where a program's thread sends, and often receives, every call.
#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    /// Whether there are inputs, readable without the lock.
    has_inputs: AtomicBool,
}

#[derive(Debug, Default)]
struct Queue {
    inputs: Vec<Input>,
    is_closed: bool,
}

/// Both ends of an inbox.
pub(super) fn inbox() -> (InboxSender, Inbox) {
    let shared = Arc::new(Shared::default());
    (InboxSender(shared.clone()), Inbox(shared))
}

impl InboxSender {
    /// Adds an input.
    ///
    /// # Errors
    ///
    /// The session has ended; the input comes back.
    pub(super) fn send(&self, input: Input) -> Result<(), Input> {
        let mut queue = self.0.lock();
        if queue.is_closed {
            return Err(input);
        }
        queue.inputs.push(input);
        self.0.has_inputs.store(true, Ordering::Release);
        Ok(())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Inbox {
    /// An inbox that stays empty.
    pub(super) fn never() -> Self {
        Inbox(Arc::default())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes all inputs, in the order in which they were sent. `inputs` is empty; its memory is used for later ones.
    pub(super) fn take_into(&self, inputs: &mut Vec<Input>) {
        let mut queue = self.0.lock();
        self.0.has_inputs.store(false, Ordering::Release);
        std::mem::swap(&mut queue.inputs, inputs);
    }
}

/// What was not read is dropped without the lock, since the values of a program may be in it.
impl Drop for Inbox {
    fn drop(&mut self) {
        let unread = {
            let mut queue = self.0.lock();
            queue.is_closed = true;
            self.0.has_inputs.store(false, Ordering::Release);
            std::mem::take(&mut queue.inputs)
        };
        drop(unread);
    }
}

impl Shared {
    fn is_empty(&self) -> bool {
        !self.has_inputs.load(Ordering::Acquire)
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scheduler::Request;
    use crate::testing::call;
    use unidist_common::{DataId, ProcessId};

    #[test]
    fn inbox_keeps_nothing_after_the_end() {
        let (sender, receiver) = inbox();
        let submit = || {
            let spec = Box::new(call(DataId::new(ProcessId::CONTROLLER, 1), 8));
            let options = spec.options.clone();
            (Input::Message(FromWorker::Request(Request::Submit { spec, caller: None })), options)
        };
        let (message, queued) = submit();
        sender.send(message).unwrap();
        assert_eq!(Arc::strong_count(&queued), 2);
        drop(receiver);
        assert_eq!(Arc::strong_count(&queued), 1);
        let (message, late) = submit();
        assert!(sender.send(message).is_err());
        assert_eq!(Arc::strong_count(&late), 1);
    }
}
