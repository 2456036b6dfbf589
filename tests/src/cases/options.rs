//! `num_cpus`, `resources`, `num_returns`, `name`: by definition and by call.

use crate::case::{Case, PYMP, Result, cases};
use crate::support::{Counter, Signal, blocked_on, kind, square};
use unidist::prelude::*;
use unidist::{ErrorKind, cluster_resources, get_ip};

const MEMORY: &[(&str, &str)] = &[("UNIDIST_RESOURCES", "memory=4GiB")];
const DECLARED: &[(&str, &str)] = &[("UNIDIST_RESOURCES", "gpu=2,licence=1")];

pub(super) const CASES: &[Case] = cases!["options":
    cpus_by_definition_and_by_call.one_host(), resources_by_definition_and_by_call.settings(DECLARED),
    declared_resources_are_known.one_host().settings(DECLARED), impossible_num_cpus_is_an_error,
    unknown_resource_is_an_error, impossible_resource_amount_is_an_error.settings(DECLARED),
    impossible_definition_is_an_error, impossible_actor_fails_its_calls, invalid_amount_is_an_error,
    call_overrides_its_definition, name_is_shown_in_errors, name_by_definition,
    num_returns_of_a_method_by_definition, num_returns_of_a_function_by_definition,
    num_returns_of_a_method_by_call, actor_options.settings(DECLARED),
    num_cpus_is_honoured.one_host().only(PYMP), resource_is_honoured.one_host().only(PYMP).settings(DECLARED),
    resource_deadlock_is_an_error.one_host().only(PYMP).settings(DECLARED),
    actor_holds_its_resources.only(PYMP).one_host().settings(DECLARED), idle_actor_holds_no_slot.one_host(),
    memory_by_definition_and_by_call.settings(MEMORY), hosts_offer_their_memory.one_host(),
    impossible_memory_is_an_error.one_host().settings(MEMORY), memory_without_a_valid_unit_is_an_error,
    memory_is_honoured.one_host().only(PYMP).settings(MEMORY),
    backpressure_blocks_the_program.settings(&[("UNIDIST_MAX_PENDING_TASKS", "3")]),
    backpressure_does_not_block_tasks.only(PYMP).settings(&[("UNIDIST_MAX_PENDING_TASKS", "1")]),
];

#[remote(num_cpus = 2)]
fn on_two(x: i64) -> i64 {
    x + 2
}

#[remote(resources(gpu = 2, licence = 1))]
fn with_gpus(x: i64) -> i64 {
    -x
}

#[remote(resources(unobtainium = 1))]
fn impossible() {}

/// `num_cpus`, per definition and per call.
fn cpus_by_definition_and_by_call() -> Result {
    assert_eq!(get(on_two.remote(1))?, 3);
    assert_eq!(get(square.options().num_cpus(2).remote(3))?, 9);
    assert_eq!(get(square.options().num_cpus(0.5).remote(4))?, 16);
    assert_eq!(get(square.options().num_cpus(0).remote(5))?, 25);
    Ok(())
}

/// `resources`, per definition and per call.
fn resources_by_definition_and_by_call() -> Result {
    assert_eq!(get(with_gpus.remote(1))?, -1);
    assert_eq!(get(square.options().resource("gpu", 0.5).resource("licence", 1).remote(2))?, 4);
    Ok(())
}

/// A host declares its resources.
fn declared_resources_are_known() -> Result {
    let host = &cluster_resources()?[&get_ip()?];
    assert_eq!((host["CPU"], host["gpu"], host["licence"]), (2.0, 2.0, 1.0));
    Ok(())
}

fn is_impossible<T: std::fmt::Debug>(result: unidist::Result<T>, missing: &str) {
    let error = result.unwrap_err();
    assert_eq!(kind(&error), ErrorKind::Unsatisfiable);
    assert!(error.to_string().contains(missing), "{error} does not name {missing}");
}

/// A request that no host can ever satisfy is an error at once, naming what is missing.
fn impossible_num_cpus_is_an_error() -> Result {
    is_impossible(get(square.options().num_cpus(3).remote(1)), "CPU");
    Ok(())
}

