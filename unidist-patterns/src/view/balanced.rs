//! [`LoadBalancedView`]: runs each task on one of its engines.

use super::arguments::{IntoViewArgs, ViewArgs};
use super::call::{self, Arguments, Context, Decoder, Options, decode_many, decode_one};
use super::client_loop::{ClientLoop, Submission};
use super::dependencies::Dependency;
use super::engines::Targets;
use super::error::{EngineId, Result};
use super::load_balancer::{Requirements, Scheme, ViewPolicy};
use super::result::{AsyncResult, Part, invalid_argument};
use super::task::Placement;
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use unidist_core::{Portable, RemoteFn, TaskError};

/// A set of engines; each task runs on one of them, chosen by a [`Scheme`] among the engines that have room.
///
/// The view's high-water mark limits how many tasks of load-balanced views an engine has at once; further tasks wait in
/// the client, in order, and views take turns. Tasks that still wait when the last handle of the client is dropped
/// never run.
///
/// The engines and the scheme of a view never change; views that agree in both are equal. A flag is set on a copy:
/// `view.retries(2).apply(..)` leaves the view unchanged.
///
/// ```
/// use std::time::Duration;
/// use unidist::view::{Client, Result};
///
/// # fn main() -> Result<()> {
/// let _session = unidist::init()?;
/// let view = Client::new()?.load_balanced_view(..)?;
/// let first = view.label("first").apply(|x: i64| x + 1, (1,));
/// let second = view.after(&first).timeout(Duration::from_secs(60)).apply(|x: i64| x + 2, (1,));
/// assert_eq!((first.get_one(None)?, second.get_one(None)?), (2, 3));
/// assert_eq!(view.chunk_size(10).map_sync(|x: i64| -x, 0..100)?[99], -99);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct LoadBalancedView {
    client_loop: Arc<ClientLoop>,
    policy: Arc<ViewPolicy>,
    label: Option<String>,
    block: bool,
    after: Option<Dependency>,
    follow: Option<Dependency>,
    timeout: Option<Duration>,
    retries: u32,
    chunk_size: usize,
}

impl LoadBalancedView {
    /// A view of these engines; `None`: of all engines, later ones included.
    pub(crate) fn new(client_loop: Arc<ClientLoop>, targets: Option<Vec<EngineId>>) -> Self {
        let policy = ViewPolicy { targets, scheme: Scheme::default(), high_water_mark: 1 };
        LoadBalancedView {
            client_loop,
            policy: Arc::new(policy),
            label: None,
            block: false,
            after: None,
            follow: None,
            timeout: None,
            retries: 0,
            chunk_size: 1,
        }
    }

    /// The selected engines; `None` for all engines, later ones included.
    pub fn targets(&self) -> Option<&[EngineId]> {
        self.policy.targets.as_deref()
    }

    /// How it chooses an engine.
    pub fn scheme(&self) -> Scheme {
        self.policy.scheme
    }

    /// The most tasks of load-balanced views that an engine may have at once; 0 means no limit.
    pub fn high_water_mark(&self) -> usize {
        self.policy.high_water_mark
    }

    fn with_policy(&self, policy: ViewPolicy) -> Self {
        LoadBalancedView { policy: Arc::new(policy), ..self.clone() }
    }

    /// A view that chooses engines by this scheme.
    #[must_use]
    pub fn with_scheme(&self, scheme: Scheme) -> Self {
        self.with_policy(ViewPolicy { scheme, targets: self.policy.targets.clone(), ..*self.policy })
    }

    /// A view with this high-water mark. The default, 1, balances best; with a higher one an engine does not wait for
    /// its next task. 0 means no limit, so that no task waits in the client for an engine.
    #[must_use]
    pub fn with_high_water_mark(&self, high_water_mark: usize) -> Self {
        self.with_policy(ViewPolicy { high_water_mark, targets: self.policy.targets.clone(), ..*self.policy })
    }

    /// A view of these engines.
    ///
    /// # Errors
    ///
    /// There is no such engine, or the selection is empty.
    pub fn with_targets(&self, targets: impl Into<Targets>) -> Result<Self> {
        let targets = self.client_loop.resolve_or_all(&targets.into())?;
        Ok(self.with_policy(ViewPolicy { targets, ..*self.policy }))
    }

