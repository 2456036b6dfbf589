#![allow(unsafe_code)] // calls of a C library, and memory that it gives
//! Numbers on the first rank of a group that all ranks read and change, without that rank's doing: one-sided MPI.

use super::attendant::Attendant;
use super::{Communicator, Mpi, MpiError, check, number};
use mpi::ffi;
use std::ffi::{c_int, c_void};
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering};

/// The rank that has the numbers.
const HOME: c_int = 0;
/// In front of the cells is one that each operation adds to: so the thread there sees that something happens.
const PULSE: ffi::MPI_Aint = 0;
const AHEAD: usize = 1;

/// Cells of 64 bits on the first rank. Each operation is atomic, and has ended there when it returns.
///
/// Between hosts, most networks have the MPI of the first rank take part, which it does when that rank calls MPI: a thread
/// there does so.
#[derive(Debug)]
pub struct Window {
    raw: ffi::MPI_Win,
    cells: usize,
    /// On the first rank, which it looks after.
    attendant: Option<Attendant>,
    /// What it looks at, on the others or when it has ended.
    ranks: Option<Communicator>,
    /// It is one thread's.
    _of_a_thread: PhantomData<*mut ()>,
}

impl Window {
    /// As many cells as these values, with these values: those of the first rank. All ranks call this, with as many values.
    ///
    /// # Errors
    ///
    /// MPI refuses, or the first rank cannot have the thread: then, it is to be expected, on every rank.
    pub fn new(mpi: Mpi, group: &Communicator, values: &[u64]) -> Result<Self, MpiError> {
        let is_home = group.rank() == 0;
        let bytes = if is_home { size_of_val(values) + AHEAD * size_of::<u64>() } else { 0 };
        let mut base: *mut u64 = std::ptr::null_mut();
        // SAFETY: MPI gives memory of the length that was asked for, aligned for any of its types; nobody else touches it
        // before the others know that it is there. The epoch that begins here ends in `free`.
        let raw = unsafe {
            let mut raw = ffi::RSMPI_WIN_NULL;
            let (unit, no) = (size_of::<u64>() as c_int, ffi::RSMPI_INFO_NULL);
            let to = (&raw mut base).cast::<c_void>();
            let size = ffi::MPI_Aint::try_from(bytes).map_err(|error| MpiError(error.to_string()))?;
            check(ffi::MPI_Win_allocate(size, unit, no, group.raw, to, &mut raw))?;
            check(ffi::MPI_Win_set_errhandler(raw, ffi::RSMPI_ERRORS_RETURN))?;
            check(ffi::MPI_Win_lock_all(0, raw))?;
            if is_home {
                base.write(0);
                base.add(AHEAD).copy_from_nonoverlapping(values.as_ptr(), values.len());
                check(ffi::MPI_Win_sync(raw))?;
            }
            raw
        };
        let ranks = group.again()?;
        let mut window =
            Window { raw, cells: values.len(), attendant: None, ranks: None, _of_a_thread: PhantomData };
        let started = match is_home {
            true => attend(mpi, ranks, base).map(Some),
            false => {
                window.ranks = Some(ranks);
                Ok(None)
            }
        };
        let refused = started.as_ref().err().map(ToString::to_string).unwrap_or_default();
        let refused = group.all_gather(refused.as_bytes())?.into_iter().find(|text| !text.is_empty());
        if let Some(refused) = refused {
            drop(started);
            window.ranks = None; // the first rank's is gone, and they are freed together
            window.free()?;
            return Err(MpiError(String::from_utf8_lossy(&refused).into_owned()));
        }
        window.attendant = started?;
        Ok(window)
    }

    /// Adds to a cell, and gives what was there. What is too much for 64 bits is left out.
    ///
    /// # Errors
    ///
    /// There is no such cell. A failure of MPI ends the job.
    pub fn add(&self, cell: usize, value: u64) -> Result<u64, MpiError> {
        let place = self.place(cell)?;
        let mut was = 0_u64;
        // SAFETY: the cell is there; both numbers live until the operation has ended, which the flush waits for.
        unsafe {
            lent(ffi::MPI_Fetch_and_op(
                (&raw const value).cast(),
                (&raw mut was).cast(),
                ffi::RSMPI_UINT64_T,
                HOME,
                place,
                ffi::RSMPI_SUM,
                self.raw,
            ));
            self.finish();
        }
        Ok(was)
    }

    /// Replaces what is in a cell if that is `old`, and gives what was there.
    ///
    /// # Errors
    ///
    /// There is no such cell. A failure of MPI ends the job.
    pub fn compare_and_swap(&self, cell: usize, old: u64, new: u64) -> Result<u64, MpiError> {
        let place = self.place(cell)?;
        let mut was = 0_u64;
        // SAFETY: see `add`.
        unsafe {
            lent(ffi::MPI_Compare_and_swap(
                (&raw const new).cast(),
                (&raw const old).cast(),
                (&raw mut was).cast(),
                ffi::RSMPI_UINT64_T,
                HOME,
                place,
                self.raw,
            ));
            self.finish();
        }
        Ok(was)
    }

