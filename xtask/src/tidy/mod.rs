//! `tidy`: the rules of the workspace that no compiler checks.
//!
//! Each rule is a function that returns what is wrong, one line each; the rules are a test as well.

mod documents;
mod manifests;
mod sources;

use crate::workspace::Workspace;
use crate::{Result, book, config_doc};

/// A rule, by name.
type Rule = (&'static str, fn(&Workspace) -> Result<Vec<String>>);

const RULES: [Rule; 10] = [
    ("core reaches no backend", manifests::core_reaches_no_backend),
    ("no backend reaches the API", manifests::no_backend_reaches_the_api),
    ("members take the workspace's lints", manifests::members_take_the_lints),
    ("crate roots are documented", sources::crate_roots_are_documented),
    ("unsafe code stays where it is listed, with reasons", sources::unsafe_code_is_listed),
    ("files are short or listed", sources::files_are_short),
    ("paths in documents exist", documents::paths_exist),
    ("variables in documents are registered", documents::variables_are_registered),
    ("the book's chapters are listed, linked and tested", book::findings),
    ("the reference page is current", |workspace| {
        let current = config_doc::is_current(workspace)?;
        Ok((!current)
            .then(|| format!("{}: run `cargo xtask config-doc`", config_doc::PAGE))
            .into_iter()
            .collect())
    }),
];

/// Runs the command.
pub(crate) fn run() -> Result {
    let workspace = Workspace::load()?;
    let mut wrong = 0;
    for (name, rule) in RULES {
        let findings = rule(&workspace)?;
        println!("{} {name}", if findings.is_empty() { "ok    " } else { "FAILED" });
        for finding in &findings {
            println!("         {finding}");
        }
        wrong += findings.len();
    }
    match wrong {
        0 => Ok(()),
        count => Err(format!("tidy: {count} findings").into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_workspace_is_tidy() {
        let workspace = Workspace::load().unwrap();
        let mut wrong = Vec::new();
        for (name, rule) in RULES {
            wrong.extend(rule(&workspace).unwrap().into_iter().map(|finding| format!("{name}: {finding}")));
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}
