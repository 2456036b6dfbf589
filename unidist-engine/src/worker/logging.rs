//! The log of a worker: `RUST_LOG` decides what, the session where.

use crate::link::handshake::Welcome;
use std::fs::OpenOptions;
use std::io::Write;

/// Starts logging, to a file of this process in the session's log folder or to standard error.
pub(super) fn start(welcome: &Welcome) {
    let mut builder = env_logger::Builder::from_default_env();
    let process = welcome.process;
    builder.format(move |out, record| {
        let (time, level, target) = (out.timestamp_millis(), record.level(), record.target());
        writeln!(out, "[{time} {level} {process} {target}] {}", record.args())
    });
    if let Some(folder) = &welcome.log_dir {
        let path = folder.join(format!("unidist-{}-{}.log", std::process::id(), process.number()));
        let opened = std::fs::create_dir_all(folder)
            .and_then(|()| OpenOptions::new().create(true).append(true).open(&path));
        match opened {
            Ok(file) => {
                builder.target(env_logger::Target::Pipe(Box::new(file)));
            }
            Err(error) => eprintln!("unidist {process}: cannot log to `{}`: {error}", path.display()),
        }
    }
    // It fails only if a constructor of the user's has installed another logger, which then has its way.
    let _ = builder.try_init();
}
