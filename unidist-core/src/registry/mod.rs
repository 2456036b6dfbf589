//! The table of everything that can be called remotely in this executable.
//!
//! Each call site registers its callable in a table made at link time. This includes generic functions and closures, in
//! every build profile. What `#[remote]` declares for a function (name, default options) is in a second table, joined
//! by the type of the function.

mod key;
mod table;

pub(crate) use table::{enter_callable, enter_metadata};

use crate::received_args::ReceivedArgs;
use crate::started::Started;
use rustc_hash::FxHashMap;
use std::any::{Any, TypeId, type_name};
use std::rc::Rc;
use std::sync::{Arc, OnceLock};
use unidist_common::{Error, FunctionKey, Object, Result, TaskError, TaskOptions};

/// What runs a callable, whatever its types.
#[derive(Clone, Copy)]
pub(crate) enum Shim {
    Function(fn(ReceivedArgs) -> Started<Vec<Object>>),
    Constructor(fn(ReceivedArgs) -> Result<Rc<dyn Any>, TaskError>),
    Method { call: fn(Rc<dyn Any>, ReceivedArgs) -> Started<Vec<Object>>, asynchronous: bool },
}

/// Something that can be called remotely, with one interpretation of its result.
pub(crate) trait Callable: 'static {
    const SHIM: Shim;
    /// Whether it is a function that returns a future.
    const ASYNCHRONOUS: bool = false;

    /// The function itself, without the interpretation of its result: the key that joins the metadata.
    fn subject() -> TypeId;
    fn name() -> &'static str;
    fn explicit_name() -> Option<&'static str> {
        None
    }
    /// The interpretation of the result, and the number of objects that it becomes.
    fn variant() -> (&'static str, u32) {
        ("", 1)
    }
    fn defaults(_options: &mut TaskOptions) {}
}

/// What `#[remote]` knows of a function.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub struct NamedFunction {
    /// The type of the function.
    pub subject: TypeId,
    /// The name given to it.
    pub name: Option<&'static str>,
    /// Where it is.
    pub file: &'static str,
    /// Where it is.
    pub line: u32,
    /// Sets its default options.
    pub defaults: fn(&mut TaskOptions),
}

/// Implemented by what `#[remote]` makes for a function.
#[doc(hidden)]
pub trait Metadata: 'static {
    /// What is known of it.
    fn describe() -> NamedFunction;
}

/// Keeps `M` in the table: referred to by a `#[used]` static.
#[doc(hidden)]
pub fn keep<M: Metadata>() {
    enter_metadata::<M>();
}

/// The type of a function that cannot be named.
#[doc(hidden)]
pub fn subject_of<F: 'static>(_: &F) -> TypeId {
    TypeId::of::<F>()
}

/// An entry of the table of callables.
pub(crate) struct Description {
    callable: TypeId,
    subject: TypeId,
    name: &'static str,
    explicit_name: Option<&'static str>,
    variant: (&'static str, u32),
    defaults: fn(&mut TaskOptions),
    shim: Shim,
    asynchronous: bool,
}

impl Description {
    fn of<C: Callable>() -> Self {
        Description {
            callable: TypeId::of::<C>(),
            subject: C::subject(),
            name: C::name(),
            explicit_name: C::explicit_name(),
            variant: C::variant(),
            defaults: C::defaults,
            shim: C::SHIM,
            asynchronous: C::ASYNCHRONOUS,
        }
    }
}

/// A callable, ready to be called or to be run.
pub(crate) struct Registered {
    pub(crate) key: FunctionKey,
    pub(crate) name: Arc<str>,
    pub(crate) defaults: Arc<TaskOptions>,
    pub(crate) shim: Shim,
    pub(crate) asynchronous: bool,
    subject: TypeId,
    site: Option<(&'static str, u32)>,
}

struct Registry {
    functions: Vec<Registered>,
    by_key: FxHashMap<FunctionKey, usize>,
    by_type: FxHashMap<TypeId, usize>,
    /// Two functions with the same name: the error of every look-up.
    conflict: Option<Error>,
}

/// Checks that no two functions were given the same name.
///
/// # Errors
///
/// Two were: the error says which.
pub fn validate() -> Result<()> {
    match &registry().conflict {
        Some(conflict) => Err(conflict.clone()),
        None => Ok(()),
    }
}

/// The callables of this executable, by name.
pub fn functions() -> Vec<(FunctionKey, Arc<str>)> {
    let mut functions: Vec<_> =
        registry().functions.iter().map(|found| (found.key, found.name.clone())).collect();
    functions.sort_unstable_by(|a, b| a.1.cmp(&b.1));
    functions
}

/// The callable with this key, which may come from another process.
pub(crate) fn find(key: FunctionKey) -> Option<&'static Registered> {
    let registry = registry();
    registry.by_key.get(&key).map(|&place| &registry.functions[place])
}

/// The callable of this type, which a call site has registered.
pub(crate) fn of(callable: TypeId) -> Result<&'static Registered> {
    let registry = registry();
    match (registry.by_type.get(&callable), &registry.conflict) {
        (Some(&place), None) => Ok(&registry.functions[place]),
        (_, Some(conflict)) => Err(conflict.clone()),
        (None, None) => Err(Error::Unsupported {
            message:
                "remote calls need the link-time table of functions, which this platform does not have: use \
                      Linux"
                    .to_owned(),
        }),
    }
}

