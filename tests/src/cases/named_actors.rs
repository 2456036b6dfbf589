//! Actors with a name.

use crate::case::{Case, PYMP, Result, cases};
use crate::process::eventually;
use crate::support::{BOUND, Counter, Log, Signal, failure, refuse, square};
use unidist::prelude::*;
use unidist::{Error, ErrorKind, get_actor};

pub(super) const CASES: &[Case] = cases!["named_actors":
    found_in_the_program, found_in_tasks_and_actors, second_actor_of_a_name_fails, unknown_name_is_an_error,
    actor_of_another_type_is_an_error, name_does_not_keep_the_actor_alive, found_handle_keeps_the_actor_alive,
    name_is_free_after_the_actor, failed_constructor_frees_the_name, dead_actor_frees_the_name.only(PYMP),
    restarted_actor_keeps_its_name.only(PYMP), many_names, name_before_the_constructor_has_ended,
    names_of_calls_are_no_names_of_actors, before_init_is_an_error.bare(), names_belong_to_a_session.bare().not_spmd(),
];

fn counter(name: &str, start: i64) -> ActorHandle<Counter> {
    Counter::options().name(name).remote(start)
}

fn find(name: &str) -> Result<ActorHandle<Counter>> {
    get_actor(name)
}

fn assert_unknown(name: &str) {
    let found = find(name);
    assert!(matches!(&found, Err(Error::ActorNotFound { name: unknown }) if unknown == name), "{found:?}");
}

/// Another handle of the same actor.
fn found_in_the_program() -> Result {
    let counter = counter("visitors", 5);
    let found = find("visitors")?;
    assert_eq!(found, counter);
    assert_eq!(get((found.add.remote(1), counter.value.remote()))?, (6, 6));
    Ok(())
}

/// In a task, in a nested one, in an actor's method.
fn found_in_tasks_and_actors() -> Result {
    #[remote]
    fn visit(depth: u32) -> unidist::Result<i64> {
        match depth {
            0 => get(find("visitors")?.add.remote(1)),
            depth => get(visit.remote(depth - 1)),
        }
    }
    struct Door;
    #[remote]
    impl Door {
        #[new]
        fn new() -> Self {
            Door
        }
        async fn pass(&self) -> unidist::Result<i64> {
            find("visitors")?.add.remote(10).await
        }
    }
    let counter = counter("visitors", 0);
    get([visit.remote(0), visit.remote(2)])?;
    let door = Door::remote();
    get(door.pass.remote())?;
    assert_eq!(get(counter.value.remote())?, 12);
    Ok(())
}

/// A second actor of the name is dead from the start; the first one stays.
fn second_actor_of_a_name_fails() -> Result {
    let first = counter("only", 1);
    let second = counter("only", 2);
    let error = get(second.value.remote()).unwrap_err();
    let error = error.as_task().unwrap();
    assert_eq!((error.kind, error.root_cause().kind), (ErrorKind::ActorDied, ErrorKind::NameTaken));
    let text = error.root_cause().to_string();
    assert!(text.contains("an actor named `only` exists"), "{text}");
    assert_eq!(get((first.value.remote(), find("only")?.value.remote()))?, (1, 1));
    drop((first, second));
    // Of another type, too.
    let _log = Log::options().name("only").remote();
    assert_eq!(failure(counter("only", 3).value.remote()), ErrorKind::ActorDied);
    Ok(())
}

/// The error names the name and says how to give it.
fn unknown_name_is_an_error() -> Result {
    assert_unknown("stranger");
    let text = find("stranger").unwrap_err().to_string();
    assert!(text.contains("`stranger`") && text.contains(".options().name(\"stranger\")"), "{text}");
    let missing = (|| find("stranger").map(drop)).remote();
    let error = get(missing).unwrap_err().downcast::<Error>();
    assert!(matches!(error, Some(Error::ActorNotFound { .. })), "{error:?}");
    Ok(())
}

/// The type is checked, so no call can reach methods of another one.
fn actor_of_another_type_is_an_error() -> Result {
    let _counter = counter("visitors", 0);
    let error = get_actor::<Log>("visitors").unwrap_err();
    assert!(error.to_string().contains("the actor `visitors` is not a `"), "{error}");
    assert!(error.to_string().contains("Log`"), "{error}");
    Ok(())
}

/// The actor ends with its last handle.
fn name_does_not_keep_the_actor_alive() -> Result {
    let counter = counter("brief", 0);
    get(counter.value.remote())?;
    drop(counter);
    assert_unknown("brief");
    Ok(())
}

/// A handle that was found is one like any other.
fn found_handle_keeps_the_actor_alive() -> Result {
    let counter = counter("lasting", 3);
    let found = find("lasting")?;
    drop(counter);
    assert_eq!(get(found.value.remote())?, 3);
    let again = find("lasting")?;
    drop(found);
    assert_eq!(get(again.add.remote(1))?, 4);
    drop(again);
    assert_unknown("lasting");
    Ok(())
}

