//! Actors.

use crate::case::{Case, PYMP, Result, cases};
use crate::process::{eventually, is_alive};
use crate::program::assert_all_freed;
use crate::support::{BOUND, Counter, Refusal, Signal, failure, kind, process, refuse, square};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::sync::atomic::{AtomicI64, Ordering};
use unidist::prelude::*;
use unidist::{ErrorKind, live_objects};

pub(super) const CASES: &[Case] = cases!["actors":
    constructors_with_and_without_arguments, state_is_kept, state_is_private, chained_calls,
    refs_as_arguments, calls_of_one_caller_keep_their_order, order_is_kept_behind_a_late_argument,
    calls_of_a_task_keep_their_order, several_returns, handles_go_to_tasks, handles_go_to_actors,
    handles_in_values, handles_are_equal, actor_calls_itself_later, actor_makes_actors,
    cycle_of_calls_between_actors, more_calls_than_cpus_on_one_actor, many_actors,
    more_actors_than_workers_while_tasks_run, as_many_actors_as_workers_do_not_block_tasks,
    long_method_does_not_block_tasks, actor_ends_with_its_last_handle, pending_calls_keep_the_actor,
    temporary_handle_is_enough, handle_in_an_object_keeps_the_actor, state_is_dropped,
    own_handle_does_not_keep_the_actor, many_actors_in_a_row, process_ends_with_the_actor.only(PYMP),
    actor_has_its_own_process.only(PYMP), statics_do_not_mix.only(PYMP), methods_run_in_one_process,
    constructor_error_fails_calls, constructor_panic_fails_calls, failed_constructor_argument_fails_calls,
    calls_wait_for_a_late_constructor_argument, failed_constructor_affects_nothing_else,
    method_panic_fails_the_call, method_errors_come_back, method_names_do_not_collide,
    actor_type_stays_a_plain_type, call_does_not_stop_garbage_collection, unused_actor_is_freed,
    constructor_runs_once, waiting_for_itself_is_an_error,
];

struct Plain {
    list: Vec<String>,
}

#[remote]
impl Plain {
    #[new]
    fn new() -> Self {
        Plain { list: vec!["new".into()] }
    }

    fn push(&mut self, item: String) {
        self.list.push(item);
    }

    fn list(&self) -> Vec<String> {
        self.list.clone()
    }
}

/// Constructors with and without arguments.
fn constructors_with_and_without_arguments() -> Result {
    let (plain, counter) = (Plain::remote(), Counter::remote(5));
    get(plain.push.remote("x".to_owned()))?;
    assert_eq!(get((plain.list.remote(), counter.value.remote()))?, (vec!["new".into(), "x".into()], 5));
    let from_ref = Counter::remote(square.remote(3));
    assert_eq!(get(from_ref.value.remote())?, 9);
    Ok(())
}

/// Methods see what earlier ones did.
fn state_is_kept() -> Result {
    let counter = Counter::remote(0);
    for n in 1..=10 {
        assert_eq!(get(counter.add.remote(1))?, n);
    }
    Ok(())
}

/// State is private: two actors of one type have two.
fn state_is_private() -> Result {
    let (a, b) = (Counter::remote(0), Counter::remote(100));
    get((a.add.remote(1), b.add.remote(1)))?;
    assert_eq!(get((a.value.remote(), b.value.remote()))?, (1, 101));
    Ok(())
}

/// The result of one method is the argument of another.
fn chained_calls() -> Result {
    let (a, b) = (Counter::remote(1), Counter::remote(10));
    let last = a.add.remote(b.add.remote(a.add.remote(1)));
    assert_eq!(get(last)?, 14);
    Ok(())
}

/// Methods take refs, of puts, tasks and methods.
fn refs_as_arguments() -> Result {
    let counter = Counter::remote(0);
    let (four, two) = (square.remote(2), put(2)?);
    assert_eq!(
        get([counter.add.remote(&four), counter.add.remote(&two), counter.add.remote(two)])?,
        [4, 6, 8]
    );
    assert_eq!(get(square.remote(counter.value.remote()))?, 64);
    Ok(())
}

