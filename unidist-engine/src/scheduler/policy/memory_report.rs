//! The users of the memory of a host, for the error of a full store.

use crate::scheduler::state::State;
use rustc_hash::FxHashMap;
use std::collections::{BTreeMap, BTreeSet};
use unidist_common::{DataId, HeldBy, HostId, ProcessId, StoreHolder};

/// The users of the objects that this host has copies of, with the bytes that each holds. Looks at every object.
pub(crate) fn memory_holders(state: &State, host: HostId) -> Vec<StoreHolder> {
    let mut named = [FxHashMap::<DataId, u32>::default(), FxHashMap::default()];
    let calls =
        state.tasks.iter().flat_map(|(_, task)| task.spec.dependencies.iter().chain(&task.spec.borrowed));
    calls.for_each(|id| *named[0].entry(*id).or_default() += 1);
    state.objects.inner_references().for_each(|id| *named[1].entry(id).or_default() += 1);
    let mut users: FxHashMap<DataId, BTreeSet<HeldBy>> = FxHashMap::default();
    for (process, uses) in state.locations.uses_on(host) {
        let views = uses.views.keys().map(|id| (id, HeldBy::Views(process)));
        let calls = uses
            .calls
            .values()
            .flat_map(|arguments| &arguments.objects)
            .map(|id| (id, HeldBy::Call(process)));
        views.chain(calls).for_each(|(id, by)| _ = users.entry(*id).or_default().insert(by));
    }
    let mut sums: BTreeMap<HeldBy, (u64, u64, u64)> = BTreeMap::new();
    for (id, copy) in state.locations.copies_on(host) {
        for by in users.remove(&id).unwrap_or_else(|| referrers(state, id, &named)) {
            let (memory, spilled, count) = sums.entry(by).or_default();
            (*memory, *spilled, *count) = (*memory + copy.memory, *spilled + copy.spilled, *count + 1);
        }
    }
    sums.into_iter()
        .map(|(by, (memory, spilled, count))| StoreHolder::new(by, memory, spilled, count))
        .collect()
}

/// The holders of references to an object that no process uses.
fn referrers(state: &State, id: DataId, named: &[FxHashMap<DataId, u32>; 2]) -> BTreeSet<HeldBy> {
    let mut holders = BTreeSet::new();
    let [calls, objects] = named.each_ref().map(|counts| counts.get(&id).copied().unwrap_or_default());
    let mut others = calls + objects;
    for (process, worker) in &state.workers {
        if let Some(count) = worker.references.get(&id) {
            holders.insert(HeldBy::Refs(*process));
            others += count;
        }
    }
    holders.extend((calls > 0).then_some(HeldBy::WaitingCalls));
    holders.extend((objects > 0).then_some(HeldBy::Objects));
    let of_the_program = state.objects.references(id) > others;
    holders.extend(of_the_program.then_some(HeldBy::Refs(ProcessId::CONTROLLER)));
    holders
}
