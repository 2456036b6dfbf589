//! The attributes of unidist: see `unidist::remote` and `unidist::test`.
//!
//! A function stays unchanged: it gets its `.remote` from a trait, and the attribute adds checks, a name and default
//! options, in a table that the linker assembles. Only `num_returns` generates a type with the function's name and a
//! `.remote` of its own. An `impl` block makes its type an actor: the attribute generates a struct of method fields, to
//! which the actor's handle derefs, and a marker type for each method.

mod actor;
mod body;
mod definition;
mod function;
mod options;
mod signature;
mod test;

use options::{option_docs, option_line};
use proc_macro::TokenStream;
use proc_macro2::TokenStream as Tokens;
use quote::ToTokens;
use syn::{Error, Item};

/// Makes a function remote, or a type an actor.
///
/// # On a function
///
/// The function stays as it is. The attribute checks, where the function is defined, that its arguments and its result
/// can be sent, and takes these options:
///
#[doc = option_docs!(Function)]
/// - `num_returns = 2`: the number of refs that a call gives, one for each value of the tuple that the function returns
///   (by itself or in a `Result`); 0 gives `()`; the default, 1, gives one ref to the whole result.
///
/// Each of them can be chosen for a single call too: `f.options().num_cpus(2).num_returns::<2>().remote(..)`.
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
/// A function with `num_returns` other than 1 becomes a value of a type of its own, with the function's name. The value
/// derefs to a pointer to the function and can be called like the function. Three things follow:
///
/// - Where a function is wanted as a value, pass `divmod::divmod`, the function itself, or `*divmod`, the pointer
///   (which cannot be called remotely).
/// - No variable and no type in its scope can have its name.
/// - A call of an `async fn` through its name gives a `Pin<Box<dyn Future<..>>>`, which stays on its thread; `f::f(..)`
///   gives the function's own future.
///
/// # On an `impl` block
///
/// The type becomes an actor. One function of the block, marked `#[new]`, is the constructor: `T::remote(..)` starts
/// an actor and gives an `ActorHandle<T>`. Each function with `&self` or `&mut self` can be called through the handle:
/// `handle.method.remote(..)`. Put functions that should not be remote in another `impl` block.
///
/// The attribute of the block takes
///
#[doc = option_docs!(Actor)]
///
/// The attribute of a method takes
///
#[doc = option_docs!(Method)]
/// - `num_returns = 2`: as for a function.
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
            let message = "`#[remote]` belongs on a function or on the `impl` block of an actor";
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

/// Makes a function a test that has a session of its own.
///
/// The function has no parameters; it may be `async`, and may return a `Result`. `#[should_panic]` and `#[ignore]` mean
/// what they mean with `#[test]`.
///
/// ```ignore
/// use unidist::prelude::*;
///
/// #[remote]
/// fn square(x: i64) -> i64 {
///     x * x
/// }
///
/// #[unidist::test]
/// fn squares_are_computed() -> unidist::Result<()> {
///     assert_eq!(get(square.remote(3))?, 9);
///     Ok(())
/// }
///
/// #[unidist::test]
/// async fn squares_can_be_awaited() {
///     assert_eq!(square.remote(3).await, Ok(9));
/// }
/// ```
///
/// - The session begins before the test and ends after it. It has two CPU slots, unless `UNIDIST_CPUS` is set, and the
///   backend of `UNIDIST_TEST_BACKEND`, else that of `UNIDIST_BACKEND`. With
///   `UNIDIST_TEST_BACKEND=pyseq cargo test` all calls run in the process of the test, where a debugger finds them.
/// - At its end, nothing may be left in the session: refs and handles are dropped, and calls have ended or end within ten
///   seconds. Else the test fails with a list of the objects, actors and calls that are left. A test that fails itself
///   is not checked.
/// - A process has one session at a time. The tests of a process take turns, even if the test runner runs them in
///   several threads; `cargo nextest` runs each in a process of its own, side by side. A test with `#[test]` in the same
///   file must not call `unidist::init`.
/// - Workers are processes of the test's executable. They become workers before its `main`, which would run the tests.
/// - The future of an asynchronous test runs on the test's thread, without a runtime.
#[proc_macro_attribute]
pub fn test(options: TokenStream, item: TokenStream) -> TokenStream {
    match syn::parse::<Item>(item.clone()) {
        Ok(item) => test::expand(&options.into(), item).into(),
        Err(error) => {
            let mut tokens = error.to_compile_error();
            tokens.extend(Tokens::from(item));
            tokens.into()
        }
    }
}

/// The tokens that an error about the whole item points at.
fn head(item: &Item) -> Tokens {
    match item {
        Item::Struct(item) => item.ident.to_token_stream(),
        Item::Enum(item) => item.ident.to_token_stream(),
        Item::Mod(item) => item.ident.to_token_stream(),
        Item::Trait(item) => item.ident.to_token_stream(),
        other => other.to_token_stream(),
    }
}

/// Collects errors, so that all of them are reported.
#[derive(Default)]
struct Errors(Option<Error>);

impl Errors {
    fn add(&mut self, error: Error) {
        match &mut self.0 {
            Some(errors) => errors.combine(error),
            None => self.0 = Some(error),
        }
    }

    /// The value; an error is added to the others.
    fn check<T>(&mut self, result: syn::Result<T>) -> Option<T> {
        result.map_err(|error| self.add(error)).ok()
    }

    fn to_tokens(&self) -> Tokens {
        self.0.as_ref().map(Error::to_compile_error).unwrap_or_default()
    }
}
