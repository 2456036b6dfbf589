//! The parts of a function's signature that remote calls need.

use crate::Errors;
use proc_macro2::{TokenStream as Tokens, TokenTree};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{
    Error, FnArg, GenericArgument, GenericParam, Generics, Ident, Pat, PathArguments, Receiver, ReturnType,
    Signature, Type, parse_quote,
};

/// The maximum number of parameters and of returns.
pub(crate) const MAX_PARAMETERS: usize = 6;

pub(crate) struct Shape {
    /// The parameters' names, for documentation and IDEs.
    pub(crate) names: Vec<Ident>,
    pub(crate) types: Vec<Type>,
    /// The type of the result's value.
    pub(crate) value: Type,
    /// Whether the function returns a `Result`.
    pub(crate) fallible: bool,
}

impl Shape {
    /// The shape of `signature`, in which `Self` means `actor`. Errors call the function `item`.
    pub(crate) fn of(
        signature: &Signature,
        actor: Option<&Type>,
        item: &str,
        errors: &mut Errors,
    ) -> Option<Self> {
        let (value, fallible) = result(signature, actor);
        let mut shape = Shape { names: Vec::new(), types: Vec::new(), value, fallible };
        let mut fine = true;
        let typed = signature.inputs.iter().filter_map(|input| match input {
            FnArg::Typed(typed) => Some(typed),
            FnArg::Receiver(_) => None,
        });
        for (place, typed) in typed.enumerate() {
            if let Some(error) = cannot_be_sent(&typed.ty, item) {
                errors.add(error);
                fine = false;
            } else if place == MAX_PARAMETERS {
                let message =
                    format!("{item} can have {MAX_PARAMETERS} arguments at most: put them into a struct");
                errors.add(Error::new_spanned(typed, message));
                fine = false;
            }
            shape.names.push(match &*typed.pat {
                Pat::Ident(pattern) => pattern.ident.clone(),
                _ => format_ident!("argument{place}"),
            });
            shape.types.push(without_self((*typed.ty).clone(), actor));
        }
        if let Type::Reference(reference) = &shape.value
            && !is_static(reference)
        {
            errors.add(Error::new_spanned(&signature.output, format!("{item} cannot return a reference, because its result goes to another process: return the value")));
            fine = false;
        }
        fine.then_some(shape)
    }

    /// Statements that fail to compile, with the argument's span, if an argument cannot be sent.
    pub(crate) fn argument_checks(&self) -> Tokens {
        let checks = self.types.iter().map(|argument| {
            quote_spanned!(argument.span()=> ::unidist::__private::assert_argument::<#argument>();)
        });
        quote!(#(#checks)*)
    }

    /// The same for the result.
    pub(crate) fn result_check(&self, num_returns: Option<usize>) -> Tokens {
        let value = &self.value;
        match num_returns {
            None => quote_spanned!(value.span()=> ::unidist::__private::assert_result::<#value>();),
            Some(count) => {
                quote_spanned!(value.span()=> ::unidist::__private::assert_split::<#value, #count>();)
            }
        }
    }
}

/// Whether there are parameters other than lifetimes.
pub(crate) fn is_generic(generics: &Generics) -> bool {
    generics.params.iter().any(|param| !matches!(param, GenericParam::Lifetime(_)))
}

/// Whether it is plain `&self` (false) or `&mut self` (true).
pub(crate) fn receives_mut(receiver: &Receiver) -> syn::Result<bool> {
    match (&receiver.reference, &receiver.colon_token) {
        (Some(_), None) => Ok(receiver.mutability.is_some()),
        _ => Err(Error::new_spanned(
            receiver,
            "an actor method takes `&self` or `&mut self`: move other methods to another `impl` block",
        )),
    }
}

fn cannot_be_sent(ty: &Type, item: &str) -> Option<Error> {
    match ty {
        Type::Reference(reference) => {
            let instead = match &*reference.elem {
                Type::Path(path) if path.path.is_ident("str") => "String".to_owned(),
                Type::Slice(slice) => format!("Vec<{}>", text(&slice.elem)),
                other => text(other),
            };
            let message = format!(
                "{item} takes its arguments by value, because they arrive from another process: use `{instead}`"
            );
            Some(Error::new_spanned(ty, message))
        }
        Type::ImplTrait(_) => {
            let message = format!(
                "{item} needs concrete argument types, because `impl Trait` cannot be sent: name the type"
            );
            Some(Error::new_spanned(ty, message))
        }
        _ => None,
    }
}

fn is_static(reference: &syn::TypeReference) -> bool {
    reference.lifetime.as_ref().is_some_and(|lifetime| lifetime.ident == "static")
}

/// A type in the usual spelling.
fn text(ty: &Type) -> String {
    let text = quote!(#ty).to_string();
    [(" :: ", "::"), (" < ", "<"), ("< ", "<"), (" >", ">"), (" ,", ",")]
        .iter()
        .fold(text, |text, (from, to)| text.replace(from, to))
}

/// The value's type, and whether it comes in a `Result`.
fn result(signature: &Signature, actor: Option<&Type>) -> (Type, bool) {
    let ReturnType::Type(_, output) = &signature.output else {
        return (parse_quote!(()), false);
    };
    if let Type::Path(path) = &**output
        && let Some(last) = path.path.segments.last()
        && last.ident == "Result"
    {
        let value = match &last.arguments {
            PathArguments::AngleBracketed(arguments) => {
                arguments.args.iter().find_map(|argument| match argument {
                    GenericArgument::Type(value) => Some(value.clone()),
                    _ => None,
                })
            }
            _ => None,
        };
        return (without_self(value.unwrap_or_else(|| parse_quote!(())), actor), true);
    }
    (without_self((**output).clone(), actor), false)
}

/// The type with `Self` replaced, for use in the `impl` of a marker type.
fn without_self(ty: Type, actor: Option<&Type>) -> Type {
    let Some(actor) = actor else { return ty };
    syn::parse2(spelt_out(ty.to_token_stream(), &actor.to_token_stream())).unwrap_or(ty)
}

fn spelt_out(tokens: Tokens, actor: &Tokens) -> Tokens {
    let tokens = tokens.into_iter().map(|token| match token {
        TokenTree::Ident(word) if word == "Self" => actor.clone(),
        TokenTree::Group(group) => {
            let mut inner = proc_macro2::Group::new(group.delimiter(), spelt_out(group.stream(), actor));
            inner.set_span(group.span());
            TokenTree::Group(inner).into()
        }
        other => other.into(),
    });
    tokens.collect()
}
