//! Actors with asynchronous methods.

use crate::case::{Case, Result, cases};
use crate::program::assert_all_freed;
use crate::support::{Counter, Refusal, Signal, blocked_on, failure, kind, square};
use std::cell::{Cell, RefCell};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use unidist::prelude::*;
use unidist::{Error, ErrorKind};

pub(super) const CASES: &[Case] = cases!["async_actors":
    constructors_with_and_without_arguments, chained_calls, refs_as_arguments, several_returns, pending_get,
    many_calls_in_flight, tasks_block_on_one_actor, more_waiters_than_workers, max_concurrency_is_a_limit,
    concurrency_of_one_keeps_order, calls_start_in_order, exclusive_methods_are_exclusive,
    sync_and_async_methods_mix, tokio_timers, tokio_channels, tokio_spawn, spawn_local_and_unsend_state,
    refs_can_be_awaited, failed_ref_can_be_awaited, actors_await_each_other, method_awaits_its_own_actor,
    handles_go_everywhere, panic_fails_one_call, error_fails_one_call, constructor_error_fails_calls,
    actor_ends_with_its_last_handle, pending_calls_keep_the_actor, await_in_the_program,
    timeout_on_a_pending_call, statements_after_the_wait, many_signals, tasks_run_while_calls_wait,
    blocking_on_itself_after_an_await_is_an_error, pending_calls_end_with_the_session.bare(),
];

struct Echo {
    prefix: String,
}

#[remote]
impl Echo {
    #[new]
    fn new(prefix: String) -> Self {
        Echo { prefix }
    }

    async fn say(&self, text: String) -> String {
        tokio::task::yield_now().await;
        format!("{}{text}", self.prefix)
    }

    #[remote(num_returns = 2)]
    async fn both(&self, text: String) -> (String, usize) {
        let length = text.len();
        (self.say(text).await, length)
    }

    async fn rename(&mut self, prefix: String) {
        tokio::task::yield_now().await;
        self.prefix = prefix;
    }

    async fn panics(&self) {
        tokio::task::yield_now().await;
        panic!("a later panic");
    }

    async fn refuses(&self, with: i64) -> std::result::Result<i64, Refusal> {
        tokio::task::yield_now().await;
        Err(Refusal { with })
    }
}

fn echo() -> ActorHandle<Echo> {
    Echo::remote(">".to_owned())
}

/// Constructors with and without arguments.
fn constructors_with_and_without_arguments() -> Result {
    let signal = Signal::remote();
    get(signal.open.remote())?;
    get(signal.wait.remote())?;
    assert_eq!(get(echo().say.remote("hi".to_owned()))?, ">hi");
    Ok(())
}

/// The result of one method is the argument of another.
fn chained_calls() -> Result {
    let echo = echo();
    assert_eq!(get(echo.say.remote(echo.say.remote("x".to_owned())))?, ">>x");
    Ok(())
}

/// Methods take refs of puts and tasks.
fn refs_as_arguments() -> Result {
    let text = |n: i64| n.to_string();
    assert_eq!(get(echo().say.remote(text.remote(square.remote(3))))?, ">9");
    Ok(())
}

/// Several returns.
fn several_returns() -> Result {
    let (text, length) = echo().both.remote("four".to_owned());
    assert_eq!(get((text, length))?, (">four".to_owned(), 4));
    Ok(())
}

/// A call that waits is pending until the other comes.
fn pending_get() -> Result {
    let signal = Signal::remote();
    let pending = signal.wait.remote();
    assert!(wait(&pending, 1, Some(Duration::from_millis(1)))?.ready.is_empty());
    get(signal.open.remote())?;
    get(pending)
}

/// An async actor may have many calls in flight.
fn many_calls_in_flight() -> Result {
    let signal = Signal::remote();
    let pending: Vec<_> = (0..500).map(|_| signal.wait.remote()).collect();
    get(signal.waiting.remote(500_usize))?;
    get(signal.open.remote())?;
    get(pending).map(drop)
}

/// N tasks may block on one actor.
fn tasks_block_on_one_actor() -> Result {
    let signal = Signal::remote();
    let tasks = [blocked_on.remote(&signal), blocked_on.remote(&signal)];
    get(signal.waiting.remote(2_usize))?;
    get(signal.open.remote())?;
    get(tasks).map(drop)
}

