//! `get` and `wait`: requests that are answered when objects have values.

use super::Scheduler;
use super::directory::Waiter;
use super::event::Action;
use super::request::{Reply, RequestId};
use unidist_common::{DataId, Error, ProcessId, TaskError};

/// A request that cannot be answered yet.
#[derive(Debug)]
pub(crate) struct OpenRequest {
    pub(crate) ids: Vec<DataId>,
    kind: Kind,
    /// How many more values are needed before the answer; then, how many copies.
    missing: usize,
    /// All objects have values, and some of those have to come to the host of the process first.
    pub(crate) is_fetching: bool,
    /// The task that is blocked until the answer.
    blocks: Option<DataId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Get,
    Wait { timed: bool },
}

impl OpenRequest {
    /// What a worker that is blocked by this request runs by itself if it finds it among what was sent ahead. Not for a
    /// `wait`: that may be answered while some of it has not started, and the worker would go by an older state.
    pub(crate) fn run_by_itself(&self) -> &[DataId] {
        match self.kind {
            Kind::Get => &self.ids,
            Kind::Wait { .. } => &[],
        }
    }

    /// Whether this call waits for the answer.
    pub(crate) fn blocks(&self, call: DataId) -> bool {
        self.blocks == Some(call)
    }

    /// How many of its objects that have no value must get one before it is answered.
    pub(crate) fn needed(&self) -> usize {
        match self.kind {
            Kind::Get | Kind::Wait { timed: false } => self.missing,
            Kind::Wait { timed: true } => 0,
        }
    }
}

/// So many results lie at a worker at most.
const MOST_LYING: usize = 16;

impl Scheduler {
    /// How many results each worker may let lie before the engine hears of them: some, if nobody waits but the program,
    /// for many at once, and no worker has nothing to do.
    pub(crate) fn results_may_lie(&self) -> usize {
        let waits_for = |(key, open): (&(ProcessId, RequestId), &OpenRequest)| match open.kind {
            Kind::Get if key.0 == ProcessId::CONTROLLER => open.missing,
            Kind::Get | Kind::Wait { .. } => 0,
        };
        let pool = self.pool().count().max(1);
        let wanted = match self.requests.len() {
            1..=4 => self.requests.iter().map(waits_for).min().unwrap_or(0),
            _ => 0,
        };
        if wanted == 0 || self.idle_worker().is_some() {
            return 1;
        }
        (wanted / pool).clamp(1, MOST_LYING)
    }

    pub(crate) fn get(
        &mut self,
        process: ProcessId,
        request: RequestId,
        ids: Vec<DataId>,
        blocks: Option<DataId>,
    ) {
        let missing = ids.iter().filter(|id| self.objects.is_pending(**id)).count();
        self.open(
            process,
            request,
            OpenRequest { ids, kind: Kind::Get, missing, is_fetching: false, blocks },
        );
    }

    pub(crate) fn wait(
        &mut self,
        process: ProcessId,
        request: RequestId,
        ids: Vec<DataId>,
        count: u64,
        timed: bool,
        blocks: Option<DataId>,
    ) {
        let ready = ids.iter().filter(|id| !self.objects.is_pending(**id)).count();
        let wanted = usize::try_from(count).unwrap_or(usize::MAX).min(ids.len());
        self.open(
            process,
            request,
            OpenRequest {
                ids,
                kind: Kind::Wait { timed },
                missing: wanted.saturating_sub(ready),
                is_fetching: false,
                blocks,
            },
        );
    }

    /// Answers a `wait` whose time is over.
    pub(crate) fn hurry(&mut self, process: ProcessId, request: RequestId) {
        match self.close(process, request) {
            Some(open) => self.answer(process, request, open),
            None => self.tell_of_workers(Some((process, request))),
        }
    }

