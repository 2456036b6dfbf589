//! Finding replacements for engines that have died.

use super::{Event, Shared, State};
use unidist_core::{CallSettings, prepare};

impl State {
    /// Whether engines are missing while tasks wait that they could run.
    pub(super) fn lacks_engines(&self) -> bool {
        self.engines.ids().len() < self.expected && self.balancer.unassigned() > 0 && !self.is_closed
    }
}

impl Shared {
    /// Looks for replacements of dead engines while tasks wait for one.
    pub(super) fn replace_engines(&self) {
        if !self.lock().lacks_engines() {
            return;
        }
        if let Err(error) = self.refresh_engines() {
            let waiting = self.lock().balancer.drain();
            waiting.into_iter().for_each(|id| self.finish_by_id(id, error.clone()));
            return;
        }
        let wants_probe = {
            let mut state = self.lock();
            let is_due = state.has_lost || state.engines.ids().is_empty();
            let wants_probe = state.lacks_engines() && is_due && !state.has_probe;
            if wants_probe {
                (state.has_lost, state.has_probe) = (false, true);
            }
            wants_probe
        };
        if wants_probe {
            self.send_probe();
        }
    }

    /// Sends an empty call with the highest priority; its end wakes the client loop. All known engines are busy, so the
    /// call runs on a new worker, or on one that has just become free.
    fn send_probe(&self) {
        let events = self.events.clone();
        let probe = prepare(|| (), &CallSettings::new().name("probe").priority(i32::MAX)).remote(());
        probe.when_ready(move |_| drop(events.send(Event::WorkerFree)));
    }
}
