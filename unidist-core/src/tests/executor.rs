//! The executor, with code that blocks inside of a poll.

use crate::executor::{Executor, Polled};
use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

type TestExecutor = Executor<u32, u32>;
type Job = Pin<Box<dyn Future<Output = u32>>>;

fn executor() -> (Rc<TestExecutor>, Arc<AtomicUsize>) {
    let notified = Arc::new(AtomicUsize::new(0));
    let count = notified.clone();
    let notify = Arc::new(move || {
        count.fetch_add(1, Ordering::Relaxed);
    });
    let step = |_: &u32, job: &mut Job, context: &mut Context<'_>| job.as_mut().poll(context);
    (Rc::new(Executor::new(notify, step)), notified)
}

fn turn(executor: &TestExecutor) -> Vec<(u32, u32)> {
    let mut ended = Vec::new();
    let mut report = |tag: &u32, polled| {
        if let Polled::Ended(output) = polled {
            ended.push((*tag, output));
        }
    };
    while executor.turn(&mut report) {}
    ended
}

/// Pending once, and awake again at once.
async fn yield_once() {
    let mut yielded = false;
    std::future::poll_fn(|context| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[test]
fn futures_end_at_once_or_later() {
    let (executor, notified) = executor();
    assert_eq!(executor.start(1, Box::pin(async { 5 })).unwrap(), Some(5));
    assert_eq!(executor.len(), 0);
    let later = Box::pin(async {
        yield_once().await;
        yield_once().await;
        6
    });
    assert_eq!(executor.start(2, later).unwrap(), None);
    assert!(notified.load(Ordering::Relaxed) > 0);
    assert_eq!(turn(&executor), [(2, 6)]);
    assert!(!executor.turn(&mut |_, _| panic!("nothing is left")));
}

#[test]
fn nested_turn_leaves_the_polled_future_alone() {
    let (executor, _) = executor();
    let (inner, log) = (executor.clone(), Rc::new(RefCell::new(Vec::new())));
    let seen = log.clone();
    let outer = Box::pin(async move {
        yield_once().await;
        // Awake again while it is polled, and then blocked as in `get`: others go on, this one does not.
        std::future::poll_fn(|context| {
            context.waker().wake_by_ref();
            Poll::Ready(())
        })
        .await;
        seen.borrow_mut().extend(turn(&inner));
        yield_once().await;
        1
    });
    assert_eq!(executor.start(1, outer).unwrap(), None);
    let other = Box::pin(async {
        yield_once().await;
        2
    });
    assert_eq!(executor.start(2, other).unwrap(), None);
    assert_eq!(turn(&executor), [(1, 1)]);
    assert_eq!(*log.borrow(), [(2, 2)]);
}

#[test]
fn future_cancelled_during_its_poll_is_dropped() {
    let (executor, _) = executor();
    assert_eq!(executor.start(1, Box::pin(std::future::pending())).unwrap(), None);
    assert_eq!(executor.cancel(|tag| *tag == 1).len(), 1);
    let (inner, dropped) = (executor.clone(), Rc::new(Cell::new(false)));
    struct Flag(Rc<Cell<bool>>);
    impl Drop for Flag {
        fn drop(&mut self) {
            self.0.set(true);
        }
    }
    let flag = Flag(dropped.clone());
    let job = Box::pin(async move {
        let _flag = flag;
        assert!(inner.cancel(|tag| *tag == 2).is_empty(), "it is being polled");
        assert_eq!(inner.start(3, Box::pin(std::future::pending())).unwrap(), None, "its slot is used again");
        std::future::pending().await
    });
    assert_eq!(executor.start(2, job).unwrap(), None);
    assert!(dropped.get());
    assert_eq!(executor.len(), 1);
}

#[test]
fn spawn_local_tasks_run_in_turns() {
    let (executor, _) = executor();
    let job = Box::pin(async {
        let handle = tokio::task::spawn_local(async {
            yield_once().await;
            tokio::task::spawn_local(async { 4 }).await.unwrap()
        });
        handle.await.unwrap() + 1
    });
    assert_eq!(executor.start(1, job).unwrap(), None);
    assert_eq!(turn(&executor), [(1, 5)]);
}
