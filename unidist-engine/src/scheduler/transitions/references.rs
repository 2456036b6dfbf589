//! References held for the inputs of a call.

use crate::scheduler::state::State;
use unidist_common::TaskSpec;

/// Takes the references that a call holds. The objects exist, since another holder has references to them.
pub(crate) fn retain_inputs(state: &mut State, spec: &TaskSpec) {
    for id in spec.dependencies.iter().chain(&spec.borrowed) {
        let _ = state.objects.retain(*id);
    }
}
