//! The names of actors.

use rustc_hash::FxHashMap;
use unidist_backend::NamedActor;
use unidist_common::{ErrorKind, TaskError};

/// The living actors that have a name.
#[derive(Default)]
pub(crate) struct ActorNames(FxHashMap<String, NamedActor>);

impl ActorNames {
    pub(crate) fn find(&self, name: &str) -> Option<NamedActor> {
        self.0.get(name).copied()
    }

    /// Gives an actor a name that no other one has.
    pub(crate) fn give(&mut self, name: &str, actor: NamedActor) -> Result<(), TaskError> {
        if self.0.contains_key(name) {
            let message = format!(
                "an actor named `{name}` exists in this session: get it by `get_actor`, or choose another name"
            );
            return Err(TaskError::new(ErrorKind::NameTaken, message));
        }
        self.0.insert(name.to_owned(), actor);
        Ok(())
    }

    /// The name of this actor, if it has one, is free again.
    pub(crate) fn free(&mut self, handle: unidist_common::DataId) {
        self.0.retain(|_, actor| actor.handle != handle);
    }
}
