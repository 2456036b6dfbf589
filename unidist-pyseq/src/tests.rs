//! The backend over a runner whose functions are closures of the tests.

use crate::queue::Caller;
use crate::resources::Host;
use crate::start;
use crate::state::{State, Step};
use bytes::Bytes;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, LazyLock, Mutex, OnceLock};
use std::thread::ThreadId;
use std::time::Duration;
use unidist_backend::{
    Backend, Call, CallKind, CallResult, CallStatus, LiveKind, Outcome, Program, Progress, TaskRunner, Which,
};
use unidist_common::{
    ActorId, Arg, DataId, Error, ErrorKind, FunctionKey, Object, Payload, ProcessId, Returns, Target,
    TaskError, TaskId, TaskOptions, TaskSpec,
};
use unidist_config::Settings;

type Code = Arc<dyn Fn(&Fake, &Call) -> Option<CallResult> + Send + Sync>;

static CODE: LazyLock<Mutex<HashMap<FunctionKey, Code>>> = LazyLock::new(Mutex::default);
static NEXT: AtomicU64 = AtomicU64::new(1);

/// Runs the code found under a call's key.
struct Fake {
    notify: Arc<dyn Fn() + Send + Sync>,
    ended: Arc<Mutex<Vec<(TaskId, CallResult)>>>,
}

/// An asynchronous call, to be ended by the test.
struct Pending {
    id: TaskId,
    notify: Arc<dyn Fn() + Send + Sync>,
    ended: Arc<Mutex<Vec<(TaskId, CallResult)>>>,
}

impl Pending {
    fn end(self, result: CallResult) {
        self.ended.lock().unwrap().push((self.id, result));
        (self.notify)();
    }
}

/// The actors dropped, with the thread of their session.
static DROPPED: Mutex<Vec<(ThreadId, ActorId)>> = Mutex::new(Vec::new());

/// Calls that wait for the state of their actor, with the thread of their session.
static KEPT_OUT: Mutex<Vec<(ThreadId, TaskId)>> = Mutex::new(Vec::new());

impl TaskRunner for Fake {
    fn start(&self, call: Call) -> Option<CallResult> {
        let code = CODE.lock().unwrap()[&call.function].clone();
        code(self, &call)
    }

    fn turn(&self, report: &mut dyn FnMut(Progress)) -> bool {
        let new = std::mem::take(&mut *self.ended.lock().unwrap());
        let any = !new.is_empty();
        new.into_iter().for_each(|(call, result)| report(Progress::Ended(call, result)));
        any
    }

    fn pending(&self) -> usize {
        0
    }

    fn awaits_actor_state(&self, call: TaskId) -> bool {
        KEPT_OUT.lock().unwrap().contains(&(std::thread::current().id(), call))
    }

    fn drop_actor(&self, actor: ActorId) {
        DROPPED.lock().unwrap().push((std::thread::current().id(), actor));
    }
}

fn define(code: impl Fn(&Fake, &Call) -> Option<CallResult> + Send + Sync + 'static) -> FunctionKey {
    let key = FunctionKey(NEXT.fetch_add(1, Ordering::Relaxed).into());
    CODE.lock().unwrap().insert(key, Arc::new(code));
    key
}

/// An asynchronous function: its calls come out of the receiver.
fn asynchronous() -> (FunctionKey, Receiver<Pending>) {
    let (sender, receiver): (Sender<Pending>, _) = channel();
    let key = define(move |fake, call| {
        let pending = Pending { id: call.id, notify: fake.notify.clone(), ended: fake.ended.clone() };
        sender.send(pending).unwrap();
        None
    });
    (key, receiver)
}

pub(crate) fn settings() -> Settings {
    Settings::resolve_from(|name| match name {
        "UNIDIST_CPUS" => Some("2".into()),
        "UNIDIST_RESOURCES" => Some("gpu=1".into()),
        _ => None,
    })
    .unwrap()
}

/// A call with nothing special about it.
pub(crate) fn task(id: DataId, returns: u32) -> TaskSpec {
    TaskSpec {
        function: FunctionKey(0),
        body: None,
        name: "task".into(),
        target: Target::Pool,
        asynchronous: false,
        args: Vec::new(),
        dependencies: Vec::new(),
        borrowed: Vec::new(),
        returns: Returns { first: id, count: returns },
        options: Arc::new(TaskOptions::default()),
    }
}

