//! Expressions that make texts, and the texts that they make.

use std::collections::BTreeMap;
use syn::parse::Parser;
use syn::punctuated::Punctuated;
use syn::{Expr, ExprLit, Lit, Macro, Member, Token};

/// How deep names are looked up.
const MAX_DEPTH: u32 = 5;
/// What stands for a value without a name.
const UNNAMED: &str = "{..}";

/// The names that are known at some place in the sources.
#[derive(Clone, Default)]
pub(super) struct Names {
    /// Local variables, with the expressions that they were given.
    pub(super) locals: BTreeMap<String, Expr>,
    /// Constants of the crate.
    pub(super) constants: BTreeMap<String, Expr>,
    /// Functions of the crate that return texts, with those.
    pub(super) functions: BTreeMap<String, Vec<Expr>>,
}

impl Names {
    /// The texts that the expression may have as its value; none if it is no text, or one that is not known here.
    pub(super) fn texts(&self, expression: &Expr) -> Vec<String> {
        self.texts_at(expression, 0)
    }

    fn texts_at(&self, expression: &Expr, depth: u32) -> Vec<String> {
        if depth > MAX_DEPTH {
            return Vec::new();
        }
        let next = |inner: &Expr| self.texts_at(inner, depth + 1);
        match expression {
            Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => vec![text.value()],
            Expr::Macro(call) if is_named(&call.mac, &["format", "format_args", "concat"]) => {
                self.formatted(&call.mac, 0, depth)
            }
            Expr::Path(path) => {
                let Some(name) = path.path.segments.last().map(|last| last.ident.to_string()) else {
                    return Vec::new();
                };
                let known = self.locals.get(&name).filter(|_| path.path.segments.len() == 1);
                known.or_else(|| self.constants.get(&name)).map(next).unwrap_or_default()
            }
            Expr::Reference(inner) => next(&inner.expr),
            Expr::Paren(inner) => next(&inner.expr),
            Expr::Group(inner) => next(&inner.expr),
            Expr::Closure(closure) => next(&closure.body),
            Expr::Binary(sum) => [next(&sum.left), next(&sum.right)].concat(),
            Expr::Block(block) => tail(&block.block).map(next).unwrap_or_default(),
            Expr::If(branch) => {
                let then = tail(&branch.then_branch).map(next).unwrap_or_default();
                let other = branch.else_branch.as_ref().map(|(_, other)| next(other)).unwrap_or_default();
                [then, other].concat()
            }
            Expr::Match(branches) => branches.arms.iter().flat_map(|arm| next(&arm.body)).collect(),
            Expr::MethodCall(call) => match call.method.to_string().as_str() {
                "to_owned" | "to_string" | "into" | "clone" | "as_str" => next(&call.receiver),
                name => self.returned(name, depth),
            },
            Expr::Call(call) => {
                let Expr::Path(function) = &*call.func else { return Vec::new() };
                let Some(name) = function.path.segments.last().map(|last| last.ident.to_string()) else {
                    return Vec::new();
                };
                match name.as_str() {
                    "Some" | "from" | "Borrowed" | "Owned" => call.args.iter().flat_map(next).collect(),
                    name => self.returned(name, depth),
                }
            }
            _ => Vec::new(),
        }
    }

    /// The texts that a function of the crate may return.
    fn returned(&self, function: &str, depth: u32) -> Vec<String> {
        let expressions = self.functions.get(function).into_iter().flatten();
        let own = Names { locals: BTreeMap::new(), ..self.clone() };
        expressions.flat_map(|expression| own.texts_at(expression, depth + 1)).collect()
    }

    /// The text of a macro whose format string comes after this many arguments. A value that is one of several known
    /// texts stays a name, and those texts follow.
    pub(super) fn format(&self, call: &Macro, skipped: usize) -> Vec<String> {
        self.formatted(call, skipped, 0)
    }

