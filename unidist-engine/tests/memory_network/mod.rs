//! A network in memory: each host is a thread of one process.

use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, Sender, channel};
use unidist_backend::WritableBuffer;
use unidist_engine::network::{Arrival, HostId, Network, Transfer};

/// One host's end of the network. When it is dropped, the others lose this host.
pub(crate) struct MemoryNetwork {
    here: HostId,
    others: BTreeMap<HostId, Sender<Packet>>,
    inbox: Receiver<Packet>,
    to_come: Vec<Arrival>,
    /// Memory that has arrived for a transfer before this host was told of it.
    early: BTreeMap<Transfer, Vec<Bytes>>,
    wanted: BTreeMap<Transfer, (HostId, Vec<Box<dyn WritableBuffer>>)>,
}

enum Packet {
    Message(HostId, Vec<u8>),
    Memory(Transfer, Vec<Bytes>),
    Gone(HostId, String),
}

/// Reports the loss of one host to another.
pub(crate) struct Cutter(Sender<Packet>);

impl Cutter {
    /// The host cannot reach this one any more.
    pub(crate) fn cut(&self, host: HostId) {
        let _ = self.0.send(Packet::Gone(host, "the cable was cut".into()));
    }
}

/// A network of `count` hosts, each with a handle that cuts it off.
pub(crate) fn mesh(hosts: u32) -> (Vec<MemoryNetwork>, Vec<Cutter>) {
    let (senders, inboxes): (Vec<_>, Vec<_>) = (0..hosts).map(|_| channel()).unzip();
    let ends = (0..).map(HostId::new).zip(inboxes).map(|(here, inbox)| {
        let all = (0..).map(HostId::new).zip(senders.iter().cloned());
        MemoryNetwork {
            here,
            others: all.filter(|(host, _)| *host != here).collect(),
            inbox,
            to_come: Vec::new(),
            early: BTreeMap::new(),
            wanted: BTreeMap::new(),
        }
    });
    let ends = ends.collect();
    (ends, senders.into_iter().map(Cutter).collect())
}

impl MemoryNetwork {
    fn post(&self, to: HostId, packet: Packet) {
        if let Some(other) = self.others.get(&to) {
            let _ = other.send(packet); // it fails if that host is lost, which was reported
        }
    }

    fn fill(&mut self, transfer: Transfer, memory: Vec<Bytes>) {
        let Some((_, buffers)) = self.wanted.remove(&transfer) else {
            self.early.insert(transfer, memory);
            return;
        };
        assert_eq!(buffers.len(), memory.len(), "both sides have as many parts");
        for (mut buffer, bytes) in buffers.into_iter().zip(memory) {
            buffer.copy_from_slice(&bytes);
        }
        self.to_come.push(Arrival::Received(transfer));
    }

    fn lose(&mut self, host: HostId, why: String) {
        if self.others.remove(&host).is_some() {
            self.wanted.retain(|_, (from, _)| *from != host);
            self.to_come.push(Arrival::Lost(host, why));
        }
    }
}

impl Network for MemoryNetwork {
    fn send(&mut self, to: HostId, message: Vec<u8>) {
        self.post(to, Packet::Message(self.here, message));
    }

    fn send_memory(&mut self, to: HostId, transfer: Transfer, memory: Vec<Bytes>) {
        self.post(to, Packet::Memory(transfer, memory));
        self.to_come.push(Arrival::Sent(transfer));
    }

    fn receive_memory(&mut self, from: HostId, transfer: Transfer, memory: Vec<Box<dyn WritableBuffer>>) {
        self.wanted.insert(transfer, (from, memory));
        if let Some(early) = self.early.remove(&transfer) {
            self.fill(transfer, early);
        }
    }

    fn poll(&mut self, arrivals: &mut Vec<Arrival>) {
        while let Ok(packet) = self.inbox.try_recv() {
            match packet {
                Packet::Message(from, bytes) if self.others.contains_key(&from) => {
                    self.to_come.push(Arrival::Message(from, bytes));
                }
                Packet::Message(..) => {}
                Packet::Memory(transfer, memory) => self.fill(transfer, memory),
                Packet::Gone(host, why) => self.lose(host, why),
            }
        }
        arrivals.append(&mut self.to_come);
    }

    fn forget(&mut self, host: HostId) {
        self.lose(host, "the session has expelled it".into());
    }

    fn is_busy(&self) -> bool {
        false
    }
}

impl Drop for MemoryNetwork {
    fn drop(&mut self) {
        for host in self.others.keys() {
            self.post(*host, Packet::Gone(self.here, "it has ended".into()));
        }
    }
}