fn session() -> Arc<dyn Backend> {
    let program = Program {
        runner: |notify| Box::new(Fake { notify, ended: Arc::default() }),
        build_id: || "test".to_owned(),
    };
    start(&settings(), program).unwrap()
}

/// A call to be made: a ref for each object it depends on.
fn call(backend: &dyn Backend, function: FunctionKey, dependencies: &[DataId]) -> DataId {
    call_with(backend, function, |spec| {
        spec.dependencies = dependencies.to_vec();
        spec.args = dependencies.iter().map(|id| Arg::Ref(*id)).collect();
    })
}

fn call_with(backend: &dyn Backend, function: FunctionKey, change: impl FnOnce(&mut TaskSpec)) -> DataId {
    let mut spec = task(backend.reserve(1), 1);
    spec.function = function;
    change(&mut spec);
    let id = spec.returns.first;
    backend.submit(spec);
    id
}

fn text(text: &str) -> Object {
    Payload::inline(text.to_owned()).into()
}

fn done(value: &str) -> Option<CallResult> {
    Some(Ok(vec![text(value)]))
}

fn value(outcome: &Outcome) -> &str {
    std::str::from_utf8(&outcome.as_ref().unwrap().header).unwrap()
}

fn get(backend: &dyn Backend, id: DataId) -> Outcome {
    backend.get(&[id]).unwrap().remove(0)
}

fn failure(backend: &dyn Backend, id: DataId) -> TaskError {
    get(backend, id).unwrap_err()
}

fn no_objects(backend: &dyn Backend, ids: &[DataId]) {
    ids.iter().for_each(|id| backend.release(*id));
    let last = call(backend, define(|_, _| done("")), &[]); // after all that was ready
    backend.release(last);
    assert_eq!(backend.live_objects().unwrap(), 0);
}

/// Joins the values of its dependencies.
fn join() -> FunctionKey {
    define(|_, call| {
        let parts = call.objects.iter().map(|(_, payload)| payload.header.to_vec());
        Some(Ok(vec![Payload::inline(Bytes::from(parts.collect::<Vec<_>>().concat())).into()]))
    })
}

#[test]
fn submit_returns_after_the_call_has_run() {
    let backend = session();
    let ran = Arc::new(Mutex::new(Vec::new()));
    let log = ran.clone();
    let function = define(move |_, call| {
        log.lock().unwrap().push((call.id.first_return(), std::thread::current().id()));
        done("x")
    });
    let ids = [(); 3].map(|()| call(&*backend, function, &[]));
    let order = ran.lock().unwrap().clone();
    assert_eq!(order.iter().map(|(id, _)| *id).collect::<Vec<_>>(), ids);
    assert!(order.iter().all(|(_, thread)| *thread == order[0].1 && *thread != std::thread::current().id()));
    no_objects(&*backend, &ids);
}

/// A session's state with one ready call.
fn state_with_a_call() -> (State, DataId, TaskId) {
    let mut state = State::new(Host::new(&settings()));
    let id = DataId::new(ProcessId::CONTROLLER, 1);
    let spec = task(id, 1);
    let call = spec.id();
    state.submit(spec, Caller::Thread(std::thread::current().id())).run();
    (state, id, call)
}

/// The submitter waits until the call has run. It may look between the moments at which the sequential thread takes the
/// call and starts its code.
#[test]
fn taken_call_is_running() {
    let (mut state, id, call) = state_with_a_call();
    assert!(state.is_about_to_run(call));
    let Some(Step::Run(spec)) = state.next(None) else { panic!("no call is ready") };
    assert!(state.is_about_to_run(call));
    assert!(matches!(state.status(id), CallStatus::Running(_)));
    assert_eq!(state.cancellable(id, Which::Unstarted), None);
    assert!(state.begin(spec).is_ok() && state.is_about_to_run(call));
    state.returned(call, Some(Ok(vec![text("x")]))).run();
    assert!(!state.is_about_to_run(call));

    let (mut state, _, call) = state_with_a_call();
    assert!(state.take_if_ready(call).is_some() && state.is_about_to_run(call));
}

