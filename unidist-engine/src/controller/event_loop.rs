//! The event loop by leader and followers: a thread that waits for a reply runs the event loop itself.
//!
//! The *leader* holds the driver's lock and polls. Other threads of the program that wait are *followers*: they park,
//! and the leader wakes one of them when it leaves. While no thread waits, the engine thread is the *standby*, which
//! sleeps on the doorbell.

use super::driver::Driver;
use super::inbox::{InboxSender, Input};
use super::local_store::SharedArena;
use super::timers::NextDeadline;
use crate::client::pending::{Callback, PendingRequests};
use crate::client::session_ended;
use crate::protocol::worker::{FromWorker, Reply};
use crate::store::segment::Segment;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};
use std::thread::Thread;
use std::time::{Duration, Instant};
use unidist_common::Error;
use unidist_sync::{IdleWait, PreciseTimers, Sleeper, time_until};

/// What the threads of the controller share.
pub(super) struct EventLoop {
    pub(super) segment: Arc<Segment>,
    pub(super) inbox: InboxSender,
    pub(super) requests: Arc<PendingRequests>,
    pub(super) arena: SharedArena,
    driver: Mutex<Driver>,
    /// Threads of the program that wait while another one leads.
    followers: Mutex<Vec<Thread>>,
    /// Calls that have not ended, as of the last poll.
    pub(super) pending_tasks: Arc<AtomicUsize>,
    /// Threads that wait until fewer calls are pending.
    pub(super) throttled: AtomicUsize,
    pub(super) ended: AtomicBool,
    /// Why the session has ended, if its engine has failed.
    failure: OnceLock<Error>,
    /// The failure was not followed by the end of the processes and of all waits yet.
    fails: AtomicBool,
    /// Cores that this program may use.
    cores: usize,
    /// When the standby has to poll even if nothing happens.
    deadline: NextDeadline,
    /// Microseconds between two polls of the network, as the last leader wanted; the maximum on a single host.
    network_interval: AtomicU64,
}

impl EventLoop {
    pub(super) fn new(
        driver: Driver,
        segment: Arc<Segment>,
        inbox: InboxSender,
        requests: Arc<PendingRequests>,
        arena: SharedArena,
        pending_tasks: Arc<AtomicUsize>,
    ) -> Self {
        EventLoop {
            segment,
            inbox,
            requests,
            arena,
            driver: Mutex::new(driver),
            followers: Mutex::default(),
            pending_tasks,
            throttled: AtomicUsize::new(0),
            ended: AtomicBool::new(false),
            failure: OnceLock::new(),
            fails: AtomicBool::new(false),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            deadline: NextDeadline::new(),
            network_interval: AtomicU64::new(u64::MAX),
        }
    }

    /// Sends a message to the event loop; false once the session has ended.
    pub(super) fn send(&self, message: FromWorker) -> bool {
        self.inbox.send(Input::Message(message)).is_ok()
    }

