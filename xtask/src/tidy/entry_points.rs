//! The section *Entry points* of ARCHITECTURE.md: files in the order in which a reader follows a call or adds
//! a feature.
//!
//! Each path is an ordered list. An item begins with a file in code quotes. A file names the next one: by its module
//! (for `mod.rs` the folder, for another crate's `lib.rs` that crate), or by a public item that the next file defines.
//! Where both meet at a third file's item, such as a message, the next item says so: `` via `Name` ``.

use crate::Result;
use crate::workspace::Workspace;
use proc_macro2::{TokenStream, TokenTree};
use pulldown_cmark::{Event, HeadingLevel, Parser, Tag, TagEnd};
use std::collections::BTreeSet;
use syn::{Item, Visibility};

const DOCUMENT: &str = "ARCHITECTURE.md";
const SECTION: &str = "Entry points";

/// A file on a path.
#[derive(Debug, Default, PartialEq, Eq)]
struct Entry {
    file: String,
    /// The name by which it meets the file before it.
    via: Option<String>,
}

/// Every file of a path exists and names the next.
pub(super) fn entry_paths_hold(workspace: &Workspace) -> Result<Vec<String>> {
    Ok(check(&workspace.read(DOCUMENT)?, |file| workspace.read(file).ok()))
}

fn check(document: &str, read: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let mut wrong = Vec::new();
    let paths = paths(document);
    if paths.is_empty() {
        wrong.push(format!("{DOCUMENT}: no paths in the section \"{SECTION}\""));
    }
    for path in paths {
        for entry in path.iter().filter(|entry| read(&entry.file).is_none()) {
            wrong.push(format!("{DOCUMENT}, {SECTION}: `{}` cannot be read", entry.file));
        }
        for (one, next) in path.iter().zip(path.iter().skip(1)) {
            let (Some(text), Some(next_text)) = (read(&one.file), read(&next.file)) else { continue };
            if !is_linked(&text, next, &next_text) {
                let how = next.via.as_ref().map_or_else(String::new, |via| format!(" via `{via}`"));
                wrong.push(format!(
                    "{DOCUMENT}, {SECTION}: `{}` does not name `{}`{how}",
                    one.file, next.file
                ));
            }
        }
    }
    wrong
}

/// The ordered lists of the section.
fn paths(document: &str) -> Vec<Vec<Entry>> {
    let mut found: Vec<Vec<Entry>> = Vec::new();
    let mut inside = false;
    let mut heading = false;
    let (mut title, mut text) = (String::new(), String::new());
    for event in Parser::new(document) {
        match event {
            Event::Start(Tag::Heading { .. }) => {
                heading = true;
                title.clear();
            }
            Event::End(TagEnd::Heading(level)) => {
                heading = false;
                if level <= HeadingLevel::H2 {
                    inside = title == SECTION;
                }
            }
            Event::Text(part) if heading => title.push_str(&part),
            Event::Start(Tag::List(Some(_))) if inside => found.push(Vec::new()),
            Event::Start(Tag::Item) if inside => {
                found.last_mut().into_iter().for_each(|path| path.push(Entry::default()));
                text.clear();
            }
            Event::Text(part) if inside => text.push_str(&part),
            Event::SoftBreak => text.push(' '),
            Event::Code(code) if inside && !heading => {
                if let Some(entry) = found.last_mut().and_then(|path| path.last_mut()) {
                    if entry.file.is_empty() {
                        entry.file = code.into_string();
                    } else if text.ends_with("via ") {
                        entry.via.get_or_insert_with(|| code.into_string());
                    }
                }
                text.clear();
            }
            _ => {}
        }
    }
    found
}

/// Whether a file with this text names the next.
fn is_linked(text: &str, next: &Entry, next_text: &str) -> bool {
    let names = words(text);
    if let Some(via) = &next.via {
        let next_names = words(next_text);
        return via.split("::").all(|name| names.contains(name) && next_names.contains(name));
    }
    names.contains(&module_name(&next.file))
        || (next.file.ends_with(".rs") && defined(next_text).iter().any(|name| names.contains(name)))
}