/// Method calls from one caller run in the order they were made.
fn calls_of_one_caller_keep_their_order() -> Result {
    let plain = Plain::remote();
    (0..300).for_each(|n| drop(plain.push.remote(n.to_string())));
    let expected: Vec<_> = std::iter::once("new".to_owned()).chain((0..300).map(|n| n.to_string())).collect();
    assert_eq!(get(plain.list.remote())?, expected);
    Ok(())
}

/// The same if one call waits for its argument: later calls wait, too.
fn order_is_kept_behind_a_late_argument() -> Result {
    let (plain, signal) = (Plain::remote(), Signal::remote());
    let late = |signal: ActorHandle<Signal>| get(signal.wait.remote()).map(|()| "late".to_owned()).unwrap();
    let late = late.remote(&signal);
    let calls = [plain.push.remote(&late), plain.push.remote("after".to_owned())];
    get(signal.waiting.remote(1_usize))?;
    get(signal.open.remote())?;
    get(calls)?;
    assert_eq!(get(plain.list.remote())?, ["new", "late", "after"]);
    Ok(())
}

/// The same for a task's calls.
fn calls_of_a_task_keep_their_order() -> Result {
    let pushes = |plain: ActorHandle<Plain>, name: String| {
        (0..100).for_each(|n| drop(plain.push.remote(format!("{name}{n}"))));
    };
    let plain = Plain::remote();
    get([pushes.remote(&plain, "a".to_owned()), pushes.remote(&plain, "b".to_owned())])?;
    // Calls of another caller may come before those of the tasks.
    assert!(eventually(BOUND, || get(plain.list.remote()).unwrap().len() == 201));
    let list = get(plain.list.remote())?;
    for name in ["a", "b"] {
        let own: Vec<_> =
            list.iter().filter(|item| item.starts_with(name) && *item != "new").cloned().collect();
        assert_eq!(own, (0..100).map(|n| format!("{name}{n}")).collect::<Vec<_>>());
    }
    Ok(())
}

/// Several returns.
fn several_returns() -> Result {
    let counter = Counter::remote(17);
    let (quotient, rest) = counter.divided.remote(5);
    assert_eq!(get(square.remote(quotient))?, 9);
    assert_eq!(get(rest)?, 2);
    Ok(())
}

#[remote]
fn add_to(counter: ActorHandle<Counter>, by: i64) -> unidist::Result<i64> {
    get(counter.add.remote(by))
}

/// Handles can be sent to tasks.
fn handles_go_to_tasks() -> Result {
    let counter = Counter::remote(0);
    let added: Vec<_> = (1..=10).map(|by| add_to.remote(&counter, by)).collect();
    get(&added)?;
    assert_eq!(get(counter.value.remote())?, 55);
    Ok(())
}

struct Relay {
    to: ActorHandle<Counter>,
}

#[remote]
impl Relay {
    #[new]
    fn new(to: ActorHandle<Counter>) -> Self {
        Relay { to }
    }

    fn add(&self, by: i64) -> unidist::Result<i64> {
        get(self.to.add.remote(by))
    }

    fn hand_out(&self) -> ActorHandle<Counter> {
        self.to.clone()
    }
}

/// Handles can be sent to other actors.
fn handles_go_to_actors() -> Result {
    let counter = Counter::remote(0);
    let relays = [Relay::remote(&counter), Relay::remote(&counter)];
    get(relays.each_ref().map(|relay| relay.add.remote(5)))?;
    drop(counter);
    let counter = get(relays[0].hand_out.remote())?;
    drop(relays);
    assert_eq!(get(counter.add.remote(1))?, 11);
    Ok(())
}

#[derive(Serialize, Deserialize)]
struct Team {
    members: Vec<ActorHandle<Counter>>,
    lead: Option<ActorHandle<Counter>>,
}

/// Handles travel in lists, options and fields.
fn handles_in_values() -> Result {
    let adds = |team: Team| {
        let all = team.members.iter().chain(&team.lead);
        get(all.map(|member| member.add.remote(1)).collect::<Vec<_>>()).unwrap()
    };
    let team =
        Team { members: vec![Counter::remote(10), Counter::remote(20)], lead: Some(Counter::remote(30)) };
    let team = put(team)?;
    assert_eq!(get(adds.remote(&team))?, [11, 21, 31]);
    assert_eq!(get(adds.remote(get(&team)?))?, [12, 22, 32]);
    Ok(())
}

