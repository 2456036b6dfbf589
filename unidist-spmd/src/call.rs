//! The record that a rank exchanges when it enters a collective function.

use crate::deferred_free::MAX_REPORTED;
use crate::host_exchange::RECORD;
use crate::{Error, Result};
use bytemuck::{Pod, Zeroable};
use std::fmt;

/// The collective functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
#[cfg_attr(not(feature = "mpi"), allow(dead_code, reason = "some exist only with MPI"))]
pub(crate) enum CallKind {
    Barrier = 1,
    AllGather,
    Split,
    NewArray,
    SharedMemory,
    Set,
    Assign,
    SetEach,
    NewLock,
    FreeLock,
    NewCells,
    FreeCells,
    NewBatch,
    Guard,
    ToMpi,
}

const NAMES: [(CallKind, &str); 15] = [
    (CallKind::Barrier, "Communicator::barrier"),
    (CallKind::AllGather, "Communicator::all_gather"),
    (CallKind::Split, "Communicator::split"),
    (CallKind::NewArray, "SharedArray::new"),
    (CallKind::SharedMemory, "the allocation of shared memory"),
    (CallKind::Set, "SharedArray::set"),
    (CallKind::Assign, "SharedArray::assign"),
    (CallKind::SetEach, "SharedArray::set_each"),
    (CallKind::NewLock, "Lock::new"),
    (CallKind::FreeLock, "Lock::close"),
    (CallKind::NewCells, "the creation of a Batch or a Lock"),
    (CallKind::FreeCells, "the end of a Batch or a Lock"),
    (CallKind::NewBatch, "BatchBuilder::build"),
    (CallKind::Guard, "the end of exception_guard"),
    (CallKind::ToMpi, "Communicator::to_mpi"),
];

/// The name of the function with this number.
fn name(kind: u32) -> &'static str {
    NAMES.iter().find(|(known, _)| *known as u32 == kind).map_or("an unknown function", |(_, name)| name)
}

impl fmt::Display for CallKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(name(*self as u32))
    }
}

/// The maximal length of the arguments in bytes.
pub(crate) const MAX_PAYLOAD: usize = RECORD - 16 - size_of::<[u32; MAX_REPORTED]>();

/// The record of one rank.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct Call {
    kind: u32,
    /// The array, lock or batch of the communicator; 0 for the communicator itself.
    object: u32,
    /// The length of the arguments in bytes.
    len: u32,
    _unused: u32,
    /// Locks and batches that the rank has dropped and that are not freed yet.
    dropped: [u32; MAX_REPORTED],
    payload: [u8; MAX_PAYLOAD],
}

impl Call {
    /// A call of a function of an object. The arguments have at most [`MAX_PAYLOAD`] bytes.
    pub(crate) fn new<P: Pod>(kind: CallKind, object: u32, payload: &P) -> Self {
        const { assert!(size_of::<P>() <= MAX_PAYLOAD) }
        let bytes = bytemuck::bytes_of(payload);
        let mut call = Call { kind: kind as u32, object, len: bytes.len() as u32, ..Call::zeroed() };
        call.payload[..bytes.len()].copy_from_slice(bytes);
        call
    }

    pub(crate) fn with_dropped(self, dropped: [u32; MAX_REPORTED]) -> Self {
        Call { dropped, ..self }
    }

    pub(crate) fn dropped(&self) -> [u32; MAX_REPORTED] {
        self.dropped
    }

    pub(crate) fn bytes(&self) -> &[u8; RECORD] {
        bytemuck::cast_ref(self)
    }

    pub(crate) fn from_bytes(bytes: [u8; RECORD]) -> Self {
        bytemuck::cast(bytes)
    }

    pub(crate) fn is(&self, kind: CallKind) -> bool {
        self.kind == kind as u32
    }

    pub(crate) fn object(&self) -> u32 {
        self.object
    }

    /// The arguments.
    pub(crate) fn payload<P: Pod>(&self) -> P {
        const { assert!(size_of::<P>() <= MAX_PAYLOAD) }
        bytemuck::pod_read_unaligned(&self.payload[..size_of::<P>()])
    }
}

/// Checks that all ranks call the same function of the same object.
///
/// # Errors
///
/// Names the first rank that differs from rank 0; the same on all ranks.
pub(crate) fn check_all_equal(calls: &[Call]) -> Result<()> {
    let Some(first) = calls.first() else { return Ok(()) };
    let same = |call: &Call| (call.kind, call.object, call.len) == (first.kind, first.object, first.len);
    let Some((rank, other)) = calls.iter().enumerate().find(|(_, call)| !same(call)) else { return Ok(()) };
    let (one, two) = (name(first.kind), name(other.kind));
    let message = match first.kind == other.kind {
        false => format!("rank 0 calls {one}, rank {rank} calls {two}"),
        true if first.object != other.object => format!(
            "rank 0 calls {one} of object {} of this communicator, rank {rank} of object {}: all ranks create and use arrays, \
             locks and batches in the same order",
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
    fn call_survives_its_bytes() {
        let call = Call::new(CallKind::Set, 3, &[1.5_f64, 2.5]);
        let read = Call::from_bytes(*call.bytes());
        assert!(read.is(CallKind::Set) && !read.is(CallKind::Assign));
        assert_eq!(read.payload::<[f64; 2]>(), [1.5, 2.5]);
    }

    #[test]
    fn mismatch_names_both_calls() {
        let set = |object| Call::new(CallKind::Set, object, &0_u64);
        let text = |calls: &[Call]| check_all_equal(calls).unwrap_err().to_string();
        assert_eq!(check_all_equal(&[set(1), set(1)]), Ok(()));
        let other = text(&[set(1), set(1), Call::new(CallKind::Barrier, 0, &())]);
        assert!(
            other.contains("rank 0 calls SharedArray::set, rank 2 calls Communicator::barrier"),
            "{other}"
        );
        assert!(text(&[set(1), set(12)]).contains("of object 1 of this communicator, rank 1 of object 12"));
        assert!(text(&[set(1), Call::new(CallKind::Set, 1, &0_u8)]).contains("8 bytes, rank 1 of 1"));
    }

    #[test]
    fn every_call_kind_has_a_name() {
        for (place, (kind, text)) in NAMES.iter().enumerate() {
            assert_eq!((*kind as usize, kind.to_string().as_str()), (place + 1, *text));
        }
    }
}