    /// A copy of the view whose tasks have this label in the history.
    #[must_use]
    pub fn label(&self, label: impl Into<String>) -> Self {
        LoadBalancedView { label: Some(label.into()), ..self.clone() }
    }

    /// A copy of the view whose methods wait until their tasks have ended (`true`), or return at once (`false`).
    #[must_use]
    pub fn block(&self, block: bool) -> Self {
        LoadBalancedView { block, ..self.clone() }
    }

    /// A copy of the view whose tasks start after other tasks have ended: see [`Dependency`].
    #[must_use]
    pub fn after(&self, others: impl Into<Dependency>) -> Self {
        LoadBalancedView { after: Some(others.into()), ..self.clone() }
    }

    /// A copy of the view whose tasks run where other tasks ran.
    #[must_use]
    pub fn follow(&self, others: impl Into<Dependency>) -> Self {
        LoadBalancedView { follow: Some(others.into()), ..self.clone() }
    }

    /// A copy of the view whose tasks fail with [`DependencyTimeout`](super::ViewError::DependencyTimeout) when they
    /// have waited this long for their dependencies.
    #[must_use]
    pub fn timeout(&self, limit: Duration) -> Self {
        LoadBalancedView { timeout: Some(limit), ..self.clone() }
    }

    /// A copy of the view whose tasks are retried up to `times` times if they fail or their engine dies, preferably on
    /// another engine.
    #[must_use]
    pub fn retries(&self, times: u32) -> Self {
        LoadBalancedView { retries: times, ..self.clone() }
    }

    /// A copy of the view whose [`map`](Self::map) puts this many items into a task; 0 counts as 1.
    #[must_use]
    pub fn chunk_size(&self, items: usize) -> Self {
        LoadBalancedView { chunk_size: items.max(1), ..self.clone() }
    }

    /// Calls a function on one of the engines, with arguments like those of
    /// [`DirectView::apply`](super::DirectView::apply).
    pub fn apply<F, Args>(&self, function: F, args: impl IntoViewArgs<Args>) -> AsyncResult<F::Value>
    where
        F: RemoteFn<Args>,
        Args: ViewArgs,
    {
        let arguments = Arguments::new(self.context(), args.__wire());
        let run = move |args: Args| function.call(args);
        let call = call::new_call(run, arguments, decode_one::<F::Value>, Options::named::<F>());
        self.submit(vec![self.submission(call)], decode_one::<F::Value>)
    }

    /// Like [`apply`](Self::apply), and waits for the result.
    ///
    /// # Errors
    ///
    /// The task failed: see [`ViewError`](super::ViewError).
    pub fn apply_sync<F, Args>(&self, function: F, args: impl IntoViewArgs<Args>) -> Result<F::Value>
    where
        F: RemoteFn<Args>,
        Args: ViewArgs,
    {
        self.apply(function, args).get_one(None)
    }

    /// Calls a function for each item, in tasks of [`chunk_size`](Self::chunk_size) items. The results are in the order
    /// of the items; [`iter_unordered`](AsyncResult::iter_unordered) gives them as they arrive.
    pub fn map<F, A>(&self, function: F, items: impl IntoIterator<Item = A>) -> AsyncResult<F::Value>
    where
        F: RemoteFn<(A,)>,
        A: Portable,
    {
        let run = move |(items,): (Vec<A>,)| -> Result<Vec<F::Value>, TaskError> {
            items.into_iter().map(|item| function.call((item,))).collect()
        };
        let mut items = items.into_iter();
        let chunks = std::iter::from_fn(|| {
            let chunk: Vec<A> = items.by_ref().take(self.chunk_size).collect();
            (!chunk.is_empty()).then_some(chunk)
        });
        let submissions = chunks.map(|chunk| {
            let arguments = Arguments::new(self.context(), (chunk,).__wire());
            self.submission(call::new_call(run, arguments, decode_many::<F::Value>, Options::named::<F>()))
        });
        self.submit(submissions.collect(), decode_many::<F::Value>)
    }

