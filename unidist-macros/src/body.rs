//! The code that runs in the worker: it decodes the arguments, calls the function and converts its result.

use crate::signature::Shape;
use proc_macro2::{Ident, TokenStream as Tokens};
use quote::{format_ident, quote};

/// Generated names for the arguments.
pub(crate) fn arguments(shape: &Shape) -> Vec<Ident> {
    (0..shape.types.len()).map(|place| format_ident!("argument{place}")).collect()
}

/// Decodes the arguments from `inputs`.
pub(crate) fn decode(shape: &Shape, arguments: &[Ident]) -> Tokens {
    if arguments.is_empty() {
        return quote!(let _ = inputs;);
    }
    let types = &shape.types;
    quote! {
        let mut inputs = inputs;
        #(let #arguments: #types = inputs.next()?;)*
    }
}

/// The call, with its result converted to that of the remote call.
pub(crate) fn finish(call: Tokens, fallible: bool, awaited: Option<Tokens>) -> Tokens {
    if !fallible {
        return quote!(::core::result::Result::Ok(#call #awaited));
    }
    quote! {{
        #[allow(unused_imports)]
        use ::unidist::__private::{AnyErrorKind as _, SentErrorKind as _};
        let result = #call #awaited;
        (&result).__unidist_kind().finish(result)
    }}
}
