//! Code of the program that the session calls: callbacks, and the wakers of futures.

use crate::case::{Case, Result, cases};
use crate::support::{Signal, square};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use unidist::prelude::*;
use unidist::{init, shutdown};

pub(super) const CASES: &[Case] = cases!["callbacks":
    callback_that_panics_harms_nothing,
    callback_that_panics_without_a_blocked_thread_harms_nothing,
    callback_of_an_ended_call_that_panics_harms_nothing,
    waker_that_panics_harms_nothing,
    callback_that_panics_in_a_task_harms_nothing,
    callback_that_panics_at_the_end_harms_nothing.bare(),
    callback_may_take_a_lock_that_is_held_around_remote,
    callback_may_take_a_lock_that_is_held_around_get,
    callback_may_take_a_lock_that_is_held_around_when_ready,
    callback_may_take_a_lock_in_a_task,
    waker_may_take_a_lock_that_is_held_around_remote,
    callback_may_make_calls, callback_may_end_the_session.bare(),
    callbacks_are_called_before_the_session_has_ended.bare(),
];

/// Calls whose callbacks panic, and others whose callbacks must be called all the same: how many were called. In a task,
/// the calls run while it waits in `get`.
fn with_panicking_callbacks(calls: i64, is_task: bool) -> usize {
    let (sender, arrived) = channel();
    let refs: Vec<_> = (0..calls).map(|n| square.remote(n)).collect();
    for (n, call) in refs.iter().enumerate() {
        let sender = sender.clone();
        call.when_ready(move |_| {
            let _ = sender.send(());
            assert!(n % 3 > 0, "this panic belongs to the test");
        });
    }
    drop(sender);
    if is_task {
        get(&refs).unwrap();
    }
    arrived.into_iter().count()
}

/// A panic in a callback is told on standard error; `get`, other callbacks and later ones go on.
fn callback_that_panics_harms_nothing() -> Result {
    for _ in 0..20 {
        let refs: Vec<_> = (0..20).map(|n| square.remote(n)).collect();
        refs.iter().for_each(|call| call.when_ready(|_| panic!("this panic belongs to the test")));
        let results = get(&refs)?;
        assert_eq!(results, (0..20).map(|n| n * n).collect::<Vec<_>>());
    }
    assert_eq!(with_panicking_callbacks(10, false), 10);
    Ok(())
}

/// The same while no thread of the program waits in a call.
fn callback_that_panics_without_a_blocked_thread_harms_nothing() -> Result {
    for _ in 0..5 {
        assert_eq!(with_panicking_callbacks(30, false), 30);
    }
    assert_eq!(get(square.remote(3))?, 9);
    Ok(())
}

/// The same for a call that has ended before.
fn callback_of_an_ended_call_that_panics_harms_nothing() -> Result {
    let ended = square.remote(3);
    get(&ended)?;
    for _ in 0..5 {
        ended.when_ready(|_| panic!("this panic belongs to the test"));
    }
    let (sender, arrived) = channel();
    ended.when_ready(move |ready| _ = sender.send(ready.get()));
    assert_eq!(arrived.recv().expect("it is called")?, 9);
    Ok(())
}

struct Panics(AtomicUsize);

impl Wake for Panics {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
        panic!("this panic belongs to the test");
    }
}

/// A waker is code of the program, too.
fn waker_that_panics_harms_nothing() -> Result {
    let signal = Signal::remote();
    let opened = signal.wait.remote();
    let mut futures: Vec<_> = (0..10).map(|_| (&opened).into_future()).collect();
    let wakers: Vec<_> = futures.iter().map(|_| Arc::new(Panics(AtomicUsize::new(0)))).collect();
    for (future, waker) in futures.iter_mut().zip(&wakers) {
        let waker = Waker::from(waker.clone());
        assert!(std::pin::Pin::new(future).poll(&mut Context::from_waker(&waker)).is_pending());
    }
    // Callbacks and wakers are called in order.
    let (sender, arrived) = channel();
    opened.when_ready(move |_| _ = sender.send(()));
    get(signal.open.remote())?;
    get(&opened)?;
    arrived.recv().expect("it is called");
    assert!(wakers.iter().all(|waker| waker.0.load(Ordering::SeqCst) == 1));
    for mut future in futures {
        let context = &mut Context::from_waker(Waker::noop());
        assert!(matches!(std::pin::Pin::new(&mut future).poll(context), Poll::Ready(Ok(()))));
    }
    Ok(())
}

#[remote]
fn panicking_callbacks(calls: i64) -> usize {
    with_panicking_callbacks(calls, true)
}

/// The same in the process of a task.
fn callback_that_panics_in_a_task_harms_nothing() -> Result {
    assert_eq!(get(panicking_callbacks.remote(10))?, 10);
    assert_eq!(get([panicking_callbacks.remote(10), panicking_callbacks.remote(20)])?, [10, 20]);
    Ok(())
}

/// The same when the session ends.
fn callback_that_panics_at_the_end_harms_nothing() -> Result {
    let session = init()?;
    let signal = Signal::remote();
    let opened = signal.wait.remote();
    let called = Arc::new(AtomicUsize::new(0));
    for _ in 0..10 {
        let called = called.clone();
        opened.when_ready(move |_| {
            called.fetch_add(1, Ordering::SeqCst);
            panic!("this panic belongs to the test");
        });
    }
    drop((opened, signal));
    shutdown()?;
    assert_eq!(called.load(Ordering::SeqCst), 10);
    drop(session);
    Ok(())
}

