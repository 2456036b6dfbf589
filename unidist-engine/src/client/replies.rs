//! What the engine's replies mean to the caller.

use super::Transport;
use super::pending::Slot;
use crate::protocol::worker::{Reply, Value};
use crate::store::client::ObjectStore;
use unidist_backend::Outcome;
use unidist_common::{DataId, Error, Result};

/// The reply in the slot, or why there is none.
pub(crate) fn take_reply<T: Transport + ?Sized>(transport: &T, call: &str, slot: &Slot) -> Result<Reply> {
    match slot.take() {
        Some(Reply::Failed(error)) => Err(error.of_waiter(call)),
        Some(reply) => Ok(reply),
        None => {
            transport.check_cancelled()?;
            transport.check_running(call)?;
            Err(session_ended(call))
        }
    }
}

/// The error of a call after the end of the session.
pub(crate) fn session_ended(call: &str) -> Error {
    Error::SessionEnded { call: call.into() }
}

/// The error of a call to which the engine replied with something else.
pub(super) fn unexpected(call: &str) -> Error {
    Error::system(call.to_owned(), "the engine sent a reply of another type")
}

/// The error of a call in a forked child.
pub(crate) fn forked(call: &str) -> Error {
    Error::Forked { call: call.into() }
}

/// The number in a reply.
pub(super) fn count(call: &str, reply: Reply) -> Result<usize> {
    match reply {
        Reply::Count(count) => Ok(count as usize),
        _ => Err(unexpected(call)),
    }
}

/// The outcomes of these objects.
pub(super) fn load_all(store: &ObjectStore, ids: &[DataId], values: &[Value]) -> Vec<Outcome> {
    ids.iter().zip(values).map(|(id, value)| load_value(store, *id, value)).collect()
}

/// The outcome of one object, from the reply to a request for it.
pub(super) fn load_one(store: &ObjectStore, id: DataId, reply: Reply) -> Outcome {
    match reply {
        Reply::Values(values) if values.len() == 1 => load_value(store, id, &values[0]),
        Reply::Failed(error) => Err(error.into()),
        _ => Err(unexpected("await").into()),
    }
}

fn load_value(store: &ObjectStore, id: DataId, value: &Value) -> Outcome {
    match value {
        Value::Ready(object) => store.load_reply(id, object),
        Value::Failed(error) => Err((**error).clone()),
    }
}
