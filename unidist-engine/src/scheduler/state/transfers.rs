//! Copies of objects on their way from host to host.
//!
//! A call or request that needs an object on a host without a copy waits for a transfer. However many wait for it
//! there, an object is transferred to a host once. A copy is the source of one transfer at a time, and each new copy is
//! a source in turn: an object that many hosts need spreads as a tree.
//!
//! Invariants: each demand holds a reference to its object; a demand is under way exactly while a transfer in flight
//! has its object and destination.

use super::objects::Waiter;
use crate::network::Transfer;
use rustc_hash::FxHashMap;
use std::collections::BTreeMap;
use unidist_common::{DataId, HostId, TaskError};

/// The demands for copies, and the transfers that serve them.
#[derive(Debug, Default)]
pub(crate) struct Transfers {
    last: u64,
    demands: BTreeMap<(DataId, HostId), Demand>,
    in_flight: FxHashMap<Transfer, InFlight>,
}

/// The waiters for an object on a host.
#[derive(Debug, Default)]
struct Demand {
    waiters: Vec<Waiter>,
    is_under_way: bool,
}

/// A transfer that has not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct InFlight {
    pub(crate) id: DataId,
    pub(crate) from: HostId,
    pub(crate) to: HostId,
}

/// The failed attempts to fetch what a call needs, because a store was full.
#[derive(Debug)]
pub(crate) struct FailedFetches {
    /// The first error.
    pub(crate) error: TaskError,
    /// The hosts with a full store, which are avoided while another host can run the call.
    pub(crate) hosts: Vec<HostId>,
    /// The number of failures.
    pub(crate) count: u32,
}

impl FailedFetches {
    /// A call fails after this many failures.
    pub(crate) const MAX_FAILURES: u32 = 3;
}

fn all_hosts(id: DataId) -> std::ops::RangeInclusive<(DataId, HostId)> {
    (id, HostId::CONTROLLER)..=(id, HostId::new(u32::MAX))
}

impl Transfers {
    #[cfg(any(test, feature = "simulation"))]
    pub(crate) fn len(&self) -> usize {
        self.demands.len() + self.in_flight.len()
    }

    /// Whether the object is wanted on this host: then a waiter can be added without another reference.
    pub(crate) fn is_wanted(&self, id: DataId, host: HostId) -> bool {
        self.demands.contains_key(&(id, host))
    }

    pub(crate) fn add_waiter(&mut self, id: DataId, host: HostId, waiter: Waiter) {
        self.demands.entry((id, host)).or_default().waiters.push(waiter);
    }

    /// Withdraws a waiter. True if it was the last and nothing is under way: then the demand is gone, and the caller
    /// releases its reference.
    pub(crate) fn remove_waiter(&mut self, id: DataId, host: HostId, waiter: Waiter) -> bool {
        let Some(demand) = self.demands.get_mut(&(id, host)) else { return false };
        demand.waiters.retain(|other| *other != waiter);
        let is_gone = demand.waiters.is_empty() && !demand.is_under_way;
        if is_gone {
            self.demands.remove(&(id, host));
        }
        is_gone
    }

    /// Removes a demand. Its waiters; the caller releases the reference.
    pub(crate) fn take_waiters(&mut self, id: DataId, host: HostId) -> Option<Vec<Waiter>> {
        self.demands.remove(&(id, host)).map(|demand| demand.waiters)
    }

    /// The hosts that wait for the object and to which none is under way.
    pub(crate) fn unserved_hosts(&self, id: DataId) -> Vec<HostId> {
        let unserved = self.demands.range(all_hosts(id)).filter(|(_, demand)| !demand.is_under_way);
        unserved.map(|((_, host), _)| *host).collect()
    }

    /// Whether the object is on its way to some host.
    pub(crate) fn is_under_way(&self, id: DataId) -> bool {
        self.demands.range(all_hosts(id)).any(|(_, demand)| demand.is_under_way)
    }

