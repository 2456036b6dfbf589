//! Which ready call goes to which worker.
//!
//! Calls go in the order in which they became ready. One that asks for more CPUs than are free holds back the later
//! ones that need any, or it would never come to its turn; one that lacks a custom resource holds back nobody else.

use super::copies::NoRoom;
use super::event::Role;
use super::groups::GroupId;
use super::request::RequestId;
use super::resources::{Class, HeldBack};
use super::tasks::{Task, TaskState};
use super::workers::{Phase, Worker};
use super::{Limits, Scheduler};
use crate::network::HostId;
use rustc_hash::{FxHashMap, FxHashSet};
use unidist_common::{DataId, ProcessId};

/// How many calls a search for something that a blocked task waits for looks at.
const SEARCH_LIMIT: usize = 10_000;

/// How many calls are passed over, since what they need is far and much is on its way already.
const MOST_ASIDE: usize = 64;

pub(super) enum Placed {
    Yes,
    /// Not now: the one worker for which it is has other things to do. Others need not wait for it.
    Busy,
    /// Not now: a process or a slot has to become free first.
    NoWorker,
    /// A custom resource is missing.
    NoResource,
    /// Not now: what it needs cannot be fetched before something else has come. Others need not wait for it.
    Aside,
}

/// A host on which a call may run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Site {
    pub(super) host: HostId,
    /// Bytes that the call needs and that are not there.
    pub(super) absent: u64,
}

impl Scheduler {
    /// Hands out what can be handed out.
    pub(crate) fn dispatch(&mut self) {
        if self.ending {
            return;
        }
        self.end_drained();
        self.welcome_groups();
        let mut held = self.resources.reserved();
        let mut starved: Vec<Class> = Vec::new();
        let mut aside: Vec<(Class, DataId)> = Vec::new();
        loop {
            let (resources, tasks) = (&mut self.resources, &self.tasks);
            let front = resources.next_ready(&held, |task| {
                tasks.get(&task).is_some_and(|task| task.state == TaskState::Ready)
            });
            let Some((class, task)) = front else { break };
            match self.place(class, task, &mut held) {
                Placed::Yes => {}
                Placed::Busy => held.hold(class),
                Placed::Aside if aside.len() < MOST_ASIDE => {
                    self.resources.pop(class);
                    aside.push((class, task));
                }
                Placed::Aside => held.hold(class),
                Placed::NoResource => {
                    held.hold(class);
                    starved.push(class);
                }
                Placed::NoWorker => {
                    held.hold(class);
                    self.resources.hold_cpus_for(class, &mut held);
                }
            }
        }
        for (class, task) in aside.into_iter().rev() {
            self.resources.push_front(class, task);
        }
        if !starved.is_empty() {
            self.tell_waiters(); // of what could not be placed
            self.end_starvation(&starved);
        }
        self.steal();
        self.retire();
    }

    /// Groups that have ready calls, and had none, take their turns from now on.
    fn welcome_groups(&mut self) {
        let tasks = &self.tasks;
        let mut newcomers = self
            .resources
            .newcomers(|task| tasks.get(&task).is_some_and(|task| task.state == TaskState::Ready));
        if newcomers.is_empty() {
            return;
        }
        let mut ahead: FxHashMap<GroupId, u64> = FxHashMap::default();
        for (_, worker) in self.pool().filter_map(|process| Some((process, self.workers.get(&process)?))) {
            let classes = worker.ahead.iter().filter_map(|task| Some(self.tasks.get(task)?.class));
            classes.for_each(|class| *ahead.entry(self.resources.group(class)).or_default() += 1);
        }
        newcomers.retain(|group| !ahead.contains_key(group));
        if newcomers.is_empty() {
            return;
        }
        self.resources.groups().welcome(&newcomers, &ahead);
        let processes: Vec<_> = self.pool().collect();
        for process in processes {
            let ahead = self.workers.get(&process).map(|worker| worker.ahead.iter().copied().collect());
            self.recall(process, ahead.unwrap_or_default());
        }
    }

    fn place(&mut self, class: Class, task: DataId, held: &mut HeldBack) -> Placed {
        let mut sites = std::mem::take(&mut self.sites);
        self.find_sites(class, task, held, &mut sites);
        let placed = match self.resources.worker(class) {
            Some(worker) => self.place_on_worker(class, task, worker, sites.first().copied(), held),
            None => self.place_at(class, task, &sites, held),
        };
        self.sites = sites;
        match placed {
            Placed::Yes => Placed::Yes,
            _ if self.no_room.contains_key(&task) => self.reconsider(class, task, &placed),
            later => later,
        }
    }

