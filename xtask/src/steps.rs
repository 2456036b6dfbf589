//! A list of steps that are run one after the other, each with its time.

use crate::Result;
use clap::Parser;
use std::path::Path;
use std::time::Instant;

/// One step: its name, what it checks, and how it is run, given the root of the workspace.
pub(crate) struct Step {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) run: fn(&Path) -> Result,
}

/// Which of the steps to run, and how.
#[derive(Debug, clap::Args)]
pub(crate) struct Selection {
    /// List the steps and run none.
    #[arg(long)]
    pub(crate) list: bool,
    /// Run only this step; may be repeated.
    #[arg(long, value_name = "STEP")]
    pub(crate) only: Vec<String>,
}

/// Runs the selected steps, prints the result and the time of each, and fails if one failed. Without `keep_going`, the
/// first failure is the last step.
pub(crate) fn run(root: &Path, steps: &[Step], selection: &Selection, keep_going: bool) -> Result {
    if let Some(unknown) = selection.only.iter().find(|name| steps.iter().all(|step| step.name != **name)) {
        let names: Vec<_> = steps.iter().map(|step| step.name).collect();
        return Err(format!("there is no step `{unknown}`; there are {}", names.join(", ")).into());
    }
    let width = steps.iter().map(|step| step.name.len()).max().unwrap_or_default();
    if selection.list {
        steps.iter().for_each(|step| println!("{:<width$}  {}", step.name, step.about));
        return Ok(());
    }
    let mut failed = Vec::new();
    let mut report = Vec::new();
    let start = Instant::now();
    for Step { name, run, .. } in steps {
        if !selection.only.is_empty() && selection.only.iter().all(|wanted| wanted != name) {
            continue;
        }
        eprintln!("\n== {name}");
        let step_start = Instant::now();
        let outcome = run(root);
        let verdict = if outcome.is_ok() { "ok" } else { "FAILED" };
        let line = format!("{name:<width$} {verdict:<6} {:>7.1} s", step_start.elapsed().as_secs_f64());
        eprintln!("== {line}");
        report.push(line);
        if let Err(error) = outcome {
            eprintln!("error: {error}");
            failed.push(*name);
            if !keep_going {
                break;
            }
        }
    }
    let passed = report.len() - failed.len();
    println!("\n{}", report.join("\n"));
    println!("{:<width$}        {:>7.1} s", "total", start.elapsed().as_secs_f64());
    println!("\n{passed} passed, {} failed", failed.len());
    match failed.as_slice() {
        [] => Ok(()),
        names => Err(format!("failed: {}", names.join(", ")).into()),
    }
}

/// Runs another command of this program with these arguments.
pub(crate) fn command<A: clap::Args, const N: usize>(
    arguments: [&str; N],
    run: impl Fn(&A) -> Result,
) -> Result {
    #[derive(Parser)]
    struct Line<A: clap::Args> {
        #[command(flatten)]
        arguments: A,
    }
    let line = Line::<A>::try_parse_from(std::iter::once("xtask").chain(arguments))?;
    run(&line.arguments)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEPS: [Step; 2] = [
        Step { name: "bad", about: "fails", run: |_| Err("it failed".into()) },
        Step { name: "good", about: "succeeds", run: |_| Ok(()) },
    ];

    fn outcome(only: &[&str], list: bool) -> std::result::Result<(), String> {
        let only = only.iter().map(|name| (*name).to_owned()).collect();
        run(Path::new("."), &STEPS, &Selection { list, only }, true).map_err(|error| error.to_string())
    }

    #[test]
    fn failures_are_named_and_selected_steps_run_alone() {
        assert_eq!(outcome(&[], false), Err("failed: bad".to_owned()));
        assert_eq!(outcome(&["good"], false), Ok(()));
        assert_eq!(outcome(&[], true), Ok(()));
        assert!(outcome(&["other"], false).unwrap_err().contains("there are bad, good"));
    }
}
