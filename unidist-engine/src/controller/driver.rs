//! The engine's turn: events from the links, the inbox and the supervisor go into the scheduler, and what it decides
//! goes out.

use super::clock::Clock;
use super::mailbox::{Letters, Mailbox};
use super::storage::Storage;
use super::supervisor::{Notice, Supervisor};
use crate::link::channel::Channel;
use crate::link::message::{Ask, FromWorker, Reply, RequestId, ToWorker};
use crate::link::ring::{LinkMemory, Side};
use crate::link::wire::WireError;
use crate::pending::{Callback, Requests};
use crate::scheduler::{Action, Event, Role, Scheduler};
use crate::store::{Block, StoredObject};
use rustc_hash::FxHashMap;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;
use unidist_common::{DataId, Error, ProcessId, Result};
use unidist_core::ClusterInfo;

/// How many messages one link may deliver in a turn, so that none starves the others.
const MESSAGES_PER_TURN: usize = 512;

/// The state of the engine. Whoever holds it drives.
pub(crate) struct Driver {
    scheduler: Scheduler,
    links: Vec<Link>,
    by_process: FxHashMap<ProcessId, usize>,
    mailbox: Arc<Mailbox>,
    letters: Letters,
    actions: Vec<Action>,
    /// Calls that could not be sent, with the errors that they have now.
    unsent: VecDeque<Event>,
    supervisor: Arc<Supervisor>,
    storage: Storage,
    requests: Arc<Requests>,
    cluster: ClusterInfo,
    /// Answers that are to be called without the lock.
    callbacks: Vec<Callback>,
    /// Requests for blocks of the store that could not be met at once.
    postponed: Vec<Postponed>,
    /// How many calls have not ended, for those who do not hold the driver.
    pending: Arc<AtomicUsize>,
    /// Why the last process that could not join did not.
    last_loss: Option<String>,
    clock: Clock,
}

/// A request for a block that could not be met at once.
struct Postponed {
    process: ProcessId,
    request: RequestId,
    len: u64,
    /// For how many turns it has waited.
    turns: u32,
}

/// The link to one process.
struct Link {
    process: ProcessId,
    memory: Arc<LinkMemory>,
    channel: Channel<ToWorker, FromWorker>,
    /// Blocks that the process was given and that are not part of an object, by offset.
    drafts: FxHashMap<u64, u64>,
    /// Calls that the process may not have seen, each with the place in the stream where it ends.
    unseen: VecDeque<(u64, DataId)>,
    /// There is something to flush, and whether it must not wait until the process looks by itself.
    dirty: bool,
    urgent: bool,
    /// The process has sent nonsense: nothing more is read, and it is being killed.
    broken: bool,
}

impl Link {
    fn new(process: ProcessId, memory: Arc<LinkMemory>) -> Self {
        let channel = Channel::new(&memory, Side::Engine);
        Link {
            process,
            memory,
            channel,
            drafts: FxHashMap::default(),
            unseen: VecDeque::new(),
            dirty: false,
            urgent: false,
            broken: false,
        }
    }

    fn send(&mut self, message: &ToWorker) -> std::result::Result<(), WireError> {
        // A busy worker comes to its next task by itself; everything else may be what it waits for.
        self.urgent |= !matches!(message, ToWorker::Run(run) if !run.nested);
        self.dirty = true;
        let end = self.channel.send(message)?;
        if let ToWorker::Run(run) = message {
            self.forget_seen();
            self.unseen.push_back((end, run.id));
        }
        Ok(())
    }

    fn forget_seen(&mut self) {
        let taken = self.channel.taken();
        while self.unseen.front().is_some_and(|(end, _)| *end <= taken) {
            self.unseen.pop_front();
        }
    }

    fn has_work(&self) -> bool {
        !self.broken && self.channel.has_input()
    }

    fn has_room_for_backlog(&self) -> bool {
        !self.broken && self.channel.can_flush()
    }
}

