//! `book`: the user's book, from the pages in `docs`.
//!
//! mdBook builds it but checks little. Checked here: all chapters are listed, their links resolve, and their samples are
//! tests.

use crate::workspace::{self, Workspace};
use crate::{Result, apt, process};
use pulldown_cmark::{Event, Parser, Tag, TagEnd};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// The folder of the chapters.
const FOLDER: &str = "docs/";
const SUMMARY: &str = "SUMMARY.md";
/// The file that includes each chapter, so that its samples are tests.
const TESTS: &str = "unidist-api/src/book.rs";

/// Time limit for building the book.
const LIMIT: Duration = Duration::from_secs(300);
/// Time limit for building mdBook.
const BUILD_LIMIT: Duration = Duration::from_secs(1200);
/// The prefix of the accepted versions.
const VERSION: &str = "mdbook v0.5.";
/// The registry has only the source, which takes a minute or two to build.
const SOURCE: [&str; 7] =
    ["mdbook", "--version", "0.5.4", "--locked", "--no-default-features", "--features", "search"];
const ADVICE: &str = "put mdBook 0.5 on the PATH: `cargo install mdbook --version 0.5.4 --locked`";

/// Runs the command.
pub(crate) fn run() -> Result {
    let workspace = Workspace::load()?;
    let findings = findings(&workspace)?;
    if !findings.is_empty() {
        return Err(findings.join("\n").into());
    }
    let (book, log) = (workspace.target().join("book"), workspace.target().join("book.log"));
    let mut build = Command::new(program(&workspace)?);
    build.arg("build").arg(workspace.root.join(FOLDER)).arg("--dest-dir").arg(&book);
    eprintln!("$ {}", process::words(&build));
    let output = File::create(&log)?;
    build.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
    let end = process::wait(&mut build.spawn()?, LIMIT)?;
    let output = workspace::read(&log)?;
    eprint!("{output}");
    end.check("mdbook")?;
    match output.lines().find(|line| is_complaint(line)) {
        Some(complaint) => Err(format!("mdbook: {}", complaint.trim()).into()),
        None => {
            println!("wrote {}", book.join("index.html").display());
            Ok(())
        }
    }
}

/// The defects of the pages, one line each.
pub(crate) fn findings(workspace: &Workspace) -> Result<Vec<String>> {
    let mut pages = BTreeMap::new();
    for path in workspace.files("md")? {
        if let Some(name) = workspace.relative(&path).strip_prefix(FOLDER) {
            pages.insert(name.to_owned(), Page::read(&workspace::read(&path)?));
        }
    }
    Ok(check(&pages, &workspace.read(TESTS)?))
}

fn check(pages: &BTreeMap<String, Page>, tests: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let listed: BTreeSet<&str> =
        pages.get(SUMMARY).into_iter().flat_map(|page| &page.links).map(String::as_str).collect();
    for (name, page) in pages {
        if name != SUMMARY && !listed.contains(name.as_str()) {
            wrong.push(format!("{FOLDER}{name} is not a chapter: list it in {FOLDER}{SUMMARY}"));
        }
        if name != SUMMARY && !tests.contains(&format!("/{FOLDER}{name}\"")) {
            wrong.push(format!("{FOLDER}{name} is not tested: include it in {TESTS}"));
        }
        for link in page.links.iter().filter(|link| !link.contains(':')) {
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { Some(page) } else { pages.get(file) };
            if target.is_none_or(|target| !heading.is_empty() && !target.headings.contains(heading)) {
                wrong.push(format!("{FOLDER}{name}: the link to {link} is broken"));
            }
        }
    }
    wrong
}

/// The links and headings of a page.
#[derive(Debug, Default)]
struct Page {
    /// The targets of its links.
    links: Vec<String>,
    /// The anchors of its headings.
    headings: BTreeSet<String>,
}

impl Page {
    fn read(text: &str) -> Self {
        let mut page = Page::default();
        let mut heading = None;
        for event in Parser::new(text) {
            match event {
                Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                    page.links.push(dest_url.into_string());
                }
                Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
                Event::End(TagEnd::Heading(_)) => {
                    page.headings.extend(heading.take().map(|title| anchor(&title)));
                }
                Event::Text(text) | Event::Code(text) => {
                    if let Some(title) = &mut heading {
                        title.push_str(&text);
                    }
                }
                _ => {}
            }
        }
        page
    }
}

/// The anchor of a heading, as mdBook and code forges derive it.
fn anchor(title: &str) -> String {
    let kept = title.chars().filter(|c| c.is_alphanumeric() || c.is_whitespace() || "_-".contains(*c));
    kept.map(|c| if c.is_whitespace() { '-' } else { c }).collect::<String>().to_lowercase()
}

/// Whether this line of mdBook's output is a warning or an error.
fn is_complaint(line: &str) -> bool {
    line.split_whitespace().take(3).any(|word| ["WARN", "ERROR"].contains(&word.trim_matches(['[', ']'])))
}

/// mdBook from the `PATH`, else from the target folder, installed if missing.
fn program(workspace: &Workspace) -> Result<PathBuf> {
    if let Some(folder) = apt::folder_of("mdbook") {
        let program = folder.join("mdbook");
        if version(&program).is_some_and(|version| version.starts_with(VERSION)) {
            return Ok(program);
        }
    }
    let folder = workspace.target().join("mdbook");
    let program = folder.join("bin/mdbook");
    if version(&program).is_none() {
        let mut install = process::cargo(&workspace.root);
        install.arg("install").args(SOURCE).args(["--debug", "--force", "--root"]).arg(&folder);
        process::run(&mut install, BUILD_LIMIT)
            .map_err(|error| format!("mdBook cannot be installed ({error}): {ADVICE}"))?;
    }
    Ok(program)
}

fn version(program: &Path) -> Option<String> {
    let output = Command::new(program).arg("--version").output().ok()?;
    String::from_utf8(output.stdout).ok().filter(|_| output.status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defects_of_pages_are_found() {
        let pages = [
            (SUMMARY, "- [A](a.md)\n- [Gone](gone.md)\n"),
            (
                "a.md",
                "# A: `x`, y\n[b](b.md#b), [self](#a-x-y), [wrong](b.md#c), [out](https://example.org/)\n",
            ),
            ("b.md", "# B\n"),
        ];
        let pages = pages.map(|(name, text)| (name.to_owned(), Page::read(text))).into();
        let tests = "include_str!(\"../../docs/a.md\")";
        assert_eq!(
            check(&pages, tests),
            [
                "docs/SUMMARY.md: the link to gone.md is broken",
                "docs/a.md: the link to b.md#c is broken",
                "docs/b.md is not a chapter: list it in docs/SUMMARY.md",
                "docs/b.md is not tested: include it in unidist-api/src/book.rs",
            ]
        );
    }

    #[test]
    fn warnings_and_errors_of_mdbook_are_recognized() {
        assert!(is_complaint(" WARN unclosed HTML tag `<b>`"));
        assert!(is_complaint("2026-01-01 00:00:00 [ERROR] (mdbook::x): no such file"));
        assert!(!is_complaint(" INFO Book building has started"));
    }
}
