//! The log of a process that the session has started: `RUST_LOG` decides what is in it, the session where it is.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

/// Starts logging for this process, which is called so in each line: to a file of its own in this folder, or to standard
/// error. `besides` is logged whatever `RUST_LOG` says, in the form of that variable.
///
/// Where a logger is installed already, that has its way.
pub fn start(process: &str, folder: Option<&Path>, besides: &str) {
    let mut builder = env_logger::Builder::from_default_env();
    if !besides.is_empty() {
        builder.parse_filters(besides);
    }
    let name = process.to_owned();
    builder.format(move |out, record| {
        let (time, level, target) = (out.timestamp_millis(), record.level(), record.target());
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
    // It fails only where there is a logger already.
    let _ = builder.try_init();
}

/// `unidist-4711-worker-3-on-node2.log`: hosts may share the folder, and programs too.
fn file_name(process: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' };
    let process: String = process.chars().map(plain).collect();
    format!("unidist-{}-{process}.log", std::process::id())
}

/// How a process is called in the log of a session: with its host, if that has others.
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
    fn names_of_files_are_plain() {
        let id = std::process::id();
        assert_eq!(file_name(&name_on("worker 3", Some("a.b"))), format!("unidist-{id}-worker-3-on-a.b.log"));
        assert_eq!(name_on("worker 3", None), "worker 3");
    }
}
