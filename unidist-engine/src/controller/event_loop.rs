//! Who drives: the turns of the engine are taken by whichever thread waits for something.

use super::driver::Driver;
use super::inbox::Inbox;
use super::local_store::SharedArena;
use super::timers::NextDeadline;
use crate::client::pending::{Callback, PendingRequests};
use crate::host::supervisor::Supervisor;
use crate::protocol::worker::{FromWorker, Reply, Request, RequestId};
use crate::store::Block;
use crate::store::client::StoreBackend;
use crate::store::segment::Segment;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread::Thread;
use std::time::{Duration, Instant};
use unidist_common::{DataId, IdSource, Result};
use unidist_sync::{PreciseTimers, Sleeper, spin_briefly};

/// The longest sleep of a thread that waits, after which it looks whether it missed something.
const LONGEST_NAP: Duration = Duration::from_millis(100);
/// The first sleep where there is one host.
const FIRST_NAP: Duration = Duration::from_millis(1);

/// What the threads of the controller share.
pub(super) struct EventLoop {
    pub(super) ids: IdSource,
    pub(super) segment: Arc<Segment>,
    pub(super) inbox: Arc<Inbox>,
    pub(super) requests: Arc<PendingRequests>,
    pub(super) blocks: SharedArena,
    pub(super) supervisor: Arc<Supervisor>,
    pub(super) driver: Mutex<Driver>,
    /// Threads of the program that wait while another one drives.
    pub(super) parked: Mutex<Vec<Thread>>,
    /// How many calls have not ended, as of the last turn.
    pub(super) pending: Arc<AtomicUsize>,
    /// How many threads wait until fewer calls are under way.
    pub(super) throttled: AtomicUsize,
    pub(super) over: AtomicBool,
    /// How many cores this program may use.
    pub(super) cores: usize,
    /// When the standby has something to do even if nothing happens.
    pub(super) deadline: NextDeadline,
    /// For how many microseconds who drove last wanted to sleep before it heard the other hosts again; more than anything
    /// where there are none.
    pub(super) deaf_for: AtomicU64,
}

impl StoreBackend for EventLoop {
    fn allocate(&self, len: u64) -> Result<Block> {
        if let Some(block) = self.blocks.allocate(len) {
            return Ok(block);
        }
        match self.ask_store("put", |request| FromWorker::Allocate(request, len))? {
            Reply::Allocated(block) => Ok(block),
            _ => Err(super::unexpected("put")),
        }
    }

    fn give_back(&self, block: Block) {
        self.blocks.free(block);
    }

    fn map(&self, id: DataId) {
        self.inbox.ask(Request::PinView(id));
    }

    fn unmap(&self, id: DataId) {
        self.inbox.ask(Request::UnpinView(id));
    }
}

impl EventLoop {
    /// Asks whoever drives about the store, as processes do.
    pub(super) fn ask_store(
        &self,
        call: &str,
        message: impl FnOnce(RequestId) -> FromWorker,
    ) -> Result<Reply> {
        let (request, slot) = self.requests.open();
        self.inbox.ask_store(message(request));
        self.drive_until(None, |_| slot.is_done());
        match slot.take() {
            Some(Reply::Failed(error)) => Err(error),
            Some(reply) => Ok(reply),
            None => Err(super::ended(call)),
        }
    }

