//! Connects and disconnects the monitors of a session on several hosts.

use super::remote_hosts::{HostPhase, MonitorSpec, RemoteHost, RemoteHosts};
use super::remote_store::RemoteStore;
use crate::network::{Arrival, HostId, Network, Transfer};
use crate::protocol::handshake;
use crate::protocol::monitor::{FromMonitor, GreetingReply, ToMonitor, unpack};
use bytes::Bytes;
use std::time::Instant;
use unidist_backend::WritableBuffer;
use unidist_common::{Error, Result};

impl RemoteHosts {
    /// Connects the monitors of the other hosts, in the order of their ids from 1, and waits until all are ready.
    ///
    /// # Errors
    ///
    /// A monitor does not answer in time, refuses, or is lost.
    pub(crate) fn connect(&mut self, monitor_specs: Vec<MonitorSpec>) -> Result<()> {
        let builds = self.send_greetings(monitor_specs)?;
        self.await_ready(&builds)
    }

    /// Sends the greetings; returns the build that each monitor has to report.
    fn send_greetings(&mut self, monitor_specs: Vec<MonitorSpec>) -> Result<Vec<String>> {
        let mut builds = Vec::new();
        for MonitorSpec { name, ip, greeting } in monitor_specs {
            let words = handshake::encode(&greeting);
            let words =
                words.map_err(|why| Error::system(format!("cannot greet the monitor on {name}"), why))?;
            self.network.send(greeting.host, words);
            self.remote.push(RemoteHost::greeted(greeting.host, name, ip));
            builds.push(greeting.build_id);
        }
        Ok(builds)
    }

    fn await_ready(&mut self, builds: &[String]) -> Result<()> {
        let deadline = Instant::now() + self.timeouts[0];
        while let Some(late) = self.remote.iter().position(|remote| remote.phase != HostPhase::Ready) {
            if deadline <= Instant::now() {
                return Err(self.failed(late, "its monitor did not answer within the time limit"));
            }
            for arrival in self.wait() {
                match arrival {
                    Arrival::Message(from, bytes) => {
                        let Some(at) = self.place(from) else { continue };
                        match ready(&bytes, &builds[at]) {
                            Ok(store) => {
                                (self.remote[at].store, self.remote[at].phase) = (store, HostPhase::Ready);
                            }
                            Err(why) => {
                                self.remote[at].phase = HostPhase::Ended;
                                return Err(self.failed(at, &why));
                            }
                        }
                    }
                    Arrival::Lost(host, why) => {
                        if let Some(at) = self.place(host) {
                            self.remote[at].phase = HostPhase::Lost;
                            return Err(self.failed(at, &why));
                        }
                    }
                    Arrival::Received(_) | Arrival::Sent(_) | Arrival::Stuck(_) => {}
                }
            }
        }
        Ok(())
    }

    fn failed(&self, at: usize, why: &str) -> Error {
        let name = &self.remote[at].name;
        Error::Launch { message: format!("host {name} cannot join the session: {why}") }
    }

    /// Polls the network, and sleeps if nothing has arrived.
    fn wait(&mut self) -> Vec<Arrival> {
        let mut arrivals = Vec::new();
        self.network.poll(&mut arrivals);
        match arrivals.is_empty() {
            true => std::thread::sleep(self.network_sleep()),
            false => self.poll_backoff.on_traffic(Instant::now()),
        }
        arrivals
    }

    /// Has the monitors end their processes and waits until they have, up to the time-out.
    fn disconnect(&mut self) {
        let is_open = |remote: &RemoteHost| matches!(remote.phase, HostPhase::Greeted | HostPhase::Ready);
        self.remote
            .iter_mut()
            .filter(|remote| is_open(remote))
            .for_each(|remote| remote.add(&ToMonitor::End));
        // Monitors that got no greeting, because the session could not start, get an empty message.
        for place in self.remote.len()..self.count {
            if let Ok(place) = u32::try_from(place + 1) {
                self.network.send(HostId::new(place), Vec::new());
            }
        }
        self.flush(true);
        let deadline = Instant::now() + self.timeouts[1];
        while (self.remote.iter().any(is_open) || self.network.is_busy()) && Instant::now() < deadline {
            for arrival in self.wait() {
                match arrival {
                    Arrival::Message(from, bytes) => {
                        let mut messages = unpack::<FromMonitor>(&bytes);
                        if let Some(at) = self.place(from)
                            && messages.any(|message| matches!(message, Ok(FromMonitor::Ended)))
                        {
                            self.remote[at].phase = HostPhase::Ended;
                        }
                    }
                    Arrival::Lost(host, _) => {
                        if let Some(at) = self.place(host) {
                            self.remote[at].phase = HostPhase::Lost;
                        }
                    }
                    Arrival::Received(_) | Arrival::Sent(_) | Arrival::Stuck(_) => {}
                }
            }
        }
        for remote in self.remote.iter().filter(|remote| is_open(remote)) {
            log::error!("the monitor on {} did not end within the time limit", remote.name);
        }
    }
}

/// The store of a host whose monitor is ready.
fn ready(bytes: &[u8], build: &str) -> std::result::Result<RemoteStore, String> {
    match handshake::decode(bytes)? {
        GreetingReply::Ready { build_id, segment, spill_limit } => {
            handshake::check_build(build, &build_id)?;
            Ok(RemoteStore::new(segment, spill_limit))
        }
        GreetingReply::Refused(error) => Err(error.to_string()),
    }
}

impl Drop for RemoteHosts {
    fn drop(&mut self) {
        self.disconnect();
        let network = std::mem::replace(&mut self.network, Box::new(NullNetwork));
        if let Some(on_end) = self.on_end.take() {
            on_end(network);
        }
    }
}

/// Stands in once the network has been passed on.
struct NullNetwork;

impl Network for NullNetwork {
    fn send(&mut self, _: HostId, _: Vec<u8>) {}

    fn send_memory(&mut self, _: HostId, _: Transfer, _: Vec<Bytes>) {}

    fn receive_memory(&mut self, _: HostId, _: Transfer, _: Vec<Box<dyn WritableBuffer>>) {}

    fn poll(&mut self, _: &mut Vec<Arrival>) {}

    fn forget(&mut self, _: HostId) {}

    fn is_busy(&self) -> bool {
        false
    }
}
