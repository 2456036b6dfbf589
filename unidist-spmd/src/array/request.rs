//! What ranks request when they set parts of an array. All ranks check the same requests, and find the same errors.

use super::block::{Block, overlap};
use crate::call::{Call, CallKind};
use crate::{Error, Result};
use bytemuck::{Pod, Zeroable};

/// The maximal number of axes.
pub(super) const MAX_AXES: usize = 8;

/// The request of one rank.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub(super) struct Request {
    /// The rank that provides the data, according to this one.
    source: u64,
    has_data: u32,
    axes: u16,
    offset_axes: u16,
    /// The number of elements that this rank provides.
    elements: u64,
    offset: [u64; MAX_AXES],
    extent: [u64; MAX_AXES],
}

impl Request {
    /// This rank provides data for the part of this extent at this offset.
    pub(super) fn new(source: usize, offset: &[usize], extent: &[usize], elements: usize) -> Self {
        let mut request = Request {
            has_data: 1,
            axes: u16::try_from(extent.len()).unwrap_or(u16::MAX),
            offset_axes: u16::try_from(offset.len()).unwrap_or(u16::MAX),
            elements: elements as u64,
            ..Request::without_data(source)
        };
        copy(&mut request.offset, offset);
        copy(&mut request.extent, extent);
        request
    }

    /// This rank provides no data.
    pub(super) fn without_data(source: usize) -> Self {
        Request { source: source as u64, ..Request::zeroed() }
    }

    /// The offset and extent.
    fn part(&self) -> (Vec<usize>, Vec<usize>) {
        let axes = (self.axes as usize).min(MAX_AXES);
        let numbers = |all: &[u64; MAX_AXES]| all[..axes].iter().map(|one| *one as usize).collect();
        (numbers(&self.offset), numbers(&self.extent))
    }
}

fn copy(to: &mut [u64; MAX_AXES], from: &[usize]) {
    to.iter_mut().zip(from).for_each(|(to, from)| *to = *from as u64);
}

/// A part of the array, and the rank that provides its data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Update {
    pub(super) source: usize,
    pub(super) block: Block,
}

/// The requests of all ranks.
pub(super) struct Requests<'a> {
    pub(super) kind: CallKind,
    pub(super) calls: &'a [Call],
    pub(super) shape: &'a [usize],
    /// The size of an element in bytes.
    pub(super) size: usize,
}

