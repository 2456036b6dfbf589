use super::*;
use unidist_core::{ProcessId, WorkerInfo};

/// A load balancer with engines, and tasks by number.
struct World {
    balancer: LoadBalancer,
    engines: Engines,
    next: u64,
}

fn id(number: u64) -> TaskId {
    TaskId { client: 1, number }
}

fn policy(scheme: Scheme, high_water_mark: usize, targets: Option<Vec<EngineId>>) -> Arc<ViewPolicy> {
    Arc::new(ViewPolicy { targets, scheme, high_water_mark })
}

fn job(policy: &Arc<ViewPolicy>) -> Requirements {
    Requirements { policy: policy.clone(), after: None, follow: None, timeout: None, retries: 0 }
}

impl World {
    fn new(engines: u32) -> Self {
        let mut world = World {
            balancer: LoadBalancer::new(fastrand::Rng::with_seed(7)),
            engines: Engines::default(),
            next: 0,
        };
        world.workers(1..=engines);
        world
    }

    fn workers(&mut self, numbers: impl IntoIterator<Item = u32>) {
        let workers = numbers.into_iter().map(|n| WorkerInfo::new(ProcessId::new(n).unwrap(), "here", n));
        self.engines.update(&workers.collect::<Vec<_>>());
    }

    fn submit(&mut self, job: Requirements) -> TaskId {
        let id = id(self.next);
        self.next += 1;
        self.balancer.submit(id, job);
        id
    }

    fn submit_any(&mut self, policy: &Arc<ViewPolicy>) {
        self.submit(job(policy));
    }

    fn assign(&mut self) -> Vec<Action> {
        self.balancer.assign(&mut self.engines)
    }

    /// The engines to which tasks are sent now, in order.
    fn sent(&mut self) -> Vec<EngineId> {
        let engine = |action| match action {
            Action::Send(_, engine) => engine,
            Action::Fail(_, why) => panic!("{why}"),
        };
        self.assign().into_iter().map(engine).collect()
    }

    fn leave(&mut self, engine: EngineId) {
        self.engines.get_mut(engine).unwrap().tasks -= 1;
    }

    fn complete(&mut self, id: TaskId, succeeded: bool, engine: EngineId) {
        self.leave(engine);
        self.balancer.task_ended(id, TaskEnd { succeeded, engine: Some(engine) });
    }
}

#[test]
fn high_water_mark_limits_every_engine() {
    for scheme in
        [Scheme::LeastLoad, Scheme::LeastRecentlyUsed, Scheme::PlainRandom, Scheme::TwoBin, Scheme::Weighted]
    {
        let mut world = World::new(3);
        let policy = policy(scheme, 2, None);
        let tasks: Vec<_> = (0..10).map(|_| world.submit(job(&policy))).collect();
        let mut sent = world.sent();
        sent.sort_unstable();
        assert_eq!(sent, [0, 0, 1, 1, 2, 2], "{scheme:?}");
        assert_eq!(world.balancer.unassigned(), 4);
        assert_eq!(world.assign(), []);
        let place = sent.iter().position(|engine| *engine == 1).unwrap();
        world.complete(tasks[place], true, 1);
        assert_eq!(world.assign(), [Action::Send(tasks[6], 1)], "in order, on the engine with room");
    }
}

#[test]
fn high_water_mark_zero_is_no_limit() {
    let mut world = World::new(2);
    let policy = policy(Scheme::LeastLoad, 0, None);
    (0..10).for_each(|_| world.submit_any(&policy));
    assert_eq!(world.sent(), [0, 1, 0, 1, 0, 1, 0, 1, 0, 1]);
}

#[test]
fn least_load_counts_direct_and_balanced_tasks() {
    let mut world = World::new(3);
    world.engines.get_mut(0).unwrap().queue = 5;
    world.engines.get_mut(2).unwrap().queue = 1;
    let policy = policy(Scheme::LeastLoad, 0, None);
    (0..4).for_each(|_| world.submit_any(&policy));
    assert_eq!(world.sent(), [1, 2, 1, 2]);
}

#[test]
fn least_recently_used_is_round_robin() {
    let mut world = World::new(3);
    world.engines.get_mut(1).unwrap().queue = 9; // has no influence on this scheme
    let policy = policy(Scheme::LeastRecentlyUsed, 0, None);
    (0..6).for_each(|_| world.submit_any(&policy));
    assert_eq!(world.sent(), [0, 1, 2, 0, 1, 2]);
}

