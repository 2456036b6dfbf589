//! Which task goes to which engine, and when.
//!
//! A task of a load-balanced view is *waiting* for others, then *ready* in the line of its view, then *running* on an
//! engine, from which it may come back. What is decided here is done elsewhere: there is no I/O, and no clock.

use super::dependencies::{Dependency, End, Verdict};
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
    /// The one that has the fewest tasks; the one of those that has been without a new one for longest.
    #[default]
    LeastLoad,
    /// The one that has been without a new task for longest.
    LeastRecentlyUsed,
    /// Any.
    PlainRandom,
    /// Two at random, of which the one that has fewer tasks.
    TwoBin,
    /// The same, where an engine is the less likely to be among the two the more tasks it has.
    Weighted,
}

/// What all tasks of a view share. Tasks of one view are given out in order.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Lane {
    /// None: all that there are, also later ones.
    pub(crate) targets: Option<Vec<EngineId>>,
    pub(crate) scheme: Scheme,
    /// How many tasks an engine may have at once; 0 is no limit.
    pub(crate) high_water_mark: usize,
}

/// What a task asks for.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) lane: Arc<Lane>,
    pub(crate) after: Option<Dependency>,
    pub(crate) follow: Option<Dependency>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) retries: u32,
}

/// A task that has not ended, and what has happened to it so far.
#[derive(Debug)]
struct Pending {
    id: TaskId,
    job: Job,
    retries: u32,
    /// Where it may run, for the sake of what it follows.
    allowed: Option<Vec<EngineId>>,
    /// Engines whose checks said no.
    unfit: Vec<EngineId>,
    /// Engines where it failed: others are preferred.
    failed_on: Vec<EngineId>,
}

impl Pending {
    /// Whether it is like any other task of its view, as to where it can run.
    fn is_plain(&self) -> bool {
        self.allowed.is_none() && self.unfit.is_empty() && self.failed_on.is_empty()
    }

    /// Whether it may ever run on this engine.
    fn fits(&self, id: EngineId) -> bool {
        self.job.lane.targets.as_ref().is_none_or(|targets| targets.contains(&id))
            && self.allowed.as_ref().is_none_or(|allowed| allowed.contains(&id))
            && !self.unfit.contains(&id)
    }
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Send(TaskId, EngineId),
    /// It can never run: why.
    Never(TaskId, String),
}

/// Why a task comes back from its engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Back {
    /// The check said no.
    Unmet,
    Failed,
    /// Its engine was ended for the sake of another task.
    Unlucky,
}

#[derive(Debug)]
struct Line {
    lane: Arc<Lane>,
    plain: VecDeque<Pending>,
    special: VecDeque<Pending>,
}

impl Line {
    fn is_empty(&self) -> bool {
        self.plain.is_empty() && self.special.is_empty()
    }
}

#[derive(Debug)]
pub(crate) struct Balancer {
    /// How each task of the client ended that has ended.
    ends: HashMap<TaskId, End>,
    waiting: HashMap<TaskId, Pending>,
    /// By a task that is waited for: who waits.
    dependents: HashMap<TaskId, Vec<TaskId>>,
    lines: VecDeque<Line>,
    running: HashMap<TaskId, Pending>,
    sent: u64,
    random: fastrand::Rng,
    impossible: Vec<Action>,
}

impl Balancer {
    pub(crate) fn new(random: fastrand::Rng) -> Self {
        Balancer {
            ends: HashMap::new(),
            waiting: HashMap::new(),
            dependents: HashMap::new(),
            lines: VecDeque::new(),
            running: HashMap::new(),
            sent: 0,
            random,
            impossible: Vec::new(),
        }
    }

    /// Takes a task; true if it waits for others, so that its time counts.
    pub(crate) fn submit(&mut self, id: TaskId, job: Job) -> bool {
        let retries = job.retries;
        let pending = Pending { id, job, retries, allowed: None, unfit: Vec::new(), failed_on: Vec::new() };
        let dependencies = [&pending.job.after, &pending.job.follow];
        let ids: HashSet<TaskId> =
            dependencies.into_iter().flatten().flat_map(|on| on.ids()).copied().collect();
        for other in ids.into_iter().filter(|other| !self.ends.contains_key(other)) {
            self.dependents.entry(other).or_default().push(id);
        }
        self.advance(pending)
    }

    /// How many wait for others or for an engine.
    pub(crate) fn unassigned(&self) -> usize {
        let ready: usize = self.lines.iter().map(|line| line.plain.len() + line.special.len()).sum();
        self.waiting.len() + ready
    }

    /// Takes a task out that was not given to an engine; whether it was there.
    pub(crate) fn withdraw(&mut self, id: TaskId) -> bool {
        if self.waiting.remove(&id).is_some() {
            return true;
        }
        let mut found = false;
        for line in &mut self.lines {
            for queue in [&mut line.plain, &mut line.special] {
                let before = queue.len();
                queue.retain(|pending| pending.id != id);
                found |= queue.len() < before;
            }
        }
        found
    }

    /// Takes a task out whose time to wait for others is over; false if it does not wait any more.
    pub(crate) fn out_of_time(&mut self, id: TaskId) -> bool {
        self.waiting.remove(&id).is_some()
    }

    /// Takes all that were not given to an engine out.
    pub(crate) fn drain(&mut self) -> Vec<TaskId> {
        let waiting = std::mem::take(&mut self.waiting).into_keys();
        let lines = std::mem::take(&mut self.lines).into_iter();
        let ready =
            lines.flat_map(|line| line.plain.into_iter().chain(line.special)).map(|pending| pending.id);
        waiting.chain(ready).collect()
    }

