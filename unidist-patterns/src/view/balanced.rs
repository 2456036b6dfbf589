//! [`LoadBalancedView`]: what is asked of it is done by one of its engines.

use super::arguments::{IntoViewArgs, ViewArgs};
use super::balancing::{Job, Lane, Scheme};
use super::call::{self, Arguments, Context, Decoder, Options, many, one};
use super::dependencies::Dependency;
use super::engines::Targets;
use super::error::{EngineId, Result};
use super::hub::{Hub, Order};
use super::result::{AsyncResult, Part, misuse};
use super::task::Placement;
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use unidist_core::{Portable, RemoteFn, TaskError};

/// Engines, of which each task is given to one: which, is decided by a [`Scheme`], when one has room.
///
/// An engine has at most as many tasks of load-balanced views at once as the view's high-water mark says; the others wait
/// in the client, in order, and views take turns. What still waits there when the last handle of the client is dropped
/// never runs.
///
/// Its engines and how it chooses never change; views that agree in both are equal. A flag is set on a copy:
/// `view.retries(2).apply(..)` leaves the view as it is.
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
    hub: Arc<Hub>,
    lane: Arc<Lane>,
    label: Option<String>,
    block: bool,
    after: Option<Dependency>,
    follow: Option<Dependency>,
    timeout: Option<Duration>,
    retries: u32,
    chunk_size: usize,
}

impl LoadBalancedView {
    /// Of these engines; none: of all that there are and will be.
    pub(crate) fn new(hub: Arc<Hub>, targets: Option<Vec<EngineId>>) -> Self {
        let lane = Lane { targets, scheme: Scheme::default(), high_water_mark: 1 };
        LoadBalancedView {
            hub,
            lane: Arc::new(lane),
            label: None,
            block: false,
            after: None,
            follow: None,
            timeout: None,
            retries: 0,
            chunk_size: 1,
        }
    }

    /// The engines that were chosen; none if all that there are and will be.
    pub fn targets(&self) -> Option<&[EngineId]> {
        self.lane.targets.as_deref()
    }

    /// How it chooses.
    pub fn scheme(&self) -> Scheme {
        self.lane.scheme
    }

    /// How many of the tasks of load-balanced views an engine may have for it to be given one more by this view.
    pub fn high_water_mark(&self) -> usize {
        self.lane.high_water_mark
    }

    fn with_lane(&self, lane: Lane) -> Self {
        LoadBalancedView { lane: Arc::new(lane), ..self.clone() }
    }

    /// Another view, which chooses in this way.
    #[must_use]
    pub fn with_scheme(&self, scheme: Scheme) -> Self {
        self.with_lane(Lane { scheme, targets: self.lane.targets.clone(), ..*self.lane })
    }

    /// Another view, with this high-water mark: 1 unless said otherwise, which balances best. With more, an engine need
    /// not wait for its next task; 0 is no limit, so that nothing waits in the client.
    #[must_use]
    pub fn with_high_water_mark(&self, high_water_mark: usize) -> Self {
        self.with_lane(Lane { high_water_mark, targets: self.lane.targets.clone(), ..*self.lane })
    }

    /// Another view, of these engines.
    ///
    /// # Errors
    ///
    /// There is no such engine.
    pub fn with_targets(&self, targets: impl Into<Targets>) -> Result<Self> {
        let targets = self.hub.chosen(&targets.into())?;
        Ok(self.with_lane(Lane { targets, ..*self.lane }))
    }

    /// The same view, whose tasks have this label in the history.
    #[must_use]
    pub fn label(&self, label: impl Into<String>) -> Self {
        LoadBalancedView { label: Some(label.into()), ..self.clone() }
    }

    /// The same view, whose methods return when their tasks have ended, or at once.
    #[must_use]
    pub fn block(&self, block: bool) -> Self {
        LoadBalancedView { block, ..self.clone() }
    }

    /// The same view, whose tasks start when others have ended: see [`Dependency`].
    #[must_use]
    pub fn after(&self, others: impl Into<Dependency>) -> Self {
        LoadBalancedView { after: Some(others.into()), ..self.clone() }
    }

    /// The same view, whose tasks run where others have run.
    #[must_use]
    pub fn follow(&self, others: impl Into<Dependency>) -> Self {
        LoadBalancedView { follow: Some(others.into()), ..self.clone() }
    }

