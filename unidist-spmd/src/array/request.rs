//! CallKind ranks ask for when they set parts of an array, and whether it is possible: all find the same.

use super::block::{Block, overlap};
use crate::call::{Call, CallKind};
use crate::{Error, Result};
use bytemuck::{Pod, Zeroable};

/// An array has at most so many dimensions.
pub(super) const MAX_AXES: usize = 8;

/// CallKind a rank says.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub(super) struct Request {
    /// The rank that is to give the data, as this one thinks.
    source: u64,
    gives: u32,
    axes: u16,
    /// Of the offset, which has as many.
    offset_axes: u16,
    offset: [u64; MAX_AXES],
    extent: [u64; MAX_AXES],
}

impl Request {
    /// `data` is the extent of what this rank gives.
    pub(super) fn new(source: usize, offset: &[usize], data: Option<&[usize]>) -> Self {
        let mut request = Request { source: source as u64, ..Request::zeroed() };
        if let Some(extent) = data {
            (request.gives, request.axes) = (1, extent.len() as u16);
            request.offset_axes = offset.len() as u16;
            copy(&mut request.offset, offset);
            copy(&mut request.extent, extent);
        }
        request
    }

    fn part(&self) -> (Vec<usize>, Vec<usize>) {
        let axes = (self.axes as usize).min(MAX_AXES);
        let numbers = |all: &[u64; MAX_AXES]| all[..axes].iter().map(|one| *one as usize).collect();
        (numbers(&self.offset), numbers(&self.extent))
    }
}

fn copy(to: &mut [u64; MAX_AXES], from: &[usize]) {
    to.iter_mut().zip(from).for_each(|(to, from)| *to = *from as u64);
}

/// A part of the array, and the rank that has what is to come there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Update {
    pub(super) source: usize,
    pub(super) block: Block,
}

/// CallKind all ranks have asked for.
pub(super) struct Requests<'a> {
    pub(super) what: CallKind,
    pub(super) calls: &'a [Call],
    pub(super) shape: &'a [usize],
    /// Of an element, in bytes.
    pub(super) size: usize,
}

