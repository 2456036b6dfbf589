//! Objects get their values.

use crate::scheduler::event::Action;
use crate::scheduler::request::Value;
use crate::scheduler::state::State;
use crate::scheduler::transitions::release::release;
use crate::store::StoredObject;
use std::sync::Arc;
use unidist_common::{DataId, HostId};

/// Gives a pending object its value, made on this host. Its waiters are notified once the event has been handled.
pub(crate) fn settle(state: &mut State, id: DataId, host: HostId, mut value: Value) {
    if let Value::Ready(object) = &mut value
        && !object.borrowed.is_empty()
    {
        // A ref to an object that does not exist stays dangling: its `get` fails, and nothing is released for it.
        Arc::make_mut(object).borrowed.retain(|borrowed| state.objects.retain(*borrowed));
    }
    match state.objects.set_value(id, value) {
        Ok(value) => {
            if let Value::Ready(object) = value {
                state.locations.add(id, host, object);
            }
            state.settled.push_back(id);
        }
        Err(value) => discard(state, host, value), // all references are gone
    }
}

/// Frees a value that has no object.
fn discard(state: &mut State, host: HostId, value: Value) {
    if let Value::Ready(object) = value {
        free_object(state, host, &object);
        object.borrowed.iter().for_each(|id| release(state, *id));
    }
}

/// Frees the blocks of an object's parts.
pub(crate) fn free_object(state: &mut State, host: HostId, object: &StoredObject) {
    state.actions.extend(object.blocks().map(|block| Action::Free { host, block }));
    state.actions.extend(object.spilled_blocks().map(|block| Action::FreeSpilled { host, block }));
}
