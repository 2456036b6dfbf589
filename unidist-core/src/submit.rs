//! The untyped part of a call: from the call site to the backend.

use crate::args::{ArgList, Arguments};
use crate::object_ref::ObjectRef;
use crate::options::{Chosen, option_methods};
use crate::reference::RefCore;
use crate::registry::{self, Callable};
use crate::session::BackendProxy;
use crate::split::Refs;
use std::any::TypeId;
use std::sync::Arc;
use unidist_common::{
    DataId, Error, ErrorKind, FunctionKey, Returns, Target, TaskError, TaskOptions, TaskSpec,
};

/// A submitted call, or the error for which it could not be submitted.
#[doc(hidden)]
#[derive(Debug)]
pub struct Submitted(Result<(BackendProxy, DataId), Error>);

impl Submitted {
    /// The reference to the `place`-th result. Call this once for each result.
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

/// Options for calls, independent of the function: see [`prepare`](crate::prepare).
#[derive(Clone, Debug, Default)]
pub struct CallSettings {
    chosen: Chosen,
}

impl CallSettings {
    /// No options.
    pub fn new() -> Self {
        CallSettings::default()
    }

    option_methods!(call);

    pub(crate) fn chosen(&self) -> Chosen {
        self.chosen.clone()
    }
}

/// Submits a call of `C`. Only this thin part is compiled once for each function.
pub(crate) fn submit<C: Callable, R: Refs>(
    arguments: ArgList,
    chosen: Chosen,
    target: Target,
    returns: u32,
) -> R {
    registry::enter_callable::<C>();
    R::__make(&submit_call(TypeId::of::<C>(), arguments, chosen, target, returns))
}

/// The same for an actor's constructor: the reference to the actor.
pub(crate) fn submit_constructor<C: Callable>(arguments: ArgList, chosen: Chosen) -> RefCore {
    registry::enter_callable::<C>();
    submit_call(TypeId::of::<C>(), arguments, chosen, Target::NewActor, 1).reference(0)
}

fn submit_call(
    callable: TypeId,
    arguments: ArgList,
    chosen: Chosen,
    target: Target,
    returns: u32,
) -> Submitted {
    call(prepare(callable, chosen).as_ref(), arguments, target, returns)
}

/// The common part of the calls of a function with the same options.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    function: FunctionKey,
    name: Arc<str>,
    options: Arc<TaskOptions>,
    asynchronous: bool,
}

/// The template of the calls of a callable with these options.
pub(crate) fn prepare(callable: TypeId, chosen: Chosen) -> Result<Template, Error> {
    let registered = registry::of(callable)?;
    let mut name = registered.name.clone();
    let mut options = registered.defaults.clone();
    let mut fault = options.fault();
    if let Some((chosen, chosen_fault)) = chosen.into_parts() {
        if let Some(chosen) = &chosen.name {
            name = chosen.as_str().into();
        }
        fault = chosen_fault.or(fault);
        options = Arc::new(chosen.or(&options));
    }
    if let Some(message) = fault {
        let error = TaskError::new(ErrorKind::InvalidOption, message).of_function(&name);
        return Err(error.into());
    }
    Ok(Template { function: registered.key, name, options, asynchronous: registered.asynchronous })
}

/// Submits a call. Its failure is that of its refs; without any, it is logged.
pub(crate) fn call(
    template: Result<&Template, &Error>,
    arguments: ArgList,
    target: Target,
    returns: u32,
) -> Submitted {
    let submitted = try_call(template, arguments, target, returns);
    if let (Err(error), 0) = (&submitted, returns) {
        log::error!("a call without results could not be made: {error}");
    }
    Submitted(submitted)
}

fn try_call(
    template: Result<&Template, &Error>,
    arguments: ArgList,
    target: Target,
    returns: u32,
) -> Result<(BackendProxy, DataId), Error> {
    let Template { function, name, options, asynchronous } = template.map_err(Clone::clone)?;
    let arguments = arguments.finish().map_err(|error| of_call(error, name))?;
    let Arguments { backend, args, dependencies, borrowed, held } = arguments;
    let first = backend.reserve(returns.max(1));
    backend.submit(TaskSpec {
        function: *function,
        body: None,
        name: name.clone(),
        target,
        asynchronous: *asynchronous,
        args,
        dependencies,
        borrowed,
        returns: Returns { first, count: returns },
        options: options.clone(),
    });
    drop(held); // the backend now has its own references to the arguments
    Ok((backend, first))
}

/// The error of the call of `name` that could not be made.
fn of_call(error: Error, name: &str) -> Error {
    let call = || format!("{}.remote", name.rsplit("::").next().unwrap_or(name));
    match error {
        Error::NotInitialized { .. } => Error::NotInitialized { call: call() },
        Error::SessionEnded { .. } => Error::SessionEnded { call: call() },
        Error::Forked { .. } => Error::Forked { call: call() },
        error => TaskError::from(error).of_function(name).into(),
    }
}
