//! The report: a table, and a JSON file.

use crate::Result;
use crate::measures::{Measure, Ratio, Target, Unit};
use crate::parts::{Samples, cores, cpu_name, median};
use crate::rounds::BenchResults;
use serde_json::{Value, json};
use std::fmt::Write;
use std::path::Path;

/// The line width of documents.
const LINE: usize = 118;

/// A measure with its values.
pub(crate) struct Row {
    measure: Measure,
    value: Option<f64>,
    /// The CPU time per call of all processes of the session, in seconds, for measures of calls.
    cpu: Option<f64>,
    baseline_value: Option<f64>,
    /// The median over the rounds of the ratio within a round.
    ratio: Option<f64>,
}

/// The rows of the report.
pub(crate) fn rows(measures: Vec<Measure>, rounds: &[Samples]) -> Vec<Row> {
    measures.into_iter().map(|measure| Row::new(measure, rounds)).collect()
}

impl Row {
    fn new(measure: Measure, rounds: &[Samples]) -> Row {
        let over = |name: &str| median(rounds.iter().filter_map(|samples| samples.median(name)).collect());
        let value = over(&measure.name);
        let baseline_value = measure.baseline.as_ref().and_then(|(name, _)| over(name));
        let ratio = measure.baseline.as_ref().and_then(|(name, ratio)| {
            let of = |samples: &Samples| {
                let (value, baseline_value) = (samples.median(&measure.name)?, samples.median(name)?);
                Some(match ratio {
                    Ratio::Multiple => value / baseline_value,
                    Ratio::Speed => baseline_value / value,
                })
            };
            median(rounds.iter().filter_map(of).collect())
        });
        let cpu = over(&cpu_name(&measure.name));
        Row { measure, value, cpu, baseline_value, ratio }
    }

    /// Whether it has a value.
    pub(crate) fn is_measured(&self) -> bool {
        self.value.is_some()
    }

    /// Its name, if it or its baseline was not measured.
    pub(crate) fn missing(&self) -> Option<&str> {
        let alone = self.measure.baseline.is_some() && self.baseline_value.is_none();
        (self.value.is_none() || alone).then_some(&self.measure.name)
    }

    /// Whether the target is met; `None` without a target or a value.
    fn is_met(&self) -> Option<bool> {
        Some(match self.measure.target? {
            Target::RatioAtMost(most) => self.ratio? <= most,
            Target::RatioAtLeast(least) => self.ratio? >= least,
            Target::AtMost(most) => self.value? <= most,
            Target::AtLeast(least) => self.value? >= least,
        })
    }

    fn target(&self) -> Option<String> {
        Some(match self.measure.target? {
            Target::RatioAtMost(most) => format!("≤ {} ×", digits(most)),
            Target::RatioAtLeast(least) => format!("≥ {} ×", digits(least)),
            Target::AtMost(most) => format!("≤ {}", self.measure.unit.show(most)),
            Target::AtLeast(least) => format!("≥ {}", self.measure.unit.show(least)),
        })
    }

    fn cells(&self) -> [String; 8] {
        let none = || "–".to_owned();
        let show = |value: Option<f64>| value.map_or_else(none, |value| self.measure.unit.show(value));
        let met = self.is_met().map_or(String::new(), |met| if met { "met" } else { "missed" }.into());
        [
            self.measure.name.clone(),
            show(self.value),
            self.cpu.map_or_else(String::new, |cpu| Unit::Seconds.show(cpu)),
            self.measure.baseline.as_ref().map(|(name, _)| name.clone()).unwrap_or_default(),
            if self.measure.baseline.is_some() { show(self.baseline_value) } else { String::new() },
            self.ratio.map_or(String::new(), |ratio| format!("{} ×", digits(ratio))),
            self.target().unwrap_or_default(),
            met,
        ]
    }
}

impl Unit {
    pub(crate) fn show(self, value: f64) -> String {
        match self {
            Unit::Seconds if value < 1e-6 => format!("{} ns", digits(value * 1e9)),
            Unit::Seconds if value < 1e-3 => format!("{} µs", digits(value * 1e6)),
            Unit::Seconds if value < 1.0 => format!("{} ms", digits(value * 1e3)),
            Unit::Seconds => format!("{} s", digits(value)),
            Unit::PerSecond => format!("{}/s", grouped(value)),
            Unit::Bytes => format!("{value:.0} B"),
            Unit::Share => format!("{} %", digits(value * 100.0)),
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Unit::Seconds => "s",
            Unit::PerSecond => "1/s",
            Unit::Bytes => "B",
            Unit::Share => "cores",
        }
    }
}