impl Driver {
    pub(crate) fn new(
        scheduler: Scheduler,
        mailbox: Arc<Mailbox>,
        supervisor: Arc<Supervisor>,
        storage: Storage,
        requests: Arc<Requests>,
        cluster: ClusterInfo,
        pending: Arc<AtomicUsize>,
    ) -> Self {
        Driver {
            scheduler,
            links: Vec::new(),
            by_process: FxHashMap::default(),
            mailbox,
            letters: Letters::default(),
            actions: Vec::new(),
            unsent: VecDeque::new(),
            supervisor,
            storage,
            requests,
            cluster,
            callbacks: Vec::new(),
            postponed: Vec::new(),
            pending,
            last_loss: None,
            clock: Clock::default(),
        }
    }

    /// Starts the first workers.
    pub(crate) fn start_workers(&mut self) {
        self.scheduler.start_workers(&mut self.actions);
        self.carry_out();
    }

    /// Whether no process is starting; if none is there either, why.
    pub(crate) fn started(&self) -> Option<Result<()>> {
        match self.scheduler.workers_started()? {
            true => Some(Ok(())),
            false => {
                let why = self.last_loss.as_deref().unwrap_or("no reason is known");
                Some(Err(Error::Launch { message: format!("no worker could be started: {why}") }))
            }
        }
    }

    /// Whether the session is over: every process has ended.
    pub(crate) fn is_over(&self) -> bool {
        self.scheduler.is_over()
    }

    /// Whether there are callbacks, for which the driver has to be left.
    pub(crate) fn has_callbacks(&self) -> bool {
        !self.callbacks.is_empty()
    }

    /// What is to be called once the lock is given up.
    pub(crate) fn take_callbacks(&mut self) -> Vec<Callback> {
        std::mem::take(&mut self.callbacks)
    }

    /// How many results workers may let lie while this sleeps.
    pub(crate) fn results_may_lie(&self) -> usize {
        self.scheduler.results_may_lie()
    }

    /// How many processes are awake, as far as it matters: this one and those that have not gone to sleep, up to one
    /// more than `cores`.
    pub(crate) fn count_awake(&self, cores: usize) -> usize {
        1 + self.links.iter().filter(|link| !link.memory.bell().driver_sleeps()).take(cores).count()
    }

    /// Whether a turn would find something to do.
    pub(crate) fn has_work(&self) -> bool {
        self.mailbox.is_full()
            || self.links.iter().any(|link| link.has_work() || link.has_room_for_backlog())
            || self.clock.is_due()
    }

