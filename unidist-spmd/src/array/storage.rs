#![allow(unsafe_code)] // views of memory that other processes write, at times when nobody reads
//! The elements of an array, in the memory of a host.

use super::block::Block;
use crate::memory::Memory;
use bytemuck::Pod;
use ndarray::{ArrayView, Dimension};
use std::marker::PhantomData;
use std::ops::Range;
use std::ptr::NonNull;

/// To write so many bytes takes far longer than to start a thread.
const WORTH_A_THREAD: usize = 8 << 20;

/// Writes some bytes of a block.
///
/// # Safety
///
/// Nobody reads or writes that part of the block meanwhile.
unsafe fn write(memory: &Memory, block: &Block, part: Range<usize>, bytes: &[u8]) {
    let from = part.start;
    block.places(part, |place, source| {
        let source = &bytes[source.start - from..source.end - from];
        assert!(place.end <= memory.len() && place.len() == source.len(), "a part is inside of its array");
        // SAFETY: the place is inside of the memory and as long as the source, which lies elsewhere.
        unsafe { memory.start().add(place.start).copy_from_nonoverlapping(source.as_ptr(), source.len()) };
    });
}

/// Elements that are zeroed at first. It is shared by the ranks of a host: `&mut self` stands for all of them, which is
/// what the functions that ranks call together see to. Between two barriers in which each rank has the array exclusively,
/// ranks write parts that do not meet, and nobody reads.
#[derive(Debug)]
pub(super) struct Storage<T> {
    memory: Memory,
    /// Others may write at any time.
    is_lost: bool,
    _elements: PhantomData<T>,
}

impl<T: Pod> Storage<T> {
    /// The memory is as long as the elements.
    pub(super) fn new(memory: Memory) -> Self {
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

    /// Writes all bytes of a block. While one rank of a host does, its other ranks wait: if there is much to write, their
    /// cores help.
    pub(super) fn put_all(&mut self, block: &Block, bytes: &[u8], ranks: usize) {
        assert_eq!(block.len(), bytes.len(), "a block is given whole");
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = ranks.min(cores).min(bytes.len() / WORTH_A_THREAD).max(1);
        let share = bytes.len().div_ceil(threads).max(1);
        let memory = &self.memory;
        std::thread::scope(|scope| {
            let mut shares =
                (0..bytes.len()).step_by(share).map(|start| start..bytes.len().min(start + share));
            let own = shares.next();
            for part in shares {
                let write_part = {
                    let part = part.clone();
                    // SAFETY: each writes another part of the block, and nobody else any of it, see above.
                    move || unsafe { write(memory, block, part.clone(), &bytes[part]) }
                };
                let write_here = write_part.clone();
                if std::thread::Builder::new().spawn_scoped(scope, write_part).is_err() {
                    write_here();
                }
            }
            if let Some(part) = own {
                // SAFETY: see above.
                unsafe { write(memory, block, part.clone(), &bytes[part]) };
            }
        });
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