    /// The hosts on which the call may run, those first that have most of what it needs.
    fn find_sites(&self, class: Class, task: DataId, held: &HeldBack, sites: &mut Vec<Site>) {
        sites.clear();
        let needs_cpus = self.resources.needs_cpus(class);
        let may_run = |host: &HostId| {
            self.resources.may_run_on(class, *host) && !(needs_cpus && held.holds_cpus_of(*host))
        };
        sites.extend(self.host_ids().filter(may_run).map(|host| Site { host, absent: 0 }));
        if self.hosts.len() == 1 {
            return;
        }
        if let Some(refused) = self.no_room.get(&task) {
            sites.retain(|site| !refused.hosts.contains(&site.host));
        }
        for dependency in self.tasks.get(&task).into_iter().flat_map(|task| &task.spec.dependencies) {
            for site in sites.iter_mut().filter(|site| self.is_absent(*dependency, site.host)) {
                site.absent += self.memory.size(*dependency).max(1);
            }
        }
        match self.resources.is_actor(class) {
            true => sites.sort_by_key(|site| (site.absent, self.hosts[site.host.place()].actor_load())),
            false => sites.sort_by_key(|site| (site.absent, self.hosts[site.host.place()].fetching.len())),
        }
    }

    fn place_at(&mut self, class: Class, task: DataId, sites: &[Site], held: &HeldBack) -> Placed {
        if let Some(error) = self.resources.why_hopeless(class) {
            match self.resources.home(class) {
                Some(home) => self.unpin(class, task, home),
                None => self.fail_task(task, error),
            }
            return Placed::Yes;
        }
        let fits = |scheduler: &Self, site: &&Site| scheduler.resources.fits(class, site.host);
        for site in sites {
            if fits(self, &site) && self.place_on(class, task, *site) {
                return Placed::Yes;
            }
        }
        if sites.iter().any(|site| fits(self, &site)) {
            if !self.resources.is_actor(class) {
                if self.run_nested_anywhere() {
                    return Placed::Yes; // not necessarily this one, but the queue is looked at again
                }
                return self.place_later(class, task, sites, held);
            }
            return Placed::NoWorker;
        }
        if !sites.iter().any(|site| self.resources.lacks_cpus_only(class, site.host)) {
            return match sites.is_empty() {
                true => Placed::NoWorker,
                false if self.leave_home(class, task, |_, _| true) => Placed::Yes,
                false => Placed::NoResource,
            };
        }
        let placed = self.resources.may_go_ahead(class) && self.place_ahead(class, task, sites, held);
        let placed = placed || sites.first().is_some_and(|site| self.fetch(class, task, *site));
        let can_take_it = |scheduler: &Self, host: HostId| {
            scheduler.idle_worker_of(host).is_some() && scheduler.hosts[host.place()].may_fetch() > 0
        };
        match placed || self.leave_home(class, task, can_take_it) {
            true => Placed::Yes,
            false => Placed::NoWorker,
        }
    }

    /// There is a slot for the call, but no process for it, or none that has what it needs. A process is started, if there
    /// may be more.
    fn place_later(&mut self, class: Class, task: DataId, sites: &[Site], held: &HeldBack) -> Placed {
        let lacks_one =
            |site: &&Site| self.resources.fits(class, site.host) && self.idle_worker_of(site.host).is_none();
        let may_start = |site: &&Site| {
            let host = &self.hosts[site.host.place()];
            host.starting == 0 && host.pool.len() < host.max_pool
        };
        if sites.iter().any(|site| lacks_one(&site)) {
            let first = sites.iter().filter(lacks_one).find(may_start).map(|site| site.host);
            first.into_iter().for_each(|host| self.start_pool_worker(host));
            return Placed::NoWorker;
        }
        match self.resources.may_go_ahead(class) && self.place_ahead(class, task, sites, held) {
            true => Placed::Yes,
            false => Placed::Aside,
        }
    }

