//! What the session holds.

use super::State;
use unidist_backend::{Live, LiveKind};

impl State {
    /// The number of objects and actors, and of calls without returns.
    pub(crate) fn live_count(&self) -> usize {
        let silent = self.calls.values().filter(|call| call.returns.count == 0);
        self.directory.len() + self.dying.len() + self.dropping + silent.count()
    }

    /// The objects, the actors and the unfinished calls, in order of their ids, at most this many.
    pub(crate) fn live(&self, at_most: usize) -> Vec<Live> {
        let silent = self.calls.iter().filter(|(_, call)| call.returns.count == 0);
        let silent = silent.map(|(id, call)| Live {
            id: id.first_return(),
            kind: LiveKind::Call,
            name: call.name.to_string(),
        });
        let mut live: Vec<_> = self.directory.live().chain(silent).collect();
        live.sort_unstable_by_key(|live| live.id);
        live.truncate(at_most);
        live
    }
}
