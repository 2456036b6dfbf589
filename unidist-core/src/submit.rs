//! From a call site to the backend: the part of a call that knows no types.

use crate::args::{ArgList, Arguments};
use crate::object_ref::ObjectRef;
use crate::reference::RefCore;
use crate::registry::{self, Callable};
use crate::session::BackendProxy;
use crate::split::Refs;
use std::any::TypeId;
use std::sync::Arc;
use std::time::Duration;
use unidist_common::{
    DataId, Error, ErrorKind, FunctionKey, GroupSpec, ProcessId, Returns, Target, TaskError, TaskOptions,
    TaskSpec,
};

/// A call that was handed in, or why it could not be.
#[doc(hidden)]
#[derive(Debug)]
pub struct Submitted(Result<(BackendProxy, DataId), Error>);

impl Submitted {
    /// The reference to the `place`-th result, which must be taken once.
    pub(crate) fn reference(&self, place: u32) -> RefCore {
        match &self.0 {
            Ok((backend, first)) => RefCore::adopt(backend.clone(), first.nth(place)),
            Err(error) => RefCore::failed(error.clone()),
        }
    }

    pub(crate) fn object_ref<T>(&self, place: u32) -> ObjectRef<T> {
        ObjectRef::new(self.reference(place))
    }
}

/// The options that a call of a function takes, however the function was defined: methods of a type with a field
/// `chosen`.
macro_rules! call_options {
    () => {
        /// How many CPU slots the call holds while it runs: what the definition says, or else 1; 0 and fractions are fine.
        pub fn num_cpus(mut self, amount: impl Into<f64>) -> Self {
            self.chosen.num_cpus(amount.into());
            self
        }

        /// How much of a custom resource (see `UNIDIST_RESOURCES`) the call holds while it runs.
        pub fn resource(mut self, name: impl Into<String>, amount: impl Into<f64>) -> Self {
            self.chosen.resource(name.into(), amount.into());
            self
        }

        /// How often the call is run again if its worker dies with it: 0 unless said otherwise. A call that was lost with a
        /// worker three times is given up in any case.
        pub fn max_retries(mut self, times: u32) -> Self {
            self.chosen.max_retries(times);
            self
        }

        /// How long the call may run, counted from its start on a worker; no limit unless said otherwise. One that takes
        /// longer fails with an error of kind [`TimedOut`](unidist_common::ErrorKind::TimedOut), and is not run again; what
        /// runs on is stopped as by [`cancel`](crate::cancel()).
        pub fn timeout(mut self, limit: std::time::Duration) -> Self {
            self.chosen.timeout(limit);
            self
        }

        /// Among calls that are ready, those of higher priority start first; 0 unless said otherwise.
        pub fn priority(mut self, priority: i32) -> Self {
            self.chosen.priority(priority);
            self
        }

        /// The name shown in errors and logs.
        pub fn name(mut self, name: impl Into<String>) -> Self {
            self.chosen.name(name.into());
            self
        }

        /// The worker that is to run the call, one of [`workers`](crate::workers()): no other does. If that is gone before the
        /// call starts, the call fails with an error of kind [`WorkerGone`](unidist_common::ErrorKind::WorkerGone); if it
        /// dies with it, of kind [`WorkerDied`](unidist_common::ErrorKind::WorkerDied).
        pub fn on_worker(mut self, worker: unidist_common::ProcessId) -> Self {
            self.chosen.worker(worker);
            self
        }

        /// The [`Group`](crate::Group) of the call.
        pub fn group(mut self, group: &crate::Group) -> Self {
            self.chosen.group(group.spec());
            self
        }
    };
}
pub(crate) use call_options;

/// Options for calls of functions that are not known yet: see [`prepare`](crate::prepare).
#[derive(Clone, Debug, Default)]
pub struct CallSettings {
    chosen: Chosen,
}

impl CallSettings {
    /// None.
    pub fn new() -> Self {
        CallSettings::default()
    }

