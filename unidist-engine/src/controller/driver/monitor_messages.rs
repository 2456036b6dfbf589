//! Handles messages of the monitors of other hosts. A monitor that sends an invalid message is expelled, with its host.

use super::link::{End, Link};
use super::{Driver, MESSAGES_PER_POLL};
use crate::network::{Arrival, HostId};
use crate::protocol::monitor::{FromMonitor, ToMonitor, unpack};
use crate::scheduler::Event;
use unidist_common::ProcessId;

impl Driver {
    /// Handles what has arrived over the network; false if nothing has.
    pub(super) fn poll_network(&mut self) -> bool {
        let Some(hosts) = &mut self.hosts else { return false };
        let mut arrivals = hosts.poll();
        let progressed = !arrivals.is_empty();
        for arrival in arrivals.drain(..) {
            match arrival {
                Arrival::Message(from, bytes) => self.on_monitor_batch(from, &bytes),
                Arrival::Received(transfer) => self.copy_received(HostId::CONTROLLER, transfer, Ok(())),
                Arrival::Sent(_) => {}
                Arrival::Stuck(transfer) => self.copy_is_stuck(HostId::CONTROLLER, transfer),
                Arrival::Lost(host, why) => {
                    self.on_host_lost(host, &why);
                    self.end_receives_from(host);
                }
            }
        }
        if let Some(hosts) = &mut self.hosts {
            hosts.arrivals = arrivals;
        }
        progressed
    }

    fn on_monitor_batch(&mut self, from: HostId, bytes: &[u8]) {
        for message in unpack::<FromMonitor>(bytes) {
            if !self.hosts.as_ref().is_some_and(|hosts| hosts.has(from)) {
                return; // the host is no longer part of the session
            }
            let heard = match message {
                Ok(message) => self.on_monitor_message(from, message),
                Err(error) => Err(error.0),
            };
            if let Err(why) = heard {
                self.expel_host(from, &format!("its monitor sent an invalid message: {why}"));
            }
        }
    }

    /// Handles one message. The error says what is wrong with it.
    fn on_monitor_message(&mut self, from: HostId, message: FromMonitor) -> Result<(), String> {
        match message {
            FromMonitor::Joined { process, pid } => {
                self.take_starting(from, process)?;
                self.on_process_joined(Link::there(process, from), pid);
            }
            FromMonitor::Lost { process, why, taken } => {
                match self.link_at(from, process) {
                    Ok(at) => self.set_taken(at, taken),
                    Err(_) => self.take_starting(from, process)?,
                }
                self.on_process_lost(process, why);
            }
            FromMonitor::Output { process, bytes, taken } => {
                let at = self.link_at(from, process)?;
                self.set_taken(at, taken);
                if let End::There { channel, .. } = &mut self.links[at].end {
                    channel.arrived(&bytes);
                }
            }
            FromMonitor::SendStarted { transfer, result } => self.copy_sent(from, transfer, result),
            FromMonitor::Received { transfer, result } => self.copy_received(from, transfer, result),
            FromMonitor::Stuck(transfer) => self.copy_is_stuck(from, transfer),
            FromMonitor::Spilled { id, result } => {
                let remote = self.hosts.as_mut().and_then(|hosts| hosts.get(from));
                let spilled = remote.map_or(Ok(None), |remote| remote.store.spilled(id, result))?;
                if let Some((object, moved)) = spilled {
                    self.handle(Event::Spilled { host: from, id, object, moved });
                }
            }
            FromMonitor::Reserved { ticket, result } => {
                if let Some(hosts) = &mut self.hosts
                    && let Some(remote) = hosts.get(from)
                {
                    let unused = remote.store.reserved(ticket, result)?;
                    unused.into_iter().for_each(|block| hosts.free_spilled(from, block));
                }
            }
            FromMonitor::Flushed => {
                // What was forwarded before the answer comes first.
                for at in 0..self.links.len() {
                    while self.links[at].host() == from && self.links[at].has_work() {
                        self.read_link(at, MESSAGES_PER_POLL);
                    }
                }
                let remote = self.hosts.as_mut().and_then(|hosts| hosts.get(from));
                if !remote.is_some_and(|remote| remote.store.frees_read()) {
                    return Err("it replied to a request that was not made".into());
                }
            }
            FromMonitor::Ended => return Err("its monitor ended before the session".into()),
        }
        Ok(())
    }

    fn link_at(&self, host: HostId, process: ProcessId) -> Result<usize, String> {
        let at = self.by_process.get(&process).copied();
        at.filter(|at| self.links[*at].host() == host)
            .ok_or_else(|| format!("its message is about {process}, which is on another host"))
    }

    fn set_taken(&mut self, at: usize, taken: u64) {
        if let End::There { channel, .. } = &mut self.links[at].end {
            channel.note_taken(taken);
        }
    }

    /// A process that was starting on the host has joined, or never will.
    fn take_starting(&mut self, host: HostId, process: ProcessId) -> Result<(), String> {
        let remote = self.hosts.as_mut().and_then(|hosts| hosts.get(host));
        match remote.is_some_and(|remote| remote.starting.remove(&process)) {
            true => Ok(()),
            false => Err(format!("its message is about {process}, which is not being started there")),
        }
    }

    /// Removes a host that can still be reached from the session.
    fn expel_host(&mut self, host: HostId, why: &str) {
        if let Some(hosts) = &mut self.hosts {
            hosts.send_to(host, &ToMonitor::End);
            hosts.flush(true);
        }
        self.on_host_lost(host, why);
        if let Some(hosts) = &mut self.hosts {
            hosts.network.forget(host);
        }
    }

    /// Removes a lost host, with its processes and its memory. Later reports of the same loss change nothing.
    fn on_host_lost(&mut self, host: HostId, why: &str) {
        let Some(hosts) = &mut self.hosts else { return };
        if !hosts.lose(host) {
            return;
        }
        let name = hosts.name(host).to_owned();
        if let Some(ip) = hosts.ip(host) {
            self.cluster.hosts.remove(ip);
        }
        log::error!("host {name} is lost, with its processes and objects: {why}");
        hosts.send_to_others(host, &ToMonitor::HostLost(host));
        self.links.retain(|link| link.host() != host);
        self.by_process = self.links.iter().enumerate().map(|(at, link)| (link.process, at)).collect();
        self.handle(Event::HostLost { host, cause: format!("host {name} was lost: {why}") });
        self.drop_deferred(host);
        self.fail_transfers_of(host, &name);
    }
}
