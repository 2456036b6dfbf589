//! The waiters for the value of one object.
//!
//! An object may live long and have many waiters that give up: calls that are canceled, a `wait` whose time limit has expired. Their
//! entries are not looked for one by one. They are noted, and removed together when half of the list is gone, so each
//! costs the same however long the list is, and the list is never more than twice as long as it need be.

use crate::scheduler::request::RequestId;
use rustc_hash::FxHashSet;
use unidist_common::{ProcessId, TaskId};

/// How many entries a search for the newest waiter looks at.
const LOOKED_AT: usize = 8;

/// A waiter for the value of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Waiter {
    /// A call that depends on it.
    Task(TaskId),
    /// A `get` or `wait`.
    Request(ProcessId, RequestId),
    /// A watch.
    Watch(ProcessId, RequestId),
}

/// The waiters for one object: mostly none or one.
#[derive(Debug, Default)]
pub(crate) enum Waiters {
    #[default]
    None,
    One(Waiter),
    Many(Box<Many>),
}

#[derive(Debug)]
pub(crate) struct Many {
    all: Vec<Waiter>,
    /// Those of them that do not wait any more.
    gone: FxHashSet<Waiter>,
}

impl Waiters {
    pub(crate) fn push(&mut self, waiter: Waiter) {
        match self {
            Waiters::None => *self = Waiters::One(waiter),
            Waiters::One(first) => {
                let all = vec![*first, waiter];
                *self = Waiters::Many(Box::new(Many { all, gone: FxHashSet::default() }));
            }
            Waiters::Many(many) => {
                if many.gone.contains(&waiter) {
                    many.sweep(); // else its new entry would count as gone
                }
                many.all.push(waiter);
            }
        }
    }

    /// Removes a waiter that is in the list.
    pub(crate) fn remove(&mut self, waiter: Waiter) {
        match self {
            Waiters::One(only) if *only == waiter => *self = Waiters::None,
            Waiters::None | Waiters::One(_) => {}
            Waiters::Many(many) => {
                many.gone.insert(waiter);
                if 2 * many.gone.len() >= many.all.len() {
                    many.sweep();
                    match many.all[..] {
                        [] => *self = Waiters::None,
                        [only] => *self = Waiters::One(only),
                        _ => {}
                    }
                }
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Waiters::None)
    }

    /// The newest of them, if those that gave up after it are few.
    pub(crate) fn newest(&self) -> Option<Waiter> {
        match self {
            Waiters::None => None,
            Waiters::One(only) => Some(*only),
            Waiters::Many(many) => {
                many.all.iter().rev().take(LOOKED_AT).find(|waiter| !many.gone.contains(waiter)).copied()
            }
        }
    }

    /// The number of entries.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        match self {
            Waiters::None => 0,
            Waiters::One(_) => 1,
            Waiters::Many(many) => many.all.len(),
        }
    }

    /// In order of arrival.
    pub(crate) fn into_iter(self) -> impl Iterator<Item = Waiter> {
        let (one, many) = match self {
            Waiters::None => (None, Vec::new()),
            Waiters::One(only) => (Some(only), Vec::new()),
            Waiters::Many(mut many) => {
                many.sweep();
                (None, many.all)
            }
        };
        one.into_iter().chain(many)
    }
}

impl Many {
    fn sweep(&mut self) {
        if !self.gone.is_empty() {
            self.all.retain(|waiter| !self.gone.contains(waiter));
            self.all.shrink_to(2 * self.all.len());
            self.gone = FxHashSet::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use unidist_common::DataId;

    fn waiter(number: u64) -> Waiter {
        Waiter::Task(TaskId::of_first_return(DataId::new(ProcessId::CONTROLLER, number)))
    }

    #[test]
    fn waiters_equal_a_plain_list() {
        let mut rng = fastrand::Rng::with_seed(1);
        let (mut waiters, mut model) = (Waiters::default(), Vec::new());
        for _ in 0..20_000 {
            let number = rng.u64(0..200);
            if rng.bool() {
                waiters.push(waiter(number));
                model.push(waiter(number));
            } else if model.contains(&waiter(number)) {
                waiters.remove(waiter(number));
                model.retain(|other| *other != waiter(number));
            }
            assert_eq!(waiters.is_empty(), model.is_empty());
            if rng.u32(0..500) == 0 {
                assert!(std::mem::take(&mut waiters).into_iter().eq(std::mem::take(&mut model)));
            }
        }
    }

    #[test]
    fn waiters_that_come_and_go_take_no_room() {
        let mut waiters = Waiters::default();
        (0..100).for_each(|number| waiters.push(waiter(number)));
        for number in 100..10_000 {
            waiters.push(waiter(number));
            waiters.remove(waiter(number));
            assert!(waiters.len() <= 210);
        }
        assert!(waiters.into_iter().eq((0..100).map(waiter)));
    }
}