/// The identifiers of Rust code; of other text its words.
fn words(text: &str) -> BTreeSet<String> {
    fn collect(tokens: TokenStream, found: &mut BTreeSet<String>) {
        for token in tokens {
            match token {
                TokenTree::Ident(name) => drop(found.insert(name.to_string())),
                TokenTree::Group(group) => collect(group.stream(), found),
                TokenTree::Punct(_) | TokenTree::Literal(_) => {}
            }
        }
    }
    let mut found = BTreeSet::new();
    if syn::parse_file(text).is_ok()
        && let Ok(tokens) = text.parse()
    {
        collect(tokens, &mut found);
    } else {
        let words = text.split(|c: char| !(c.is_alphanumeric() || c == '_'));
        found.extend(words.map(str::to_owned));
    }
    found
}

/// How other files name the module that a file is.
fn module_name(file: &str) -> String {
    let (folders, name) = file.rsplit_once('/').unwrap_or(("", file));
    let stem = name.split('.').next().unwrap_or(name);
    match stem {
        "mod" => folders.rsplit('/').next().unwrap_or(folders).to_owned(),
        "lib" | "main" => {
            let member = folders.trim_end_matches("/src");
            member.rsplit('/').next().unwrap_or(member).replace('-', "_")
        }
        stem => stem.to_owned(),
    }
}

/// The items of a file that other files may use.
fn defined(text: &str) -> Vec<String> {
    let Ok(file) = syn::parse_file(text) else { return Vec::new() };
    let names = file.items.into_iter().filter_map(|item| {
        let (visibility, name) = match item {
            Item::Struct(item) => (item.vis, item.ident),
            Item::Enum(item) => (item.vis, item.ident),
            Item::Trait(item) => (item.vis, item.ident),
            Item::Type(item) => (item.vis, item.ident),
            Item::Const(item) => (item.vis, item.ident),
            Item::Fn(item) => (item.vis, item.sig.ident),
            _ => return None,
        };
        (!matches!(visibility, Visibility::Inherited)).then(|| name.to_string())
    });
    names.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = "# T\n1. `x.rs`\n## Entry points\n### A call\n\n1. `a/src/call.rs` makes `Spec`\n2. \
                            `b/src/mod.rs`, which takes it\n3. `b/src/run.rs` receives it,\n   via `Message::Run`\n\n\
                            ### An option\n\n1. `a/src/call.rs`\n2. `a/src/option.rs`\n\n## Next\n1. `y.rs`\n";

    fn findings(files: &[(&str, &str)]) -> Vec<String> {
        let read =
            |file: &str| files.iter().find(|(name, _)| *name == file).map(|(_, text)| (*text).to_owned());
        check(DOCUMENT, read)
    }

    #[test]
    fn lists_of_the_section_are_paths() {
        let paths = paths(DOCUMENT);
        assert_eq!(paths.len(), 2);
        let files: Vec<_> = paths[0].iter().map(|entry| entry.file.as_str()).collect();
        assert_eq!(files, ["a/src/call.rs", "b/src/mod.rs", "b/src/run.rs"]);
        assert_eq!(paths[0][2].via.as_deref(), Some("Message::Run"));
    }

    #[test]
    fn paths_hold_by_modules_types_and_shared_names() {
        let files = [
            ("a/src/call.rs", "use b::Backend; fn f() { option::get() }"),
            ("b/src/mod.rs", "pub trait Backend {} fn f() { send(Message::Run) }"),
            ("b/src/run.rs", "fn f(m: Message) { match m { Message::Run => {} } }"),
            ("a/src/option.rs", ""),
        ];
        assert!(findings(&files).is_empty(), "{:?}", findings(&files));
    }

    #[test]
    fn broken_paths_are_found() {
        let files = [
            // A comment does not count.
            ("a/src/call.rs", "use b::Other; // Backend, option"),
            ("b/src/mod.rs", "pub(crate) trait Backend {} fn f() { send(Message::Stop) }"),
            ("b/src/run.rs", "fn f(m: Message) { match m { Message::Run => {} } }"),
        ];
        assert_eq!(
            findings(&files),
            [
                "ARCHITECTURE.md, Entry points: `a/src/call.rs` does not name `b/src/mod.rs`",
                "ARCHITECTURE.md, Entry points: `b/src/mod.rs` does not name `b/src/run.rs` via `Message::Run`",
                "ARCHITECTURE.md, Entry points: `a/src/option.rs` cannot be read",
            ]
        );
    }

    #[test]
    fn modules_are_named_after_files_folders_and_crates() {
        assert_eq!(module_name("a/src/link/mod.rs"), "link");
        assert_eq!(module_name("unidist-core/src/lib.rs"), "unidist_core");
        assert_eq!(module_name("unidist-core/src/call.rs"), "call");
    }
}
