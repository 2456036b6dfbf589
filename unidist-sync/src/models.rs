//! The protocols of the shared memory in loom: every order of events that a few preemptions allow, and every value that
//! a load may return. Run by `cargo xtask loom`.
//!
//! A sleep has no time-out here, so a lost wake-up is a deadlock, which fails the model. The models repeat in short what
//! the real threads do around the protocols; the comments name the functions of `unidist-engine`.

use crate::atomic::{Fault, with_fault};
use crate::doorbell::{Doorbell, Sleeper};
use crate::flow_control::{FlowControl, Part};
use crate::wake_batch::WakeBatch;
use loom::cell::Cell;
use loom::sync::atomic::{AtomicU32, Ordering};
use loom::sync::{Condvar, Mutex};
use loom::thread;
use std::time::Duration;

/// The time-out of a sleep; a model ignores it.
const FOREVER: Duration = Duration::MAX;

/// Checks a model with at most `preemptions` preemptions in a run.
fn model(preemptions: usize, run: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(run);
}

/// A value that the threads of a model share. It is never freed: when a model fails, its threads are dropped halfway, and
/// loom refuses any operation by then.
fn share<T>(value: T) -> &'static T {
    Box::leak(Box::new(value))
}

/// A thread that waits on a doorbell, as the task thread of a worker and the driver of the engine do.
fn sleep_until(bell: &Doorbell, mut done: impl FnMut() -> bool) {
    while !done() {
        bell.sleep_as_driver(|| (!done()).then_some(FOREVER));
    }
}

/// Two processes write and ring; the driver waits until it has seen both writes.
fn two_processes_ring() {
    let (bell, written) = share((Doorbell::default(), [AtomicU32::new(0), AtomicU32::new(0)]));
    let ringers = [0, 1].map(|at| {
        thread::spawn(move || {
            written[at].store(1, Ordering::Release);
            // A busy worker gets `ring_driver`: its driver sleeps, or looks without being rung.
            if at == 0 { bell.ring() } else { bell.ring_driver() }
        })
    });
    sleep_until(bell, || written.iter().all(|flag| flag.load(Ordering::Acquire) == 1));
    for ringer in ringers {
        ringer.join().unwrap();
    }
}

#[test]
fn ring_is_never_lost() {
    model(3, two_processes_ring);
}

#[test]
#[should_panic(expected = "deadlock")]
fn ring_is_lost_without_the_fences() {
    with_fault(Fault::Fences, || model(3, two_processes_ring));
}

/// A link as the threads of a worker see it: messages that have arrived, and a lock under which they are read.
struct Inbox {
    bell: Doorbell,
    arrived: AtomicU32,
    /// How many were read, and the condition that a thread in the user's code waits for.
    read: Mutex<u32>,
    answered: Condvar,
    in_user_code: AtomicU32,
}

impl Inbox {
    fn new() -> &'static Inbox {
        share(Inbox {
            bell: Doorbell::default(),
            arrived: AtomicU32::new(0),
            read: Mutex::new(0),
            answered: Condvar::new(),
            in_user_code: AtomicU32::new(0),
        })
    }

    /// `Core::pump`.
    fn pump(&self) -> bool {
        let mut read = self.read.lock().unwrap();
        let arrived = self.arrived.load(Ordering::Acquire);
        let happened = *read != arrived;
        *read = arrived;
        if happened {
            self.answered.notify_all();
        }
        happened
    }

    fn has_input(&self) -> bool {
        let read = self.read.lock().unwrap();
        *read != self.arrived.load(Ordering::Acquire)
    }

    /// `Client::stand_by_again`.
    fn stand_by_again(&self) {
        if self.in_user_code.load(Ordering::Relaxed) == 1 && self.bell.try_announce(Sleeper::Standby) {
            self.pump();
        }
    }
}

/// The task thread is in the user's code and waits there for a message that arrives meanwhile: the link thread has to read
/// it.
fn wake_the_standby() {
    const MESSAGES: u32 = 2;
    let inbox = Inbox::new();
    let engine = thread::spawn(move || {
        for message in 1..=MESSAGES {
            inbox.arrived.store(message, Ordering::Release);
            inbox.bell.ring();
        }
    });
    // `read_link_for_others`, until everything was read.
    let link_thread = thread::spawn(move || {
        loop {
            let token = inbox.bell.token(Sleeper::Standby);
            if inbox.pump() {
                inbox.bell.ring_driver();
            }
            inbox.stand_by_again();
            if *inbox.read.lock().unwrap() == MESSAGES {
                return;
            }
            inbox.bell.sleep(token, FOREVER);
        }
    });
    // `Client::enter_user_code`, and code that needs both messages.
    inbox.in_user_code.store(1, Ordering::Relaxed);
    let _ = inbox.bell.announce(Sleeper::Standby);
    if inbox.has_input() {
        inbox.pump();
    }
    let mut read = inbox.read.lock().unwrap();
    while *read < MESSAGES {
        read = inbox.answered.wait(read).unwrap();
    }
    drop(read);
    // Another thread than the link thread may have read last: release it.
    inbox.bell.announce(Sleeper::Standby);
    inbox.bell.ring();
    engine.join().unwrap();
    link_thread.join().unwrap();
}