/// The same, for a resource that no host has.
fn unknown_resource_is_an_error() -> Result {
    is_impossible(get(square.options().resource("gpu", 1).remote(1)), "gpu");
    Ok(())
}

/// The same, for more than any host has.
fn impossible_resource_amount_is_an_error() -> Result {
    is_impossible(get(square.options().resource("gpu", 1).resource("licence", 2).remote(1)), "licence");
    Ok(())
}

/// The same, where the definition asks for it; the error names the function too.
fn impossible_definition_is_an_error() -> Result {
    let error = get(impossible.remote()).unwrap_err();
    assert!(error.to_string().contains("impossible"), "{error}");
    is_impossible::<()>(Err(error), "unobtainium");
    Ok(())
}

/// The same, for an actor: every call fails, with that cause.
fn impossible_actor_fails_its_calls() -> Result {
    let actor = Counter::options().resource("gpu", 1).remote(1);
    for _ in 0..2 {
        let error = get(actor.value.remote()).unwrap_err();
        assert_eq!(kind(&error), ErrorKind::ActorDied);
        let cause = error.as_task().unwrap().root_cause();
        assert_eq!(cause.kind, ErrorKind::Unsatisfiable);
        assert!(cause.to_string().contains("gpu"), "{cause}");
    }
    assert_eq!(get(square.remote(2))?, 4);
    Ok(())
}

/// An invalid amount is an error of the call.
fn invalid_amount_is_an_error() -> Result {
    for amount in [-1.0, f64::NAN, f64::INFINITY] {
        let error = get(square.options().num_cpus(amount).remote(1)).unwrap_err();
        assert_eq!(kind(&error), ErrorKind::InvalidOption, "{amount}: {error}");
        let error = get(square.options().resource("gpu", amount).remote(1)).unwrap_err();
        assert_eq!(kind(&error), ErrorKind::InvalidOption, "{amount}: {error}");
    }
    Ok(())
}

/// The call's options win over the definition's.
fn call_overrides_its_definition() -> Result {
    is_impossible(get(on_two.options().num_cpus(5).remote(1)), "CPU");
    get(impossible.options().resource("unobtainium", 0).remote())
}

/// `name` is what errors show.
fn name_is_shown_in_errors() -> Result {
    let divide = |x: i64| 1 / x;
    let error = get(divide.options().name("the divider").remote(0)).unwrap_err();
    assert_eq!(error.as_task().unwrap().function, "the divider");
    assert!(error.to_string().contains("`the divider`"), "{error}");
    Ok(())
}

#[remote(name = "conformance.divide")]
fn divide(x: i64) -> i64 {
    1 / x
}

/// `name`, per definition.
fn name_by_definition() -> Result {
    assert_eq!(get(divide.remote(1))?, 1);
    let error = get(divide.remote(0)).unwrap_err();
    assert_eq!(error.as_task().unwrap().function, "conformance.divide");
    Ok(())
}

#[remote(num_returns = 2)]
fn halves(x: i64) -> (i64, i64) {
    (x / 2, x - x / 2)
}

/// `num_returns` of a function, by definition; a call may override it.
fn num_returns_of_a_function_by_definition() -> Result {
    let (less, more) = halves.remote(7);
    assert_eq!(get((less, more))?, (3, 4));
    assert_eq!(get(halves.options().num_returns::<1>().remote(7))?, (3, 4));
    let () = halves.options().num_returns::<0>().remote(7);
    assert_eq!(halves(7), (3, 4));
    Ok(())
}

/// `num_returns` of a method, by definition.
fn num_returns_of_a_method_by_definition() -> Result {
    let counter = Counter::remote(17);
    let (quotient, rest) = counter.divided.remote(5);
    assert_eq!(get((quotient, rest))?, (3, 2));
    let whole = counter.divided.options().num_returns::<1>().remote(5);
    assert_eq!(get(whole)?, (3, 2));
    Ok(())
}

