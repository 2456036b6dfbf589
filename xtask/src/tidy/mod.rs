//! `tidy`: the rules of the workspace that no compiler checks.
//!
//! Each rule is a function that returns its findings, one line each; the rules are also a test.

mod documents;
mod entry_points;
mod layers;
mod manifests;
mod module_paths;
mod phrases;
mod sources;

use crate::workspace::Workspace;
use crate::{Result, book, config_doc};

/// A rule, by name.
type Rule = (&'static str, fn(&Workspace) -> Result<Vec<String>>);

const RULES: &[Rule] = &[
    ("core and backends meet in the contract", manifests::core_and_backends_meet_in_the_contract),
    ("no backend reaches the API", manifests::no_backend_reaches_the_api),
    ("programs of ranks reach no engine", manifests::programs_of_ranks_reach_no_engine),
    ("members take the workspace's lints", manifests::members_take_the_lints),
    ("published members are complete", manifests::published_members_are_complete),
    ("crate roots are documented", sources::crate_roots_are_documented),
    ("unsafe code stays where it is listed, with reasons", sources::unsafe_code_is_listed),
    ("files are short or listed", sources::files_are_short),
    ("the engine's imports point downwards", layers::engine_imports_point_downwards),
    ("the scheduler's layers point downwards", layers::scheduler_layers_point_downwards),
    ("each file of an entry path names the next", entry_points::entry_paths_hold),
    ("paths in documents exist", documents::paths_exist),
    ("phrases that have a plain replacement stay away", phrases::phrases_stay_away),
    ("variables in documents are registered", documents::variables_are_registered),
    ("the book's chapters are listed, linked and tested", book::findings),
    ("the reference page is current", |workspace| {
        Ok(config_doc::PAGE.finding(workspace)?.into_iter().collect())
    }),
];

/// The arguments of `tidy`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {}

/// Runs the command.
pub(crate) fn run(_: &Arguments) -> Result {
    let workspace = Workspace::load()?;
    let mut wrong = 0;
    for (name, rule) in RULES.iter().copied() {
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
        for (name, rule) in RULES.iter().copied() {
            wrong.extend(rule(&workspace).unwrap().into_iter().map(|finding| format!("{name}: {finding}")));
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}
