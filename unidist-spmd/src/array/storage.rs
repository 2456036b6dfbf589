#![allow(unsafe_code)] // views of memory that other processes write, at times when nobody reads
//! The elements of an array, in the memory of a host.

use super::block::Block;
use crate::memory::SharedMemory;
use bytemuck::Pod;
use ndarray::{ArrayView, Dimension};
use std::marker::PhantomData;
use std::ops::Range;
use std::ptr::NonNull;

/// Writes some bytes of a block.
///
/// # Safety
///
/// Nobody reads or writes that part of the block meanwhile.
unsafe fn write(memory: &SharedMemory, block: &Block, part: Range<usize>, bytes: &[u8]) {
    let from = part.start;
    block.places(part, |place, source| {
        let source = &bytes[source.start - from..source.end - from];
        assert!(place.end <= memory.len() && place.len() == source.len(), "a part is inside of its array");
        // SAFETY: the place is inside of the memory and as long as the source, which lies elsewhere.
        unsafe { copy(source, memory.start().add(place.start)) };
    });
}

/// From so many bytes on, what is written would only push other things out of the caches.
const LARGE: usize = 4 << 20;

/// Copies bytes.
///
/// # Safety
///
/// There is room for them, elsewhere, that nobody reads or writes meanwhile.
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

/// The same for many bytes, which are not read into the caches before they are overwritten.
///
/// # Safety
///
/// As for [`copy`].
#[cfg(all(target_arch = "x86_64", not(miri)))]
unsafe fn copy_past_caches(from: &[u8], to: *mut u8) {
    use std::arch::x86_64::{__m128i, _mm_loadu_si128, _mm_sfence, _mm_stream_si128};
    /// CallKind is written at once.
    const LINE: usize = 64;
    const WORDS: usize = LINE / size_of::<__m128i>();
    let (head, rest) = from.split_at(to.align_offset(LINE).min(from.len()));
    let lines = rest.chunks_exact(LINE);
    let tail = lines.remainder();
    // SAFETY: each part is written where it belongs in the room; lines begin where they are aligned, and are read from
    // wherever they are. The fence has other cores see them before whatever is written later.
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

/// Elements that are zeroed at first. It is shared by the ranks of a host: `&mut self` stands for all of them, which is
/// what the functions that ranks call together see to. Between two barriers in which each rank has the array exclusively,
/// ranks write parts that do not meet, and nobody reads.
#[derive(Debug)]
pub(super) struct Storage<T> {
    memory: SharedMemory,
    /// Others may write at any time.
    is_lost: bool,
    _elements: PhantomData<T>,
}

impl<T: Pod> Storage<T> {
    /// The memory is as long as the elements.
    pub(super) fn new(memory: SharedMemory) -> Self {
        Storage { memory, is_lost: false, _elements: PhantomData }
    }

    /// Nobody can say who writes.
    pub(super) fn lose(&mut self) {
        self.is_lost = true;
    }

    /// The elements; none if the shape has more than there are, or if they are lost.
    pub(super) fn view<D: Dimension>(&self, shape: &D) -> Option<ArrayView<'_, T, D>> {
        let len = shape.size_checked()?;
        if self.is_lost || len.checked_mul(size_of::<T>())? > self.memory.len() {
            return None;
        }
        let start = match self.memory.len() {
            0 => NonNull::<T>::dangling().as_ptr(),
            _ => self.memory.start().cast(),
        };
        // SAFETY: so many elements are there, from the beginning of a page on, where any bytes are an element; and nobody
        // writes them while `self` is borrowed, see above.
        Some(unsafe { ArrayView::from_shape_ptr(shape.clone(), start) })
    }

    /// Writes some bytes of a block.
    pub(super) fn put(&mut self, block: &Block, part: Range<usize>, bytes: &[u8]) {
        assert_eq!(part.len(), bytes.len(), "a part is given whole");
        // SAFETY: nobody else writes there, see above.
        unsafe { write(&self.memory, block, part, bytes) };
    }

    /// Bytes of the memory, which are this rank's to write.
    pub(super) fn bytes(&mut self, place: Range<usize>) -> &mut [u8] {
        assert!(place.start <= place.end && place.end <= self.memory.len(), "a part is inside of its array");
        if place.is_empty() {
            return &mut [];
        }
        // SAFETY: the bytes are there, and nobody else uses them meanwhile, see above.
        unsafe { std::slice::from_raw_parts_mut(self.memory.start().add(place.start), place.len()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_bytes_come_where_they_belong() {
        let from: Vec<u8> = (0..LARGE + 200).map(|place| (place % 251) as u8).collect();
        for (start, offset, len) in
            [(0, 0, LARGE), (1, 3, LARGE + 77), (5, 64, LARGE + 1), (7, 9, 100), (0, 1, 0)]
        {
            let mut to = vec![255_u8; LARGE + 300];
            let part = &from[start..start + len];
            // SAFETY: there is room for the part behind the offset.
            unsafe { copy(part, to.as_mut_ptr().add(offset)) };
            assert!(to[offset..offset + len] == *part);
            assert!(to[..offset].iter().chain(&to[offset + len..]).all(|byte| *byte == 255));
        }
    }
}
