//! What a task waits for, and which engines will do.

use super::error::{EngineId, Unmet};
use super::record::TaskId;
use super::result::AsyncResult;
use std::collections::HashMap;
use unidist_core::{ErrorKind, RemoteFn, TaskError};

/// Other tasks that a task of a load-balanced view depends on: in time
/// ([`after`](super::LoadBalancedView::after)), or in place ([`follow`](super::LoadBalancedView::follow)).
///
/// A result, or a ref to one, becomes a dependency on the success of all its tasks.
///
/// ```
/// use unidist::view::{Client, Dependency, Result};
///
/// # fn main() -> Result<()> {
/// let _session = unidist::init()?;
/// let view = Client::new()?.load_balanced_view(..)?;
/// let (first, second) = (view.apply(|| 1, ()), view.apply(|| 2, ()));
/// let either = Dependency::any(first.ids().into_iter().chain(second.ids()));
/// let third = view.after(either.whatever_happens()).apply(|| 3, ());
/// assert_eq!(third.get_one(None)?, 3);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dependency {
    ids: Vec<TaskId>,
    all: bool,
    success: bool,
    failure: bool,
}

impl Dependency {
    /// On the success of all of these.
    pub fn all(ids: impl IntoIterator<Item = TaskId>) -> Self {
        Dependency { ids: ids.into_iter().collect(), all: true, success: true, failure: false }
    }

    /// On the success of one of these.
    pub fn any(ids: impl IntoIterator<Item = TaskId>) -> Self {
        Dependency { all: false, ..Dependency::all(ids) }
    }

    /// The same, on their failure.
    #[must_use]
    pub fn on_failure(self) -> Self {
        Dependency { success: false, failure: true, ..self }
    }

    /// The same, on their end, whether they succeed or fail.
    #[must_use]
    pub fn whatever_happens(self) -> Self {
        Dependency { success: true, failure: true, ..self }
    }

    pub(crate) fn ids(&self) -> &[TaskId] {
        &self.ids
    }

    fn accepts(&self, end: End) -> bool {
        if end.succeeded { self.success } else { self.failure }
    }

    /// As a dependency in time.
    pub(crate) fn in_time(&self, ends: &HashMap<TaskId, End>) -> Verdict {
        let (fine, wrong) = self.counted(ends);
        let of = self.ids.len();
        match self.all {
            true if wrong > 0 => Verdict::Never(self.explained(wrong)),
            true if fine == of => Verdict::Met(None),
            false if fine > 0 || of == 0 => Verdict::Met(None),
            false if wrong == of => Verdict::Never(self.explained(wrong)),
            _ => Verdict::NotYet,
        }
    }

    /// As a dependency in place: where the task may run.
    pub(crate) fn in_place(&self, ends: &HashMap<TaskId, End>) -> Verdict {
        let (fine, wrong) = self.counted(ends);
        let of = self.ids.len();
        if of == 0 {
            return Verdict::Met(None);
        }
        let accepted = self.ids.iter().filter_map(|id| ends.get(id)).filter(|end| self.accepts(**end));
        let mut engines: Vec<EngineId> = accepted.filter_map(|end| end.engine).collect();
        engines.sort_unstable();
        engines.dedup();
        match self.all {
            true if wrong > 0 => Verdict::Never(self.explained(wrong)),
            true if fine < of => Verdict::NotYet,
            true if engines.len() > 1 => {
                Verdict::Never(format!("what it follows ran on different engines, {engines:?}"))
            }
            false if engines.is_empty() && fine + wrong < of => Verdict::NotYet,
            _ if engines.is_empty() => Verdict::Never("what it follows ran on no engine".to_owned()),
            _ => Verdict::Met(Some(engines)),
        }
    }

    /// How many have ended as wanted, and how many otherwise.
    fn counted(&self, ends: &HashMap<TaskId, End>) -> (usize, usize) {
        let ended = self.ids.iter().filter_map(|id| ends.get(id));
        ended.fold(
            (0, 0),
            |(fine, wrong), end| {
                if self.accepts(*end) { (fine + 1, wrong) } else { (fine, wrong + 1) }
            },
        )
    }

    fn explained(&self, wrong: usize) -> String {
        let how = if self.success { "failed" } else { "succeeded" };
        format!("{wrong} of the {} tasks that it depends on {how}", self.ids.len())
    }
}

impl<T> From<&AsyncResult<T>> for Dependency {
    fn from(result: &AsyncResult<T>) -> Self {
        Dependency::all(result.ids())
    }
}

