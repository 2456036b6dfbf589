#![allow(unsafe_code)] // calls of a C library; what it reads and writes later is kept alive by the operations
//! Groups of processes, and the messages between them.

use super::operation::{Memory, Operation, Part};
use super::{MpiError, check, number};
use bytes::Bytes;
use mpi::ffi;
use mpi::raw::AsRaw;
use std::ffi::c_int;
use std::mem::MaybeUninit;

/// Communicators of the crate `mpi`, as programs have them.
pub trait AnyCommunicator: AsRaw<Raw = ffi::MPI_Comm> {}

impl<C: AsRaw<Raw = ffi::MPI_Comm>> AnyCommunicator for C {}

/// A group of processes that talk to each other.
#[derive(Debug)]
pub struct Communicator {
    pub(super) raw: ffi::MPI_Comm,
}

// SAFETY: MPI was initialised so that threads may take turns; the methods that talk take `&self` of a value that is not
// `Sync`, so they do.
unsafe impl Send for Communicator {}

impl Communicator {
    /// Takes over a communicator; its errors are returned from now on.
    pub(super) fn new(raw: ffi::MPI_Comm) -> Self {
        // SAFETY: the communicator is there.
        unsafe { ffi::MPI_Comm_set_errhandler(raw, ffi::RSMPI_ERRORS_RETURN) };
        Communicator { raw }
    }

    /// The ranks of another communicator, apart from other uses of it, with this one as the first; none if there is no such
    /// rank. All of them call this.
    pub(crate) fn from_first<C: AnyCommunicator>(other: &C, first: usize) -> Result<Option<Self>, MpiError> {
        // SAFETY: MPI is initialised, and whoever has the value has a communicator.
        unsafe {
            let raw = other.as_raw();
            let (mut rank, mut size) = (0, 0);
            check(ffi::MPI_Comm_rank(raw, &mut rank))?;
            check(ffi::MPI_Comm_size(raw, &mut size))?;
            let Some(first) = c_int::try_from(first).ok().filter(|first| *first < size) else {
                return Ok(None);
            };
            let mut new = ffi::RSMPI_COMM_NULL;
            check(ffi::MPI_Comm_split(raw, 0, (rank - first).rem_euclid(size), &mut new))?;
            Ok(Some(Communicator::new(new)))
        }
    }

    /// This process's place in the group.
    pub fn rank(&self) -> usize {
        let mut rank = 0;
        // SAFETY: the communicator is there.
        unsafe { ffi::MPI_Comm_rank(self.raw, &mut rank) };
        usize::try_from(rank).unwrap_or(0)
    }

    /// How many there are.
    pub fn size(&self) -> usize {
        let mut size = 0;
        // SAFETY: the communicator is there.
        unsafe { ffi::MPI_Comm_size(self.raw, &mut size) };
        usize::try_from(size).unwrap_or(0)
    }

    /// Both sides of a communicator with those that this process has started, or was started by, as one group.
    pub(crate) fn merge(&self, was_started: bool) -> Result<Communicator, MpiError> {
        // SAFETY: the communicator is there.
        unsafe {
            let mut raw = ffi::RSMPI_COMM_NULL;
            check(ffi::MPI_Intercomm_merge(self.raw, was_started.into(), &mut raw))?;
            Ok(Communicator::new(raw))
        }
    }

    /// Those of the group that name the same `color`, in the order of their keys; no group for those that name none.
    ///
    /// # Errors
    ///
    /// MPI refuses.
    pub fn split(&self, color: Option<usize>, key: usize) -> Result<Option<Communicator>, MpiError> {
        // SAFETY: the communicator is there; the constants are C's.
        unsafe {
            let color = color.map_or(Ok(ffi::RSMPI_UNDEFINED), number)?;
            let mut raw = ffi::RSMPI_COMM_NULL;
            check(ffi::MPI_Comm_split(self.raw, color, number(key)?, &mut raw))?;
            Ok((raw != ffi::RSMPI_COMM_NULL).then(|| Communicator::new(raw)))
        }
    }

    /// Those of the group that share memory with this process.
    ///
    /// # Errors
    ///
    /// MPI refuses.
    pub fn split_by_host(&self) -> Result<Communicator, MpiError> {
        // SAFETY: see `split`.
        unsafe {
            let mut raw = ffi::RSMPI_COMM_NULL;
            let (shared, no) = (ffi::RSMPI_COMM_TYPE_SHARED, ffi::RSMPI_INFO_NULL);
            check(ffi::MPI_Comm_split_type(self.raw, shared, 0, no, &mut raw))?;
            Ok(Communicator::new(raw))
        }
    }

    /// What each of the group says, by rank.
    ///
    /// # Errors
    ///
    /// MPI fails, or all that is said is more than 2 GiB.
    pub fn all_gather(&self, said: &[u8]) -> Result<Vec<Vec<u8>>, MpiError> {
        let own = number(said.len())?;
        let mut lengths = vec![0_i32; self.size()];
        // SAFETY: one integer goes out, and there is room for one of each rank.
        let code = unsafe {
            let (one, to, kind) = ((&raw const own).cast(), lengths.as_mut_ptr().cast(), ffi::RSMPI_INT32_T);
            ffi::MPI_Allgather(one, 1, kind, to, 1, kind, self.raw)
        };
        check(code)?;
        let mut total = 0_i32;
        let mut starts = Vec::with_capacity(lengths.len());
        for len in &lengths {
            starts.push(total);
            let sum = total.checked_add(*len).filter(|_| *len >= 0);
            total = sum.ok_or_else(|| MpiError("more than 2 GiB cannot be exchanged".into()))?;
        }
        let mut all = vec![0_u8; usize::try_from(total).unwrap_or(0) + 1]; // some MPIs refuse to receive to nowhere
        // SAFETY: there is room for what each rank has said it sends, one behind the other.
        let code = unsafe {
            ffi::MPI_Allgatherv(
                said.as_ptr().cast(),
                own,
                ffi::RSMPI_UINT8_T,
                all.as_mut_ptr().cast(),
                lengths.as_ptr(),
                starts.as_ptr(),
                ffi::RSMPI_UINT8_T,
                self.raw,
            )
        };
        check(code)?;
        let mut rest = all.as_slice();
        let mut said = Vec::with_capacity(lengths.len());
        for len in lengths {
            let (one, others) = rest.split_at(usize::try_from(len).unwrap_or(0));
            said.push(one.to_vec());
            rest = others;
        }
        Ok(said)
    }