/// Also more of them than there are workers.
fn more_waiters_than_workers() -> Result {
    let signal = Signal::remote();
    let tasks: Vec<_> = (0..12).map(|_| blocked_on.remote(&signal)).collect();
    get(signal.waiting.remote(12_usize))?;
    get(signal.open.remote())?;
    assert_eq!(get(tasks)?.len(), 12);
    Ok(())
}

/// Counts the calls that run at the same time.
struct Crowd {
    within: Cell<u32>,
    most: Cell<u32>,
}

#[remote]
impl Crowd {
    #[new]
    fn new() -> Self {
        Crowd { within: Cell::new(0), most: Cell::new(0) }
    }

    async fn enter(&self, gate: ActorHandle<Signal>) -> unidist::Result<()> {
        self.within.set(self.within.get() + 1);
        self.most.set(self.most.get().max(self.within.get()));
        gate.wait.remote().await?;
        self.within.set(self.within.get() - 1);
        Ok(())
    }

    fn most(&self) -> u32 {
        self.most.get()
    }
}

/// `max_concurrency` bounds the calls in flight.
fn max_concurrency_is_a_limit() -> Result {
    let crowd = Crowd::options().max_concurrency(3).remote();
    let gate = Signal::remote();
    let calls: Vec<_> = (0..20).map(|_| crowd.enter.remote(&gate)).collect();
    get(gate.waiting.remote(3_usize))?;
    get(gate.open.remote())?;
    get(calls)?;
    assert_eq!(get(crowd.most.remote())?, 3);
    Ok(())
}

#[remote(max_concurrency = 1)]
impl Single {
    #[new]
    fn new() -> Self {
        Single(RefCell::default())
    }

    async fn log(&self, n: u32) {
        self.0.borrow_mut().push(n);
        tokio::task::yield_now().await;
        self.0.borrow_mut().push(n);
    }

    fn logged(&self) -> Vec<u32> {
        self.0.borrow().clone()
    }
}

struct Single(RefCell<Vec<u32>>);

/// With one at a time, calls run one after the other, in order.
fn concurrency_of_one_keeps_order() -> Result {
    let single = Single::remote();
    get((0..10).map(|n| single.log.remote(n)).collect::<Vec<_>>())?;
    assert_eq!(get(single.logged.remote())?, (0..10).flat_map(|n| [n, n]).collect::<Vec<_>>());
    Ok(())
}

struct Queue {
    order: RefCell<Vec<u32>>,
    sender: mpsc::UnboundedSender<u32>,
    receiver: tokio::sync::Mutex<mpsc::UnboundedReceiver<u32>>,
}

#[remote]
impl Queue {
    #[new]
    fn new() -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        Queue { order: RefCell::default(), sender, receiver: receiver.into() }
    }

    async fn started(&self, n: u32) {
        self.order.borrow_mut().push(n);
        tokio::task::yield_now().await;
    }

    async fn push(&self, n: u32) {
        let _ = self.sender.send(n);
    }

    async fn pop(&self) -> Option<u32> {
        self.receiver.lock().await.recv().await
    }

    fn order(&self) -> Vec<u32> {
        self.order.borrow().clone()
    }
}

/// Method calls from one caller start in the order they were made.
fn calls_start_in_order() -> Result {
    let queue = Queue::remote();
    get((0..100).map(|n| queue.started.remote(n)).collect::<Vec<_>>())?;
    assert_eq!(get(queue.order.remote())?, (0..100).collect::<Vec<_>>());
    Ok(())
}

/// `&self` async methods overlap, `&mut self` is exclusive.
fn exclusive_methods_are_exclusive() -> Result {
    struct Exclusive {
        is_within: bool,
    }
    #[remote]
    impl Exclusive {
        #[new]
        fn new() -> Self {
            Exclusive { is_within: false }
        }
        async fn enter(&mut self) -> bool {
            let was_free = !std::mem::replace(&mut self.is_within, true);
            tokio::task::yield_now().await;
            self.is_within = false;
            was_free
        }
    }
    let exclusive = Exclusive::remote();
    assert_eq!(get((0..20).map(|_| exclusive.enter.remote()).collect::<Vec<_>>())?, vec![true; 20]);
    Ok(())
}

