//! What a process has printed before it aborts the job.

use rustix::fs::FileType;
use rustix::stdio::{stderr, stdout};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// How long the launcher may take to read it.
const LIMIT: Duration = Duration::from_secs(1);
const POLL_INTERVAL: Duration = Duration::from_millis(1);

/// Waits until the launcher has read what this process has printed, if it reads from pipes. A launcher that hears of an
/// abort first may end without reading the rest: that of MPICH does so about once in two hundred times, and the lost text
/// is the reason of the abort.
pub(crate) fn wait_until_read() {
    let end = Instant::now() + LIMIT;
    is_read(stdout(), end);
    is_read(stderr(), end);
}

/// Waits until the pipe is empty; false at the time limit. Anything but a pipe counts as read.
fn is_read(stream: impl AsFd, end: Instant) -> bool {
    let is_pipe = rustix::fs::fstat(&stream)
        .is_ok_and(|status| FileType::from_raw_mode(status.st_mode) == FileType::Fifo);
    while is_pipe && rustix::io::ioctl_fionread(&stream).is_ok_and(|unread| unread > 0) {
        if Instant::now() >= end {
            return false;
        }
        std::thread::sleep(POLL_INTERVAL);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    #[test]
    fn unread_bytes_are_waited_for() {
        let (mut reader, mut writer) = std::io::pipe().unwrap();
        assert!(is_read(&writer, Instant::now()));
        writer.write_all(b"the reason").unwrap();
        assert!(!is_read(&writer, Instant::now()));
        std::thread::scope(|scope| {
            scope.spawn(|| reader.read_exact(&mut [0; 10]).unwrap());
            assert!(is_read(&writer, Instant::now() + Duration::from_secs(60)));
        });
        drop(reader);
        assert!(is_read(&writer, Instant::now()));
    }

    #[test]
    fn files_need_no_reader() {
        let mut file = std::fs::File::open("/dev/null").unwrap();
        assert!(is_read(&file, Instant::now()));
        file = std::fs::File::open(std::env::current_exe().unwrap()).unwrap();
        assert!(is_read(&file, Instant::now()));
    }
}
