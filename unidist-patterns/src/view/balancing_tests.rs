use super::*;
use unidist_core::{ProcessId, WorkerInfo};

/// A balancer with engines, and tasks by their numbers.
struct World {
    balancer: Balancer,
    engines: Engines,
    next: u64,
}

fn id(number: u64) -> TaskId {
    TaskId { client: 1, number }
}

fn lane(scheme: Scheme, high_water_mark: usize, targets: Option<Vec<EngineId>>) -> Arc<Lane> {
    Arc::new(Lane { targets, scheme, high_water_mark })
}

fn job(lane: &Arc<Lane>) -> Job {
    Job { lane: lane.clone(), after: None, follow: None, timeout: None, retries: 0 }
}

impl World {
    fn new(engines: u32) -> Self {
        let mut world = World {
            balancer: Balancer::new(fastrand::Rng::with_seed(7)),
            engines: Engines::default(),
            next: 0,
        };
        world.workers(1..=engines);
        world
    }

    fn workers(&mut self, numbers: impl IntoIterator<Item = u32>) {
        let workers = numbers.into_iter().map(|n| WorkerInfo::new(ProcessId::new(n).unwrap(), "here"));
        self.engines.see(&workers.collect::<Vec<_>>());
    }

    fn submit(&mut self, job: Job) -> TaskId {
        let id = id(self.next);
        self.next += 1;
        self.balancer.submit(id, job);
        id
    }

    fn submit_any(&mut self, lane: &Arc<Lane>) {
        self.submit(job(lane));
    }

    fn place(&mut self) -> Vec<Action> {
        self.balancer.place(&mut self.engines)
    }

    /// The engines to which tasks are sent now.
    fn sent(&mut self) -> Vec<EngineId> {
        let engine = |action| match action {
            Action::Send(_, engine) => engine,
            Action::Never(_, why) => panic!("{why}"),
        };
        self.place().into_iter().map(engine).collect()
    }

    fn leave(&mut self, engine: EngineId) {
        self.engines.get_mut(engine).unwrap().tasks -= 1;
    }

    fn end(&mut self, id: TaskId, succeeded: bool, engine: EngineId) {
        self.leave(engine);
        self.balancer.ended(id, End { succeeded, engine: Some(engine) });
    }
}

#[test]
fn no_engine_has_more_than_its_mark() {
    for scheme in
        [Scheme::LeastLoad, Scheme::LeastRecentlyUsed, Scheme::PlainRandom, Scheme::TwoBin, Scheme::Weighted]
    {
        let mut world = World::new(3);
        let lane = lane(scheme, 2, None);
        let tasks: Vec<_> = (0..10).map(|_| world.submit(job(&lane))).collect();
        let mut sent = world.sent();
        sent.sort_unstable();
        assert_eq!(sent, [0, 0, 1, 1, 2, 2], "{scheme:?}");
        assert_eq!(world.balancer.unassigned(), 4);
        assert_eq!(world.place(), []);
        let place = sent.iter().position(|engine| *engine == 1).unwrap();
        world.end(tasks[place], true, 1);
        assert_eq!(world.place(), [Action::Send(tasks[6], 1)], "in order, where there is room");
    }
}

#[test]
fn without_a_mark_nothing_waits() {
    let mut world = World::new(2);
    let lane = lane(Scheme::LeastLoad, 0, None);
    (0..10).for_each(|_| world.submit_any(&lane));
    assert_eq!(world.sent(), [0, 1, 0, 1, 0, 1, 0, 1, 0, 1]);
}

#[test]
fn least_load_looks_at_everything() {
    let mut world = World::new(3);
    world.engines.get_mut(0).unwrap().queue = 5;
    world.engines.get_mut(2).unwrap().queue = 1;
    let lane = lane(Scheme::LeastLoad, 0, None);
    (0..4).for_each(|_| world.submit_any(&lane));
    assert_eq!(world.sent(), [1, 2, 1, 2]);
}

#[test]
fn least_recently_used_goes_round() {
    let mut world = World::new(3);
    world.engines.get_mut(1).unwrap().queue = 9; // it does not count
    let lane = lane(Scheme::LeastRecentlyUsed, 0, None);
    (0..6).for_each(|_| world.submit_any(&lane));
    assert_eq!(world.sent(), [0, 1, 2, 0, 1, 2]);
}

#[test]
fn random_schemes_use_all_and_prefer_the_idle() {
    for (scheme, is_fair) in [(Scheme::PlainRandom, false), (Scheme::TwoBin, true), (Scheme::Weighted, true)]
    {
        let mut world = World::new(4);
        let lane = lane(scheme, 0, None);
        (0..400).for_each(|_| world.submit_any(&lane));
        let sent = world.sent();
        let counts: Vec<usize> =
            (0..4).map(|id| sent.iter().filter(|engine| **engine == id).count()).collect();
        let spread = counts.iter().max().unwrap() - counts.iter().min().unwrap();
        assert!(counts.iter().all(|count| *count > 40), "{scheme:?}: {counts:?}");
        assert!(!is_fair || spread < 20, "{scheme:?}: {counts:?}");
    }
}