/// Sync and async methods of one actor, in order where they exclude each other.
fn sync_and_async_methods_mix() -> Result {
    let echo = echo();
    let before = echo.say.remote("a".to_owned());
    let renamed = echo.rename.remote("<".to_owned());
    let after = echo.say.remote("b".to_owned());
    assert_eq!(get((before, renamed, after))?, (">a".to_owned(), (), "<b".to_owned()));
    Ok(())
}

struct Tokio {
    count: watch::Sender<u32>,
}

#[remote]
impl Tokio {
    #[new]
    fn new() -> Self {
        Tokio { count: watch::Sender::new(0) }
    }

    async fn sleep(&self, millis: u64) -> u64 {
        tokio::time::sleep(Duration::from_millis(millis)).await;
        millis
    }

    async fn timed_out(&self) -> bool {
        tokio::time::timeout(Duration::from_millis(1), std::future::pending::<()>()).await.is_err()
    }

    async fn ticks(&self, count: u32) -> u32 {
        let mut interval = tokio::time::interval(Duration::from_millis(1));
        for _ in 0..count {
            interval.tick().await;
        }
        count
    }

    async fn spawned(&self, n: u32) -> u32 {
        let (sender, receiver) = oneshot::channel();
        let count = self.count.clone();
        let task = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(1)).await;
            count.send_modify(|count| *count += n);
            sender.send(n).unwrap();
        });
        task.await.unwrap();
        receiver.await.unwrap()
    }

    async fn counted(&self, at_least: u32) -> u32 {
        *self.count.subscribe().wait_for(|count| *count >= at_least).await.unwrap()
    }

    async fn blocking(&self) -> u32 {
        tokio::task::spawn_blocking(|| 7).await.unwrap()
    }

    async fn local(&self, n: u32) -> u32 {
        let shared = std::rc::Rc::new(Cell::new(0));
        let inner = shared.clone();
        let task = tokio::task::spawn_local(async move {
            for _ in 0..n {
                tokio::task::yield_now().await;
                inner.set(inner.get() + 1);
            }
        });
        task.await.unwrap();
        shared.get()
    }
}

/// tokio's timers.
fn tokio_timers() -> Result {
    let tokio = Tokio::remote();
    let sleeps = [tokio.sleep.remote(5_u64), tokio.sleep.remote(1_u64), tokio.sleep.remote(0_u64)];
    assert_eq!(get(sleeps)?, [5, 1, 0]);
    assert_eq!(get((tokio.timed_out.remote(), tokio.ticks.remote(3_u32)))?, (true, 3));
    Ok(())
}

/// tokio's channels, between the calls of one actor.
fn tokio_channels() -> Result {
    let queue = Queue::remote();
    let popped = [queue.pop.remote(), queue.pop.remote()];
    get([queue.push.remote(1_u32), queue.push.remote(2_u32)])?;
    assert_eq!(get(popped)?, [Some(1), Some(2)]);
    Ok(())
}

/// Tasks that a method spawns run at the same time as other calls.
fn tokio_spawn() -> Result {
    let tokio = Tokio::remote();
    let counted = tokio.counted.remote(6_u32);
    assert_eq!(get([1, 2, 3].map(|n| tokio.spawned.remote(n)))?, [1, 2, 3]);
    assert_eq!(get(counted)?, 6);
    assert_eq!(get(tokio.blocking.remote())?, 7);
    Ok(())
}

/// State and futures need be neither `Send` nor `Sync`.
fn spawn_local_and_unsend_state() -> Result {
    assert_eq!(get(Tokio::remote().local.remote(5_u32))?, 5);
    Ok(())
}

struct Awaiter;

#[remote]
impl Awaiter {
    #[new]
    fn new() -> Self {
        Awaiter
    }

    async fn value(&self, of: ObjectRef<i64>) -> unidist::Result<i64> {
        of.await
    }

