//! Groups of calls, which take turns: fair sharing.
//!
//! Each group counts its calls that were sent; among groups with ready calls, the one with the lowest count is next. A
//! group that gets calls after a pause starts with the count of the others: it has no claim for the time of the pause,
//! and no debt for a time when it was alone. Calls that the others have prefetched are retracted then and subtracted
//! from their counts; otherwise they would run before the newcomer's calls.

use rustc_hash::FxHashMap;
use std::num::NonZeroU32;
use unidist_common::GroupSpec;

/// A group, by its place in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct GroupPlace(u32);

impl GroupPlace {
    /// The group of calls without a group of their own.
    pub(crate) const DEFAULT: GroupPlace = GroupPlace(0);

    fn place(self) -> usize {
        self.0 as usize
    }
}

#[derive(Debug, Default)]
struct Group {
    limit: Option<NonZeroU32>,
    /// The number of its calls that run and are not blocked.
    running: u32,
    /// The number of its calls that were sent, plus the count that it started with.
    sent: u64,
    /// Whether it had ready calls at the last dispatch.
    is_active: bool,
}

/// The groups of a session.
#[derive(Debug)]
pub(crate) struct FairShare {
    all: Vec<Group>,
    ids: FxHashMap<GroupSpec, GroupPlace>,
    free: Vec<GroupPlace>,
}

impl Default for FairShare {
    fn default() -> Self {
        FairShare { all: vec![Group::default()], ids: FxHashMap::default(), free: Vec::new() }
    }
}

impl FairShare {
    /// The group with this specification.
    pub(crate) fn intern(&mut self, spec: Option<GroupSpec>) -> GroupPlace {
        let Some(spec) = spec else { return GroupPlace::DEFAULT };
        if let Some(known) = self.ids.get(&spec) {
            return *known;
        }
        let group = Group { limit: spec.limit, ..Group::default() };
        let id = match self.free.pop() {
            Some(id) => {
                self.all[id.place()] = group;
                id
            }
            None => {
                self.all.push(group);
                GroupPlace(self.all.len() as u32 - 1)
            }
        };
        self.ids.insert(spec, id);
        id
    }

    /// Whether there is more than the default group.
    pub(crate) fn is_in_use(&self) -> bool {
        !self.ids.is_empty()
    }

    /// Removes the groups that are not used: they have no calls.
    pub(crate) fn keep(&mut self, is_used: impl Fn(GroupPlace) -> bool) {
        let free = &mut self.free;
        self.ids.retain(|_, id| {
            let stays = is_used(*id);
            if !stays {
                free.push(*id);
            }
            stays
        });
    }

    pub(crate) fn is_limited(&self, group: GroupPlace) -> bool {
        self.all[group.place()].limit.is_some()
    }

    /// Whether the group has reached its limit of running calls.
    pub(crate) fn is_full(&self, group: GroupPlace) -> bool {
        let group = &self.all[group.place()];
        group.limit.is_some_and(|limit| group.running >= limit.get())
    }

    /// The group's place in turn: the lowest number is next.
    pub(crate) fn turn(&self, group: GroupPlace) -> u64 {
        self.all[group.place()].sent
    }

    pub(crate) fn started(&mut self, group: GroupPlace) {
        self.all[group.place()].running += 1;
    }

    pub(crate) fn ended(&mut self, group: GroupPlace) {
        self.all[group.place()].running -= 1;
    }

    pub(crate) fn sent(&mut self, group: GroupPlace) {
        self.all[group.place()].sent += 1;
    }

    /// A call that was sent was retracted.
    pub(crate) fn retracted(&mut self, group: GroupPlace) {
        let group = &mut self.all[group.place()];
        group.sent = group.sent.saturating_sub(1);
    }

    /// Records which groups have ready calls; returns those that had none before.
    pub(crate) fn update_active(&mut self, is_active: impl Fn(GroupPlace) -> bool) -> Vec<GroupPlace> {
        let mut newcomers = Vec::new();
        for (place, group) in self.all.iter_mut().enumerate() {
            let id = GroupPlace(place as u32);
            let was_active = std::mem::replace(&mut group.is_active, is_active(id));
            if group.is_active && !was_active {
                newcomers.push(id);
            }
        }
        newcomers
    }

