//! The log of a process that the session has started: `RUST_LOG` selects its records, the session its location.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// Starts the log of this process, to its own file in `folder` or to standard error. Each line contains the name
/// `process`. The filter `besides`, in the form of `RUST_LOG`, selects records in addition to it.
///
/// Has no effect if a logger is already installed.
pub fn start(process: &str, folder: Option<&Path>, besides: &str) {
    let mut builder = env_logger::Builder::from_default_env();
    if !besides.is_empty() {
        builder.parse_filters(besides);
    }
    let name = process.to_owned();
    builder.format(move |out, record| {
        let (time, level, target) = (timestamp(SystemTime::now()), record.level(), record.target());
        writeln!(out, "[{time} {level} {name} {target}] {}", record.args())
    });
    if let Some(folder) = folder {
        let path = folder.join(file_name(process));
        let opened = std::fs::create_dir_all(folder)
            .and_then(|()| OpenOptions::new().create(true).append(true).open(&path));
        match opened {
            Ok(file) => {
                builder.target(env_logger::Target::Pipe(Box::new(file)));
            }
            Err(error) => eprintln!("unidist {process}: cannot log to `{}`: {error}", path.display()),
        }
    }
    // Fails only if a logger is already installed.
    let _ = builder.try_init();
}

/// A time as in RFC 3339, in UTC with milliseconds: `2026-11-30T22:45:00.250Z`.
fn timestamp(time: SystemTime) -> String {
    let since_epoch = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, second) = (since_epoch.as_secs() / 86_400, since_epoch.as_secs() % 86_400);
    // Days are counted from 0000-03-01, so that a leap day ends its year; an era has 400 years.
    // <https://howardhinnant.github.io/date_algorithms.html#civil_from_days>
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let millisecond = since_epoch.subsec_millis();
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millisecond:03}Z")
}

/// `unidist-4711-worker-3-on-node2.log`: several hosts and programs may share the folder.
fn file_name(process: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' };
    let process: String = process.chars().map(plain).collect();
    format!("unidist-{}-{process}.log", std::process::id())
}

/// The name of a process in the log: with its host, if the session has several.
pub(crate) fn name_on(process: impl std::fmt::Display, host: Option<&str>) -> String {
    match host {
        Some(host) => format!("{process} on {host}"),
        None => process.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_are_rfc_3339() {
        let at = |milliseconds| timestamp(UNIX_EPOCH + std::time::Duration::from_millis(milliseconds));
        assert_eq!(at(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(at(951_782_399_999), "2000-02-28T23:59:59.999Z");
        assert_eq!(at(951_782_400_000), "2000-02-29T00:00:00.000Z");
        assert_eq!(at(1_735_689_599_250), "2024-12-31T23:59:59.250Z");
        assert_eq!(at(4_107_542_400_000), "2100-03-01T00:00:00.000Z");
    }

    #[test]
    fn file_names_have_plain_characters() {
        let id = std::process::id();
        assert_eq!(file_name(&name_on("worker 3", Some("a.b"))), format!("unidist-{id}-worker-3-on-a.b.log"));
        assert_eq!(name_on("worker 3", None), "worker 3");
    }
}
