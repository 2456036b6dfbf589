//! The engines of a client: the session's workers, numbered from 0.

use super::error::{EngineId, Result, ViewError};
use std::ops::{Range, RangeFrom, RangeFull, RangeInclusive, RangeTo, RangeToInclusive};
use unidist_core::{ProcessId, WorkerInfo};

/// A worker that the client knows.
#[derive(Clone, Debug)]
pub(crate) struct Engine {
    pub(crate) worker: ProcessId,
    pub(crate) host: String,
    pub(crate) is_alive: bool,
    /// The number of tasks of direct views that it has.
    pub(crate) queue: usize,
    /// The number of tasks of load-balanced views that it has.
    pub(crate) tasks: usize,
    /// The number of tasks that have ended on it.
    pub(crate) completed: u64,
    /// The sequence number of its last balanced task.
    pub(crate) last_used: u64,
    /// Whether one of its tasks was aborted and none has completed since: the worker may be killed for it.
    pub(crate) has_aborted_task: bool,
    /// Whether it was given any task, so that it may have a namespace.
    pub(crate) was_used: bool,
}

impl Engine {
    pub(crate) fn load(&self) -> usize {
        self.queue + self.tasks
    }
}

/// All workers that the client has seen; the index is the engine's number.
#[derive(Debug, Default)]
pub(crate) struct Engines {
    all: Vec<Engine>,
}

impl Engines {
    /// Updates the list from the session's current workers.
    pub(crate) fn update(&mut self, workers: &[WorkerInfo]) {
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
                    has_aborted_task: false,
                    was_used: false,
                });
            }
        }
    }

    /// The numbers of the live engines, in order.
    pub(crate) fn ids(&self) -> Vec<EngineId> {
        (0..self.all.len()).filter(|id| self.all[*id].is_alive).collect()
    }

    pub(crate) fn get_mut(&mut self, id: EngineId) -> Option<&mut Engine> {
        self.all.get_mut(id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (EngineId, &Engine)> {
        self.all.iter().enumerate()
    }

    /// The numbers of the engines that `targets` selects.
    pub(crate) fn resolve(&self, targets: &Targets) -> Result<Vec<EngineId>> {
        let ids = self.ids();
        let chosen = match &targets.0 {
            Choice::List(chosen) => {
                let find = |id: &i64| {
                    let found = match usize::try_from(*id) {
                        Ok(id) => ids.contains(&id).then_some(id),
                        Err(_) => {
                            ids.iter().rev().nth(usize::try_from(-1 - *id).unwrap_or(usize::MAX)).copied()
                        }
                    };
                    found.ok_or_else(|| ViewError::UnknownEngine { engine: *id, engines: ids.clone() })
                };
                chosen.iter().map(find).collect::<Result<_>>()?
            }
            Choice::Slice { start, end } => {
                let position = |end: i64| match usize::try_from(end) {
                    Ok(position) => position.min(ids.len()),
                    Err(_) => {
                        ids.len().saturating_sub(usize::try_from(end.unsigned_abs()).unwrap_or(usize::MAX))
                    }
                };
                let (start, end) = (position(*start), end.map_or(ids.len(), position));
                ids.get(start..end).unwrap_or_default().to_vec()
            }
        };
        if chosen.is_empty() { Err(ViewError::NoEngines) } else { Ok(chosen) }
    }
}

/// A selection of engines: a number (negative counts from the end), a list of numbers, or a range of positions in
/// [`ids`](super::Client::ids), clipped to its length.
///
/// A number that no engine has is an error, and so is an empty selection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Targets(Choice);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Choice {
    /// Engines by number.
    List(Vec<i64>),
    /// Positions among the live engines.
    Slice { start: i64, end: Option<i64> },
}

impl Targets {
    pub(crate) fn is_all(&self) -> bool {
        self.0 == Choice::Slice { start: 0, end: None }
    }
}

/// An integer that selects an engine or a position; negative numbers count from the end.
pub trait EngineNumber: Copy {
    #[doc(hidden)]
    fn __number(self) -> i64;
}

macro_rules! numbers {
    ($($N:ty),*) => {
        $(
            impl EngineNumber for $N {
                fn __number(self) -> i64 {
                    // A number beyond i64 is no engine's.
                    i64::try_from(self).unwrap_or(i64::MAX)
                }
            }

            impl From<$N> for Targets {
                fn from(engine: $N) -> Self {
                    Targets(Choice::List(vec![engine.__number()]))
                }
            }
        )*
    };
}
numbers!(i32, i64, usize);

impl From<RangeFull> for Targets {
    fn from(_: RangeFull) -> Self {
        Targets(Choice::Slice { start: 0, end: None })
    }
}

impl<N: EngineNumber> From<Range<N>> for Targets {
    fn from(range: Range<N>) -> Self {
        Targets(Choice::Slice { start: range.start.__number(), end: Some(range.end.__number()) })
    }
}

impl<N: EngineNumber> From<RangeFrom<N>> for Targets {
    fn from(range: RangeFrom<N>) -> Self {
        Targets(Choice::Slice { start: range.start.__number(), end: None })
    }
}

impl<N: EngineNumber> From<RangeTo<N>> for Targets {
    fn from(range: RangeTo<N>) -> Self {
        Targets(Choice::Slice { start: 0, end: Some(range.end.__number()) })
    }
}

/// The exclusive end of a range that includes `last`; `None` if `last` is the last position.
fn after(last: i64) -> Option<i64> {
    if last == -1 { None } else { Some(last.saturating_add(1)) }
}

impl<N: EngineNumber> From<RangeInclusive<N>> for Targets {
    fn from(range: RangeInclusive<N>) -> Self {
        Targets(Choice::Slice { start: range.start().__number(), end: after(range.end().__number()) })
    }
}

impl<N: EngineNumber> From<RangeToInclusive<N>> for Targets {
    fn from(range: RangeToInclusive<N>) -> Self {
        Targets(Choice::Slice { start: 0, end: after(range.end.__number()) })
    }
}

impl<N: EngineNumber> From<&[N]> for Targets {
    fn from(engines: &[N]) -> Self {
        Targets(Choice::List(engines.iter().map(|engine| engine.__number()).collect()))
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
        numbers.into_iter().map(|n| WorkerInfo::new(ProcessId::new(n).unwrap(), "here", n)).collect()
    }

    #[test]
    fn engine_numbers_are_never_reused() {
        let mut engines = Engines::default();
        engines.update(&workers([4, 5, 6]));
        assert_eq!(engines.ids(), [0, 1, 2]);
        engines.update(&workers([4, 6]));
        assert_eq!(engines.ids(), [0, 2]);
        engines.update(&workers([4, 6, 9]));
        assert_eq!(engines.ids(), [0, 2, 3]);
        assert_eq!(engines.get_mut(3).unwrap().worker, ProcessId::new(9).unwrap());
    }

    #[test]
    fn targets_select_like_python_slices() {
        let mut engines = Engines::default();
        engines.update(&workers(1..=5));
        engines.update(&workers([1, 3, 4, 5])); // engine 1 is gone
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
