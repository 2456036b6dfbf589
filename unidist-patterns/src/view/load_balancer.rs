//! The load balancer: decides which task goes to which engine, and when.
//!
//! A task of a load-balanced view is *waiting* for its dependencies, then *ready* in the queue of its view, then
//! *running* on an engine, from which it may return to the queue. The load balancer only decides: it has no I/O and no
//! clock.

use super::dependencies::{Dependency, TaskEnd, Verdict};
use super::engines::{Engine, Engines};
use super::error::EngineId;
use super::record::TaskId;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// How a load-balanced view chooses among the engines that have room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Scheme {
    /// The engine with the fewest tasks; among equals, the least recently used one.
    #[default]
    LeastLoad,
    /// The engine that was given its last task the longest time ago.
    LeastRecentlyUsed,
    /// Any engine, at random.
    PlainRandom,
    /// Of two random engines, the one with fewer tasks.
    TwoBin,
    /// Like `TwoBin`, but the two are drawn with weights: more tasks make an engine less likely.
    Weighted,
}

/// How a view chooses engines; shared by all its tasks. Tasks of one view are assigned in order.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ViewPolicy {
    /// `None`: all engines, later ones included.
    pub(crate) targets: Option<Vec<EngineId>>,
    pub(crate) scheme: Scheme,
    /// The most tasks that an engine may have at once; 0 means no limit.
    pub(crate) high_water_mark: usize,
}

/// What a task of a load-balanced view requires.
#[derive(Clone, Debug)]
pub(crate) struct Requirements {
    pub(crate) policy: Arc<ViewPolicy>,
    pub(crate) after: Option<Dependency>,
    pub(crate) follow: Option<Dependency>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) retries: u32,
}

/// A task that has not ended, with its history of attempts.
#[derive(Debug)]
struct Pending {
    id: TaskId,
    job: Requirements,
    retries: u32,
    /// Where it may run because of its `follow` dependency; `None`: anywhere.
    allowed: Option<Vec<EngineId>>,
    /// Engines whose check rejected it.
    rejected_by: Vec<EngineId>,
    /// Engines where it failed; others are preferred.
    failed_on: Vec<EngineId>,
}

impl Pending {
    /// Whether it may run on every engine of its view.
    fn is_unrestricted(&self) -> bool {
        self.allowed.is_none() && self.rejected_by.is_empty() && self.failed_on.is_empty()
    }

    /// Whether it may ever run on this engine.
    fn fits(&self, id: EngineId) -> bool {
        self.job.policy.targets.as_ref().is_none_or(|targets| targets.contains(&id))
            && self.allowed.as_ref().is_none_or(|allowed| allowed.contains(&id))
            && !self.rejected_by.contains(&id)
    }
}

/// What the client has to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Send the task to the engine.
    Send(TaskId, EngineId),
    /// The task can never run, for this reason.
    Fail(TaskId, String),
}

/// Why a task returns from its engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Requeue {
    /// Its check rejected the engine.
    Unmet,
    Failed,
    /// The engine died before the task began, or was stopped because another task was aborted.
    NotAtFault,
}

/// The ready tasks of one view.
#[derive(Debug)]
struct ViewQueue {
    policy: Arc<ViewPolicy>,
    unrestricted: VecDeque<Pending>,
    restricted: VecDeque<Pending>,
}

impl ViewQueue {
    fn is_empty(&self) -> bool {
        self.unrestricted.is_empty() && self.restricted.is_empty()
    }
}

#[derive(Debug)]
pub(crate) struct LoadBalancer {
    /// How each ended task of the client ended.
    ends: HashMap<TaskId, TaskEnd>,
    waiting: HashMap<TaskId, Pending>,
    /// For each task that others wait for: the waiting tasks.
    dependents: HashMap<TaskId, Vec<TaskId>>,
    queues: VecDeque<ViewQueue>,
    running: HashMap<TaskId, Pending>,
    sent: u64,
    random: fastrand::Rng,
    impossible: Vec<Action>,
}

impl LoadBalancer {
    pub(crate) fn new(random: fastrand::Rng) -> Self {
        LoadBalancer {
            ends: HashMap::new(),
            waiting: HashMap::new(),
            dependents: HashMap::new(),
            queues: VecDeque::new(),
            running: HashMap::new(),
            sent: 0,
            random,
            impossible: Vec::new(),
        }
    }

