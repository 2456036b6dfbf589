//! Carries out the scheduler's actions: sends messages, starts and ends processes, frees blocks.

use super::Driver;
use super::link::End;
use crate::network::HostId;
use crate::protocol::monitor::ToMonitor;
use crate::protocol::worker::{Reply, RequestId, ToWorker};
use crate::scheduler::{Action, Event, Role};
use crate::store::{Block, Place};
use unidist_common::ProcessId;

impl Driver {
    pub(super) fn handle(&mut self, event: Event) {
        self.scheduler.handle(event, &mut self.actions);
        self.apply_actions();
    }

    /// Carries out the scheduler's actions; true if that led to events, such as calls that cannot be sent: others may
    /// be dispatched in their place.
    pub(super) fn apply_actions(&mut self) -> bool {
        self.apply_pending();
        let any = !self.follow_up_events.is_empty();
        while let Some(event) = self.follow_up_events.pop_front() {
            self.scheduler.handle(event, &mut self.actions);
            self.apply_pending();
        }
        any
    }

    fn apply_pending(&mut self) {
        let mut actions = std::mem::take(&mut self.actions);
        for action in actions.drain(..) {
            match action {
                Action::StartProcess { process, role, host } => self.start(process, role != Role::Pool, host),
                Action::Run { process, run } => self.send(process, &ToWorker::Run(run)),
                Action::RetractTasks { process, tasks } => self.send(process, &ToWorker::RetractTasks(tasks)),
                Action::CancelTask { process, task, error } => {
                    self.send(process, &ToWorker::Cancel { task, error })
                }
                Action::Stop(process) => self.send(process, &ToWorker::Stop),
                Action::Reply { process, request, reply } => self.reply(process, request, reply),
                Action::SetCpus { host, cpus } => self.set_cpus(host, cpus),
                Action::Free { host, block } => self.free(host, block),
                Action::FreeSpilled { host, block } => self.free_spilled(host, block),
                Action::Copy(copy) => self.copy(copy),
                Action::Kill(process) => self.kill(process),
                Action::Arm { timer, after: time } => self.timers.arm(timer, time),
                Action::Disarm(timer) => self.timers.disarm(timer),
                Action::Unobserved(error) => {
                    log::error!("a call without results failed, so no `get` can return its error: {error}")
                }
            }
        }
        self.actions = actions;
    }

    fn set_cpus(&mut self, host: HostId, cpus: usize) {
        let ip =
            self.hosts.as_ref().and_then(|hosts| hosts.ip(host)).unwrap_or(&self.cluster.local_ip).to_owned();
        if let Some(resources) = self.cluster.hosts.get_mut(&ip) {
            resources.insert("CPU".into(), cpus as f64);
        }
    }

    pub(super) fn start(&mut self, process: ProcessId, actor: bool, host: HostId) {
        match &mut self.hosts {
            Some(hosts) if host != HostId::CONTROLLER => hosts.start_process(host, process, actor),
            _ => self.supervisor.launch(process, actor),
        }
    }

    pub(super) fn kill(&mut self, process: ProcessId) {
        let joined = self.by_process.get(&process).map(|at| self.links[*at].host());
        let host = joined.or_else(|| self.hosts.as_ref()?.host_of_starting(process));
        match (&mut self.hosts, host) {
            (Some(hosts), Some(host)) if host != HostId::CONTROLLER => {
                hosts.send_to(host, &ToMonitor::Kill(process));
            }
            _ => self.supervisor.kill(process),
        }
    }

    pub(super) fn free(&mut self, host: HostId, block: Block) {
        match &mut self.hosts {
            Some(hosts) if host != HostId::CONTROLLER => hosts.free(host, block),
            _ => self.local_store.free(block),
        }
    }

    pub(super) fn free_place(&mut self, host: HostId, place: Place) {
        match place {
            Place::Memory(block) => self.free(host, block),
            Place::Disk(block) => self.free_spilled(host, block),
        }
    }

    fn free_spilled(&mut self, host: HostId, block: Block) {
        match &mut self.hosts {
            Some(hosts) if host != HostId::CONTROLLER => hosts.free_spilled(host, block),
            _ => self.local_store.free_spilled(block),
        }
    }

    pub(super) fn reply(&mut self, process: ProcessId, request: RequestId, reply: Reply) {
        match process {
            ProcessId::CONTROLLER => self.callbacks.extend(self.requests.answer(request, reply)),
            _ => self.send(process, &ToWorker::Reply(request, reply)),
        }
    }

    fn send(&mut self, process: ProcessId, message: &ToWorker) {
        // A process that has ended or is being killed gets no messages; its loss is an event of its own.
        let Some(&at) = self.by_process.get(&process) else {
            return;
        };
        let Err(error) = self.links[at].send(message) else { return };
        match message {
            ToWorker::Run(run) => {
                let error = error.of_call("the call with its argument values");
                self.follow_up_events.push_back(Event::Done { process, task: run.id, result: Err(error) });
            }
            ToWorker::Reply(request, reply) if !matches!(reply, Reply::Failed(_)) => {
                let call = if let Reply::Values(values) = reply {
                    self.follow_up_events
                        .push_back(Event::ReplyUndelivered { process, values: values.clone() });
                    "get"
                } else {
                    "wait"
                };
                self.reply(process, *request, Reply::Failed(error.of_request(call)));
            }
            _ => self.fail_link(at, &error.0),
        }
    }

    /// Flushes the links; `progressed` says whether the poll has handled something.
    pub(super) fn flush(&mut self, progressed: bool) {
        for at in 0..self.links.len() {
            let link = &mut self.links[at];
            if !std::mem::take(&mut link.dirty) || link.broken {
                continue;
            }
            match &mut link.end {
                End::Here { memory, channel } => match channel.flush() {
                    Ok(true) if std::mem::take(&mut link.urgent) => memory.bell().ring(),
                    Ok(true) => memory.bell().ring_driver(),
                    Ok(false) => {}
                    Err(error) => self.fail_link(at, &error.0),
                },
                End::There { host, channel } => {
                    let (host, process) = (*host, link.process);
                    let urgent = std::mem::take(&mut link.urgent);
                    let bytes = channel.take_output();
                    if let Some(hosts) = &mut self.hosts {
                        hosts.deliver(host, process, urgent, bytes);
                    }
                }
            }
        }
        if let Some(hosts) = &mut self.hosts {
            hosts.flush(progressed);
        }
    }
}
