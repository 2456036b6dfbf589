//! Calls that were canceled and may still be with their process.
//!
//! Their results have failed. Until the process reports that the call has left it, or ends, the call keeps its frame
//! there, its slot, and references to what it may be reading.

use super::resources::SchedulingClass;
use std::sync::Arc;
use unidist_common::{ProcessId, TaskError, TaskSpec};

/// A canceled call.
#[derive(Debug)]
pub(crate) struct Canceling {
    pub(crate) process: ProcessId,
    pub(crate) class: SchedulingClass,
    /// The error of its results.
    pub(crate) error: Arc<TaskError>,
    /// Keeps the references to its dependencies and borrowed objects.
    pub(crate) spec: Box<TaskSpec>,
}