    fn formatted(&self, call: &Macro, skipped: usize, depth: u32) -> Vec<String> {
        let parser = Punctuated::<Expr, Token![,]>::parse_terminated;
        let Ok(arguments) = parser.parse2(call.tokens.clone()) else {
            return first_literal(call.tokens.clone()).into_iter().collect();
        };
        let mut arguments = arguments.into_iter().skip(skipped);
        let Some(Expr::Lit(ExprLit { lit: Lit::Str(format), .. })) = arguments.next() else {
            return Vec::new();
        };
        let mut positional = Vec::new();
        let mut named = BTreeMap::new();
        for argument in arguments {
            match argument {
                Expr::Assign(assign) => {
                    named.insert(label(&assign.left), *assign.right);
                }
                other => positional.push(other),
            }
        }
        let mut next = 0;
        let mut parts = Vec::new();
        let text = fill(&format.value(), |name| {
            let value = if name.is_empty() {
                next += 1;
                positional.get(next - 1).cloned()
            } else if let Ok(index) = name.parse::<usize>() {
                positional.get(index).cloned()
            } else {
                named.get(&format!("{{{name}}}")).cloned().or_else(|| syn::parse_str(name).ok())
            };
            let Some(value) = value else { return UNNAMED.to_owned() };
            match self.texts_at(&value, depth + 1).as_slice() {
                // A word alone is found by chance: functions are looked up by name, without their types.
                [one] if one.contains(' ') => one.clone(),
                [_] => label(&value),
                several => {
                    parts.extend(several.iter().cloned());
                    label(&value)
                }
            }
        });
        let mut texts = vec![text];
        texts.append(&mut parts);
        texts
    }
}

/// Whether a macro has one of these names.
pub(super) fn is_named(call: &Macro, names: &[&str]) -> bool {
    call.path.segments.last().is_some_and(|last| names.iter().any(|name| last.ident == name))
}

/// The value of a block.
pub(super) fn tail(block: &syn::Block) -> Option<&Expr> {
    match block.stmts.last() {
        Some(syn::Stmt::Expr(value, None)) => Some(value),
        _ => None,
    }
}

/// A format string with each placeholder replaced.
fn fill(format: &str, mut value: impl FnMut(&str) -> String) -> String {
    let mut text = String::new();
    let mut rest = format;
    while let Some(at) = rest.find(['{', '}']) {
        let (before, brace) = rest.split_at(at);
        text.push_str(before);
        if brace.starts_with("{{") || brace.starts_with("}}") {
            text.push_str(&brace[..1]);
            rest = &brace[2..];
            continue;
        }
        let Some(end) = brace.find('}') else { break };
        let name = brace[1..end].split(':').next().unwrap_or_default();
        text.push_str(&value(name.trim()));
        rest = &brace[end + 1..];
    }
    text + rest
}

/// A name for a value, in braces.
fn label(expression: &Expr) -> String {
    name_of(expression).map_or_else(|| UNNAMED.to_owned(), |name| format!("{{{name}}}"))
}

fn name_of(expression: &Expr) -> Option<String> {
    match expression {
        Expr::Path(path) => {
            let name = path.path.segments.last()?.ident.to_string();
            (name != "self").then(|| name.to_lowercase())
        }
        Expr::Field(field) => match &field.member {
            Member::Named(name) => Some(name.to_string()),
            Member::Unnamed(_) => name_of(&field.base),
        },
        Expr::MethodCall(call) => name_of(&call.receiver).or_else(|| Some(call.method.to_string())),
        Expr::Reference(inner) => name_of(&inner.expr),
        Expr::Paren(inner) => name_of(&inner.expr),
        Expr::Unary(inner) => name_of(&inner.expr),
        Expr::Try(inner) => name_of(&inner.expr),
        Expr::Index(inner) => name_of(&inner.expr),
        Expr::Call(call) => call.args.first().map_or_else(|| name_of(&call.func), name_of),
        _ => None,
    }
}

/// The first string literal, for macros with arguments that are no expressions.
fn first_literal(tokens: proc_macro2::TokenStream) -> Option<String> {
    tokens.into_iter().find_map(|token| match token {
        proc_macro2::TokenTree::Literal(literal) => {
            syn::parse_str::<syn::LitStr>(&literal.to_string()).ok().map(|text| text.value())
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(names: &Names, code: &str) -> Vec<String> {
        names.texts(&syn::parse_str(code).unwrap())
    }

    #[test]
    fn placeholders_become_names() {
        let names = Names::default();
        let code = r#"format!("{} of {self_name:?}: {1:.0} s {{}} {x}", path.display(), self.waited.as_secs(), x = y)"#;
        assert_eq!(texts(&names, code), ["{path} of {self_name}: {waited} s {} {y}"]);
    }

    #[test]
    fn known_texts_are_filled_in() {
        let mut names = Names::default();
        names.locals.insert("what".into(), syn::parse_str(r#"if a { "one" } else { "two" }"#).unwrap());
        names.constants.insert("ADVICE".into(), syn::parse_str(r#""try again""#).unwrap());
        assert_eq!(
            texts(&names, r#"format!("no {what}: {ADVICE}")"#),
            ["no {what}: try again", "one", "two"]
        );
        assert_eq!(texts(&names, "what.to_owned()"), ["one", "two"]);
        assert!(texts(&names, "unknown").is_empty());
    }
}