/// Handles are equal if they are of one actor.
fn handles_are_equal() -> Result {
    let (a, b) = (Counter::remote(0), Counter::remote(0));
    assert!(a == a.clone() && a != b);
    let back = get((|counter: ActorHandle<Counter>| counter).remote(&a))?;
    assert!(back == a);
    Ok(())
}

struct Later {
    log: Vec<u32>,
}

#[remote]
impl Later {
    #[new]
    fn new() -> Self {
        Later { log: Vec::new() }
    }

    fn down(&mut self, own: ActorHandle<Later>, n: u32) {
        self.log.push(n);
        if n > 0 {
            drop(own.down.remote(&own, n - 1)); // runs after this one
        }
    }

    fn log(&self) -> Vec<u32> {
        self.log.clone()
    }

    fn waits_for_itself(&mut self, own: ActorHandle<Later>) -> unidist::Result<Vec<u32>> {
        get(own.log.remote())
    }
}

/// A method may call its own actor, for later.
fn actor_calls_itself_later() -> Result {
    let later = Later::remote();
    get(later.down.remote(&later, 5_u32))?;
    let is_done = || get(later.log.remote()).unwrap() == [5, 4, 3, 2, 1, 0];
    assert!(eventually(BOUND, is_done));
    Ok(())
}

/// Deadlock detection: a method that waits for another method of its own actor gets an error.
fn waiting_for_itself_is_an_error() -> Result {
    let later = Later::remote();
    let error = get(later.waits_for_itself.remote(&later)).unwrap_err();
    let cause = error.as_task().unwrap().root_cause();
    assert_eq!(cause.kind, ErrorKind::Deadlock, "{error:?}");
    assert_eq!(get(later.log.remote())?, [0_u32; 0]);
    Ok(())
}

/// An actor may make others.
fn actor_makes_actors() -> Result {
    struct Parent {
        children: Vec<ActorHandle<Counter>>,
    }
    #[remote]
    impl Parent {
        #[new]
        fn new(count: i64) -> Self {
            Parent { children: (0..count).map(Counter::remote).collect() }
        }
        fn total(&self) -> unidist::Result<i64> {
            Ok(get(self.children.iter().map(|child| child.value.remote()).collect::<Vec<_>>())?.iter().sum())
        }
    }
    let parent = Parent::remote(4);
    assert_eq!(get(parent.total.remote())?, 6);
    assert!(live_objects()? >= 5);
    drop(parent);
    assert_all_freed(); // the children went with it
    Ok(())
}

/// Two actors may call each other if they do not wait.
fn cycle_of_calls_between_actors() -> Result {
    struct Player {
        hits: u32,
    }
    #[remote]
    impl Player {
        #[new]
        fn new() -> Self {
            Player { hits: 0 }
        }
        fn play(
            &mut self,
            own: ActorHandle<Player>,
            other: ActorHandle<Player>,
            rounds: u32,
            end: ActorHandle<Signal>,
        ) {
            self.hits += 1;
            match rounds {
                0 => drop(end.open.remote()),
                _ => drop(other.play.remote(&other, own, rounds - 1, end)),
            }
        }
        fn hits(&self) -> u32 {
            self.hits
        }
    }
    let (a, b, end) = (Player::remote(), Player::remote(), Signal::remote());
    drop(a.play.remote(&a, &b, 19_u32, &end));
    get(end.wait.remote())?;
    assert_eq!(get((a.hits.remote(), b.hits.remote()))?, (10, 10));
    Ok(())
}

/// More tasks than cores onto one actor.
fn more_calls_than_cpus_on_one_actor() -> Result {
    let counter = Counter::remote(0);
    let tasks: Vec<_> = (0..50).map(|_| add_to.remote(&counter, 1)).collect();
    let results: HashSet<_> = get(tasks)?.into_iter().collect();
    assert_eq!(results, (1..=50).collect());
    Ok(())
}

