//! The module paths that a source file names, as `crate::..` paths.
//!
//! They are read from tokens, so that paths in macros count and those in comments and strings do not.

use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};
use std::iter::Peekable;

/// A path that a file names.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NamedPath {
    /// Its segments. The first is `crate` if it could be resolved, else it is what the file says.
    pub(super) segments: Vec<String>,
    /// The line of its first segment.
    pub(super) line: usize,
}

impl NamedPath {
    /// Whether the path leads to `module` (such as `crate::link`) or into it.
    pub(super) fn is_in(&self, module: &str) -> bool {
        let mut segments = self.segments.iter();
        module.split("::").all(|wanted| segments.next().is_some_and(|segment| segment == wanted))
    }
}

/// The paths of at least two segments in these tokens of the file `relative` (such as `unidist-engine/src/a/b.rs`).
pub(super) fn named_paths(relative: &str, tokens: TokenStream) -> Vec<NamedPath> {
    let mut found = Vec::new();
    collect(tokens, &module_of(relative), &mut found);
    found
}

/// The segments of the module that a file is: `["crate", "a", "b"]` for `unidist-engine/src/a/b.rs`.
pub(super) fn module_of(relative: &str) -> Vec<String> {
    let inner = relative.split_once("/src/").map_or(relative, |(_, inner)| inner);
    let mut module = vec!["crate".to_owned()];
    module.extend(inner.trim_end_matches(".rs").split('/').map(str::to_owned));
    if module.last().is_some_and(|last| ["mod", "lib", "main"].contains(&last.as_str())) {
        module.pop();
    }
    module
}

fn collect(tokens: TokenStream, module: &[String], found: &mut Vec<NamedPath>) {
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Group(group) => collect(group.stream(), module, found),
            TokenTree::Ident(word) if word == "mod" => {
                let Some(TokenTree::Ident(name)) = tokens.peek() else { continue };
                let inner: Vec<String> = module.iter().cloned().chain([name.to_string()]).collect();
                tokens.next();
                if let Some(TokenTree::Group(body)) = tokens.peek() {
                    let body = body.stream();
                    tokens.next();
                    collect(body, &inner, found);
                }
            }
            TokenTree::Ident(word) => {
                let line = word.span().start().line;
                path(vec![word.to_string()], line, &mut tokens, module, found);
            }
            _ => {}
        }
    }
}

/// Reads the rest of a path whose first segments are `prefix`, with the groups of a `use` item.
fn path(
    mut prefix: Vec<String>,
    line: usize,
    tokens: &mut Peekable<proc_macro2::token_stream::IntoIter>,
    module: &[String],
    found: &mut Vec<NamedPath>,
) {
    while separator(tokens) {
        match tokens.peek() {
            Some(TokenTree::Ident(word)) => {
                prefix.push(word.to_string());
                tokens.next();
            }
            Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                let mut inner = group.stream().into_iter().peekable();
                tokens.next();
                while let Some(token) = inner.next() {
                    if let TokenTree::Ident(word) = token {
                        let line = word.span().start().line;
                        let mut longer = prefix.clone();
                        // `{self}` is the module itself.
                        if word != "self" {
                            longer.push(word.to_string());
                        }
                        path(longer, line, &mut inner, module, found);
                    }
                }
                return;
            }
            Some(TokenTree::Punct(star)) if star.as_char() == '*' => {
                prefix.push("*".to_owned());
                tokens.next();
            }
            _ => break,
        }
    }
    if prefix.len() > 1 {
        found.push(NamedPath { segments: resolve(prefix, module), line });
    }
}

/// Skips `::` if it comes next.
fn separator(tokens: &mut Peekable<proc_macro2::token_stream::IntoIter>) -> bool {
    match tokens.peek() {
        Some(TokenTree::Punct(colon)) if colon.as_char() == ':' && colon.spacing() == Spacing::Joint => {
            tokens.next();
            tokens.next();
            true
        }
        _ => false,
    }
}

/// The path from the crate's root, if it begins with `crate`, `self` or `super`; else as it is.
fn resolve(path: Vec<String>, module: &[String]) -> Vec<String> {
    let upwards = path.iter().take_while(|segment| *segment == "super").count();
    let (base, skipped) = match path[0].as_str() {
        "super" => (&module[..module.len().saturating_sub(upwards).max(1)], upwards),
        "self" => {
            let upwards = path[1..].iter().take_while(|segment| *segment == "super").count();
            (&module[..module.len().saturating_sub(upwards).max(1)], 1 + upwards)
        }
        _ => return path,
    };
    base.iter().cloned().chain(path.into_iter().skip(skipped)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(relative: &str, code: &str) -> Vec<String> {
        let found = named_paths(relative, code.parse().unwrap());
        found.into_iter().map(|path| path.segments.join("::")).collect()
    }

    #[test]
    fn use_items_are_expanded_and_resolved() {
        let code = "use crate::a::{self, b::{C, D}};\nuse super::super::x::Y as Z;\nuse self::inner::*;";
        assert_eq!(
            names("engine/src/one/two/three.rs", code),
            [
                "crate::a",
                "crate::a::b::C",
                "crate::a::b::D",
                "crate::one::x::Y",
                "crate::one::two::three::inner::*"
            ]
        );
    }

    #[test]
    fn paths_in_code_and_macros_count_and_comments_do_not() {
        let code = "fn f(x: &crate::link::Ring) { m!(super::g::<u8>(1)); } // crate::no\nconst A: &str = \"crate::no\";";
        assert_eq!(names("engine/src/one/mod.rs", code), ["crate::link::Ring", "crate::g"]);
    }

    #[test]
    fn inline_modules_count_as_levels() {
        let code = "mod tests { use super::super::x::Y; use super::Z; }";
        assert_eq!(names("engine/src/a/b.rs", code), ["crate::a::x::Y", "crate::a::b::Z"]);
    }

    #[test]
    fn paths_are_found_in_modules_by_segments() {
        let path = NamedPath { segments: ["crate", "linker", "X"].map(str::to_owned).into(), line: 1 };
        assert!(path.is_in("crate::linker"));
        assert!(!path.is_in("crate::link"));
    }
}
