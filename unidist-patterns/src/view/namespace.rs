//! An engine's namespace: values by name.
//!
//! All namespaces of a process are in one table, the only state of this module that outlives a call. An engine is a
//! process or, with the sequential backend, a name in the program's own process. A namespace belongs to a client, and
//! is deleted with it.

use super::error::{Result, ViewError};
use std::any::{Any, type_name};
use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use unidist_core::{ProcessId, current_worker};

type Names = BTreeMap<String, Entry>;

/// By the client's number and the worker.
static NAMESPACES: LazyLock<Mutex<HashMap<(u64, ProcessId), Namespace>>> = LazyLock::new(Mutex::default);

thread_local! {
    /// The client whose task this thread runs.
    static CLIENT: Cell<Option<u64>> = const { Cell::new(None) };
}

/// Clones a value of one certain type.
type CopyValue = fn(&dyn Any) -> Option<Box<dyn Any + Send>>;

struct Entry {
    /// `None` while it is borrowed.
    value: Option<Box<dyn Any + Send>>,
    type_name: &'static str,
    copy: Option<CopyValue>,
}

/// The names that one client has bound on one engine, with values of any type. Clones share the namespace.
///
/// A function that runs on an engine gets it from [`namespace`], or as the parameter of
/// [`execute`](super::DirectView::execute).
#[derive(Clone, Default)]
pub struct Namespace {
    names: Arc<Mutex<Names>>,
}

impl Namespace {
    /// Binds a name to a value; the previous value is dropped.
    pub fn set<T: Clone + Send + 'static>(&self, name: impl Into<String>, value: T) {
        let copy = |value: &dyn Any| -> Option<Box<dyn Any + Send>> {
            Some(Box::new(value.downcast_ref::<T>()?.clone()))
        };
        self.insert(name.into(), value, Some(copy));
    }

    /// Binds a name to a value that cannot be cloned: it can be [used in place](Namespace::with), not read.
    pub fn set_unique<T: Send + 'static>(&self, name: impl Into<String>, value: T) {
        self.insert(name.into(), value, None);
    }

    fn insert<T: Send + 'static>(&self, name: String, value: T, copy: Option<CopyValue>) {
        let entry = Entry { value: Some(Box::new(value)), type_name: type_name::<T>(), copy };
        let before = self.lock().insert(name, entry);
        drop(before); // outside of the lock, since `drop` may run user code
    }

    /// A clone of the value of this name.
    ///
    /// # Errors
    ///
    /// There is no such name, its value has another type, it was set as unique, or it is in use by
    /// [`with`](Namespace::with).
    pub fn get<T: Send + 'static>(&self, name: &str) -> Result<T> {
        let names = self.lock();
        let entry = names.get(name).ok_or_else(|| unknown(&names, name))?;
        check_type::<T>(name, entry)?;
        let value = entry.value.as_deref().ok_or_else(|| in_use(name))?;
        let copy = entry.copy.ok_or_else(|| ViewError::NotAvailable {
            name: name.to_owned(),
            why: "it was set with `set_unique` and cannot be cloned: use it with `Namespace::with`"
                .to_owned(),
        })?;
        match copy(value).and_then(|copy| (copy as Box<dyn Any>).downcast::<T>().ok()) {
            Some(copy) => Ok(*copy),
            None => Err(wrong_type::<T>(name, entry)),
        }
    }

    /// Calls a function with the value of this name, which it may change. The value is not accessible to others
    /// meanwhile.
    ///
    /// # Errors
    ///
    /// There is no such name, its value has another type, or it is in use already.
    pub fn with<T: Send + 'static, R>(&self, name: &str, change: impl FnOnce(&mut T) -> R) -> Result<R> {
        let value = {
            let mut names = self.lock();
            let Some(entry) = names.get_mut(name) else {
                return Err(unknown(&names, name));
            };
            check_type::<T>(name, entry)?;
            entry.value.take().ok_or_else(|| in_use(name))?
        };
        let mut borrowed = BorrowedValue { namespace: self, name, value: Some(value) };
        match borrowed.value.as_deref_mut().and_then(|value| value.downcast_mut::<T>()) {
            Some(value) => Ok(change(value)),
            None => Err(in_use(name)),
        }
    }

    /// Removes a name. Returns whether it existed.
    pub fn remove(&self, name: &str) -> bool {
        let before = self.lock().remove(name);
        before.is_some()
    }

    /// Removes all names.
    pub fn clear(&self) {
        let before = std::mem::take(&mut *self.lock());
        drop(before);
    }

    /// Whether the name exists.
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

/// A value in use; its drop puts the value back.
struct BorrowedValue<'a> {
    namespace: &'a Namespace,
    name: &'a str,
    value: Option<Box<dyn Any + Send>>,
}

impl Drop for BorrowedValue<'_> {
    fn drop(&mut self) {
        let mut names = self.namespace.lock();
        if let Some(entry) = names.get_mut(self.name)
            && entry.value.is_none()
        {
            entry.value = self.value.take();
        }
        drop(names); // if the name was removed meanwhile, the value is dropped after this, outside of the lock
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
    ViewError::NotAvailable { name: name.to_owned(), why: "it is in use by `Namespace::with`".to_owned() }
}

/// The namespace of the current engine, for functions that a view calls.
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
/// The caller is not a task of a view.
pub fn namespace() -> Result<Namespace> {
    let key = CLIENT.get().zip(current_worker());
    let key = key.ok_or_else(|| ViewError::WrongPlace {
        message: "`view::namespace` was called outside of a view's task: only engines have a namespace"
            .to_owned(),
    })?;
    Ok(namespaces().entry(key).or_default().clone())
}

/// Deletes the client's namespace on this engine.
pub(crate) fn forget(client: u64) {
    let forgotten = current_worker().and_then(|worker| namespaces().remove(&(client, worker)));
    drop(forgotten);
}

fn namespaces() -> MutexGuard<'static, HashMap<(u64, ProcessId), Namespace>> {
    NAMESPACES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs code as part of a task of this client.
pub(crate) fn with_client<R>(client: u64, run: impl FnOnce() -> R) -> R {
    struct Restore(Option<u64>);
    impl Drop for Restore {
        fn drop(&mut self) {
            CLIENT.set(self.0);
        }
    }
    let _outer = Restore(CLIENT.replace(Some(client)));
    run()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespace_holds_values_of_any_type() {
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
    fn borrowed_value_is_put_back() {
        let names = Namespace::default();
        names.set_unique("a", vec![1]);
        assert!(matches!(names.get::<Vec<i32>>("a"), Err(ViewError::NotAvailable { .. })));
        let inner = names.with("a", |_: &mut Vec<i32>| names.with("a", |_: &mut Vec<i32>| ())).unwrap();
        assert!(matches!(inner, Err(ViewError::NotAvailable { .. })));
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            names.with("a", |_: &mut Vec<i32>| panic!("while it is borrowed"))
        }));
        assert!(panicked.is_err());
        assert_eq!(names.with("a", |a: &mut Vec<i32>| a.len()), Ok(1));
        assert!(names.remove("a") && !names.remove("a"));
    }

    #[test]
    fn namespace_exists_only_in_tasks() {
        assert!(matches!(namespace(), Err(ViewError::WrongPlace { .. })));
    }
}
