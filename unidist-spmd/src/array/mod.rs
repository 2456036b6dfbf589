//! An array with one copy on each host, in memory that the ranks of the host share.

mod block;
#[cfg(feature = "ndarray")]
mod ndarray_api;
#[cfg(feature = "ndarray")]
mod ndarray_display;
mod request;
mod storage;

use crate::call::CallKind;
use crate::{Communicator, Error, Result};
use block::Block;
use bytemuck::{Pod, Zeroable};
use request::{MAX_AXES, Request, Requests, Update};
use std::any::type_name;
use std::borrow::Cow;
use std::hash::{DefaultHasher, Hash, Hasher};
use storage::Storage;

/// The maximal alignment of elements in bytes.
const MAX_ALIGN: usize = 4096;

/// A part that is not contiguous in the array is received in sections of this length.
const SECTION: usize = 8 << 20;

/// An array with one copy on each host, zeroed at first. Every rank reads its host's copy directly; all ranks together change
/// it, on all hosts.
///
/// `T` is plain old data ([`bytemuck::Pod`]): numbers, arrays of them, structs of them. There are up to 8 axes, and an axis may
/// have the length 0. Elements are in row-major order.
///
/// `D` is the type of the shape. Without further features it is `[usize; N]`: the array is created by
/// [`SharedArray::with_shape`], is read as a slice, and is changed by [`Part`]s of it. With the feature `ndarray`, `D` may also
/// be a dimension of the crate `ndarray`, such as `Ix2`: the array is then created by `SharedArray::new`, read by
/// `SharedArray::view` and by an index, and changed by `set`, `assign` and `set_each`, which take views of `ndarray`.
///
/// ```
/// use unidist_spmd::{Communicator, Part, SharedArray};
///
/// # fn main() -> unidist_spmd::Result<()> {
/// let world = Communicator::world()?;
/// let mut array = SharedArray::<f64, _>::with_shape([3, 5], &world)?;
///
/// // Rank 0 sets a part; the other ranks need not have the data.
/// let data = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0];
/// let part = Part { data: &data, offset: &[1, 1], extent: &[2, 3] };
/// array.set_part((world.rank() == 0).then_some(part), 0)?;
///
/// assert_eq!(array.get(&[2, 3]), Some(&5.0));
/// assert_eq!(array.as_slice()[5..10], [0.0, 0.0, 1.0, 2.0, 0.0]);
/// # Ok(())
/// # }
/// ```
///
/// # Memory
///
/// The system provides it when it is first written or read. It has no name: nothing of it is left when the ranks have ended,
/// however they end. Dropping the array releases this rank's mapping, whatever other ranks do.
#[derive(Debug)]
pub struct SharedArray<T, D> {
    communicator: Communicator,
    object: u32,
    #[cfg_attr(not(feature = "ndarray"), expect(dead_code, reason = "the views of ndarray need it"))]
    dimension: D,
    shape: Vec<usize>,
    storage: Storage<T>,
}

/// A rectangular part of a [`SharedArray`], and the elements for it.
#[derive(Debug)]
pub struct Part<'a, T> {
    /// The elements in row-major order.
    pub data: &'a [T],
    /// Where the part begins in the array, for each axis.
    pub offset: &'a [usize],
    /// The length of the part along each axis. The product is the number of elements.
    pub extent: &'a [usize],
}

impl<T> Clone for Part<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Part<'_, T> {}

/// What a rank announces of the array that it creates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
struct ArrayDescription {
    axes: u64,
    shape: [u64; MAX_AXES],
    element_size: u64,
    element_type: u64,
}

impl ArrayDescription {
    fn of<T>(shape: &[usize]) -> Self {
        let mut lengths = [0; MAX_AXES];
        lengths.iter_mut().zip(shape).for_each(|(to, from)| *to = *from as u64);
        let mut hasher = DefaultHasher::new();
        type_name::<T>().hash(&mut hasher);
        ArrayDescription {
            axes: shape.len() as u64,
            shape: lengths,
            element_size: size_of::<T>() as u64,
            element_type: hasher.finish(),
        }
    }

    fn shape(&self) -> &[u64] {
        &self.shape[..MAX_AXES.min(self.axes as usize)]
    }
}

