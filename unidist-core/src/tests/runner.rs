//! The runner: functions, actors, failures.

use crate::actor::{
    Actor, ActorHandle, ActorMethod, ActorOptions, ActorRef, Constructor, Method, State, constructor_key,
};
use crate::get;
use crate::received_args::ReceivedArgs;
use crate::remote_traits::*;
use crate::started::Started;
use crate::testing::{Memory, ended_into, runner, with_session};
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;
use unidist_backend::{CallKind, TaskRunner, current_call};
use unidist_common::{ActorId, ErrorKind, FunctionKey, TaskError, TaskOptions};

/// What `#[remote]` makes of `impl Log { #[new] fn new(limit: u32); async fn wait(&self, n: u32) -> u32; fn add(&self,
/// n: u32) -> Vec<u32> }`.
struct Log(RefCell<Vec<u32>>);
#[derive(Debug)]
struct LogMethods {
    wait: ActorMethod<Log, Wait, (u32,)>,
    add: ActorMethod<Log, Add, (u32,)>,
}
struct New;
struct Wait;
struct Add;

impl Actor for Log {
    type Methods = LogMethods;
    fn __methods(actor: &ActorRef) -> LogMethods {
        LogMethods { wait: ActorMethod::new(actor), add: ActorMethod::new(actor) }
    }
    fn __constructor() -> unidist_common::Result<FunctionKey> {
        constructor_key::<Log, New>()
    }
}

impl Constructor<Log> for New {
    const NAME: &'static str = "Log::new";
    const EXPLICIT_NAME: Option<&'static str> = None;
    fn defaults(options: &mut TaskOptions) {
        options.max_concurrency = Some(2);
    }
    fn build(mut inputs: ReceivedArgs) -> Result<Log, TaskError> {
        let first: u32 = inputs.next()?;
        if first > 9 {
            return Err(TaskError::new(ErrorKind::Failed, "too many"));
        }
        Ok(Log(RefCell::new(vec![first])))
    }
}

impl Method<Log> for Wait {
    type Value = u32;
    const NAME: &'static str = "Log::wait";
    const EXPLICIT_NAME: Option<&'static str> = None;
    const ASYNCHRONOUS: bool = true;
    fn call(state: Rc<State<Log>>, mut inputs: ReceivedArgs) -> Started<u32> {
        crate::actor::later(async move {
            let n: u32 = inputs.next()?;
            let state = state.read().await;
            state.0.borrow_mut().push(n);
            tokio::time::sleep(Duration::from_millis(5)).await;
            assert!(current_call().is_some());
            Ok(n)
        })
    }
}

impl Method<Log> for Add {
    type Value = Vec<u32>;
    const NAME: &'static str = "Log::add";
    const EXPLICIT_NAME: Option<&'static str> = None;
    const ASYNCHRONOUS: bool = false;
    fn call(state: Rc<State<Log>>, inputs: ReceivedArgs) -> Started<Vec<u32>> {
        crate::actor::shared(state, inputs, |state, mut inputs| {
            state.0.borrow_mut().push(inputs.next()?);
            Ok(state.0.borrow().clone())
        })
    }
}

fn start(first: u32) -> ActorHandle<Log> {
    ActorOptions::<Log, New, (u32,)>::new().remote(first)
}

#[test]
fn actor_calls_start_in_order_up_to_the_limit() {
    with_session(|memory| {
        let runner = runner();
        let log = start(0);
        let waits: Vec<_> = (1..4).map(|n| log.wait.remote(n)).collect();
        let seen = log.add.remote(9);
        let specs = memory.take_submitted();
        for spec in &specs[..4] {
            match runner.start(memory.call(spec)) {
                Some(result) => memory.finish(spec, result),
                None => assert_ne!(spec.id(), specs[0].id()),
            }
        }
        assert_eq!(runner.pending(), 3, "two wait inside, one for its turn");
        assert!(runner.start(memory.call(&specs[4])).is_none(), "synchronous calls do not overtake");
        finish_all(memory, &runner, &specs);
        assert_eq!(get(waits), Ok(vec![1, 2, 3]));
        assert_eq!(get(seen), Ok(vec![0, 1, 2, 3, 9]));
        assert_eq!(runner.pending(), 0);
    });
}

