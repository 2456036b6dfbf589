//! A session without processes: the real scheduler with simulated workers, links and a simulated program, driven by a
//! seed.
//!
//! The program submits random graphs of tasks and actors; workers run them step by step, submit more, wait, cancel,
//! fail, crash, hang. Hosts may have few processes, so that waiting calls use them up. Timers expire at random. There are one to three hosts, with transfers between them; any host but
//! the first may be lost. The seed determines the order in which messages arrive, processes join and die, so it
//! replays a failure exactly. Some promises are checked after each step, all of them after the last:
//!
//! - every call ends, and every `get` and `wait` is answered;
//! - no call starts twice unless its process died with it, and no actor is started too often;
//! - calls of one caller start at an actor in the order in which they were made, also after a restart;
//! - the results of a call that was canceled in time are errors at once, and a call that never ends by itself does
//!   end;
//! - no block of the store, in memory or on disk, is freed twice, freed while a process has a view of it, or read
//!   after it was freed; and after the last release, all blocks are free;
//! - no request for memory is refused while there is space on disk or, without a disk, while a call that has not started
//!   keeps arguments in memory;
//! - at the end all slots and resources are free;
//! - a call fails because its process died only if a process did die with it;
//! - when the program ends the session while calls run, each of its requests is answered, with values or with errors
//!   that say that the session ended, and all processes end.

mod digest;
mod frame;
mod hosts;
mod memory;
mod process;
mod program;
mod record;
mod room;
mod world;

pub use digest::Digest;
pub use world::{Options, Summary, Violation, simulate};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn simulation_of_a_thousand_seeds_keeps_every_promise() {
        for seed in 0..1000_u64 {
            let options = Options { deaths: !seed.is_multiple_of(5), ..Options::default() };
            if let Err(violation) = simulate(seed, &options) {
                panic!("{violation}");
            }
        }
    }

    #[test]
    fn arguments_kept_by_calls_that_have_not_started_are_noticed() {
        let faulty = Options { keep_arguments: true, ..Options::default() };
        let mut violations = (0..4000).filter_map(|seed| simulate(seed, &faulty).err());
        for what in ["there is a disk", "calls that have not started"] {
            let found = violations.find(|violation| violation.what.contains(what));
            let violation = found.unwrap_or_else(|| panic!("none says that {what}"));
            assert_eq!(simulate(violation.seed, &faulty), Err(violation));
        }
    }

    #[test]
    fn calls_forgotten_at_the_end_are_noticed() {
        let faulty = Options { forget_calls_at_the_end: true, ..Options::default() };
        let violations: Vec<_> = (0..200).filter_map(|seed| simulate(seed, &faulty).err()).collect();
        assert!(violations.iter().any(|violation| violation.what.contains("no process has died with")));
    }

    #[test]
    fn calls_that_find_no_process_are_noticed() {
        let faulty = Options { start_only_awaited: true, ..Options::default() };
        let mut violations = (0..1000).filter_map(|seed| simulate(seed, &faulty).err());
        let found = violations.find(|violation| violation.what.contains("nothing moves any more"));
        let violation = found.expect("some calls never start");
        assert_eq!(simulate(violation.seed, &faulty), Err(violation));
    }

    #[test]
    fn lost_completion_is_noticed_and_its_seed_replays() {
        let faulty = Options { lose_completion: Some(20), ..Options::default() };
        let violations: Vec<_> = (0..20).filter_map(|seed| simulate(seed, &faulty).err()).collect();
        assert!(!violations.is_empty());
        for violation in violations {
            assert_eq!(simulate(violation.seed, &faulty), Err(violation));
        }
    }
}
