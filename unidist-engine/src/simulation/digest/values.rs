//! The numbers of objects and errors.

use super::Digest;
use crate::scheduler::Value;
use crate::store::{Blob, Block, StoredObject};
use unidist_common::{Error, ErrorKind, TaskError};

impl Digest {
    pub(super) fn value_of_object(&mut self, value: &Value) {
        match value {
            Value::Ready(object) => {
                self.add(1);
                self.object(object);
            }
            Value::Failed(error) => {
                self.add(2);
                self.error(error);
            }
        }
    }

    pub(super) fn object(&mut self, object: &StoredObject) {
        let StoredObject { header, buffers, borrowed } = object;
        self.blob(header);
        self.list(buffers, Self::blob);
        self.ids(borrowed);
    }

    fn blob(&mut self, blob: &Blob) {
        match blob {
            Blob::Inline(bytes) => self.all([1, bytes.len() as u64]),
            Blob::Shared(block) => {
                self.add(2);
                self.block(*block);
            }
            Blob::Spilled(block) => {
                self.add(3);
                self.block(*block);
            }
        }
    }

    pub(super) fn block(&mut self, block: Block) {
        self.all([block.offset, block.len]);
    }

    pub(super) fn error(&mut self, error: &TaskError) {
        self.add(kind_number(error.kind));
        match &error.cause {
            None => self.add(0),
            Some(cause) => {
                self.add(1);
                self.error(cause);
            }
        }
    }

    /// Texts do not count, so most variants are their number alone.
    pub(super) fn failure(&mut self, error: &Error) {
        match error {
            Error::Task(error) => {
                self.add(1);
                self.error(error);
            }
            Error::NotInitialized { .. } => self.add(2),
            Error::SessionEnded { .. } => self.add(3),
            Error::Config(_) => self.add(4),
            Error::Encode { .. } => self.add(5),
            Error::Decode { .. } => self.add(6),
            Error::InvalidArgument { .. } => self.add(7),
            Error::StoreFull(_) => self.add(8),
            Error::Launch { .. } => self.add(9),
            Error::System { .. } => self.add(10),
            Error::Unsupported { .. } => self.add(11),
            _ => self.add(0),
        }
    }
}

fn kind_number(kind: ErrorKind) -> u64 {
    match kind {
        ErrorKind::Panicked => 1,
        ErrorKind::Failed => 2,
        ErrorKind::DependencyFailed => 3,
        ErrorKind::WorkerDied => 4,
        ErrorKind::ActorDied => 5,
        ErrorKind::UnknownFunction => 6,
        ErrorKind::Encode => 7,
        ErrorKind::Decode => 8,
        ErrorKind::Unsatisfiable => 9,
        ErrorKind::ObjectLost => 10,
        ErrorKind::StoreFull => 11,
        ErrorKind::Deadlock => 12,
        ErrorKind::SessionEnded => 13,
        ErrorKind::NotInitialized => 14,
        ErrorKind::Cancelled => 15,
        ErrorKind::InvalidOption => 16,
        ErrorKind::TimedOut => 17,
        ErrorKind::WorkerGone => 18,
        ErrorKind::NameTaken => 19,
        ErrorKind::Forked => 20,
        _ => 0,
    }
}
