//! A call that can be sent to any engine, any number of times.

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

/// What an engine has to know about the task's client.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Context {
    pub(crate) client: u64,
}

/// What an engine sends back: the value, with the times when the function started and ended.
#[derive(Serialize, Deserialize)]
#[serde(bound = "V: Portable")]
pub(crate) struct Stamped<V> {
    started: SystemTime,
    completed: SystemTime,
    value: V,
}

/// A received value of any type: a [`CachedValue`].
pub(crate) type AnyValue = Arc<dyn Any + Send + Sync>;

/// A received value with its times.
pub(crate) struct Received {
    pub(crate) started: SystemTime,
    pub(crate) completed: SystemTime,
    pub(crate) value: AnyValue,
}

/// Reads the outcome of a call; run on a thread that may take its time.
pub(crate) type ReadOutcome = Box<dyn FnOnce() -> Result<Received> + Send>;

/// Cancels the call.
pub(crate) type Cancel = Arc<dyn Fn() -> Result<usize> + Send + Sync>;

/// A call with its types erased.
pub(crate) trait AnyCall: Send + Sync {
    /// Sends it to this worker. `on_end` is called once, on any thread, when the call has ended: it must not block.
    fn send(&self, worker: ProcessId, on_end: Box<dyn FnOnce(ReadOutcome) + Send>) -> Cancel;

    /// The name of its function.
    fn function(&self) -> &str;

    /// A [`Decoder`] of its results.
    fn decoder(&self) -> &(dyn Any + Send + Sync);

    /// The name of the type of its results.
    fn result_type(&self) -> &'static str;
}

/// Decodes a received value into its results.
pub(crate) type Decoder<T> = fn(&AnyValue) -> Result<Vec<T>>;

/// A value as the engine sent it; the first reader takes the decoded copy, later readers decode again.
struct CachedValue<V> {
    decoded: Mutex<Option<V>>,
    ready: Ready<Stamped<V>>,
}

impl<V: Portable> CachedValue<V> {
    fn value(&self) -> Result<V> {
        let decoded = self.decoded.lock().unwrap_or_else(PoisonError::into_inner).take();
        match decoded {
            Some(value) => Ok(value),
            None => self.ready.get().map(|stamped| stamped.value),
        }
    }
}

fn cached_value<V: Portable>(value: &AnyValue) -> Result<V> {
    match value.downcast_ref::<CachedValue<V>>() {
        Some(cached) => cached.value(),
        None => Err(Error::Decode {
            type_name: type_name::<V>().to_owned(),
            message: "the task's result has another type".to_owned(),
        }),
    }
}

/// The value is one result.
pub(crate) fn decode_one<T: Portable>(value: &AnyValue) -> Result<Vec<T>> {
    cached_value::<T>(value).map(|value| vec![value])
}

/// The value is a list of results.
pub(crate) fn decode_many<T: Portable>(value: &AnyValue) -> Result<Vec<T>> {
    cached_value::<Vec<T>>(value)
}

/// Options of a call.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    pub(crate) name: Option<String>,
    pub(crate) priority: Option<i32>,
}

impl Options {
    /// The function's name, and default options.
    pub(crate) fn named<F>() -> Self {
        Options { name: Some(name_of::<F>().to_owned()), priority: None }
    }
}

/// A call of `run`, a function that captures nothing, with these arguments; `decoder` decodes its value.
pub(crate) fn new_call<W, V, T, J>(
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

/// The arguments of a call, for one engine or several.
pub(crate) struct Arguments<W> {
    wire: Mutex<(Context, W)>,
    /// The same arguments in the object store, put once for all engines.
    object: Option<ObjectRef<(Context, W)>>,
}

impl<W: Wire> Arguments<W> {
    /// Arguments that each call sends along.
    pub(crate) fn new(context: Context, wire: W) -> Arc<Self> {
        Arc::new(Arguments { wire: Mutex::new((context, wire)), object: None })
    }

    /// Arguments that are put once; each call passes a ref. If the put fails, each call sends them itself and reports
    /// the error.
    pub(crate) fn put_once(context: Context, wire: W) -> Arc<Self> {
        let wire = (context, wire);
        // Refs that a call waits for must be among its own arguments.
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
    fn send(&self, worker: ProcessId, on_end: Box<dyn FnOnce(ReadOutcome) + Send>) -> Cancel {
        let run = self.run;
        let stamped = move |context: Context, wire: W| -> Result<Stamped<V>, TaskError> {
            namespace::with_client(context.client, || {
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
        reference.when_ready(move |ready| on_end(Box::new(move || read(ready))));
        Arc::new(move || cancel(&reference))
    }

    fn function(&self) -> &str {
        &self.function
    }

    fn decoder(&self) -> &(dyn Any + Send + Sync) {
        &self.decoder
    }

    fn result_type(&self) -> &'static str {
        type_name::<T>()
    }
}

fn read<V: Portable>(ready: Ready<Stamped<V>>) -> Result<Received> {
    let Stamped { started, completed, value } = ready.get()?;
    let value = Arc::new(CachedValue { decoded: Mutex::new(Some(value)), ready });
    Ok(Received { started, completed, value })
}
