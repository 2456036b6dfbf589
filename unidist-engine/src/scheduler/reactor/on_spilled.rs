//! A copy of an object was moved to the spill file of its host.

use crate::scheduler::event::Action;
use crate::scheduler::state::State;
use crate::store::{Block, StoredObject};
use std::sync::Arc;
use unidist_common::{DataId, HostId};

/// The copy takes the place of the one in memory, unless that came into use or was freed meanwhile.
pub(crate) fn on_spilled(
    state: &mut State,
    host: HostId,
    id: DataId,
    object: StoredObject,
    moved: Vec<Block>,
) {
    if !state.locations.is_idle(id, host) {
        return state.actions.extend(moved.into_iter().map(|block| Action::FreeSpilled { host, block }));
    }
    let object = Arc::new(object);
    let old = state.locations.replace_copy(id, host, &object);
    state.objects.replace(id, &object);
    if let Some(old) = old {
        state.actions.extend(old.blocks().map(|block| Action::Free { host, block }));
    }
}
