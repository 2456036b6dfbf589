//! A single-threaded executor: polls futures on the thread that owns it, a turn at a time.
//!
//! # States of a future
//!
//! *parked* (in its slot) → *woken* (the slot's index is in the queue) → *polled* (taken out of the slot) → parked
//! again, or ended. Code being polled may block and cause a nested [`turn`](Executor::turn) further up the stack. That
//! turn finds an empty slot and only records that the future was woken.
//!
//! The first future starts a tokio runtime with one thread, which drives timers, sockets and spawned tasks. The futures
//! themselves, and what they `spawn_local`, are polled here, within that runtime.

use crate::callbacks::polling_with;
use crossbeam_channel::{Receiver, Sender};
use once_cell::unsync::OnceCell;
use slab::Slab;
use std::cell::{Cell, RefCell};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use tokio::runtime::{Builder, Runtime};
use tokio::task::LocalSet;

/// A future of the executor.
pub(crate) type Job<O> = Pin<Box<dyn Future<Output = O>>>;
/// Polls a future, and catches its panics.
type Step<T, O> = fn(&T, &mut Job<O>, &mut Context<'_>) -> Poll<O>;

/// The queue entry of the tasks spawned with `spawn_local`.
const LOCAL_SET: usize = usize::MAX;

/// Runs futures with output `O`, each with a tag `T`.
pub(crate) struct Executor<T, O> {
    step: Step<T, O>,
    slots: RefCell<Slab<Slot<T, O>>>,
    /// Counts the futures, to tell apart futures that use the same slot one after the other.
    serial: Cell<u64>,
    /// The waker of each slot, shared by all futures that use the slot: a spurious poll is harmless.
    wakers: RefCell<Vec<Arc<SlotWaker>>>,
    wakes: WakeSender,
    woken: Receiver<usize>,
    tokio: OnceCell<Tokio>,
    polling_local_set: Cell<bool>,
}

struct Slot<T, O> {
    serial: u64,
    /// None while it is polled.
    job: Option<Job<O>>,
    tag: T,
    woken_while_polled: bool,
}

/// A poll of a future.
pub(crate) enum Polled<O> {
    /// It begins.
    Resumed,
    /// It has ended, and the future waits, or was cancelled meanwhile.
    Suspended,
    /// It has ended with the future's output.
    Ended(O),
}

struct Tokio {
    runtime: Option<Runtime>,
    local: LocalSet,
    waker: Arc<SlotWaker>,
}

impl Drop for Tokio {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background(); // the process may be ending: do not wait for the runtime's tasks
        }
    }
}

/// The sending end of the queue of woken slots.
#[derive(Clone)]
struct WakeSender {
    woken: Sender<usize>,
    notify: Arc<dyn Fn() + Send + Sync>,
}

impl WakeSender {
    fn push(&self, place: usize) {
        let _ = self.woken.send(place); // the executor may be gone
        (self.notify)();
    }
}

struct SlotWaker {
    wakes: WakeSender,
    place: usize,
    is_queued: AtomicBool,
}

impl SlotWaker {
    fn new(wakes: &WakeSender, place: usize) -> Arc<Self> {
        Arc::new(SlotWaker { wakes: wakes.clone(), place, is_queued: AtomicBool::new(false) })
    }

    /// Called after the slot has been taken out of the queue and before the poll, so that no wake is lost.
    fn dequeued(&self) {
        self.is_queued.store(false, Ordering::SeqCst);
    }
}

impl Wake for SlotWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.is_queued.swap(true, Ordering::SeqCst) {
            self.wakes.push(self.place);
        }
    }
}

impl<T: Clone, O> Executor<T, O> {
    /// An executor that polls with `step` and requests a turn by `notify`.
    pub(crate) fn new(notify: Arc<dyn Fn() + Send + Sync>, step: Step<T, O>) -> Self {
        let (sender, woken) = crossbeam_channel::unbounded();
        Executor {
            step,
            slots: RefCell::new(Slab::new()),
            serial: Cell::new(0),
            wakers: RefCell::default(),
            wakes: WakeSender { woken: sender, notify },
            woken,
            tokio: OnceCell::new(),
            polling_local_set: Cell::new(false),
        }
    }

    /// The number of futures that have not ended.
    pub(crate) fn len(&self) -> usize {
        self.slots.borrow().len()
    }

    /// Whether there is a future with such a tag.
    pub(crate) fn any(&self, which: impl Fn(&T) -> bool) -> bool {
        self.slots.borrow().iter().any(|(_, slot)| which(&slot.tag))
    }

    /// Polls a new future once, and keeps it if it is not ready.
    ///
    /// # Errors
    ///
    /// The tokio runtime cannot be made.
    pub(crate) fn start(&self, tag: T, job: Job<O>) -> std::io::Result<Option<O>> {
        self.start_tokio()?;
        let serial = self.serial.get();
        self.serial.set(serial + 1);
        let place = self.slots.borrow_mut().insert(Slot {
            serial,
            job: None,
            tag: tag.clone(),
            woken_while_polled: false,
        });
        Ok(self.poll(place, serial, &tag, job))
    }

