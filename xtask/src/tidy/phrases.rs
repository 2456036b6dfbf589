//! Phrases that may not come back: `xtask/phrases.toml` lists them, with what to write instead.
//!
//! Checked are Markdown files, and in Rust files comments, documentation and string literals.

use crate::workspace::{self, Workspace};
use crate::{Result, config_doc, messages};

/// Pages that are written from the sources, where their texts are found.
const GENERATED: [&str; 2] = [messages::PAGE.path, config_doc::PAGE.path];

const LIST: &str = "xtask/phrases.toml";

/// A phrase, in lower case, and what to write instead.
struct Phrase {
    find: String,
    instead: String,
}

/// A place where a phrase was found.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    line: usize,
    phrase: usize,
}

/// The findings, one line each.
pub(super) fn phrases_stay_away(workspace: &Workspace) -> Result<Vec<String>> {
    let phrases = read_list(&workspace.read(LIST)?)?;
    let mut wrong = Vec::new();
    for path in workspace.files("md")?.into_iter().chain(workspace.files("rs")?) {
        let name = workspace.relative(&path);
        if GENERATED.contains(&name.as_str()) {
            continue;
        }
        let text = workspace::read(&path)?;
        let prose = if name.ends_with(".rs") { prose_of_rust(&text) } else { prose_of_markdown(&text) };
        for Finding { line, phrase } in find(&prose, &phrases) {
            let Phrase { find, instead } = &phrases[phrase];
            wrong.push(format!("{name}:{line}: \"{find}\"; instead: {instead}"));
        }
    }
    Ok(wrong)
}

fn read_list(text: &str) -> Result<Vec<Phrase>> {
    let list: toml::Table = text.parse()?;
    let entries = list.get("phrase").and_then(toml::Value::as_array).ok_or("no [[phrase]]")?;
    let mut phrases = Vec::new();
    for entry in entries {
        let instead =
            entry.get("instead").and_then(toml::Value::as_str).ok_or("a phrase without `instead`")?;
        let find = entry.get("find").and_then(toml::Value::as_array).ok_or("a phrase without `find`")?;
        for phrase in find {
            let phrase = phrase.as_str().ok_or("a phrase is not a string")?;
            phrases.push(Phrase { find: phrase.to_lowercase(), instead: instead.to_owned() });
        }
    }
    Ok(phrases)
}

/// A piece of text that may span lines.
type Prose = Vec<(usize, String)>;

/// Where phrases occur, as whole words. Line breaks count as spaces.
fn find(prose: &[Prose], phrases: &[Phrase]) -> Vec<Finding> {
    let mut found = Vec::new();
    for piece in prose {
        let mut text = String::new();
        let mut starts = Vec::new();
        for (line, part) in piece {
            starts.push((text.len(), *line));
            let words: Vec<&str> = part.split_whitespace().collect();
            text.push_str(&words.join(" ").to_lowercase());
            text.push(' ');
        }
        for (phrase, Phrase { find, .. }) in phrases.iter().enumerate() {
            for (start, _) in text.match_indices(find.as_str()) {
                let before = text[..start].chars().next_back();
                let after = text[start + find.len()..].chars().next();
                let inside = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
                if inside(before) || (inside(after) && find.ends_with(char::is_alphanumeric)) {
                    continue;
                }
                let line = starts.iter().rev().find(|(from, _)| *from <= start).map_or(0, |(_, line)| *line);
                found.push(Finding { line, phrase });
            }
        }
    }
    found.sort_by_key(|finding| finding.line);
    found
}

/// The paragraphs of a document.
fn prose_of_markdown(text: &str) -> Vec<Prose> {
    let mut pieces = vec![Prose::new()];
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim().is_empty() {
            pieces.push(Prose::new());
        } else if let Some(piece) = pieces.last_mut() {
            piece.push((number, line.trim().trim_start_matches(['>', '-', '*']).to_owned()));
        }
    }
    pieces
}

