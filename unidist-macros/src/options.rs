//! What stands in the parentheses of `#[remote(..)]`.

use crate::Errors;
use proc_macro2::TokenStream as Tokens;
use quote::{ToTokens, quote};
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream, Parser};
use syn::punctuated::Punctuated;
use syn::{Error, Expr, Ident, LitInt, LitStr, Token, UnOp, parenthesized, token};

/// Where the attribute stands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Function,
    Actor,
    Method,
}

#[derive(Default)]
pub(crate) struct Options {
    pub(crate) name: Option<LitStr>,
    pub(crate) num_returns: Option<usize>,
    /// Statements that set fields of `options`.
    pub(crate) defaults: Vec<Tokens>,
}

impl Options {
    /// Reads the options; wrong ones are reported and left out.
    pub(crate) fn parse(tokens: Tokens, place: Place, errors: &mut Errors) -> Self {
        let mut options = Options::default();
        let list = Punctuated::<Entry, Token![,]>::parse_terminated.parse2(tokens);
        for entry in errors.check(list).into_iter().flatten() {
            errors.check(options.add(entry, place));
        }
        options
    }

    fn add(&mut self, entry: Entry, place: Place) -> syn::Result<()> {
        let Entry { key, value } = entry;
        match (key.to_string().as_str(), value, place) {
            ("name", Value::Is(Expr::Lit(value)), _) => match value.lit {
                syn::Lit::Str(name) => self.name = Some(name),
                other => return Err(Error::new_spanned(other, "the name is a string literal")),
            },
            ("name", Value::Is(value), _) => {
                return Err(Error::new_spanned(value, "the name is a string literal"));
            }
            ("num_cpus", Value::Is(amount), Place::Function | Place::Actor) => {
                not_negative(&amount)?;
                self.defaults
                    .push(quote!(options.num_cpus = ::core::option::Option::Some((#amount) as f64);));
            }
            ("resources", Value::List(resources), Place::Function | Place::Actor) => {
                for Resource { name, amount } in resources {
                    not_negative(&amount)?;
                    self.defaults.push(quote! {
                        options.resources.push((::std::string::String::from(#name), (#amount) as f64));
                    });
                }
            }
            ("resources", Value::Is(value), _) => {
                return Err(Error::new_spanned(value, "write `resources(gpu = 1, licence = 2)`"));
            }
            ("max_retries", Value::Is(times), Place::Function | Place::Method) => {
                not_negative(&times)?;
                self.defaults.push(quote!(options.max_retries = ::core::option::Option::Some(#times);));
            }
            ("timeout", Value::Is(limit), _) => {
                not_negative(&limit)?;
                self.defaults.push(quote! {
                    options.timeout =
                        ::core::option::Option::Some(::unidist::__private::seconds((#limit) as f64));
                });
            }
            ("max_restarts", Value::Is(times), Place::Actor) => {
                not_negative(&times)?;
                self.defaults.push(quote!(options.max_restarts = ::core::option::Option::Some(#times);));
            }
            ("max_restarts", _, Place::Function) => {
                let message = "only an actor can be started again; for a function it is `max_retries = 3`";
                return Err(Error::new(key.span(), message));
            }
            ("max_restarts", _, Place::Method) => {
                let message = "an actor is started again as a whole: put `max_restarts` on its `impl` block; how often \
                               a call of this method runs again then is `max_retries = 3`";
                return Err(Error::new(key.span(), message));
            }
            ("priority", Value::Is(priority), Place::Function) => {
                self.defaults.push(quote!(options.priority = ::core::option::Option::Some(#priority);));
            }
            ("max_concurrency", Value::Is(calls), Place::Actor) => {
                not_negative(&calls)?;
                self.defaults.push(quote!(options.max_concurrency = ::core::option::Option::Some(#calls);));
            }
            ("num_returns", Value::Is(count), Place::Function | Place::Method) => {
                self.num_returns = Some(num_returns(&count)?);
            }
            ("num_returns", _, Place::Actor) => {
                return Err(Error::new(key.span(), "put `#[remote(num_returns = 2)]` on the method"));
            }
            (_, _, place) => return Err(unknown(&key, place)),
        }
        Ok(())
    }
}

fn unknown(key: &Ident, place: Place) -> Error {
    let (what, allowed) = match place {
        Place::Function => (
            "a remote function",
            "`name = \"..\"`, `num_cpus = 1`, `resources(gpu = 1)`, `num_returns = 2`, `max_retries = 3`, `priority = 1` \
             and `timeout = 2.5`",
        ),
        Place::Actor => (
            "an actor",
            "`name = \"..\"`, `num_cpus = 1`, `resources(gpu = 1)`, `max_concurrency = 8`, `max_restarts = 3` and \
             `timeout = 2.5`",
        ),
        Place::Method => {
            ("an actor method", "`name = \"..\"`, `num_returns = 2`, `max_retries = 3` and `timeout = 2.5`")
        }
    };
    Error::new(key.span(), format!("`{key}` is no option of {what}, which takes {allowed}"))
}

fn not_negative(amount: &Expr) -> syn::Result<()> {
    match amount {
        Expr::Unary(unary) if matches!(unary.op, UnOp::Neg(_)) => {
            Err(Error::new_spanned(amount, "this must not be negative"))
        }
        _ => Ok(()),
    }
}

fn num_returns(count: &Expr) -> syn::Result<usize> {
    syn::parse2::<LitInt>(count.to_token_stream())
        .and_then(|literal| literal.base10_parse::<usize>())
        .ok()
        .filter(|count| *count <= crate::signature::MOST)
        .ok_or_else(|| Error::new_spanned(count, "the number of returns is an integer from 0 to 6"))
}

/// `key = value` or `key(..)`.
struct Entry {
    key: Ident,
    value: Value,
}

enum Value {
    Is(Expr),
    List(Punctuated<Resource, Token![,]>),
}

/// `name = amount`, where the name is an identifier or a string.
struct Resource {
    name: String,
    amount: Expr,
}

impl Parse for Entry {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let key = Ident::parse_any(input)?;
        if input.peek(token::Paren) {
            let list;
            parenthesized!(list in input);
            let resources = Punctuated::parse_terminated(&list)?;
            return Ok(Entry { key, value: Value::List(resources) });
        }
        input.parse::<Token![=]>()?;
        let value = Value::Is(input.parse()?);
        Ok(Entry { key, value })
    }
}

impl Parse for Resource {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let name = if input.peek(LitStr) {
            input.parse::<LitStr>()?.value()
        } else {
            Ident::parse_any(input)?.to_string()
        };
        input.parse::<Token![=]>()?;
        let amount = input.parse()?;
        Ok(Resource { name, amount })
    }
}