    /// When there will be something to do even if nothing happens.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.clock.next()
    }

    /// Deals with everything that has happened; false if nothing had.
    pub(crate) fn turn(&mut self) -> bool {
        let mut happened = self.read_mailbox();
        for at in 0..self.links.len() {
            if self.links[at].has_work() {
                happened = true;
                self.read_link(at, MESSAGES_PER_TURN);
            } else if self.links[at].channel.has_backlog() {
                self.links[at].dirty = true;
            }
        }
        for timer in self.clock.take_due() {
            happened = true;
            self.handle(Event::Expired(timer));
        }
        if happened {
            self.scheduler.dispatch_into(&mut self.actions);
        }
        while self.carry_out() {
            self.scheduler.dispatch_into(&mut self.actions);
        }
        self.allocate_postponed();
        self.flush();
        self.pending.store(self.scheduler.pending_tasks(), Ordering::Relaxed);
        happened
    }

    fn read_mailbox(&mut self) -> bool {
        if !self.mailbox.is_full() {
            return false;
        }
        let mut letters = std::mem::take(&mut self.letters);
        self.mailbox.empty_into(&mut letters);
        for ask in letters.asks.drain(..) {
            self.handle(Event::Ask(ProcessId::CONTROLLER, ask));
        }
        for message in letters.store.drain(..) {
            self.hear_of_store(ProcessId::CONTROLLER, message);
        }
        for notice in letters.notices.drain(..) {
            match notice {
                Notice::Joined(process, memory) => {
                    self.by_process.insert(process, self.links.len());
                    self.links.push(Link::new(process, memory));
                    self.handle(Event::Joined(process));
                }
                Notice::Lost(process, why) => self.lost(process, why),
            }
        }
        if std::mem::take(&mut letters.shutdown) {
            self.handle(Event::Shutdown);
        }
        self.letters = letters;
        true
    }

    fn handle(&mut self, event: Event) {
        self.scheduler.handle(event, &mut self.actions);
        self.carry_out();
    }

    fn read_link(&mut self, at: usize, limit: usize) {
        for _ in 0..limit {
            let link = &mut self.links[at];
            if link.broken {
                return;
            }
            match link.channel.receive() {
                Ok(None) => break,
                Ok(Some(message)) => self.hear(at, message),
                Err(error) => return self.break_link(at, &error.0),
            }
        }
        let link = &mut self.links[at];
        if link.channel.take_peer_starved() {
            link.memory.bell().ring();
        }
    }

    fn hear(&mut self, at: usize, message: FromWorker) {
        let process = self.links[at].process;
        if !message.names_its_own(process) {
            return self.break_link(at, "it names new objects that are not its own");
        }
        match message {
            FromWorker::Ask(Ask::Put(id, object, views)) => {
                if views as usize > 1 + object.buffers.len() {
                    return self.break_link(at, "it claims more views of an object than that has parts");
                }
                if self.accept(at, std::slice::from_ref(&object)) {
                    self.handle(Event::Ask(process, Ask::Put(id, object, views)));
                }
            }
            FromWorker::Ask(ask) => self.handle(Event::Ask(process, ask)),
            FromWorker::Done(task, result) => {
                if result.as_ref().map_or(true, |objects| self.accept(at, objects)) {
                    self.handle(Event::Done(process, task, result));
                }
            }
            FromWorker::Returned(tasks) => self.handle(Event::Returned(process, tasks)),
            FromWorker::Yield(task) => self.handle(Event::Yield(process, task)),
            FromWorker::Started(call) => self.handle(Event::Started(process, call)),
            FromWorker::Allocate(..) | FromWorker::StoreUsage(_) => self.hear_of_store(process, message),
            FromWorker::GiveBack(block) => match self.links[at].drafts.remove(&block.offset) {
                Some(len) if len == block.len => self.storage.free(block),
                _ => self.break_link(at, "it gives back a block that is not its own"),
            },
            FromWorker::Cluster(request) => {
                self.reply(process, request, Reply::Cluster(self.cluster.clone()))
            }
        }
    }

    fn hear_of_store(&mut self, process: ProcessId, message: FromWorker) {
        match message {
            FromWorker::Allocate(request, len) => match self.storage.allocate(len) {
                Some(block) => self.hand_out(process, request, block),
                // First, everything is read that may free something.
                None => self.postponed.push(Postponed { process, request, len, turns: 0 }),
            },
            FromWorker::StoreUsage(request) => {
                self.reply(process, request, Reply::StoreUsage(self.storage.usage()))
            }
            other => log::error!("not a matter of the store: {other:?}"),
        }
    }

    fn hand_out(&mut self, process: ProcessId, request: RequestId, block: Block) {
        if let Some(&at) = self.by_process.get(&process) {
            self.links[at].drafts.insert(block.offset, block.len);
        }
        self.reply(process, request, Reply::Allocated(block));
    }

    fn allocate_postponed(&mut self) {
        for waiting in std::mem::take(&mut self.postponed) {
            let Postponed { process, request, len, turns } = waiting;
            if process != ProcessId::CONTROLLER && !self.by_process.contains_key(&process) {
                continue;
            }
            let more_may_be_free = self.has_work();
            if more_may_be_free && turns == 0 {
                self.postponed.push(Postponed { turns: 1, ..waiting });
                continue;
            }
            let links = self.links.iter();
            let drafts = links.flat_map(|link| link.drafts.iter().map(|draft| (link.process, draft)));
            let drafts = drafts.map(|(process, (&offset, &len))| (process, Block { offset, len }));
            match self.storage.make_room(len, &mut self.scheduler, drafts) {
                Ok(block) => self.hand_out(process, request, block),
                Err(_) if more_may_be_free => self.postponed.push(waiting),
                Err(error) => self.reply(process, request, Reply::Failed(error)),
            }
        }
    }

    /// Takes over the blocks of objects that a process has made. False if one was not its own to give.
    fn accept(&mut self, at: usize, objects: &[StoredObject]) -> bool {
        let drafts = &mut self.links[at].drafts;
        let mut taken = Vec::new();
        let mut blocks = objects.iter().flat_map(StoredObject::blocks);
        let own = blocks.all(|block| {
            let len = drafts.remove(&block.offset);
            taken.extend(len.map(|len| (block.offset, len)));
            len == Some(block.len)
        });
        let own = own && objects.iter().all(|object| object.spilled().next().is_none());
        if !own {
            drafts.extend(taken); // which are freed with it
            self.break_link(at, "it names a block that is not its own");
        }
        own
    }

    fn break_link(&mut self, at: usize, why: &str) {
        let link = &mut self.links[at];
        log::error!("{}: {why}: its link is closed and its process killed", link.process);
        link.broken = true;
        self.supervisor.kill(link.process);
    }

    fn lost(&mut self, process: ProcessId, why: String) {
        let mut unseen = Vec::new();
        match self.by_process.get(&process).copied() {
            Some(at) => {
                // What it said before it ended still counts.
                while self.links[at].has_work() {
                    self.read_link(at, MESSAGES_PER_TURN);
                }
                self.by_process.remove(&process);
                let mut link = self.links.swap_remove(at);
                link.forget_seen();
                unseen.extend(link.unseen.iter().map(|(_, call)| *call));
                if let Some(moved) = self.links.get(at) {
                    self.by_process.insert(moved.process, at);
                }
                link.drafts.into_iter().for_each(|(offset, len)| self.storage.free(Block { offset, len }));
                log::debug!("{process}: {why}");
            }
            None => {
                log::error!("{process}: {why}");
                self.last_loss = Some(why.clone());
            }
        }
        self.handle(Event::Lost(process, why, unseen));
    }

    /// Does what the scheduler wants; true if calls failed meanwhile, because they could not be sent: others may be
    /// handed out in their place.
    fn carry_out(&mut self) -> bool {
        self.act();
        let failed = !self.unsent.is_empty();
        while let Some(event) = self.unsent.pop_front() {
            self.scheduler.handle(event, &mut self.actions);
            self.act();
        }
        failed
    }

    fn act(&mut self) {
        let mut actions = std::mem::take(&mut self.actions);
        for action in actions.drain(..) {
            match action {
                Action::Start(process, role) => self.supervisor.launch(process, role != Role::Pool),
                Action::Send(process, message) => self.send(process, &message),
                Action::Reply(process, request, reply) => self.reply(process, request, reply),
                Action::Free(block) => self.storage.free(block),
                Action::FreeSpilled(block) => self.storage.free_spilled(block),
                Action::Kill(process) => self.supervisor.kill(process),
                Action::Arm(timer, time) => self.clock.arm(timer, time),
                Action::Disarm(timer) => self.clock.disarm(timer),
                Action::Unobserved(error) => log::error!("nobody can see this failure: {error}"),
            }
        }
        self.actions = actions;
    }

    fn reply(&mut self, process: ProcessId, request: RequestId, reply: Reply) {
        match process {
            ProcessId::CONTROLLER => self.callbacks.extend(self.requests.answer(request, reply)),
            _ => self.send(process, &ToWorker::Reply(request, reply)),
        }
    }

    fn send(&mut self, process: ProcessId, message: &ToWorker) {
        // A process that is gone or being killed hears nothing; its loss is an event of its own.
        let Some(&at) = self.by_process.get(&process) else {
            return;
        };
        let Err(error) = self.links[at].send(message) else { return };
        match message {
            ToWorker::Run(run) => {
                let error = error.of_call("the call with the values it needs");
                self.unsent.push_back(Event::Done(process, run.id, Err(error)));
            }
            ToWorker::Reply(request, reply) if !matches!(reply, Reply::Failed(_)) => {
                let call = if let Reply::Values(values) = reply {
                    self.unsent.push_back(Event::Unanswered(process, values.clone()));
                    "get"
                } else {
                    "wait"
                };
                self.reply(process, *request, Reply::Failed(error.of_request(call)));
            }
            _ => self.break_link(at, &error.0),
        }
    }

    fn flush(&mut self) {
        for at in 0..self.links.len() {
            let link = &mut self.links[at];
            if !std::mem::take(&mut link.dirty) || link.broken {
                continue;
            }
            match link.channel.flush() {
                Ok(true) if std::mem::take(&mut link.urgent) => link.memory.bell().ring(),
                Ok(true) => link.memory.bell().ring_softly(),
                Ok(false) => {}
                Err(error) => self.break_link(at, &error.0),
            }
        }
    }
}

#[cfg(test)]
mod tests;