/// Many actors at once.
fn many_actors() -> Result {
    let actors: Vec<_> = (0..12).map(Counter::remote).collect();
    let values: Vec<_> = actors.iter().map(|actor| actor.add.remote(1)).collect();
    assert_eq!(get(values)?, (1..=12).collect::<Vec<_>>());
    Ok(())
}

/// Plain tasks run while there are more actors than workers.
fn more_actors_than_workers_while_tasks_run() -> Result {
    let tasks: Vec<_> = (0..40).map(|x| square.remote(x)).collect();
    let actors: Vec<_> = (0..5).map(Counter::remote).collect();
    let added: Vec<_> = actors.iter().map(|actor| add_to.remote(actor, 1)).collect();
    assert_eq!(get(&added)?, [1, 2, 3, 4, 5]);
    assert_eq!(get(&tasks)?.len(), 40);
    assert_eq!(get(square.remote(9))?, 81);
    Ok(())
}

/// Regression: as many actors as workers must not block tasks.
fn as_many_actors_as_workers_do_not_block_tasks() -> Result {
    let actors = [Counter::remote(1), Counter::remote(2)];
    get(actors.each_ref().map(|actor| actor.value.remote()))?;
    assert_eq!(get([square.remote(2), square.remote(3), square.remote(4)])?, [4, 9, 16]);
    Ok(())
}

/// The same while their methods run.
fn long_method_does_not_block_tasks() -> Result {
    struct Blocked;
    #[remote]
    impl Blocked {
        #[new]
        fn new() -> Self {
            Blocked
        }
        fn until(&mut self, signal: ActorHandle<Signal>) -> unidist::Result<()> {
            get(signal.wait.remote())
        }
    }
    let signal = Signal::remote();
    let actors = [Blocked::remote(), Blocked::remote(), Blocked::remote()];
    let blocked = actors.each_ref().map(|actor| actor.until.remote(&signal));
    get(signal.waiting.remote(3_usize))?;
    assert_eq!(get(square.remote(2))?, 4);
    get(signal.open.remote())?;
    get(blocked).map(drop)
}

/// When the last handle drops, the actor ends and its memory is freed.
fn actor_ends_with_its_last_handle() -> Result {
    let counter = Counter::remote(1);
    let clone = counter.clone();
    drop(counter);
    assert_eq!(get(clone.value.remote())?, 1);
    drop(clone);
    assert_all_freed();
    Ok(())
}

/// The actor does not end before the calls made on it have ended.
fn pending_calls_keep_the_actor() -> Result {
    let (counter, signal) = (Counter::remote(1), Signal::remote());
    let late = (|signal: ActorHandle<Signal>| get(signal.wait.remote()).map_or(0, |()| 5)).remote(&signal);
    let added = counter.add.remote(late);
    drop(counter);
    get(signal.waiting.remote(1_usize))?;
    get(signal.open.remote())?;
    assert_eq!(get(added)?, 6);
    Ok(())
}

/// A temporary handle is sufficient for a call.
fn temporary_handle_is_enough() -> Result {
    assert_eq!(get(Counter::remote(1).add.remote(1))?, 2);
    Ok(())
}

/// A handle inside an object keeps the actor alive.
fn handle_in_an_object_keeps_the_actor() -> Result {
    let team = put(vec![Counter::remote(3)])?;
    let counter = get(&team)?.remove(0);
    drop(team);
    assert_eq!(get(counter.value.remote())?, 3);
    Ok(())
}

struct Holder {
    _held: Vec<ObjectRef<i64>>,
    path: String,
}

#[remote]
impl Holder {
    #[new]
    fn new(held: Vec<ObjectRef<i64>>, path: String) -> Self {
        Holder { _held: held, path }
    }

    fn held(&self) -> usize {
        self._held.len()
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        std::fs::write(&self.path, "dropped").unwrap();
    }
}

/// The actor's state is dropped, and the objects that it refers to are freed.
fn state_is_dropped() -> Result {
    let path = std::env::temp_dir().join(format!("unidist-tests-{}-holder", std::process::id()));
    let holder = Holder::remote(vec![put(1)?, put(2)?], path.to_str().unwrap().to_owned());
    assert_eq!(get(holder.held.remote())?, 2);
    drop(holder);
    assert!(eventually(BOUND, || std::fs::read_to_string(&path).is_ok_and(|text| text == "dropped")));
    std::fs::remove_file(path).unwrap();
    assert_all_freed();
    Ok(())
}

