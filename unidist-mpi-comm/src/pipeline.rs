#![allow(unsafe_code)] // calls of a C library, whose reads and writes have completed when a function here returns
//! Pipelined transfers of large memory from rank to rank: while one chunk is in flight, the next is read, written or
//! forwarded.

use crate::runtime::check;
use crate::{Communicator, Mpi, MpiError, to_c_int};
use mpi::ffi;
use std::collections::VecDeque;
use std::ffi::c_int;
use std::ops::Range;

/// The length of a chunk in bytes: long enough that the cost of starting one does not matter.
pub const CHUNK: usize = 4 << 20;
/// The number of chunks in flight.
const DEPTH: usize = 8;

/// Pending requests, the oldest first.
struct InFlight(VecDeque<ffi::MPI_Request>);

impl InFlight {
    fn new() -> Self {
        InFlight(VecDeque::with_capacity(DEPTH))
    }

    /// Waits until the oldest has completed. Its memory must not be reused before, so a failure aborts the job.
    fn finish_oldest(&mut self) {
        let Some(mut request) = self.0.pop_front() else { return };
        // SAFETY: MPI returned the request, and its memory lives until the function that made it returns.
        let ended = check(unsafe { ffi::MPI_Wait(&mut request, ffi::RSMPI_STATUS_IGNORE) });
        if let Err(error) = ended {
            Mpi::abort(&format!("MPI failed during a transfer: {error}"));
        }
    }
}

/// Waits for all requests, however the function ends.
impl Drop for InFlight {
    fn drop(&mut self) {
        if std::thread::panicking() && !self.0.is_empty() {
            Mpi::abort("a panic during a transfer");
        }
        while !self.0.is_empty() {
            self.finish_oldest();
        }
    }
}

/// The chunks of `len` bytes.
fn chunks(len: usize) -> impl Iterator<Item = Range<usize>> {
    (0..len).step_by(CHUNK).map(move |start| start..len.min(start + CHUNK))
}

impl Communicator {
    /// Sends memory to a rank, which receives it with [`Communicator::receive_pipelined`]. `meanwhile` is called with the
    /// range of each chunk while that is in flight.
    ///
    /// # Errors
    ///
    /// MPI fails to start a send.
    pub fn send_pipelined(
        &self,
        to: usize,
        tag: c_int,
        bytes: &[u8],
        mut meanwhile: impl FnMut(Range<usize>),
    ) -> Result<(), MpiError> {
        let to = to_c_int(to)?;
        let mut in_flight = InFlight::new();
        for chunk in chunks(bytes.len()) {
            if in_flight.0.len() == DEPTH {
                in_flight.finish_oldest();
            }
            let part = &bytes[chunk.clone()];
            in_flight.0.push_back(self.start_chunk(part, to, tag)?);
            meanwhile(chunk);
        }
        Ok(())
    }

    /// Receives what a rank sends with [`Communicator::send_pipelined`] or forwards, and forwards it to another one.
    ///
    /// # Errors
    ///
    /// MPI fails to start a receive or a send.
    pub fn receive_pipelined(
        &self,
        from: usize,
        forward_to: Option<usize>,
        tag: c_int,
        bytes: &mut [u8],
    ) -> Result<(), MpiError> {
        let (from, to) = (to_c_int(from)?, forward_to.map(to_c_int).transpose()?);
        let (start, len) = (bytes.as_mut_ptr(), bytes.len());
        let (mut receives, mut sends) = (InFlight::new(), InFlight::new());
        let mut prefetched = chunks(len);
        for chunk in chunks(len) {
            while receives.0.len() < DEPTH
                && let Some(next) = prefetched.next()
            {
                let length = to_c_int(next.len())?;
                // SAFETY: the chunk is inside the bytes, and is not touched otherwise before it has arrived.
                unsafe {
                    let mut request = ffi::RSMPI_REQUEST_NULL;
                    let place = start.add(next.start).cast();
                    let kind = ffi::RSMPI_UINT8_T;
                    check(ffi::MPI_Irecv(place, length, kind, from, tag, self.raw, &mut request))?;
                    receives.0.push_back(request);
                }
            }
            receives.finish_oldest();
            if let Some(to) = to {
                if sends.0.len() == DEPTH {
                    sends.finish_oldest();
                }
                // SAFETY: the chunk has arrived; it is only read from now on.
                let part = unsafe { std::slice::from_raw_parts(start.add(chunk.start), chunk.len()) };
                sends.0.push_back(self.start_chunk(part, to, tag)?);
            }
        }
        Ok(())
    }

    /// Starts sending bytes that live until the caller has waited for the request.
    fn start_chunk(&self, part: &[u8], to: c_int, tag: c_int) -> Result<ffi::MPI_Request, MpiError> {
        let length = to_c_int(part.len())?;
        // SAFETY: see above; `InFlight` waits.
        unsafe {
            let mut request = ffi::RSMPI_REQUEST_NULL;
            check(ffi::MPI_Isend(
                part.as_ptr().cast(),
                length,
                ffi::RSMPI_UINT8_T,
                to,
                tag,
                self.raw,
                &mut request,
            ))?;
            Ok(request)
        }
    }
}
