//! A rectangular part of an array (a hyperslab), and where its elements are in the memory of the array.

use std::ops::Range;

/// A part of a row-major array, in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Block {
    /// The extents of the outer axes, over which runs repeat.
    counts: Vec<usize>,
    /// The strides of these axes.
    strides: Vec<usize>,
    /// Where the part begins in the array.
    start: usize,
    /// The length of a contiguous run.
    run: usize,
    len: usize,
}

/// A part is outside its array along an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OutOfBounds {
    pub(super) axis: usize,
}

impl Block {
    /// The part of this extent at this offset; elements have `size` bytes.
    pub(super) fn new(
        shape: &[usize],
        offset: &[usize],
        extent: &[usize],
        size: usize,
    ) -> Result<Self, OutOfBounds> {
        for (axis, ((full, offset), extent)) in shape.iter().zip(offset).zip(extent).enumerate() {
            if offset.checked_add(*extent).is_none_or(|end| end > *full) {
                return Err(OutOfBounds { axis });
            }
        }
        // The array is in memory, so no product overflows.
        let mut strides = vec![size; shape.len()];
        for axis in (1..shape.len()).rev() {
            strides[axis - 1] = strides[axis] * shape[axis];
        }
        let start = offset.iter().zip(&strides).map(|(offset, stride)| offset * stride).sum();
        let mut axis = shape.len();
        let mut run = size;
        while axis > 0 {
            axis -= 1;
            run *= extent[axis];
            if extent[axis] != shape[axis] {
                break;
            }
        }
        let len = size * extent.iter().product::<usize>();
        strides.truncate(axis);
        Ok(Block { counts: extent[..axis].to_vec(), strides, start, run, len })
    }

    /// The length of the part.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The range of the part in the array, if it is contiguous.
    pub(super) fn as_range(&self) -> Option<Range<usize>> {
        (self.run == self.len).then_some(self.start..self.start + self.len)
    }

    /// Calls `each` for the contiguous runs of some bytes of the part: with the range in the array, and that in the part.
    pub(super) fn runs(&self, part: Range<usize>, mut each: impl FnMut(Range<usize>, Range<usize>)) {
        let mut at = part.start;
        while at < part.end {
            let (run, inside) = (at / self.run, at % self.run);
            let len = (self.run - inside).min(part.end - at);
            let place = self.start_of(run) + inside;
            each(place..place + len, at..at + len);
            at += len;
        }
    }

    /// Where the run of this number begins in the array.
    fn start_of(&self, mut run: usize) -> usize {
        let mut start = self.start;
        for (count, stride) in self.counts.iter().zip(&self.strides).rev() {
            start += run % count * stride;
            run /= count;
        }
        start
    }
}

/// Whether two parts, each an offset and an extent, overlap.
pub(super) fn overlap(one: (&[usize], &[usize]), other: (&[usize], &[usize])) -> bool {
    let axes = one.0.iter().zip(one.1).zip(other.0.iter().zip(other.1));
    let mut some = true;
    for ((start, extent), (other_start, other_extent)) in axes {
        let end = (start + extent).min(other_start + other_extent);
        some &= *start.max(other_start) < end;
    }
    some
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{ArrayD, IxDyn, SliceInfoElem};
    use proptest::prelude::*;

    fn copied(shape: &[usize], offset: &[usize], extent: &[usize], pieces: usize) -> Vec<u16> {
        let block = Block::new(shape, offset, extent, 2).unwrap();
        let mut array = vec![0_u8; 2 * shape.iter().product::<usize>()];
        let data: Vec<u8> = (1..=block.len() as u16 / 2).flat_map(u16::to_ne_bytes).collect();
        for start in (0..block.len()).step_by(pieces) {
            block.runs(start..block.len().min(start + pieces), |place, from| {
                array[place].copy_from_slice(&data[from]);
            });
        }
        array.as_chunks().0.iter().map(|bytes| u16::from_ne_bytes(*bytes)).collect()
    }

    #[test]
    fn full_rows_are_contiguous() {
        let block = Block::new(&[3, 5], &[1, 1], &[2, 3], 8).unwrap();
        assert_eq!((block.run, block.len(), block.as_range()), (24, 48, None));
        let rows = Block::new(&[3, 5], &[1, 0], &[2, 5], 8).unwrap();
        assert_eq!(rows.as_range(), Some(40..120));
        let row = Block::new(&[3, 5], &[1, 2], &[1, 2], 8).unwrap();
        assert_eq!(row.as_range(), Some(56..72));
        assert_eq!(Block::new(&[], &[], &[], 8).unwrap().as_range(), Some(0..8));
        assert_eq!(Block::new(&[3, 0], &[3, 0], &[0, 0], 8).unwrap().len(), 0);
    }

    #[test]
    fn parts_outside_the_array_are_refused() {
        assert_eq!(Block::new(&[3, 5], &[1, 3], &[2, 3], 8), Err(OutOfBounds { axis: 1 }));
        assert_eq!(Block::new(&[3], &[usize::MAX], &[2], 8), Err(OutOfBounds { axis: 0 }));
    }

    #[test]
    fn overlapping_parts_are_found() {
        let part = |offset: &'static [usize], extent: &'static [usize]| (offset, extent);
        assert!(overlap(part(&[0, 0], &[2, 2]), part(&[1, 1], &[2, 2])));
        assert!(!overlap(part(&[0, 0], &[2, 2]), part(&[2, 0], &[2, 2])));
        assert!(!overlap(part(&[0, 0], &[2, 0]), part(&[0, 0], &[2, 2])));
    }

    proptest! {
        #[test]
        fn block_writes_what_ndarray_assigns(
            axes in prop::collection::vec((0..5_usize, 0..3_usize, 0..3_usize), 1..4),
            pieces in 1..20_usize,
        ) {
            let extent: Vec<_> = axes.iter().map(|axis| axis.0).collect();
            let offset: Vec<_> = axes.iter().map(|axis| axis.1).collect();
            let shape: Vec<_> = axes.iter().map(|axis| axis.0 + axis.1 + axis.2).collect();
            let mut expected = ArrayD::<u16>::zeros(IxDyn(&shape));
            let slices = offset.iter().zip(&extent).map(|(start, len)| SliceInfoElem::Slice {
                start: *start as isize,
                end: Some((start + len) as isize),
                step: 1,
            });
            let mut part = expected.slice_mut(slices.collect::<Vec<_>>().as_slice());
            prop_assert_eq!(part.shape(), extent.as_slice());
            (1..).zip(part.iter_mut()).for_each(|(number, element)| *element = number);
            prop_assert_eq!(copied(&shape, &offset, &extent, pieces), expected.into_raw_vec_and_offset().0);
        }
    }
}
