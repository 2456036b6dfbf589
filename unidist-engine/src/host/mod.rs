//! The resources of one host, used by the controller on its own host and by the monitor on any other: memory, spill file,
//! processes, CPUs.

mod address;
pub(crate) mod affinity;
mod child_end;
mod oom;
mod open_files;
mod signals;
pub(crate) mod supervisor;
mod surroundings;

pub use address::{host_address, host_name};
pub use signals::outlive_signals;

use crate::store::segment::Segment;
use crate::store::spill::{SpillFile, SpillSpace};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use unidist_common::{Error, Result};
use unidist_config::ConfigError;

/// The memory of a host and its extension on disk.
#[derive(Debug)]
pub(crate) struct HostMemory {
    pub(crate) segment: Arc<Segment>,
    /// `None` if spilling is disabled.
    pub(crate) spill: Option<(SpillSpace, Arc<SpillFile>)>,
}

impl HostMemory {
    /// Creates memory of at most `bytes` bytes, and a spill file as the settings say (see [`spill_file`]).
    pub(crate) fn create(bytes: u64, spill_dir: Option<&PathBuf>, spill_limit: Option<u64>) -> Result<Self> {
        let segment = Segment::create("unidist-store", bytes).map_err(|error| {
            let is_too_large = matches!(
                error.kind(),
                io::ErrorKind::OutOfMemory | io::ErrorKind::FileTooLarge | io::ErrorKind::InvalidInput
            );
            let advice =
                if is_too_large { "; or set UNIDIST_OBJECT_STORE_MEMORY to a smaller value" } else { "" };
            Error::system(
                format!("cannot create an object store of {bytes} bytes"),
                format!("{error}{advice}"),
            )
        })?;
        Ok(HostMemory { segment, spill: spill_file(spill_dir, spill_limit)? })
    }
}

/// Creates the spill file, unless the limit is 0. If it cannot be created, that is an error if the user has set the folder,
/// otherwise a warning.
fn spill_file(dir: Option<&PathBuf>, limit: Option<u64>) -> Result<Option<(SpillSpace, Arc<SpillFile>)>> {
    if limit == Some(0) {
        return Ok(None);
    }
    let folder = dir.cloned().unwrap_or_else(std::env::temp_dir);
    match (SpillSpace::create(&folder, limit), dir) {
        (Ok(made), _) => Ok(Some(made)),
        (Err(error), None) => {
            log::warn!(
                "objects are not spilled to disk: cannot create a file in {}: {error}; set UNIDIST_SPILL_DIR to another \
                 folder",
                folder.display()
            );
            Ok(None)
        }
        (Err(error), Some(_)) => Err(Error::Config(ConfigError::Unusable {
            variable: "UNIDIST_SPILL_DIR".into(),
            value: folder.display().to_string(),
            reason: format!("cannot create a file there: {error}"),
        })),
    }
}
