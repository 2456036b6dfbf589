//! A session without processes: the real scheduler, with simulated workers, links and a simulated program, driven by a
//! seed.
//!
//! The program submits random graphs of tasks and actors; workers run them step by step, submit more, wait, cancel,
//! fail, crash, hang. Timers are over when it is drawn. There are one to three hosts; objects go from one to another,
//! and but for the first any may be lost. In what order messages arrive, processes join and die is drawn from the seed,
//! so a failure is replayed exactly by its seed. After each step some promises are checked, after the last one all of
//! them:
//!
//! - every call ends, and every `get` and `wait` is answered;
//! - no call starts twice, but for those whose process died with them, and no actor is started too often;
//! - calls of one caller start at an actor in the order in which they were made, also where it was started again;
//! - the results of a call that was cancelled in time say so at once, and a call that never ends by itself does end;
//! - no block of the store, in memory or on disk, is freed twice, or while somebody has a view of it, or read once it
//!   was freed; and when the last reference is gone, all have been freed;
//! - slots and resources are all free in the end.

mod digest;
mod hosts;
mod memory;
mod process;
mod program;
mod record;
mod world;

pub use digest::Digest;
pub use world::{Options, Summary, Violation, simulate};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_seeds_keep_every_promise() {
        for seed in 0..1000_u64 {
            let options = Options { deaths: !seed.is_multiple_of(5), ..Options::default() };
            if let Err(violation) = simulate(seed, &options) {
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