    /// Adds a task. Returns whether it waits for others, so that its time-out applies.
    pub(crate) fn submit(&mut self, id: TaskId, job: Requirements) -> bool {
        let retries = job.retries;
        let pending =
            Pending { id, job, retries, allowed: None, rejected_by: Vec::new(), failed_on: Vec::new() };
        let dependencies = [&pending.job.after, &pending.job.follow];
        let ids: HashSet<TaskId> =
            dependencies.into_iter().flatten().flat_map(|on| on.ids()).copied().collect();
        for other in ids.into_iter().filter(|other| !self.ends.contains_key(other)) {
            self.dependents.entry(other).or_default().push(id);
        }
        self.advance(pending)
    }

    /// The number of tasks that wait for others or for an engine.
    pub(crate) fn unassigned(&self) -> usize {
        let ready: usize =
            self.queues.iter().map(|queue| queue.unrestricted.len() + queue.restricted.len()).sum();
        self.waiting.len() + ready
    }

    /// Removes a task that no engine has yet. Returns whether it was there.
    pub(crate) fn remove(&mut self, id: TaskId) -> bool {
        if self.waiting.remove(&id).is_some() {
            return true;
        }
        let mut found = false;
        for queue in &mut self.queues {
            for tasks in [&mut queue.unrestricted, &mut queue.restricted] {
                let before = tasks.len();
                tasks.retain(|pending| pending.id != id);
                found |= tasks.len() < before;
            }
        }
        found
    }

    /// Removes a task whose dependencies have timed out. Returns whether it was still waiting.
    pub(crate) fn time_out(&mut self, id: TaskId) -> bool {
        self.waiting.remove(&id).is_some()
    }

    /// Removes all tasks that no engine has yet.
    pub(crate) fn drain(&mut self) -> Vec<TaskId> {
        let waiting = std::mem::take(&mut self.waiting).into_keys();
        let queues = std::mem::take(&mut self.queues).into_iter();
        let ready = queues
            .flat_map(|queue| queue.unrestricted.into_iter().chain(queue.restricted))
            .map(|pending| pending.id);
        waiting.chain(ready).collect()
    }

    /// Queues a task again that its engine has not completed. Returns `false` if it has no retries left.
    pub(crate) fn requeue(&mut self, id: TaskId, from: EngineId, reason: Requeue) -> bool {
        let Some(mut pending) = self.running.remove(&id) else { return false };
        match reason {
            Requeue::Unmet => pending.rejected_by.push(from),
            Requeue::NotAtFault => {}
            Requeue::Failed if pending.retries == 0 => return false,
            Requeue::Failed => {
                pending.retries -= 1;
                pending.failed_on.push(from);
            }
        }
        self.enqueue(pending);
        true
    }

    /// Records the end of any task of the client, and advances the tasks that waited for it.
    pub(crate) fn task_ended(&mut self, id: TaskId, end: TaskEnd) {
        self.running.remove(&id);
        self.ends.insert(id, end);
        for dependent in self.dependents.remove(&id).unwrap_or_default() {
            if let Some(pending) = self.waiting.remove(&dependent) {
                self.advance(pending);
            }
        }
    }

    fn advance(&mut self, mut pending: Pending) -> bool {
        let after =
            pending.job.after.as_ref().map_or(Verdict::Met(None), |after| after.check_after(&self.ends));
        let follow = pending.job.follow.as_ref().map_or(Verdict::Met(None), |on| on.check_follow(&self.ends));
        match (after, follow) {
            (Verdict::Impossible(why), _) | (_, Verdict::Impossible(why)) => {
                self.impossible.push(Action::Fail(pending.id, why));
                false
            }
            (Verdict::Met(_), Verdict::Met(allowed)) => {
                pending.allowed = allowed;
                self.enqueue(pending);
                false
            }
            _ => {
                self.waiting.insert(pending.id, pending);
                true
            }
        }
    }

    fn enqueue(&mut self, pending: Pending) {
        let policy = &pending.job.policy;
        let found = self.queues.iter().position(|queue| Arc::ptr_eq(&queue.policy, policy));
        let place = found.unwrap_or_else(|| {
            let queue = ViewQueue {
                policy: policy.clone(),
                unrestricted: VecDeque::new(),
                restricted: VecDeque::new(),
            };
            self.queues.push_back(queue);
            self.queues.len() - 1
        });
        let queue = &mut self.queues[place];
        if pending.is_unrestricted() { &mut queue.unrestricted } else { &mut queue.restricted }
            .push_back(pending);
    }

    /// Assigns every task that can run now. Views take turns.
    pub(crate) fn assign(&mut self, engines: &mut Engines) -> Vec<Action> {
        let mut actions = std::mem::take(&mut self.impossible);
        let mut queues = std::mem::take(&mut self.queues);
        while let Some((place, (pending, found))) = (0..queues.len())
            .find_map(|place| Some((place, self.next_assignable(&mut queues[place], engines)?)))
        {
            // The view's next turn comes after those of the others.
            if let Some(queue) = queues.remove(place).filter(|queue| !queue.is_empty()) {
                queues.push_back(queue);
            }
            actions.push(match found {
                Assignment::Engine(id) => self.assign_to(pending, id, engines),
                Assignment::Impossible(reason) => Action::Fail(pending.id, reason),
            });
        }
        queues.retain(|queue| !queue.is_empty());
        self.queues = queues;
        actions
    }

