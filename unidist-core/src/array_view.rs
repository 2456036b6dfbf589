//! Shared slices as n-dimensional arrays.

use crate::shared_slice::SharedSlice;
use bytemuck::Pod;
use ndarray::{ArrayView, Dimension, ShapeError, StrideShape};

impl<T: Pod> SharedSlice<T> {
    /// The slice as an array of this shape, without a copy.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let matrix = unidist_core::SharedSlice::build(6, |out: &mut [f64]| out.fill(0.5))?;
    /// assert_eq!(matrix.array_view((2, 3))?.sum_axis(ndarray::Axis(1)).to_vec(), [1.5, 1.5]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// The shape does not fit the number of items.
    pub fn array_view<D: Dimension>(
        &self,
        shape: impl Into<StrideShape<D>>,
    ) -> Result<ArrayView<'_, T, D>, ShapeError> {
        ArrayView::from_shape(shape, self)
    }
}