#[test]
fn standby_reads_a_message_for_the_user_s_code() {
    model(2, wake_the_standby);
}

#[test]
#[should_panic(expected = "deadlock")]
fn standby_sleeps_on_without_the_fences() {
    with_fault(Fault::Fences, || model(2, wake_the_standby));
}

/// The capacity of the ring in bytes.
const CAPACITY: usize = 2;

/// A ring with the doorbells of its writer and its reader. Its bytes are cells that loom watches: a data race fails the
/// model.
struct Pipe {
    flow: FlowControl,
    cells: [Cell<u8>; CAPACITY],
    bells: [Doorbell; 2],
}

impl Pipe {
    fn new() -> &'static Pipe {
        let cells = [Cell::new(0), Cell::new(0)];
        share(Pipe { flow: FlowControl::default(), cells, bells: [Doorbell::default(), Doorbell::default()] })
    }

    /// `Writer::write`.
    fn write(&self, head: &mut u64, bytes: &[u8]) -> usize {
        let copy = |part: Part, from: usize| {
            for n in 0..part.len {
                let at = (part.at + n as u64) as usize % CAPACITY;
                self.cells[at].set(bytes[from + n]);
            }
        };
        self.flow.write(head, CAPACITY, bytes.len(), copy).unwrap()
    }

    /// `Reader::read`; returns whether the writer has to be rung.
    fn read(&self, tail: &mut u64, out: &mut Vec<u8>) -> bool {
        let copy = |part: Part| {
            for n in 0..part.len {
                out.push(self.cells[(part.at + n as u64) as usize % CAPACITY].get());
            }
        };
        self.flow.read(tail, CAPACITY, copy).unwrap().starved
    }
}

/// A message longer than the ring passes through it; both sides sleep whenever they have nothing to do.
fn pass_long_message(checks_for_space: bool) {
    const MESSAGE: &[u8] = &[1, 2, 3, 4, 5];
    let pipe = Pipe::new();
    let writer = thread::spawn(move || {
        let [mine, readers] = &pipe.bells;
        let (mut head, mut sent) = (0, 0);
        loop {
            let written = pipe.write(&mut head, &MESSAGE[sent..]);
            sent += written;
            if written > 0 {
                readers.ring();
            }
            if sent == MESSAGE.len() {
                return;
            }
            let has_space = || checks_for_space && pipe.flow.has_space(head, CAPACITY);
            mine.sleep_as_driver(|| (!has_space()).then_some(FOREVER));
        }
    });
    let [writers, mine] = &pipe.bells;
    let (mut tail, mut out) = (0, Vec::new());
    while out.len() < MESSAGE.len() {
        sleep_until(mine, || pipe.flow.has_data(tail));
        if pipe.read(&mut tail, &mut out) {
            writers.ring();
        }
    }
    assert_eq!(out, MESSAGE);
    writer.join().unwrap();
}

#[test]
fn writer_without_space_is_woken() {
    model(3, || pass_long_message(true));
}

#[test]
#[should_panic(expected = "deadlock")]
fn writer_that_does_not_check_again_sleeps_on() {
    model(3, || pass_long_message(false));
}

#[test]
#[should_panic(expected = "deadlock")]
fn writer_sleeps_on_without_a_total_order() {
    with_fault(Fault::TotalOrder, || model(3, || pass_long_message(true)));
}

/// The engine waits for the one result of a worker that left its results in the link while the engine was busy.
fn collect_results(sets_before_announcing: bool) {
    let (bell, batch, results) = share((Doorbell::default(), WakeBatch::default(), AtomicU32::new(0)));
    batch.set(2);
    // `EngineLink::send_result`.
    let worker = thread::spawn(move || {
        results.store(1, Ordering::Release);
        if 1 >= batch.get() {
            bell.ring();
        }
    });
    // `EventLoop::lead`.
    let has_result = || results.load(Ordering::Acquire) == 1;
    while !has_result() {
        if sets_before_announcing {
            batch.set(1);
        }
        bell.sleep_as_driver(|| {
            if !sets_before_announcing {
                batch.set(1);
            }
            (!has_result()).then_some(FOREVER)
        });
    }
    worker.join().unwrap();
}

#[test]
fn last_result_before_a_sleep_wakes_the_engine() {
    model(3, || collect_results(true));
}

#[test]
#[should_panic(expected = "deadlock")]
fn batch_that_is_set_after_the_announcement_loses_a_result() {
    model(3, || collect_results(false));
}

#[test]
#[should_panic(expected = "deadlock")]
fn last_result_is_lost_without_the_fences() {
    with_fault(Fault::Fences, || model(3, || collect_results(true)));
}
