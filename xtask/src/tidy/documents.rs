//! Rules for documents.

use crate::workspace::{self, Workspace};
use crate::{Result, messages};
use pulldown_cmark::{Event, HeadingLevel, Parser, Tag, TagEnd};
use unidist_config::VARIABLES;

/// Files whose paths are checked.
const WITH_PATHS: [&str; 5] =
    ["ARCHITECTURE.md", "CONTRIBUTING.md", "DESIGN.md", "README.md", "CHANGELOG.md"];

/// Suffixes by which a word without a slash is a path.
const ENDINGS: [&str; 4] = [".rs", ".md", ".toml", ".json"];

/// Paths in documents must exist.
pub(super) fn paths_exist(workspace: &Workspace) -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    for document in WITH_PATHS {
        for path in paths(&workspace.read(document)?) {
            if !workspace.root.join(&path).exists() {
                wrong.push(format!("{document}: `{path}` does not exist"));
            }
        }
    }
    Ok(wrong)
}

/// Documents and rustdoc name only registered variables. (The conformance suite has variables of its own.)
pub(super) fn variables_are_registered(workspace: &Workspace) -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    for file in workspace.files("md")?.into_iter().chain(workspace.files("rs")?) {
        let name = workspace.relative(&file);
        let code = name.ends_with(".rs");
        // The page of messages also has the variables that processes of a session pass to each other.
        if name == messages::PAGE.path || (code && name.starts_with("tests/")) {
            continue;
        }
        for (number, line) in (1..).zip(workspace::read(&file)?.lines()) {
            if code && !line.trim_start().starts_with("//") {
                continue;
            }
            let unknown = variables(line).filter(|name| VARIABLES.iter().all(|known| known.name != *name));
            wrong.extend(
                unknown.map(|variable| {
                    format!("{name}:{number}: {variable} is not registered in unidist-config")
                }),
            );
        }
    }
    Ok(wrong)
}

/// The paths in code quotes below the heading `section`, up to the next heading of its level; none if there is no
/// such section.
pub(super) fn listed(document: &str, section: &str) -> Vec<String> {
    let mut inside = false;
    let mut heading = None;
    let mut title = String::new();
    let mut found = Vec::new();
    for event in Parser::new(document) {
        match event {
            Event::Start(Tag::Heading { level, .. }) => {
                heading = Some(level);
                title.clear();
            }
            Event::End(TagEnd::Heading(level)) => {
                heading = None;
                if level <= HeadingLevel::H2 {
                    inside = title == section;
                }
            }
            Event::Text(text) if heading.is_some() => title.push_str(&text),
            Event::Code(code) if inside && heading.is_none() => found.extend(as_path(&code)),
            _ => {}
        }
    }
    found
}

/// The paths in a document: links to files, and code quotes that look like one.
fn paths(document: &str) -> Vec<String> {
    let mut found = Vec::new();
    for event in Parser::new(document) {
        match event {
            Event::Code(code) => found.extend(as_path(&code)),
            Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                let target = dest_url.split('#').next().unwrap_or_default();
                if !target.is_empty() && !dest_url.contains(':') {
                    found.push(target.to_owned());
                }
            }
            _ => {}
        }
    }
    found
}

/// The path, if the quoted text is one. Placeholders have capitals or `<>` (`FOLDER`); absolute paths are the system's.
fn as_path(code: &str) -> Option<String> {
    let plain = code.chars().all(|c| c.is_ascii_alphanumeric() || "_-./".contains(c));
    let looks =
        code.contains('/') || code.starts_with("unidist-") || ENDINGS.iter().any(|end| code.ends_with(end));
    (plain && looks && !code.starts_with('/') && !code.starts_with("target/")).then(|| code.to_owned())
}

/// The variables of unidist on a line.
fn variables(line: &str) -> impl Iterator<Item = &str> {
    const PREFIX: &str = "UNIDIST_";
    line.match_indices(PREFIX).filter_map(|(start, _)| {
        let name = &line[start..];
        let end = name.find(|c: char| !(c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_'));
        let name = &name[..end.unwrap_or(name.len())];
        (name.len() > PREFIX.len()).then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_recognized_among_code() {
        let document = "See `unidist-core/src/lib.rs`, `Cargo.toml`, [it](docs/a.md#b), `f.remote(..)`, `a / b`, \
                        `/dev/shm`, [out](https://example.org/x), [here](#there), `unidist-core`.";
        assert_eq!(paths(document), ["unidist-core/src/lib.rs", "Cargo.toml", "docs/a.md", "unidist-core"]);
    }

    #[test]
    fn sections_end_with_the_next() {
        let document = "# T\n`x.rs`\n## Unsafe code\n- `a/b.rs`: why\n### sub\n`c.rs`\n## Next\n`d.rs`\n";
        assert_eq!(listed(document, "Unsafe code"), ["a/b.rs", "c.rs"]);
        assert!(listed(document, "Nowhere").is_empty());
    }

    #[test]
    fn variables_are_found_on_a_line() {
        let line = "`UNIDIST_CPUS=4`, UNIDIST_* and (UNIDIST_LOG_DIR).";
        assert_eq!(variables(line).collect::<Vec<_>>(), ["UNIDIST_CPUS", "UNIDIST_LOG_DIR"]);
    }
}