    pub(super) fn lock_driver(&self) -> MutexGuard<'_, Driver> {
        self.driver.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn try_lock_driver(&self) -> Option<MutexGuard<'_, Driver>> {
        match self.driver.try_lock() {
            Ok(driver) => Some(driver),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Has what was put into the inbox looked at: by this thread, unless another one drives.
    pub(super) fn nudge(&self) {
        match self.try_lock_driver() {
            Some(mut driver) => {
                driver.turn();
                self.leave(driver);
            }
            None => self.segment.bell().ring(),
        }
    }

    /// Takes turns, or waits for the thread that does, until `done` or the deadline.
    pub(super) fn drive_until(
        &self,
        deadline: Option<Instant>,
        mut done: impl FnMut(Option<&Driver>) -> bool,
    ) {
        let me = std::thread::current();
        loop {
            // Registered before the attempt: a driver that leaves after a failed attempt finds this thread.
            self.parked().push(me.clone());
            let driver = self.try_lock_driver();
            if driver.is_some() {
                self.unregister(&me);
            }
            if let Some(mut driver) = driver {
                let finished = self.drive(&mut driver, deadline, &mut done);
                self.leave(driver);
                if finished {
                    return;
                }
                continue;
            }
            // Whoever drives may be asleep, and what this thread waits for in the inbox.
            self.segment.bell().ring();
            let nap = deadline
                .map_or(LONGEST_NAP, |at| at.saturating_duration_since(Instant::now()).min(LONGEST_NAP));
            std::thread::park_timeout(nap);
            self.unregister(&me);
            if done(None)
                || deadline.is_some_and(|at| at <= Instant::now())
                || self.over.load(Ordering::Acquire)
            {
                // This thread may have been woken to drive, which another one has to do now.
                self.wake_parked();
                return;
            }
        }
    }

    fn wake_parked(&self) {
        if let Some(thread) = self.parked().first() {
            thread.unpark();
        }
    }

    /// There may be room for more calls.
    fn wake_throttled(&self) {
        if self.throttled.load(Ordering::Relaxed) > 0 {
            self.parked().iter().for_each(Thread::unpark);
        }
    }

    /// Takes turns until `done` or the deadline; false if it has to be interrupted for callbacks.
    fn drive(
        &self,
        driver: &mut Driver,
        deadline: Option<Instant>,
        done: &mut impl FnMut(Option<&Driver>) -> bool,
    ) -> bool {
        // Until this thread leaves, it is the one that keeps the time.
        self.deadline.set(None);
        let mut nap = FIRST_NAP;
        let mut sharp = None;
        let mut looks_until = None;
        loop {
            let happened = driver.turn();
            if done(Some(driver)) || self.over.load(Ordering::Acquire) {
                return true;
            }
            if driver.has_callbacks() {
                return false;
            }
            if happened {
                self.wake_throttled();
                (nap, looks_until) = (FIRST_NAP, None);
                continue;
            }
            let now = Instant::now();
            if deadline.is_some_and(|at| at <= now) {
                return true;
            }
            let until = *looks_until
                .get_or_insert_with(|| now + driver.set_spin_limit(self.segment.spin_limit(), self.cores));
            if now < until {
                spin_briefly();
                continue;
            }
            let bell = self.segment.bell();
            self.segment.wake_batch().set(driver.results_may_lie());
            let announced = bell.announce(Sleeper::Driver);
            // The network rings no bell, and this thread may have been off its core since its last look.
            if driver.has_hosts() && driver.turn() {
                bell.withdraw();
                if done(Some(driver)) {
                    return true;
                }
                self.wake_throttled();
                (nap, looks_until) = (FIRST_NAP, None);
                continue;
            }
            if !driver.has_work() {
                if let Some(limit) = self.until_hosts_are_heard(driver) {
                    nap = limit;
                    sharp.get_or_insert_with(PreciseTimers::new);
                }
                let until = deadline.into_iter().chain(driver.next_deadline()).min();
                let left = until.map_or(nap, |at| at.saturating_duration_since(now).min(nap));
                bell.sleep(announced, left);
                nap = (nap * 2).min(LONGEST_NAP);
            }
            bell.withdraw();
        }
    }

    /// Ends a drive: from now on the standby is rung for, or a thread that waits takes over.
    fn leave(&self, mut driver: MutexGuard<'_, Driver>) {
        driver.leave();
        let callbacks = driver.take_callbacks();
        // The standby may be asleep for longer than that.
        let sooner = self.deadline.set(driver.next_deadline());
        let bell = self.segment.bell();
        self.segment.wake_batch().set(1);
        let _ = bell.announce(Sleeper::Standby);
        let work_left = driver.has_work();
        drop(driver);
        // What was put in after that look found the standby awake and the lock still taken.
        let work_left = work_left || self.inbox.is_full();
        match self.parked().first() {
            Some(thread) => thread.unpark(),
            None if work_left || sooner => bell.ring(),
            None => {}
        }
        callbacks.into_iter().for_each(Callback::call);
    }

    /// The engine thread: drives while nobody else does and something happens.
    pub(super) fn stand_by(&self) {
        let _sharp = self.lock_driver().has_hosts().then(PreciseTimers::new);
        while !self.over.load(Ordering::Acquire) {
            let announced = self.segment.bell().token(Sleeper::Standby);
            let mut nap = LONGEST_NAP;
            if self.parked().is_empty()
                && let Some(mut driver) = self.try_lock_driver()
            {
                while driver.turn() && !driver.has_callbacks() && self.parked().is_empty() {}
                nap = self.until_hosts_are_heard(&mut driver).map_or(nap, |limit| nap.min(limit));
                self.leave(driver);
                nap = self.deadline.shorten(nap);
            } else {
                self.wake_parked(); // if nobody drives, that thread will
                // Who drives may leave without a word: then the other hosts are to be heard soon.
                let deaf_for = Duration::from_micros(self.deaf_for.load(Ordering::Relaxed));
                nap = nap.min(deaf_for.max(FIRST_NAP));
            }
            self.segment.bell().sleep(announced, nap);
        }
    }

    /// How long to sleep at most if there are other hosts, which cannot ring.
    fn until_hosts_are_heard(&self, driver: &mut Driver) -> Option<Duration> {
        let nap = driver.next_nap()?;
        let micros = u64::try_from(nap.as_micros()).unwrap_or(u64::MAX);
        self.deaf_for.store(micros, Ordering::Relaxed);
        Some(nap)
    }

    fn parked(&self) -> MutexGuard<'_, Vec<Thread>> {
        self.parked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unregister(&self, me: &Thread) {
        let mut parked = self.parked();
        if let Some(at) = parked.iter().position(|thread| thread.id() == me.id()) {
            parked.swap_remove(at);
        }
    }
}
