//! `#[remote]` on a function.

use crate::Errors;
use crate::definition;
use crate::options::{ItemKind, Options};
use crate::signature::{Shape, is_generic};
use proc_macro2::TokenStream as Tokens;
use quote::quote;
use syn::{Error, ItemFn};

pub(crate) fn expand(options: Tokens, function: ItemFn) -> Tokens {
    let mut errors = Errors::default();
    let expanded = expanded(options, &function, &mut errors).unwrap_or_else(|| quote!(#function));
    let errors = errors.to_tokens();
    quote!(#expanded #errors)
}

/// The function with the generated items, or `None` to leave it unchanged.
fn expanded(options: Tokens, function: &ItemFn, errors: &mut Errors) -> Option<Tokens> {
    if let Some(receiver) = function.sig.receiver() {
        let message = "`#[remote]` cannot be on a single method: put it on the `impl` block, which makes the type an actor";
        errors.add(Error::new_spanned(receiver, message));
        return None;
    }
    let given = !options.is_empty();
    let options_span = options.clone();
    let options = Options::parse(options, ItemKind::Function, errors);
    let shape = Shape::of(&function.sig, None, "a remote function", errors);
    if is_generic(&function.sig.generics) {
        if given {
            let message = match options.num_returns {
                None => {
                    "a generic function takes its options at the call: `f::<T>.options().num_cpus(2).remote(..)`"
                        .to_owned()
                }
                Some(_) => format!("a generic function cannot have `num_returns`: {}", definition::PER_CALL),
            };
            errors.add(Error::new_spanned(options_span, message));
        }
        return None;
    }
    let shape = shape?;
    match options.num_returns {
        None | Some(1) => {
            let name = &function.sig.ident;
            let described = described(&quote!(#name), &options, &shape, &shape.result_check(None));
            Some(quote!(#function #described))
        }
        Some(count) => {
            errors.check(definition::fault(function, count, &shape))?;
            Some(definition::expand(function, count, &options, &shape))
        }
    }
}

/// The entry for the function at `path` in the table of functions, and the checks of its types.
pub(crate) fn described(path: &Tokens, options: &Options, shape: &Shape, result: &Tokens) -> Tokens {
    let arguments = shape.argument_checks();
    let name = match &options.name {
        Some(name) => quote!(::core::option::Option::Some(#name)),
        None => quote!(::core::option::Option::None),
    };
    let defaults = &options.defaults;
    quote! {
        #[allow(deprecated)]
        const _: () = {
            struct Described;

            impl ::unidist::__private::Metadata for Described {
                fn describe() -> ::unidist::__private::NamedFunction {
                    ::unidist::__private::NamedFunction {
                        subject: ::unidist::__private::subject_of(&#path),
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

            // Forces the compiler to instantiate `keep`, which puts an entry into the table.
            #[used]
            static KEEP: fn() = ::unidist::__private::keep::<Described>;

            #[allow(dead_code)]
            fn check() {
                #arguments
                #result
            }
        };
    }
}
