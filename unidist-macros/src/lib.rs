//! The `#[remote]` attribute of unidist: see `unidist::remote`.
//!
//! On a function it changes nothing: a function has its `.remote` from a trait, and the attribute adds checks, a name
//! and default options, in a table that the linker makes. Only `num_returns` makes a type of the function's name, with
//! a `.remote` of its own. On an `impl` block it makes the type an actor: a struct of method fields, which the actor's
//! handle derefs to, and a marker type for each method.

mod actor;
mod body;
mod definition;
mod function;
mod options;
mod signature;

use proc_macro::TokenStream;
use proc_macro2::TokenStream as Tokens;
use quote::ToTokens;
use syn::{Error, Item};

/// Says how a function is called remotely, or makes a type an actor.
///
/// # On a function
///
/// The function stays as it is. The attribute checks, where the function is defined, that its arguments and its result
/// can be sent, and may give it
///
/// - `name = "..."`: its name in errors, and its identity between builds, in place of its path;
/// - `num_cpus = 2`: the CPU slots that a call holds (1 if not given; 0 and fractions are fine);
/// - `resources(gpu = 1, "big-memory" = 0.5)`: custom resources that a call holds;
/// - `max_retries = 3`: how often a call is run again if its worker dies with it (0 if not given);
/// - `priority = 1`: calls of higher priority start first (0 if not given);
/// - `timeout = 2.5`: how many seconds a call may run (no limit if not given);
/// - `num_returns = 2`: the number of refs that a call gives, one for each value of the tuple that the function returns
///   (itself or in a `Result`); 0 gives `()`, and 1 is what there is if not given: one ref to all of it.
///
/// All of these can be chosen for a single call too: `f.options().num_cpus(2).num_returns::<2>().remote(..)`.
///
/// ```ignore
/// #[remote(num_cpus = 2, resources(gpu = 1))]
/// fn train(model: Model, data: Vec<f64>) -> Model { .. }
///
/// #[remote(num_returns = 2)]
/// fn divmod(a: i64, b: i64) -> (i64, i64) {
///     (a / b, a % b)
/// }
///
/// let (q, r) = divmod.remote(17, 5); // ObjectRef<i64>, ObjectRef<i64>
/// assert_eq!(divmod(17, 5), (3, 2));
/// ```
///
/// A generic function is called with a turbofish, `f::<T>.remote(..)`, and takes no options here.
///
/// A function with `num_returns` (other than 1) is a value of a type of its own, which is named as it is, derefs to a
/// pointer to the function, and can be called like one. Three things follow. Where a function is wanted as a value,
/// pass `divmod::divmod`, the function itself, or `*divmod`, the pointer (which cannot be called remotely). No variable
/// and no type in its scope can have its name. And a call of an `async fn` through its name gives a
/// `Pin<Box<dyn Future<..>>>`, which stays on its thread: `f::f(..)` gives the function's own future.
///
/// # On an `impl` block
///
/// The type becomes an actor. One function of the block, marked `#[new]`, is the constructor: `T::remote(..)` starts
/// an actor and gives an `ActorHandle<T>`. Each function with `&self` or `&mut self` can be called through the handle:
/// `handle.method.remote(..)`. Functions that are not to be remote go in another `impl` block.
///
/// The block takes
///
/// - `name`, `num_cpus` and `resources`, held for the actor's lifetime (`num_cpus` is 0 if not given);
/// - `max_concurrency = 8`: the number of calls of asynchronous methods that may be in flight at once;
/// - `max_restarts = 3`: how often the actor is started again when its process dies (0 if not given);
/// - `timeout = 2.5`: how many seconds the constructor may run.
///
/// A method takes `#[remote(num_returns = 2, name = "...")]`, `timeout = 2.5` and `max_retries = 3`, which is how often
/// a call is run again on an actor that was started again after it died with the call.
///
/// ```ignore
/// #[remote(max_concurrency = 8)]
/// impl Store {
///     #[new]
///     pub fn new(path: String) -> std::io::Result<Self> { .. }
///     pub async fn load(&self, key: String) -> Option<Vec<u8>> { .. }
///     #[remote(num_returns = 2)]
///     pub fn ends(&mut self) -> (String, String) { .. }
/// }
/// ```
#[proc_macro_attribute]
pub fn remote(options: TokenStream, item: TokenStream) -> TokenStream {
    let original = Tokens::from(item.clone());
    let expanded = match syn::parse::<Item>(item) {
        Ok(Item::Fn(function)) => function::expand(options.into(), function),
        Ok(Item::Impl(block)) => actor::expand(options.into(), block),
        Ok(other) => {
            let message = "#[remote] goes on a function, or on the `impl` block of an actor";
            let mut tokens = Error::new_spanned(head(&other), message).to_compile_error();
            other.to_tokens(&mut tokens);
            tokens
        }
        Err(error) => {
            let mut tokens = error.to_compile_error();
            tokens.extend(original);
            tokens
        }
    };
    expanded.into()
}

/// What an error about the item as a whole points at.
fn head(item: &Item) -> Tokens {
    match item {
        Item::Struct(item) => item.ident.to_token_stream(),
        Item::Enum(item) => item.ident.to_token_stream(),
        Item::Mod(item) => item.ident.to_token_stream(),
        Item::Trait(item) => item.ident.to_token_stream(),
        other => other.to_token_stream(),
    }
}

/// Errors, gathered: all of them are reported.
#[derive(Default)]
struct Errors(Option<Error>);

impl Errors {
    fn add(&mut self, error: Error) {
        match &mut self.0 {
            Some(errors) => errors.combine(error),
            None => self.0 = Some(error),
        }
    }

    /// The value, if there is one.
    fn check<T>(&mut self, result: syn::Result<T>) -> Option<T> {
        result.map_err(|error| self.add(error)).ok()
    }

    fn to_tokens(&self) -> Tokens {
        self.0.as_ref().map(Error::to_compile_error).unwrap_or_default()
    }
}