#[test]
fn views_take_turns() {
    let mut world = World::new(1);
    let (first, second) = (lane(Scheme::LeastLoad, 1, None), lane(Scheme::LeastLoad, 1, None));
    let many: Vec<_> = (0..3).map(|_| world.submit(job(&first))).collect();
    let one = world.submit(job(&second));
    assert_eq!(world.place(), [Action::Send(many[0], 0)]);
    let mut order = vec![many[0]];
    for _ in 0..3 {
        let last = *order.last().unwrap();
        world.end(last, true, 0);
        let [Action::Send(next, 0)] = world.place()[..] else { panic!("one at a time") };
        order.push(next);
    }
    let place = order.iter().position(|id| *id == one);
    assert!(place < Some(3), "{order:?}");
}

#[test]
fn a_check_is_never_made_twice_on_an_engine() {
    let mut world = World::new(3);
    let lane = lane(Scheme::PlainRandom, 0, None);
    let task = world.submit(job(&lane));
    let mut seen = Vec::new();
    for _ in 0..3 {
        let engine = world.sent()[0];
        assert!(!seen.contains(&engine));
        seen.push(engine);
        world.leave(engine);
        assert!(world.balancer.back(task, engine, Back::Unmet));
    }
    assert!(
        matches!(&world.place()[..], [Action::Never(never, why)] if *never == task && why.contains("check"))
    );
}

#[test]
fn a_retry_is_made_elsewhere() {
    let mut world = World::new(2);
    let lane = lane(Scheme::LeastLoad, 1, None);
    let task = world.submit(Job { retries: 2, ..job(&lane) });
    assert_eq!(world.sent(), [0]);
    world.leave(0);
    assert!(world.balancer.back(task, 0, Back::Failed));
    assert_eq!(world.sent(), [1]);
    world.leave(1);
    assert!(world.balancer.back(task, 1, Back::Failed));
    assert_eq!(world.sent().len(), 1, "it has failed everywhere");
    assert!(!world.balancer.back(task, 0, Back::Failed), "that was the last");
}

#[test]
fn dependencies_in_time_and_place() {
    let mut world = World::new(2);
    let lane = lane(Scheme::LeastLoad, 0, None);
    let first = world.submit(job(&lane));
    let next = world.submit(Job { after: Some(Dependency::all([first])), ..job(&lane) });
    let follower = world.submit(Job { follow: Some(Dependency::all([first])), ..job(&lane) });
    let never = world.submit(Job { after: Some(Dependency::all([first]).on_failure()), ..job(&lane) });
    assert_eq!(world.place(), [Action::Send(first, 0)]);
    assert_eq!(world.balancer.unassigned(), 3);
    world.end(first, true, 0);
    let actions = world.place();
    assert!(actions.contains(&Action::Send(follower, 0)), "{actions:?}");
    assert!(actions.iter().any(|action| matches!(action, Action::Send(id, _) if *id == next)), "{actions:?}");
    assert!(
        actions.iter().any(|action| matches!(action, Action::Never(id, _) if *id == never)),
        "{actions:?}"
    );
}

#[test]
fn engines_that_are_gone_are_not_waited_for() {
    let mut world = World::new(2);
    world.workers([2, 3]);
    let of_first = lane(Scheme::LeastLoad, 1, Some(vec![0]));
    let of_all = lane(Scheme::LeastLoad, 0, None);
    let (lost, fine) = (world.submit(job(&of_first)), world.submit(job(&of_all)));
    let actions = world.place();
    assert!(matches!(&actions[0], Action::Never(id, _) if *id == lost));
    assert!(matches!(&actions[1], Action::Send(id, 1) if *id == fine));
    world.workers([]);
    let waits = world.submit(job(&of_all));
    assert_eq!(world.place(), []);
    world.workers([4]);
    assert_eq!(world.place(), [Action::Send(waits, 3)]);
}

#[test]
fn what_was_not_sent_can_be_withdrawn() {
    let mut world = World::new(1);
    let lane = lane(Scheme::LeastLoad, 1, None);
    let tasks: Vec<_> = (0..3).map(|_| world.submit(job(&lane))).collect();
    let waiting = world.submit(Job { after: Some(Dependency::all([tasks[0]])), ..job(&lane) });
    assert_eq!(world.place(), [Action::Send(tasks[0], 0)]);
    assert!(!world.balancer.withdraw(tasks[0]));
    assert!(world.balancer.withdraw(tasks[1]) && !world.balancer.withdraw(tasks[1]));
    assert!(world.balancer.out_of_time(waiting) && !world.balancer.withdraw(waiting));
    assert_eq!(world.balancer.drain(), [tasks[2]]);
    assert_eq!(world.balancer.unassigned(), 0);
}