/// Runs `inside` again and again with a lock that callbacks take, too; returns how many callbacks were called.
fn under_a_lock(rounds: i64, inside: impl Fn(i64)) -> usize {
    let lock = Arc::new(Mutex::new(0_usize));
    let (sender, arrived) = channel();
    for round in 0..rounds {
        let held = lock.lock().unwrap_or_else(PoisonError::into_inner);
        for n in 0..10 {
            let (lock, sender) = (lock.clone(), sender.clone());
            square.remote(n).when_ready(move |_| {
                *lock.lock().unwrap_or_else(PoisonError::into_inner) += 1;
                let _ = sender.send(());
            });
        }
        inside(round);
        drop(held);
    }
    drop(sender);
    let called = arrived.into_iter().count();
    assert_eq!(*lock.lock().unwrap_or_else(PoisonError::into_inner), called);
    called
}

/// `.remote` runs no callback.
fn callback_may_take_a_lock_that_is_held_around_remote() -> Result {
    let called = under_a_lock(100, |round| {
        (0..10).for_each(|n| drop(square.remote(round + n)));
    });
    assert_eq!(called, 1000);
    Ok(())
}

/// Nor does `get`.
fn callback_may_take_a_lock_that_is_held_around_get() -> Result {
    let called = under_a_lock(100, |round| {
        assert_eq!(get(square.remote(round)).unwrap(), round * round);
    });
    assert_eq!(called, 1000);
    Ok(())
}

/// Nor does `when_ready`, if the call has ended.
fn callback_may_take_a_lock_that_is_held_around_when_ready() -> Result {
    let ended = square.remote(3);
    get(&ended)?;
    let lock = Arc::new(Mutex::new(()));
    let (sender, arrived) = channel();
    let held = lock.lock().unwrap_or_else(PoisonError::into_inner);
    let inner = lock.clone();
    ended.when_ready(move |_| {
        drop(inner.lock());
        let _ = sender.send(());
    });
    drop(held);
    arrived.recv().expect("it is called");
    Ok(())
}

#[remote]
fn locks(rounds: i64) -> usize {
    under_a_lock(rounds, |round| {
        assert_eq!(get(square.remote(round)).unwrap(), round * round);
    })
}

/// The same in the process of a task.
fn callback_may_take_a_lock_in_a_task() -> Result {
    assert_eq!(get(locks.remote(20))?, 200);
    Ok(())
}

struct Locks {
    lock: Arc<Mutex<()>>,
    thread: thread::Thread,
}

impl Wake for Locks {
    fn wake(self: Arc<Self>) {
        drop(self.lock.lock());
        self.thread.unpark();
    }
}

/// A waker may take a lock that is held around `.remote`.
fn waker_may_take_a_lock_that_is_held_around_remote() -> Result {
    let lock = Arc::new(Mutex::new(()));
    let waker = Waker::from(Arc::new(Locks { lock: lock.clone(), thread: thread::current() }));
    for n in 0..50 {
        let mut futures: Vec<_> = (0..10).map(|k| square.remote(n + k).into_future()).collect();
        let held = lock.lock().unwrap_or_else(PoisonError::into_inner);
        for future in &mut futures {
            let _ = std::pin::Pin::new(future).poll(&mut Context::from_waker(&waker));
        }
        (0..100).for_each(|k| drop(square.remote(k)));
        drop(held);
        for mut future in futures {
            // A future that is ready when it is polled again requests the value once more.
            while std::pin::Pin::new(&mut future).poll(&mut Context::from_waker(&waker)).is_pending() {
                thread::park();
            }
        }
    }
    Ok(())
}

/// A callback may make calls and register callbacks.
fn callback_may_make_calls() -> Result {
    let (sender, arrived) = channel();
    square.remote(3).when_ready(move |ready| {
        let value = ready.get().unwrap();
        square.remote(value).when_ready(move |ready| _ = sender.send(ready.get()));
    });
    assert_eq!(arrived.recv().expect("it is called")?, 81);
    Ok(())
}

/// A callback may end the session.
fn callback_may_end_the_session() -> Result {
    let session = init()?;
    let (sender, ended) = channel();
    square.remote(3).when_ready(move |_| {
        let result = shutdown();
        drop(session);
        let _ = sender.send(result);
    });
    ended.recv().expect("it is called")
}

/// Each callback is called once, before the shutdown returns.
fn callbacks_are_called_before_the_session_has_ended() -> Result {
    let session = init()?;
    let called = Arc::new(AtomicUsize::new(0));
    let signal = Signal::remote();
    let never = signal.wait.remote();
    for n in 0..100 {
        let (one, other) = (called.clone(), called.clone());
        square.remote(n).when_ready(move |_| _ = one.fetch_add(1, Ordering::SeqCst));
        never.when_ready(move |_| _ = other.fetch_add(1, Ordering::SeqCst));
    }
    drop((never, signal));
    drop(session);
    assert_eq!(called.load(Ordering::SeqCst), 200);
    Ok(())
}