/// An actor that receives its own handle keeps it only during the call.
fn own_handle_does_not_keep_the_actor() -> Result {
    let later = Later::remote();
    get(later.down.remote(&later, 0_u32))?;
    drop(later);
    assert_all_freed();
    Ok(())
}

/// Many actors, one after the other.
fn many_actors_in_a_row() -> Result {
    for n in 0..20 {
        let counter = Counter::remote(n);
        assert_eq!(get(counter.value.remote())?, n);
    }
    assert_all_freed();
    Ok(())
}

/// When the last handle drops, the actor's process ends.
fn process_ends_with_the_actor() -> Result {
    let counter = Counter::remote(0);
    let process = get(counter.process.remote())?;
    assert!(is_alive(process));
    drop(counter);
    assert!(eventually(BOUND, || !is_alive(process)));
    Ok(())
}

/// An actor has its own process.
fn actor_has_its_own_process() -> Result {
    let actors = [Counter::remote(0), Counter::remote(0), Counter::remote(0)];
    let mut processes = get(actors.each_ref().map(|actor| actor.process.remote()))?;
    processes.extend(get([process.remote(), process.remote()])?.iter().take(1));
    processes.push(std::process::id());
    assert_eq!(processes.iter().collect::<HashSet<_>>().len(), 5);
    Ok(())
}

static SHARED: AtomicI64 = AtomicI64::new(0);

struct Statics;

#[remote]
impl Statics {
    #[new]
    fn new() -> Self {
        Statics
    }

    fn add(&self, by: i64) -> i64 {
        SHARED.fetch_add(by, Ordering::SeqCst) + by
    }
}

/// Separate address spaces: two actors' statics do not mix.
fn statics_do_not_mix() -> Result {
    let (a, b) = (Statics::remote(), Statics::remote());
    assert_eq!(get([a.add.remote(1), a.add.remote(1), b.add.remote(10), b.add.remote(10)])?, [1, 2, 10, 20]);
    assert_eq!(SHARED.load(Ordering::SeqCst), 0);
    Ok(())
}

/// All its methods run in one process.
fn methods_run_in_one_process() -> Result {
    let counter = Counter::remote(0);
    let calls: Vec<_> = (0..10).map(|_| counter.process.remote()).collect();
    assert_eq!(get(calls)?.iter().collect::<HashSet<_>>().len(), 1);
    Ok(())
}

#[derive(Debug)]
struct Picky;

#[remote]
impl Picky {
    #[new]
    fn new(with: i64) -> std::result::Result<Self, Refusal> {
        match with {
            0.. => Ok(Picky),
            -1 => panic!("the constructor's panic"),
            with => Err(Refusal { with }),
        }
    }

    fn yes(&self) -> bool {
        true
    }
}

/// A constructor's error fails every call on the handle with that cause.
fn constructor_error_fails_calls() -> Result {
    let picky = Picky::remote(-5);
    for _ in 0..3 {
        let error = get(picky.yes.remote()).unwrap_err();
        assert_eq!(kind(&error), ErrorKind::ActorDied);
        assert_eq!(error.downcast::<Refusal>(), Some(Refusal { with: -5 }), "{error:?}");
    }
    assert!(get(Picky::remote(1).yes.remote())?);
    Ok(())
}

/// A constructor's panic does the same.
fn constructor_panic_fails_calls() -> Result {
    let picky = Picky::remote(-1);
    let error = get(picky.yes.remote()).unwrap_err();
    assert_eq!(kind(&error), ErrorKind::ActorDied);
    assert!(format!("{error:?}").contains("the constructor's panic"), "{error:?}");
    Ok(())
}

/// A failed argument of the constructor does the same.
fn failed_constructor_argument_fails_calls() -> Result {
    let counter = Counter::remote(refuse.remote(3));
    let error = get(counter.value.remote()).unwrap_err();
    assert_eq!(kind(&error), ErrorKind::ActorDied);
    assert_eq!(error.downcast::<Refusal>(), Some(Refusal { with: 3 }), "{error:?}");
    Ok(())
}