    /// Waits until what was begun has ended there.
    ///
    /// # Safety
    ///
    /// The numbers that were lent to it live until this returns.
    unsafe fn finish(&self) {
        let one = 1_u64;
        // SAFETY: see above; the first cell is there.
        unsafe {
            let (from, kind) = ((&raw const one).cast(), ffi::RSMPI_UINT64_T);
            lent(ffi::MPI_Accumulate(from, 1, kind, HOME, PULSE, 1, kind, ffi::RSMPI_SUM, self.raw));
            lent(ffi::MPI_Win_flush(HOME, self.raw));
        }
    }

    fn place(&self, cell: usize) -> Result<ffi::MPI_Aint, MpiError> {
        let known =
            (cell < self.cells).then_some(cell + AHEAD).and_then(|cell| ffi::MPI_Aint::try_from(cell).ok());
        known.ok_or_else(|| MpiError(format!("there is no cell {cell}: there are {}", self.cells)))
    }

    /// Ends the thread, which may be waiting for its turn.
    pub fn dismiss(&mut self) {
        if let Some(mut attendant) = self.attendant.take() {
            self.ranks = attendant.dismiss();
        }
    }

    /// Frees the memory. All ranks call this.
    ///
    /// # Errors
    ///
    /// MPI fails.
    pub fn free(&mut self) -> Result<(), MpiError> {
        self.dismiss();
        // SAFETY: the window is there, in the epoch that began with it; MPI makes it the null window.
        unsafe {
            if self.raw == ffi::RSMPI_WIN_NULL {
                return Ok(());
            }
            self.ranks.iter_mut().for_each(Communicator::free);
            check(ffi::MPI_Win_unlock_all(self.raw))?;
            check(ffi::MPI_Win_free(&mut self.raw))
        }
    }
}

/// What was lent to MPI cannot be had back if it fails, so that ends the job.
fn lent(code: c_int) {
    if let Err(error) = check(code) {
        Mpi::abort(&format!("MPI failed in the midst of a one-sided operation: {error}"));
    }
}

/// A window that was not freed stays until the job ends, and its memory with it.
impl Drop for Window {
    fn drop(&mut self) {
        std::mem::forget(self.attendant.take());
    }
}

/// Has a thread look after the window that begins there.
fn attend(mpi: Mpi, ranks: Communicator, base: *mut u64) -> Result<Attendant, MpiError> {
    /// The first cell.
    struct Pulse(*const AtomicU64);
    // SAFETY: it is only read, as an atomic number.
    unsafe impl Send for Pulse {}
    impl Pulse {
        fn read(&self) -> u64 {
            // SAFETY: the cell is there as long as the window, and the thread that reads ends first.
            unsafe { (*self.0).load(Ordering::Relaxed) }
        }
    }
    if !mpi.allows_turns() {
        return Err(MpiError(
            "a lock or batch over several hosts has a thread of the first rank call MPI: have the program initialise it with \
             MPI_THREAD_SERIALIZED, or more"
                .to_owned(),
        ));
    }
    let pulse = Pulse(base.cast_const().cast());
    Attendant::start(ranks, move || pulse.read())
        .map_err(|error| MpiError(format!("no thread can be started: {error}")))
}

/// Numbers that are handed from rank to rank.
impl Communicator {
    /// Sends a number. It is so short that MPI does not wait for the receiver.
    ///
    /// # Errors
    ///
    /// MPI fails.
    pub fn send_number(&self, to: usize, tag: c_int, value: u64) -> Result<(), MpiError> {
        let to = number(to)?;
        // SAFETY: the number lives until the call returns.
        check(unsafe { ffi::MPI_Send((&raw const value).cast(), 1, ffi::RSMPI_UINT64_T, to, tag, self.raw) })
    }

    /// The next number that some rank has sent, if one is there.
    ///
    /// # Errors
    ///
    /// MPI fails.
    pub fn receive_number(&self, tag: c_int) -> Result<Option<u64>, MpiError> {
        let mut found = 0;
        let mut value = 0_u64;
        // SAFETY: the message that was found is received by nobody else, and is as long as the number.
        unsafe {
            let (any, ignore) = (ffi::RSMPI_ANY_SOURCE, ffi::RSMPI_STATUS_IGNORE);
            let mut message = ffi::RSMPI_MESSAGE_NULL;
            check(ffi::MPI_Improbe(any, tag, self.raw, &mut found, &mut message, ignore))?;
            if found == 0 {
                return Ok(None);
            }
            let to = (&raw mut value).cast();
            check(ffi::MPI_Mrecv(to, 1, ffi::RSMPI_UINT64_T, &mut message, ignore))?;
        }
        Ok(Some(value))
    }
}
