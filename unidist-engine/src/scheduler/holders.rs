//! Who holds the memory of a host, for the error of a store that is full.

use super::Scheduler;
use crate::network::HostId;
use rustc_hash::FxHashMap;
use std::collections::{BTreeMap, BTreeSet};
use unidist_common::{DataId, HeldBy, ProcessId, StoreHolder};

impl Scheduler {
    /// Who holds the objects that this host has copies of, and in what way. It looks at everything there is.
    pub(crate) fn memory_holders(&self, host: HostId) -> Vec<StoreHolder> {
        let mut named = [FxHashMap::<DataId, u32>::default(), FxHashMap::default()];
        let calls =
            self.tasks.iter().flat_map(|(_, task)| task.spec.dependencies.iter().chain(&task.spec.borrowed));
        calls.for_each(|id| *named[0].entry(*id).or_default() += 1);
        self.objects.inner_references().for_each(|id| *named[1].entry(id).or_default() += 1);
        let mut users: FxHashMap<DataId, BTreeSet<HeldBy>> = FxHashMap::default();
        for (process, uses) in self.memory.processes.iter().filter(|(_, uses)| uses.host == host) {
            let views = uses.views.keys().map(|id| (id, HeldBy::Views(*process)));
            let calls = uses.calls.values().flatten().map(|id| (id, HeldBy::Call(*process)));
            views.chain(calls).for_each(|(id, by)| {
                users.entry(*id).or_default().insert(by);
            });
        }
        let mut sums: BTreeMap<HeldBy, (u64, u64, u64)> = BTreeMap::new();
        let copies = self.memory.objects.iter();
        let copies = copies.flat_map(|(id, copies)| copies.iter().map(move |copy| (id, copy)));
        for (id, object) in copies.filter(|(_, copy)| copy.host == host) {
            let used_by = users.remove(id);
            for by in used_by.unwrap_or_else(|| self.referrers(*id, &named)) {
                let (memory, spilled, count) = sums.entry(by).or_default();
                (*memory, *spilled, *count) =
                    (*memory + object.memory, *spilled + object.spilled, *count + 1);
            }
        }
        sums.into_iter()
            .map(|(by, (memory, spilled, count))| StoreHolder::new(by, memory, spilled, count))
            .collect()
    }

    /// Who has refs of an object that nobody uses.
    fn referrers(&self, id: DataId, named: &[FxHashMap<DataId, u32>; 2]) -> BTreeSet<HeldBy> {
        let mut holders = BTreeSet::new();
        let [calls, objects] = named.each_ref().map(|counts| counts.get(&id).copied().unwrap_or_default());
        let mut others = calls + objects;
        for (process, worker) in &self.workers {
            if let Some(count) = worker.references.get(&id) {
                holders.insert(HeldBy::Refs(*process));
                others += count;
            }
        }
        holders.extend((calls > 0).then_some(HeldBy::WaitingCalls));
        holders.extend((objects > 0).then_some(HeldBy::Objects));
        let of_the_program = self.objects.references(id) > others;
        holders.extend(of_the_program.then_some(HeldBy::Refs(ProcessId::CONTROLLER)));
        holders
    }
}