    /// The same view, whose tasks fail with [`DependencyTimeout`](super::ViewError::DependencyTimeout) when they have
    /// waited so long for what they depend on.
    #[must_use]
    pub fn timeout(&self, limit: Duration) -> Self {
        LoadBalancedView { timeout: Some(limit), ..self.clone() }
    }

    /// The same view, whose tasks are tried again so often if they fail or their engine dies: on another engine, if there
    /// is one.
    #[must_use]
    pub fn retries(&self, times: u32) -> Self {
        LoadBalancedView { retries: times, ..self.clone() }
    }

    /// The same view, whose [`map`](Self::map) puts so many items into a task; 0 counts as 1.
    #[must_use]
    pub fn chunk_size(&self, items: usize) -> Self {
        LoadBalancedView { chunk_size: items.max(1), ..self.clone() }
    }

    /// Calls a function on one of the engines; what may be passed is as for [`DirectView::apply`](super::DirectView::apply).
    pub fn apply<F, Args>(&self, function: F, args: impl IntoViewArgs<Args>) -> AsyncResult<F::Value>
    where
        F: RemoteFn<Args>,
        Args: ViewArgs,
    {
        let arguments = Arguments::new(self.context(), args.__wire());
        let run = move |args: Args| function.call(args);
        let call = call::call(run, arguments, one::<F::Value>, Options::named::<F>());
        self.submit(vec![self.order(call)], one::<F::Value>)
    }

    /// [`apply`](Self::apply), and waits for the result.
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

    /// Calls a function with each item, in tasks of [`chunk_size`](Self::chunk_size) items. The results are in the order
    /// of the items, or, from [`iter_unordered`](AsyncResult::iter_unordered), as they come.
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
        let orders = chunks.map(|chunk| {
            let arguments = Arguments::new(self.context(), (chunk,).__wire());
            self.order(call::call(run, arguments, many::<F::Value>, Options::named::<F>()))
        });
        self.submit(orders.collect(), many::<F::Value>)
    }

    /// [`map`](Self::map), and waits for the results.
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

    /// The results of a function for items that are taken as they are needed, an endless iterator's even: at most
    /// `max_outstanding` have been handed in whose results were not taken yet. In order. Dropping it aborts what has not
    /// ended.
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
            let message = "with a max_outstanding of 0 nothing could ever be handed in".to_owned();
            return Err(misuse("LoadBalancedView::imap", message));
        }
        let view = self.clone();
        Ok(Imap { view, function, items: items.into_iter(), outstanding: VecDeque::new(), max_outstanding })
    }

    fn context(&self) -> Context {
        Context { client: self.hub.shared.number }
    }

    fn order(&self, call: Arc<dyn call::AnyCall>) -> Order {
        let job = Job {
            lane: self.lane.clone(),
            after: self.after.clone(),
            follow: self.follow.clone(),
            timeout: self.timeout,
            retries: self.retries,
        };
        Order { call, placement: Placement::Balanced(job), label: self.label.clone(), resubmission_of: None }
    }

    fn submit<T: Portable>(&self, orders: Vec<Order>, decode: Decoder<T>) -> AsyncResult<T> {
        let tasks = self.hub.shared.submit(orders);
        let parts = tasks.into_iter().map(|task| Part { task, decode }).collect();
        let result = AsyncResult::new(self.hub.clone(), parts, self.label.clone());
        if self.block {
            result.wait(None);
        }
        result
    }
}

/// What [`LoadBalancedView::imap`] gives.
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
            let _ = result.abort(); // a session that has ended has ended them
        }
    }
}

impl<F, I, T> fmt::Debug for Imap<F, I, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Imap({} outstanding)", self.outstanding.len())
    }
}

impl PartialEq for LoadBalancedView {
    /// Whether they are of the same engines and choose in the same way.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.hub, &other.hub) && self.lane == other.lane
    }
}

impl Eq for LoadBalancedView {}

impl fmt::Debug for LoadBalancedView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Lane { targets, scheme, high_water_mark } = &*self.lane;
        match targets {
            Some(targets) => write!(f, "LoadBalancedView({targets:?}, {scheme:?}, {high_water_mark})"),
            None => write!(f, "LoadBalancedView(all, {scheme:?}, {high_water_mark})"),
        }
    }
}