#[test]
fn taken_call_that_is_cancelled_does_not_start() {
    let (mut state, id, call) = state_with_a_call();
    let Some(Step::Run(spec)) = state.next(None) else { panic!("no call is ready") };
    state.end_early(call, TaskError::new(ErrorKind::Cancelled, "")).run();
    let error = state.begin(spec).err().unwrap();
    state.not_started(call, error).run();
    assert_eq!(state.outcome(id).unwrap_err().kind, ErrorKind::Cancelled);
    assert!(state.why_cancelled(call).is_none() && state.stack.is_empty());
    state.release(id).run();
    assert_eq!(state.live_count(), 0);
}

#[test]
fn live_objects_and_calls_are_listed() {
    let (mut state, first, _) = state_with_a_call();
    let put = DataId::new(ProcessId::CONTROLLER, 2);
    state.put(put, text("x"));
    let silent = task(DataId::new(ProcessId::CONTROLLER, 3), 0);
    state.submit(silent, Caller::Thread(std::thread::current().id())).run();
    let live = state.live(10);
    let kinds: Vec<_> = live.iter().map(|live| (live.kind, &*live.name)).collect();
    assert_eq!(kinds, [(LiveKind::Call, "task"), (LiveKind::Object, ""), (LiveKind::Call, "task")]);
    assert_eq!(state.live(1), live[..1]);
    let Some(Step::Run(spec)) = state.next(None) else { panic!("no call is ready") };
    state.begin(spec).unwrap();
    state.returned(TaskId::of_first_return(first), Some(Ok(vec![text("x")]))).run();
    assert_eq!((state.live(1)[0].kind, &*state.live(1)[0].name), (LiveKind::Object, "task"));
}

#[test]
fn values_are_passed_on_and_freed() {
    let backend = session();
    let a = backend.put(text("a")).unwrap();
    let b = call(&*backend, join(), &[a, a]);
    backend.release(a);
    assert_eq!(value(&get(&*backend, b)), "a"); // one value, however often it is named
    no_objects(&*backend, &[b]);
    assert_eq!(failure(&*backend, b).kind, ErrorKind::ObjectLost);
}

#[test]
fn nested_calls_run_on_the_stack() {
    let backend = session();
    let own: Arc<OnceLock<Arc<dyn Backend>>> = Arc::default();
    own.set(backend.clone()).ok().unwrap();
    let key = Arc::new(OnceLock::new());
    let (inner, inner_key) = (own.clone(), key.clone());
    // Counts down, a call in each call.
    let function = define(move |_, call| {
        let depth: u32 = String::from_utf8(call.body.clone().unwrap().to_vec()).unwrap().parse().unwrap();
        if depth == 0 {
            return done("0");
        }
        let backend = &**inner.get().unwrap();
        let body = Bytes::from((depth - 1).to_string());
        let id = call_with(backend, *inner_key.get().unwrap(), |spec| spec.body = Some(body));
        let below = get(backend, id);
        backend.release(id);
        done(&format!("{} {}", depth, value(&below)))
    });
    key.set(function).unwrap();
    let id = call_with(&*backend, function, |spec| spec.body = Some("200".into()));
    assert!(value(&get(&*backend, id)).starts_with("200 199 198"));
    no_objects(&*backend, &[id]);
}

#[test]
fn endless_recursion_is_an_error() {
    let backend = session();
    let (own, key) = (backend.clone(), Arc::new(OnceLock::new()));
    let inner_key = key.clone();
    let function = define(move |_, _| {
        let id = call(&*own, *inner_key.get().unwrap(), &[]);
        let outcome = get(&*own, id);
        own.release(id);
        Some(outcome.map(|payload| vec![payload.into()]))
    });
    key.set(function).unwrap();
    let id = call(&*backend, function, &[]);
    let error = failure(&*backend, id);
    assert!(error.message.contains("nested too deeply"), "{error}");
    no_objects(&*backend, &[id]);
}

#[test]
fn asynchronous_call_ends_when_its_future_does() {
    let backend = session();
    let (later, calls) = asynchronous();
    let first = call(&*backend, later, &[]);
    let second = call(&*backend, join(), &[first]);
    let ids = [first, second];
    assert_eq!(backend.wait(&ids, 1, Some(Duration::ZERO)).unwrap(), [0_usize; 0]);
    let pending = calls.recv().unwrap();
    let thread = std::thread::spawn(move || pending.end(Ok(vec![text("late")])));
    assert_eq!(value(&get(&*backend, second)), "late");
    assert_eq!(backend.wait(&ids, 1, None).unwrap(), [0, 1]);
    thread.join().unwrap();
    no_objects(&*backend, &ids);
}

