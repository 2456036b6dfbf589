//! Copies of objects on their way from host to host.
//!
//! Whoever needs an object on a host where it is not waits for a copy. An object goes to each host once, however many
//! wait for it there. A copy serves one other host at a time, and each that has arrived serves on: so what many hosts
//! want spreads as a tree.

use super::Scheduler;
use super::directory::Waiter;
use super::event::{Action, Copy};
use super::request::Value;
use super::tasks::TaskState;
use crate::network::{HostId, Transfer};
use crate::store::StoredObject;
use rustc_hash::FxHashMap;
use std::collections::BTreeMap;
use std::sync::Arc;
use unidist_common::{DataId, TaskError};

/// What is wanted where.
#[derive(Debug, Default)]
pub(crate) struct Copies {
    last: u64,
    /// Each holds a reference to its object.
    wanted: BTreeMap<(DataId, HostId), Wanted>,
    under_way: FxHashMap<Transfer, UnderWay>,
}

#[derive(Debug, Default)]
struct Wanted {
    waiters: Vec<Waiter>,
    is_under_way: bool,
}

#[derive(Clone, Copy, Debug)]
struct UnderWay {
    id: DataId,
    from: HostId,
    to: HostId,
}

/// What a call needs could not be fetched, as there was no room for it.
#[derive(Debug)]
pub(crate) struct NoRoom {
    /// What was said the first time.
    pub(super) error: TaskError,
    /// Where that was; it is not tried there again while another host may do.
    pub(super) hosts: Vec<HostId>,
    /// How often.
    pub(super) times: u32,
}

impl NoRoom {
    /// A call that was refused so often fails.
    pub(super) const MOST: u32 = 3;
}

impl Copies {
    /// How many there are to come.
    #[cfg(any(test, feature = "simulation"))]
    pub(crate) fn len(&self) -> usize {
        self.wanted.len() + self.under_way.len()
    }

    fn hosts_that_want(&self, id: DataId) -> Vec<HostId> {
        let all = (id, HostId::CONTROLLER)..=(id, HostId::new(u32::MAX));
        self.wanted
            .range(all)
            .filter(|(_, wanted)| !wanted.is_under_way)
            .map(|((_, host), _)| *host)
            .collect()
    }
}

impl Scheduler {
    /// The value of an object as processes of this host can read it. Call it for what is there.
    pub(crate) fn value_on(&self, host: HostId, id: DataId) -> Value {
        match self.objects.value(id) {
            Value::Ready(object) if object.has_external_parts() => match self.memory.copy_on(id, host) {
                Some(copy) => Value::Ready(copy.clone()),
                None => Value::Failed(Arc::new(self.objects.lost(id))),
            },
            value => value,
        }
    }

    /// Whether this object, which has a value, has to come to this host first.
    pub(crate) fn is_absent(&self, id: DataId, host: HostId) -> bool {
        self.hosts.len() > 1 && self.objects.is_outside(id) && self.memory.copy_on(id, host).is_none()
    }

    /// Has an object come to this host, unless it is there; true if it is not, and the waiter will be told.
    pub(crate) fn want(&mut self, id: DataId, host: HostId, waiter: Waiter) -> bool {
        if !self.is_absent(id, host) {
            return false;
        }
        if !self.copies.wanted.contains_key(&(id, host)) && !self.objects.retain(id) {
            return false; // it is gone, which its value says
        }
        self.copies.wanted.entry((id, host)).or_default().waiters.push(waiter);
        self.start_copies(id);
        true
    }

    /// Has the objects come that this call needs on this host; how many it has to wait for.
    pub(super) fn want_for_call(&mut self, call: DataId, host: HostId) -> usize {
        if self.hosts.len() == 1 {
            return 0;
        }
        let Some(task) = self.tasks.get(&call) else { return 0 };
        let mut absent: Vec<_> =
            task.spec.dependencies.iter().copied().filter(|id| self.is_absent(*id, host)).collect();
        absent.sort_unstable();
        absent.dedup();
        absent.retain(|id| self.want(*id, host, Waiter::Task(call)));
        if let Some(task) = self.tasks.get_mut(&call) {
            task.missing = absent.len();
        }
        absent.len()
    }

    /// Nobody needs to tell this waiter any more. What is under way arrives all the same.
    pub(super) fn unwant(&mut self, id: DataId, host: HostId, waiter: Waiter) {
        let Some(wanted) = self.copies.wanted.get_mut(&(id, host)) else { return };
        wanted.waiters.retain(|other| *other != waiter);
        if wanted.waiters.is_empty() && !wanted.is_under_way {
            self.copies.wanted.remove(&(id, host));
            self.release(id);
        }
    }

    /// Makes as many of the copies that are wanted of this object as there are copies to make them from.
    fn start_copies(&mut self, id: DataId) {
        for to in self.copies.hosts_that_want(id) {
            let Some((from, object)) = self.memory.free_source(id) else { return };
            let Some(wanted) = self.copies.wanted.get_mut(&(id, to)) else { continue };
            wanted.is_under_way = true;
            self.copies.last += 1;
            let transfer = Transfer(self.copies.last);
            self.copies.under_way.insert(transfer, UnderWay { id, from, to });
            self.memory.begin_sending(id, from);
            self.actions.push(Action::Copy(Copy { transfer, id, from, to, object }));
        }
    }

