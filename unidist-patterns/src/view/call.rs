//! A call, ready to be sent to any engine, as often as it is wanted.

use super::arguments::Wire;
use super::namespace;
use crate::functions::name_of;
use serde::{Deserialize, Serialize};
use std::any::{Any, type_name};
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;
use unidist_core::{
    CallSettings, Error, ObjectRef, Portable, ProcessId, Ready, Result, TaskError, cancel, fallible, prepare,
    put_ref,
};

/// What of a task's client its engine has to know.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Context {
    pub(crate) client: u64,
}

/// What an engine sends back: the value, and when it was made.
#[derive(Serialize, Deserialize)]
#[serde(bound = "V: Portable")]
pub(crate) struct Stamped<V> {
    started: SystemTime,
    completed: SystemTime,
    value: V,
}

/// A value that has arrived, whatever its type: a [`Kept`].
pub(crate) type AnyValue = Arc<dyn Any + Send + Sync>;

/// A value with its times.
pub(crate) struct Arrived {
    pub(crate) started: SystemTime,
    pub(crate) completed: SystemTime,
    pub(crate) value: AnyValue,
}

/// Reads the outcome of a call, where there is time for it.
pub(crate) type Read = Box<dyn FnOnce() -> Result<Arrived> + Send>;

/// Cancels the call.
pub(crate) type Cancel = Arc<dyn Fn() -> Result<usize> + Send + Sync>;

/// A call whose types are forgotten.
pub(crate) trait AnyCall: Send + Sync {
    /// Sends it to this worker. `ended` is called once, on whatever thread, when it has ended: it must do little.
    fn send(&self, worker: ProcessId, ended: Box<dyn FnOnce(Read) + Send>) -> Cancel;

    /// The name of its function.
    fn function(&self) -> &str;

    /// A [`Decoder`] of its results.
    fn decoder(&self) -> &(dyn Any + Send + Sync);

    /// The name of the type of its results.
    fn item(&self) -> &'static str;
}

/// From a value that has arrived to the results that it has.
pub(crate) type Decoder<T> = fn(&AnyValue) -> Result<Vec<T>>;

/// A value as the engine sent it, and decoded for the first one who asks.
struct Kept<V> {
    decoded: Mutex<Option<V>>,
    ready: Ready<Stamped<V>>,
}

impl<V: Portable> Kept<V> {
    fn value(&self) -> Result<V> {
        let decoded = self.decoded.lock().unwrap_or_else(PoisonError::into_inner).take();
        match decoded {
            Some(value) => Ok(value),
            None => self.ready.get().map(|stamped| stamped.value),
        }
    }
}

fn kept<V: Portable>(value: &AnyValue) -> Result<V> {
    match value.downcast_ref::<Kept<V>>() {
        Some(kept) => kept.value(),
        None => Err(Error::Decode {
            type_name: type_name::<V>().to_owned(),
            message: "the task's result is of another type".to_owned(),
        }),
    }
}

/// The value is a result.
pub(crate) fn one<T: Portable>(value: &AnyValue) -> Result<Vec<T>> {
    kept::<T>(value).map(|value| vec![value])
}

/// The value is a list of results.
pub(crate) fn many<T: Portable>(value: &AnyValue) -> Result<Vec<T>> {
    kept::<Vec<T>>(value)
}

/// How a call was asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    pub(crate) name: Option<String>,
    pub(crate) priority: Option<i32>,
}

impl Options {
    /// The name of the function, and nothing else.
    pub(crate) fn named<F>() -> Self {
        Options { name: Some(name_of::<F>().to_owned()), priority: None }
    }
}

/// Makes a call of `run`, a function that captures nothing, with these arguments; `decoder` says what its value is.
pub(crate) fn call<W, V, T, J>(
    run: J,
    arguments: Arc<Arguments<W>>,
    decoder: Decoder<T>,
    options: Options,
) -> Arc<dyn AnyCall>
where
    W: Wire,
    V: Portable,
    T: Portable,
    J: Fn(W::Args) -> Result<V, TaskError> + Copy + Send + Sync + 'static,
{
    let function = options.name.unwrap_or_else(|| type_name::<J>().to_owned());
    let priority = options.priority;
    Arc::new(TypedCall { run, arguments, decoder, function, priority, value: PhantomData::<fn() -> V> })
}

/// The arguments of a call, for one engine or for many.
pub(crate) struct Arguments<W> {
    wire: Mutex<(Context, W)>,
    /// The same, put once for all who get them.
    object: Option<ObjectRef<(Context, W)>>,
}

impl<W: Wire> Arguments<W> {
    /// To be sent with each call.
    pub(crate) fn new(context: Context, wire: W) -> Arc<Self> {
        Arc::new(Arguments { wire: Mutex::new((context, wire)), object: None })
    }

    /// To be put once: each call gets a ref. Where that fails, each call says why.
    pub(crate) fn put_once(context: Context, wire: W) -> Arc<Self> {
        let wire = (context, wire);
        // What a call has to wait for must be among its own arguments.
        let object = if wire.1.has_objects() { None } else { put_ref(&wire).ok() };
        Arc::new(Arguments { wire: Mutex::new(wire), object })
    }
}

struct TypedCall<J, W, V, T> {
    run: J,
    arguments: Arc<Arguments<W>>,
    decoder: Decoder<T>,
    function: String,
    priority: Option<i32>,
    value: PhantomData<fn() -> V>,
}

impl<J, W, V, T> AnyCall for TypedCall<J, W, V, T>
where
    W: Wire,
    V: Portable,
    T: Portable,
    J: Fn(W::Args) -> Result<V, TaskError> + Copy + Send + Sync + 'static,
{
    fn send(&self, worker: ProcessId, ended: Box<dyn FnOnce(Read) + Send>) -> Cancel {
        let run = self.run;
        let stamped = move |context: Context, wire: W| -> Result<Stamped<V>, TaskError> {
            namespace::within(context.client, || {
                let arguments = wire.resolve()?;
                let started = SystemTime::now();
                let value = run(arguments)?;
                Ok(Stamped { started, completed: SystemTime::now(), value })
            })
        };
        let mut settings = CallSettings::new().name(&self.function).on_worker(worker);
        if let Some(priority) = self.priority {
            settings = settings.priority(priority);
        }
        let prepared = prepare(fallible(stamped), &settings);
        let reference = match &self.arguments.object {
            Some(object) => prepared.remote(object),
            None => {
                let wire = self.arguments.wire.lock().unwrap_or_else(PoisonError::into_inner);
                prepared.remote(&*wire)
            }
        };
        reference.when_ready(move |ready| ended(Box::new(move || read(ready))));
        Arc::new(move || cancel(&reference))
    }

    fn function(&self) -> &str {
        &self.function
    }

    fn decoder(&self) -> &(dyn Any + Send + Sync) {
        &self.decoder
    }

    fn item(&self) -> &'static str {
        type_name::<T>()
    }
}

fn read<V: Portable>(ready: Ready<Stamped<V>>) -> Result<Arrived> {
    let Stamped { started, completed, value } = ready.get()?;
    let value = Arc::new(Kept { decoded: Mutex::new(Some(value)), ready });
    Ok(Arrived { started, completed, value })
}
