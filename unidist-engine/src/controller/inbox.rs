//! What other threads send to the thread that runs the event loop: a channel that is closed when the session ends.

use crate::host::supervisor::ProcessEvent;
use crate::protocol::worker::FromWorker;
use crossbeam_channel::{Receiver, Sender};

/// One input of the event loop.
#[derive(Debug)]
pub(super) enum Input {
    /// From a thread of the program.
    Message(FromWorker),
    /// From the supervisor.
    Process(ProcessEvent),
    /// End the session.
    Shutdown,
}

/// The sending end of the inbox. After the receiving end is dropped, sends fail.
pub(super) type InboxSender = Sender<Input>;
/// The receiving end of the inbox.
pub(super) type Inbox = Receiver<Input>;

pub(super) fn inbox() -> (InboxSender, Inbox) {
    crossbeam_channel::unbounded()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scheduler::Request;
    use crate::testing::call;
    use std::sync::Arc;
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