    /// Takes a task back that an engine has not completed; false if it is not to be tried again.
    pub(crate) fn back(&mut self, id: TaskId, from: EngineId, why: Back) -> bool {
        let Some(mut pending) = self.running.remove(&id) else { return false };
        match why {
            Back::Unmet => pending.unfit.push(from),
            Back::Unlucky => {}
            Back::Failed if pending.retries == 0 => return false,
            Back::Failed => {
                pending.retries -= 1;
                pending.failed_on.push(from);
            }
        }
        self.enqueue(pending);
        true
    }

    /// Notes the end of any task of the client, and moves those on that waited for it.
    pub(crate) fn ended(&mut self, id: TaskId, end: End) {
        self.running.remove(&id);
        self.ends.insert(id, end);
        for dependent in self.dependents.remove(&id).unwrap_or_default() {
            if let Some(pending) = self.waiting.remove(&dependent) {
                self.advance(pending);
            }
        }
    }

    fn advance(&mut self, mut pending: Pending) -> bool {
        let after = pending.job.after.as_ref().map_or(Verdict::Met(None), |after| after.in_time(&self.ends));
        let follow = pending.job.follow.as_ref().map_or(Verdict::Met(None), |on| on.in_place(&self.ends));
        match (after, follow) {
            (Verdict::Never(why), _) | (_, Verdict::Never(why)) => {
                self.impossible.push(Action::Never(pending.id, why));
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
        let lane = &pending.job.lane;
        let found = self.lines.iter().position(|line| Arc::ptr_eq(&line.lane, lane));
        let place = found.unwrap_or_else(|| {
            let line = Line { lane: lane.clone(), plain: VecDeque::new(), special: VecDeque::new() };
            self.lines.push_back(line);
            self.lines.len() - 1
        });
        let line = &mut self.lines[place];
        if pending.is_plain() { &mut line.plain } else { &mut line.special }.push_back(pending);
    }

    /// Gives out what can be given out now. Views take turns.
    pub(crate) fn place(&mut self, engines: &mut Engines) -> Vec<Action> {
        let mut actions = std::mem::take(&mut self.impossible);
        let mut lines = std::mem::take(&mut self.lines);
        while let Some((place, (pending, found))) =
            (0..lines.len()).find_map(|place| Some((place, self.next_of(&mut lines[place], engines)?)))
        {
            // Its next turn is after the others'.
            if let Some(line) = lines.remove(place).filter(|line| !line.is_empty()) {
                lines.push_back(line);
            }
            actions.push(match found {
                Found::Engine(id) => self.give(pending, id, engines),
                Found::None(why) => Action::Never(pending.id, why),
            });
        }
        lines.retain(|line| !line.is_empty());
        self.lines = lines;
        actions
    }

    /// Takes the next task out that can go somewhere, or never can.
    fn next_of(&mut self, line: &mut Line, engines: &Engines) -> Option<(Pending, Found)> {
        // What was sent back, or has to be in a certain place, goes first, and keeps nobody else waiting.
        for place in 0..line.special.len() {
            if let Some(found) = self.look(&line.special[place], engines) {
                return line.special.remove(place).map(|pending| (pending, found));
            }
        }
        let found = self.look(line.plain.front()?, engines)?;
        line.plain.pop_front().map(|pending| (pending, found))
    }

    fn give(&mut self, pending: Pending, to: EngineId, engines: &mut Engines) -> Action {
        self.sent += 1;
        if let Some(engine) = engines.get_mut(to) {
            engine.tasks += 1;
            engine.last_used = self.sent;
        }
        let id = pending.id;
        self.running.insert(id, pending);
        Action::Send(id, to)
    }

    /// Where a task can go now, or that it can never; none if it has to wait.
    fn look(&mut self, pending: &Pending, engines: &Engines) -> Option<Found> {
        let alive: Vec<(EngineId, &Engine)> = engines.iter().filter(|(_, engine)| engine.is_alive).collect();
        let mut fit: Vec<(EngineId, &Engine)> =
            alive.iter().copied().filter(|(id, _)| pending.fits(*id)).collect();
        if fit.is_empty() {
            let is_restricted = pending.job.lane.targets.is_some() || pending.allowed.is_some();
            if alive.is_empty() && !is_restricted && pending.unfit.is_empty() {
                return None; // one will come
            }
            let why = match pending.unfit.as_slice() {
                [] => "no engine is left on which it may run".to_owned(),
                unfit => format!("no engine is left that meets its check, after {unfit:?}"),
            };
            return Some(Found::None(why));
        }
        let limit = pending.job.lane.high_water_mark;
        if fit.iter().any(|(id, _)| !pending.failed_on.contains(id)) {
            fit.retain(|(id, _)| !pending.failed_on.contains(id));
        }
        fit.retain(|(_, engine)| limit == 0 || engine.tasks < limit);
        choose(pending.job.lane.scheme, &fit, &mut self.random).map(Found::Engine)
    }
}

enum Found {
    Engine(EngineId),
    None(String),
}

/// One of these.
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
            let mut draw = || weighted(&weights, random);
            let (first, second) = (draw(), draw());
            [&engines[first], &engines[second]].into_iter().min_by_key(|engine| engine.1.load())
        }
    };
    chosen.map(|(id, _)| *id)
}

fn weighted(weights: &[f64], random: &mut fastrand::Rng) -> usize {
    let mut rest = random.f64() * weights.iter().sum::<f64>();
    let found = weights.iter().position(|weight| {
        rest -= weight;
        rest < 0.0
    });
    found.unwrap_or(weights.len() - 1)
}

#[cfg(test)]
#[path = "balancing_tests.rs"]
mod tests;
