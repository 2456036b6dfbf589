//! Dependencies between tasks of load-balanced views, and checks of engines.

use super::error::{EngineId, Unmet};
use super::record::TaskId;
use super::result::AsyncResult;
use std::collections::HashMap;
use unidist_core::{ErrorKind, RemoteFn, TaskError};

/// Tasks that a task of a load-balanced view depends on: it starts after them
/// ([`after`](super::LoadBalancedView::after)), or runs where they ran ([`follow`](super::LoadBalancedView::follow)).
///
/// A reference to an [`AsyncResult`] converts into a dependency on the success of all its tasks.
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
    /// A dependency on the success of all these tasks.
    pub fn all(ids: impl IntoIterator<Item = TaskId>) -> Self {
        Dependency { ids: ids.into_iter().collect(), all: true, success: true, failure: false }
    }

    /// A dependency on the success of at least one of these tasks.
    pub fn any(ids: impl IntoIterator<Item = TaskId>) -> Self {
        Dependency { all: false, ..Dependency::all(ids) }
    }

    /// The same dependency, on failure instead of success.
    #[must_use]
    pub fn on_failure(self) -> Self {
        Dependency { success: false, failure: true, ..self }
    }

    /// The same dependency, met by success and by failure.
    #[must_use]
    pub fn whatever_happens(self) -> Self {
        Dependency { success: true, failure: true, ..self }
    }

    pub(crate) fn ids(&self) -> &[TaskId] {
        &self.ids
    }

    fn accepts(&self, end: TaskEnd) -> bool {
        if end.succeeded { self.success } else { self.failure }
    }

    /// Evaluates it as an `after` dependency.
    pub(crate) fn check_after(&self, ends: &HashMap<TaskId, TaskEnd>) -> Verdict {
        let (fine, wrong) = self.count(ends);
        let of = self.ids.len();
        match self.all {
            true if wrong > 0 => Verdict::Impossible(self.describe(wrong)),
            true if fine == of => Verdict::Met(None),
            false if fine > 0 || of == 0 => Verdict::Met(None),
            false if wrong == of => Verdict::Impossible(self.describe(wrong)),
            _ => Verdict::Pending,
        }
    }

    /// Evaluates it as a `follow` dependency: where the task may run.
    pub(crate) fn check_follow(&self, ends: &HashMap<TaskId, TaskEnd>) -> Verdict {
        let (fine, wrong) = self.count(ends);
        let of = self.ids.len();
        if of == 0 {
            return Verdict::Met(None);
        }
        let accepted = self.ids.iter().filter_map(|id| ends.get(id)).filter(|end| self.accepts(**end));
        let mut engines: Vec<EngineId> = accepted.filter_map(|end| end.engine).collect();
        engines.sort_unstable();
        engines.dedup();
        match self.all {
            true if wrong > 0 => Verdict::Impossible(self.describe(wrong)),
            true if fine < of => Verdict::Pending,
            true if engines.len() > 1 => Verdict::Impossible(format!(
                "the tasks that it follows ran on different engines, {engines:?}"
            )),
            false if engines.is_empty() && fine + wrong < of => Verdict::Pending,
            _ if engines.is_empty() => {
                Verdict::Impossible("the tasks that it follows ran on no engine".to_owned())
            }
            _ => Verdict::Met(Some(engines)),
        }
    }

    /// How many tasks ended as required, and how many did not.
    fn count(&self, ends: &HashMap<TaskId, TaskEnd>) -> (usize, usize) {
        let ended = self.ids.iter().filter_map(|id| ends.get(id));
        ended.fold(
            (0, 0),
            |(fine, wrong), end| {
                if self.accepts(*end) { (fine + 1, wrong) } else { (fine, wrong + 1) }
            },
        )
    }

    fn describe(&self, wrong: usize) -> String {
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
pub(crate) struct TaskEnd {
    pub(crate) succeeded: bool,
    pub(crate) engine: Option<EngineId>,
}

/// The state of a dependency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Pending,
    /// Met; the task may run on these engines, or on any (`None`).
    Met(Option<Vec<EngineId>>),
    /// Can never be met, for this reason.
    Impossible(String),
}

/// A function with a check of the engine: see [`depend`].
#[derive(Clone, Copy, Debug)]
pub struct Depend<C, F> {
    check: C,
    function: F,
}

/// Makes a function run only on engines that pass the check.
///
/// The check runs on the engine, before the function. If it returns `false`, a load-balanced view sends the task to
/// another engine, never twice to the same one, and fails it with
/// [`ImpossibleDependency`](super::ViewError::ImpossibleDependency) when no engine is left. A
/// [`fallible`](unidist_core::fallible) function can reject its engine itself: it returns [`Unmet`] as its error.
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

    fn ends(ends: &[(u64, bool, EngineId)]) -> HashMap<TaskId, TaskEnd> {
        let ends = ends.iter();
        ends.map(|&(n, succeeded, engine)| (id(n), TaskEnd { succeeded, engine: Some(engine) })).collect()
    }

    #[test]
    fn after_is_met_by_the_required_ends() {
        let both = [id(1), id(2)];
        let (all, any) = (Dependency::all(both), Dependency::any(both));
        let is_impossible = |verdict| matches!(verdict, Verdict::Impossible(_));
        assert_eq!(all.check_after(&ends(&[(1, true, 0)])), Verdict::Pending);
        assert_eq!(all.check_after(&ends(&[(1, true, 0), (2, true, 1)])), Verdict::Met(None));
        assert!(is_impossible(all.check_after(&ends(&[(1, false, 0)]))));
        assert_eq!(any.check_after(&ends(&[(1, false, 0)])), Verdict::Pending);
        assert_eq!(any.check_after(&ends(&[(1, false, 0), (2, true, 0)])), Verdict::Met(None));
        assert!(is_impossible(any.check_after(&ends(&[(1, false, 0), (2, false, 0)]))));
        assert!(is_impossible(all.clone().on_failure().check_after(&ends(&[(1, true, 0)]))));
        let both_ended = ends(&[(1, true, 0), (2, false, 0)]);
        assert_eq!(all.whatever_happens().check_after(&both_ended), Verdict::Met(None));
        assert_eq!(any.on_failure().check_after(&both_ended), Verdict::Met(None));
    }

    #[test]
    fn follow_needs_a_common_engine() {
        let both = [id(1), id(2)];
        let (all, any) = (Dependency::all(both), Dependency::any(both));
        assert_eq!(all.check_follow(&ends(&[(1, true, 0)])), Verdict::Pending);
        assert_eq!(all.check_follow(&ends(&[(1, true, 3), (2, true, 3)])), Verdict::Met(Some(vec![3])));
        assert!(matches!(all.check_follow(&ends(&[(1, true, 3), (2, true, 4)])), Verdict::Impossible(_)));
        assert_eq!(any.check_follow(&ends(&[(1, true, 3)])), Verdict::Met(Some(vec![3])));
        assert!(matches!(any.check_follow(&ends(&[(1, false, 3), (2, false, 4)])), Verdict::Impossible(_)));
    }
}
