#![allow(unsafe_code)] // calls of a C library; the operations own what it reads and writes later
//! Communicators, and the messages between their ranks.

use crate::operation::{BufferPart, Memory, Operation};
use crate::runtime::check;
use crate::{MpiError, to_c_int};
use bytes::Bytes;
use mpi::ffi;
use mpi::raw::AsRaw;
use std::ffi::c_int;
use std::mem::MaybeUninit;

/// A communicator of the crate `mpi`, as programs have it.
pub trait AnyCommunicator: AsRaw<Raw = ffi::MPI_Comm> {}

impl<C: AsRaw<Raw = ffi::MPI_Comm>> AnyCommunicator for C {}

/// A group of ranks that exchange messages.
#[derive(Debug)]
pub struct Communicator {
    pub(crate) raw: ffi::MPI_Comm,
}

// SAFETY: MPI is initialised at MPI_THREAD_SERIALIZED or more; the methods that communicate take `&self` of a value that is
// not `Sync`, which serialises the calls.
unsafe impl Send for Communicator {}

impl Communicator {
    /// Takes ownership of a communicator, and has MPI return its errors.
    pub(crate) fn new(raw: ffi::MPI_Comm) -> Self {
        // SAFETY: the communicator exists.
        unsafe { ffi::MPI_Comm_set_errhandler(raw, ffi::RSMPI_ERRORS_RETURN) };
        Communicator { raw }
    }

    /// The ranks of another communicator in a new context, rotated so that `root` becomes rank 0; `None` if there is no
    /// such rank. Collective.
    ///
    /// # Errors
    ///
    /// MPI fails.
    pub fn with_root_first<C: AnyCommunicator>(other: &C, root: usize) -> Result<Option<Self>, MpiError> {
        // SAFETY: MPI is initialised, and the caller has a communicator.
        unsafe {
            let raw = other.as_raw();
            let (mut rank, mut size) = (0, 0);
            check(ffi::MPI_Comm_rank(raw, &mut rank))?;
            check(ffi::MPI_Comm_size(raw, &mut size))?;
            let Some(root) = c_int::try_from(root).ok().filter(|root| *root < size) else {
                return Ok(None);
            };
            let mut new = ffi::RSMPI_COMM_NULL;
            check(ffi::MPI_Comm_split(raw, 0, (rank - root).rem_euclid(size), &mut new))?;
            Ok(Some(Communicator::new(new)))
        }
    }

    /// The number of this process in the group.
    pub fn rank(&self) -> usize {
        let mut rank = 0;
        // SAFETY: the communicator exists.
        unsafe { ffi::MPI_Comm_rank(self.raw, &mut rank) };
        usize::try_from(rank).unwrap_or(0)
    }

    /// The number of ranks.
    pub fn size(&self) -> usize {
        let mut size = 0;
        // SAFETY: the communicator exists.
        unsafe { ffi::MPI_Comm_size(self.raw, &mut size) };
        usize::try_from(size).unwrap_or(0)
    }

    /// Merges both sides of an intercommunicator into one group. Collective.
    ///
    /// # Errors
    ///
    /// MPI fails.
    pub fn merge(&self, was_spawned: bool) -> Result<Communicator, MpiError> {
        // SAFETY: the communicator exists.
        unsafe {
            let mut raw = ffi::RSMPI_COMM_NULL;
            check(ffi::MPI_Intercomm_merge(self.raw, was_spawned.into(), &mut raw))?;
            Ok(Communicator::new(raw))
        }
    }

    /// The ranks that pass the same `color`, ordered by their keys; `None` for a rank that passes no color. Collective.
    ///
    /// # Errors
    ///
    /// MPI fails.
    pub fn split(&self, color: Option<usize>, key: usize) -> Result<Option<Communicator>, MpiError> {
        // SAFETY: the communicator exists; the constants are C's.
        unsafe {
            let color = color.map_or(Ok(ffi::RSMPI_UNDEFINED), to_c_int)?;
            let mut raw = ffi::RSMPI_COMM_NULL;
            check(ffi::MPI_Comm_split(self.raw, color, to_c_int(key)?, &mut raw))?;
            Ok((raw != ffi::RSMPI_COMM_NULL).then(|| Communicator::new(raw)))
        }
    }

