//! `book`: the user's book, from the pages in `docs`.
//!
//! mdBook builds it, and says little of what is wrong: that all chapters are listed, that their links lead somewhere
//! and that their samples are tests is checked here, without it.

use crate::workspace::{self, Workspace};
use crate::{Result, apt, process};
use pulldown_cmark::{Event, Parser, Tag, TagEnd};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Where the chapters are.
const FOLDER: &str = "docs/";
const SUMMARY: &str = "SUMMARY.md";
/// Where each chapter is included, so that its samples are tests.
const TESTS: &str = "unidist-api/src/book.rs";

/// How long it may take to build the book.
const LIMIT: Duration = Duration::from_secs(300);
/// How long it may take to build mdBook.
const BUILD_LIMIT: Duration = Duration::from_secs(1200);
/// The versions that will do begin so.
const VERSION: &str = "mdbook v0.5.";
/// Its authors publish the source alone where packages come from, and it takes a minute or two to build.
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
    let said = workspace::read(&log)?;
    eprint!("{said}");
    end.check("mdbook")?;
    match said.lines().find(|line| is_complaint(line)) {
        Some(complaint) => Err(format!("mdbook: {}", complaint.trim()).into()),
        None => {
            println!("wrote {}", book.join("index.html").display());
            Ok(())
        }
    }
}

/// What is wrong with the pages, one line each.
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
            wrong.push(format!("{FOLDER}{name} is no chapter: list it in {FOLDER}{SUMMARY}"));
        }
        if name != SUMMARY && !tests.contains(&format!("/{FOLDER}{name}\"")) {
            wrong.push(format!("{FOLDER}{name} is not tested: include it in {TESTS}"));
        }
        for link in page.links.iter().filter(|link| !link.contains(':')) {
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { Some(page) } else { pages.get(file) };
            if target.is_none_or(|target| !heading.is_empty() && !target.headings.contains(heading)) {
                wrong.push(format!("{FOLDER}{name}: the link to {link} leads nowhere in the book"));
            }
        }
    }
    wrong
}

/// What matters of a page.
#[derive(Debug, Default)]
struct Page {
    /// Where its links go.
    links: Vec<String>,
    /// Its headings, as links name them.
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

/// How mdBook, and others who show such pages, name a heading in a link.
fn anchor(title: &str) -> String {
    let kept = title.chars().filter(|c| c.is_alphanumeric() || c.is_whitespace() || "_-".contains(*c));
    kept.map(|c| if c.is_whitespace() { '-' } else { c }).collect::<String>().to_lowercase()
}

/// Whether mdBook says on this line that something is wrong.
fn is_complaint(line: &str) -> bool {
    line.split_whitespace().take(3).any(|word| ["WARN", "ERROR"].contains(&word.trim_matches(['[', ']'])))
}

/// The mdBook on the `PATH`, or else one in the target folder.
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
    fn what_is_wrong_is_found() {
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
                "docs/SUMMARY.md: the link to gone.md leads nowhere in the book",
                "docs/a.md: the link to b.md#c leads nowhere in the book",
                "docs/b.md is no chapter: list it in docs/SUMMARY.md",
                "docs/b.md is not tested: include it in unidist-api/src/book.rs",
            ]
        );
    }

    #[test]
    fn complaints_are_told_from_what_goes_well() {
        assert!(is_complaint(" WARN unclosed HTML tag `<b>`"));
        assert!(is_complaint("2026-01-01 00:00:00 [ERROR] (mdbook::x): no such file"));
        assert!(!is_complaint(" INFO Book building has started"));
    }
}