/// As often as wanted, one after the other.
fn name_is_free_after_the_actor() -> Result {
    for start in 0..3 {
        let counter = counter("one after the other", start);
        assert_eq!(get(counter.value.remote())?, start);
    }
    Ok(())
}

/// A constructor that fails, or whose argument has failed, leaves the name to others.
fn failed_constructor_frees_the_name() -> Result {
    let failed: ActorHandle<Counter> = Counter::options().name("tried").remote(refuse.remote(1));
    assert_eq!(failure(failed.value.remote()), ErrorKind::ActorDied);
    assert_unknown("tried");
    let unsatisfiable: ActorHandle<Counter> = Counter::options().name("tried").num_cpus(1000).remote(1);
    assert_eq!(failure(unsatisfiable.value.remote()), ErrorKind::ActorDied);
    let counter = counter("tried", 7);
    assert_eq!(get(find("tried")?.value.remote())?, 7);
    assert_eq!(failure(failed.value.remote()), ErrorKind::ActorDied);
    drop((failed, unsatisfiable));
    assert_eq!(find("tried")?, counter);
    Ok(())
}

struct Mortal;

#[remote]
impl Mortal {
    #[new]
    fn new() -> Self {
        Mortal
    }
    fn die(&self) {
        std::process::abort();
    }
    fn process(&self) -> u32 {
        std::process::id()
    }
}

/// An actor whose process has died for good has no name, although there are handles.
fn dead_actor_frees_the_name() -> Result {
    let mortal: ActorHandle<Mortal> = Mortal::options().name("mortal").remote();
    get(mortal.die.remote()).unwrap_err();
    assert!(matches!(get_actor::<Mortal>("mortal"), Err(Error::ActorNotFound { .. })));
    let next: ActorHandle<Mortal> = Mortal::options().name("mortal").remote();
    assert_eq!(get_actor::<Mortal>("mortal")?, next);
    get(next.process.remote())?;
    get(mortal.process.remote()).unwrap_err();
    Ok(())
}

/// One that is restarted is the same actor.
fn restarted_actor_keeps_its_name() -> Result {
    let mortal: ActorHandle<Mortal> = Mortal::options().name("mortal").max_restarts(1).remote();
    let before = get(mortal.process.remote())?;
    get(mortal.die.remote()).unwrap_err();
    let found: ActorHandle<Mortal> = get_actor("mortal")?;
    assert_eq!(found, mortal);
    assert_ne!(get(found.process.remote())?, before);
    Ok(())
}

/// Many names at once, each found by many tasks; no reference is left behind.
fn many_names() -> Result {
    let counters: Vec<_> = (0..4).map(|n| counter(&format!("counter {n}"), 0)).collect();
    let add = |n: i64| get(find(&format!("counter {}", n % 4))?.add.remote(n));
    get((0..100).map(|n| add.remote(n)).collect::<Vec<_>>())?;
    let sums = get(counters.iter().map(|counter| counter.value.remote()).collect::<Vec<_>>())?;
    assert_eq!(sums.iter().sum::<i64>(), 4950);
    drop(counters);
    assert!(eventually(BOUND, || find("counter 0").is_err()));
    Ok(())
}

/// The name is there when `.remote` has returned; calls wait for the constructor as usual.
fn name_before_the_constructor_has_ended() -> Result {
    struct Slow;
    #[remote]
    impl Slow {
        #[new]
        fn new(_: u32) -> Self {
            Slow
        }
        fn name(&self) -> String {
            "slow".to_owned()
        }
    }
    let signal = Signal::remote();
    let late = crate::support::blocked_on.remote(&signal);
    let slow: ActorHandle<Slow> = Slow::options().name("slow").remote(&late);
    let found: ActorHandle<Slow> = get_actor("slow")?;
    let name = found.name.remote();
    get(signal.open.remote())?;
    assert_eq!((get(name)?, found == slow), ("slow".to_owned(), true));
    Ok(())
}

/// `name` is another option for calls.
fn names_of_calls_are_no_names_of_actors() -> Result {
    let squares = [square.options().name("nine").remote(3), square.options().name("nine").remote(3)];
    assert_unknown("nine");
    assert_eq!(get(squares)?, [9, 9]);
    Ok(())
}

/// The error is that of every other call.
fn before_init_is_an_error() -> Result {
    let found = find("visitors");
    assert!(matches!(&found, Err(Error::NotInitialized { call }) if call == "get_actor"), "{found:?}");
    Ok(())
}

/// A later session has names of its own.
fn names_belong_to_a_session() -> Result {
    let session = unidist::init()?;
    let left = counter("visitors", 1);
    drop(session);
    let _session = unidist::init()?;
    assert_unknown("visitors");
    assert_eq!(get(counter("visitors", 2).value.remote())?, 2);
    drop(left);
    Ok(())
}