fn check_descriptions(descriptions: &[ArrayDescription]) -> Result<()> {
    let Some(first) = descriptions.first() else { return Ok(()) };
    let mismatch = |message| Err(Error::Mismatch { message });
    for (rank, other) in descriptions.iter().enumerate() {
        if (other.axes, other.shape) != (first.axes, first.shape) {
            let (one, two) = (first.shape(), other.shape());
            return mismatch(format!(
                "rank 0 creates a SharedArray of shape {one:?}, rank {rank} of shape {two:?}"
            ));
        }
        if other != first {
            return mismatch(format!(
                "rank 0 creates a SharedArray with another element type than rank {rank}"
            ));
        }
    }
    if first.axes > MAX_AXES as u64 {
        let message = format!("{} axes are more than {MAX_AXES}", first.axes);
        return Err(Error::argument(&CallKind::NewArray.to_string(), message));
    }
    Ok(())
}

impl<T: Pod, const N: usize> SharedArray<T, [usize; N]> {
    /// An array of zeros. Collective, with the same shape on all ranks.
    ///
    /// # Errors
    ///
    /// The shapes or element types differ, the array is larger than memory can be, or the system refuses the memory. Another
    /// rank called something else, or is lost.
    pub fn with_shape(shape: [usize; N], communicator: &Communicator) -> Result<Self> {
        SharedArray::create(shape, shape.to_vec(), communicator)
    }
}

impl<T, D> SharedArray<T, D> {
    /// The length of each axis.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The ranks that share it.
    pub fn communicator(&self) -> &Communicator {
        &self.communicator
    }
}

impl<T: Pod, D> SharedArray<T, D> {
    /// The elements of this host's copy, in row-major order.
    ///
    /// # Panics
    ///
    /// A rank was lost while the array was written, which was an error then: other ranks may still write.
    pub fn as_slice(&self) -> &[T] {
        match self.storage.elements(self.len()) {
            Some(elements) => elements,
            None => panic!("a rank was lost while this array was written, so its contents are undefined"),
        }
    }

    /// An element of this host's copy; `None` if the index is out of bounds.
    ///
    /// # Panics
    ///
    /// See [`SharedArray::as_slice`].
    pub fn get(&self, index: &[usize]) -> Option<&T> {
        let is_inside = index.len() == self.shape.len()
            && index.iter().zip(&self.shape).all(|(index, length)| index < length);
        let row_major = |place, (index, length): (&usize, &usize)| place * length + index;
        is_inside.then(|| &self.as_slice()[index.iter().zip(&self.shape).fold(0, row_major)])
    }

    /// Sets a part to the data of rank `from`, on all hosts. Collective. The part counts on that rank only, and other ranks may
    /// pass `None`.
    ///
    /// When it returns, this host's copy is complete. One rank of each host writes; large data goes from host to host in
    /// chunks, directly into the array if the part is contiguous there.
    ///
    /// # Errors
    ///
    /// The same on all ranks, and nothing is changed: the part is outside the array, there is no such rank or it passes no data,
    /// the ranks pass different values of `from`, or call different functions. Or a rank is lost.
    pub fn set_part(&mut self, part: Option<Part<'_, T>>, from: usize) -> Result<()> {
        self.update_part(CallKind::Set, part, from, |requests| Ok(vec![requests.update_of_named_rank()?]))
    }

    /// Sets a part to the data of the only rank that passes some. Collective; the ranks need not know which one it is.
    ///
    /// # Errors
    ///
    /// As for [`SharedArray::set_part`]; or no rank passes data, or several do.
    pub fn assign_part(&mut self, part: Option<Part<'_, T>>) -> Result<()> {
        self.update_part(CallKind::Assign, part, 0, |requests| Ok(vec![requests.update_of_single_rank()?]))
    }

