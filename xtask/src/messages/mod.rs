//! `messages`: the page of the book with all texts that a user can meet, from the sources.
//!
//! [`extract`] finds them in the syntax tree, [`text`] turns format strings into what is shown.

mod extract;
mod text;

use crate::Result;
use crate::generated_page::GeneratedPage;
use crate::workspace::{self, Workspace};
use extract::{Crate, Message};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// The page.
pub(crate) const PAGE: GeneratedPage =
    GeneratedPage { path: "docs/messages.md", command: "messages", text: page };

/// Members whose messages users of the libraries never see.
const TOOLS: [&str; 4] = ["xtask", "unidist-bench", "unidist-downstream", "unidist-tests"];

/// Parts of libraries that only tests, benchmarks and fuzzers use.
const TEST_MODULES: [&str; 8] =
    ["bench", "fuzz", "models", "simulation", "testing", "tests", "control_tests", "test_support"];

const INTRODUCTION: &str = "\
<!-- Written by `cargo xtask messages` from the sources: change the texts there. -->

# Messages

The texts of all errors, warnings and log lines. A name in braces stands for a value, such as `{path}`. An error is
often made of several texts: a frame such as `{action}: {message}`, and what fills it. *Kind* is the variant of
[`ErrorKind`](errors.md) or of the error type; `log: ..` is a line in the log, `stderr` one on standard error, `panic` a
defect in the calling program, `compile error` what the compiler says. *Module* is where the text is in the sources.
";

/// The page as it should be.
fn page(workspace: &Workspace) -> Result<String> {
    let mut page = INTRODUCTION.to_owned();
    for (name, sources) in libraries(workspace)? {
        let messages = Crate::parse(&sources)?.messages();
        if messages.is_empty() {
            continue;
        }
        write!(page, "\n## {name}\n\n| Kind | Text | Module |\n|---|---|---|\n")?;
        for Message { kind, text, module } in messages {
            writeln!(page, "| {kind} | {} | {module} |", cell(&text))?;
        }
    }
    Ok(page)
}

/// The sources of each library, by file path below `src`.
fn libraries(workspace: &Workspace) -> Result<BTreeMap<String, BTreeMap<String, String>>> {
    let mut found: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    let members: BTreeSet<String> = workspace
        .members()
        .into_iter()
        .filter(|package| !TOOLS.contains(&package.name.as_str()))
        .filter(|package| package.targets.iter().any(|target| target.is_lib() || target.is_proc_macro()))
        .map(|package| package.name.to_string())
        .collect();
    for path in workspace.files("rs")? {
        let relative = workspace.relative(&path);
        let Some((member, file)) = relative.split_once("/src/") else { continue };
        if members.contains(member) && !file.split(['/', '.']).any(|part| TEST_MODULES.contains(&part)) {
            found.entry(member.to_owned()).or_default().insert(file.to_owned(), workspace::read(&path)?);
        }
    }
    Ok(found)
}

/// The text as a cell of a Markdown table.
fn cell(text: &str) -> String {
    let text = text.trim();
    let mut cell = String::new();
    // Between backticks, only the column separator is special.
    let mut code = false;
    let mut previous = ' ';
    for (index, c) in text.char_indices() {
        let rest = &text[index + c.len_utf8()..];
        let inside_word = previous.is_alphanumeric() && rest.starts_with(char::is_alphanumeric);
        code ^= c == '`';
        match c {
            '\n' => cell.push_str("<br>"),
            '|' => cell.push_str("\\|"),
            '<' | '>' | '*' if !code => cell.extend(['\\', c]),
            '_' if !code && !inside_word => cell.extend(['\\', c]),
            ']' if !code && rest.starts_with(['(', '[']) => cell.extend(['\\', c]),
            c => cell.push(c),
        }
        previous = c;
    }
    cell
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_stay_on_one_line_and_in_one_column() {
        assert_eq!(cell("a | b\n<c> `Vec<T>` _d_e #[f]"), "a \\| b<br>\\<c\\> `Vec<T>` \\_d_e #[f]");
    }

    #[test]
    fn the_workspace_has_messages_of_each_kind() {
        let page = page(&Workspace::load().unwrap()).unwrap();
        for kind in ["compile error", "log: error", "log: warn", "InvalidOption", "InvalidValue"] {
            assert!(page.contains(&format!("\n| {kind} | ")), "{kind}");
        }
    }
}
