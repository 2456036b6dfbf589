//! The array as views of the crate `ndarray`.

use super::SharedArray;
use super::request::{Request, Requests, Update};
use crate::call::CallKind;
use crate::{Communicator, Result};
use bytemuck::Pod;
use ndarray::{ArrayView, Dimension, IndexLonger, IntoDimension, NdIndex};
use std::borrow::Cow;
use std::ops::Index;

/// With the feature `ndarray`.
impl<T: Pod, D: Dimension> SharedArray<T, D> {
    /// An array of zeros. Collective, with the same shape on all ranks.
    ///
    /// ```
    /// use ndarray::array;
    /// use unidist_spmd::{Communicator, SharedArray};
    ///
    /// # fn main() -> unidist_spmd::Result<()> {
    /// let world = Communicator::world()?;
    /// let mut array = SharedArray::<f64, _>::new((3, 5), &world)?;
    ///
    /// // Rank 0 sets a part; the data of other ranks does not matter.
    /// let part = array![[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]];
    /// let data = (world.rank() == 0).then(|| part.view());
    /// array.set(data, (1, 1), 0)?;
    ///
    /// assert_eq!(array[(2, 3)], 5.0);
    /// println!("{array}");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// The shapes or element types differ, the array is larger than memory can be, or the system refuses the memory. Another
    /// rank called something else, or is lost.
    pub fn new(shape: impl IntoDimension<Dim = D>, communicator: &Communicator) -> Result<Self> {
        let dimension = shape.into_dimension();
        let shape = dimension.slice().to_vec();
        SharedArray::create(dimension, shape, communicator)
    }

    /// This host's copy.
    ///
    /// # Panics
    ///
    /// See [`SharedArray::as_slice`].
    pub fn view(&self) -> ArrayView<'_, T, D> {
        match ArrayView::from_shape(self.dimension.clone(), self.as_slice()) {
            Ok(view) => view,
            Err(error) => unreachable!("the slice has the length of the shape: {error}"),
        }
    }

    /// Sets a part to the data of rank `from`, on all hosts. Collective. The part has the shape of the data and begins at
    /// `offset`; both count on that rank only, and other ranks may pass `None`.
    ///
    /// When it returns, this host's copy is complete. One rank of each host writes; large data goes from host to host in
    /// chunks, directly into the array if the part is contiguous there.
    ///
    /// # Errors
    ///
    /// The same on all ranks, and nothing is changed: the part is outside the array, there is no such rank or it passes no data,
    /// the ranks pass different values of `from`, or call different functions. Or a rank is lost.
    pub fn set(
        &mut self,
        data: Option<ArrayView<'_, T, D>>,
        offset: impl IntoDimension<Dim = D>,
        from: usize,
    ) -> Result<()> {
        let offset = offset.into_dimension();
        self.update_view(CallKind::Set, data, &offset, from, |requests| {
            Ok(vec![requests.update_of_named_rank()?])
        })
    }

    /// Sets a part to the data of the only rank that passes some. Collective; the ranks need not know which one it is.
    ///
    /// ```
    /// # use ndarray::array;
    /// # use unidist_spmd::{Communicator, SharedArray};
    /// # fn main() -> unidist_spmd::Result<()> {
    /// # let world = Communicator::world()?;
    /// let mut array = SharedArray::<i32, _>::new(4, &world)?;
    /// let part = array![7, 8];
    /// let is_mine = world.rank() == world.size() - 1;
    /// array.assign(2, is_mine.then(|| part.view()))?;
    /// assert_eq!(array.view(), array![0, 0, 7, 8]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`SharedArray::set`]; or no rank passes data, or several do.
    pub fn assign(
        &mut self,
        offset: impl IntoDimension<Dim = D>,
        data: Option<ArrayView<'_, T, D>>,
    ) -> Result<()> {
        let offset = offset.into_dimension();
        self.update_view(CallKind::Assign, data, &offset, 0, |requests| {
            Ok(vec![requests.update_of_single_rank()?])
        })
    }

    /// Each rank that passes data sets a part of its own, all at the same time. Collective. The parts must not overlap.
    ///
    /// It is for results that are computed in parts: each rank writes its own part into its host's memory.
    ///
    /// ```
    /// # use ndarray::Array1;
    /// # use unidist_spmd::{Communicator, SharedArray};
    /// # fn main() -> unidist_spmd::Result<()> {
    /// # let world = Communicator::world()?;
    /// let mut array = SharedArray::<usize, _>::new(2 * world.size(), &world)?;
    /// let own = Array1::from_elem(2, world.rank());
    /// array.set_each(Some(own.view()), 2 * world.rank())?;
    /// assert_eq!(array[2 * world.rank()], world.rank());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`SharedArray::set`]; or the parts of two ranks overlap.
    pub fn set_each(
        &mut self,
        data: Option<ArrayView<'_, T, D>>,
        offset: impl IntoDimension<Dim = D>,
    ) -> Result<()> {
        let offset = offset.into_dimension();
        self.update_view(CallKind::SetEach, data, &offset, 0, |requests| requests.updates_of_all_sources())
    }

    fn update_view(
        &mut self,
        kind: CallKind,
        data: Option<ArrayView<'_, T, D>>,
        offset: &D,
        from: usize,
        select: impl FnOnce(&Requests<'_>) -> Result<Vec<Update>>,
    ) -> Result<()> {
        let own = match &data {
            Some(data) => Request::new(from, offset.slice(), data.shape(), data.len()),
            None => Request::without_data(from),
        };
        self.update(kind, &own, || data.map(row_major), select)
    }
}

