//! A session without processes: the real scheduler, with simulated workers, links and a simulated program, driven by a
//! seed.
//!
//! The program submits random graphs of tasks and actors; workers run them step by step, submit more, wait, fail, crash.
//! In what order messages arrive, processes join and die is drawn from the seed, so a failure is replayed exactly by
//! its seed. After each step some promises are checked, after the last one all of them:
//!
//! - every call ends, and every `get` and `wait` is answered;
//! - no call starts twice;
//! - calls of one caller start at an actor in the order in which they were made;
//! - no block of the store, in memory or on disk, is freed twice, or while somebody has a view of it, or read once it
//!   was freed; and when the last reference is gone, all have been freed;
//! - slots and resources are all free in the end.

mod memory;
mod order;
mod process;
mod program;
mod world;

pub use world::{Options, Violation, simulate};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_seeds_keep_every_promise() {
        for seed in 0..1000 {
            if let Err(violation) = simulate(seed, &Options::default()) {
                panic!("{violation}");
            }
        }
    }

    #[test]
    fn a_lost_completion_is_noticed_and_its_seed_replays() {
        let faulty = Options { lose_completion: Some(20), ..Options::default() };
        let violations: Vec<_> = (0..20).filter_map(|seed| simulate(seed, &faulty).err()).collect();
        assert!(!violations.is_empty());
        for violation in violations {
            assert_eq!(simulate(violation.seed, &faulty), Err(violation));
        }
    }
}