    pub(super) fn lock_driver(&self) -> MutexGuard<'_, Driver> {
        self.driver.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn try_lock_driver(&self) -> Option<MutexGuard<'_, Driver>> {
        match self.driver.try_lock() {
            Ok(driver) => Some(driver),
            Err(TryLockError::Poisoned(poisoned)) => {
                self.fail("a thread panicked while it ran the event loop");
                Some(poisoned.into_inner())
            }
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// The error of this call, once the session has ended.
    pub(super) fn end_error(&self, call: &str) -> Error {
        self.failure.get().cloned().unwrap_or_else(|| session_ended(call))
    }

    /// Why the engine has failed, if it has.
    pub(super) fn failure(&self) -> Option<&Error> {
        self.failure.get()
    }

    /// Polls. A panic leaves the state half changed, so nothing reads it any more: the session ends as a whole.
    fn poll(&self, driver: &mut Driver) -> bool {
        if self.failure.get().is_some() {
            return false;
        }
        match catch_unwind(AssertUnwindSafe(|| driver.poll())) {
            Ok(progressed) => progressed,
            Err(panic) => {
                let text = panic.downcast_ref::<&str>().copied();
                let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
                self.fail(text.unwrap_or("it panicked without a text"));
                false
            }
        }
    }

    fn fail(&self, message: &str) {
        if self.failure.set(Error::EngineFailed { message: message.to_owned() }).is_ok() {
            self.fails.store(true, Ordering::Release);
            self.ended.store(true, Ordering::Release);
        }
    }

    /// After a failure, without the lock: ends all processes and all waits.
    fn end_after_failure(&self) {
        if !self.fails.load(Ordering::Acquire) || !self.fails.swap(false, Ordering::AcqRel) {
            return;
        }
        let (supervisor, hosts, inbox) = {
            let mut driver = self.driver.lock().unwrap_or_else(PoisonError::into_inner);
            (driver.supervisor(), driver.take_remote_hosts(), driver.take_inbox())
        };
        drop(inbox);
        self.requests.answer_all(&Reply::Failed(self.end_error("get")));
        self.followers().iter().for_each(Thread::unpark);
        self.segment.bell().ring();
        supervisor.end();
        drop(hosts); // waits for the monitors, which end their processes
    }

    /// Has the inbox read: by this thread, or by the leader if there is one.
    pub(super) fn poll_or_wake(&self) {
        match self.try_lock_driver() {
            Some(mut driver) => {
                self.poll(&mut driver);
                self.hand_over(driver);
            }
            None => self.segment.bell().ring(),
        }
    }

    /// Leads or follows until `done` or the deadline.
    pub(super) fn run_until(&self, deadline: Option<Instant>, mut done: impl FnMut(Option<&Driver>) -> bool) {
        let me = std::thread::current();
        loop {
            // Registered before the attempt: a leader that leaves after a failed attempt finds this thread.
            self.followers().push(me.clone());
            let driver = self.try_lock_driver();
            if driver.is_some() {
                self.unregister(&me);
            }
            if let Some(mut driver) = driver {
                let finished = self.lead(&mut driver, deadline, &mut done);
                self.hand_over(driver);
                if finished {
                    return;
                }
                continue;
            }
            // The leader may be asleep while the inbox holds what this thread waits for.
            self.segment.bell().ring();
            std::thread::park_timeout(time_until(deadline, Instant::now(), IdleWait::MAX_SLEEP));
            self.unregister(&me);
            if done(None)
                || deadline.is_some_and(|at| at <= Instant::now())
                || self.ended.load(Ordering::Acquire)
            {
                // This thread may have been woken to lead: another one has to do that now.
                self.wake_follower();
                return;
            }
        }
    }

    fn wake_follower(&self) {
        if let Some(thread) = self.followers().first() {
            thread.unpark();
        }
    }

    /// Calls may have ended: wakes the threads that wait to submit more.
    fn wake_throttled(&self) {
        if self.throttled.load(Ordering::Relaxed) > 0 {
            self.followers().iter().for_each(Thread::unpark);
        }
    }

    /// Polls until `done` or the deadline; false if the leader has to leave in order to run callbacks.
    fn lead(
        &self,
        driver: &mut Driver,
        deadline: Option<Instant>,
        done: &mut impl FnMut(Option<&Driver>) -> bool,
    ) -> bool {
        // The leader serves the timers until it leaves.
        self.deadline.set(None);
        let (mut idle, mut spin_limit) = (IdleWait::default(), None);
        let mut sharp_timers = None;
        loop {
            let progressed = self.poll(driver);
            if self.ended.load(Ordering::Acquire) || done(Some(driver)) {
                return true;
            }
            if driver.has_callbacks() {
                return false;
            }
            if progressed {
                self.wake_throttled();
                idle.reset();
                spin_limit = None;
                continue;
            }
            let now = Instant::now();
            if deadline.is_some_and(|at| at <= now) {
                return true;
            }
            let update = || driver.update_spin_limit(self.segment.spin_limit(), self.cores);
            if idle.spin(now, *spin_limit.get_or_insert_with(update)) {
                continue;
            }
            self.segment.wake_batch().set(driver.results_per_wake());
            let mut progressed = false;
            self.segment.bell().sleep_as_driver(|| {
                // The network rings no bell, and this thread may have been preempted since its last poll.
                progressed = driver.has_remote_hosts() && self.poll(driver);
                if progressed || self.ended.load(Ordering::Acquire) || driver.has_work() {
                    return None;
                }
                let network_sleep = self.network_sleep(driver);
                if network_sleep.is_some() {
                    sharp_timers.get_or_insert_with(PreciseTimers::new);
                }
                let limit = network_sleep.unwrap_or_else(|| idle.next_sleep());
                let until = deadline.into_iter().chain(driver.next_deadline()).min();
                Some(time_until(until, now, limit))
            });
            if progressed {
                if done(Some(driver)) {
                    return true;
                }
                self.wake_throttled();
                idle.reset();
                spin_limit = None;
            }
        }
    }

    /// Stops leading: from now on the bell wakes the standby, or a follower takes over.
    fn hand_over(&self, mut driver: MutexGuard<'_, Driver>) {
        driver.stop_waiting();
        let callbacks = driver.take_callbacks();
        // The standby may sleep beyond the next deadline.
        let is_sooner = self.deadline.set(driver.next_deadline());
        let bell = self.segment.bell();
        self.segment.wake_batch().set(1);
        let _ = bell.announce(Sleeper::Standby);
        let has_work = self.failure.get().is_none() && driver.has_work();
        drop(driver);
        // The sender of a later input found the standby awake and the lock still held.
        let has_work = has_work || !self.inbox.is_empty();
        match self.followers().first() {
            Some(thread) => thread.unpark(),
            None if has_work || is_sooner => bell.ring(),
            None => {}
        }
        callbacks.into_iter().for_each(Callback::call);
        self.end_after_failure();
    }

    /// The engine thread: polls while no other thread does and something happens, else sleeps.
    pub(super) fn run_standby(&self) {
        let _sharp_timers = self.lock_driver().has_remote_hosts().then(PreciseTimers::new);
        while !self.ended.load(Ordering::Acquire) {
            let announced = self.segment.bell().token(Sleeper::Standby);
            let mut sleep = IdleWait::MAX_SLEEP;
            if self.followers().is_empty()
                && let Some(mut driver) = self.try_lock_driver()
            {
                while self.poll(&mut driver) && !driver.has_callbacks() && self.followers().is_empty() {}
                sleep = self.network_sleep(&mut driver).map_or(sleep, |limit| sleep.min(limit));
                self.hand_over(driver);
                sleep = self.deadline.shorten(sleep);
            } else {
                self.wake_follower(); // it leads if no other thread does
                // The leader may leave without waking this thread, which then has to poll the network soon.
                let interval = Duration::from_micros(self.network_interval.load(Ordering::Relaxed));
                sleep = sleep.min(interval.max(IdleWait::MIN_SLEEP));
            }
            self.segment.bell().sleep(announced, sleep);
        }
    }

    /// The longest sleep before the network, which cannot ring, has to be polled; none on a single host.
    fn network_sleep(&self, driver: &mut Driver) -> Option<Duration> {
        let sleep = driver.network_sleep()?;
        let micros = u64::try_from(sleep.as_micros()).unwrap_or(u64::MAX);
        self.network_interval.store(micros, Ordering::Relaxed);
        Some(sleep)
    }

    fn followers(&self) -> MutexGuard<'_, Vec<Thread>> {
        self.followers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unregister(&self, me: &Thread) {
        let mut followers = self.followers();
        if let Some(at) = followers.iter().position(|thread| thread.id() == me.id()) {
            followers.swap_remove(at);
        }
    }
}