    /// A call that has had its objects fetched to a host that has not what it asks for now may run on another one that has,
    /// and of which this is true.
    fn leave_home(&mut self, class: Class, task: DataId, is_fit: impl Fn(&Self, HostId) -> bool) -> bool {
        let Some(home) = self.resources.home(class) else { return false };
        let anywhere = self.resources.unpinned(class);
        let is_free = |host: HostId| {
            self.resources.may_run_on(anywhere, host)
                && self.resources.fits(anywhere, host)
                && is_fit(self, host)
        };
        if !self.host_ids().any(is_free) {
            return false;
        }
        self.unpin(class, task, home);
        true
    }

    /// A ready call that was to run on this host alone may run on any.
    fn unpin(&mut self, class: Class, task: DataId, home: HostId) {
        let anywhere = self.resources.unpinned(class);
        self.resources.pop(class);
        self.hosts[home.place()].fetching.remove(&task);
        if let Some(task) = self.tasks.get_mut(&task) {
            task.class = anywhere;
        }
        self.make_ready_again(task);
    }

    /// There was no room somewhere for what the call needs, and elsewhere it cannot run now. CPUs become free there. For
    /// other things it does not wait long, as what has them may wait for this call.
    fn reconsider(&mut self, class: Class, task: DataId, placed: &Placed) -> Placed {
        let hosts = self.host_ids();
        let Some(refused) = self.no_room.get_mut(&task) else { return Placed::Aside };
        let resources = &self.resources;
        let mut able = hosts.filter(|host| resources.may_run_on(class, *host));
        let is_refused_by_all = able.all(|host| refused.hosts.contains(&host));
        match placed {
            _ if is_refused_by_all => self.fail_for_want_of_room(task),
            Placed::NoResource if refused.hosts.is_empty() => Placed::NoResource,
            Placed::NoResource if refused.times < NoRoom::MOST => {
                refused.hosts.clear();
                Placed::Yes
            }
            Placed::NoResource => self.fail_for_want_of_room(task),
            _ => Placed::Aside,
        }
    }

    fn fail_for_want_of_room(&mut self, task: DataId) -> Placed {
        if let Some(refused) = self.no_room.remove(&task) {
            self.fail_task(task, refused.error);
        }
        Placed::Yes
    }

    /// Runs the call on this host, which has what it asks for; or has its objects come there. False if it cannot now.
    fn place_on(&mut self, class: Class, task: DataId, site: Site) -> bool {
        let is_actor = self.resources.is_actor(class);
        let idle = self.idle_worker_of(site.host);
        if !is_actor && idle.is_none() {
            return false;
        }
        if site.absent > 0 {
            return self.fetch(class, task, site);
        }
        self.resources.pop(class);
        match idle {
            _ if is_actor => self.start_actor(task, site.host),
            Some(worker) => self.run_on(worker, task, false),
            None => {}
        }
        true
    }

    /// Has the objects of a ready call come to this host, where it is to run. False if nothing is to come, or too much
    /// is on its way already.
    pub(super) fn fetch(&mut self, class: Class, task: DataId, site: Site) -> bool {
        let host = &mut self.hosts[site.host.place()];
        if site.absent == 0 || host.may_fetch() == 0 {
            return false;
        }
        host.fetching.insert(task);
        self.resources.pop(class);
        let pinned = self.resources.pinned(class, site.host);
        if let Some(task) = self.tasks.get_mut(&task) {
            task.class = pinned;
            task.state = TaskState::Fetching;
        }
        if self.want_for_call(task, site.host) == 0 {
            self.make_ready_again(task);
        }
        true
    }

    pub(super) fn run_on(&mut self, process: ProcessId, task: DataId, nested: bool) {
        self.send(process, task, nested);
        self.push_frame(process, task);
    }

    /// Sends a task to a busy worker, to be there when it is done with what it runs. False if all have enough.
    fn place_ahead(&mut self, class: Class, task: DataId, sites: &[Site], held: &HeldBack) -> bool {
        let near = sites.iter().filter(|site| site.absent == 0);
        let shortest = near
            .flat_map(|site| &self.hosts[site.host.place()].pool)
            .filter_map(|process| Some((*process, self.workers.get(process)?)))
            .filter(|(process, worker)| self.takes_more(worker) && !held.is_reserved(*process))
            .min_by_key(|(_, worker)| worker.ahead.len());
        let Some((process, _)) = shortest else {
            return false;
        };
        self.resources.pop(class);
        self.send_ahead(process, task);
        true
    }