    /// Frees the communicator: nothing is under way in it, and the whole group frees it. It is for nothing afterwards.
    pub fn free(&mut self) {
        // SAFETY: it is there; MPI makes it the null communicator, for which any call is an error.
        unsafe { ffi::MPI_Comm_free(&mut self.raw) };
    }

    /// Begins to send a message.
    pub(crate) fn send(&self, to: usize, tag: c_int, message: Vec<u8>) -> Result<Operation, MpiError> {
        let (start, len) = (message.as_ptr(), message.len());
        self.begin_send(to, tag, start, len, Memory::Message(message))
    }

    /// Begins to send a part of some memory.
    pub(crate) fn send_bytes(&self, to: usize, tag: c_int, part: Bytes) -> Result<Operation, MpiError> {
        let (start, len) = (part.as_ptr(), part.len());
        self.begin_send(to, tag, start, len, Memory::Part { _part: part })
    }

    fn begin_send(
        &self,
        to: usize,
        tag: c_int,
        start: *const u8,
        len: usize,
        memory: Memory,
    ) -> Result<Operation, MpiError> {
        let (to, len) = (number(to)?, number(len)?);
        // SAFETY: the bytes are in `memory`, at an address that does not change when that is moved, and the operation
        // keeps it until MPI has done with it.
        unsafe {
            let mut request = ffi::RSMPI_REQUEST_NULL;
            check(ffi::MPI_Isend(start.cast(), len, ffi::RSMPI_UINT8_T, to, tag, self.raw, &mut request))?;
            Ok(Operation::new(request, memory))
        }
    }

    /// Begins to receive into a part of memory.
    pub(crate) fn receive_into(&self, from: usize, tag: c_int, part: Part) -> Result<Operation, MpiError> {
        let (from, len) = (number(from)?, number(part.len)?);
        // SAFETY: the part is inside of its target, which the operation keeps until MPI has done with it, and nobody
        // else has the same part.
        unsafe {
            let mut request = ffi::RSMPI_REQUEST_NULL;
            let to = part.target.start.add(part.start).cast();
            check(ffi::MPI_Irecv(to, len, ffi::RSMPI_UINT8_T, from, tag, self.raw, &mut request))?;
            Ok(Operation::new(request, Memory::Filled { _part: part }))
        }
    }

    /// Begins to receive the next message, if there is one; `buffer` gives memory of at least the length.
    pub(crate) fn receive(
        &self,
        from: usize,
        tag: c_int,
        buffer: impl FnOnce(usize) -> Vec<u8>,
    ) -> Result<Option<Operation>, MpiError> {
        let from = number(from)?;
        let (mut found, mut status) = (0, MaybeUninit::<ffi::MPI_Status>::uninit());
        // SAFETY: the message that was found is received by nobody else; the buffer has room for it, and the operation
        // keeps it until MPI has done with it. The status is read where MPI has written it.
        unsafe {
            let mut message = ffi::RSMPI_MESSAGE_NULL;
            check(ffi::MPI_Improbe(from, tag, self.raw, &mut found, &mut message, status.as_mut_ptr()))?;
            if found == 0 {
                return Ok(None);
            }
            let mut len = 0;
            check(ffi::MPI_Get_count(status.as_ptr(), ffi::RSMPI_UINT8_T, &mut len))?;
            let size = usize::try_from(len).map_err(|_| MpiError("a message has no length".into()))?;
            let mut bytes = buffer(size);
            bytes.clear();
            bytes.reserve(size);
            let mut request = ffi::RSMPI_REQUEST_NULL;
            let to = bytes.as_mut_ptr().cast();
            check(ffi::MPI_Imrecv(to, len, ffi::RSMPI_UINT8_T, &mut message, &mut request))?;
            Ok(Some(Operation::new(request, Memory::Arriving(bytes, size))))
        }
    }
}

/// Messages by MPI's own waiting calls, for the benchmarks to compare with.
#[cfg(feature = "bench")]
impl Communicator {
    pub(crate) fn send_and_wait(&self, to: usize, bytes: &[u8]) -> Result<(), MpiError> {
        let (to, len) = (number(to)?, number(bytes.len())?);
        // SAFETY: the bytes live until the call returns.
        check(unsafe { ffi::MPI_Send(bytes.as_ptr().cast(), len, ffi::RSMPI_UINT8_T, to, 0, self.raw) })
    }

    pub(crate) fn wait_and_receive(&self, from: usize, bytes: &mut [u8]) -> Result<(), MpiError> {
        let (from, len) = (number(from)?, number(bytes.len())?);
        // SAFETY: the bytes live until the call returns, and the status is not wanted.
        check(unsafe {
            let (to, kind, status) =
                (bytes.as_mut_ptr().cast(), ffi::RSMPI_UINT8_T, ffi::RSMPI_STATUS_IGNORE);
            ffi::MPI_Recv(to, len, kind, from, 0, self.raw, status)
        })
    }
}