    /// One of the objects that the request waits for has a value now.
    pub(crate) fn request_progress(&mut self, process: ProcessId, request: RequestId) {
        let Some(open) = self.requests.get_mut(&(process, request)) else {
            return;
        };
        open.missing = open.missing.saturating_sub(1);
        if open.missing == 0
            && let Some(mut open) = self.close(process, request)
        {
            if self.want_for_request(process, request, &mut open) {
                self.remember(process, request, open);
            } else {
                self.answer(process, request, open);
            }
        }
    }

    /// Has the objects come that are to be read by this process and lie on other hosts; false if there are none.
    fn want_for_request(&mut self, process: ProcessId, request: RequestId, open: &mut OpenRequest) -> bool {
        if self.hosts.len() == 1 || open.kind != Kind::Get || open.is_fetching {
            return false;
        }
        let Some(host) = self.host_of(process) else { return false };
        let mut absent: Vec<_> = open.ids.iter().copied().filter(|id| self.is_absent(*id, host)).collect();
        absent.sort_unstable();
        absent.dedup();
        absent.retain(|id| self.want(*id, host, Waiter::Request(process, request)));
        open.missing = absent.len();
        open.is_fetching = true;
        !absent.is_empty()
    }

    fn remember(&mut self, process: ProcessId, request: RequestId, open: OpenRequest) {
        if open.blocks.is_some()
            && let Some(worker) = self.workers.get_mut(&process)
        {
            worker.blocking.push(request);
        }
        self.requests.insert((process, request), open);
    }

    fn open(&mut self, process: ProcessId, request: RequestId, mut open: OpenRequest) {
        if open.missing == 0 && !self.want_for_request(process, request, &mut open) {
            return self.answer(process, request, open);
        }
        if let Some(error) = self.refusal(process, open.blocks) {
            let reply = Reply::Failed(Error::from(error));
            return self.actions.push(Action::Reply { process, request, reply });
        }
        for id in &open.ids {
            if self.objects.is_pending(*id) {
                self.objects.add_waiter(*id, Waiter::Request(process, request));
            }
        }
        let blocks = open.blocks;
        self.remember(process, request, open);
        if let Some(task) = blocks {
            self.block(process, task, Some(request));
            if let Some(error) = self.deadlock(process, request, task) {
                self.refuse(process, request, &error);
            }
        }
    }

    /// Forgets a request and everything that was to tell it something.
    pub(crate) fn close(&mut self, process: ProcessId, request: RequestId) -> Option<OpenRequest> {
        let open = self.requests.remove(&(process, request))?;
        if let Some(worker) = self.workers.get_mut(&process) {
            worker.blocking.retain(|other| *other != request);
        }
        for id in &open.ids {
            self.objects.remove_waiter(*id, Waiter::Request(process, request));
        }
        if open.is_fetching
            && let Some(host) = self.host_of(process)
        {
            open.ids.iter().for_each(|id| self.unwant(*id, host, Waiter::Request(process, request)));
        }
        Some(open)
    }

    /// Answers a request with an error: who waits for it is not to wait any more.
    pub(crate) fn refuse(&mut self, process: ProcessId, request: RequestId, error: &TaskError) {
        if let Some(open) = self.close(process, request) {
            let reply = Reply::Failed(Error::from(error.clone()));
            self.actions.push(Action::Reply { process, request, reply });
            self.unblock(process, open.blocks, request);
        }
    }

    fn answer(&mut self, process: ProcessId, request: RequestId, open: OpenRequest) {
        let reply = match open.kind {
            Kind::Get => {
                // The process has views as soon as the answer is on its way.
                open.ids.iter().for_each(|id| self.add_view(process, *id));
                let host = self.host_of(process).unwrap_or_default();
                Reply::Values(open.ids.iter().map(|id| self.value_on(host, *id)).collect())
            }
            Kind::Wait { .. } => {
                let ready = |(at, id): (usize, &DataId)| (!self.objects.is_pending(*id)).then_some(at as u64);
                Reply::Ready(open.ids.iter().enumerate().filter_map(ready).collect())
            }
        };
        self.actions.push(Action::Reply { process, request, reply });
        self.unblock(process, open.blocks, request);
    }
}