    /// Whether something may be sent to this worker, to wait there.
    pub(super) fn takes_more(&self, worker: &Worker) -> bool {
        worker.is_active()
            && worker.recalling.is_none()
            && worker.ahead.len() < Limits::QUEUE_AHEAD
            && matches!(worker.stack.as_slice(), [frame] if self.resources.is_plain(frame.class)
                && !self.is_doomed(frame.task))
    }

    pub(super) fn send_ahead(&mut self, process: ProcessId, task: DataId) {
        self.send(process, task, false);
        if let Some(worker) = self.workers.get_mut(&process) {
            worker.ahead.push_back(task);
        }
    }

    /// A worker that has nothing to do, if there is one.
    pub(crate) fn idle_worker(&self) -> Option<ProcessId> {
        self.pool().find(|process| self.workers.get(process).is_some_and(Worker::is_idle))
    }

    pub(super) fn idle_worker_of(&self, host: HostId) -> Option<ProcessId> {
        let mut pool = self.hosts[host.place()].pool.iter().copied();
        pool.find(|process| self.workers.get(process).is_some_and(Worker::is_idle))
    }

    /// Runs something on top of a blocked task that waits for it.
    fn run_nested_anywhere(&mut self) -> bool {
        let blocked: Vec<_> = self
            .pool()
            .filter_map(|process| Some((process, self.workers.get(&process)?.blocked_on()?)))
            .collect();
        blocked.into_iter().any(|(process, request)| self.run_nested(process, request))
    }

    /// Runs on this process, which waits for the request, something ready that it waits for; the newest first.
    pub(crate) fn run_nested(&mut self, process: ProcessId, request: RequestId) -> bool {
        let runs = |worker: &Worker| matches!(worker.phase, Phase::Live | Phase::Draining);
        let live = self.workers.get(&process).is_some_and(runs);
        if self.ending || !live || self.top_is_doomed(process) {
            return false;
        }
        let Some(task) = self.find_awaited(process, request) else {
            return false;
        };
        self.run_on(process, task, true);
        true
    }

    fn find_awaited(&self, process: ProcessId, request: RequestId) -> Option<DataId> {
        let host = self.host_of(process)?;
        let may_run = |call: DataId, task: &Task| {
            task.state == TaskState::Ready
                && !self.resources.is_actor(task.class)
                && self.resources.worker(task.class).is_none_or(|worker| worker == process)
                && self.resources.has_room_in_group(task.class)
                && self.resources.fits(task.class, host)
                && self.may_start_on(call, host)
        };
        self.search_awaited(process, request, may_run)
    }

    /// The first call for which this is true, of those that make what the request waits for or what these need.
    pub(super) fn search_awaited(
        &self,
        process: ProcessId,
        request: RequestId,
        is_it: impl Fn(DataId, &Task) -> bool,
    ) -> Option<DataId> {
        let mut search = self.requests.get(&(process, request))?.ids.clone();
        let mut seen = FxHashSet::default();
        while let Some(id) = search.pop() {
            let Some(maker) = self.objects.maker(id) else {
                continue;
            };
            if seen.len() >= SEARCH_LIMIT || !seen.insert(maker) {
                continue;
            }
            let Some(task) = self.tasks.get(&maker) else {
                continue;
            };
            if is_it(maker, task) {
                return Some(maker);
            }
            if task.state == TaskState::Waiting {
                search.extend(&task.spec.dependencies);
            }
        }
        None
    }

    /// Whether the call may run on this host and finds there what it needs.
    pub(super) fn may_start_on(&self, call: DataId, host: HostId) -> bool {
        let Some(task) = self.tasks.get(&call) else { return false };
        self.hosts.len() == 1
            || self.resources.may_run_on(task.class, host)
                && !task.spec.dependencies.iter().any(|id| self.is_absent(*id, host))
    }

    /// Ends spare processes that a deep recursion has left behind.
    fn retire(&mut self) {
        for at in 0..self.hosts.len() {
            let host = &self.hosts[at];
            if host.pool.len() <= host.cpus {
                continue;
            }
            let is_spare = |worker: &Worker| worker.role == Role::Pool && worker.is_idle();
            let idle =
                host.pool.iter().copied().filter(|process| self.workers.get(process).is_some_and(is_spare));
            let spare: Vec<_> = idle.skip(2 * host.cpus).collect();
            for process in spare {
                self.hosts[at].pool.retain(|other| *other != process);
                self.stop(process);
            }
        }
    }
}
