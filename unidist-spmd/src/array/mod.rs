//! An array of which each host has one copy, in memory that its ranks share.

mod block;
mod display;
mod request;
mod storage;

use crate::call::CallKind;
use crate::{Communicator, Error, Result};
use block::Block;
use bytemuck::{Pod, Zeroable};
use ndarray::{ArrayView, Dimension, IndexLonger, IntoDimension, NdIndex};
use request::{MAX_AXES, Request, Requests, Update};
use std::any::type_name;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Index;
use storage::Storage;

/// Elements are aligned to so many bytes at the most.
const MAX_ALIGN: usize = 4096;

/// How much is received at once that does not lie together in the array.
const SECTION: usize = 8 << 20;

/// An array of which each host has one copy, zeroed at first. Every rank reads its host's copy directly, as a view of
/// `ndarray`; all ranks together change it, on all hosts.
///
/// `T` is plain old data ([`bytemuck::Pod`]): numbers, arrays of them, structs made of them. `D` is a dimension of `ndarray`,
/// such as `Ix2`, with up to 8 axes. An axis may have the length 0.
///
/// ```
/// use ndarray::array;
/// use unidist_spmd::{Communicator, SharedArray};
///
/// # fn main() -> unidist_spmd::Result<()> {
/// let world = Communicator::world()?;
/// let mut array = SharedArray::<f64, _>::new((3, 5), &world)?;
///
/// // Rank 0 sets a part; on all others the data does not matter.
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
/// # Memory
///
/// It is taken when it is first written or read, and has no name: nothing of it is left when the ranks have ended, however
/// they end. Dropping the array gives back this rank's part in it, whatever other ranks do.
#[derive(Debug)]
pub struct SharedArray<T, D> {
    communicator: Communicator,
    object: u32,
    shape: D,
    storage: Storage<T>,
}

/// CallKind a rank says of the array that it makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
struct Kind {
    axes: u64,
    shape: [u64; MAX_AXES],
    size: u64,
    name: u64,
}

impl Kind {
    fn of<T>(shape: &[usize]) -> Self {
        let mut lengths = [0; MAX_AXES];
        lengths.iter_mut().zip(shape).for_each(|(to, from)| *to = *from as u64);
        let mut name = DefaultHasher::new();
        type_name::<T>().hash(&mut name);
        Kind { axes: shape.len() as u64, shape: lengths, size: size_of::<T>() as u64, name: name.finish() }
    }

    fn shape(&self) -> &[u64] {
        &self.shape[..MAX_AXES.min(self.axes as usize)]
    }
}

fn check_kinds(kinds: &[Kind]) -> Result<()> {
    let Some(first) = kinds.first() else { return Ok(()) };
    let mismatch = |message| Err(Error::Mismatch { message });
    for (rank, other) in kinds.iter().enumerate() {
        if (other.axes, other.shape) != (first.axes, first.shape) {
            let (one, two) = (first.shape(), other.shape());
            return mismatch(format!(
                "rank 0 makes a SharedArray of shape {one:?}, rank {rank} of shape {two:?}"
            ));
        }
        if other != first {
            return mismatch(format!("rank 0 makes a SharedArray of other elements than rank {rank}"));
        }
    }
    if first.axes > MAX_AXES as u64 {
        let message = format!("{} axes are more than {MAX_AXES}", first.axes);
        return Err(Error::argument(&CallKind::NewArray.to_string(), message));
    }
    Ok(())
}

impl<T: Pod, D: Dimension> SharedArray<T, D> {
    /// An array of zeros. Collective, with the same shape on all ranks.
    ///
    /// # Errors
    ///
    /// The shapes or elements differ, it is larger than memory can be, or the system refuses the memory. Another rank called
    /// something else, or is lost.
    pub fn new(shape: impl IntoDimension<Dim = D>, communicator: &Communicator) -> Result<Self> {
        let shape = shape.into_dimension();
        const { assert!(align_of::<T>() <= MAX_ALIGN, "memory is aligned to pages, and no more") }
        let (object, calls) = communicator.agree_on_new(CallKind::NewArray, &Kind::of::<T>(shape.slice()))?;
        check_kinds(&calls.iter().map(|call| call.payload()).collect::<Vec<_>>())?;
        // Also what there would be without the axes of length 0 has to be something that can be counted.
        let lengths = shape.slice().iter().filter(|len| **len > 0);
        let all = lengths.copied().try_fold(size_of::<T>(), usize::checked_mul);
        let all = all.filter(|all| isize::try_from(*all).is_ok()).ok_or_else(|| {
            let message = format!("an array of shape {:?} is larger than memory can be", shape.slice());
            Error::argument(&CallKind::NewArray.to_string(), message)
        })?;
        let len = if shape.slice().contains(&0) { 0 } else { all };
        let storage = Storage::new(communicator.shared_memory(len)?);
        Ok(SharedArray { communicator: communicator.clone(), object, shape, storage })
    }

