//! A time that the ranks of a host tell each other, beside what is measured.

use crate::Result;
use rustix::time::{ClockId, clock_gettime};
use std::fs::File;
use std::os::unix::fs::FileExt;
use unidist_spmd::Communicator;

/// Now, on a clock that all processes of a host have.
pub(super) fn nanoseconds() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    // It begins with 0.
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// A number in a file that no longer has a name, 0 at first.
pub(super) struct Stamp(File);

impl Stamp {
    /// Collective, on one host.
    pub(super) fn shared(communicator: &Communicator) -> Result<Stamp> {
        let first = communicator.all_gather(std::process::id())?.first().copied().unwrap_or_default();
        let path = std::env::temp_dir().join(format!("unidist-bench-stamp-{first}"));
        let file = File::options().create(true).truncate(false).read(true).write(true).open(&path)?;
        file.set_len(size_of::<u64>() as u64)?;
        communicator.barrier()?;
        if communicator.rank() == 0 {
            std::fs::remove_file(path)?;
        }
        Ok(Stamp(file))
    }

    pub(super) fn read(&self) -> Result<u64> {
        let mut bytes = [0; size_of::<u64>()];
        self.0.read_exact_at(&mut bytes, 0)?;
        Ok(u64::from_ne_bytes(bytes))
    }

    pub(super) fn write(&self, number: u64) -> Result {
        Ok(self.0.write_all_at(&number.to_ne_bytes(), 0)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_read_as_it_was_written() {
        let stamp = Stamp::shared(&Communicator::alone()).unwrap();
        assert_eq!(stamp.read().unwrap(), 0);
        let now = nanoseconds();
        stamp.write(now).unwrap();
        assert_eq!(stamp.read().unwrap(), now);
        assert!(nanoseconds() >= now);
    }
}
