//! [`DirectView`]: runs each call on all of its engines.

use super::arguments::{IntoViewArgs, ViewArgs, failed};
use super::call::{self, Arguments, Context, Options, decode_many, decode_one};
use super::client_loop::{ClientLoop, Submission};
use super::engines::Targets;
use super::error::{EngineId, Result};
use super::namespace::{self, Namespace};
use super::result::{AsyncResult, Part};
use super::scatter::Distribution;
use super::task::Placement;
use std::fmt;
use std::sync::Arc;
use unidist_core::{Portable, RemoteFn, TaskError};

/// A fixed list of engines; each call runs on all of them.
///
/// The engines never change: calls to one that has died fail with [`EngineDied`](super::ViewError::EngineDied). Views
/// of the same engines are equal, regardless of their flags. A flag is set on a copy: `view.label("x").apply(..)`
/// leaves the view unchanged.
///
/// Calls on an engine run one after the other, in the order in which they were made.
///
/// ```
/// use unidist::view::{Client, Result};
///
/// # fn main() -> Result<()> {
/// let _session = unidist::init()?;
/// let client = Client::new()?;
/// let all = client.view(..)?;
/// all.set("base", &10_i64)?;
/// let squares = all.map_sync(|x: i64| x * x, 0..10)?;
/// assert_eq!(squares, [0, 1, 4, 9, 16, 25, 36, 49, 64, 81]);
/// assert_eq!(all.get::<i64>("base")?, vec![10; all.len()]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct DirectView {
    client_loop: Arc<ClientLoop>,
    targets: Arc<[EngineId]>,
    label: Option<String>,
    block: bool,
    /// Whether arguments are put once for all engines.
    broadcast: bool,
}

impl DirectView {
    pub(crate) fn new(client_loop: Arc<ClientLoop>, targets: Vec<EngineId>) -> Self {
        DirectView { client_loop, targets: targets.into(), label: None, block: false, broadcast: false }
    }

    pub(crate) fn broadcasting(self) -> Self {
        DirectView { broadcast: true, ..self }
    }

    /// The engines.
    pub fn targets(&self) -> &[EngineId] {
        &self.targets
    }

    /// The number of engines, at least one.
    #[allow(clippy::len_without_is_empty, reason = "there is no empty view")]
    pub fn len(&self) -> usize {
        self.targets.len()
    }

    /// A view of these engines with the same flags.
    ///
    /// # Errors
    ///
    /// There is no such engine, or the selection is empty.
    pub fn with_targets(&self, targets: impl Into<Targets>) -> Result<Self> {
        let targets = self.client_loop.resolve(&targets.into())?;
        Ok(DirectView { targets: targets.into(), ..self.clone() })
    }

    /// A copy of the view whose tasks have this label in the history.
    #[must_use]
    pub fn label(&self, label: impl Into<String>) -> Self {
        DirectView { label: Some(label.into()), ..self.clone() }
    }

    /// A copy of the view whose methods wait until their tasks have ended (`true`), or return at once (`false`).
    #[must_use]
    pub fn block(&self, block: bool) -> Self {
        DirectView { block, ..self.clone() }
    }

    /// Calls a function on each engine with the same arguments: a tuple of values, refs, or
    /// [references](super::Reference) to names in each engine's namespace. Gives one result per engine, in their order.
    pub fn apply<F, Args>(&self, function: F, args: impl IntoViewArgs<Args>) -> AsyncResult<F::Value>
    where
        F: RemoteFn<Args>,
        Args: ViewArgs,
    {
        let options = Options::named::<F>();
        self.on_all(move |args: Args| function.call(args), args, options)
    }

    /// Like [`apply`](Self::apply), and waits for the results.
    ///
    /// # Errors
    ///
    /// Those of [`AsyncResult::get`].
    pub fn apply_sync<F, Args>(&self, function: F, args: impl IntoViewArgs<Args>) -> Result<Vec<F::Value>>
    where
        F: RemoteFn<Args>,
        Args: ViewArgs,
    {
        self.apply(function, args).get(None)
    }

