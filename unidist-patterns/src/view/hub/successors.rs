//! Engines in place of those that have died.

use super::{Event, Shared, State};
use unidist_core::{CallSettings, prepare};

impl State {
    /// Whether engines have died and something waits that they could have run.
    pub(super) fn is_short(&self) -> bool {
        self.engines.ids().len() < self.expected && self.balancer.unassigned() > 0 && !self.is_closed
    }
}

impl Shared {
    /// Looks for engines in place of those that have died, as long as something waits for one.
    pub(super) fn replace_engines(&self) {
        if !self.lock().is_short() {
            return;
        }
        if let Err(error) = self.look_for_engines() {
            let waiting = self.lock().balancer.drain();
            waiting.into_iter().for_each(|id| self.finish_by_id(id, error.clone()));
            return;
        }
        let wants_scout = {
            let mut state = self.lock();
            let is_due = state.has_lost || state.engines.ids().is_empty();
            let wants_scout = state.is_short() && is_due && !state.has_scout;
            if wants_scout {
                (state.has_lost, state.has_scout) = (false, true);
            }
            wants_scout
        };
        if wants_scout {
            self.send_scout();
        }
    }

    /// Has the hub look again when a worker has time: those that there are have enough to do, so it is a new one, or one
    /// that the next task could be given to.
    fn send_scout(&self) {
        let events = self.events.clone();
        let scout = prepare(|| (), &CallSettings::new().name("scout").priority(i32::MAX)).remote(());
        scout.when_ready(move |_| drop(events.send(Event::Scout)));
    }
}