    call_options!();

    pub(crate) fn chosen(&self) -> Chosen {
        self.chosen.clone()
    }
}

/// The options of one call, none of them set in most.
#[derive(Clone, Debug, Default)]
pub(crate) struct Chosen(Option<Box<ChosenOptions>>);

#[derive(Clone, Debug, Default)]
struct ChosenOptions {
    options: TaskOptions,
    /// Why the options are impossible.
    invalid: Option<String>,
}

impl Chosen {
    fn set(&mut self) -> &mut ChosenOptions {
        self.0.get_or_insert_default()
    }

    pub(crate) fn num_cpus(&mut self, amount: f64) {
        self.check("num_cpus", amount);
        self.set().options.num_cpus = Some(amount);
    }

    pub(crate) fn resource(&mut self, name: String, amount: f64) {
        self.check(&format!("the amount of resource `{name}`"), amount);
        self.set().options.resources.push((name, amount));
    }

    pub(crate) fn name(&mut self, name: String) {
        self.set().options.name = Some(name);
    }

    pub(crate) fn max_retries(&mut self, times: u32) {
        self.set().options.max_retries = Some(times);
    }

    pub(crate) fn priority(&mut self, priority: i32) {
        self.set().options.priority = Some(priority);
    }

    pub(crate) fn worker(&mut self, worker: ProcessId) {
        self.set().options.worker = Some(worker);
    }

    pub(crate) fn group(&mut self, group: GroupSpec) {
        self.set().options.group = Some(group);
    }

    pub(crate) fn timeout(&mut self, limit: Duration) {
        if limit.is_zero() {
            self.invalid(NO_TIME.to_owned());
        }
        self.set().options.timeout = Some(limit);
    }

    pub(crate) fn max_restarts(&mut self, times: u32) {
        self.set().options.max_restarts = Some(times);
    }

    pub(crate) fn max_concurrency(&mut self, calls: u32) {
        if calls == 0 {
            self.invalid("max_concurrency must be at least 1".to_owned());
        }
        self.set().options.max_concurrency = Some(calls);
    }

    fn check(&mut self, what: &str, amount: f64) {
        if let Some(message) = wrong_amount(what, amount) {
            self.invalid(message);
        }
    }

    fn invalid(&mut self, message: String) {
        self.set().invalid.get_or_insert(message);
    }
}

const NO_TIME: &str = "timeout must be a number of seconds that is more than 0";

/// The limit of time of a definition. What is no time is told when a call is made: it is none.
#[doc(hidden)]
pub fn seconds(amount: f64) -> Duration {
    match Duration::try_from_secs_f64(amount) {
        Ok(limit) => limit,
        Err(_) if amount > 0.0 => Duration::MAX,
        Err(_) => Duration::ZERO,
    }
}

fn wrong_amount(what: &str, amount: f64) -> Option<String> {
    let fine = amount.is_finite() && amount >= 0.0;
    (!fine).then(|| format!("{what} must be a finite number that is not negative, not {amount}"))
}

/// Hands a call of `C` in. Only this thin part is compiled once for each function.
pub(crate) fn submit<C: Callable, R: Refs>(
    arguments: ArgList,
    chosen: Chosen,
    target: Target,
    returns: u32,
) -> R {
    registry::enter_callable::<C>();
    R::__make(&hand_in(TypeId::of::<C>(), arguments, chosen, target, returns))
}

/// The same for an actor's constructor: the reference to the actor.
pub(crate) fn submit_constructor<C: Callable>(arguments: ArgList, chosen: Chosen) -> RefCore {
    registry::enter_callable::<C>();
    hand_in(TypeId::of::<C>(), arguments, chosen, Target::NewActor, 1).reference(0)
}

fn hand_in(callable: TypeId, arguments: ArgList, chosen: Chosen, target: Target, returns: u32) -> Submitted {
    call(prepare(callable, chosen).as_ref(), arguments, target, returns)
}

