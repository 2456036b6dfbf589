//! `#[remote(num_returns = N)]` on a function: a type with the name of the function. The result of its `.remote`
//! depends on the function, so the trait that provides it to other functions cannot.
//!
//! The function itself becomes an associated function of that type, under its own name, so that in its body the name
//! means the same as everywhere else: the only value of the type, a constant. (A unit struct would be both type and
//! constant, but lints take a call of it for an expression without effect.)

use crate::body::{arguments, decode, finish};
use crate::function::described;
use crate::options::Options;
use crate::signature::Shape;
use proc_macro2::TokenStream as Tokens;
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Error, ItemFn, ReturnType, Type};

/// The advice for functions that cannot have `num_returns`.
pub(crate) const PER_CALL: &str =
    "choose the number of returns for each call: `f.options().num_returns::<2>().remote(..)`";

/// The error if the function cannot be a value of a type of its own.
pub(crate) fn fault(function: &ItemFn, count: usize, shape: &Shape) -> syn::Result<()> {
    let signature = &function.sig;
    if !signature.generics.params.is_empty() {
        let message = format!("a function with `num_returns` cannot have lifetime parameters: {PER_CALL}");
        return Err(Error::new_spanned(&signature.generics, message));
    }
    if let Some(unsafety) = &signature.unsafety {
        let message = "an unsafe function cannot be called remotely: wrap it in a safe function";
        return Err(Error::new_spanned(unsafety, message));
    }
    if let ReturnType::Type(_, output) = &signature.output
        && let Type::ImplTrait(opaque) = &**output
    {
        let message = format!("a function with `num_returns` cannot return `impl Trait`: {PER_CALL}");
        return Err(Error::new_spanned(opaque, message));
    }
    if let Type::Tuple(tuple) = &shape.value
        && ![0, tuple.elems.len()].contains(&count)
    {
        let message = format!(
            "a function that returns {} values cannot have `num_returns = {count}`: the return type must be a tuple of \
             {count} values, or a `Result` of such a tuple",
            tuple.elems.len()
        );
        return Err(Error::new_spanned(tuple, message));
    }
    if ["remote", "send", "options"].iter().any(|name| signature.ident == name) {
        let message = format!(
            "a function with `num_returns` cannot be named `{}`, because its calls are `f.remote(..)`, `f.send(..)` and `f.options()`: rename it",
            signature.ident
        );
        return Err(Error::new_spanned(&signature.ident, message));
    }
    Ok(())
}

pub(crate) fn expand(function: &ItemFn, count: usize, options: &Options, shape: &Shape) -> Tokens {
    let (name, vis, abi) = (&function.sig.ident, &function.vis, &function.sig.abi);
    let is_public = |path: &syn::Path| ["doc", "deprecated"].iter().any(|word| path.is_ident(word));
    let public = function.attrs.iter().filter(|attribute| is_public(attribute.path()));
    let mut itself = function.clone();
    itself.attrs.retain(|attribute| !is_public(attribute.path()));
    let asynchronous = function.sig.asyncness.is_some();

    let Shape { names, types, value, .. } = shape;
    let arguments = arguments(shape);
    let decode = decode(shape, &arguments);
    let awaited = asynchronous.then(|| quote!(.await));
    let call = finish(quote!(Self::#name(#(#arguments),*)), shape.fallible, awaited);
    let start = if asynchronous {
        quote!(::unidist::__private::later(async move { #decode #call }))
    } else {
        quote!(::unidist::__private::now(|| { #decode #call }))
    };
    let output = match &function.sig.output {
        ReturnType::Default => quote!(()),
        ReturnType::Type(_, output) => quote!(#output),
    };
    let (target, pointer) = if asynchronous {
        let future = quote! {
            ::core::pin::Pin<::std::boxed::Box<dyn ::core::future::Future<Output = #output>>>
        };
        let pointer = quote!(|#(#arguments),*| ::std::boxed::Box::pin(#name::#name(#(#arguments),*)));
        (quote!(fn(#(#types),*) -> #future), pointer)
    } else {
        (quote!(#abi fn(#(#types),*) -> #output), quote!(#name::#name))
    };
    let (refs, check) = match value {
        Type::Tuple(tuple) if tuple.elems.len() == count => {
            let items = tuple.elems.iter();
            (quote!((#(::unidist::ObjectRef<#items>,)*)), shape.result_check(Some(count)))
        }
        // An alias, or an error, which this type expression reveals.
        value => {
            let refs = quote_spanned! {value.span()=>
                <#value as ::unidist::__private::SplitInto<#count>>::Refs
            };
            (refs, Tokens::new())
        }
    };
    let usage = usage(&name.to_string(), count, asynchronous);
    let described = described(&quote!(#name::#name), options, shape, &check);
    quote! {
        #(#public)*
        #[allow(non_upper_case_globals, dead_code)]
        #vis const #name: #name = #name {};

        #[doc = #usage]
        #[allow(non_camel_case_types, dead_code)]
        #[derive(Clone, Copy, Debug)]
        #[non_exhaustive]
        #vis struct #name {}

        #[allow(
            deprecated,
            private_interfaces,
            private_bounds,
            unreachable_pub,
            clippy::new_ret_no_self,
            clippy::should_implement_trait,
            clippy::wrong_self_convention
        )]
        impl #name {
            #[doc = "The function itself."]
            #itself

            #[doc = "Calls the function on a worker, and returns at once the refs to its results."]
            #[allow(dead_code)]
            #vis fn remote(self, #(#names: impl ::unidist::IntoArg<#types>),*) -> #refs {
                self.options().remote(#(#names),*)
            }

            #[doc = "Calls the function on a worker without refs to its results, which are not kept. An error is logged once."]
            #[allow(dead_code)]
            #vis fn send(self, #(#names: impl ::unidist::IntoArg<#types>),*) {
                self.options().send(#(#names),*)
            }

            #[doc = "Options for a call: `options().num_cpus(2).remote(..)`."]
            #[allow(dead_code)]
            #vis fn options(self) -> ::unidist::FunctionOptions<Self, (#(#types,)*), #count> {
                ::unidist::FunctionOptions::new()
            }
        }

        #[allow(deprecated)]
        impl ::core::ops::Deref for #name {
            type Target = #target;

            fn deref(&self) -> &Self::Target {
                const FUNCTION: #target = #pointer;
                &FUNCTION
            }
        }

        #[allow(deprecated, clippy::result_large_err)]
        impl ::unidist::__private::Definition for #name {
            type Value = #value;

            const ASYNCHRONOUS: bool = #asynchronous;

            fn subject() -> ::core::any::TypeId {
                ::unidist::__private::subject_of(&Self::#name)
            }

            fn start(inputs: ::unidist::__private::ReceivedArgs) -> ::unidist::__private::Started<#value> {
                #start
            }
        }

        #described
    }
}

/// The documentation of the type.
fn usage(name: &str, count: usize, asynchronous: bool) -> String {
    let given = match count {
        0 => "nothing".to_owned(),
        count => format!("{count} refs"),
    };
    let future = if asynchronous { " (and returns a boxed future)" } else { "" };
    format!(
        "The type of the remote function [`{name}`](const@{name}): `{name}.remote(..)` calls it on a worker and returns \
         {given}, `{name}(..)` calls it here{future}. To pass the function as a value, write `{name}::{name}`, or `*{name}` \
         for a pointer."
    )
}
