//! The engines of a client: the session's workers, by small numbers.

use super::error::{EngineId, Result, ViewError};
use std::ops::{Range, RangeFrom, RangeFull, RangeInclusive, RangeTo, RangeToInclusive};
use unidist_core::{ProcessId, WorkerInfo};

/// A worker that a client has seen.
#[derive(Clone, Debug)]
pub(crate) struct Engine {
    pub(crate) worker: ProcessId,
    pub(crate) host: String,
    pub(crate) is_alive: bool,
    /// Tasks of direct views that it has.
    pub(crate) queue: usize,
    /// Tasks of load-balanced views that it has.
    pub(crate) tasks: usize,
    /// Tasks that it has ended.
    pub(crate) completed: u64,
    /// When it was last given a balanced task, counted in such tasks.
    pub(crate) last_used: u64,
    /// Whether a task that it had was aborted, and none has ended since: it may have to die for that.
    pub(crate) is_disturbed: bool,
    /// Whether it was given anything at all, so that it may have a namespace.
    pub(crate) is_touched: bool,
}

impl Engine {
    pub(crate) fn load(&self) -> usize {
        self.queue + self.tasks
    }
}

/// Every worker that was ever seen, by its number.
#[derive(Debug, Default)]
pub(crate) struct Engines {
    all: Vec<Engine>,
}

impl Engines {
    /// Takes note of the workers that there are now.
    pub(crate) fn see(&mut self, workers: &[WorkerInfo]) {
        for engine in &mut self.all {
            engine.is_alive = workers.iter().any(|worker| worker.id == engine.worker);
        }
        for worker in workers {
            if self.all.iter().all(|engine| engine.worker != worker.id) {
                self.all.push(Engine {
                    worker: worker.id,
                    host: worker.host.clone(),
                    is_alive: true,
                    queue: 0,
                    tasks: 0,
                    completed: 0,
                    last_used: 0,
                    is_disturbed: false,
                    is_touched: false,
                });
            }
        }
    }

    /// The numbers of those that are alive, in order.
    pub(crate) fn ids(&self) -> Vec<EngineId> {
        (0..self.all.len()).filter(|id| self.all[*id].is_alive).collect()
    }