/// Calls wait for an actor that waits for its argument.
fn calls_wait_for_a_late_constructor_argument() -> Result {
    let signal = Signal::remote();
    let late = (|signal: ActorHandle<Signal>| get(signal.wait.remote()).map_or(0, |()| 5)).remote(&signal);
    let counter = Counter::remote(late);
    let calls = [counter.add.remote(1), counter.add.remote(1)];
    get(signal.waiting.remote(1_usize))?;
    get(signal.open.remote())?;
    assert_eq!(get(calls)?, [6, 7]);
    Ok(())
}

/// Regression: an actor's constructor error must not end the job.
fn failed_constructor_affects_nothing_else() -> Result {
    let counter = Counter::remote(1);
    let failed: Vec<_> = (0..5).map(|_| Picky::remote(-5)).collect();
    let refs: Vec<_> = failed.iter().map(|picky| picky.yes.remote()).collect();
    assert_eq!(wait(&refs, 5, None)?.ready.len(), 5);
    drop((failed, refs));
    assert_eq!(get((counter.add.remote(1), square.remote(3)))?, (2, 9));
    Ok(())
}

/// A method's panic fails the call; the actor continues.
fn method_panic_fails_the_call() -> Result {
    let counter = Counter::remote(1);
    assert_eq!(failure(counter.panics.remote()), ErrorKind::Panicked);
    assert_eq!(get(counter.value.remote())?, 1001);
    Ok(())
}

/// A method's error is returned with its type.
fn method_errors_come_back() -> Result {
    let counter = Counter::remote(1);
    let dependent = square.remote(counter.refuses.remote(4));
    assert_eq!(get(dependent).unwrap_err().downcast::<Refusal>(), Some(Refusal { with: 4 }));
    Ok(())
}

/// A method may have any name, without a collision with the handle's methods.
fn method_names_do_not_collide() -> Result {
    struct Names;
    #[remote]
    impl Names {
        #[new]
        fn new() -> Self {
            Names
        }
        fn clone(&self) -> String {
            "clone".into()
        }
        fn id(&self) -> String {
            "id".into()
        }
        fn drop(&self) -> String {
            "drop".into()
        }
        fn r#type(&self) -> String {
            "type".into()
        }
    }
    let names = Names::remote();
    let all = [names.clone.remote(), names.id.remote(), names.drop.remote(), names.r#type.remote()];
    assert_eq!(get(all)?, ["clone", "id", "drop", "type"]);
    Ok(())
}

/// The actor's type stays a plain type that works without a session.
fn actor_type_stays_a_plain_type() -> Result {
    let mut counter = Counter::new(1);
    assert_eq!((counter.add(2), counter.value()), (3, 3));
    Ok(())
}

/// Regression: an actor call must not stop garbage collection.
fn call_does_not_stop_garbage_collection() -> Result {
    let counter = Counter::remote(0);
    get(counter.add.remote(1))?;
    let before = live_objects()?;
    for x in 0..50 {
        drop((square.remote(x), put(x)?, counter.add.remote(1)));
    }
    get(counter.value.remote())?;
    assert!(eventually(BOUND, || live_objects().unwrap() <= before), "{} and {before}", live_objects()?);
    Ok(())
}

/// An actor that was never called ends, too.
fn unused_actor_is_freed() -> Result {
    (0..3).for_each(|n| drop(Counter::remote(n)));
    assert_all_freed();
    Ok(())
}

/// The constructor runs once.
fn constructor_runs_once() -> Result {
    struct Once;
    #[remote]
    impl Once {
        #[new]
        fn new(counter: ActorHandle<Counter>) -> unidist::Result<Self> {
            get(counter.add.remote(1))?;
            Ok(Once)
        }
        fn touch(&self) {}
    }
    let counter = Counter::remote(0);
    let once = Once::remote(&counter);
    get([once.touch.remote(), once.touch.remote()])?;
    assert_eq!(get(counter.value.remote())?, 1);
    Ok(())
}
