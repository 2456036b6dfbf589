//! Handles messages of processes. All input from processes is untrusted and validated here.

use super::Driver;
use crate::network::HostId;
use crate::protocol::worker::{FromWorker, Reply, Request};
use crate::scheduler::Event;
use crate::store::StoredObject;
use unidist_backend::ClusterInfo;
use unidist_common::ProcessId;

impl Driver {
    pub(super) fn read_link(&mut self, at: usize, limit: usize) {
        for _ in 0..limit {
            let link = &mut self.links[at];
            if link.broken {
                return;
            }
            match link.receive() {
                Ok(None) => break,
                Ok(Some(message)) => self.on_process_message(at, message),
                Err(error) => return self.fail_link(at, &error.0),
            }
        }
        self.links[at].ring_if_starved();
    }

    fn on_process_message(&mut self, at: usize, message: FromWorker) {
        let process = self.links[at].process;
        if !message.creates_own_ids(process) {
            return self.fail_link(
                at,
                "it creates objects with ids of another process, or more results than a call can have",
            );
        }
        match message {
            FromWorker::Request(Request::Put { id, object, views }) => {
                if views as usize > 1 + object.buffers.len() {
                    return self.fail_link(at, "it claims more views than the object has parts");
                }
                if self.claim_blocks(at, std::slice::from_ref(&object)) {
                    self.handle(Event::Request { process, request: Request::Put { id, object, views } });
                }
            }
            FromWorker::Request(ask) => self.handle(Event::Request { process, request: ask }),
            FromWorker::Done { task, result } => {
                if result.as_ref().map_or(true, |objects| self.claim_blocks(at, objects)) {
                    self.handle(Event::Done { process, task, result });
                }
            }
            FromWorker::Retracted(tasks) => self.handle(Event::Retracted { process, tasks }),
            FromWorker::Suspended(task) => self.handle(Event::Suspended { process, task }),
            FromWorker::Resumed(task) => self.handle(Event::Resumed { process, task }),
            FromWorker::Started(call) => self.handle(Event::Started { process, task: call }),
            FromWorker::Allocate { .. } | FromWorker::StoreUsage(_) => {
                self.on_store_request(process, message)
            }
            FromWorker::FreeBlock(place) => match self.links[at].unsealed.remove(&place) {
                true => self.free_place(self.links[at].host(), place),
                false => self.fail_link(at, "it frees a block that was not allocated to it"),
            },
            FromWorker::Cluster(_) => self.on_store_request(process, message),
        }
    }

    /// Handles requests about the store or the cluster.
    pub(super) fn on_store_request(&mut self, process: ProcessId, message: FromWorker) {
        let Some(host) = self.host_of(process) else { return };
        match message {
            FromWorker::Allocate { request, len } => self.allocate(host, process, request, len),
            FromWorker::StoreUsage(request) => {
                let usage = self.store_usage(host);
                self.reply(process, request, Reply::StoreUsage(usage));
            }
            FromWorker::Cluster(request) => {
                let cluster = self.cluster_seen_from(host);
                self.reply(process, request, Reply::Cluster(cluster));
            }
            FromWorker::FreeBlock(place) => self.free_place(host, place), // of the program
            other => log::error!("unexpected request, which is not about the store: {other:?}"),
        }
    }

    fn cluster_seen_from(&self, host: HostId) -> ClusterInfo {
        let ip = self.hosts.as_ref().and_then(|hosts| hosts.ip(host));
        let local_ip = ip.unwrap_or(&self.cluster.local_ip).to_owned();
        ClusterInfo { local_ip, hosts: self.cluster.hosts.clone() }
    }

    /// Takes over the blocks of objects that a process has made. False if a block was not allocated to the process.
    fn claim_blocks(&mut self, at: usize, objects: &[StoredObject]) -> bool {
        let unsealed = &mut self.links[at].unsealed;
        let mut taken = Vec::new();
        let own = objects.iter().flat_map(StoredObject::places).all(|place| {
            let is_own = unsealed.remove(&place);
            taken.extend(is_own.then_some(place));
            is_own
        });
        if !own {
            unsealed.extend(taken); // they are freed when the process is lost
            self.fail_link(at, "it uses a block that was not allocated to it");
        }
        own
    }

    pub(super) fn fail_link(&mut self, at: usize, why: &str) {
        let link = &mut self.links[at];
        log::error!("{}: {why}: closing its link and killing the process", link.process);
        link.broken = true;
        let process = link.process;
        self.kill(process);
    }
}