    /// Like [`map`](Self::map), and waits for the results.
    ///
    /// # Errors
    ///
    /// Those of [`AsyncResult::get`].
    pub fn map_sync<F, A>(&self, function: F, items: impl IntoIterator<Item = A>) -> Result<Vec<F::Value>>
    where
        F: RemoteFn<(A,)>,
        A: Portable,
    {
        self.map(function, items).get(None)
    }

    /// Calls a function for each item lazily, and gives the results in order. At most `max_outstanding` tasks are
    /// submitted whose results have not been taken, so the iterator of items may be infinite. Dropping the returned
    /// iterator aborts the tasks that have not ended.
    ///
    /// ```
    /// use unidist::view::{Client, Result};
    ///
    /// # fn main() -> Result<()> {
    /// let _session = unidist::init()?;
    /// let view = Client::new()?.load_balanced_view(..)?;
    /// let mut squares = view.imap(|x: u64| x * x, 0.., 4)?;
    /// let first: Result<Vec<u64>> = squares.by_ref().take(3).collect();
    /// assert_eq!(first?, [0, 1, 4]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// `max_outstanding` is 0.
    pub fn imap<F, I>(
        &self,
        function: F,
        items: I,
        max_outstanding: usize,
    ) -> Result<Imap<F, I::IntoIter, F::Value>>
    where
        I: IntoIterator<Item: Portable>,
        F: RemoteFn<(I::Item,)>,
    {
        if max_outstanding == 0 {
            let message = "max_outstanding must be at least 1".to_owned();
            return Err(invalid_argument("LoadBalancedView::imap", message));
        }
        let view = self.clone();
        Ok(Imap { view, function, items: items.into_iter(), outstanding: VecDeque::new(), max_outstanding })
    }

    fn context(&self) -> Context {
        Context { client: self.client_loop.shared.number }
    }

    fn submission(&self, call: Arc<dyn call::AnyCall>) -> Submission {
        let job = Requirements {
            policy: self.policy.clone(),
            after: self.after.clone(),
            follow: self.follow.clone(),
            timeout: self.timeout,
            retries: self.retries,
        };
        Submission {
            call,
            placement: Placement::Balanced(job),
            label: self.label.clone(),
            resubmission_of: None,
        }
    }

    fn submit<T: Portable>(&self, submissions: Vec<Submission>, decode: Decoder<T>) -> AsyncResult<T> {
        let tasks = self.client_loop.shared.submit(submissions);
        let parts = tasks.into_iter().map(|task| Part { task, decode }).collect();
        let result = AsyncResult::new(self.client_loop.clone(), parts, self.label.clone());
        if self.block {
            result.wait(None);
        }
        result
    }
}

/// The iterator of [`LoadBalancedView::imap`].
pub struct Imap<F, I, T> {
    view: LoadBalancedView,
    function: F,
    items: I,
    outstanding: VecDeque<AsyncResult<T>>,
    max_outstanding: usize,
}

impl<F, I> Iterator for Imap<F, I, F::Value>
where
    I: Iterator<Item: Portable>,
    F: RemoteFn<(I::Item,)>,
{
    type Item = Result<F::Value>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.outstanding.len() < self.max_outstanding {
            let Some(item) = self.items.next() else { break };
            self.outstanding.push_back(self.view.apply(self.function, (item,)));
        }
        self.outstanding.pop_front().map(|result| result.get_one(None))
    }
}

impl<F, I, T> Drop for Imap<F, I, T> {
    fn drop(&mut self) {
        for result in &self.outstanding {
            let _ = result.abort(); // fails only if the session has ended, and the tasks with it
        }
    }
}

impl<F, I, T> fmt::Debug for Imap<F, I, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Imap({} outstanding)", self.outstanding.len())
    }
}

impl PartialEq for LoadBalancedView {
    /// Whether both views have the same client, engines and way of choosing.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.client_loop, &other.client_loop) && self.policy == other.policy
    }
}

impl Eq for LoadBalancedView {}

impl fmt::Debug for LoadBalancedView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ViewPolicy { targets, scheme, high_water_mark } = &*self.policy;
        match targets {
            Some(targets) => write!(f, "LoadBalancedView({targets:?}, {scheme:?}, {high_water_mark})"),
            None => write!(f, "LoadBalancedView(all, {scheme:?}, {high_water_mark})"),
        }
    }
}
