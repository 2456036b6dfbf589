//! A reply with values could not be sent.

use crate::scheduler::request::Value;
use crate::scheduler::state::State;
use crate::scheduler::transitions::views::unpin_view;
use std::sync::Arc;
use unidist_common::ProcessId;

/// The process does not get the views that came with the reply.
pub(crate) fn on_reply_undelivered(state: &mut State, process: ProcessId, values: &[Value]) {
    let viewed = state.locations.viewed_copies(process);
    for value in values {
        if let Value::Ready(object) = value
            && let Some(id) = viewed.get(&Arc::as_ptr(object))
        {
            unpin_view(state, process, *id);
        }
    }
}