/// The comments and string literals of a source file; line comments that follow each other are one piece.
fn prose_of_rust(text: &str) -> Vec<Prose> {
    let mut pieces: Vec<Prose> = Vec::new();
    let mut line = 1;
    // The line after the last line comment.
    let mut next_comment_line = 0;
    let mut rest = text;
    let mut previous = ' ';
    while let Some(c) = rest.chars().next() {
        let (length, is_prose) = token(rest, previous);
        let (token, after) = rest.split_at(length);
        if is_prose {
            let lines = (line..).zip(token.lines().map(|part| {
                part.trim()
                    .trim_start_matches(['/', '!', '*', '"', ' '])
                    .trim_end_matches(['\\', '"', '/', '*'])
                    .to_owned()
            }));
            match pieces.last_mut() {
                Some(piece) if token.starts_with("//") && line == next_comment_line => piece.extend(lines),
                _ => pieces.push(lines.collect()),
            }
            if token.starts_with("//") {
                next_comment_line = line + 1;
            }
        }
        line += token.matches('\n').count();
        previous = token.chars().next_back().unwrap_or(c);
        rest = after;
    }
    pieces
}

/// The length of the first token, and whether it is a comment or a string literal.
fn token(rest: &str, previous: char) -> (usize, bool) {
    let first = rest.chars().next().map_or(1, char::len_utf8);
    let to = |end: Option<usize>| end.unwrap_or(rest.len());
    if rest.starts_with("//") {
        return (to(rest.find('\n')), true);
    }
    if rest.starts_with("/*") {
        return (to(rest.find("*/").map(|end| end + 2)), true);
    }
    if rest.starts_with('"') {
        return (quoted(rest, '"'), true);
    }
    if (rest.starts_with("r\"") || rest.starts_with("r#")) && !previous.is_alphanumeric() {
        let hashes = rest[1..].chars().take_while(|c| *c == '#').count();
        if rest[1 + hashes..].starts_with('"') {
            let end = format!("\"{}", "#".repeat(hashes));
            let body = 2 + hashes;
            return (to(rest[body..].find(&end).map(|at| body + at + end.len())), true);
        }
    }
    if rest.starts_with('\'') {
        // A lifetime has no closing quote after its first character.
        let mut chars = rest.chars().skip(1);
        let is_char = match chars.next() {
            Some('\\') => true,
            Some(_) => chars.next() == Some('\''),
            None => false,
        };
        return if is_char { (quoted(rest, '\''), false) } else { (first, false) };
    }
    (first, false)
}

/// The length of a quoted token with escapes.
fn quoted(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (index, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return index + c.len_utf8(),
            _ => {}
        }
    }
    rest.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    // Assembled, or the rule would find them here.
    const OF_LATE: &str = concat!("of la", "te");
    const SO_MANY: &str = concat!("so ma", "ny");

    fn lines(prose: &[Prose]) -> Vec<usize> {
        let phrases = [OF_LATE, SO_MANY];
        let phrases = phrases.map(|find| Phrase { find: find.to_owned(), instead: String::new() });
        find(prose, &phrases).into_iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn planted_phrases_are_found_in_comments_docs_and_strings() {
        let code = "/// Made OF_LATE.\nfn f() { g(\"SO_MANY\", '\"', r#\"x \" OF_LATE\"#) } // OF_LATE\n/* SO_MANY */";
        let code = code.replace("OF_LATE", OF_LATE).replace("SO_MANY", SO_MANY);
        assert_eq!(lines(&prose_of_rust(&code)), [1, 2, 2, 2, 3]);
    }

    #[test]
    fn phrases_are_found_across_lines() {
        let code = "// There are so\n// many of them.\nlet x = \"and so \\\n    many\";";
        assert_eq!(lines(&prose_of_rust(code)), [1, 3]);
        assert_eq!(lines(&prose_of_markdown("# T\n\nThere are So\nmany.\n\nso\n\nmany")), [3]);
    }

    #[test]
    fn code_and_parts_of_words_are_not_found() {
        let code = "fn so_many<'a>(x: &'a str) { y('\\''); so.many() } // also many, so manyfold";
        assert!(lines(&prose_of_rust(code)).is_empty());
    }

    #[test]
    fn the_list_is_well_formed() {
        let list = Workspace::load().unwrap().read(LIST).unwrap();
        assert!(read_list(&list).unwrap().len() > 20);
    }
}
