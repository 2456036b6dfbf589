#![allow(unsafe_code)] // memory that a C library writes, and calls of it
//! Non-blocking sends and receives, and the memory that MPI reads or writes meanwhile.

use crate::MpiError;
use crate::runtime::check;
use bytes::Bytes;
use mpi::ffi;
use std::mem::ManuallyDrop;
use std::ops::DerefMut;
use std::sync::Arc;

/// Memory that MPI fills, in parts.
pub(crate) struct Target {
    pub(crate) start: *mut u8,
    len: usize,
    _buffer: Box<dyn DerefMut<Target = [u8]> + Send>,
}

// SAFETY: the buffer may go to other threads; its memory is only written, by MPI, each part once.
unsafe impl Send for Target {}
// SAFETY: see above; a shared one is only asked for its length.
unsafe impl Sync for Target {}

/// A part of a buffer that MPI fills. No other part overlaps it.
pub struct BufferPart {
    pub(crate) target: Arc<Target>,
    pub(crate) start: usize,
    pub(crate) len: usize,
}

impl BufferPart {
    /// Splits a buffer into parts of at most `size` bytes: at least one unless it is empty. The buffer is dropped with the
    /// last part.
    pub fn split(
        mut buffer: Box<dyn DerefMut<Target = [u8]> + Send>,
        size: usize,
    ) -> impl Iterator<Item = BufferPart> {
        let (start, len) = (buffer.as_mut_ptr(), buffer.len());
        let target = Arc::new(Target { start, len, _buffer: buffer });
        let starts = (0..len).step_by(size);
        starts.map(move |start| BufferPart {
            target: target.clone(),
            start,
            len: size.min(target.len - start),
        })
    }

    /// The length in bytes.
    #[expect(clippy::len_without_is_empty, reason = "a part is never empty")]
    pub fn len(&self) -> usize {
        self.len
    }
}

/// The memory that a pending operation needs.
pub(crate) enum Memory {
    SentMessage(Vec<u8>),
    SentBytes { _bytes: Bytes },
    ReceivedPart { _part: BufferPart },
    ReceivedMessage { buffer: Vec<u8>, len: usize },
}

/// A pending send or receive, which owns its memory. If it is dropped before it completes, the memory is leaked, because
/// MPI may still use it.
pub struct Operation {
    request: ffi::MPI_Request,
    memory: ManuallyDrop<Memory>,
}

// SAFETY: MPI is initialised at MPI_THREAD_SERIALIZED or more, and `&mut self` serialises the calls.
unsafe impl Send for Operation {}

impl Operation {
    pub(crate) fn new(request: ffi::MPI_Request, memory: Memory) -> Self {
        Operation { request, memory: ManuallyDrop::new(memory) }
    }

    /// Whether it has completed.
    ///
    /// # Errors
    ///
    /// It has failed.
    pub fn test(&mut self) -> Result<bool, MpiError> {
        let mut ended = 0;
        // SAFETY: the request is one that MPI returned, or the null request, which has always completed.
        check(unsafe { ffi::MPI_Test(&mut self.request, &mut ended, ffi::RSMPI_STATUS_IGNORE) })?;
        Ok(ended != 0)
    }

    /// Asks MPI to cancel a receive into a [`BufferPart`]. It completes afterwards, cancelled or not.
    pub fn cancel(&mut self) {
        let receives = matches!(*self.memory, Memory::ReceivedPart { .. });
        // SAFETY: the request is one that MPI returned and that has not completed.
        unsafe {
            if receives && self.request != ffi::RSMPI_REQUEST_NULL {
                ffi::MPI_Cancel(&mut self.request);
            }
        }
    }

    /// The message that was sent or received, once the operation has completed.
    pub fn into_message(mut self) -> Option<Vec<u8>> {
        // SAFETY: a constant of C's.
        if self.request != unsafe { ffi::RSMPI_REQUEST_NULL } {
            return None;
        }
        match &mut *self.memory {
            Memory::SentMessage(message) => Some(std::mem::take(message)),
            Memory::ReceivedMessage { buffer, len } => {
                // SAFETY: MPI has received a message of this length, for which there was room.
                unsafe { buffer.set_len(*len) };
                Some(std::mem::take(buffer))
            }
            Memory::SentBytes { .. } | Memory::ReceivedPart { .. } => None,
        }
    }
}

impl Drop for Operation {
    fn drop(&mut self) {
        // SAFETY: MPI sets the null request when it no longer needs the memory; it is dropped here and nowhere else.
        unsafe {
            if self.request == ffi::RSMPI_REQUEST_NULL {
                ManuallyDrop::drop(&mut self.memory);
            }
        }
    }
}