    async fn sum(&self, of: Vec<ObjectRef<i64>>) -> unidist::Result<i64> {
        let mut sum = 0;
        for one in &of {
            sum += one.await?;
        }
        Ok(sum + square.remote(sum).await?)
    }

    async fn via(&self, other: ActorHandle<Awaiter>, of: ObjectRef<i64>) -> unidist::Result<i64> {
        Ok(other.value.remote(put(of)?.await?).await? + 1)
    }

    async fn after(
        &self,
        signal: ActorHandle<Signal>,
        counter: ActorHandle<Counter>,
    ) -> unidist::Result<i64> {
        signal.wait.remote().await?;
        counter.add.remote(1).await
    }
}

/// `ObjectRef<T>: Future`: `.await` works, on refs given and made.
fn refs_can_be_awaited() -> Result {
    let awaiter = Awaiter::remote();
    assert_eq!(get(awaiter.value.remote(put(5)?))?, 5);
    assert_eq!(get(awaiter.sum.remote(vec![put(1)?, square.remote(2)]))?, 30);
    Ok(())
}

/// A failure comes out of `.await` as it does out of `get`.
fn failed_ref_can_be_awaited() -> Result {
    let refused = crate::support::refuse.remote(4);
    let error = get(Awaiter::remote().value.remote(refused)).unwrap_err();
    assert_eq!(error.downcast::<Refusal>(), Some(Refusal { with: 4 }), "{error:?}");
    Ok(())
}

/// Actors may wait for each other's results.
fn actors_await_each_other() -> Result {
    let (a, b) = (Awaiter::remote(), Awaiter::remote());
    assert_eq!(get([a.via.remote(&b, put(1)?), b.via.remote(&a, square.remote(3))])?, [2, 10]);
    Ok(())
}

/// A method may wait for another method of its own actor.
fn method_awaits_its_own_actor() -> Result {
    let awaiter = Awaiter::remote();
    assert_eq!(get(awaiter.via.remote(&awaiter, put(1)?))?, 2);
    Ok(())
}

/// Handles can be captured, sent to tasks and to other actors, also while calls are pending.
fn handles_go_everywhere() -> Result {
    let (signal, counter) = (Signal::remote(), Counter::remote(0));
    let awaiters = [Awaiter::remote(), Awaiter::remote()];
    let added = awaiters.each_ref().map(|awaiter| awaiter.after.remote(&signal, &counter));
    let open = closure!([signal] || get(signal.open.remote()).unwrap());
    get(signal.waiting.remote(2_usize))?;
    get(open.remote())?;
    let mut added = get(added)?;
    added.sort_unstable();
    assert_eq!(added, [1, 2]);
    Ok(())
}

/// A panic fails its call; other calls in flight continue.
fn panic_fails_one_call() -> Result {
    let echo = echo();
    let others = [echo.say.remote("a".to_owned()), echo.say.remote("b".to_owned())];
    let error = get(echo.panics.remote()).unwrap_err();
    assert_eq!(kind(&error), ErrorKind::Panicked);
    assert!(error.to_string().contains("a later panic"), "{error}");
    assert_eq!(get(others)?, [">a", ">b"]);
    assert_eq!(get(echo.say.remote("c".to_owned()))?, ">c");
    Ok(())
}

/// An error is the failure of its call.
fn error_fails_one_call() -> Result {
    let echo = echo();
    let error = get(echo.refuses.remote(3)).unwrap_err();
    assert_eq!(error.downcast::<Refusal>(), Some(Refusal { with: 3 }));
    assert_eq!(get(echo.say.remote("c".to_owned()))?, ">c");
    Ok(())
}

/// A constructor's error fails every call on the handle.
fn constructor_error_fails_calls() -> Result {
    let echo = Echo::remote((|| -> String { panic!("no prefix") }).remote());
    assert_eq!(failure(echo.say.remote("x".to_owned())), ErrorKind::ActorDied);
    Ok(())
}

/// When the last handle drops, the actor ends.
fn actor_ends_with_its_last_handle() -> Result {
    let echo = echo();
    get(echo.say.remote("x".to_owned()))?;
    drop(echo);
    assert_all_freed();
    Ok(())
}