    /// A transfer for a demand begins; `None` if there is no such demand.
    pub(crate) fn begin(&mut self, id: DataId, from: HostId, to: HostId) -> Option<Transfer> {
        self.demands.get_mut(&(id, to))?.is_under_way = true;
        self.last += 1;
        let transfer = Transfer(self.last);
        self.in_flight.insert(transfer, InFlight { id, from, to });
        Some(transfer)
    }

    /// A transfer has ended, well or badly; its demand remains and is not under way.
    pub(crate) fn end(&mut self, transfer: Transfer) -> Option<InFlight> {
        let ended = self.in_flight.remove(&transfer)?;
        self.demands.entry((ended.id, ended.to)).or_default().is_under_way = false;
        Some(ended)
    }

    /// A host is lost: forgets what was to arrive there. The transfers that were in flight, in order, and the waiters
    /// for each object; the caller releases one reference for each of these.
    pub(crate) fn drop_destination(&mut self, host: HostId) -> (Vec<InFlight>, Vec<(DataId, Vec<Waiter>)>) {
        let to_host = self.in_flight.iter().filter(|(_, flight)| flight.to == host);
        let mut ended: Vec<_> = to_host.map(|(transfer, flight)| (*transfer, *flight)).collect();
        ended.sort_unstable_by_key(|(transfer, _)| *transfer);
        ended.iter().for_each(|(transfer, _)| _ = self.in_flight.remove(transfer));
        let wanted: Vec<_> = self.demands.keys().filter(|(_, to)| *to == host).map(|(id, _)| *id).collect();
        let waiters = wanted.into_iter().filter_map(|id| Some((id, self.take_waiters(id, host)?)));
        let waiters = waiters.collect();
        (ended.into_iter().map(|(_, flight)| flight).collect(), waiters)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use unidist_common::{ProcessId, TaskId};

    const FROM: HostId = HostId::CONTROLLER;
    const TO: HostId = HostId::new(1);

    fn id(number: u64) -> DataId {
        DataId::new(ProcessId::CONTROLLER, number)
    }

    #[test]
    fn demand_is_served_once() {
        let mut transfers = Transfers::default();
        let [first, second] = [1, 2].map(|number| Waiter::Task(TaskId::of_first_return(id(number))));
        assert_eq!(transfers.begin(id(9), FROM, TO), None, "nothing waits for it");
        transfers.add_waiter(id(9), TO, first);
        transfers.add_waiter(id(9), TO, second);
        assert_eq!(transfers.unserved_hosts(id(9)), [TO]);
        let transfer = transfers.begin(id(9), FROM, TO).unwrap();
        assert!(transfers.unserved_hosts(id(9)).is_empty() && transfers.is_under_way(id(9)));
        assert!(!transfers.remove_waiter(id(9), TO, first), "it is under way");
        assert_eq!(transfers.end(transfer), Some(InFlight { id: id(9), from: FROM, to: TO }));
        assert_eq!(transfers.end(transfer), None);
        assert_eq!(transfers.take_waiters(id(9), TO), Some(vec![second]));
        assert_eq!(transfers.len(), 0);
    }

    #[test]
    fn last_waiter_takes_its_demand_along() {
        let mut transfers = Transfers::default();
        let waiter = Waiter::Task(TaskId::of_first_return(id(1)));
        transfers.add_waiter(id(9), TO, waiter);
        assert!(transfers.is_wanted(id(9), TO) && transfers.remove_waiter(id(9), TO, waiter));
        assert!(!transfers.is_wanted(id(9), TO) && !transfers.remove_waiter(id(9), TO, waiter));
    }

    #[test]
    fn lost_destination_drops_demands_and_transfers() {
        let mut transfers = Transfers::default();
        let waiter = Waiter::Task(TaskId::of_first_return(id(1)));
        for number in [7, 8] {
            transfers.add_waiter(id(number), TO, waiter);
        }
        transfers.begin(id(8), FROM, TO).unwrap();
        let (ended, waiters) = transfers.drop_destination(TO);
        assert_eq!(ended, [InFlight { id: id(8), from: FROM, to: TO }]);
        assert_eq!(waiters, [(id(7), vec![waiter]), (id(8), vec![waiter])]);
        assert_eq!(transfers.len(), 0);
    }
}