    pub(crate) fn get_mut(&mut self, id: EngineId) -> Option<&mut Engine> {
        self.all.get_mut(id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (EngineId, &Engine)> {
        self.all.iter().enumerate()
    }

    /// The engines that are meant.
    pub(crate) fn resolve(&self, targets: &Targets) -> Result<Vec<EngineId>> {
        let ids = self.ids();
        let chosen = match &targets.0 {
            Choice::Some(chosen) => {
                let of = |id: &i64| {
                    let found = match usize::try_from(*id) {
                        Ok(id) => ids.contains(&id).then_some(id),
                        Err(_) => {
                            ids.iter().rev().nth(usize::try_from(-1 - *id).unwrap_or(usize::MAX)).copied()
                        }
                    };
                    found.ok_or_else(|| ViewError::UnknownEngine { engine: *id, engines: ids.clone() })
                };
                chosen.iter().map(of).collect::<Result<_>>()?
            }
            Choice::Slice(from, to) => {
                let place = |end: i64| match usize::try_from(end) {
                    Ok(place) => place.min(ids.len()),
                    Err(_) => {
                        ids.len().saturating_sub(usize::try_from(end.unsigned_abs()).unwrap_or(usize::MAX))
                    }
                };
                let (from, to) = (place(*from), to.map_or(ids.len(), place));
                ids.get(from..to).unwrap_or_default().to_vec()
            }
        };
        if chosen.is_empty() { Err(ViewError::NoEngines) } else { Ok(chosen) }
    }
}

/// Which engines are meant: a number (from the end if it is negative), a list of numbers, or a range of the places in
/// [`ids`](super::Client::ids), which is cut where there are no more.
///
/// A number that no engine has is an error; so is a choice of none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Targets(Choice);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Choice {
    Some(Vec<i64>),
    Slice(i64, Option<i64>),
}

impl Targets {
    pub(crate) fn are_all(&self) -> bool {
        self.0 == Choice::Slice(0, None)
    }
}

/// The number of an engine, or of a place counted from the end.
pub trait EngineNumber: Copy {
    #[doc(hidden)]
    fn __number(self) -> i64;
}

macro_rules! numbers {
    ($($N:ty),*) => {
        $(
            impl EngineNumber for $N {
                fn __number(self) -> i64 {
                    // No engine has a number so large that it does not fit.
                    i64::try_from(self).unwrap_or(i64::MAX)
                }
            }

            impl From<$N> for Targets {
                fn from(engine: $N) -> Self {
                    Targets(Choice::Some(vec![engine.__number()]))
                }
            }
        )*
    };
}
numbers!(i32, i64, usize);

impl From<RangeFull> for Targets {
    fn from(_: RangeFull) -> Self {
        Targets(Choice::Slice(0, None))
    }
}

impl<N: EngineNumber> From<Range<N>> for Targets {
    fn from(range: Range<N>) -> Self {
        Targets(Choice::Slice(range.start.__number(), Some(range.end.__number())))
    }
}

impl<N: EngineNumber> From<RangeFrom<N>> for Targets {
    fn from(range: RangeFrom<N>) -> Self {
        Targets(Choice::Slice(range.start.__number(), None))
    }
}

impl<N: EngineNumber> From<RangeTo<N>> for Targets {
    fn from(range: RangeTo<N>) -> Self {
        Targets(Choice::Slice(0, Some(range.end.__number())))
    }
}

/// The place after `last`; after the last of all if that is counted from the end.
fn after(last: i64) -> Option<i64> {
    if last == -1 { None } else { Some(last.saturating_add(1)) }
}

impl<N: EngineNumber> From<RangeInclusive<N>> for Targets {
    fn from(range: RangeInclusive<N>) -> Self {
        Targets(Choice::Slice(range.start().__number(), after(range.end().__number())))
    }
}

impl<N: EngineNumber> From<RangeToInclusive<N>> for Targets {
    fn from(range: RangeToInclusive<N>) -> Self {
        Targets(Choice::Slice(0, after(range.end.__number())))
    }
}

impl<N: EngineNumber> From<&[N]> for Targets {
    fn from(engines: &[N]) -> Self {
        Targets(Choice::Some(engines.iter().map(|engine| engine.__number()).collect()))
    }
}

impl<N: EngineNumber, const COUNT: usize> From<[N; COUNT]> for Targets {
    fn from(engines: [N; COUNT]) -> Self {
        engines.as_slice().into()
    }
}

impl<N: EngineNumber> From<Vec<N>> for Targets {
    fn from(engines: Vec<N>) -> Self {
        engines.as_slice().into()
    }
}

impl<N: EngineNumber> From<&Vec<N>> for Targets {
    fn from(engines: &Vec<N>) -> Self {
        engines.as_slice().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workers(numbers: impl IntoIterator<Item = u32>) -> Vec<WorkerInfo> {
        numbers.into_iter().map(|n| WorkerInfo::new(ProcessId::new(n).unwrap(), "here")).collect()
    }

    #[test]
    fn numbers_are_kept_and_not_given_twice() {
        let mut engines = Engines::default();
        engines.see(&workers([4, 5, 6]));
        assert_eq!(engines.ids(), [0, 1, 2]);
        engines.see(&workers([4, 6]));
        assert_eq!(engines.ids(), [0, 2]);
        engines.see(&workers([4, 6, 9]));
        assert_eq!(engines.ids(), [0, 2, 3]);
        assert_eq!(engines.get_mut(3).unwrap().worker, ProcessId::new(9).unwrap());
    }

    #[test]
    fn targets_as_in_python() {
        let mut engines = Engines::default();
        engines.see(&workers(1..=5));
        engines.see(&workers([1, 3, 4, 5])); // engine 1 is gone
        let resolve = |targets: Targets| engines.resolve(&targets);
        assert_eq!(resolve(0.into()), Ok(vec![0]));
        assert_eq!(resolve((-1).into()), Ok(vec![4]));
        assert_eq!(resolve((..2).into()), Ok(vec![0, 2]));
        assert_eq!(resolve((1..).into()), Ok(vec![2, 3, 4]));
        assert_eq!(resolve((1..=2).into()), Ok(vec![2, 3]));
        assert_eq!(resolve((..=-1).into()), Ok(vec![0, 2, 3, 4]));
        assert_eq!(resolve((..-1).into()), Ok(vec![0, 2, 3]));
        assert_eq!(resolve((..100).into()), Ok(vec![0, 2, 3, 4]));
        assert_eq!(resolve([3, 0].into()), Ok(vec![3, 0]));
        assert_eq!(resolve((..).into()), Ok(vec![0, 2, 3, 4]));
        let error = resolve([0, 1].into()).unwrap_err();
        assert_eq!(error, ViewError::UnknownEngine { engine: 1, engines: vec![0, 2, 3, 4] });
        assert!(error.to_string().contains("engine 1"), "{error}");
        assert!(matches!(resolve((-5).into()), Err(ViewError::UnknownEngine { engine: -5, .. })));
        assert_eq!(resolve((..0).into()), Err(ViewError::NoEngines));
    }
}
