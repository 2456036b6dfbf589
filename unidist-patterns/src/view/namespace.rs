//! The names that an engine knows.
//!
//! All namespaces of a process are in one table, the only state of this module that outlives a call: an engine is a
//! process, or, with the sequential backend, a name in the program's own process. A namespace belongs to a client, and is
//! gone when that is.

use super::error::{Result, ViewError};
use std::any::{Any, type_name};
use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use unidist_core::{ProcessId, current_worker};

type Names = BTreeMap<String, Entry>;

/// Of each client, by its number, and worker.
static NAMESPACES: LazyLock<Mutex<HashMap<(u64, ProcessId), Namespace>>> = LazyLock::new(Mutex::default);

thread_local! {
    /// The client whose task this thread runs.
    static CLIENT: Cell<Option<u64>> = const { Cell::new(None) };
}

/// Clones a value of the type that it is for.
type CopyValue = fn(&dyn Any) -> Option<Box<dyn Any + Send>>;

struct Entry {
    /// None while it is being changed.
    value: Option<Box<dyn Any + Send>>,
    type_name: &'static str,
    copy: Option<CopyValue>,
}

/// The names that one engine knows in one client, and their values, which may be of any type. Clones are of the same
/// namespace.
///
/// A function that runs on an engine has it from [`namespace`], or as the parameter of
/// [`execute`](super::DirectView::execute).
#[derive(Clone, Default)]
pub struct Namespace {
    names: Arc<Mutex<Names>>,
}

impl Namespace {
    /// Gives a value a name; what had that name before is dropped.
    pub fn set<T: Clone + Send + 'static>(&self, name: impl Into<String>, value: T) {
        let copy = |value: &dyn Any| -> Option<Box<dyn Any + Send>> {
            Some(Box::new(value.downcast_ref::<T>()?.clone()))
        };
        self.insert(name.into(), value, Some(copy));
    }

    /// The same for a value that cannot be cloned: it can be [used](Namespace::with), not read.
    pub fn set_unique<T: Send + 'static>(&self, name: impl Into<String>, value: T) {
        self.insert(name.into(), value, None);
    }

    fn insert<T: Send + 'static>(&self, name: String, value: T, copy: Option<CopyValue>) {
        let entry = Entry { value: Some(Box::new(value)), type_name: type_name::<T>(), copy };
        let before = self.lock().insert(name, entry);
        drop(before); // not under the lock: it may have code of its own
    }

    /// A clone of the value of this name.
    ///
    /// # Errors
    ///
    /// There is no such name, its value is of another type, it was set as unique, or it is being used by
    /// [`with`](Namespace::with) at this moment.
    pub fn get<T: Send + 'static>(&self, name: &str) -> Result<T> {
        let names = self.lock();
        let entry = names.get(name).ok_or_else(|| unknown(&names, name))?;
        check_type::<T>(name, entry)?;
        let value = entry.value.as_deref().ok_or_else(|| in_use(name))?;
        let copy = entry.copy.ok_or_else(|| ViewError::NotAvailable {
            name: name.to_owned(),
            why: "it was set as unique and cannot be copied; use it with `Namespace::with`".to_owned(),
        })?;
        match copy(value).and_then(|copy| (copy as Box<dyn Any>).downcast::<T>().ok()) {
            Some(copy) => Ok(*copy),
            None => Err(wrong_type::<T>(name, entry)),
        }
    }

    /// Calls a function with the value of this name, which it may change. Others do not see it meanwhile.
    ///
    /// # Errors
    ///
    /// There is no such name, its value is of another type, or it is being used already.
    pub fn with<T: Send + 'static, R>(&self, name: &str, change: impl FnOnce(&mut T) -> R) -> Result<R> {
        let value = {
            let mut names = self.lock();
            let Some(entry) = names.get_mut(name) else {
                return Err(unknown(&names, name));
            };
            check_type::<T>(name, entry)?;
            entry.value.take().ok_or_else(|| in_use(name))?
        };
        let mut lent = Lent { namespace: self, name, value: Some(value) };
        match lent.value.as_deref_mut().and_then(|value| value.downcast_mut::<T>()) {
            Some(value) => Ok(change(value)),
            None => Err(in_use(name)),
        }
    }

    /// Takes a name away; whether it was there.
    pub fn remove(&self, name: &str) -> bool {
        let before = self.lock().remove(name);
        before.is_some()
    }

    /// Takes all names away.
    pub fn clear(&self) {
        let before = std::mem::take(&mut *self.lock());
        drop(before);
    }

    /// Whether it has this name.
    pub fn contains(&self, name: &str) -> bool {
        self.lock().contains_key(name)
    }

    /// All names, in order.
    pub fn names(&self) -> Vec<String> {
        self.lock().keys().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Names> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Namespace").field(&self.names()).finish()
    }
}

