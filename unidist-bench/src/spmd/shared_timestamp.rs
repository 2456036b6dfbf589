//! A timestamp that the ranks of a host share.

use crate::Result;
use rustix::time::{ClockId, clock_gettime};
use std::fs::File;
use std::os::unix::fs::FileExt;
use unidist_spmd::Communicator;

/// The current time of a clock that all processes of a host share.
pub(super) fn nanoseconds() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    // The monotonic clock is not negative.
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// A number in an unlinked file, initially 0.
pub(super) struct SharedTimestamp(File);

impl SharedTimestamp {
    /// Makes it; collective, on one host.
    pub(super) fn shared(communicator: &Communicator) -> Result<SharedTimestamp> {
        let first = communicator.all_gather(std::process::id())?.first().copied().unwrap_or_default();
        let path = std::env::temp_dir().join(format!("unidist-bench-stamp-{first}"));
        let file = File::options().create(true).truncate(false).read(true).write(true).open(&path)?;
        file.set_len(size_of::<u64>() as u64)?;
        communicator.barrier()?;
        if communicator.rank() == 0 {
            std::fs::remove_file(path)?;
        }
        Ok(SharedTimestamp(file))
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
    fn timestamp_is_shared() {
        let stamp = SharedTimestamp::shared(&Communicator::alone()).unwrap();
        assert_eq!(stamp.read().unwrap(), 0);
        let now = nanoseconds();
        stamp.write(now).unwrap();
        assert_eq!(stamp.read().unwrap(), now);
        assert!(nanoseconds() >= now);
    }
}