    /// Gives newcomers the highest count of started calls; `unstarted` has the number of each group's calls that were
    /// sent and have not started. (Counts of groups that take turns are close to each other. A group with a much lower
    /// count could not have used more: it is at its limit, or waits for something other than its turn.)
    pub(crate) fn admit(&mut self, newcomers: &[GroupPlace], unstarted: &FxHashMap<GroupPlace, u64>) {
        let all = self.all.iter().enumerate().map(|(place, group)| (GroupPlace(place as u32), group));
        let started =
            all.map(|(id, group)| group.sent.saturating_sub(unstarted.get(&id).copied().unwrap_or(0)));
        let most = started.max().unwrap_or(0);
        for newcomer in newcomers {
            let group = &mut self.all[newcomer.place()];
            group.sent = group.sent.max(most);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use unidist_common::{DataId, GroupId, ProcessId};

    fn spec(number: u64, limit: u32) -> GroupSpec {
        let id = GroupId::of_reserved(DataId::new(ProcessId::CONTROLLER, number));
        GroupSpec { id, limit: NonZeroU32::new(limit) }
    }

    #[test]
    fn fair_share_newcomer_has_no_credit() {
        let mut groups = FairShare::default();
        let [old, new] = [1, 2].map(|number| groups.intern(Some(spec(number, 0))));
        assert_eq!(groups.update_active(|id| id == old), [old]);
        (0..100).for_each(|_| groups.sent(old));
        assert_eq!(groups.update_active(|id| id != GroupPlace::DEFAULT), [new]);
        groups.admit(&[new], &FxHashMap::from_iter([(old, 60)]));
        (0..60).for_each(|_| groups.retracted(old));
        assert_eq!((groups.turn(old), groups.turn(new)), (40, 40));
        // The count of a group stays while it has calls, and falls behind while it has none.
        assert_eq!(groups.update_active(|id| id == old), []);
        (0..10).for_each(|_| groups.sent(old));
        assert_eq!(groups.update_active(|_| true), [GroupPlace::DEFAULT, new]);
        groups.admit(&[GroupPlace::DEFAULT, new], &FxHashMap::default());
        assert_eq!((groups.turn(new), groups.turn(GroupPlace::DEFAULT)), (50, 50));
    }

    #[test]
    fn fair_share_newcomer_has_no_debt() {
        let mut groups = FairShare::default();
        let [first, stuck, second] = [1, 2, 3].map(|number| groups.intern(Some(spec(number, 0))));
        (0..1000).for_each(|_| groups.sent(first));
        (0..10).for_each(|_| groups.sent(stuck));
        assert_eq!(groups.update_active(|id| id == second || id == stuck), [stuck, second]);
        groups.admit(&[second], &FxHashMap::default());
        assert_eq!(groups.turn(second), 1000, "not as little as one that could not have more");
        groups.sent(second);
        groups.admit(&[first], &FxHashMap::default());
        assert_eq!(groups.turn(first), 1001);
    }

    #[test]
    fn group_limit_counts_running_calls() {
        let mut groups = FairShare::default();
        let group = groups.intern(Some(spec(1, 2)));
        groups.started(group);
        assert!(groups.is_limited(group) && !groups.is_full(group));
        groups.started(group);
        assert!(groups.is_full(group));
        groups.ended(group);
        assert!(!groups.is_full(group));
    }

    #[test]
    fn unused_groups_are_reused() {
        let mut groups = FairShare::default();
        let ids = [1, 2, 3].map(|number| groups.intern(Some(spec(number, 0))));
        groups.sent(ids[1]);
        groups.keep(|id| id == ids[0]);
        assert_eq!(groups.intern(Some(spec(1, 0))), ids[0]);
        let reused = groups.intern(Some(spec(4, 0)));
        assert!(ids[1..].contains(&reused));
        assert_eq!(groups.turn(reused), 0);
    }
}