impl Requests<'_> {
    fn error(&self, message: String) -> Error {
        Error::argument(&self.kind.to_string(), message)
    }

    fn all(&self) -> impl Iterator<Item = (usize, Request)> {
        self.calls.iter().map(Call::payload).enumerate()
    }

    /// The ranks that provide data.
    fn sources(&self) -> Vec<usize> {
        self.all().filter(|(_, request)| request.has_data != 0).map(|(rank, _)| rank).collect()
    }

    fn update(&self, source: usize) -> Result<Update> {
        let request = self.calls[source].payload::<Request>();
        let (axes, wanted) = ((request.axes, request.offset_axes), self.shape.len());
        if [axes.0, axes.1] != [wanted as u16; 2] {
            let given = format!("data of {} axes at an offset of {}", axes.0, axes.1);
            return Err(self.error(format!("rank {source} passes {given}, for an array of {wanted}")));
        }
        let (offset, extent) = request.part();
        let block = Block::new(self.shape, &offset, &extent, self.size).map_err(|out_of_bounds| {
            let axis = out_of_bounds.axis;
            let (offset, extent) = (offset[axis], extent[axis]);
            let (first, len) = (format!("rank {source} passes {extent} elements"), self.shape[axis]);
            self.error(format!("{first} from {offset} on along axis {axis}, where the array has {len}"))
        })?;
        // It is inside the array, so the product does not overflow.
        let elements = extent.iter().product::<usize>();
        if request.elements != elements as u64 {
            let given = request.elements;
            return Err(self.error(format!("rank {source} passes {given} elements for a part of {elements}")));
        }
        Ok(Update { source, block })
    }

    /// The data of the rank that all ranks name.
    pub(super) fn update_of_named_rank(&self) -> Result<Update> {
        let named = self.calls.first().map_or(0, |call| call.payload::<Request>().source);
        if let Some((rank, other)) = self.all().find(|(_, request)| request.source != named) {
            let message = format!(
                "rank 0 takes the data of rank {named}, rank {rank} that of rank {}: all ranks must name the same one",
                other.source
            );
            return Err(self.error(message));
        }
        let source = usize::try_from(named).ok().filter(|source| *source < self.calls.len());
        let Some(source) = source else {
            let ranks = self.calls.len();
            return Err(
                self.error(format!("there is no rank {named} to take data from: there are {ranks} ranks"))
            );
        };
        if self.calls[source].payload::<Request>().has_data == 0 {
            return Err(self.error(format!("rank {source} must pass the data, and passes None")));
        }
        self.update(source)
    }

    /// The data of the only rank that provides some.
    pub(super) fn update_of_single_rank(&self) -> Result<Update> {
        match self.sources()[..] {
            [source] => self.update(source),
            [] => Err(self.error("no rank passes data: exactly one must".to_owned())),
            [one, other, ..] => Err(self.error(format!(
                "ranks {one} and {other} both pass data: exactly one may, all others pass None"
            ))),
        }
    }

    /// The data of each rank that provides some.
    pub(super) fn updates_of_all_sources(&self) -> Result<Vec<Update>> {
        let sources = self.sources();
        let updates = sources.iter().map(|source| self.update(*source)).collect::<Result<Vec<_>>>()?;
        // Sorted by where they begin, a part can overlap only parts that begin before it ends.
        let mut parts: Vec<_> =
            sources.iter().map(|rank| (*rank, self.calls[*rank].payload::<Request>().part())).collect();
        parts.sort_by_key(|(_, (offset, _))| offset.first().copied());
        for (place, (rank, (offset, extent))) in parts.iter().enumerate() {
            let end =
                offset.first().zip(extent.first()).map_or(usize::MAX, |(offset, extent)| offset + extent);
            let later = parts[place + 1..].iter();
            let near = later.take_while(|(_, (offset, _))| offset.first().is_none_or(|start| *start < end));
            for (other, (other_offset, other_extent)) in near {
                if overlap((offset, extent), (other_offset, other_extent)) {
                    let (one, two) = (rank.min(other), rank.max(other));
                    return Err(self.error(format!("ranks {one} and {two} pass data for the same elements")));
                }
            }
        }
        Ok(updates)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calls(requests: &[Request]) -> Vec<Call> {
        requests.iter().map(|request| Call::new(CallKind::Set, 1, request)).collect()
    }

    fn requests(calls: &[Call]) -> Requests<'_> {
        Requests { kind: CallKind::Set, calls, shape: &[3, 5], size: 8 }
    }

    fn given(source: usize, offset: [usize; 2], extent: [usize; 2]) -> Request {
        Request::new(source, &offset, &extent, extent.iter().product())
    }

    fn none(source: usize) -> Request {
        Request::without_data(source)
    }

    fn refused<T: std::fmt::Debug>(outcome: Result<T>, word: &str) {
        let text = outcome.unwrap_err().to_string();
        assert!(text.starts_with("SharedArray::set: ") && text.contains(word), "{text}");
    }

    #[test]
    fn named_rank_provides_the_data() {
        let all = calls(&[none(1), given(1, [1, 1], [2, 3])]);
        let update = requests(&all).update_of_named_rank().unwrap();
        assert_eq!((update.source, update.block.len()), (1, 48));
        refused(
            requests(&calls(&[none(1), given(0, [1, 1], [2, 3])])).update_of_named_rank(),
            "rank 1 that of rank 0",
        );
        refused(
            requests(&calls(&[none(1), none(1)])).update_of_named_rank(),
            "rank 1 must pass the data, and passes None",
        );
        refused(requests(&calls(&[none(2), none(2)])).update_of_named_rank(), "there is no rank 2");
        refused(
            requests(&calls(&[given(0, [1, 3], [2, 3])])).update_of_named_rank(),
            "3 elements from 3 on along axis 1",
        );
    }

    #[test]
    fn single_rank_provides_the_data() {
        assert_eq!(
            requests(&calls(&[none(0), given(0, [0, 0], [1, 1])])).update_of_single_rank().unwrap().source,
            1
        );
        refused(requests(&calls(&[none(0), none(0)])).update_of_single_rank(), "no rank passes data");
        let both = calls(&[given(0, [0, 0], [1, 1]), none(0), given(0, [0, 0], [1, 1])]);
        refused(requests(&both).update_of_single_rank(), "ranks 0 and 2 both");
    }

    #[test]
    fn each_rank_provides_its_own_part() {
        let apart = calls(&[given(0, [2, 0], [1, 5]), none(0), given(0, [0, 0], [2, 5])]);
        let sources: Vec<_> =
            requests(&apart).updates_of_all_sources().unwrap().iter().map(|update| update.source).collect();
        assert_eq!(sources, [0, 2]);
        let meeting = calls(&[given(0, [1, 0], [2, 5]), none(0), given(0, [0, 0], [2, 1])]);
        refused(requests(&meeting).updates_of_all_sources(), "ranks 0 and 2 pass data for the same");
        refused(
            requests(&calls(&[given(0, [0, 0], [4, 1])])).updates_of_all_sources(),
            "where the array has 3",
        );
        assert_eq!(requests(&calls(&[none(0)])).updates_of_all_sources(), Ok(Vec::new()));
    }
}
