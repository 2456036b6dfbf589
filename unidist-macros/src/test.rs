//! `#[test]`: a test with a session of its own.

use crate::Errors;
use proc_macro2::{Span, TokenStream as Tokens};
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Attribute, Error, Item, ItemFn};

/// The test; its body is a function inside it.
pub(crate) fn expand(options: &Tokens, item: Item) -> Tokens {
    let mut errors = Errors::default();
    if !options.is_empty() {
        let message = "`#[unidist::test]` takes no options: the session has the settings of the environment";
        errors.add(Error::new_spanned(options, message));
    }
    let function = match item {
        Item::Fn(function) => function,
        other => {
            let message = "`#[unidist::test]` belongs on a function";
            errors.add(Error::new_spanned(crate::head(&other), message));
            let errors = errors.to_tokens();
            return quote!(#other #errors);
        }
    };
    check(&function, &mut errors);
    if errors.0.is_some() {
        let errors = errors.to_tokens();
        return quote!(#[allow(dead_code)] #function #errors);
    }
    test(function)
}

fn check(function: &ItemFn, errors: &mut Errors) {
    let signature = &function.sig;
    if let Some(argument) = signature.inputs.first() {
        let message = "a test has no parameters";
        errors.add(Error::new_spanned(argument, message));
    }
    if crate::signature::is_generic(&signature.generics) {
        let message = "a test cannot be generic: call a generic function in it";
        errors.add(Error::new_spanned(&signature.generics, message));
    }
    if let Some(constness) = &signature.constness {
        errors.add(Error::new_spanned(constness, "a test cannot be `const`"));
    }
    if let Some(attribute) = function.attrs.iter().find(|attribute| is_test(attribute)) {
        let message = "`#[unidist::test]` makes the function a test: remove the other attribute";
        errors.add(Error::new_spanned(attribute, message));
    }
}

/// Whether this is `#[test]`, or the attribute of another library that makes a test.
fn is_test(attribute: &Attribute) -> bool {
    attribute.path().segments.last().is_some_and(|last| last.ident == "test")
}

fn test(function: ItemFn) -> Tokens {
    let ItemFn { attrs, vis, sig, block } = function;
    let (name, output, unsafety) = (&sig.ident, &sig.output, &sig.unsafety);
    let asyncness = &sig.asyncness;
    let run = if asyncness.is_some() { quote!(run_async) } else { quote!(run) };
    // An error about the result points at the result.
    let result = match output {
        syn::ReturnType::Default => Span::call_site(),
        syn::ReturnType::Type(_, result) => result.span(),
    };
    let call = quote_spanned!(result=> ::unidist::__private::#run(__body));
    quote! {
        #(#attrs)*
        #[::core::prelude::v1::test]
        #vis #unsafety fn #name() #output {
            #asyncness fn __body() #output #block
            #call
        }
    }
}