    /// This host's copy.
    ///
    /// # Panics
    ///
    /// A rank was lost while the array was written, which was an error then: others may still be writing.
    pub fn view(&self) -> ArrayView<'_, T, D> {
        match self.storage.view(&self.shape) {
            Some(view) => view,
            None => panic!("a rank was lost while this array was written: nobody can say what is in it"),
        }
    }

    /// The length of each axis.
    pub fn shape(&self) -> &[usize] {
        self.shape.slice()
    }

    /// How many elements there are.
    pub fn len(&self) -> usize {
        self.shape.size()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The ranks that have it.
    pub fn communicator(&self) -> &Communicator {
        &self.communicator
    }

    /// Sets a part to what rank `from` gives, on all hosts. Collective. The part has the shape of the data and begins at
    /// `offset`; both count on that rank alone, and other ranks may pass `None`.
    ///
    /// When it returns, this host's copy is complete. One rank of each host writes; large data goes from host to host in
    /// pieces, straight into memory where the part lies together there.
    ///
    /// # Errors
    ///
    /// The same on all ranks, with nothing changed: the part is not inside of the array, there is no such rank or it gives
    /// nothing, ranks name different ones, or call different things. Or a rank is lost.
    pub fn set(
        &mut self,
        data: Option<ArrayView<'_, T, D>>,
        offset: impl IntoDimension<Dim = D>,
        from: usize,
    ) -> Result<()> {
        self.ask(CallKind::Set, data, &offset.into_dimension(), from, |requests| {
            Ok(vec![requests.of_named()?])
        })
    }

    /// The same where the ranks do not know which of them gives the data: exactly one does. Collective.
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
    /// As for [`SharedArray::set`], or no rank gives data, or several do.
    pub fn assign(
        &mut self,
        offset: impl IntoDimension<Dim = D>,
        data: Option<ArrayView<'_, T, D>>,
    ) -> Result<()> {
        self.ask(CallKind::Assign, data, &offset.into_dimension(), 0, |requests| Ok(vec![requests.of_one()?]))
    }

    /// Each rank that gives data sets a part of its own, all at once. Collective. No two parts have an element in common.
    ///
    /// It is for what is computed in parts: each rank writes its own part into its host's memory.
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
    /// As for [`SharedArray::set`], or the parts of two ranks meet.
    pub fn set_each(
        &mut self,
        data: Option<ArrayView<'_, T, D>>,
        offset: impl IntoDimension<Dim = D>,
    ) -> Result<()> {
        self.ask(CallKind::SetEach, data, &offset.into_dimension(), 0, |requests| requests.of_each())
    }

    fn ask(
        &mut self,
        what: CallKind,
        data: Option<ArrayView<'_, T, D>>,
        offset: &D,
        from: usize,
        updates: impl FnOnce(&Requests<'_>) -> Result<Vec<Update>>,
    ) -> Result<()> {
        let own = Request::new(from, offset.slice(), data.as_ref().map(ArrayView::shape));
        let calls = self.communicator.agree(what, self.object, &own).inspect_err(|error| {
            // Another rank may have come last, and go on.
            if matches!(error, Error::RankLost { .. }) {
                self.storage.lose();
            }
        })?;
        let (shape, size) = (self.shape.slice().to_vec(), size_of::<T>());
        let updates = updates(&Requests { what, calls: &calls, shape: &shape, size })?;
        let is_source = updates.iter().any(|update| update.source == self.communicator.rank());
        let data = data.as_ref().filter(|_| is_source).map(|data| data.as_standard_layout());
        let bytes = data.as_ref().and_then(|data| data.as_slice()).map(bytemuck::cast_slice::<T, u8>);
        for update in updates.iter().filter(|update| update.block.len() > 0) {
            self.carry_out(update, bytes.unwrap_or_default());
        }
        self.communicator.host_barrier().inspect_err(|_| self.storage.lose())
    }

    /// Does this rank's part of an update; `bytes` is what this rank gives.
    fn carry_out(&mut self, update: &Update, bytes: &[u8]) {
        let Update { source, block } = update;
        let communicator = self.communicator.clone();
        let writers: Vec<usize> = communicator.layout().writers(*source).collect();
        let Some(place) = writers.iter().position(|writer| *writer == communicator.rank()) else { return };
        let next = writers.get(place + 1).copied();
        let before = place.checked_sub(1).map(|place| writers[place]);
        match (before, communicator.network()) {
            (None, Some(network)) if next.is_some() => {
                let next = next.unwrap_or_default();
                network.send(next, bytes, |piece| self.storage.put(block, piece.clone(), &bytes[piece]));
            }
            (None, _) => self.storage.put(block, 0..block.len(), bytes),
            (Some(before), Some(network)) => match block.as_range() {
                Some(place) => network.receive(before, next, self.storage.bytes(place)),
                None => self.receive_apart(block, |section| network.receive(before, next, section)),
            },
            (Some(_), None) => unreachable!("another host is reached by a network"),
        }
    }

    /// Receives what does not lie together.
    fn receive_apart(&mut self, block: &Block, receive: impl Fn(&mut [u8])) {
        let mut room = vec![0; SECTION.min(block.len())];
        for start in (0..block.len()).step_by(SECTION) {
            let end = block.len().min(start + SECTION);
            let section = &mut room[..end - start];
            receive(section);
            self.storage.put(block, start..end, section);
        }
    }
}

impl<T: Pod, D: Dimension, I: NdIndex<D>> Index<I> for SharedArray<T, D> {
    type Output = T;

    /// An element of this host's copy.
    ///
    /// # Panics
    ///
    /// There is none.
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
    fn parts_are_set() {
        let mut array = SharedArray::<f64, _>::new((3, 5), &alone()).unwrap();
        let part = array![[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]];
        array.set(Some(part.view()), (1, 1), 0).unwrap();
        let mut wanted = Array2::zeros((3, 5));
        wanted.slice_mut(s![1..3, 1..4]).assign(&part);
        assert_eq!(array.view(), wanted);
        array.assign((0, 0), Some(part.t().slice(s![.., ..1]))).unwrap();
        wanted.slice_mut(s![..3, ..1]).assign(&part.t().slice(s![.., ..1]));
        assert_eq!((array.view(), array[(2, 0)], array.shape()), (wanted.view(), 2.0, &[3, 5][..]));
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
    fn no_elements() {
        let mut array = SharedArray::<f32, _>::new((0, 7), &alone()).unwrap();
        assert_eq!((array.view().shape(), array.is_empty()), (&[0, 7][..], true));
        array.set(Some(Array2::zeros((0, 3)).view()), (0, 4), 0).unwrap();
        let scalar = SharedArray::<f32, _>::new((), &alone()).unwrap();
        assert_eq!((scalar.len(), scalar[()]), (1, 0.0));
    }

    #[test]
    fn impossible_arrays() {
        assert!(SharedArray::<u64, _>::new((usize::MAX, 2), &alone()).is_err());
        assert!(SharedArray::<u64, _>::new(usize::MAX / 8, &alone()).is_err());
        let axes = SharedArray::<u64, _>::new(IxDyn(&[1; 9]), &alone()).unwrap_err();
        assert!(axes.to_string().contains("9 axes are more than 8"), "{axes}");
        let mut array = SharedArray::<u64, _>::new(IxDyn(&[2, 2]), &alone()).unwrap();
        let error = array.set(Some(ArrayD::zeros(IxDyn(&[2])).view()), IxDyn(&[0, 0]), 0).unwrap_err();
        assert!(error.to_string().contains("data of 1 axes at an offset of 2, for an array of 2"), "{error}");
    }

    #[test]
    fn ranks_make_the_same_array() {
        let kind = Kind::of::<f64>(&[2, 3]);
        assert_eq!(check_kinds(&[kind, kind]), Ok(()));
        let text = |other| check_kinds(&[kind, kind, other]).unwrap_err().to_string();
        assert!(text(Kind::of::<f64>(&[2, 4])).contains("of shape [2, 3], rank 2 of shape [2, 4]"));
        assert!(text(Kind::of::<i64>(&[2, 3])).contains("other elements than rank 2"));
    }
}