/// A number with three significant digits; larger ones as whole numbers.
pub(crate) fn digits(value: f64) -> String {
    if value >= 1_000.0 {
        return grouped(value);
    }
    let places = match value {
        100.0.. => 0,
        10.0.. => 1,
        1.0.. => 2,
        _ => 3,
    };
    let text = format!("{value:.places$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// A whole number with thousands separators.
fn grouped(value: f64) -> String {
    let plain = format!("{value:.0}");
    let mut text = String::new();
    for (place, digit) in plain.chars().enumerate() {
        if place > 0 && (plain.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The table in Markdown, with aligned columns.
pub(crate) fn table(rows: &[Row]) -> String {
    let head = ["measurement", "unidist", "CPU per call", "baseline", "its value", "ratio", "target", ""]
        .map(str::to_owned);
    let cells: Vec<_> = std::iter::once(head).chain(rows.iter().map(Row::cells)).map(Vec::from).collect();
    columns(&cells)
}

/// A Markdown table; the first row is the header.
pub(crate) fn columns(cells: &[Vec<String>]) -> String {
    let mut widths = vec![0; cells.first().map_or(0, Vec::len)];
    for row in cells {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut text = String::new();
    for (number, row) in cells.iter().enumerate() {
        for (cell, &width) in row.iter().zip(&widths) {
            // Writing to a string cannot fail.
            let _ = write!(text, "| {cell:<width$} ");
        }
        text.push_str("|\n");
        if number == 0 {
            widths.iter().for_each(|width| text.push_str(&format!("|{}", "-".repeat(width + 2))));
            text.push_str("|\n");
        }
    }
    text
}

/// The report as JSON, in base units; `environment` is where it was measured.
pub(crate) fn json(rows: &[Row], results: &BenchResults, quick: bool, environment: &str) -> Value {
    let measurements = rows.iter().map(|row| {
        let baseline =
            row.measure.baseline.as_ref().map(|(name, _)| json!({"name": name, "value": row.baseline_value}));
        json!({
            "name": row.measure.name,
            "unit": row.measure.unit.name(),
            "value": row.value,
            "cpu_per_call": row.cpu,
            "baseline": baseline,
            "ratio": row.ratio,
            "target": row.target(),
            "met": row.is_met(),
        })
    });
    json!({
        "quick": quick,
        "environment": environment,
        "rounds": results.rounds.len(),
        "cores": cores(),
        "failures": results.failures,
        "measurements": measurements.collect::<Vec<_>>(),
    })
}

/// Text wrapped to the line width of documents.
pub(crate) fn wrapped(text: &str) -> String {
    let mut lines = String::new();
    let mut length = 0;
    for word in text.split_whitespace() {
        let needed = word.chars().count() + 1;
        if length + needed > LINE {
            lines.push('\n');
            length = 0;
        } else if length > 0 {
            lines.push(' ');
        }
        lines.push_str(word);
        length += needed;
    }
    lines + "\n"
}

/// Writes JSON to a file.
pub(crate) fn write_json(file: &Path, json: &Value) -> Result {
    write(file, &(serde_json::to_string_pretty(json)? + "\n"))
}

/// Writes a file.
pub(crate) fn write(file: &Path, text: &str) -> Result {
    std::fs::write(file, text).map_err(|error| format!("{}: {error}", file.display()).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measures::measures;
    use crate::parts::Scale;

    fn round(value: f64, baseline_value: f64) -> Samples {
        let mut samples = Samples::default();
        samples.add("ours", value);
        samples.add("theirs", baseline_value);
        samples
    }

    fn row(ratio: Ratio, target: Target, rounds: &[Samples]) -> Row {
        let baseline = Some(("theirs".to_owned(), ratio));
        Row::new(Measure { name: "ours".into(), unit: Unit::Seconds, baseline, target: Some(target) }, rounds)
    }

    #[test]
    fn ratios_are_those_of_the_rounds() {
        // The second round met a busy machine.
        let rounds = [round(2.0, 1.0), round(40.0, 10.0), round(3.0, 1.0)];
        let multiple = row(Ratio::Multiple, Target::RatioAtMost(3.0), &rounds);
        assert_eq!(
            (multiple.value, multiple.baseline_value, multiple.ratio),
            (Some(3.0), Some(1.0), Some(3.0))
        );
        assert_eq!(multiple.is_met(), Some(true));
        let speed = row(Ratio::Speed, Target::RatioAtLeast(0.9), &rounds[..1]);
        assert_eq!((speed.ratio, speed.is_met()), (Some(0.5), Some(false)));
    }

    #[test]
    fn unmeasured_row_is_neither_met_nor_missed() {
        let row = row(Ratio::Multiple, Target::AtMost(1.0), &[]);
        assert_eq!(row.is_met(), None);
        assert_eq!(row.cells()[1], "–");
    }

    #[test]
    fn numbers_are_formatted_with_units() {
        assert_eq!(Unit::Seconds.show(0.000_000_345), "345 ns");
        assert_eq!(Unit::Seconds.show(0.060), "60 ms");
        assert_eq!(Unit::PerSecond.show(1_234_567.4), "1,234,567/s");
        assert_eq!(Unit::Share.show(0.005), "0.5 %");
        assert_eq!(digits(1.0), "1");
        assert_eq!(digits(100.0), "100");
        assert_eq!(digits(34_866.3), "34,866");
    }

    #[test]
    fn table_columns_are_aligned() {
        let text = table(&rows(measures(Scale { quick: true, ..Scale::default() }), &[]));
        let widths: Vec<_> = text.lines().map(|line| line.chars().count()).collect();
        assert!(widths.windows(2).all(|pair| pair[0] == pair[1]), "{text}");
    }

    #[test]
    fn text_is_wrapped() {
        let text = wrapped(&"word ".repeat(100));
        assert!(text.lines().all(|line| line.len() <= LINE) && text.lines().count() == 5, "{text}");
        assert_eq!(wrapped("a\n b"), "a b\n");
    }
}
