//! From a call site to the backend: the part of a call that knows no types.

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

    option_methods!(call);

    pub(crate) fn chosen(&self) -> Chosen {
        self.chosen.clone()
    }
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

/// Why the call of `name` could not be made.
fn of_call(error: Error, name: &str) -> Error {
    match error {
        Error::NotInitialized { .. } => {
            Error::NotInitialized { call: format!("{}.remote", name.rsplit("::").next().unwrap_or(name)) }
        }
        error => TaskError::from(error).of_function(name).into(),
    }
}