    /// Removes the next task that can run now, or never can.
    fn next_assignable(&mut self, queue: &mut ViewQueue, engines: &Engines) -> Option<(Pending, Assignment)> {
        // Requeued tasks and those bound to certain engines go first; they do not delay the others.
        for place in 0..queue.restricted.len() {
            if let Some(found) = self.find_engine(&queue.restricted[place], engines) {
                return queue.restricted.remove(place).map(|pending| (pending, found));
            }
        }
        let found = self.find_engine(queue.unrestricted.front()?, engines)?;
        queue.unrestricted.pop_front().map(|pending| (pending, found))
    }

    fn assign_to(&mut self, pending: Pending, to: EngineId, engines: &mut Engines) -> Action {
        self.sent += 1;
        if let Some(engine) = engines.get_mut(to) {
            engine.tasks += 1;
            engine.last_used = self.sent;
        }
        let id = pending.id;
        self.running.insert(id, pending);
        Action::Send(id, to)
    }

    /// The engine for a task, or the reason why it can never run; `None` if it has to wait.
    fn find_engine(&mut self, pending: &Pending, engines: &Engines) -> Option<Assignment> {
        let alive: Vec<(EngineId, &Engine)> = engines.iter().filter(|(_, engine)| engine.is_alive).collect();
        let mut fit: Vec<(EngineId, &Engine)> =
            alive.iter().copied().filter(|(id, _)| pending.fits(*id)).collect();
        if fit.is_empty() {
            let is_restricted = pending.job.policy.targets.is_some() || pending.allowed.is_some();
            if alive.is_empty() && !is_restricted && pending.rejected_by.is_empty() {
                return None; // a new engine will join
            }
            let why = match pending.rejected_by.as_slice() {
                [] => "no engine is left on which it may run".to_owned(),
                tried => format!("its check rejected engines {tried:?}, and no other engine is left"),
            };
            return Some(Assignment::Impossible(why));
        }
        let limit = pending.job.policy.high_water_mark;
        if fit.iter().any(|(id, _)| !pending.failed_on.contains(id)) {
            fit.retain(|(id, _)| !pending.failed_on.contains(id));
        }
        fit.retain(|(_, engine)| limit == 0 || engine.tasks < limit);
        choose(pending.job.policy.scheme, &fit, &mut self.random).map(Assignment::Engine)
    }
}

/// What `find_engine` decides.
enum Assignment {
    Engine(EngineId),
    /// No engine will ever do, for this reason.
    Impossible(String),
}

/// Chooses an engine by the scheme.
fn choose(scheme: Scheme, engines: &[(EngineId, &Engine)], random: &mut fastrand::Rng) -> Option<EngineId> {
    let least = |(_, engine): &&(EngineId, &Engine)| (engine.load(), engine.last_used);
    let chosen = match scheme {
        _ if engines.len() < 2 => engines.first(),
        Scheme::LeastLoad => engines.iter().min_by_key(least),
        Scheme::LeastRecentlyUsed => engines.iter().min_by_key(|(_, engine)| engine.last_used),
        Scheme::PlainRandom => engines.get(random.usize(..engines.len())),
        Scheme::TwoBin => {
            let first = random.usize(..engines.len());
            let second = (first + random.usize(1..engines.len())) % engines.len();
            [&engines[first], &engines[second]].into_iter().min_by_key(|engine| engine.1.load())
        }
        Scheme::Weighted => {
            let weights: Vec<f64> =
                engines.iter().map(|(_, engine)| 1.0 / (1e-6 + engine.load() as f64)).collect();
            let mut draw = || draw_weighted(&weights, random);
            let (first, second) = (draw(), draw());
            [&engines[first], &engines[second]].into_iter().min_by_key(|engine| engine.1.load())
        }
    };
    chosen.map(|(id, _)| *id)
}

/// A random index, with these weights.
fn draw_weighted(weights: &[f64], random: &mut fastrand::Rng) -> usize {
    let mut rest = random.f64() * weights.iter().sum::<f64>();
    let found = weights.iter().position(|weight| {
        rest -= weight;
        rest < 0.0
    });
    found.unwrap_or(weights.len() - 1)
}

#[cfg(test)]
#[path = "load_balancer_tests.rs"]
mod tests;
