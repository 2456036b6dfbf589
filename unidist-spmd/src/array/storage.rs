#![allow(unsafe_code)] // views of memory that other processes write, at times when nobody reads
//! The elements of an array, in the memory of a host.

use super::block::Block;
use crate::memory::Memory;
use bytemuck::Pod;
use ndarray::{ArrayView, Dimension};
use std::marker::PhantomData;
use std::ops::Range;
use std::ptr::NonNull;

/// Elements that are zeroed at first. It is shared by the ranks of a host: `&mut self` stands for all of them, which is
/// what the functions that ranks call together see to. Between two barriers in which each rank has the array exclusively,
/// ranks write parts that do not meet, and nobody reads.
#[derive(Debug)]
pub(super) struct Storage<T> {
    memory: Memory,
    _elements: PhantomData<T>,
}

impl<T: Pod> Storage<T> {
    /// The memory is as long as the elements.
    pub(super) fn new(memory: Memory) -> Self {
        Storage { memory, _elements: PhantomData }
    }

    /// The elements; none if the shape has more than there are.
    pub(super) fn view<D: Dimension>(&self, shape: &D) -> Option<ArrayView<'_, T, D>> {
        let len = shape.size_checked()?;
        if len.checked_mul(size_of::<T>())? > self.memory.len() {
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
        let from = part.start;
        block.places(part, |place, source| {
            let source = &bytes[source.start - from..source.end - from];
            self.bytes(place).copy_from_slice(source);
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
