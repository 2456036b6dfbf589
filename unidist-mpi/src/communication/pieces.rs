#![allow(unsafe_code)] // calls of a C library, whose reading and writing has ended when a function here returns
//! Large memory from rank to rank, in pieces: while one is under way, the next is read, written or passed on.

use super::{Communicator, Mpi, MpiError, check, number};
use mpi::ffi;
use std::collections::VecDeque;
use std::ffi::c_int;
use std::ops::Range;

/// The length of a piece in bytes: long enough that starting one does not count.
pub const PIECE: usize = 4 << 20;
/// So many pieces are under way at once.
const DEPTH: usize = 8;

/// What is under way, the oldest first.
struct UnderWay(VecDeque<ffi::MPI_Request>);

impl UnderWay {
    fn new() -> Self {
        UnderWay(VecDeque::with_capacity(DEPTH))
    }

    /// Waits until the oldest has ended. What it needs must not be given back before, so a failure ends the job.
    fn finish_oldest(&mut self) {
        let Some(mut request) = self.0.pop_front() else { return };
        // SAFETY: the request is one that MPI has given, and its memory is there until the function that made it returns.
        let ended = check(unsafe { ffi::MPI_Wait(&mut request, ffi::RSMPI_STATUS_IGNORE) });
        if let Err(error) = ended {
            Mpi::abort(&format!("MPI failed in the midst of a transfer: {error}"));
        }
    }
}

/// Nothing is under way once it is gone, whatever has led to that.
impl Drop for UnderWay {
    fn drop(&mut self) {
        if std::thread::panicking() && !self.0.is_empty() {
            Mpi::abort("a panic in the midst of a transfer");
        }
        while !self.0.is_empty() {
            self.finish_oldest();
        }
    }
}

/// The pieces of so many bytes.
fn pieces(len: usize) -> impl Iterator<Item = Range<usize>> {
    (0..len).step_by(PIECE).map(move |start| start..len.min(start + PIECE))
}

impl Communicator {
    /// Sends memory to a rank, which receives it with [`Communicator::receive_pieces`]. `meanwhile` is called with each
    /// piece's place while that is under way.
    ///
    /// # Errors
    ///
    /// MPI does not begin to send.
    pub fn send_pieces(
        &self,
        to: usize,
        tag: c_int,
        bytes: &[u8],
        mut meanwhile: impl FnMut(Range<usize>),
    ) -> Result<(), MpiError> {
        let to = number(to)?;
        let mut under_way = UnderWay::new();
        for piece in pieces(bytes.len()) {
            if under_way.0.len() == DEPTH {
                under_way.finish_oldest();
            }
            let part = &bytes[piece.clone()];
            under_way.0.push_back(self.begin(part, to, tag)?);
            meanwhile(piece);
        }
        Ok(())
    }

    /// Receives what a rank sends with [`Communicator::send_pieces`] or passes on, and passes it on to another one.
    ///
    /// # Errors
    ///
    /// MPI does not begin to receive or to send.
    pub fn receive_pieces(
        &self,
        from: usize,
        pass_on_to: Option<usize>,
        tag: c_int,
        bytes: &mut [u8],
    ) -> Result<(), MpiError> {
        let (from, to) = (number(from)?, pass_on_to.map(number).transpose()?);
        let (start, len) = (bytes.as_mut_ptr(), bytes.len());
        let (mut arriving, mut leaving) = (UnderWay::new(), UnderWay::new());
        let mut ahead = pieces(len);
        for piece in pieces(len) {
            while arriving.0.len() < DEPTH
                && let Some(next) = ahead.next()
            {
                let length = number(next.len())?;
                // SAFETY: the piece is inside of the bytes, which nobody else touches before it has arrived.
                unsafe {
                    let mut request = ffi::RSMPI_REQUEST_NULL;
                    let place = start.add(next.start).cast();
                    let kind = ffi::RSMPI_UINT8_T;
                    check(ffi::MPI_Irecv(place, length, kind, from, tag, self.raw, &mut request))?;
                    arriving.0.push_back(request);
                }
            }
            arriving.finish_oldest();
            if let Some(to) = to {
                if leaving.0.len() == DEPTH {
                    leaving.finish_oldest();
                }
                // SAFETY: the piece has arrived; it is only read from now on.
                let part = unsafe { std::slice::from_raw_parts(start.add(piece.start), piece.len()) };
                leaving.0.push_back(self.begin(part, to, tag)?);
            }
        }
        Ok(())
    }

    /// Begins to send bytes that live until whoever calls this has waited for the request.
    fn begin(&self, part: &[u8], to: c_int, tag: c_int) -> Result<ffi::MPI_Request, MpiError> {
        let length = number(part.len())?;
        // SAFETY: see above; `UnderWay` waits.
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
