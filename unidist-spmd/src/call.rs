//! What a rank says when it enters a function that all ranks call together.

use crate::deferred_free::TOLD;
use crate::host_exchange::RECORD;
use crate::{Error, Result};
use bytemuck::{Pod, Zeroable};
use std::fmt;

/// The functions that all ranks call together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
#[cfg_attr(not(feature = "mpi"), allow(dead_code, reason = "some are of MPI's alone"))]
pub(crate) enum What {
    Barrier = 1,
    Gather,
    Split,
    NewArray,
    Memory,
    Set,
    Assign,
    SetEach,
    NewLock,
    DropLock,
    NewCells,
    DropCells,
    NewBatch,
    Guard,
    ToMpi,
}

const NAMES: [(What, &str); 15] = [
    (What::Barrier, "Communicator::barrier"),
    (What::Gather, "Communicator::all_gather"),
    (What::Split, "Communicator::split"),
    (What::NewArray, "SharedArray::new"),
    (What::Memory, "memory of a host"),
    (What::Set, "SharedArray::set"),
    (What::Assign, "SharedArray::assign"),
    (What::SetEach, "SharedArray::set_each"),
    (What::NewLock, "Lock::new"),
    (What::DropLock, "Lock::close"),
    (What::NewCells, "the beginning of a Batch or a Lock"),
    (What::DropCells, "the end of a Batch or a Lock"),
    (What::NewBatch, "BatchBuilder::build"),
    (What::Guard, "the end of exception_guard"),
    (What::ToMpi, "Communicator::to_mpi"),
];

/// The name of the function with this number.
fn name(what: u32) -> &'static str {
    NAMES.iter().find(|(known, _)| *known as u32 == what).map_or("something unknown", |(_, name)| name)
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(name(*self as u32))
    }
}

/// The length of what a function says beside its name, in bytes.
pub(crate) const PAYLOAD: usize = RECORD - 16 - size_of::<[u32; TOLD]>();

/// What one rank says.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct Call {
    what: u32,
    /// Of which array, lock or batch of the communicator; 0 for the communicator itself.
    object: u32,
    /// How many bytes of the payload are said.
    len: u32,
    _unused: u32,
    /// The locks and batches that it has dropped, as far as these are not freed.
    dropped: [u32; TOLD],
    payload: [u8; PAYLOAD],
}

impl Call {
    /// What a rank says that calls a function of an object. The payload has at most [`PAYLOAD`] bytes.
    pub(crate) fn new<P: Pod>(what: What, object: u32, payload: &P) -> Self {
        const { assert!(size_of::<P>() <= PAYLOAD) }
        let bytes = bytemuck::bytes_of(payload);
        let mut call = Call { what: what as u32, object, len: bytes.len() as u32, ..Call::zeroed() };
        call.payload[..bytes.len()].copy_from_slice(bytes);
        call
    }

    pub(crate) fn with_dropped(self, dropped: [u32; TOLD]) -> Self {
        Call { dropped, ..self }
    }

    pub(crate) fn dropped(&self) -> [u32; TOLD] {
        self.dropped
    }

    pub(crate) fn bytes(&self) -> &[u8; RECORD] {
        bytemuck::cast_ref(self)
    }

    pub(crate) fn of(bytes: [u8; RECORD]) -> Self {
        bytemuck::cast(bytes)
    }

    pub(crate) fn is(&self, what: What) -> bool {
        self.what == what as u32
    }

    pub(crate) fn object(&self) -> u32 {
        self.object
    }

    /// What it says beside its name.
    pub(crate) fn payload<P: Pod>(&self) -> P {
        const { assert!(size_of::<P>() <= PAYLOAD) }
        bytemuck::pod_read_unaligned(&self.payload[..size_of::<P>()])
    }
}

/// Whether all ranks have called the same.
///
/// # Errors
///
/// Which rank has called something else than the first one; the same on all of them.
pub(crate) fn check_all_the_same(calls: &[Call]) -> Result<()> {
    let Some(first) = calls.first() else { return Ok(()) };
    let same = |call: &Call| (call.what, call.object, call.len) == (first.what, first.object, first.len);
    let Some((rank, other)) = calls.iter().enumerate().find(|(_, call)| !same(call)) else { return Ok(()) };
    let (one, two) = (name(first.what), name(other.what));
    let message = match first.what == other.what {
        false => format!("rank 0 calls {one}, rank {rank} calls {two}"),
        true if first.object != other.object => format!(
            "rank 0 calls {one} of number {} of what was made on this communicator, rank {rank} of number {}",
            first.object, other.object
        ),
        true => {
            format!("rank 0 calls {one} with values of {} bytes, rank {rank} of {}", first.len, other.len)
        }
    };
    Err(Error::Mismatch { message })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_read_as_it_was_said() {
        let call = Call::new(What::Set, 3, &[1.5_f64, 2.5]);
        let read = Call::of(*call.bytes());
        assert!(read.is(What::Set) && !read.is(What::Assign));
        assert_eq!(read.payload::<[f64; 2]>(), [1.5, 2.5]);
    }

    #[test]
    fn other_calls_are_named() {
        let set = |object| Call::new(What::Set, object, &0_u64);
        let text = |calls: &[Call]| check_all_the_same(calls).unwrap_err().to_string();
        assert_eq!(check_all_the_same(&[set(1), set(1)]), Ok(()));
        let other = text(&[set(1), set(1), Call::new(What::Barrier, 0, &())]);
        assert!(
            other.contains("rank 0 calls SharedArray::set, rank 2 calls Communicator::barrier"),
            "{other}"
        );
        assert!(
            text(&[set(1), set(12)])
                .contains("of number 1 of what was made on this communicator, rank 1 of number 12")
        );
        assert!(text(&[set(1), Call::new(What::Set, 1, &0_u8)]).contains("8 bytes, rank 1 of 1"));
    }

    #[test]
    fn every_function_has_a_name() {
        for (place, (what, text)) in NAMES.iter().enumerate() {
            assert_eq!((*what as usize, what.to_string().as_str()), (place + 1, *text));
        }
    }
}