/// `num_returns` of a method, by call.
fn num_returns_of_a_method_by_call() -> Result {
    let counter = Counter::remote(4);
    assert_eq!(get(counter.pair.remote())?, (4, -4));
    let (a, b) = counter.pair.options().num_returns::<2>().remote();
    assert_eq!(get([a, b])?, [4, -4]);
    let () = counter.add.options().num_returns::<0>().remote(1);
    assert_eq!(get(counter.value.remote())?, 5);
    Ok(())
}

/// Options of actor classes and methods.
fn actor_options() -> Result {
    let counter = Counter::options().num_cpus(1).resource("gpu", 1).name("the counter").remote(1);
    assert_eq!(get(counter.value.remote())?, 1);
    let error = get(counter.panics.options().name("the panic").remote()).unwrap_err();
    assert_eq!(error.as_task().unwrap().function, "the panic");
    Ok(())
}

/// Counts the tasks that run at the same time, in a file that only one of them can create.
#[remote(num_cpus = 2)]
fn alone(path: String) -> bool {
    is_alone(&path)
}

#[remote(resources(licence = 1))]
fn licensed(path: String) -> bool {
    is_alone(&path)
}

pub(super) fn is_alone(path: &str) -> bool {
    let is_first = std::fs::File::create_new(path).is_ok();
    for _ in 0..1000 {
        std::thread::yield_now();
    }
    is_first && std::fs::remove_file(path).is_ok()
}

pub(super) fn scratch(name: &str) -> String {
    let path = std::env::temp_dir().join(format!("unidist-tests-{}-{name}", std::process::id()));
    path.to_str().unwrap().to_owned()
}

/// `num_cpus` is honoured: two tasks that need all of them never run at the same time.
fn num_cpus_is_honoured() -> Result {
    let path = scratch("alone");
    let tasks: Vec<_> = (0..50).map(|_| alone.remote(&path)).collect();
    assert_eq!(get(tasks)?, vec![true; 50]);
    Ok(())
}

/// `resources` are honoured: there is one licence.
fn resource_is_honoured() -> Result {
    let path = scratch("licensed");
    let tasks: Vec<_> = (0..50).map(|_| licensed.remote(&path)).collect();
    assert_eq!(get(tasks)?, vec![true; 50]);
    Ok(())
}

/// An actor holds its resources for its lifetime, and its end frees them.
fn actor_holds_its_resources() -> Result {
    let first = Counter::options().resource("licence", 1).remote(1);
    get(first.value.remote())?;
    let second = Counter::options().resource("licence", 1).remote(2);
    let value = second.value.remote();
    let task = licensed.remote(scratch("held"));
    let refs = [value.clone()];
    assert_eq!(get((square.remote(3), first.value.remote()))?, (9, 1));
    assert!(wait(&refs, 1, Some(std::time::Duration::from_millis(20)))?.ready.is_empty());
    drop(first);
    drop(second); // its call is still to come
    assert_eq!(get(value)?, 2);
    assert!(get(task)?);
    Ok(())
}

/// Default 0, so that an idle actor holds no slot.
fn idle_actor_holds_no_slot() -> Result {
    let actors: Vec<_> = (0..3).map(Counter::remote).collect();
    assert_eq!(get(actors.iter().map(|actor| actor.value.remote()).collect::<Vec<_>>())?, [0, 1, 2]);
    assert_eq!(get(on_two.remote(1))?, 3); // needs every slot
    Ok(())
}

/// `UNIDIST_MAX_PENDING_TASKS`: `.remote` blocks above it, and everything ends.
fn backpressure_blocks_the_program() -> Result {
    let refs: Vec<_> = (0..200).map(|x| square.remote(x)).collect();
    assert!(get(refs)?.into_iter().eq((0..200).map(|x| x * x)));
    Ok(())
}

/// Inside a task, `.remote` never blocks.
fn backpressure_does_not_block_tasks() -> Result {
    let submits = || {
        let signal = Signal::remote();
        let blocked: Vec<_> = (0..4).map(|_| blocked_on.remote(&signal)).collect();
        get(signal.open.remote()).unwrap();
        get(blocked).unwrap().len()
    };
    assert_eq!(get(submits.remote())?, 4);
    Ok(())
}