#[test]
fn random_schemes_use_all_engines_and_prefer_idle_ones() {
    for (scheme, is_fair) in [(Scheme::PlainRandom, false), (Scheme::TwoBin, true), (Scheme::Weighted, true)]
    {
        let mut world = World::new(4);
        let policy = policy(scheme, 0, None);
        (0..400).for_each(|_| world.submit_any(&policy));
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
    let (first, second) = (policy(Scheme::LeastLoad, 1, None), policy(Scheme::LeastLoad, 1, None));
    let many: Vec<_> = (0..3).map(|_| world.submit(job(&first))).collect();
    let one = world.submit(job(&second));
    assert_eq!(world.assign(), [Action::Send(many[0], 0)]);
    let mut order = vec![many[0]];
    for _ in 0..3 {
        let last = *order.last().unwrap();
        world.complete(last, true, 0);
        let [Action::Send(next, 0)] = world.assign()[..] else { panic!("one task at a time") };
        order.push(next);
    }
    let place = order.iter().position(|id| *id == one);
    assert!(place < Some(3), "{order:?}");
}

#[test]
fn check_runs_once_per_engine() {
    let mut world = World::new(3);
    let policy = policy(Scheme::PlainRandom, 0, None);
    let task = world.submit(job(&policy));
    let mut seen = Vec::new();
    for _ in 0..3 {
        let engine = world.sent()[0];
        assert!(!seen.contains(&engine));
        seen.push(engine);
        world.leave(engine);
        assert!(world.balancer.requeue(task, engine, Requeue::Unmet));
    }
    assert!(
        matches!(&world.assign()[..], [Action::Fail(never, why)] if *never == task && why.contains("check"))
    );
}

#[test]
fn retry_prefers_another_engine() {
    let mut world = World::new(2);
    let policy = policy(Scheme::LeastLoad, 1, None);
    let task = world.submit(Requirements { retries: 2, ..job(&policy) });
    assert_eq!(world.sent(), [0]);
    world.leave(0);
    assert!(world.balancer.requeue(task, 0, Requeue::Failed));
    assert_eq!(world.sent(), [1]);
    world.leave(1);
    assert!(world.balancer.requeue(task, 1, Requeue::Failed));
    assert_eq!(world.sent().len(), 1, "it has failed on every engine");
    assert!(!world.balancer.requeue(task, 0, Requeue::Failed), "no retry is left");
}

#[test]
fn dependencies_delay_and_place_tasks() {
    let mut world = World::new(2);
    let policy = policy(Scheme::LeastLoad, 0, None);
    let first = world.submit(job(&policy));
    let next = world.submit(Requirements { after: Some(Dependency::all([first])), ..job(&policy) });
    let follower = world.submit(Requirements { follow: Some(Dependency::all([first])), ..job(&policy) });
    let never =
        world.submit(Requirements { after: Some(Dependency::all([first]).on_failure()), ..job(&policy) });
    assert_eq!(world.assign(), [Action::Send(first, 0)]);
    assert_eq!(world.balancer.unassigned(), 3);
    world.complete(first, true, 0);
    let actions = world.assign();
    assert!(actions.contains(&Action::Send(follower, 0)), "{actions:?}");
    assert!(actions.iter().any(|action| matches!(action, Action::Send(id, _) if *id == next)), "{actions:?}");
    assert!(
        actions.iter().any(|action| matches!(action, Action::Fail(id, _) if *id == never)),
        "{actions:?}"
    );
}

#[test]
fn lost_engines_are_not_waited_for() {
    let mut world = World::new(2);
    world.workers([2, 3]);
    let of_first = policy(Scheme::LeastLoad, 1, Some(vec![0]));
    let of_all = policy(Scheme::LeastLoad, 0, None);
    let (lost, fine) = (world.submit(job(&of_first)), world.submit(job(&of_all)));
    let actions = world.assign();
    assert!(matches!(&actions[0], Action::Fail(id, _) if *id == lost));
    assert!(matches!(&actions[1], Action::Send(id, 1) if *id == fine));
    world.workers([]);
    let waits = world.submit(job(&of_all));
    assert_eq!(world.assign(), []);
    world.workers([4]);
    assert_eq!(world.assign(), [Action::Send(waits, 3)]);
}

#[test]
fn unsent_tasks_can_be_removed() {
    let mut world = World::new(1);
    let policy = policy(Scheme::LeastLoad, 1, None);
    let tasks: Vec<_> = (0..3).map(|_| world.submit(job(&policy))).collect();
    let waiting = world.submit(Requirements { after: Some(Dependency::all([tasks[0]])), ..job(&policy) });
    assert_eq!(world.assign(), [Action::Send(tasks[0], 0)]);
    assert!(!world.balancer.remove(tasks[0]));
    assert!(world.balancer.remove(tasks[1]) && !world.balancer.remove(tasks[1]));
    assert!(world.balancer.time_out(waiting) && !world.balancer.remove(waiting));
    assert_eq!(world.balancer.drain(), [tasks[2]]);
    assert_eq!(world.balancer.unassigned(), 0);
}
