//! `bench compare`: the calls of two checkouts, measured in turns.
//!
//! This machine may be shared and noisy, so times of different runs cannot be compared. Each round runs each part once
//! with either checkout, the two next to each other and in alternating order; the figure is the ratio of the pair.

use super::PACKAGE;
use crate::suite::UniqueName;
use crate::workspace::Workspace;
use crate::{Result, artifact, process};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// The parts that measure calls.
const PARTS: [&str; 11] = [
    "tasks-1",
    "tasks-2",
    "tasks-4",
    "round-trip",
    "round-trip-asleep",
    "actor",
    "chain",
    "fan-in",
    "argument",
    "store-small",
    "executor",
];
/// The time limit of one part.
const PART_LIMIT: Duration = Duration::from_secs(180);
/// Samples from here on are rates (calls per second), smaller ones durations (seconds).
const RATE: f64 = 100.0;
/// A measure whose median and whose interval's upper end are below this share of the baseline's speed is slower.
const LIMIT: f64 = 0.97;
/// Measures that do not involve calls begin with this.
const RAW: &str = "raw ";

/// The arguments of `bench compare`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Another checkout of the workspace, for example made by `git worktree add`.
    #[arg(long, value_name = "FOLDER")]
    baseline: PathBuf,
    /// The number of rounds; the interval needs at least 6.
    #[arg(long, value_name = "N", default_value_t = 9, value_parser = clap::value_parser!(u32).range(6..))]
    rounds: u32,
    /// Only the parts with this word in their names.
    #[arg(long, value_name = "WORD")]
    only: Option<String>,
    /// Take fewer samples in each round.
    #[arg(long)]
    quick: bool,
}

/// Runs the command. It fails if a measure is slower than in the baseline.
pub(super) fn run(arguments: &Arguments) -> Result {
    let before = build(&arguments.baseline)?;
    let after = build(&Workspace::load()?.root)?;
    let parts = PARTS.iter().filter(|part| arguments.only.as_ref().is_none_or(|word| part.contains(&**word)));
    let parts: Vec<_> = parts.copied().collect();
    let mut pairs = Pairs::default();
    for round in 0..arguments.rounds {
        for part in &parts {
            let measure = |program: &UniqueName| measure(&program.0, part, arguments.quick);
            let (old, new) = if round.is_multiple_of(2) {
                let old = measure(&before)?;
                (old, measure(&after)?)
            } else {
                let new = measure(&after)?;
                (measure(&before)?, new)
            };
            pairs.add(part, &old, &new);
        }
        eprintln!("round {} of {} done", round + 1, arguments.rounds);
    }
    let rows = pairs.rows();
    print!("{}", table(&rows));
    let slower: Vec<_> = rows.iter().filter(|row| row.is_slower()).map(|row| row.name.as_str()).collect();
    println!("{} measures, {} slower", rows.len(), slower.len());
    match slower.as_slice() {
        [] => Ok(()),
        names => Err(format!("slower than the baseline: {}", names.join(", ")).into()),
    }
}

/// The benchmark of a checkout, under a name that later builds do not replace.
fn build(root: &Path) -> Result<UniqueName> {
    let mut cargo = process::cargo(root);
    cargo.args(["build", "--release", "--package", PACKAGE]).stdin(Stdio::null());
    UniqueName::of(&artifact::build_with(&mut cargo, PACKAGE)?)
}

/// The medians of what one run of a part measured, and its CPU time.
#[derive(Debug, Default)]
struct Measured {
    medians: BTreeMap<String, f64>,
    /// Seconds, of the program and its workers.
    cpu: f64,
}

fn measure(program: &Path, part: &str, quick: bool) -> Result<Measured> {
    let mut command = Command::new(program);
    command.args(["part", part]).args(quick.then_some("--quick")).args(["--workers", "2"]);
    command.env("UNIDIST_BACKEND", "pymp").stdin(Stdio::null()).stdout(Stdio::piped());
    let start = cpu_time_of_children()?;
    let mut child = command.spawn()?;
    let output = child.stdout.take().ok_or("the benchmark has no output")?;
    let output = std::thread::spawn(move || std::io::read_to_string(output));
    process::wait(&mut child, PART_LIMIT)?.check(part)?;
    let output = output.join().map_err(|_| "reading the benchmark's output failed")??;
    let mut samples: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for line in output.lines() {
        let (name, value) = line.split_once('\t').ok_or_else(|| format!("not a sample: `{line}`"))?;
        samples.entry(name.to_owned()).or_default().push(value.parse()?);
    }
    let medians = samples.into_iter().map(|(name, values)| (name, median(values))).collect();
    Ok(Measured { medians, cpu: cpu_time_of_children()? - start })
}

