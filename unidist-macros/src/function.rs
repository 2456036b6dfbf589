//! `#[remote]` on a function.

use crate::Errors;
use crate::options::{Options, Place};
use crate::signature::{Shape, is_generic};
use proc_macro2::TokenStream as Tokens;
use quote::quote;
use syn::{Error, ItemFn};

pub(crate) fn expand(options: Tokens, function: ItemFn) -> Tokens {
    let mut errors = Errors::default();
    let added = added(options, &function, &mut errors);
    let errors = errors.to_tokens();
    quote!(#function #added #errors)
}

/// What stands beside the function.
fn added(options: Tokens, function: &ItemFn, errors: &mut Errors) -> Option<Tokens> {
    if let Some(receiver) = function.sig.receiver() {
        let message = "a method: put #[remote] on the `impl` block, which makes the type an actor";
        errors.add(Error::new_spanned(receiver, message));
        return None;
    }
    let given = !options.is_empty();
    let options_span = options.clone();
    let options = Options::parse(options, Place::Function, errors);
    let shape = Shape::of(&function.sig, None, "a remote function", errors);
    if is_generic(&function.sig.generics) {
        if given {
            let message =
                "options of a generic function go to the call: `f::<T>.options().num_cpus(2).remote(..)`";
            errors.add(Error::new_spanned(options_span, message));
        }
        return None;
    }
    let shape = shape?;
    let (arguments, result) = (shape.argument_checks(), shape.result_check(None));
    let function = &function.sig.ident;
    let name = match &options.name {
        Some(name) => quote!(::core::option::Option::Some(#name)),
        None => quote!(::core::option::Option::None),
    };
    let defaults = &options.defaults;
    Some(quote! {
        const _: () = {
            struct Described;

            impl ::unidist::__private::Metadata for Described {
                fn describe() -> ::unidist::__private::NamedFunction {
                    ::unidist::__private::NamedFunction {
                        subject: ::unidist::__private::subject_of(&#function),
                        name: #name,
                        file: ::core::file!(),
                        line: ::core::line!(),
                        defaults: |options: &mut ::unidist::__private::TaskOptions| {
                            let _ = &options;
                            #(#defaults)*
                        },
                    }
                }
            }

            // Makes the compiler see to `keep`, which puts an entry into the table.
            #[used]
            static KEEP: fn() = ::unidist::__private::keep::<Described>;

            #[allow(dead_code)]
            fn check() {
                #arguments
                #result
            }
        };
    })
}
