//! Runs futures on the thread that owns it, a turn at a time.
//!
//! # States of a future
//!
//! *parked* (in its slot) → *woken* (its slot's number is in the queue) → *polled* (taken out of the slot) → parked
//! again, or ended. Code being polled may block and thereby lead to another [`turn`](Executor::turn) further up the
//! stack: that finds an empty slot and only notes that the future was woken meanwhile.
//!
//! A tokio runtime with one thread of its own is made for the first future: it drives timers and sockets, and what the
//! code spawns. The futures themselves are polled here, within that runtime, and so is what they `spawn_local`.

use slab::Slab;
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::VecDeque;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use tokio::runtime::{Builder, Runtime};
use tokio::task::LocalSet;

/// A future of the executor.
pub(crate) type Job<O> = Pin<Box<dyn Future<Output = O>>>;
/// How a future is polled: this is where panics are caught and the like.
type Step<T, O> = fn(&T, &mut Job<O>, &mut Context<'_>) -> Poll<O>;

/// The place in the queue of what was spawned with `spawn_local`.
const LOCAL_SET: usize = usize::MAX;

/// Runs futures that give an `O`, and keeps a `T` with each.
pub(crate) struct Executor<T, O> {
    step: Step<T, O>,
    slots: RefCell<Slab<Slot<T, O>>>,
    /// Counts the futures, so that one is not taken for a later one in the same slot.
    serial: Cell<u64>,
    /// The waker of each slot, which serves all futures that are ever in it: a future too many polled does no harm.
    wakers: RefCell<Vec<Arc<SlotWaker>>>,
    queue: Arc<Queue>,
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

struct Tokio {
    runtime: Option<Runtime>,
    local: LocalSet,
    waker: Arc<SlotWaker>,
}

impl Drop for Tokio {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background(); // the process may be ending: wait for nobody
        }
    }
}

struct Queue {
    woken: Mutex<VecDeque<usize>>,
    notify: Arc<dyn Fn() + Send + Sync>,
}

impl Queue {
    fn push(&self, place: usize) {
        self.woken.lock().unwrap_or_else(PoisonError::into_inner).push_back(place);
        (self.notify)();
    }

    fn pop(&self) -> Option<usize> {
        self.woken.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    fn len(&self) -> usize {
        self.woken.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

struct SlotWaker {
    queue: Arc<Queue>,
    place: usize,
    is_queued: AtomicBool,
}

impl SlotWaker {
    fn new(queue: &Arc<Queue>, place: usize) -> Arc<Self> {
        Arc::new(SlotWaker { queue: queue.clone(), place, is_queued: AtomicBool::new(false) })
    }

    /// Called when the place has been taken out of the queue, before the poll, so that no wake is lost.
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
            self.queue.push(self.place);
        }
    }
}

impl<T: Clone, O> Executor<T, O> {
    /// An executor that polls with `step` and says through `notify` when a turn has something to do.
    pub(crate) fn new(notify: Arc<dyn Fn() + Send + Sync>, step: Step<T, O>) -> Self {
        Executor {
            step,
            slots: RefCell::new(Slab::new()),
            serial: Cell::new(0),
            wakers: RefCell::default(),
            queue: Arc::new(Queue { woken: Mutex::default(), notify }),
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

    /// Polls a new future once; if that is not its end, it is kept.
    ///
    /// # Errors
    ///
    /// The tokio runtime cannot be made.
    pub(crate) fn start(&self, tag: T, job: Job<O>) -> std::io::Result<Option<O>> {
        self.tokio()?;
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

    /// Polls what has been woken until now; gives what has ended to `ended`. Returns whether anything was polled.
    pub(crate) fn turn(&self, ended: &mut dyn FnMut(T, O)) -> bool {
        let mut polled = false;
        for _ in 0..self.queue.len() {
            let Some(place) = self.queue.pop() else { break };
            if place == LOCAL_SET {
                polled |= self.poll_local_set();
                continue;
            }
            self.waker(place).dequeued();
            let Some((serial, tag, job)) = self.take_woken(place) else { continue };
            polled = true;
            if let Some(output) = self.poll(place, serial, &tag, job) {
                ended(tag, output);
            }
        }
        polled
    }

    /// Takes out all futures whose tag is like this, for the caller to drop (which is the user's code). One that is
    /// being polled is dropped when that poll ends.
    pub(crate) fn cancel(&self, which: impl Fn(&T) -> bool) -> Vec<Job<O>> {
        let mut slots = self.slots.borrow_mut();
        let places: Vec<usize> =
            slots.iter().filter(|(_, slot)| which(&slot.tag)).map(|(place, _)| place).collect();
        places.into_iter().filter_map(|place| slots.remove(place).job).collect()
    }

    /// Takes out the future with such a tag, unless it is being polled: for the caller to drop.
    pub(crate) fn take_parked(&self, which: impl Fn(&T) -> bool) -> Option<(T, Job<O>)> {
        let mut slots = self.slots.borrow_mut();
        let (place, _) = slots.iter().find(|(_, slot)| slot.job.is_some() && which(&slot.tag))?;
        let slot = slots.remove(place);
        Some((slot.tag, slot.job?))
    }

    /// The future in this slot, if there is one and it is not being polled.
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
            (self.step)(tag, &mut job, &mut Context::from_waker(&waker))
        };
        let mut slots = self.slots.borrow_mut();
        let is_own = slots.get(place).is_some_and(|slot| slot.serial == serial); // else it was cancelled meanwhile
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
        drop(leftover); // the user's code
        output
    }

    fn poll_local_set(&self) -> bool {
        let Some(tokio) = self.tokio.get() else { return false };
        if self.polling_local_set.replace(true) {
            // The turn below this one on the stack is at it, and goes on when it returns there.
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
            wakers.push(SlotWaker::new(&self.queue, next));
        }
        wakers[place].clone()
    }

    fn tokio(&self) -> std::io::Result<()> {
        if self.tokio.get().is_some() {
            return Ok(());
        }
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("unidist-tokio")
            .enable_all() // also sockets, where the program enables tokio's feature `net`
            .build()?;
        let _ = self.tokio.set(Tokio {
            runtime: Some(runtime),
            local: LocalSet::new(),
            waker: SlotWaker::new(&self.queue, LOCAL_SET),
        });
        self.poll_local_set(); // so that it knows its waker
        Ok(())
    }
}
