//! The names of actors.

use rustc_hash::FxHashMap;
use unidist_backend::NamedActor;
use unidist_common::ActorId;

/// The actors that have a name. A name belongs to one actor, and an actor has at most one.
#[derive(Debug, Default)]
pub(crate) struct ActorNames {
    actors: FxHashMap<String, NamedActor>,
    names: FxHashMap<ActorId, String>,
}

impl ActorNames {
    pub(crate) fn find(&self, name: &str) -> Option<NamedActor> {
        self.actors.get(name).copied()
    }

    /// Gives an actor a name, which its earlier owner loses.
    pub(crate) fn give(&mut self, name: &str, actor: NamedActor) {
        if let Some(earlier) = self.actors.insert(name.to_owned(), actor) {
            self.names.remove(&ActorId::of_handle(earlier.handle));
        }
        self.names.insert(ActorId::of_handle(actor.handle), name.to_owned());
    }

    /// The name of this actor is free again.
    pub(crate) fn free(&mut self, id: ActorId) {
        if let Some(name) = self.names.remove(&id) {
            self.actors.remove(&name);
        }
    }
}
