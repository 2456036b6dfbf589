//! What the monitors of other hosts say. One that says what cannot be is given up, with its host.

use super::link::{End, Link};
use super::{Driver, MESSAGES_PER_POLL};
use crate::network::{Arrival, HostId};
use crate::protocol::monitor::{FromMonitor, ToMonitor, unpack};
use crate::scheduler::Event;
use unidist_common::ProcessId;

impl Driver {
    /// Deals with what has come over the network; false if that was nothing.
    pub(super) fn hear_hosts(&mut self) -> bool {
        let Some(hosts) = &mut self.hosts else { return false };
        let mut arrivals = hosts.poll();
        let happened = !arrivals.is_empty();
        for arrival in arrivals.drain(..) {
            match arrival {
                Arrival::Message(from, bytes) => self.hear_batch(from, &bytes),
                Arrival::Received(transfer) => self.copy_received(HostId::CONTROLLER, transfer, Ok(())),
                Arrival::Sent(_) => {}
                Arrival::Stuck(transfer) => self.copy_is_stuck(HostId::CONTROLLER, transfer),
                Arrival::Lost(host, why) => {
                    self.lose_host(host, &why);
                    self.nothing_comes_from(host);
                }
            }
        }
        if let Some(hosts) = &mut self.hosts {
            hosts.arrivals = arrivals;
        }
        happened
    }

    fn hear_batch(&mut self, from: HostId, bytes: &[u8]) {
        for message in unpack::<FromMonitor>(bytes) {
            if !self.hosts.as_ref().is_some_and(|hosts| hosts.has(from)) {
                return; // nothing more of what it says is heard
            }
            let heard = match message {
                Ok(message) => self.hear_monitor(from, message),
                Err(error) => Err(error.0),
            };
            if let Err(why) = heard {
                self.give_host_up(from, &format!("its monitor does what it should not: {why}"));
            }
        }
    }

    /// The error says what is wrong with the message.
    fn hear_monitor(&mut self, from: HostId, message: FromMonitor) -> Result<(), String> {
        match message {
            FromMonitor::Joined(process) => {
                self.take_starting(from, process)?;
                self.joined(Link::there(process, from));
            }
            FromMonitor::Lost { process, why, taken } => {
                match self.link_at(from, process) {
                    Ok(at) => self.note_taken(at, taken),
                    Err(_) => self.take_starting(from, process)?,
                }
                self.lost(process, why);
            }
            FromMonitor::Said { process, bytes, taken } => {
                let at = self.link_at(from, process)?;
                self.note_taken(at, taken);
                if let End::There { channel, .. } = &mut self.links[at].end {
                    channel.arrived(&bytes);
                }
            }
            FromMonitor::Sends(transfer, result) => self.copy_sent(from, transfer, result),
            FromMonitor::Received(transfer, result) => self.copy_received(from, transfer, result),
            FromMonitor::Stuck(transfer) => self.copy_is_stuck(from, transfer),
            FromMonitor::Spilled(id, result) => {
                let remote = self.hosts.as_mut().and_then(|hosts| hosts.get(from));
                let spilled = remote.map_or(Ok(None), |remote| remote.store.spilled(id, result))?;
                if let Some(moved) = spilled {
                    self.handle(Event::Spilled { host: from, id, object: moved });
                }
            }
            FromMonitor::Looked => {
                // What was passed on before counts first.
                for at in 0..self.links.len() {
                    while self.links[at].host() == from && self.links[at].has_work() {
                        self.read_link(at, MESSAGES_PER_POLL);
                    }
                }
                let remote = self.hosts.as_mut().and_then(|hosts| hosts.get(from));
                if !remote.is_some_and(|remote| remote.store.looked()) {
                    return Err("it answers what was not asked".into());
                }
            }
            FromMonitor::Ended => return Err("it ends before the session does".into()),
        }
        Ok(())
    }

    fn link_at(&self, host: HostId, process: ProcessId) -> Result<usize, String> {
        let at = self.by_process.get(&process).copied();
        at.filter(|at| self.links[*at].host() == host).ok_or_else(|| format!("{process} is not there"))
    }

    fn note_taken(&mut self, at: usize, taken: u64) {
        if let End::There { channel, .. } = &mut self.links[at].end {
            channel.note_taken(taken);
        }
    }

    /// A process that was to be started there has joined, or never will.
    fn take_starting(&mut self, host: HostId, process: ProcessId) -> Result<(), String> {
        let remote = self.hosts.as_mut().and_then(|hosts| hosts.get(host));
        match remote.is_some_and(|remote| remote.starting.remove(&process)) {
            true => Ok(()),
            false => Err(format!("{process} was not to be started there")),
        }
    }

    /// A host that can be reached is to be part of the session no more.
    fn give_host_up(&mut self, host: HostId, why: &str) {
        if let Some(hosts) = &mut self.hosts {
            hosts.tell(host, &ToMonitor::End);
            hosts.flush(true);
        }
        self.lose_host(host, why);
        if let Some(hosts) = &mut self.hosts {
            hosts.network.forget(host);
        }
    }

    /// The host is gone, with its processes and its memory. Once is enough.
    fn lose_host(&mut self, host: HostId, why: &str) {
        let Some(hosts) = &mut self.hosts else { return };
        if !hosts.lose(host) {
            return;
        }
        let name = hosts.name(host).to_owned();
        if let Some(ip) = hosts.ip(host) {
            self.cluster.hosts.remove(ip);
        }
        log::error!("host {name} is lost, with its processes and objects: {why}");
        hosts.tell_others(host, &ToMonitor::Forget(host));
        self.links.retain(|link| link.host() != host);
        self.by_process = self.links.iter().enumerate().map(|(at, link)| (link.process, at)).collect();
        self.handle(Event::HostLost { host, cause: format!("host {name} was lost: {why}") });
        self.drop_deferred(host);
        self.lose_copies(host, &name);
    }
}
