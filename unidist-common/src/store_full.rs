//! [`StoreFull`]: the contents of the object store when an allocation fails.

use crate::{Error, ProcessId};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The object store is full: the request, the use of the store, and the holders of its objects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct StoreFull {
    /// Bytes requested.
    pub requested: u64,
    /// Bytes in memory.
    pub used: u64,
    /// The limit of bytes in memory.
    pub limit: u64,
    /// Bytes on disk.
    pub spilled: u64,
    /// The limit of bytes on disk; 0 if spilling is off.
    pub spill_limit: u64,
    /// The system's error, if writing an object to disk failed.
    pub spill_error: Option<String>,
    /// The holders of the bytes, largest first. An object with several holders counts for each of them.
    pub holders: Vec<StoreHolder>,
}

/// Objects of the store that are held in the same way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct StoreHolder {
    /// The kind of holder.
    pub by: HeldBy,
    /// Their bytes in memory.
    pub memory: u64,
    /// Their bytes on disk.
    pub spilled: u64,
    /// The number of objects.
    pub objects: u64,
}

/// The kinds of holders of objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[non_exhaustive]
pub enum HeldBy {
    /// This process has views of the object, which pin it in memory.
    Views(ProcessId),
    /// This process is writing the object.
    Writing(ProcessId),
    /// A call sent to this process needs the object.
    Call(ProcessId),
    /// This process has refs to the object.
    Refs(ProcessId),
    /// An unstarted call needs the object.
    WaitingCalls,
    /// Refs inside other objects.
    Objects,
    /// The sum of the holders that are not listed.
    Others,
}

impl StoreFull {
    /// An error with these numbers of bytes and no holders.
    pub fn new(requested: u64, used: u64, limit: u64) -> Self {
        let (spilled, spill_limit, spill_error, holders) = (0, 0, None, Vec::new());
        StoreFull { requested, used, limit, spilled, spill_limit, spill_error, holders }
    }

    /// Sets the holders: the largest few are kept, the others are summed up.
    #[must_use]
    pub fn held_by(mut self, mut holders: Vec<StoreHolder>) -> Self {
        const LISTED: usize = 8;
        holders.sort_by_key(|holder| (std::cmp::Reverse(holder.memory + holder.spilled), holder.by));
        let rest = holders.split_off(holders.len().min(LISTED));
        if !rest.is_empty() {
            let sum = |of: fn(&StoreHolder) -> u64| rest.iter().map(of).sum();
            holders.push(StoreHolder {
                by: HeldBy::Others,
                memory: sum(|holder| holder.memory),
                spilled: sum(|holder| holder.spilled),
                objects: sum(|holder| holder.objects),
            });
        }
        self.holders = holders;
        self
    }
}

impl StoreHolder {
    /// A holder of this number of objects with these bytes.
    pub fn new(by: HeldBy, memory: u64, spilled: u64, objects: u64) -> Self {
        StoreHolder { by, memory, spilled, objects }
    }
}

impl fmt::Display for StoreFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let StoreFull { requested, used, limit, spilled, spill_limit, .. } = *self;
        write!(
            f,
            "the object store is full: {} requested, {} of {} in use",
            Bytes(requested),
            Bytes(used),
            Bytes(limit)
        )?;
        match spill_limit {
            0 => {}
            _ => write!(f, ", {} of {} on disk", Bytes(spilled), Bytes(spill_limit))?,
        }
        if let Some(error) = &self.spill_error {
            write!(f, ", and writing an object to disk failed ({error})")?;
        }
        for (at, holder) in self.holders.iter().enumerate() {
            write!(f, "{} {holder}", if at == 0 { "; held:" } else { "," })?;
        }
        f.write_str(
            "; drop refs and values that are no longer needed, or raise UNIDIST_OBJECT_STORE_MEMORY",
        )?;
        if spill_limit > 0 {
            f.write_str(" or UNIDIST_SPILL_LIMIT")?;
        }
        Ok(())
    }
}

impl fmt::Display for StoreHolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let StoreHolder { by, memory, spilled, objects } = *self;
        write!(f, "{by} {}", Bytes(memory))?;
        if spilled > 0 {
            write!(f, " and {} on disk", Bytes(spilled))?;
        }
        write!(f, " ({objects} {})", if objects == 1 { "object" } else { "objects" })
    }
}

impl fmt::Display for HeldBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |process: ProcessId| match process {
            ProcessId::CONTROLLER => "the program".to_owned(),
            worker => worker.to_string(),
        };
        match *self {
            HeldBy::Views(process) => write!(f, "views in {}", name(process)),
            HeldBy::Writing(process) => write!(f, "being written by {}", name(process)),
            HeldBy::Call(process) => write!(f, "calls sent to {}", name(process)),
            HeldBy::Refs(process) => write!(f, "refs of {}", name(process)),
            HeldBy::WaitingCalls => f.write_str("calls that have not started"),
            HeldBy::Objects => f.write_str("refs in other objects"),
            HeldBy::Others => f.write_str("other holders"),
        }
    }
}

impl From<StoreFull> for Error {
    fn from(error: StoreFull) -> Self {
        Error::StoreFull(Box::new(error))
    }
}

/// A human-readable number of bytes.
struct Bytes(u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
        if self.0 < 1024 {
            return write!(f, "{} bytes", self.0);
        }
        let (mut value, mut unit) = (self.0 as f64 / 1024.0, 0);
        while value >= 1024.0 && unit + 1 < UNITS.len() {
            (value, unit) = (value / 1024.0, unit + 1);
        }
        write!(f, "{value:.1} {}", UNITS[unit])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_names_the_holders() {
        let worker = ProcessId::new(3).unwrap();
        let holders = vec![
            StoreHolder::new(HeldBy::Refs(ProcessId::CONTROLLER), 100, 5 << 20, 7),
            StoreHolder::new(HeldBy::Views(worker), 64 << 20, 0, 1),
        ];
        let full =
            StoreFull { spilled: 5 << 20, spill_limit: 6 << 20, ..StoreFull::new(1500, 64 << 20, 1 << 30) };
        let text = full.held_by(holders).to_string();
        for part in [
            "1.5 KiB requested, 64.0 MiB of 1.0 GiB in use, 5.0 MiB of 6.0 MiB on disk",
            "held: views in worker 3 64.0 MiB (1 object), refs of the program 100 bytes and 5.0 MiB on disk (7 objects)",
            "UNIDIST_SPILL_LIMIT",
        ] {
            assert!(text.contains(part), "{text} lacks {part}");
        }
    }

    #[test]
    fn many_holders_are_summed_up() {
        let holder = |n| StoreHolder::new(HeldBy::Refs(ProcessId::new(n).unwrap()), u64::from(n), 1, 1);
        let full = StoreFull::new(1, 2, 3).held_by((1..100).map(holder).collect());
        assert_eq!(full.holders.len(), 9);
        assert_eq!(full.holders[0], holder(99));
        assert_eq!(full.holders[8], StoreHolder::new(HeldBy::Others, (1..92).sum(), 91, 91));
        assert!(full.to_string().len() < 1000);
    }
}
