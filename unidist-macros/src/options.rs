//! The options in the parentheses of `#[remote(..)]`, parsed by the table of `unidist_options`.

use crate::Errors;
use proc_macro2::{Span, TokenStream as Tokens};
use quote::{ToTokens, quote};
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream, Parser};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{Error, Expr, ExprLit, Ident, Lit, LitInt, LitStr, Token, UnOp, parenthesized, token};

/// The item that the attribute is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ItemKind {
    Function,
    Actor,
    Method,
}

/// The type of an option's value, as in `unidist_options`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Name,
    Amount,
    Amounts,
    Count,
    AtLeastOne,
    Level,
    TimeLimit,
    Bytes,
    Worker,
    Group,
}

/// An entry of the table of options.
struct Declared {
    field: &'static str,
    kind: Kind,
    example: &'static str,
    /// The items whose attribute takes it.
    items: &'static [ItemKind],
    /// Error messages for other items, where a better one exists than that they do not take the option.
    misplaced: &'static [(ItemKind, &'static str)],
}

macro_rules! declared {
    ($({
        $(#[$doc:meta])*
        $field:ident: $kind:ident, set by $setter:ident;
        builder { $($builders:tt)* }
        attribute $example:literal { $($item:ident $text:literal;)* }
        misplaced { $($other:ident $hint:literal;)* }
    })*) => {
        &[$(Declared {
            field: stringify!($field),
            kind: Kind::$kind,
            example: $example,
            items: &[$(ItemKind::$item),*],
            misplaced: &[$((ItemKind::$other, $hint)),*],
        }),*]
    };
}
const TABLE: &[Declared] = unidist_options::option_table!(declared! {});

/// The list of options for the documentation of `#[remote]`: those of a `Function`, `Actor` or `Method`.
macro_rules! option_docs {
    ($item:ident) => { unidist_options::option_table!(option_docs! { $item }) };
    ($item:ident $({
        $(#[$doc:meta])*
        $field:ident: $kind:ident, set by $setter:ident;
        builder { $($builders:tt)* }
        attribute $example:literal { $($lines:tt)* }
        $($rest:tt)*
    })*) => {
        concat!($(option_line!($item $example $($lines)*)),*)
    };
}

/// The line of one option, empty if this item does not take it.
macro_rules! option_line {
    (Function $example:literal Function $text:literal; $($rest:tt)*) => { concat!("- `", $example, "`: ", $text, ";\n") };
    (Actor $example:literal Actor $text:literal; $($rest:tt)*) => { concat!("- `", $example, "`: ", $text, ";\n") };
    (Method $example:literal Method $text:literal; $($rest:tt)*) => { concat!("- `", $example, "`: ", $text, ";\n") };
    ($item:ident $example:literal $other:ident $text:literal; $($rest:tt)*) => { option_line!($item $example $($rest)*) };
    ($item:ident $example:literal) => { "" };
}
pub(crate) use {option_docs, option_line};

#[derive(Default)]
pub(crate) struct Options {
    pub(crate) name: Option<LitStr>,
    pub(crate) num_returns: Option<usize>,
    /// Statements that set fields of `options`.
    pub(crate) defaults: Vec<Tokens>,
}

impl Options {
    /// Reads the options; wrong ones are reported and left out.
    pub(crate) fn parse(tokens: Tokens, item: ItemKind, errors: &mut Errors) -> Self {
        let mut options = Options::default();
        let list = Punctuated::<Entry, Token![,]>::parse_terminated.parse2(tokens);
        for entry in errors.check(list).into_iter().flatten() {
            errors.check(options.add(entry, item));
        }
        options
    }

    fn add(&mut self, entry: Entry, item: ItemKind) -> syn::Result<()> {
        let Entry { key, value } = entry;
        if key == NUM_RETURNS {
            return self.add_num_returns(&key, &value, item);
        }
        let Some(option) = TABLE.iter().find(|option| key == option.field) else {
            return Err(unknown(&key, item));
        };
        if let Some((_, hint)) = option.misplaced.iter().find(|(other, _)| *other == item) {
            return Err(Error::new(key.span(), hint));
        }
        if !option.items.contains(&item) {
            return Err(unknown(&key, item));
        }
        let field = Ident::new(option.field, Span::call_site());
        let mut set = |value: Tokens| {
            self.defaults.push(quote!(options.#field = ::core::option::Option::Some(#value);));
        };
        match (option.kind, value) {
            (Kind::Name, Value::Is(value)) => self.name = Some(string(&value)?),
            (Kind::Amount, Value::Is(amount)) => {
                not_negative(&amount)?;
                set(quote!((#amount) as f64));
            }
            (Kind::Amounts, Value::List(amounts)) => {
                for NamedAmount { name, amount } in amounts {
                    not_negative(&amount)?;
                    self.defaults.push(quote! {
                        options.#field.push((::std::string::String::from(#name), (#amount) as f64));
                    });
                }
            }
            (Kind::Count | Kind::AtLeastOne, Value::Is(count)) => {
                not_negative(&count)?;
                set(quote!(#count));
            }
            (Kind::Level, Value::Is(level)) => set(quote!(#level)),
            (Kind::TimeLimit, Value::Is(limit)) => {
                not_negative(&limit)?;
                set(quote!(::unidist::__private::seconds((#limit) as f64)));
            }
            (Kind::Bytes, Value::Is(amount)) => {
                let bytes = bytes(&amount)?;
                set(quote!(#bytes));
            }
            (Kind::Worker | Kind::Group, _) => return Err(unknown(&key, item)),
            (_, value) => {
                let span = match value {
                    Value::Is(value) => value.span(),
                    Value::List(_) => key.span(),
                };
                return Err(Error::new(span, format!("write `{}`", option.example)));
            }
        }
        Ok(())
    }

    fn add_num_returns(&mut self, key: &Ident, value: &Value, item: ItemKind) -> syn::Result<()> {
        match (value, item) {
            (_, ItemKind::Actor) => Err(Error::new(
                key.span(),
                "an actor has no `num_returns`: put `#[remote(num_returns = 2)]` on the method",
            )),
            (Value::Is(count), _) => {
                self.num_returns = Some(num_returns(count)?);
                Ok(())
            }
            (Value::List(_), _) => Err(Error::new(key.span(), format!("write `{NUM_RETURNS_EXAMPLE}`"))),
        }
    }
}

/// The number of returns is part of a call's type, so it is not in the table.
const NUM_RETURNS: &str = "num_returns";
const NUM_RETURNS_EXAMPLE: &str = "num_returns = 2";

fn unknown(key: &Ident, item: ItemKind) -> Error {
    let mut allowed: Vec<String> = TABLE
        .iter()
        .filter(|option| option.items.contains(&item))
        .map(|option| format!("`{}`", option.example))
        .collect();
    let what = match item {
        ItemKind::Function => "a remote function",
        ItemKind::Actor => "an actor",
        ItemKind::Method => "an actor method",
    };
    if item != ItemKind::Actor {
        allowed.push(format!("`{NUM_RETURNS_EXAMPLE}`"));
    }
    let last = allowed.pop().unwrap_or_default();
    let allowed = allowed.join(", ");
    Error::new(key.span(), format!("`{key}` is not an option of {what}, which takes {allowed} and {last}"))
}

fn string(value: &Expr) -> syn::Result<LitStr> {
    match value {
        Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Ok(text.clone()),
        other => Err(Error::new_spanned(other, "the name must be a string literal")),
    }
}

/// A number of bytes: an integer, or a string with a unit.
fn bytes(amount: &Expr) -> syn::Result<u64> {
    let read = match amount {
        Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => unidist_options::parse_bytes(&text.value()),
        Expr::Lit(ExprLit { lit: Lit::Int(number), .. }) => number.base10_parse().ok(),
        _ => None,
    };
    read.ok_or_else(|| {
        let message = format!(
            "the memory must be a number of bytes: {}, in quotes if it has one",
            unidist_options::BYTES_ALLOWED
        );
        Error::new_spanned(amount, message)
    })
}

fn not_negative(amount: &Expr) -> syn::Result<()> {
    match amount {
        Expr::Unary(unary) if matches!(unary.op, UnOp::Neg(_)) => {
            Err(Error::new_spanned(amount, "this value must not be negative"))
        }
        _ => Ok(()),
    }
}

fn num_returns(count: &Expr) -> syn::Result<usize> {
    syn::parse2::<LitInt>(count.to_token_stream())
        .and_then(|literal| literal.base10_parse::<usize>())
        .ok()
        .filter(|count| *count <= crate::signature::MAX_PARAMETERS)
        .ok_or_else(|| Error::new_spanned(count, "the number of returns must be an integer from 0 to 6"))
}

/// `key = value` or `key(..)`.
struct Entry {
    key: Ident,
    value: Value,
}

enum Value {
    Is(Expr),
    List(Punctuated<NamedAmount, Token![,]>),
}

/// `name = amount`, where the name is an identifier or a string.
struct NamedAmount {
    name: String,
    amount: Expr,
}

impl Parse for Entry {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let key = Ident::parse_any(input)?;
        if input.peek(token::Paren) {
            let list;
            parenthesized!(list in input);
            let amounts = Punctuated::parse_terminated(&list)?;
            return Ok(Entry { key, value: Value::List(amounts) });
        }
        input.parse::<Token![=]>()?;
        let value = Value::Is(input.parse()?);
        Ok(Entry { key, value })
    }
}

impl Parse for NamedAmount {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let name = if input.peek(LitStr) {
            input.parse::<LitStr>()?.value()
        } else {
            Ident::parse_any(input)?.to_string()
        };
        input.parse::<Token![=]>()?;
        let amount = input.parse()?;
        Ok(NamedAmount { name, amount })
    }
}