impl Requests<'_> {
    fn refuse(&self, message: String) -> Error {
        Error::argument(&self.what.to_string(), message)
    }

    fn all(&self) -> impl Iterator<Item = (usize, Request)> {
        self.calls.iter().map(Call::payload).enumerate()
    }

    fn givers(&self) -> Vec<usize> {
        self.all().filter(|(_, request)| request.gives != 0).map(|(rank, _)| rank).collect()
    }

    fn update(&self, source: usize) -> Result<Update> {
        let request = self.calls[source].payload::<Request>();
        let (axes, wanted) = ((request.axes, request.offset_axes), self.shape.len());
        if [axes.0, axes.1] != [wanted as u16; 2] {
            let given = format!("data of {} axes at an offset of {}", axes.0, axes.1);
            return Err(self.refuse(format!("rank {source} gives {given}, for an array of {wanted}")));
        }
        let (offset, extent) = request.part();
        let block = Block::new(self.shape, &offset, &extent, self.size).map_err(|outside| {
            let axis = outside.axis;
            let (offset, extent) = (offset[axis], extent[axis]);
            let (first, len) = (format!("rank {source} gives {extent} elements"), self.shape[axis]);
            self.refuse(format!("{first} from {offset} on along axis {axis}, where the array has {len}"))
        })?;
        Ok(Update { source, block })
    }

    /// The data of the rank that all name.
    pub(super) fn of_named(&self) -> Result<Update> {
        let named = self.calls.first().map_or(0, |call| call.payload::<Request>().source);
        if let Some((rank, other)) = self.all().find(|(_, request)| request.source != named) {
            let message = format!(
                "rank 0 says that rank {named} gives the data, rank {rank} that {} does",
                other.source
            );
            return Err(self.refuse(message));
        }
        let source = usize::try_from(named).ok().filter(|source| *source < self.calls.len());
        let Some(source) = source else {
            let ranks = self.calls.len();
            return Err(self.refuse(format!("there is no rank {named} to give the data: there are {ranks}")));
        };
        if self.calls[source].payload::<Request>().gives == 0 {
            return Err(self.refuse(format!("rank {source} is to give the data, and gives none")));
        }
        self.update(source)
    }

    /// The data of the one rank that gives some.
    pub(super) fn of_one(&self) -> Result<Update> {
        match self.givers()[..] {
            [source] => self.update(source),
            [] => Err(self.refuse("no rank gives data: one has to".to_owned())),
            [one, other, ..] => {
                Err(self
                    .refuse(format!("ranks {one} and {other} both give data: one may, all others pass None")))
            }
        }
    }

    /// The data of each rank that gives some.
    pub(super) fn of_each(&self) -> Result<Vec<Update>> {
        let givers = self.givers();
        let updates = givers.iter().map(|source| self.update(*source)).collect::<Result<Vec<_>>>()?;
        // By where they begin, a part meets only such as begin before it ends.
        let mut parts: Vec<_> =
            givers.iter().map(|rank| (*rank, self.calls[*rank].payload::<Request>().part())).collect();
        parts.sort_by_key(|(_, (offset, _))| offset.first().copied());
        for (place, (rank, (offset, extent))) in parts.iter().enumerate() {
            let end =
                offset.first().zip(extent.first()).map_or(usize::MAX, |(offset, extent)| offset + extent);
            let later = parts[place + 1..].iter();
            let near = later.take_while(|(_, (offset, _))| offset.first().is_none_or(|start| *start < end));
            for (other, (other_offset, other_extent)) in near {
                if overlap((offset, extent), (other_offset, other_extent)) {
                    let (one, two) = (rank.min(other), rank.max(other));
                    return Err(self.refuse(format!("ranks {one} and {two} give data for the same elements")));
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
        Requests { what: CallKind::Set, calls, shape: &[3, 5], size: 8 }
    }

    fn given(source: usize, offset: [usize; 2], extent: [usize; 2]) -> Request {
        Request::new(source, &offset, Some(&extent))
    }

    fn none(source: usize) -> Request {
        Request::new(source, &[0, 0], None)
    }

    fn refused<T: std::fmt::Debug>(outcome: Result<T>, word: &str) {
        let text = outcome.unwrap_err().to_string();
        assert!(text.starts_with("SharedArray::set: ") && text.contains(word), "{text}");
    }

    #[test]
    fn the_named_rank_gives() {
        let all = calls(&[none(1), given(1, [1, 1], [2, 3])]);
        let update = requests(&all).of_named().unwrap();
        assert_eq!((update.source, update.block.len()), (1, 48));
        refused(requests(&calls(&[none(1), given(0, [1, 1], [2, 3])])).of_named(), "rank 1 that 0 does");
        refused(
            requests(&calls(&[none(1), none(1)])).of_named(),
            "rank 1 is to give the data, and gives none",
        );
        refused(requests(&calls(&[none(2), none(2)])).of_named(), "there is no rank 2");
        refused(
            requests(&calls(&[given(0, [1, 3], [2, 3])])).of_named(),
            "3 elements from 3 on along axis 1",
        );
    }

    #[test]
    fn one_rank_gives() {
        assert_eq!(requests(&calls(&[none(0), given(0, [0, 0], [1, 1])])).of_one().unwrap().source, 1);
        refused(requests(&calls(&[none(0), none(0)])).of_one(), "no rank gives data");
        let both = calls(&[given(0, [0, 0], [1, 1]), none(0), given(0, [0, 0], [1, 1])]);
        refused(requests(&both).of_one(), "ranks 0 and 2 both");
    }

    #[test]
    fn each_rank_gives_elements_of_its_own() {
        let apart = calls(&[given(0, [2, 0], [1, 5]), none(0), given(0, [0, 0], [2, 5])]);
        let sources: Vec<_> =
            requests(&apart).of_each().unwrap().iter().map(|update| update.source).collect();
        assert_eq!(sources, [0, 2]);
        let meeting = calls(&[given(0, [1, 0], [2, 5]), none(0), given(0, [0, 0], [2, 1])]);
        refused(requests(&meeting).of_each(), "ranks 0 and 2 give data for the same");
        refused(requests(&calls(&[given(0, [0, 0], [4, 1])])).of_each(), "where the array has 3");
        assert_eq!(requests(&calls(&[none(0)])).of_each(), Ok(Vec::new()));
    }
}
