//! The protocols of the shared memory in loom: every order of events that a few preemptions allow, and every value that
//! a load may see. Run by `cargo xtask loom`.
//!
//! A sleep has no time limit in here, so a wake-up that is lost is a deadlock, which fails the model. What the real
//! threads do around the protocols is repeated here in short: the comments say where it is.

use super::bell::{Bell, Sleeper};
use super::flow::{Flow, Part};
use super::sync::{Fault, with_fault};
use loom::cell::Cell;
use loom::sync::atomic::{AtomicU32, Ordering};
use loom::sync::{Condvar, Mutex};
use loom::thread;
use std::time::Duration;

/// What the real threads use as a limit is a detail: here it plays no part.
const FOR_EVER: Duration = Duration::MAX;

/// Tries a model with at most so many preemptions in a run.
fn model(preemptions: usize, run: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(run);
}

/// Shared by the threads of a model. It is never freed: where a model fails, its threads are dropped halfway, and loom
/// objects to being asked anything by then.
fn share<T>(value: T) -> &'static T {
    Box::leak(Box::new(value))
}

/// A thread that waits on a bell, as `Idle::wait` of the task thread and `Shared::drive` of the engine do.
fn sleep_until(bell: &Bell, mut done: impl FnMut() -> bool) {
    while !done() {
        let announced = bell.announce(Sleeper::Driver);
        if !done() {
            bell.sleep(announced, FOR_EVER);
        }
        bell.awake();
    }
}

/// Two processes each write something and ring; the driver waits until it has seen both.
fn two_ring_for_a_driver() {
    let (bell, written) = share((Bell::default(), [AtomicU32::new(0), AtomicU32::new(0)]));
    let ringers = [0, 1].map(|at| {
        thread::spawn(move || {
            written[at].store(1, Ordering::Release);
            // A busy worker is rung for softly: its driver sleeps or comes by itself.
            if at == 0 { bell.ring() } else { bell.ring_softly() }
        })
    });
    sleep_until(bell, || written.iter().all(|flag| flag.load(Ordering::Acquire) == 1));
    for ringer in ringers {
        ringer.join().unwrap();
    }
}

#[test]
fn no_ring_is_lost() {
    model(3, two_ring_for_a_driver);
}

#[test]
#[should_panic(expected = "deadlock")]
fn without_the_fences_a_ring_is_lost() {
    with_fault(Fault::Fences, || model(3, two_ring_for_a_driver));
}

/// A link as the threads of a worker see it: messages that have arrived, and a lock under which they are read.
struct Inbox {
    bell: Bell,
    arrived: AtomicU32,
    /// How many were read, and the condition that somebody in the user's code waits for.
    read: Mutex<u32>,
    answered: Condvar,
    in_user_code: AtomicU32,
}

impl Inbox {
    fn new() -> &'static Inbox {
        share(Inbox {
            bell: Bell::default(),
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
        if self.in_user_code.load(Ordering::Relaxed) == 1 && self.bell.announce_if_nobody(Sleeper::Standby) {
            self.pump();
        }
    }
}

/// The task thread is in the user's code, where something waits for a message that comes meanwhile: the link thread has
/// to read it.
fn the_standby_is_rung_for() {
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
            let announced = inbox.bell.token(Sleeper::Standby);
            if inbox.pump() {
                inbox.bell.ring_softly();
            }
            inbox.stand_by_again();
            if *inbox.read.lock().unwrap() == MESSAGES {
                return;
            }
            inbox.bell.sleep(announced, FOR_EVER);
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
    // Whoever read last may not have been the link thread: it is let go.
    inbox.bell.announce(Sleeper::Standby);
    inbox.bell.ring();
    engine.join().unwrap();
    link_thread.join().unwrap();
}

#[test]
fn a_message_in_the_user_s_code_reaches_the_standby() {
    model(2, the_standby_is_rung_for);
}

#[test]
#[should_panic(expected = "deadlock")]
fn without_the_fences_the_standby_sleeps_on() {
    with_fault(Fault::Fences, || model(2, the_standby_is_rung_for));
}

/// Bytes that a ring of this model holds.
const CAPACITY: usize = 2;

/// A ring with both its bells: the writer's and the reader's. Its bytes are cells that loom watches:
/// two accesses at once, one of them to write, fail the model.
struct Pipe {
    flow: Flow,
    cells: [Cell<u8>; CAPACITY],
    bells: [Bell; 2],
}

impl Pipe {
    fn new() -> &'static Pipe {
        let cells = [Cell::new(0), Cell::new(0)];
        share(Pipe { flow: Flow::default(), cells, bells: [Bell::default(), Bell::default()] })
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

    /// `Reader::read`; tells whether the writer is to be rung.
    fn read(&self, tail: &mut u64, out: &mut Vec<u8>) -> bool {
        let copy = |part: Part| {
            for n in 0..part.len {
                out.push(self.cells[(part.at + n as u64) as usize % CAPACITY].get());
            }
        };
        self.flow.read(tail, CAPACITY, copy).unwrap().starved
    }
}

/// A message longer than the ring goes through it, with both sides asleep whenever they have nothing to do.
fn a_long_message_passes(looks_for_room: bool) {
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
            let announced = mine.announce(Sleeper::Driver);
            if !(looks_for_room && pipe.flow.has_room(head, CAPACITY)) {
                mine.sleep(announced, FOR_EVER);
            }
            mine.awake();
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
fn a_writer_without_room_is_rung_for() {
    model(3, || a_long_message_passes(true));
}

#[test]
#[should_panic(expected = "deadlock")]
fn a_writer_that_does_not_look_again_is_forgotten() {
    model(3, || a_long_message_passes(false));
}

#[test]
#[should_panic(expected = "deadlock")]
fn without_a_total_order_the_writer_is_forgotten() {
    with_fault(Fault::TotalOrder, || model(3, || a_long_message_passes(true)));
}