    /// A copy has arrived, or cannot be made.
    pub(crate) fn copied(&mut self, transfer: Transfer, result: Result<StoredObject, TaskError>) {
        let Some(UnderWay { id, from, to }) = self.copies.under_way.remove(&transfer) else { return };
        self.memory.end_sending(id, from);
        let wanted = self.copies.wanted.remove(&(id, to)).unwrap_or_default();
        let source_is_lost = self.hosts[from.place()].is_lost;
        match result {
            Ok(object) => {
                let object = Arc::new(object);
                self.memory.add(id, to, &object);
                self.objects.replace(id, &object);
                wanted.waiters.into_iter().for_each(|waiter| self.copy_arrived(waiter));
            }
            Err(error) => {
                self.copies.wanted.insert((id, to), Wanted { is_under_way: false, ..wanted });
                if !source_is_lost {
                    self.copy_failed(id, to, &error);
                } else if !self.memory.is_outside(id) && !self.is_being_copied(id) {
                    self.objects_lost(&[id], &error.message);
                }
                return self.start_copies(id); // from another copy
            }
        }
        self.start_copies(id);
        self.release(id);
    }

    fn copy_arrived(&mut self, waiter: Waiter) {
        match waiter {
            Waiter::Request(process, request) => self.request_progress(process, request),
            Waiter::Task(call) => {
                let Some(task) = self.tasks.get_mut(&call) else { return };
                task.missing = task.missing.saturating_sub(1);
                if task.missing == 0 {
                    self.call_complete(call);
                }
            }
        }
    }

    /// Everything that the call needs is where it is to run.
    fn call_complete(&mut self, call: DataId) {
        let Some(task) = self.tasks.get_mut(&call) else { return };
        match (task.state, task.actor()) {
            (TaskState::Fetching, _) => {
                task.state = TaskState::Ready;
                self.resources.push_front(task.class, call);
            }
            (_, Some(actor)) => {
                let caller = task.caller;
                self.flush_caller(actor, caller);
            }
            _ => {}
        }
    }

    /// There is no room for it, say: those who wait there go without.
    fn copy_failed(&mut self, id: DataId, to: HostId, error: &TaskError) {
        let Some(wanted) = self.copies.wanted.remove(&(id, to)) else { return };
        for waiter in wanted.waiters {
            match waiter {
                Waiter::Task(call) if self.is_fetching(call) => self.try_elsewhere(call, to, error),
                Waiter::Task(call) => self.fail_task(call, error.clone()),
                Waiter::Request(process, request) => self.refuse(process, request, error),
            }
        }
        self.release(id);
    }

    fn is_fetching(&self, call: DataId) -> bool {
        self.tasks.get(&call).is_some_and(|task| task.state == TaskState::Fetching)
    }

    /// There is no room on this host for what the call needs: it is to run on another one, if there is.
    fn try_elsewhere(&mut self, call: DataId, full: HostId, error: &TaskError) {
        self.hosts[full.place()].fetching.remove(&call);
        let Some(task) = self.tasks.get_mut(&call) else { return };
        task.class = self.resources.unpinned(task.class);
        task.missing = 0;
        let refused = self.no_room.entry(call).or_insert_with(|| NoRoom {
            error: error.clone(),
            hosts: Vec::new(),
            times: 0,
        });
        refused.hosts.push(full);
        refused.times += 1;
        self.make_ready_again(call);
    }

    /// The object has no value any more: requests that wait for a copy of it are told so.
    pub(super) fn copy_is_lost(&mut self, id: DataId) {
        for host in self.copies.hosts_that_want(id) {
            let Some(wanted) = self.copies.wanted.remove(&(id, host)) else { continue };
            for waiter in wanted.waiters {
                if let Waiter::Request(process, request) = waiter {
                    self.request_progress(process, request);
                }
            }
            self.release(id);
        }
    }

    /// Whether a copy of the object is on its way.
    pub(super) fn is_being_copied(&self, id: DataId) -> bool {
        let all = (id, HostId::CONTROLLER)..=(id, HostId::new(u32::MAX));
        self.copies.wanted.range(all).any(|(_, wanted)| wanted.is_under_way)
    }

    /// The host is gone: nothing arrives there any more. What was on its way.
    pub(super) fn forget_copies_to(&mut self, host: HostId) -> Vec<DataId> {
        let mut ended: Vec<_> = self.copies.under_way.iter().filter(|(_, way)| way.to == host).collect();
        ended.sort_unstable_by_key(|(transfer, _)| **transfer);
        let ended: Vec<_> = ended.into_iter().map(|(transfer, way)| (*transfer, way.id, way.from)).collect();
        let wanted = self.copies.wanted.keys().filter(|(_, to)| *to == host).copied().collect::<Vec<_>>();
        for (transfer, id, from) in &ended {
            self.copies.under_way.remove(transfer);
            self.memory.end_sending(*id, *from);
        }
        for key in wanted {
            for waiter in self.copies.wanted.remove(&key).unwrap_or_default().waiters {
                if let Waiter::Task(call) = waiter
                    && let Some(task) = self.tasks.get_mut(&call)
                {
                    task.missing = 0; // it will be looked at again where it is to run then
                }
            }
            self.start_copies(key.0);
            self.release(key.0);
        }
        ended.into_iter().map(|(_, id, _)| id).collect()
    }
}