/// What calls of a function with certain options have in common.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    function: FunctionKey,
    name: Arc<str>,
    options: Arc<TaskOptions>,
}

/// The template of the calls of a callable, or why it cannot be called like this.
pub(crate) fn prepare(callable: TypeId, chosen: Chosen) -> Result<Template, Error> {
    let registered = registry::of(callable)?;
    let mut name = registered.name.clone();
    let mut options = registered.defaults.clone();
    let mut invalid = wrong_default(&options);
    if let Some(chosen) = chosen.0 {
        if let Some(chosen) = &chosen.options.name {
            name = chosen.as_str().into();
        }
        invalid = chosen.invalid.or(invalid);
        options = Arc::new(merged(&options, chosen.options));
    }
    if let Some(message) = invalid {
        let error = TaskError::new(ErrorKind::InvalidOption, message).of_function(&name);
        return Err(error.into());
    }
    Ok(Template { function: registered.key, name, options })
}

/// Hands a call in.
pub(crate) fn call(
    template: Result<&Template, &Error>,
    arguments: ArgList,
    target: Target,
    returns: u32,
) -> Submitted {
    let Template { function, name, options } = match template {
        Ok(template) => template,
        Err(error) => return Submitted(Err(error.clone())),
    };
    let arguments = match arguments.finish() {
        Ok(arguments) => arguments,
        Err(error) => return Submitted(Err(of_call(error, name))),
    };
    let Arguments { backend, args, dependencies, borrowed, held } = arguments;
    let first = backend.reserve(returns.max(1));
    backend.submit(TaskSpec {
        function: *function,
        body: None,
        name: name.clone(),
        target,
        args,
        dependencies,
        borrowed,
        returns: Returns { first, count: returns },
        options: options.clone(),
    });
    drop(held); // the backend has its own references to the arguments now
    Submitted(Ok((backend, first)))
}

fn wrong_default(options: &TaskOptions) -> Option<String> {
    let cpus = options.num_cpus.and_then(|amount| wrong_amount("num_cpus", amount));
    let mut amounts = options.resources.iter();
    cpus.or_else(|| {
        amounts.find_map(|(name, amount)| wrong_amount(&format!("the amount of resource `{name}`"), *amount))
    })
    .or_else(|| (options.max_concurrency == Some(0)).then(|| "max_concurrency must be at least 1".to_owned()))
    .or_else(|| (options.timeout == Some(Duration::ZERO)).then(|| NO_TIME.to_owned()))
}

/// The options of a call: those chosen for it, else those of the definition. A resource chosen replaces the
/// definition's of that name.
fn merged(defaults: &TaskOptions, chosen: TaskOptions) -> TaskOptions {
    let mut resources = defaults.resources.clone();
    for (name, amount) in chosen.resources {
        resources.retain(|(other, _)| *other != name);
        resources.push((name, amount));
    }
    TaskOptions {
        num_cpus: chosen.num_cpus.or(defaults.num_cpus),
        resources,
        name: chosen.name.or_else(|| defaults.name.clone()),
        max_retries: chosen.max_retries.or(defaults.max_retries),
        priority: chosen.priority.or(defaults.priority),
        max_concurrency: chosen.max_concurrency.or(defaults.max_concurrency),
        timeout: chosen.timeout.or(defaults.timeout),
        max_restarts: chosen.max_restarts.or(defaults.max_restarts),
        worker: chosen.worker.or(defaults.worker),
        group: chosen.group.or(defaults.group),
    }
}

/// Why the call of `name` could not be made.
fn of_call(error: Error, name: &str) -> Error {
    match error {
        Error::NotInitialized { .. } => {
            Error::NotInitialized { call: format!("{}.remote", name.rsplit("::").next().unwrap_or(name)) }
        }
        error => TaskError::from(error).of_function(name).into(),
    }
}
