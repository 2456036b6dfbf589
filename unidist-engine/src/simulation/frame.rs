//! A running call of a simulated process, and the objects that calls make.

use super::program::Step;
use crate::protocol::worker::{RequestId, Run, Value};
use crate::store::{Blob, Place, StoredObject};
use bytes::Bytes;
use std::collections::VecDeque;
use unidist_common::{DataId, Error, ErrorKind};

/// A running call.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) run: Run,
    pub(super) steps: VecDeque<Step>,
    /// The request, and the objects whose makers it may start by itself meanwhile.
    pub(super) waiting: Option<(RequestId, Vec<DataId>)>,
    /// The watch through which it waits.
    pub(super) watch: Option<RequestId>,
    /// Whether the scheduler does not know that it waits: for memory, or for the end of a call that it has canceled.
    pub(super) waits_unnoticed: bool,
    /// Requests of its threads that have to be answered before it ends.
    pub(super) joined: Vec<RequestId>,
    /// Whether it goes on only after they are.
    pub(super) joins_at_once: bool,
    /// References held: results of calls made, objects put, and whether they are results.
    pub(super) held: Vec<DataId>,
    pub(super) results: Vec<DataId>,
    pub(super) answered: bool,
    /// Its views of objects.
    pub(super) views: Vec<View>,
    /// Whether the stack has room for other calls on top of it.
    pub(super) can_nest: bool,
    /// It was canceled.
    pub(super) cancelled: bool,
    /// It ignores cancellation.
    pub(super) stubborn: bool,
    /// Its results so far, once it has taken its last step.
    pub(super) made: Vec<StoredObject>,
    /// The answer to its request for a block.
    pub(super) room: Option<Result<Place, Error>>,
}

/// An object that a call makes.
pub(super) enum Made {
    Object(StoredObject),
    /// It waits for a block.
    Waiting,
    NoRoom(Error),
}

impl Frame {
    /// Whether a suspended task goes on when it is polled: it sleeps, is answered, or was cancelled.
    pub(super) fn is_woken(&self) -> bool {
        self.cancelled || self.waiting.is_none() || self.answered
    }
}

/// A view of an object: the object, and its blocks.
pub(super) type View = (DataId, Vec<u64>);

pub(super) fn is_lost(value: &Value) -> bool {
    matches!(value, Value::Failed(error) if error.kind == ErrorKind::ObjectLost)
}

/// The references inside a value: to the last object that its maker holds, if any.
pub(super) fn world_borrow(frame: &Frame) -> Vec<DataId> {
    frame.held.last().copied().into_iter().collect()
}

pub(super) fn plain(borrowed: Vec<DataId>) -> StoredObject {
    StoredObject { header: Blob::Inline(Bytes::new()), buffers: Vec::new(), borrowed }
}

/// An object in this block, or without one.
pub(super) fn object_in(place: Option<Place>, borrowed: Vec<DataId>) -> StoredObject {
    let object = plain(borrowed);
    StoredObject { header: place.map_or_else(|| object.header.clone(), Blob::from), ..object }
}