    /// Each rank that passes data sets a part of its own, all at the same time. Collective. The parts must not overlap.
    ///
    /// It is for results that are computed in parts: each rank writes its own part into its host's memory.
    ///
    /// ```
    /// # use unidist_spmd::{Communicator, Part, SharedArray};
    /// # fn main() -> unidist_spmd::Result<()> {
    /// # let world = Communicator::world()?;
    /// let mut array = SharedArray::<usize, _>::with_shape([2 * world.size()], &world)?;
    /// let own = [world.rank(); 2];
    /// array.set_each_part(Some(Part { data: &own, offset: &[2 * world.rank()], extent: &[2] }))?;
    /// assert_eq!(array.as_slice()[2 * world.rank()], world.rank());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`SharedArray::set_part`]; or the parts of two ranks overlap.
    pub fn set_each_part(&mut self, part: Option<Part<'_, T>>) -> Result<()> {
        self.update_part(CallKind::SetEach, part, 0, |requests| requests.updates_of_all_sources())
    }

    fn update_part(
        &mut self,
        kind: CallKind,
        part: Option<Part<'_, T>>,
        from: usize,
        select: impl FnOnce(&Requests<'_>) -> Result<Vec<Update>>,
    ) -> Result<()> {
        let own = match &part {
            Some(part) => Request::new(from, part.offset, part.extent, part.data.len()),
            None => Request::without_data(from),
        };
        self.update(kind, &own, || part.map(|part| Cow::Borrowed(part.data)), select)
    }

    fn create(dimension: D, shape: Vec<usize>, communicator: &Communicator) -> Result<Self> {
        const { assert!(align_of::<T>() <= MAX_ALIGN, "memory is aligned to pages, not more") }
        let (object, calls) =
            communicator.agree_on_new(CallKind::NewArray, &ArrayDescription::of::<T>(&shape))?;
        check_descriptions(&calls.iter().map(|call| call.payload()).collect::<Vec<_>>())?;
        // The product without the axes of length 0 must not overflow either: strides are computed from it.
        let lengths = shape.iter().filter(|len| **len > 0);
        let all = lengths.copied().try_fold(size_of::<T>(), usize::checked_mul);
        let all = all.filter(|all| isize::try_from(*all).is_ok()).ok_or_else(|| {
            let message = format!("an array of shape {shape:?} is larger than memory can be");
            Error::argument(&CallKind::NewArray.to_string(), message)
        })?;
        let len = if shape.contains(&0) { 0 } else { all };
        let storage = Storage::new(communicator.shared_memory(len)?);
        Ok(SharedArray { communicator: communicator.clone(), object, dimension, shape, storage })
    }

    /// Exchanges the requests of all ranks, and applies the updates that `select` finds in them. `data` are the elements that
    /// this rank provides, needed only if it is the source of an update.
    fn update<'a>(
        &mut self,
        kind: CallKind,
        own: &Request,
        data: impl FnOnce() -> Option<Cow<'a, [T]>>,
        select: impl FnOnce(&Requests<'_>) -> Result<Vec<Update>>,
    ) -> Result<()> {
        let calls = self.communicator.agree(kind, self.object, own).inspect_err(|error| {
            // Another rank may have arrived last, and go on to write.
            if matches!(error, Error::RankLost { .. }) {
                self.storage.poison();
            }
        })?;
        let (shape, size) = (self.shape.clone(), size_of::<T>());
        let updates = select(&Requests { kind, calls: &calls, shape: &shape, size })?;
        let is_source = updates.iter().any(|update| update.source == self.communicator.rank());
        let data = if is_source { data() } else { None };
        let bytes = data.as_deref().map(bytemuck::cast_slice::<T, u8>);
        for update in updates.iter().filter(|update| update.block.len() > 0) {
            self.apply(update, bytes.unwrap_or_default());
        }
        self.communicator.host_barrier().inspect_err(|_| self.storage.poison())
    }

    /// Does this rank's share of an update; `bytes` are the elements that this rank provides.
    fn apply(&mut self, update: &Update, bytes: &[u8]) {
        let Update { source, block } = update;
        let communicator = self.communicator.clone();
        let writers: Vec<usize> = communicator.layout().writers(*source).collect();
        let Some(place) = writers.iter().position(|writer| *writer == communicator.rank()) else { return };
        let next = writers.get(place + 1).copied();
        let previous = place.checked_sub(1).map(|place| writers[place]);
        match (previous, communicator.network()) {
            (None, Some(network)) if next.is_some() => {
                let next = next.unwrap_or_default();
                network.send(next, bytes, |chunk| self.storage.write(block, chunk.clone(), &bytes[chunk]));
            }
            (None, _) => self.storage.write(block, 0..block.len(), bytes),
            (Some(previous), Some(network)) => match block.as_range() {
                Some(range) => network.receive(previous, next, self.storage.bytes_mut(range)),
                None => self.receive_scattered(block, |section| network.receive(previous, next, section)),
            },
            (Some(_), None) => unreachable!("another host is reached by a network"),
        }
    }

    /// Receives a part that is not contiguous in the array.
    fn receive_scattered(&mut self, block: &Block, receive: impl Fn(&mut [u8])) {
        let mut buffer = vec![0; SECTION.min(block.len())];
        for start in (0..block.len()).step_by(SECTION) {
            let end = block.len().min(start + SECTION);
            let section = &mut buffer[..end - start];
            receive(section);
            self.storage.write(block, start..end, section);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alone() -> Communicator {
        Communicator::alone()
    }

    #[test]
    fn parts_are_set_from_slices() {
        let mut array = SharedArray::<f64, _>::with_shape([3, 5], &alone()).unwrap();
        let part = |data, offset, extent| Some(Part { data, offset, extent });
        array.set_part(part(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0], &[1, 1], &[2, 3]), 0).unwrap();
        assert_eq!(array.as_slice()[..10], [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 2.0, 0.0]);
        assert_eq!((array.get(&[2, 3]), array.get(&[3, 0]), array.get(&[0])), (Some(&5.0), None, None));
        array.assign_part(part(&[7.0; 3], &[0, 0], &[3, 1])).unwrap();
        array.set_each_part(part(&[8.0], &[0, 4], &[1, 1])).unwrap();
        assert_eq!(array.as_slice()[..5], [7.0, 0.0, 0.0, 0.0, 8.0]);
        assert_eq!((array.shape(), array.len(), array.is_empty()), (&[3, 5][..], 15, false));
        let scalar = SharedArray::<f32, _>::with_shape([], &alone()).unwrap();
        assert_eq!((scalar.len(), scalar.get(&[])), (1, Some(&0.0)));
    }

    #[test]
    fn impossible_slices_are_refused() {
        let mut array = SharedArray::<u8, _>::with_shape([2, 2], &alone()).unwrap();
        let mut text = |part: Part<'_, u8>| array.set_part(Some(part), 0).unwrap_err().to_string();
        let short = text(Part { data: &[1], offset: &[0, 0], extent: &[1, 2] });
        assert!(short.contains("1 elements for a part of 2"), "{short}");
        let axes = text(Part { data: &[1], offset: &[0], extent: &[1] });
        assert!(axes.contains("data of 1 axes at an offset of 1, for an array of 2"), "{axes}");
        assert!(text(Part { data: &[1; 3], offset: &[0, 0], extent: &[1, 3] }).contains("along axis 1"));
        assert!(array.set_part(None, 0).is_err() && array.assign_part(None).is_err());
        assert_eq!(array.as_slice(), [0; 4]);
    }

    #[test]
    fn impossible_shapes_are_refused() {
        assert!(SharedArray::<u64, _>::with_shape([usize::MAX, 2], &alone()).is_err());
        assert!(SharedArray::<u64, _>::with_shape([usize::MAX / 8], &alone()).is_err());
        let axes = SharedArray::<u64, _>::with_shape([1; 9], &alone()).unwrap_err();
        assert!(axes.to_string().contains("9 axes are more than 8"), "{axes}");
    }

    #[test]
    fn descriptions_of_all_ranks_must_be_equal() {
        let description = ArrayDescription::of::<f64>(&[2, 3]);
        assert_eq!(check_descriptions(&[description, description]), Ok(()));
        let text = |other| check_descriptions(&[description, description, other]).unwrap_err().to_string();
        assert!(
            text(ArrayDescription::of::<f64>(&[2, 4])).contains("of shape [2, 3], rank 2 of shape [2, 4]")
        );
        assert!(text(ArrayDescription::of::<i64>(&[2, 3])).contains("another element type than rank 2"));
    }
}