/// A value that is being used, which comes back however that ends.
struct Lent<'a> {
    namespace: &'a Namespace,
    name: &'a str,
    value: Option<Box<dyn Any + Send>>,
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        let mut names = self.namespace.lock();
        if let Some(entry) = names.get_mut(self.name)
            && entry.value.is_none()
        {
            entry.value = self.value.take();
        }
        drop(names); // a value whose name was taken away meanwhile is dropped after this
    }
}

fn check_type<T: 'static>(name: &str, entry: &Entry) -> Result<()> {
    let is_right = match &entry.value {
        Some(value) => value.is::<T>(),
        None => entry.type_name == type_name::<T>(),
    };
    if is_right { Ok(()) } else { Err(wrong_type::<T>(name, entry)) }
}

fn wrong_type<T>(name: &str, entry: &Entry) -> ViewError {
    ViewError::WrongType {
        what: format!("the value of `{name}`"),
        asked: type_name::<T>().to_owned(),
        found: entry.type_name.to_owned(),
    }
}

fn unknown(names: &Names, name: &str) -> ViewError {
    ViewError::UnknownName { name: name.to_owned(), names: names.keys().cloned().collect() }
}

fn in_use(name: &str) -> ViewError {
    ViewError::NotAvailable { name: name.to_owned(), why: "it is being used by `Namespace::with`".to_owned() }
}

/// The namespace of the engine that this code runs on, for functions that a view calls.
///
/// ```
/// use unidist::view::{self, Client};
///
/// fn scaled(x: f64) -> view::Result<f64> {
///     Ok(x * view::namespace()?.get::<f64>("scale")?)
/// }
///
/// # fn main() -> view::Result<()> {
/// let _session = unidist::init()?;
/// let all = Client::new()?.view(..)?;
/// all.set("scale", &3.0)?;
/// let scaled = all.apply_sync(unidist::fallible(scaled), (2.0,))?;
/// assert!(scaled.iter().all(|x| *x == 6.0));
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// The code does not run in a task of a view.
pub fn namespace() -> Result<Namespace> {
    let place = CLIENT.get().zip(current_worker());
    let place = place.ok_or_else(|| ViewError::WrongPlace {
        message: "`namespace` was called outside of a view's task: only engines have a namespace".to_owned(),
    })?;
    Ok(all().entry(place).or_default().clone())
}

/// Forgets the namespace that this client has on this engine.
pub(crate) fn forget(client: u64) {
    let forgotten = current_worker().and_then(|worker| all().remove(&(client, worker)));
    drop(forgotten);
}

fn all() -> MutexGuard<'static, HashMap<(u64, ProcessId), Namespace>> {
    NAMESPACES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs something as part of a task of this client.
pub(crate) fn within<R>(client: u64, run: impl FnOnce() -> R) -> R {
    struct Before(Option<u64>);
    impl Drop for Before {
        fn drop(&mut self) {
            CLIENT.set(self.0);
        }
    }
    let _before = Before(CLIENT.replace(Some(client)));
    run()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_any_type() {
        let names = Namespace::default();
        names.set("a", 7_i64);
        assert_eq!(names.get::<i64>("a"), Ok(7));
        let error = names.get::<String>("a").unwrap_err().to_string();
        assert!(error.contains("i64") && error.contains("String"), "{error}");
        assert!(matches!(names.get::<i64>("b"), Err(ViewError::UnknownName { .. })));
        assert_eq!(names.with("a", |a: &mut i64| std::mem::replace(a, 8)), Ok(7));
        assert_eq!(names.get::<i64>("a"), Ok(8));
    }

    #[test]
    fn a_value_in_use_comes_back() {
        let names = Namespace::default();
        names.set_unique("a", vec![1]);
        assert!(matches!(names.get::<Vec<i32>>("a"), Err(ViewError::NotAvailable { .. })));
        let inner = names.with("a", |_: &mut Vec<i32>| names.with("a", |_: &mut Vec<i32>| ())).unwrap();
        assert!(matches!(inner, Err(ViewError::NotAvailable { .. })));
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            names.with("a", |_: &mut Vec<i32>| panic!("in the middle"))
        }));
        assert!(panicked.is_err());
        assert_eq!(names.with("a", |a: &mut Vec<i32>| a.len()), Ok(1));
        assert!(names.remove("a") && !names.remove("a"));
    }

    #[test]
    fn outside_of_a_task_there_is_none() {
        assert!(matches!(namespace(), Err(ViewError::WrongPlace { .. })));
    }
}
