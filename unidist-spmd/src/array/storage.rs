#![allow(unsafe_code)] // views of memory that other processes write while no rank reads
//! The elements of an array, in the memory of a host.

use super::block::Block;
use crate::memory::SharedMemory;
use bytemuck::Pod;
use std::marker::PhantomData;
use std::ops::Range;
use std::ptr::NonNull;

/// Writes some bytes of a block.
///
/// # Safety
///
/// No process reads or writes that part of the block meanwhile.
unsafe fn write_block(memory: &SharedMemory, block: &Block, part: Range<usize>, bytes: &[u8]) {
    let from = part.start;
    block.runs(part, |place, source| {
        let source = &bytes[source.start - from..source.end - from];
        assert!(place.end <= memory.len() && place.len() == source.len(), "a part is inside its array");
        // SAFETY: the place is inside the memory and has the length of the source, which does not overlap it.
        unsafe { copy(source, memory.start().add(place.start)) };
    });
}

/// From this length on, a copy bypasses the caches, which it would only pollute.
const LARGE: usize = 4 << 20;

/// Copies bytes.
///
/// # Safety
///
/// There is room for them at `to`, which does not overlap them and which no process reads or writes meanwhile.
unsafe fn copy(from: &[u8], to: *mut u8) {
    // SAFETY: see above.
    unsafe {
        #[cfg(all(target_arch = "x86_64", not(miri)))]
        if from.len() >= LARGE {
            return copy_past_caches(from, to);
        }
        to.copy_from_nonoverlapping(from.as_ptr(), from.len());
    }
}

/// The same with non-temporal stores: the destination is not read into the caches before it is overwritten.
///
/// # Safety
///
/// As for [`copy`].
#[cfg(all(target_arch = "x86_64", not(miri)))]
unsafe fn copy_past_caches(from: &[u8], to: *mut u8) {
    use std::arch::x86_64::{__m128i, _mm_loadu_si128, _mm_sfence, _mm_stream_si128};
    /// The length of a cache line, which one iteration writes.
    const LINE: usize = 64;
    const WORDS: usize = LINE / size_of::<__m128i>();
    let (head, rest) = from.split_at(to.align_offset(LINE).min(from.len()));
    let lines = rest.chunks_exact(LINE);
    let tail = lines.remainder();
    // SAFETY: head, lines and tail are written one behind the other into the room; lines are written at aligned addresses,
    // and are read with unaligned loads. The fence makes them visible to other cores before later writes.
    unsafe {
        to.copy_from_nonoverlapping(head.as_ptr(), head.len());
        let mut place = to.add(head.len());
        for line in lines {
            let (source, target) = (line.as_ptr().cast::<__m128i>(), place.cast::<__m128i>());
            let words: [__m128i; WORDS] = std::array::from_fn(|word| _mm_loadu_si128(source.add(word)));
            words.into_iter().enumerate().for_each(|(word, value)| _mm_stream_si128(target.add(word), value));
            place = place.add(LINE);
        }
        place.copy_from_nonoverlapping(tail.as_ptr(), tail.len());
        _mm_sfence();
    }
}

/// Elements that are zeroed at first, shared by the ranks of a host. `&mut self` stands for exclusive access of all ranks, which
/// the collective functions establish: between two barriers at which each rank has the array exclusively, ranks write parts
/// that do not overlap, and none reads.
#[derive(Debug)]
pub(super) struct Storage<T> {
    memory: SharedMemory,
    /// Other ranks may write at any time.
    is_poisoned: bool,
    _elements: PhantomData<T>,
}

impl<T: Pod> Storage<T> {
    /// The memory has the length of all elements.
    pub(super) fn new(memory: SharedMemory) -> Self {
        Storage { memory, is_poisoned: false, _elements: PhantomData }
    }

    /// Records that other ranks may write at any time.
    pub(super) fn poison(&mut self) {
        self.is_poisoned = true;
    }

    /// The first `len` elements; `None` if there are fewer, or if they are poisoned.
    pub(super) fn elements(&self, len: usize) -> Option<&[T]> {
        if self.is_poisoned || len.checked_mul(size_of::<T>())? > self.memory.len() {
            return None;
        }
        let start = match self.memory.len() {
            0 => NonNull::<T>::dangling().as_ptr(),
            _ => self.memory.start().cast(),
        };
        // SAFETY: this many elements are there, from the beginning of a page on, and any bytes are valid elements; no process
        // writes them while `self` is borrowed, see above.
        Some(unsafe { std::slice::from_raw_parts(start, len) })
    }

    /// Writes some bytes of a block.
    pub(super) fn write(&mut self, block: &Block, part: Range<usize>, bytes: &[u8]) {
        assert_eq!(part.len(), bytes.len(), "the bytes have the length of the part");
        // SAFETY: no other process writes there, see above.
        unsafe { write_block(&self.memory, block, part, bytes) };
    }

    /// Bytes of the memory that this rank may write.
    pub(super) fn bytes_mut(&mut self, range: Range<usize>) -> &mut [u8] {
        assert!(range.start <= range.end && range.end <= self.memory.len(), "a part is inside its array");
        if range.is_empty() {
            return &mut [];
        }
        // SAFETY: the bytes exist, and no other process uses them meanwhile, see above.
        unsafe { std::slice::from_raw_parts_mut(self.memory.start().add(range.start), range.len()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_copies_write_exactly_their_range() {
        let from: Vec<u8> = (0..LARGE + 200).map(|place| (place % 251) as u8).collect();
        for (start, offset, len) in
            [(0, 0, LARGE), (1, 3, LARGE + 77), (5, 64, LARGE + 1), (7, 9, 100), (0, 1, 0)]
        {
            let mut to = vec![255_u8; LARGE + 300];
            let part = &from[start..start + len];
            // SAFETY: there is room for the part after the offset.
            unsafe { copy(part, to.as_mut_ptr().add(offset)) };
            assert!(to[offset..offset + len] == *part);
            assert!(to[..offset].iter().chain(&to[offset + len..]).all(|byte| *byte == 255));
        }
    }
}
