//! The report: a line for each part, and a summary.

use crate::Result;
use std::fmt;

/// What a part that has not failed comes to.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It was run; what it has shown.
    Passed(String),
    /// It was not run, for this reason.
    Skipped(String),
}

/// A line of the report.
#[derive(Debug)]
pub(super) struct Line {
    verdict: Verdict,
    what: String,
    how: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Passed,
    Skipped,
    Failed,
}

impl Line {
    pub(super) fn failed(what: String, error: impl fmt::Display) -> Self {
        Line { verdict: Verdict::Failed, what, how: error.to_string() }
    }

    pub(super) fn skipped(what: String, reason: impl fmt::Display) -> Self {
        Line { verdict: Verdict::Skipped, what, how: reason.to_string() }
    }

    pub(super) fn is_skipped(&self) -> bool {
        self.verdict == Verdict::Skipped
    }

    /// The line for a filter that selects nothing.
    pub(super) fn none_selected(what: String, option: &str, word: &str) -> Self {
        Line::failed(
            what,
            format!("nothing that could run has `{word}` in its name: choose another word for {option}"),
        )
    }

    /// The line for this outcome.
    pub(super) fn of(what: String, outcome: Result<Outcome>) -> Self {
        match outcome {
            Ok(Outcome::Passed(how)) => Line { verdict: Verdict::Passed, what, how },
            Ok(Outcome::Skipped(reason)) => Line::skipped(what, reason),
            Err(error) => Line::failed(what, error),
        }
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match self.verdict {
            Verdict::Passed => "ok",
            Verdict::Skipped => "skipped",
            Verdict::Failed => "FAILED",
        };
        write!(f, "{verdict:<7} {}: {}", self.what, self.how)
    }
}

/// Prints the lines and the number of each verdict, and fails if a part has failed.
pub(super) fn print(lines: &[Line]) -> Result {
    println!("\n{}", lines.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"));
    println!("\n{}", summary(lines));
    match lines.iter().filter(|line| line.verdict == Verdict::Failed).count() {
        0 => Ok(()),
        count => Err(format!("{count} of {} failed", lines.len()).into()),
    }
}

fn summary(lines: &[Line]) -> String {
    let count = |verdict| lines.iter().filter(|line| line.verdict == verdict).count();
    let [passed, skipped, failed] = [Verdict::Passed, Verdict::Skipped, Verdict::Failed].map(count);
    format!("{passed} passed, {skipped} skipped, {failed} failed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verdict_is_counted() {
        let lines = [
            Line::of("a".into(), Ok(Outcome::Passed("2 s".into()))),
            Line::of("b".into(), Ok(Outcome::Skipped("it needs root".into()))),
            Line::of("c".into(), Err("why".into())),
            Line::skipped("d".into(), "it needs root"),
        ];
        assert_eq!(summary(&lines), "1 passed, 2 skipped, 1 failed");
        assert_eq!(lines[1].to_string(), "skipped b: it needs root");
        assert_eq!(print(&lines).unwrap_err().to_string(), "1 of 4 failed");
        assert!(print(&lines[..2]).is_ok());
        let none = Line::none_selected("faults".into(), "--fault", "kiled");
        assert!(none.to_string().contains("`kiled` in its name: choose another word for --fault"), "{none}");
        assert!(print(&[none]).is_err(), "a filter that selects nothing is a failure");
    }
}
