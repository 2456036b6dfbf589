//! [`BroadcastView`]: a direct view that sends arguments once.

use super::arguments::{IntoViewArgs, ViewArgs};
use super::direct::DirectView;
use super::error::{EngineId, Result};
use super::namespace::Namespace;
use super::result::AsyncResult;
use unidist_core::{Portable, RemoteFn};

/// A [`DirectView`] that encodes the arguments of a call once and puts them into the object store, where every engine
/// reads them. It is for large arguments and many engines.
///
/// ```
/// use unidist::view::{Client, Result};
///
/// # fn main() -> Result<()> {
/// let _session = unidist::init()?;
/// let all = Client::new()?.broadcast_view(..)?;
/// let sums = all.apply_sync(|data: Vec<f64>| data.iter().sum::<f64>(), (vec![0.5; 100_000],))?;
/// assert!(sums.iter().all(|sum| *sum == 50_000.0));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BroadcastView {
    view: DirectView,
}

impl BroadcastView {
    pub(crate) fn new(view: DirectView) -> Self {
        BroadcastView { view: view.broadcasting() }
    }

    /// The engines.
    pub fn targets(&self) -> &[EngineId] {
        self.view.targets()
    }

    /// A copy of the view whose tasks have this label in the history.
    #[must_use]
    pub fn label(&self, label: impl Into<String>) -> Self {
        BroadcastView { view: self.view.label(label) }
    }

    /// A copy of the view whose methods wait until their tasks have ended (`true`), or return at once (`false`).
    #[must_use]
    pub fn block(&self, block: bool) -> Self {
        BroadcastView { view: self.view.block(block) }
    }

    /// Like [`DirectView::apply`].
    pub fn apply<F, Args>(&self, function: F, args: impl IntoViewArgs<Args>) -> AsyncResult<F::Value>
    where
        F: RemoteFn<Args>,
        Args: ViewArgs,
    {
        self.view.apply(function, args)
    }

    /// Like [`DirectView::apply_sync`].
    ///
    /// # Errors
    ///
    /// Those of [`AsyncResult::get`].
    pub fn apply_sync<F, Args>(&self, function: F, args: impl IntoViewArgs<Args>) -> Result<Vec<F::Value>>
    where
        F: RemoteFn<Args>,
        Args: ViewArgs,
    {
        self.view.apply_sync(function, args)
    }

    /// Like [`DirectView::execute`].
    pub fn execute<F, R>(&self, function: F) -> AsyncResult<R>
    where
        F: Fn(&mut Namespace) -> R + Copy + Send + Sync + 'static,
        R: Portable,
    {
        self.view.execute(function)
    }

    /// Like [`DirectView::push`].
    pub fn push<T: Portable + Clone>(&self, name: impl Into<String>, value: &T) -> AsyncResult<()> {
        self.view.push(name, value)
    }

    /// Like [`DirectView::pull`].
    pub fn pull<T: Portable + Clone>(&self, name: impl Into<String>) -> AsyncResult<T> {
        self.view.pull(name)
    }

    /// Like [`DirectView::clear`].
    pub fn clear(&self) -> AsyncResult<()> {
        self.view.clear()
    }
}