/// The elements in row-major order, copied only if they are not contiguous.
fn row_major<'a, T: Pod, D: Dimension>(data: ArrayView<'a, T, D>) -> Cow<'a, [T]> {
    match data.to_slice() {
        Some(elements) => Cow::Borrowed(elements),
        None => {
            let (elements, start) = data.as_standard_layout().into_owned().into_raw_vec_and_offset();
            Cow::Owned(match start {
                None | Some(0) => elements,
                Some(start) => elements[start..].to_vec(),
            })
        }
    }
}

impl<T: Pod, D: Dimension, I: NdIndex<D>> Index<I> for SharedArray<T, D> {
    type Output = T;

    /// An element of this host's copy.
    ///
    /// # Panics
    ///
    /// The index is out of bounds.
    fn index(&self, index: I) -> &T {
        IndexLonger::index(&self.view(), index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array2, ArrayD, IxDyn, array, s};

    fn alone() -> Communicator {
        Communicator::alone()
    }

    #[test]
    fn parts_are_set_from_views() {
        let mut array = SharedArray::<f64, _>::new((3, 5), &alone()).unwrap();
        let part = array![[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]];
        array.set(Some(part.view()), (1, 1), 0).unwrap();
        let mut expected = Array2::zeros((3, 5));
        expected.slice_mut(s![1..3, 1..4]).assign(&part);
        assert_eq!(array.view(), expected);
        array.assign((0, 0), Some(part.t().slice(s![.., ..1]))).unwrap();
        expected.slice_mut(s![..3, ..1]).assign(&part.t().slice(s![.., ..1]));
        assert_eq!((array.view(), array[(2, 0)], array.shape()), (expected.view(), 2.0, &[3, 5][..]));
    }

    #[test]
    fn any_layout_of_a_view_is_row_major() {
        let data = array![[1, 2, 3], [4, 5, 6]];
        for view in [data.view(), data.slice(s![..;-1, ..]), data.slice(s![.., ..;-2])] {
            assert_eq!(row_major(view).to_vec(), view.iter().copied().collect::<Vec<_>>());
        }
        assert_eq!(row_major(data.t()).to_vec(), [1, 4, 2, 5, 3, 6]);
        assert!(matches!(row_major(data.view()), Cow::Borrowed(_)));
    }

    #[test]
    fn impossible_parts_change_nothing() {
        let mut array = SharedArray::<u8, _>::new((2, 2), &alone()).unwrap();
        let part = array![[1, 1, 1]];
        assert!(array.set(Some(part.view()), (0, 0), 0).is_err());
        assert!(array.set(Some(part.slice(s![.., ..1])), (0, 0), 1).is_err());
        assert!(array.set(None, (0, 0), 0).is_err());
        assert!(array.assign((0, 0), None).is_err());
        assert!(array.set_each(Some(part.view()), (usize::MAX, 0)).is_err());
        assert!(array.view().iter().all(|element| *element == 0));
    }

    #[test]
    fn empty_and_scalar_arrays() {
        let mut array = SharedArray::<f32, _>::new((0, 7), &alone()).unwrap();
        assert_eq!((array.view().shape(), array.is_empty()), (&[0, 7][..], true));
        array.set(Some(Array2::zeros((0, 3)).view()), (0, 4), 0).unwrap();
        let scalar = SharedArray::<f32, _>::new((), &alone()).unwrap();
        assert_eq!((scalar.len(), scalar[()]), (1, 0.0));
    }

    #[test]
    fn dynamic_shapes_are_checked() {
        let axes = SharedArray::<u64, _>::new(IxDyn(&[1; 9]), &alone()).unwrap_err();
        assert!(axes.to_string().contains("9 axes are more than 8"), "{axes}");
        let mut array = SharedArray::<u64, _>::new(IxDyn(&[2, 2]), &alone()).unwrap();
        let error = array.set(Some(ArrayD::zeros(IxDyn(&[2])).view()), IxDyn(&[0, 0]), 0).unwrap_err();
        assert!(error.to_string().contains("data of 1 axes at an offset of 2, for an array of 2"), "{error}");
    }
}