    /// The ranks that share memory with this process. Collective.
    ///
    /// # Errors
    ///
    /// MPI fails.
    pub fn split_by_host(&self) -> Result<Communicator, MpiError> {
        // SAFETY: see `split`.
        unsafe {
            let mut raw = ffi::RSMPI_COMM_NULL;
            let (shared, no_info) = (ffi::RSMPI_COMM_TYPE_SHARED, ffi::RSMPI_INFO_NULL);
            check(ffi::MPI_Comm_split_type(self.raw, shared, 0, no_info, &mut raw))?;
            Ok(Communicator::new(raw))
        }
    }

    /// Gathers bytes from every rank to every rank: one entry for each rank. Collective; lengths may differ.
    ///
    /// # Errors
    ///
    /// MPI fails, or all ranks together send more than 2 GiB.
    pub fn all_gather(&self, own: &[u8]) -> Result<Vec<Vec<u8>>, MpiError> {
        let own_len = to_c_int(own.len())?;
        let mut lengths = vec![0_i32; self.size()];
        // SAFETY: one integer is sent, and there is room for one of each rank.
        let code = unsafe {
            let (from, to, kind) =
                ((&raw const own_len).cast(), lengths.as_mut_ptr().cast(), ffi::RSMPI_INT32_T);
            ffi::MPI_Allgather(from, 1, kind, to, 1, kind, self.raw)
        };
        check(code)?;
        let mut total = 0_i32;
        let mut starts = Vec::with_capacity(lengths.len());
        for len in &lengths {
            starts.push(total);
            let sum = total.checked_add(*len).filter(|_| *len >= 0);
            total = sum.ok_or_else(|| MpiError("more than 2 GiB cannot be exchanged".into()))?;
        }
        let mut all = vec![0_u8; usize::try_from(total).unwrap_or(0) + 1]; // some MPIs refuse an empty receive buffer
        // SAFETY: there is room for what each rank announced, one behind the other.
        let code = unsafe {
            ffi::MPI_Allgatherv(
                own.as_ptr().cast(),
                own_len,
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
        let mut gathered = Vec::with_capacity(lengths.len());
        for len in lengths {
            let (one, others) = rest.split_at(usize::try_from(len).unwrap_or(0));
            gathered.push(one.to_vec());
            rest = others;
        }
        Ok(gathered)
    }

    /// Frees the communicator, which must not be used afterwards. No message may be pending in it. Collective.
    pub fn free(&mut self) {
        // SAFETY: it exists; MPI sets it to the null communicator, for which any call is an error.
        unsafe { ffi::MPI_Comm_free(&mut self.raw) };
    }

    /// Starts sending a message.
    ///
    /// # Errors
    ///
    /// MPI fails.
    pub fn send(&self, to: usize, tag: c_int, message: Vec<u8>) -> Result<Operation, MpiError> {
        let (start, len) = (message.as_ptr(), message.len());
        self.start_send(to, tag, start, len, Memory::SentMessage(message))
    }

    /// Starts sending bytes.
    ///
    /// # Errors
    ///
    /// MPI fails.
    pub fn send_bytes(&self, to: usize, tag: c_int, bytes: Bytes) -> Result<Operation, MpiError> {
        let (start, len) = (bytes.as_ptr(), bytes.len());
        self.start_send(to, tag, start, len, Memory::SentBytes { _bytes: bytes })
    }

    fn start_send(
        &self,
        to: usize,
        tag: c_int,
        start: *const u8,
        len: usize,
        memory: Memory,
    ) -> Result<Operation, MpiError> {
        let (to, len) = (to_c_int(to)?, to_c_int(len)?);
        // SAFETY: the bytes are in `memory`, at an address that does not change when that is moved, and the operation
        // keeps it until MPI no longer needs it.
        unsafe {
            let mut request = ffi::RSMPI_REQUEST_NULL;
            check(ffi::MPI_Isend(start.cast(), len, ffi::RSMPI_UINT8_T, to, tag, self.raw, &mut request))?;
            Ok(Operation::new(request, memory))
        }
    }

    /// Starts receiving into a part of a buffer.
    ///
    /// # Errors
    ///
    /// MPI fails.
    pub fn receive_into(&self, from: usize, tag: c_int, part: BufferPart) -> Result<Operation, MpiError> {
        let (from, len) = (to_c_int(from)?, to_c_int(part.len)?);
        // SAFETY: the part is inside its target, which the operation keeps until MPI no longer needs it, and no other part
        // overlaps it.
        unsafe {
            let mut request = ffi::RSMPI_REQUEST_NULL;
            let to = part.target.start.add(part.start).cast();
            check(ffi::MPI_Irecv(to, len, ffi::RSMPI_UINT8_T, from, tag, self.raw, &mut request))?;
            Ok(Operation::new(request, Memory::ReceivedPart { _part: part }))
        }
    }

    /// Starts receiving the next message if one has arrived. `buffer` returns memory of at least the given length.
    ///
    /// # Errors
    ///
    /// MPI fails.
    pub fn try_receive(
        &self,
        from: usize,
        tag: c_int,
        buffer: impl FnOnce(usize) -> Vec<u8>,
    ) -> Result<Option<Operation>, MpiError> {
        let from = to_c_int(from)?;
        let (mut found, mut status) = (0, MaybeUninit::<ffi::MPI_Status>::uninit());
        // SAFETY: a matched probe reserves the message for this receive; the buffer has room for it, and the operation keeps
        // it until MPI no longer needs it. The status is read where MPI has written it.
        unsafe {
            let mut message = ffi::RSMPI_MESSAGE_NULL;
            check(ffi::MPI_Improbe(from, tag, self.raw, &mut found, &mut message, status.as_mut_ptr()))?;
            if found == 0 {
                return Ok(None);
            }
            let mut count = 0;
            check(ffi::MPI_Get_count(status.as_ptr(), ffi::RSMPI_UINT8_T, &mut count))?;
            let len = usize::try_from(count).map_err(|_| MpiError("a message has no length".into()))?;
            let mut buffer = buffer(len);
            buffer.clear();
            buffer.reserve(len);
            let mut request = ffi::RSMPI_REQUEST_NULL;
            let to = buffer.as_mut_ptr().cast();
            check(ffi::MPI_Imrecv(to, count, ffi::RSMPI_UINT8_T, &mut message, &mut request))?;
            Ok(Some(Operation::new(request, Memory::ReceivedMessage { buffer, len })))
        }
    }

    /// Sends with MPI's blocking call, for benchmarks.
    ///
    /// # Errors
    ///
    /// MPI fails.
    pub fn blocking_send(&self, to: usize, bytes: &[u8]) -> Result<(), MpiError> {
        let (to, len) = (to_c_int(to)?, to_c_int(bytes.len())?);
        // SAFETY: the bytes live until the call returns.
        check(unsafe { ffi::MPI_Send(bytes.as_ptr().cast(), len, ffi::RSMPI_UINT8_T, to, 0, self.raw) })
    }

    /// Receives with MPI's blocking call, for benchmarks.
    ///
    /// # Errors
    ///
    /// MPI fails.
    pub fn blocking_receive(&self, from: usize, bytes: &mut [u8]) -> Result<(), MpiError> {
        let (from, len) = (to_c_int(from)?, to_c_int(bytes.len())?);
        // SAFETY: the bytes live until the call returns, and the status is ignored.
        check(unsafe {
            let (to, kind, status) =
                (bytes.as_mut_ptr().cast(), ffi::RSMPI_UINT8_T, ffi::RSMPI_STATUS_IGNORE);
            ffi::MPI_Recv(to, len, kind, from, 0, self.raw, status)
        })
    }
}