#[remote(resources(licence = 1))]
fn waits_for_another_licence() -> unidist::Result<i64> {
    get(square.options().resource("licence", 1).remote(7))
}

/// Deadlock detection: a task that holds all of a resource and waits for a task that needs it gets an error.
fn resource_deadlock_is_an_error() -> Result {
    let error = get(waits_for_another_licence.remote()).unwrap_err();
    let cause = error.as_task().unwrap().root_cause();
    assert_eq!(cause.kind, ErrorKind::Deadlock, "{error:?}");
    assert!(cause.message.contains("licence"), "{error:?}");
    Ok(())
}

#[remote(memory = "3GiB")]
fn with_memory(x: i64) -> i64 {
    x + 3
}

#[remote(memory = 1024)]
fn with_little_memory(x: i64) -> i64 {
    x + 1
}

/// `memory`, per definition and per call, as a number and as a text; an actor's, for its lifetime.
fn memory_by_definition_and_by_call() -> Result {
    assert_eq!(get((with_memory.remote(1), with_little_memory.remote(1)))?, (4, 2));
    assert_eq!(get(square.options().memory("512 MiB").remote(2))?, 4);
    assert_eq!(get(square.options().memory(4 << 30).remote(3))?, 9);
    assert_eq!(get(with_memory.options().memory(0).num_cpus(0.5).remote(4))?, 7);
    let counter = Counter::options().memory("1GB").remote(5);
    assert_eq!(get(counter.value.remote())?, 5);
    Ok(())
}

/// Without a declaration, a host offers all the memory that it can have.
fn hosts_offer_their_memory() -> Result {
    let memory = cluster_resources()?[&get_ip()?]["memory"];
    assert!(memory > f64::from(64 << 20), "{memory}");
    assert_eq!(get(with_little_memory.remote(1))?, 2);
    Ok(())
}

/// More than any host has is an error at once, with both amounts.
fn impossible_memory_is_an_error() -> Result {
    assert_eq!(cluster_resources()?[&get_ip()?]["memory"], 4_294_967_296.0);
    for wanted in ["5GiB", "900TiB"] {
        is_impossible(get(square.options().memory(wanted).remote(1)), wanted);
        is_impossible(get(square.options().memory(wanted).remote(1)), "4GiB");
    }
    let actor = Counter::options().memory("4097MiB").remote(1);
    assert_eq!(kind(&get(actor.value.remote()).unwrap_err()), ErrorKind::ActorDied);
    Ok(())
}

/// A text that is no number of bytes is an invalid option, and says what is allowed.
fn memory_without_a_valid_unit_is_an_error() -> Result {
    for wrong in ["4 Gigs", "-1", "1.5GiB", "", "9223372036854775808"] {
        let error = get(square.options().memory(wrong).remote(1)).unwrap_err();
        assert_eq!(kind(&error), ErrorKind::InvalidOption, "{wrong}");
        assert!(error.to_string().contains(&format!("memory is `{wrong}`; allowed: an integer")), "{error}");
    }
    Ok(())
}

/// Calls that need more together than there is take turns; an actor holds its memory until it ends.
fn memory_is_honoured() -> Result {
    let signal = Signal::remote();
    let first = blocked_on.options().memory("3GiB").remote(&signal);
    get(signal.waiting.remote(1))?;
    let second = with_memory.remote(1);
    let actor = Counter::options().memory("2GiB").remote(7);
    let value = actor.value.remote();
    assert_eq!(get((square.remote(2), with_little_memory.remote(1)))?, (4, 2));
    assert!(wait((&second, &value), 1, Some(std::time::Duration::ZERO))?.ready.is_empty());
    get(signal.open.remote())?;
    get(first)?;
    drop(actor); // its call is still to come, and its end frees the memory
    assert_eq!(get((second, value))?, (4, 7));
    Ok(())
}