/// The actor does not end before the calls made on it have ended.
fn pending_calls_keep_the_actor() -> Result {
    let (signal, counter, awaiter) = (Signal::remote(), Counter::remote(0), Awaiter::remote());
    let added = awaiter.after.remote(&signal, &counter);
    drop((awaiter, counter));
    get(signal.waiting.remote(1_usize))?;
    get(signal.open.remote())?;
    assert_eq!(get(added)?, 1);
    Ok(())
}

/// `.await` works in the program too, on any executor.
fn await_in_the_program() -> Result {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let signal = Signal::remote();
        let pending = signal.wait.remote();
        signal.open.remote().await?;
        pending.await?;
        let (a, b) = tokio::join!(square.remote(2).into_future(), square.remote(3).into_future());
        assert_eq!((a?, b?), (4, 9));
        let refused = crate::support::refuse.remote(1).await.unwrap_err();
        assert!(matches!(refused, Error::Task(_)));
        Ok(())
    })
}

/// Waiting for a pending call can be given up: `wait` with a time-out.
fn timeout_on_a_pending_call() -> Result {
    let signal = Signal::remote();
    let pending = [signal.wait.remote(), signal.wait.remote()];
    assert_eq!(wait(&pending, 2, Some(Duration::from_millis(5)))?.pending.len(), 2);
    get(signal.open.remote())?;
    get(pending).map(drop)
}

/// Statements after a wait see changes made meanwhile.
fn statements_after_the_wait() -> Result {
    let (signal, counter, awaiter) = (Signal::remote(), Counter::remote(0), Awaiter::remote());
    let added = awaiter.after.remote(&signal, &counter);
    get(signal.waiting.remote(1_usize))?;
    get(counter.add.remote(10))?;
    get(signal.open.remote())?;
    assert_eq!(get(added)?, 11);
    Ok(())
}

/// Many actors with pending calls each.
fn many_signals() -> Result {
    let signals: Vec<_> = (0..6).map(|_| Signal::remote()).collect();
    let pending: Vec<_> =
        signals.iter().flat_map(|signal| [signal.wait.remote(), signal.wait.remote()]).collect();
    get(signals.iter().rev().map(|signal| signal.open.remote()).collect::<Vec<_>>())?;
    get(pending).map(drop)
}

/// Plain tasks run while calls are pending.
fn tasks_run_while_calls_wait() -> Result {
    let signal = Signal::remote();
    let pending = signal.wait.remote();
    assert_eq!(get((0..20).map(|x| square.remote(x)).collect::<Vec<_>>())?.len(), 20);
    get(signal.open.remote())?;
    get(pending)
}

/// Calls that are blocked when the session ends get an error.
fn pending_calls_end_with_the_session() -> Result {
    let session = unidist::init()?;
    let signal = Signal::remote();
    let pending = signal.wait.remote();
    get(signal.waiting.remote(1_usize))?;
    let (begun, has_begun) = std::sync::mpsc::channel();
    let blocked = std::thread::spawn(move || {
        begun.send(()).unwrap();
        get(pending)
    });
    has_begun.recv().unwrap();
    drop(session);
    let error = blocked.join().unwrap().unwrap_err();
    let is_end = match &error {
        Error::SessionEnded { .. } => true,
        Error::Task(error) => error.root_cause().kind == ErrorKind::SessionEnded,
        _ => false,
    };
    assert!(is_end, "{error:?}");
    Ok(())
}

struct Selfish;

#[remote]
impl Selfish {
    #[new]
    fn new() -> Self {
        Selfish
    }

    fn answer(&self) -> i64 {
        42
    }

    async fn blocks(&mut self, own: ActorHandle<Selfish>) -> unidist::Result<i64> {
        square.remote(2).await?;
        get(own.answer.remote())
    }
}

/// Deadlock detection: a method that blocks for its own actor after an `.await` gets an error.
fn blocking_on_itself_after_an_await_is_an_error() -> Result {
    let selfish = Selfish::remote();
    let error = get(selfish.blocks.remote(&selfish)).unwrap_err();
    let cause = error.as_task().unwrap().root_cause();
    assert_eq!(cause.kind, ErrorKind::Deadlock, "{error:?}");
    assert_eq!(get(selfish.answer.remote())?, 42);
    Ok(())
}