#[test]
fn blocked_call_does_not_block_the_program() {
    let backend = session();
    let (later, calls) = asynchronous();
    let awaited = call(&*backend, later, &[]);
    let pending = Mutex::new(Some(calls.recv().unwrap()));
    let own = backend.clone();
    let blocked = define(move |_, _| Some(get(&*own, awaited).map(|payload| vec![payload.into()])));
    let waiting = [(); 3].map(|()| call(&*backend, blocked, &[])); // one on top of the other
    let release = define(move |_, _| {
        pending.lock().unwrap().take().unwrap().end(Ok(vec![text("signal")]));
        done("sent")
    });
    let sent = call(&*backend, release, &[]);
    assert_eq!(value(&get(&*backend, sent)), "sent");
    for outcome in backend.get(&waiting).unwrap() {
        assert_eq!(value(&outcome), "signal");
    }
    no_objects(&*backend, &[waiting.as_slice(), &[sent, awaited]].concat());
}

#[test]
fn failure_reaches_dependent_calls() {
    let backend = session();
    let fails = define(|_, _| Some(Err(TaskError::new(ErrorKind::Failed, "no"))));
    let first = call(&*backend, fails, &[]);
    let second = call_with(&*backend, join(), |spec| {
        spec.name = "second".into();
        spec.dependencies = vec![first];
    });
    let error = failure(&*backend, second);
    assert_eq!((error.kind, &*error.function), (ErrorKind::DependencyFailed, "second"));
    assert_eq!((error.root_cause().kind, &*error.root_cause().worker), (ErrorKind::Failed, "controller"));
    assert_eq!(backend.wait(&[first, second], 2, None).unwrap(), [0, 1]);
    no_objects(&*backend, &[first, second]);
}

#[test]
fn runner_panic_fails_only_its_call() {
    let backend = session();
    let id = call(&*backend, define(|_, _| panic!("oh")), &[]);
    let error = failure(&*backend, id);
    assert_eq!((error.kind, &*error.message), (ErrorKind::Panicked, "oh"));
    let fine = call(&*backend, define(|_, _| done("fine")), &[]);
    assert_eq!(value(&get(&*backend, fine)), "fine");
    no_objects(&*backend, &[id, fine]);
}

#[test]
fn wait_for_own_result_is_a_deadlock() {
    let backend = session();
    let own = backend.clone();
    let function = define(move |_, call| match own.get(&[call.id.first_return()]) {
        Err(error) => Some(Err(error.into())),
        Ok(_) => done("?"),
    });
    let id = call_with(&*backend, function, |spec| spec.name = "selfish".into());
    let error = failure(&*backend, id);
    assert_eq!((error.kind, &*error.function), (ErrorKind::Deadlock, "selfish"));
    assert!(error.message.contains(&id.to_string()), "{error}");
    no_objects(&*backend, &[id]);
}

#[test]
fn wait_for_own_successor_is_a_deadlock() {
    let backend = session();
    let own = backend.clone();
    let function = define(move |_, running| {
        let effects = call(&*own, join(), &[running.id.first_return()]);
        let two = [call(&*own, join(), &[effects]), call(&*own, join(), &[effects])];
        assert!(own.get(&two).is_err() && own.wait(&two, 1, None).is_err());
        two.iter().for_each(|id| own.release(*id));
        let error = own.wait(&[effects], 1, None).unwrap_err();
        // With a time-out it is none.
        assert_eq!(own.wait(&[effects], 1, Some(Duration::from_millis(1))).unwrap(), [0_usize; 0]);
        own.release(effects);
        Some(Err(error.into()))
    });
    let id = call(&*backend, function, &[]);
    assert_eq!(failure(&*backend, id).kind, ErrorKind::Deadlock);
    no_objects(&*backend, &[id]);
}