fn finish_all(memory: &Memory, runner: &crate::RustRunner, specs: &[unidist_common::TaskSpec]) {
    while runner.pending() > 0 {
        let mut ended = Vec::new();
        if !runner.turn(&mut ended_into(&mut ended)) {
            std::thread::sleep(Duration::from_millis(1));
        }
        for (id, result) in ended {
            memory.finish(specs.iter().find(|spec| spec.id() == id).unwrap(), result);
        }
    }
}

#[test]
fn missing_actor_is_an_error() {
    with_session(|memory| {
        let runner = runner();
        let log = start(10);
        memory.run(&runner);
        let added = log.add.remote(1);
        memory.run(&runner);
        assert_eq!(get(added).unwrap_err().as_task().unwrap().kind, ErrorKind::ActorDied);

        let log = start(1);
        let waiting = log.wait.remote(1);
        for spec in memory.take_submitted() {
            runner.start(memory.call(&spec));
        }
        assert_eq!(runner.pending(), 1);
        runner.drop_actor(ActorId::of_handle(ActorHandle::id(&log).unwrap()));
        assert_eq!(runner.pending(), 0);
        drop(waiting);
    });
}

#[test]
fn failures_have_distinct_kinds() {
    with_session(|memory| {
        let runner = runner();
        let kinds = [
            get_error(memory, &runner, (|x: i64| 1 / x).remote(0)),
            get_error(memory, &runner, (|x: i64| Err::<i64, _>(x.to_string())).remote(0)),
            get_error(memory, &runner, (|_: i64| Err::<i64, _>(std::fmt::Error)).remote(0)),
            get_error(memory, &runner, (async |_: i64| -> Result<i64, String> { panic!("later") }).remote(0)),
        ];
        use ErrorKind::{Failed, Panicked};
        assert_eq!(kinds.map(|error| error.kind), [Panicked, Failed, Failed, Panicked]);
    });
}

fn get_error<T: crate::Portable + std::fmt::Debug>(
    memory: &Memory,
    runner: &crate::RustRunner,
    result: crate::ObjectRef<T>,
) -> TaskError {
    memory.run(runner);
    get(result).unwrap_err().as_task().unwrap().clone()
}

#[test]
fn call_of_the_wrong_kind_is_an_error() {
    with_session(|memory| {
        let runner = runner();
        drop((|x: i64| x).remote(1));
        let spec = memory.take_submitted().remove(0);
        let call = || memory.call(&spec);
        let kind = |call| runner.start(call).unwrap().unwrap_err().kind;

        let mut unknown = call();
        unknown.function = FunctionKey(7);
        assert_eq!(kind(unknown), ErrorKind::UnknownFunction);
        let mut other_kind = call();
        other_kind.kind = CallKind::NewActor { max_concurrency: None };
        assert_eq!(kind(other_kind), ErrorKind::UnknownFunction);
        let mut no_argument = call();
        no_argument.args.clear();
        assert_eq!(kind(no_argument), ErrorKind::Decode);
        let mut returns = call();
        returns.returns = 3;
        assert_eq!(kind(returns), ErrorKind::Encode);
        let mut missing = call();
        missing.args = vec![unidist_common::Arg::Ref(spec.returns.first)];
        assert_eq!(kind(missing), ErrorKind::Decode);
    });
}

#[test]
fn asynchronous_functions_run_concurrently() {
    async fn later(x: u64) -> u64 {
        let (send, receive) = tokio::sync::oneshot::channel();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(2)).await;
            let _ = send.send(x);
        });
        let local = tokio::task::spawn_local(async { 1 });
        receive.await.unwrap_or(0) + local.await.unwrap_or(0)
    }
    with_session(|memory| {
        let runner = runner();
        let refs = [later.remote(1), later.remote(2)];
        memory.run(&runner);
        assert_eq!(get(refs), Ok(vec![2, 3]));
        assert_eq!(current_call(), None);
    });
}