/// How a task ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct End {
    pub(crate) succeeded: bool,
    pub(crate) engine: Option<EngineId>,
}

/// Whether a dependency is met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    NotYet,
    /// It is; the engines that will do, if not all.
    Met(Option<Vec<EngineId>>),
    /// It never will be: why.
    Never(String),
}

/// A function with a check that is made on the engine first: see [`depend`].
#[derive(Clone, Copy, Debug)]
pub struct Depend<C, F> {
    check: C,
    function: F,
}

/// Has a function run only on engines for which the check says yes.
///
/// The check is evaluated on the engine, before the function. Where it says no, a load-balanced view gives the task to
/// another engine, never twice to the same, and fails with
/// [`ImpossibleDependency`](super::ViewError::ImpossibleDependency) when none is left. A function that finds out on its
/// own that the engine will not do returns [`Unmet`] as its error, if it is [`fallible`](unidist_core::fallible).
///
/// ```
/// use unidist::view::{self, Client, Result, depend};
///
/// # fn main() -> Result<()> {
/// let _session = unidist::init()?;
/// let client = Client::new()?;
/// client.view(0)?.set("licence", &7)?;
/// let has_licence = || view::namespace().is_ok_and(|names| names.contains("licence"));
/// let result = client.load_balanced_view(..)?.apply(depend(has_licence, |x: i32| x + 1), (1,));
/// assert_eq!(result.get_dict(None)?, [(0, 2)].into());
/// # Ok(())
/// # }
/// ```
pub fn depend<C, F>(check: C, function: F) -> Depend<C, F>
where
    C: Fn() -> bool + Copy + Send + Sync + 'static,
{
    Depend { check, function }
}

impl<C, F, Args> RemoteFn<Args> for Depend<C, F>
where
    C: Fn() -> bool + Copy + Send + Sync + 'static,
    F: RemoteFn<Args>,
{
    type Value = F::Value;

    fn call(self, args: Args) -> Result<F::Value, TaskError> {
        if (self.check)() {
            return self.function.call(args);
        }
        Err(TaskError::new(ErrorKind::Failed, Unmet.to_string()).with_payload(&Unmet))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u64) -> TaskId {
        TaskId { client: 1, number }
    }

    fn ends(ends: &[(u64, bool, EngineId)]) -> HashMap<TaskId, End> {
        let ends = ends.iter();
        ends.map(|&(n, succeeded, engine)| (id(n), End { succeeded, engine: Some(engine) })).collect()
    }

    #[test]
    fn in_time() {
        let both = [id(1), id(2)];
        let (all, any) = (Dependency::all(both), Dependency::any(both));
        let is_never = |verdict| matches!(verdict, Verdict::Never(_));
        assert_eq!(all.in_time(&ends(&[(1, true, 0)])), Verdict::NotYet);
        assert_eq!(all.in_time(&ends(&[(1, true, 0), (2, true, 1)])), Verdict::Met(None));
        assert!(is_never(all.in_time(&ends(&[(1, false, 0)]))));
        assert_eq!(any.in_time(&ends(&[(1, false, 0)])), Verdict::NotYet);
        assert_eq!(any.in_time(&ends(&[(1, false, 0), (2, true, 0)])), Verdict::Met(None));
        assert!(is_never(any.in_time(&ends(&[(1, false, 0), (2, false, 0)]))));
        assert!(is_never(all.clone().on_failure().in_time(&ends(&[(1, true, 0)]))));
        let both_ended = ends(&[(1, true, 0), (2, false, 0)]);
        assert_eq!(all.whatever_happens().in_time(&both_ended), Verdict::Met(None));
        assert_eq!(any.on_failure().in_time(&both_ended), Verdict::Met(None));
    }

    #[test]
    fn in_place() {
        let both = [id(1), id(2)];
        let (all, any) = (Dependency::all(both), Dependency::any(both));
        assert_eq!(all.in_place(&ends(&[(1, true, 0)])), Verdict::NotYet);
        assert_eq!(all.in_place(&ends(&[(1, true, 3), (2, true, 3)])), Verdict::Met(Some(vec![3])));
        assert!(matches!(all.in_place(&ends(&[(1, true, 3), (2, true, 4)])), Verdict::Never(_)));
        assert_eq!(any.in_place(&ends(&[(1, true, 3)])), Verdict::Met(Some(vec![3])));
        assert!(matches!(any.in_place(&ends(&[(1, false, 3), (2, false, 4)])), Verdict::Never(_)));
    }
}