#[test]
fn wait_for_state_of_own_actor_is_a_deadlock() {
    let backend = session();
    let new = define(|_, _| Some(Ok(vec![Object::default()])));
    let actor = call_with(&*backend, new, |spec| spec.target = Target::NewActor);
    let inner = define(|_, call| {
        KEPT_OUT.lock().unwrap().push((std::thread::current().id(), call.id));
        None // it will go on when the state is free
    });
    let own = backend.clone();
    let outer = define(move |_, _| {
        let id = call_with(&*own, inner, |spec| spec.target = Target::Actor(ActorId::of_handle(actor)));
        let error = own.get(&[id]).unwrap_err();
        own.release(id);
        Some(Err(error.into()))
    });
    let id = call_with(&*backend, outer, |spec| {
        spec.target = Target::Actor(ActorId::of_handle(actor));
        spec.name = "outer".into();
    });
    let error = failure(&*backend, id);
    assert_eq!(error.kind, ErrorKind::Deadlock);
    assert!(error.message.contains("`outer`"), "{error}");
    backend.shutdown().unwrap();
}

#[test]
fn actor_lives_until_its_last_call_has_ended() {
    let backend = session();
    let thread = Arc::new(OnceLock::new());
    let constructor_thread = thread.clone();
    let new = define(move |_, call| {
        assert_eq!(call.kind, CallKind::NewActor { max_concurrency: None });
        constructor_thread.set(std::thread::current().id()).unwrap();
        Some(Ok(vec![Object::default()]))
    });
    let actor = call_with(&*backend, new, |spec| spec.target = Target::NewActor);
    let (later, calls) = asynchronous();
    let method = call_with(&*backend, later, |spec| spec.target = Target::Actor(ActorId::of_handle(actor)));
    backend.release(actor);
    assert_eq!(backend.live_objects().unwrap(), 2);
    let times_dropped = || {
        let this = (*thread.get().unwrap(), ActorId::of_handle(actor));
        DROPPED.lock().unwrap().iter().filter(|dropped| **dropped == this).count()
    };
    assert_eq!(times_dropped(), 0);
    calls.recv().unwrap().end(Ok(vec![text("done")]));
    assert_eq!(value(&get(&*backend, method)), "done");
    backend.release(method);
    backend.shutdown().unwrap();
    assert_eq!(times_dropped(), 1);
}

#[test]
fn failed_constructor_fails_every_call() {
    let backend = session();
    let new = define(|_, _| Some(Err(TaskError::new(ErrorKind::Failed, "no such file"))));
    let actor = call_with(&*backend, new, |spec| spec.target = Target::NewActor);
    for _ in 0..2 {
        let method =
            call_with(&*backend, join(), |spec| spec.target = Target::Actor(ActorId::of_handle(actor)));
        let error = failure(&*backend, method);
        assert_eq!((error.kind, &*error.root_cause().message), (ErrorKind::ActorDied, "no such file"));
        backend.release(method);
    }
    backend.release(actor);
    backend.shutdown().unwrap();
}

#[test]
fn actor_calls_keep_their_order() {
    let backend = session();
    let (later, calls) = asynchronous();
    let actor = call_with(&*backend, later, |spec| spec.target = Target::NewActor);
    let constructor = calls.recv().unwrap();
    let argument = call(&*backend, later, &[]);
    let ran = Arc::new(Mutex::new(Vec::new()));
    let log = ran.clone();
    let method = define(move |_, call| {
        log.lock().unwrap().push(call.id.first_return());
        done("ok")
    });
    let on_actor = |dependencies: &[DataId]| {
        call_with(&*backend, method, |spec| {
            spec.target = Target::Actor(ActorId::of_handle(actor));
            spec.dependencies = dependencies.to_vec();
        })
    };
    let ids = [on_actor(&[]), on_actor(&[argument]), on_actor(&[])];
    constructor.end(Ok(vec![Object::default()]));
    get(&*backend, ids[0]).unwrap();
    assert_eq!(*ran.lock().unwrap(), ids[..1]);
    calls.recv().unwrap().end(Ok(vec![text("argument")]));
    backend.get(&ids).unwrap();
    assert_eq!(*ran.lock().unwrap(), ids);
    ids.iter().for_each(|id| backend.release(*id));
    backend.release(argument);
    backend.release(actor);
    backend.shutdown().unwrap();
}

