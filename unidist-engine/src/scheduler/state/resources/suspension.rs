//! What suspended calls hold: everything but their CPUs, and their places in their groups.

use crate::scheduler::state::resources::{Resources, SchedulingClass};
use unidist_common::HostId;

impl Resources {
    /// Whether its calls leave their threads while they wait.
    pub(crate) fn is_asynchronous(&self, class: SchedulingClass) -> bool {
        class != SchedulingClass::DEFAULT && self.requests[class.index()].asynchronous
    }

    /// The call waits, without a thread, and keeps everything but its CPUs.
    pub(crate) fn suspend(&mut self, class: SchedulingClass, host: HostId) {
        self.hosts[host.place()].free.cpus += self.requests[class.index()].cpus;
    }

    /// The call proceeds.
    pub(crate) fn resume(&mut self, class: SchedulingClass, host: HostId) {
        self.hosts[host.place()].free.cpus -= self.requests[class.index()].cpus;
    }

    /// Releases what a suspended call holds.
    pub(crate) fn release_suspended(&mut self, class: SchedulingClass, host: HostId) {
        self.groups.ended(self.requests[class.index()].group);
        self.release_custom(class, host);
    }
}
