//! Memory for an object that is being written.

use bytes::Bytes;
use std::ops::{Deref, DerefMut};
use unidist_backend::WritableBuffer;

const ALIGNMENT: usize = 64;

/// `len` aligned bytes within a vector.
pub(crate) struct AlignedBuffer {
    memory: Vec<u8>,
    start: usize,
    len: usize,
}

impl AlignedBuffer {
    /// Zeroed bytes; `None` if `len` is more than an allocation can hold.
    pub(crate) fn zeroed(len: usize) -> Option<Self> {
        let total = len.checked_add(ALIGNMENT - 1)?;
        if isize::try_from(total).is_err() {
            return None;
        }
        let memory = vec![0; total]; // the system's zeroed pages, untouched until they are used
        let start = memory.as_ptr().addr().next_multiple_of(ALIGNMENT) - memory.as_ptr().addr();
        Some(AlignedBuffer { memory, start, len })
    }
}

impl AsRef<[u8]> for AlignedBuffer {
    fn as_ref(&self) -> &[u8] {
        &self.memory[self.start..self.start + self.len]
    }
}

impl Deref for AlignedBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.as_ref()
    }
}

impl DerefMut for AlignedBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..self.start + self.len]
    }
}

impl WritableBuffer for AlignedBuffer {
    fn freeze(self: Box<Self>) -> Bytes {
        Bytes::from_owner(*self) // the vector does not move
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffer_is_aligned_before_and_after_freeze() {
        for len in [0, 1, 64, 1000] {
            let mut buffer = Box::new(AlignedBuffer::zeroed(len).unwrap());
            buffer.fill(7);
            let place = buffer.as_ptr();
            assert_eq!((place.addr() % ALIGNMENT, buffer.len()), (0, len));
            let bytes = buffer.freeze();
            assert_eq!(bytes, vec![7; len]);
            if len > 0 {
                assert_eq!(bytes.as_ptr(), place);
            }
        }
        assert!(AlignedBuffer::zeroed(usize::MAX).is_none());
    }
}
