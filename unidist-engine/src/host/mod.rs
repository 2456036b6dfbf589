//! What is on each host of a session, whether the controller is there or a monitor: its memory, its processes, and how
//! its one thread of the engine waits.

mod address;
pub(crate) mod affinity;
mod oom;
pub(crate) mod supervisor;

pub use address::{host_address, host_name};

use crate::store::segment::Segment;
use crate::store::spill::{SpillFile, SpillSpace};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::path::PathBuf;
use std::sync::Arc;
use unidist_common::{Error, Result};
use unidist_config::ConfigError;

/// The memory of a host and its extension on disk.
#[derive(Debug)]
pub(crate) struct HostMemory {
    pub(crate) segment: Arc<Segment>,
    /// None where nothing is spilled.
    pub(crate) spill: Option<(SpillSpace, Arc<SpillFile>)>,
}

impl HostMemory {
    /// New memory of at most so many bytes, with a file in this folder (see [`spill_file`]).
    pub(crate) fn create(bytes: u64, spill_dir: Option<&PathBuf>, spill_limit: Option<u64>) -> Result<Self> {
        let segment = Segment::create("unidist-store", bytes).map_err(|error| {
            let advice = "set UNIDIST_OBJECT_STORE_MEMORY to less";
            Error::system(format!("making an object store of {bytes} bytes"), format!("{error}; {advice}"))
        })?;
        Ok(HostMemory { segment, spill: spill_file(spill_dir, spill_limit)? })
    }
}

/// The spill file, unless the settings want none. A folder that cannot be used is an error if it was asked for.
fn spill_file(dir: Option<&PathBuf>, limit: Option<u64>) -> Result<Option<(SpillSpace, Arc<SpillFile>)>> {
    if limit == Some(0) {
        return Ok(None);
    }
    let folder = dir.cloned().unwrap_or_else(std::env::temp_dir);
    match (SpillSpace::create(&folder, limit), dir) {
        (Ok(made), _) => Ok(Some(made)),
        (Err(error), None) => {
            log::warn!(
                "objects are not spilled to disk: no file can be made in {}: {error}",
                folder.display()
            );
            Ok(None)
        }
        (Err(error), Some(_)) => Err(Error::Config(ConfigError::Unusable {
            variable: "UNIDIST_SPILL_DIR".into(),
            value: folder.display().to_string(),
            reason: format!("no file can be made there: {error}"),
        })),
    }
}

/// Each process takes three file descriptors of the one that starts it, so the limit of this process is raised as far as
/// it may raise it itself.
pub(crate) fn allow_open_files() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current < limit.maximum || limit.maximum.is_none() {
        // If it is refused, the limit stays, and a process too many is an error that says so.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    }
}