fn registry() -> &'static Registry {
    static REGISTRY: OnceLock<Registry> = OnceLock::new();
    REGISTRY.get_or_init(|| Registry::new(table::callables(), table::metadata()))
}

impl Registry {
    fn new(descriptions: Vec<Description>, metadata: Vec<NamedFunction>) -> Self {
        let metadata: FxHashMap<TypeId, NamedFunction> =
            metadata.into_iter().map(|named| (named.subject, named)).collect();
        let mut registry = Registry {
            functions: Vec::with_capacity(descriptions.len()),
            by_key: FxHashMap::default(),
            by_type: FxHashMap::default(),
            conflict: None,
        };
        for description in descriptions {
            registry.add(&description, metadata.get(&description.subject));
        }
        registry
    }

    fn add(&mut self, description: &Description, metadata: Option<&NamedFunction>) {
        if self.by_type.contains_key(&description.callable) {
            return; // several units of code may hold the same use
        }
        let explicit = description.explicit_name.or(metadata.and_then(|named| named.name));
        let (outcome, num_returns) = description.variant;
        let mut defaults = TaskOptions::default();
        (description.defaults)(&mut defaults);
        if let Some(named) = metadata {
            (named.defaults)(&mut defaults);
        }
        let registered = Registered {
            key: match explicit {
                Some(name) => key::of_name(name, outcome, num_returns),
                None => key::of_type(description.callable, description.name),
            },
            name: explicit.unwrap_or(description.name).into(),
            defaults: Arc::new(defaults),
            shim: description.shim,
            asynchronous: description.asynchronous,
            subject: description.subject,
            site: metadata.map(|named| (named.file, named.line)),
        };
        if let Some(other) = explicit.and_then(|_| self.namesake(&registered)) {
            self.conflict.get_or_insert(conflict(&registered, other));
        }
        let place = self.functions.len();
        self.by_key.insert(registered.key, place);
        self.by_type.insert(description.callable, place);
        self.functions.push(registered);
    }

    /// Another function with the name of this one.
    fn namesake(&self, registered: &Registered) -> Option<&Registered> {
        self.functions
            .iter()
            .find(|other| other.name == registered.name && other.subject != registered.subject)
    }
}

fn conflict(one: &Registered, other: &Registered) -> Error {
    let site = |registered: &Registered| match registered.site {
        Some((file, line)) => format!("{file}:{line}"),
        None => "an actor".to_owned(),
    };
    let (one_site, other_site) = (site(one), site(other));
    Error::InvalidArgument {
        call: format!("#[remote(name = {:?})]", one.name),
        message: format!(
            "two remote functions have this name ({one_site} and {other_site}): rename one of them"
        ),
    }
}

/// The entry that is always there.
struct Permanent;

impl Callable for Permanent {
    const SHIM: Shim = Shim::Function(|_| Started::Done(Ok(Vec::new())));

    fn subject() -> TypeId {
        TypeId::of::<Permanent>()
    }

    fn name() -> &'static str {
        type_name::<Permanent>()
    }
}

impl Metadata for Permanent {
    fn describe() -> NamedFunction {
        NamedFunction {
            subject: TypeId::of::<Permanent>(),
            name: None,
            file: file!(),
            line: line!(),
            defaults: |_| {},
        }
    }
}
