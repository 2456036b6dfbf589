//! Rules for source files.

use super::documents::listed;
use crate::Result;
use crate::workspace::{self, Workspace};
use proc_macro2::{Delimiter, TokenStream, TokenTree};
use std::collections::BTreeSet;

const ARCHITECTURE: &str = "ARCHITECTURE.md";

/// Longer files usually have more than one job.
const MAX_LINES: usize = 500;

/// Every crate root has documentation.
pub(super) fn crate_roots_are_documented(workspace: &Workspace) -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    for target in workspace.members().into_iter().flat_map(|package| &package.targets) {
        let path = target.src_path.as_std_path();
        let file = syn::parse_file(&workspace::read(path)?)?;
        let documented = file.attrs.iter().any(|attribute| attribute.path().is_ident("doc"));
        if !documented {
            wrong.push(format!("{}: without `//!` documentation", workspace.relative(path)));
        }
    }
    Ok(wrong)
}

/// `unsafe` occurs only in the files that ARCHITECTURE.md lists, every unsafe block and implementation has a SAFETY
/// comment, and every listed file has unsafe code.
pub(super) fn unsafe_code_is_listed(workspace: &Workspace) -> Result<Vec<String>> {
    let mut unused: BTreeSet<_> = listed(&workspace.read(ARCHITECTURE)?, "Unsafe code").into_iter().collect();
    let allowed = unused.clone();
    let mut wrong = Vec::new();
    for path in workspace.files("rs")? {
        let (name, text) = (workspace.relative(&path), workspace::read(&path)?);
        let tokens: TokenStream = text.parse().map_err(|error| format!("{name}: {error}"))?;
        let mut found = UnsafeCode::default();
        found.collect(tokens);
        if found.mentions.is_empty() {
            continue;
        }
        unused.remove(&name);
        if !allowed.contains(&name) {
            let line = found.mentions[0];
            wrong.push(format!("{name}:{line}: unsafe code in a file that {ARCHITECTURE} does not list"));
        }
        let lines: Vec<&str> = text.lines().collect();
        for line in found.claims {
            if !is_justified(&lines, line) {
                wrong.push(format!("{name}:{line}: without a SAFETY comment"));
            }
        }
    }
    wrong.extend(unused.into_iter().map(|name| format!("{ARCHITECTURE}: {name} has no unsafe code")));
    Ok(wrong)
}

/// Files are short; long ones are listed in ARCHITECTURE.md's section "Long files".
pub(super) fn files_are_short(workspace: &Workspace) -> Result<Vec<String>> {
    let allowed = listed(&workspace.read(ARCHITECTURE)?, "Long files");
    let mut wrong = Vec::new();
    for path in workspace.files("rs")? {
        let (name, lines) = (workspace.relative(&path), workspace::read(&path)?.lines().count());
        if lines > MAX_LINES && !allowed.contains(&name) {
            wrong.push(format!(
                "{name}: {lines} lines, more than {MAX_LINES}: split it, or list it in {ARCHITECTURE}"
            ));
        }
    }
    Ok(wrong)
}

/// The lines of a file with unsafe code.
#[derive(Debug, Default)]
struct UnsafeCode {
    /// The keyword, and attributes that allow `unsafe_code`.
    mentions: Vec<usize>,
    /// Unsafe blocks and implementations, which need a reason.
    claims: Vec<usize>,
}

impl UnsafeCode {
    /// Works on tokens, so comments and strings do not count, but code in macros does.
    fn collect(&mut self, tokens: TokenStream) {
        let mut tokens = tokens.into_iter().peekable();
        while let Some(token) = tokens.next() {
            match token {
                TokenTree::Group(group) => self.collect(group.stream()),
                TokenTree::Ident(word) if word == "allow" || word == "expect" => {
                    if let Some(TokenTree::Group(lints)) = tokens.peek()
                        && names_unsafe_code(lints.stream().into_iter())
                    {
                        self.mentions.push(word.span().start().line);
                    }
                }
                TokenTree::Ident(word) if word == "unsafe" => {
                    let line = word.span().start().line;
                    self.mentions.push(line);
                    let claim = match tokens.peek() {
                        Some(TokenTree::Group(group)) => group.delimiter() == Delimiter::Brace,
                        Some(TokenTree::Ident(next)) => next == "impl",
                        _ => false,
                    };
                    if claim {
                        self.claims.push(line);
                    }
                }
                _ => {}
            }
        }
    }
}

fn names_unsafe_code(mut lints: proc_macro2::token_stream::IntoIter) -> bool {
    lints.any(|token| matches!(token, TokenTree::Ident(lint) if lint == "unsafe_code"))
}

/// Whether the statement on this line (from 1) has a SAFETY comment before it or in it.
fn is_justified(lines: &[&str], line: usize) -> bool {
    for (distance, text) in lines[..line].iter().rev().map(|text| text.trim()).enumerate() {
        let comment = text.starts_with("//");
        if text.contains("// SAFETY:") {
            return true;
        }
        let statement_before = !comment && (text.is_empty() || text.ends_with([';', '}']));
        if distance > 0 && statement_before {
            return false;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    // Assembled, or the rule would find unsafe code here.
    fn unsafe_code(code: &str) -> UnsafeCode {
        let mut found = UnsafeCode::default();
        found.collect(code.replace("UNSAFE", concat!("un", "safe")).parse().unwrap());
        found
    }

    #[test]
    fn unsafe_is_found_in_code_only() {
        let none =
            unsafe_code("// UNSAFE {\n#![forbid(UNSAFE_code)]\nconst A: &str = \"UNSAFE {\"; /* UNSAFE */");
        assert!(none.mentions.is_empty());
        let some = unsafe_code(
            "#![allow(UNSAFE_code)]\nfn f() {\n m!(UNSAFE { g() });\n}\nUNSAFE impl A for B {}\nUNSAFE fn h() {}",
        );
        assert_eq!(some.mentions, [1, 3, 5, 6]);
        assert_eq!(some.claims, [3, 5]);
    }

    #[test]
    fn safety_comments_belong_to_their_statement() {
        let lines =
            "f();\n// SAFETY: it is.\nlet x =\n    block {\n};\nblock { 2 }".lines().collect::<Vec<_>>();
        assert!(is_justified(&lines, 4));
        assert!(!is_justified(&lines, 6));
        assert!(!is_justified(&lines, 1));
        assert!(is_justified(&["block { g() } // SAFETY: short."], 1));
    }
}