    /// Calls a function for each item; each engine gets a contiguous block of items. The results are in the order of
    /// the items, and those of an engine arrive together.
    pub fn map<F, A>(&self, function: F, items: impl IntoIterator<Item = A>) -> AsyncResult<F::Value>
    where
        F: RemoteFn<(A,)>,
        A: Portable,
    {
        let run = move |(items,): (Vec<A>,)| -> Result<Vec<F::Value>, TaskError> {
            items.into_iter().map(|item| function.call((item,))).collect()
        };
        let blocks = Distribution::Block.split(items, self.len()).into_iter();
        let blocks = self.targets.iter().zip(blocks).filter(|(_, block)| !block.is_empty());
        let submissions = blocks.map(|(engine, block)| {
            let options = Options::named::<F>();
            let arguments = Arguments::new(self.context(), (block,).__wire());
            self.submission(*engine, call::new_call(run, arguments, decode_many::<F::Value>, options))
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

    /// Calls a function on each engine with the engine's namespace.
    ///
    /// ```
    /// use unidist::view::{Client, Namespace, Result};
    ///
    /// fn count(names: &mut Namespace) -> usize {
    ///     names.set("count", names.get("count").unwrap_or(0_usize) + 1);
    ///     names.get("count").unwrap_or(0)
    /// }
    ///
    /// # fn main() -> Result<()> {
    /// let _session = unidist::init()?;
    /// let first = Client::new()?.view(0)?;
    /// assert_eq!(first.execute(count).get_one(None)?, 1);
    /// assert_eq!(first.execute(count).get_one(None)?, 2);
    /// # Ok(())
    /// # }
    /// ```
    pub fn execute<F, R>(&self, function: F) -> AsyncResult<R>
    where
        F: Fn(&mut Namespace) -> R + Copy + Send + Sync + 'static,
        R: Portable,
    {
        let run = move |()| -> Result<R, TaskError> {
            let mut names = namespace::namespace().map_err(failed)?;
            Ok(function(&mut names))
        };
        self.on_all(run, (), Options::named::<F>())
    }

    /// Binds a name to a value on each engine.
    pub fn push<T: Portable + Clone>(&self, name: impl Into<String>, value: &T) -> AsyncResult<()> {
        self.update([(name, value.clone())])
    }

    /// Binds several names to values on each engine.
    pub fn update<T, N>(&self, values: impl IntoIterator<Item = (N, T)>) -> AsyncResult<()>
    where
        T: Portable + Clone,
        N: Into<String>,
    {
        let values: Vec<(String, T)> = values.into_iter().map(|(name, value)| (name.into(), value)).collect();
        self.on_all(set_names::<T>, (values,), internal("push"))
    }

    /// The value of a name on each engine.
    pub fn pull<T: Portable + Clone>(&self, name: impl Into<String>) -> AsyncResult<T> {
        let run = |(name,): (String,)| {
            namespace::namespace().and_then(|names| names.get::<T>(&name)).map_err(failed)
        };
        self.on_all(run, (name.into(),), internal("pull"))
    }

    /// Like [`push`](Self::push), and waits until all engines have it.
    ///
    /// # Errors
    ///
    /// Those of [`AsyncResult::get`].
    pub fn set<T: Portable + Clone>(&self, name: impl Into<String>, value: &T) -> Result<()> {
        self.push(name, value).get(None).map(drop)
    }

    /// Like [`pull`](Self::pull), and waits for the values.
    ///
    /// # Errors
    ///
    /// Those of [`AsyncResult::get`]; an engine does not have the name, or its value has another type.
    pub fn get<T: Portable + Clone>(&self, name: impl Into<String>) -> Result<Vec<T>> {
        self.pull(name).get(None)
    }

    /// Distributes a list over the engines: each gets a part, a `Vec<T>` with this name.
    pub fn scatter<T: Portable + Clone>(
        &self,
        name: impl Into<String>,
        items: &[T],
        distribution: Distribution,
    ) -> AsyncResult<()> {
        let name = name.into();
        let parts = distribution.split(items.iter().cloned(), self.len());
        let submissions = self.targets.iter().zip(parts).map(|(engine, part)| {
            let values = vec![(name.clone(), part)];
            let arguments = Arguments::new(self.context(), (values,).__wire());
            self.submission(
                *engine,
                call::new_call(set_names::<Vec<T>>, arguments, decode_one::<()>, internal("scatter")),
            )
        });
        self.submit(submissions.collect(), decode_one::<()>)
    }

    /// Collects the parts of a list that was [scattered](Self::scatter) with the same distribution.
    pub fn gather<T: Portable + Clone>(
        &self,
        name: impl Into<String>,
        distribution: Distribution,
    ) -> AsyncResult<T> {
        let name = name.into();
        let run = |(name,): (String,)| {
            namespace::namespace().and_then(|names| names.get::<Vec<T>>(&name)).map_err(failed)
        };
        let arguments = Arguments::new(self.context(), (name,).__wire());
        let submissions = self.targets.iter().map(|engine| {
            self.submission(
                *engine,
                call::new_call(run, arguments.clone(), decode_many::<T>, internal("gather")),
            )
        });
        let gathered = self.submit(submissions.collect(), decode_many::<T>);
        match distribution {
            Distribution::Block => gathered,
            Distribution::RoundRobin => gathered.round_robin(),
        }
    }

    /// Removes all names from the engines' namespaces, ahead of calls that wait there.
    pub fn clear(&self) -> AsyncResult<()> {
        let run = |()| -> Result<(), TaskError> {
            namespace::namespace().map_err(failed)?.clear();
            Ok(())
        };
        let options = Options { priority: Some(i32::MAX), ..internal("clear") };
        self.on_all(run, (), options)
    }

    /// Submits the same call for every engine.
    fn on_all<Args, V, J>(&self, run: J, args: impl IntoViewArgs<Args>, options: Options) -> AsyncResult<V>
    where
        Args: ViewArgs,
        V: Portable,
        J: Fn(Args) -> Result<V, TaskError> + Copy + Send + Sync + 'static,
    {
        let wire = args.__wire();
        let arguments = match self.broadcast && self.len() > 1 {
            true => Arguments::put_once(self.context(), wire),
            false => Arguments::new(self.context(), wire),
        };
        let call = call::new_call(run, arguments, decode_one::<V>, options);
        let submissions = self.targets.iter().map(|engine| self.submission(*engine, call.clone()));
        self.submit(submissions.collect(), decode_one::<V>)
    }

    fn context(&self) -> Context {
        Context { client: self.client_loop.shared.number }
    }

    fn submission(&self, engine: EngineId, call: Arc<dyn call::AnyCall>) -> Submission {
        let placement = Placement::Engine(engine);
        Submission { call, placement, label: self.label.clone(), resubmission_of: None }
    }

    fn submit<T: Portable>(&self, submissions: Vec<Submission>, decode: call::Decoder<T>) -> AsyncResult<T> {
        let tasks = self.client_loop.shared.submit(submissions);
        let parts = tasks.into_iter().map(|task| Part { task, decode }).collect();
        let result = AsyncResult::new(self.client_loop.clone(), parts, self.label.clone());
        if self.block {
            result.wait(None);
        }
        result
    }
}

fn set_names<T: Clone + Send + 'static>((values,): (Vec<(String, T)>,)) -> Result<(), TaskError> {
    let names = namespace::namespace().map_err(failed)?;
    values.into_iter().for_each(|(name, value)| names.set(name, value));
    Ok(())
}

fn internal(name: &str) -> Options {
    Options { name: Some(name.to_owned()), priority: None }
}

impl PartialEq for DirectView {
    /// Whether both views have the same client and engines.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.client_loop, &other.client_loop) && self.targets == other.targets
    }
}

impl Eq for DirectView {}

impl fmt::Debug for DirectView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DirectView({:?})", self.targets)
    }
}
