//! In which order calls start, and how often.

use super::world::World;
use crate::link::message::Run;
use crate::scheduler::Caller;
use unidist_common::{DataId, ProcessId};
use unidist_core::CallKind;

impl World {
    pub(super) fn note_call(&mut self, actor: DataId, caller: Caller, call: DataId) {
        self.expected.entry((actor, caller)).or_default().push(call);
    }

    pub(super) fn note_start(&mut self, process: ProcessId, run: &Run) {
        if !self.started.insert(run.id) && !self.lost.remove(&run.id) {
            self.broken.get_or_insert(format!("call {} starts twice, now on {process}", run.id));
        }
        if let CallKind::Method { actor } = run.kind {
            for ((_, _), queue) in self
                .expected
                .range_mut((actor, (ProcessId::CONTROLLER, None))..)
                .take_while(|((of, _), _)| *of == actor)
            {
                if let Some(at) = queue.iter().position(|call| *call == run.id) {
                    // Those before it that did not start have failed, which the scheduler has told the caller.
                    let skipped: Vec<_> = queue.drain(..=at).collect();
                    let late =
                        skipped.iter().find(|call| **call != run.id && self.scheduler.has_task(**call));
                    if let Some(late) = late {
                        self.broken
                            .get_or_insert(format!("call {} of actor {actor} overtakes {late}", run.id));
                    }
                    return;
                }
            }
            self.broken.get_or_insert(format!("call {} of actor {actor} starts after a later one", run.id));
        }
    }
}
