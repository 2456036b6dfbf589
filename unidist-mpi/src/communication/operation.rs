#![allow(unsafe_code)] // memory that a C library writes, and calls of it
//! What MPI goes on with, and the memory that it needs meanwhile.

use super::{MpiError, check};
use bytes::Bytes;
use mpi::ffi;
use std::mem::ManuallyDrop;
use std::sync::Arc;
use unidist_core::WritableBuffer;

/// Memory that MPI fills, in parts.
pub(super) struct Target {
    pub(super) start: *mut u8,
    len: usize,
    _buffer: Box<dyn WritableBuffer>,
}

// SAFETY: the buffer may go to other threads; its memory is only written, by MPI, each part once.
unsafe impl Send for Target {}
// SAFETY: see above; nothing is done to a shared one but asking for its length.
unsafe impl Sync for Target {}

/// A part of a [`Target`] that nobody else has.
pub(crate) struct Part {
    pub(super) target: Arc<Target>,
    pub(super) start: usize,
    pub(super) len: usize,
}

impl Part {
    /// The parts of this memory, of at most this size. There is at least one unless the memory is empty.
    pub(crate) fn all_of(mut buffer: Box<dyn WritableBuffer>, size: usize) -> impl Iterator<Item = Part> {
        let (start, len) = (buffer.as_mut_ptr(), buffer.len());
        let target = Arc::new(Target { start, len, _buffer: buffer });
        let starts = (0..len).step_by(size);
        starts.map(move |start| Part { target: target.clone(), start, len: size.min(target.len - start) })
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }
}

/// Memory that an operation needs.
pub(super) enum Memory {
    Message(Vec<u8>),
    Part { _part: Bytes },
    Filled { _part: Part },
    Arriving(Vec<u8>, usize),
}

/// A sending or receiving that MPI goes on with, and the memory that it needs. Dropped before its end, it leaves the
/// memory to MPI for ever.
pub(crate) struct Operation {
    request: ffi::MPI_Request,
    memory: ManuallyDrop<Memory>,
}

// SAFETY: MPI was initialised so that threads may take turns, and `&mut self` has them do so.
unsafe impl Send for Operation {}

impl Operation {
    pub(super) fn new(request: ffi::MPI_Request, memory: Memory) -> Self {
        Operation { request, memory: ManuallyDrop::new(memory) }
    }

    /// Whether it has ended.
    pub(crate) fn test(&mut self) -> Result<bool, MpiError> {
        let mut ended = 0;
        // SAFETY: the request is one that MPI has given, or the null one, which has always ended.
        check(unsafe { ffi::MPI_Test(&mut self.request, &mut ended, ffi::RSMPI_STATUS_IGNORE) })?;
        Ok(ended != 0)
    }

    /// Asks MPI to give up a receiving; it ends then, received or not.
    pub(crate) fn cancel(&mut self) {
        let receives = matches!(*self.memory, Memory::Filled { .. });
        // SAFETY: the request is one that MPI has given and that has not ended.
        unsafe {
            if receives && self.request != ffi::RSMPI_REQUEST_NULL {
                ffi::MPI_Cancel(&mut self.request);
            }
        }
    }

    /// The message that was sent or received, once it has ended.
    pub(crate) fn into_message(mut self) -> Option<Vec<u8>> {
        // SAFETY: a constant of C's.
        if self.request != unsafe { ffi::RSMPI_REQUEST_NULL } {
            return None;
        }
        match &mut *self.memory {
            Memory::Message(message) => Some(std::mem::take(message)),
            Memory::Arriving(bytes, len) => {
                // SAFETY: MPI has received a message of this length, for which there was room.
                unsafe { bytes.set_len(*len) };
                Some(std::mem::take(bytes))
            }
            Memory::Part { .. } | Memory::Filled { .. } => None,
        }
    }
}

impl Drop for Operation {
    fn drop(&mut self) {
        // SAFETY: MPI gives back the null request when it has done with the memory; it is dropped here and nowhere else.
        unsafe {
            if self.request == ffi::RSMPI_REQUEST_NULL {
                ManuallyDrop::drop(&mut self.memory);
            }
        }
    }
}