/// The CPU time of all processes that have ended and were waited for, by this process or by such a child, in seconds.
fn cpu_time_of_children() -> Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = stat.rsplit_once(") ").ok_or("/proc/self/stat has no name")?;
    let ticks = fields.split(' ').skip(13).take(2); // cutime and cstime, see proc(5)
    let ticks = ticks.map(str::parse::<u64>).sum::<std::result::Result<u64, _>>()?;
    Ok(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// The ratios of all rounds.
#[derive(Debug, Default)]
struct Pairs {
    /// By measure: the value before and the value after of each round.
    values: BTreeMap<String, Vec<(f64, f64)>>,
}

impl Pairs {
    fn add(&mut self, part: &str, old: &Measured, new: &Measured) {
        for (name, before) in old.medians.iter().filter(|(name, _)| !name.starts_with(RAW)) {
            if let Some(after) = new.medians.get(name) {
                self.values.entry(name.clone()).or_default().push((*before, *after));
            }
        }
        // Each part makes the same number of calls in either checkout, so this is the ratio of the CPU time per call.
        self.values.entry(format!("CPU time of {part}")).or_default().push((old.cpu, new.cpu));
    }

    fn rows(&self) -> Vec<Row> {
        self.values.iter().map(|(name, pairs)| Row::new(name, pairs)).collect()
    }
}

/// One measure: a ratio above 1 means that this checkout is faster.
#[derive(Debug)]
struct Row {
    name: String,
    before: f64,
    after: f64,
    ratio: f64,
    /// The interval that has the median of the ratios with a probability of at least 95 %.
    interval: (f64, f64),
}

impl Row {
    fn new(name: &str, pairs: &[(f64, f64)]) -> Row {
        let speed = |(before, after): &(f64, f64)| {
            if before.max(*after) >= RATE { after / before } else { before / after }
        };
        let mut ratios: Vec<f64> = pairs.iter().map(speed).collect();
        ratios.sort_by(f64::total_cmp);
        let below = ranks_below(ratios.len());
        Row {
            name: name.to_owned(),
            before: median(pairs.iter().map(|(before, _)| *before).collect()),
            after: median(pairs.iter().map(|(_, after)| *after).collect()),
            ratio: median(ratios.clone()),
            interval: (ratios[below], ratios[ratios.len() - 1 - below]),
        }
    }

    fn is_slower(&self) -> bool {
        self.ratio < LIMIT && self.interval.1 < LIMIT
    }
}

/// How many of the smallest (and of the largest) of `count` ratios can be left out so that what remains spans the median
/// with a probability of at least 95 %: the sign test's interval.
fn ranks_below(count: usize) -> usize {
    let mut probability = 0.5_f64.powi(i32::try_from(count).unwrap_or(i32::MAX));
    let (mut tail, mut below) = (probability, 0);
    while tail <= 0.025 && below + 1 < count.div_ceil(2) {
        probability *= (count - below) as f64 / (below + 1) as f64;
        tail += probability;
        if tail <= 0.025 {
            below += 1;
        } else {
            break;
        }
    }
    below
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        count => (values[(count - 1) / 2] + values[count / 2]) / 2.0,
    }
}

fn table(rows: &[Row]) -> String {
    let width = rows.iter().map(|row| row.name.chars().count()).max().unwrap_or(0);
    let mut text =
        format!("{:<width$}  {:>12}  {:>12}  {:>7}  95 % interval\n", "", "before", "after", "speed");
    for row in rows {
        let verdict = if row.is_slower() { "  slower" } else { "" };
        text += &format!(
            "{:<width$}  {:>12}  {:>12}  {:>5.3} x  {:.3} to {:.3}{verdict}\n",
            row.name,
            show(row.before),
            show(row.after),
            row.ratio,
            row.interval.0,
            row.interval.1,
        );
    }
    text
}

fn show(value: f64) -> String {
    match value {
        rate if rate >= RATE => format!("{rate:.0}/s"),
        seconds if seconds >= 0.1 => format!("{seconds:.2} s"),
        seconds if seconds >= 1e-3 => format!("{:.2} ms", seconds * 1e3),
        seconds => format!("{:.2} us", seconds * 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interval_has_the_ranks_of_the_sign_test() {
        // Tables of the binomial distribution: for 9 values the 2nd and the 8th (96.1 %), for 6 the first and the last.
        assert_eq!([6, 8, 9, 11, 12, 15].map(ranks_below), [0, 0, 1, 1, 2, 3]);
    }

    #[test]
    fn row_is_slower_only_if_median_and_interval_are() {
        let rates =
            |after: &[f64]| Row::new("a", &after.iter().map(|after| (1e6, *after)).collect::<Vec<_>>());
        assert!(rates(&[0.9e6; 9]).is_slower());
        assert!(!rates(&[0.98e6; 9]).is_slower());
        let noisy = [0.8e6, 0.8e6, 0.9e6, 0.9e6, 0.9e6, 0.95e6, 0.95e6, 1.1e6, 1.2e6];
        assert!(rates(&noisy).ratio < LIMIT && !rates(&noisy).is_slower());
        let durations = Row::new("a", &[(1e-6, 2e-6); 9]);
        assert!(durations.is_slower() && durations.ratio == 0.5);
    }

    #[test]
    fn cpu_time_of_a_child_is_counted() {
        let before = cpu_time_of_children().unwrap();
        let busy = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done";
        assert!(Command::new("sh").args(["-c", busy]).status().unwrap().success());
        assert!(cpu_time_of_children().unwrap() > before);
    }
}
