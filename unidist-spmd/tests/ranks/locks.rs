//! Locks.

use super::{Test, common_path, last};
use std::path::Path;
use std::time::Duration;
use unidist_spmd::{Communicator, Lock, Result};

pub(super) const TESTS: &[Test] = &[
    ("lock is held by one rank at a time", held_by_one_rank_at_a_time),
    ("try_lock and lock_timeout do not block", try_lock_does_not_block),
    ("time-outs leave the queue intact", timeouts_leave_the_queue_intact),
    ("locks are independent", locks_are_independent),
    ("lock works while the first rank computes", first_rank_computes),
    ("leaked guard is an error", leaked_guard_is_an_error),
    ("close while others call something else", close_alone_is_an_error),
    ("waiting takes no CPU time", waiting_takes_no_cpu_time),
];

/// How often each rank takes the lock.
const ROUNDS: usize = 200;

fn held_by_one_rank_at_a_time(world: &Communicator) {
    let mut lock = Lock::new(world).unwrap();
    let path = common_path(world, "counter");
    if world.rank() == 0 {
        std::fs::write(&path, "0").unwrap();
    }
    world.barrier().unwrap();
    for _ in 0..ROUNDS {
        let _guard = lock.lock().unwrap();
        let number: usize = std::fs::read_to_string(&path).unwrap().parse().unwrap();
        std::fs::write(&path, (number + 1).to_string()).unwrap();
    }
    world.barrier().unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), (ROUNDS * world.size()).to_string());
    lock.close().unwrap();
    if world.rank() == 0 {
        std::fs::remove_file(&path).unwrap();
    }
}

fn try_lock_does_not_block(world: &Communicator) {
    let mut lock = Lock::new(world).unwrap();
    if world.rank() == 0 {
        let guard = lock.try_lock().unwrap().unwrap();
        world.barrier().unwrap();
        world.barrier().unwrap();
        guard.unlock().unwrap();
    } else {
        world.barrier().unwrap();
        assert!(lock.try_lock().unwrap().is_none());
        assert!(lock.lock_timeout(Duration::from_millis(1)).unwrap().is_none());
        world.barrier().unwrap();
    }
    world.barrier().unwrap();
    // Abandoned tickets are skipped.
    drop(lock.lock().unwrap());
}

fn timeouts_leave_the_queue_intact(world: &Communicator) {
    let mut lock = Lock::new(world).unwrap();
    for round in 0..ROUNDS {
        // Some ranks get the lock in time, others abandon their tickets.
        if let Some(guard) = lock.lock_timeout(Duration::from_micros(round as u64 % 5 * 20)).unwrap() {
            guard.unlock().unwrap();
        }
    }
    drop(lock.lock().unwrap());
    world.barrier().unwrap();
    assert!(world.size() > 1 || lock.try_lock().unwrap().is_some());
}

fn locks_are_independent(world: &Communicator) {
    let mut one = Lock::new(world).unwrap();
    let mut other = Lock::new(world).unwrap();
    let _held = (world.rank() == 0).then(|| one.lock().unwrap());
    world.barrier().unwrap();
    if world.rank() != 0 {
        (0..10).for_each(|_| drop(other.lock().unwrap()));
    }
    world.barrier().unwrap();
}

/// The queue is on the first rank, which calls MPI only after the others have finished.
fn first_rank_computes(world: &Communicator) {
    let mut lock = Lock::new(world).unwrap();
    let path = common_path(world, "through");
    let through = |rank: usize| path.with_extension(rank.to_string());
    world.barrier().unwrap();
    if world.rank() == 0 {
        (1..world.size()).for_each(|rank| compute_until(&through(rank)));
    } else {
        (0..50).for_each(|_| drop(lock.lock().unwrap()));
        std::fs::write(through(world.rank()), "").unwrap();
    }
    world.barrier().unwrap();
    if world.rank() != 0 {
        std::fs::remove_file(through(world.rank())).unwrap();
    }
}

fn compute_until(path: &Path) {
    let mut number = 1_u64;
    while !path.exists() {
        (0..100_000).for_each(|_| number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
        std::hint::black_box(number);
    }
}

fn leaked_guard_is_an_error(world: &Communicator) {
    let part = world.split(Some(world.rank()), 0).unwrap().unwrap();
    let mut lock = Lock::new(&part).unwrap();
    std::mem::forget(lock.lock().unwrap());
    let error = lock.lock().unwrap_err();
    assert!(error.to_string().contains("leaked its guard"), "{error}");
    assert!(lock.try_lock().is_err());
}

fn close_alone_is_an_error(world: &Communicator) {
    if world.size() == 1 {
        return;
    }
    let lock = Lock::new(world).unwrap();
    let check = |outcome: Result<()>, what: &str| {
        let error = outcome.unwrap_err().to_string();
        assert!(error.contains(what), "{error}");
    };
    if world.rank() == last(world) {
        check(world.barrier(), "rank 0 calls Lock::close");
        drop(lock);
    } else {
        check(lock.close(), &format!("rank {} calls Communicator::barrier", last(world)));
    }
    world.barrier().unwrap();
}

/// The first rank holds the lock for five seconds.
fn waiting_takes_no_cpu_time(world: &Communicator) {
    const TIME: Duration = Duration::from_secs(5);
    if world.size() != 4 {
        return; // it takes long
    }
    let mut lock = Lock::new(world).unwrap();
    let before;
    if world.rank() == 0 {
        let _guard = lock.lock().unwrap();
        world.barrier().unwrap();
        before = cpu_time();
        std::thread::sleep(TIME);
    } else {
        world.barrier().unwrap();
        before = cpu_time();
        drop(lock.lock().unwrap());
    }
    let used = (cpu_time() - before).as_secs_f64();
    let all: f64 = world.all_gather(used).unwrap().iter().sum();
    let share = all / TIME.as_secs_f64();
    if world.rank() == 0 {
        println!(
            "{} ranks, one holds the lock, the others wait: {:.2} % of a core",
            world.size(),
            100.0 * share
        );
    }
    // Over several hosts, the progress thread runs, and waiting ranks poll for a message.
    let limit = if world.hosts() == 1 { 0.05 } else { 0.15 };
    assert!(share < limit, "{share}");
}

/// The CPU time of this process.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