    /// Polls the futures woken so far, and reports each poll before and after it. Returns whether anything was polled.
    pub(crate) fn turn(&self, report: &mut dyn FnMut(&T, Polled<O>)) -> bool {
        let mut polled = false;
        for _ in 0..self.woken.len() {
            let Ok(place) = self.woken.try_recv() else { break };
            if place == LOCAL_SET {
                polled |= self.poll_local_set();
                continue;
            }
            self.waker(place).dequeued();
            let Some((serial, tag, job)) = self.take_woken(place) else { continue };
            polled = true;
            report(&tag, Polled::Resumed);
            match self.poll(place, serial, &tag, job) {
                Some(output) => report(&tag, Polled::Ended(output)),
                None => report(&tag, Polled::Suspended),
            }
        }
        polled
    }

    /// Removes all futures whose tag matches, for the caller to drop (their drops are user code). A future that is
    /// being polled is dropped when that poll ends.
    pub(crate) fn cancel(&self, which: impl Fn(&T) -> bool) -> Vec<Job<O>> {
        let mut slots = self.slots.borrow_mut();
        let places: Vec<usize> =
            slots.iter().filter(|(_, slot)| which(&slot.tag)).map(|(place, _)| place).collect();
        places.into_iter().filter_map(|place| slots.remove(place).job).collect()
    }

    /// Removes a future whose tag matches, unless it is being polled, for the caller to drop.
    pub(crate) fn take_parked(&self, which: impl Fn(&T) -> bool) -> Option<(T, Job<O>)> {
        let mut slots = self.slots.borrow_mut();
        let (place, _) = slots.iter().find(|(_, slot)| slot.job.is_some() && which(&slot.tag))?;
        let slot = slots.remove(place);
        Some((slot.tag, slot.job?))
    }

    /// The future in this slot, unless the slot is empty or its future is being polled.
    fn take_woken(&self, place: usize) -> Option<(u64, T, Job<O>)> {
        let mut slots = self.slots.borrow_mut();
        let slot = slots.get_mut(place)?;
        match slot.job.take() {
            Some(job) => Some((slot.serial, slot.tag.clone(), job)),
            None => {
                slot.woken_while_polled = true;
                None
            }
        }
    }

    fn poll(&self, place: usize, serial: u64, tag: &T, mut job: Job<O>) -> Option<O> {
        let waker = Waker::from(self.waker(place));
        let tokio = self.tokio.get()?;
        let result = {
            let _runtime = tokio.runtime.as_ref().map(Runtime::enter);
            let _local = tokio.local.enter();
            polling_with(&waker, || (self.step)(tag, &mut job, &mut Context::from_waker(&waker)))
        };
        let mut slots = self.slots.borrow_mut();
        let is_own = slots.get(place).is_some_and(|slot| slot.serial == serial); // else it was cancelled during the poll
        let (output, leftover) = match result {
            Poll::Pending if is_own => {
                let slot = &mut slots[place];
                slot.job = Some(job);
                if std::mem::take(&mut slot.woken_while_polled) {
                    waker.wake();
                }
                (None, None)
            }
            Poll::Pending => (None, Some(job)),
            Poll::Ready(output) => {
                if is_own {
                    slots.remove(place);
                }
                (is_own.then_some(output), Some(job))
            }
        };
        drop(slots);
        drop(leftover); // runs user code
        output
    }

    fn poll_local_set(&self) -> bool {
        let Some(tokio) = self.tokio.get() else { return false };
        if self.polling_local_set.replace(true) {
            // A turn further down on the stack is polling it, and continues when this one returns.
            return false;
        }
        tokio.waker.dequeued();
        let _runtime = tokio.runtime.as_ref().map(Runtime::enter);
        let waker = Waker::from(tokio.waker.clone());
        let _ =
            pin!(tokio.local.run_until(std::future::pending::<()>())).poll(&mut Context::from_waker(&waker));
        self.polling_local_set.set(false);
        true
    }

    fn waker(&self, place: usize) -> Arc<SlotWaker> {
        let mut wakers = self.wakers.borrow_mut();
        for next in wakers.len()..=place {
            wakers.push(SlotWaker::new(&self.wakes, next));
        }
        wakers[place].clone()
    }

    fn start_tokio(&self) -> std::io::Result<()> {
        if self.tokio.get().is_some() {
            return Ok(());
        }
        self.tokio.get_or_try_init(|| {
            let runtime = Builder::new_multi_thread()
                .worker_threads(1)
                .thread_name("unidist-tokio")
                .enable_all() // also sockets, where the program enables tokio's feature `net`
                .build()?;
            let waker = SlotWaker::new(&self.wakes, LOCAL_SET);
            Ok::<_, std::io::Error>(Tokio { runtime: Some(runtime), local: LocalSet::new(), waker })
        })?;
        self.poll_local_set(); // registers the waker
        Ok(())
    }
}