#[test]
fn references_inside_a_result_are_retained() {
    let backend = session();
    let own = backend.clone();
    let made = Arc::new(Mutex::new(Vec::new()));
    let kept = made.clone();
    let function = define(move |_, _| {
        let inner = own.put(text("inner")).unwrap();
        kept.lock().unwrap().push(inner);
        Some(Ok(vec![Object { payload: Payload::inline("outer"), borrowed: vec![inner] }]))
    });
    let release_made = || made.lock().unwrap().drain(..).for_each(|inner| backend.release(inner));
    let id = call(&*backend, function, &[]);
    release_made();
    assert_eq!(backend.live_objects().unwrap(), 2, "the outer object holds the inner one");
    no_objects(&*backend, &[id]);
    // Also if the result is not needed.
    call_with(&*backend, function, |spec| spec.returns.count = 0);
    release_made();
    assert_eq!(backend.live_objects().unwrap(), 0);
}

#[test]
fn unsatisfiable_resources_fail_at_once() {
    let backend = session();
    let id = call_with(&*backend, FunctionKey(0), |spec| {
        spec.options = Arc::new(TaskOptions { num_cpus: Some(64.0), ..TaskOptions::default() });
    });
    let error = failure(&*backend, id);
    assert_eq!((error.kind, &*error.function), (ErrorKind::Unsatisfiable, "task"));
    assert!(error.message.contains("CPU"), "{error}");
    no_objects(&*backend, &[id]);
}

#[test]
fn on_ready_is_called_once_with_no_lock_held() {
    let backend = session();
    let (later, calls) = asynchronous();
    let id = call(&*backend, later, &[]);
    let (sender, outcomes) = channel();
    for _ in 0..2 {
        let (sender, own) = (sender.clone(), backend.clone());
        backend.retain(id);
        backend.on_ready(
            id,
            Box::new(move |outcome| {
                own.release(id);
                sender.send(value(&outcome).to_owned()).unwrap();
            }),
        );
    }
    assert!(outcomes.try_recv().is_err());
    calls.recv().unwrap().end(Ok(vec![text("x")]));
    assert_eq!((outcomes.recv().unwrap(), outcomes.recv().unwrap()), ("x".into(), "x".into()));
    backend.on_ready(id, Box::new(move |outcome| sender.send(value(&outcome).to_owned()).unwrap()));
    assert_eq!(outcomes.recv().unwrap(), "x");
    assert!(outcomes.recv().is_err());
    no_objects(&*backend, &[id]);
}

#[test]
fn shutdown_fails_unfinished_calls() {
    let backend = session();
    let (later, calls) = asynchronous();
    let id = call(&*backend, later, &[]);
    let waits = call(&*backend, join(), &[id]);
    let (sender, outcomes) = channel();
    backend.on_ready(waits, Box::new(move |outcome| sender.send(outcome).unwrap()));
    let other = backend.clone();
    let blocked = std::thread::spawn(move || other.get(&[waits]));
    backend.shutdown().unwrap();
    assert_eq!(outcomes.recv().unwrap().unwrap_err().kind, ErrorKind::SessionEnded);
    match blocked.join().unwrap() {
        Ok(outcomes) => assert_eq!(outcomes[0].as_ref().unwrap_err().kind, ErrorKind::SessionEnded),
        Err(error) => assert!(matches!(error, Error::SessionEnded { .. })),
    }
    calls.recv().unwrap().end(Ok(vec![text("too late")]));
    for result in
        [backend.get(&[id]).map(drop), backend.put(text("x")).map(drop), backend.cluster().map(drop)]
    {
        assert!(matches!(result, Err(Error::SessionEnded { .. })));
    }
    call(&*backend, later, &[]);
    backend.release(id);
    backend.shutdown().unwrap();
}

#[test]
fn call_can_end_the_session() {
    let backend = session();
    let own = backend.clone();
    let id = call(
        &*backend,
        define(move |_, _| {
            own.shutdown().unwrap();
            done("last")
        }),
        &[],
    );
    backend.shutdown().unwrap();
    assert!(backend.get(&[id]).is_err());
}

#[test]
fn cluster_and_memory_are_reported() {
    let backend = session();
    let cluster = backend.cluster().unwrap();
    let host = &cluster.hosts[&cluster.local_ip];
    assert_eq!((host["CPU"], host["gpu"]), (2.0, 1.0));
    let mut buffer = backend.allocate(100).unwrap();
    buffer.fill(1);
    assert_eq!(buffer.freeze().len(), 100);
    assert!(matches!(backend.allocate(usize::MAX), Err(Error::StoreFull { .. })));
    backend.shutdown().unwrap();
}
