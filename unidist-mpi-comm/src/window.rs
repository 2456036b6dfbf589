#![allow(unsafe_code)] // calls of a C library, and memory that it allocates
//! Atomic cells on the first rank of a group, which all ranks read and change by one-sided MPI.

use crate::progress_thread::ProgressThread;
use crate::runtime::check;
use crate::{Communicator, Mpi, MpiError, to_c_int};
use mpi::ffi;
use std::ffi::{c_int, c_void};
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering};

/// The rank that owns the cells.
const OWNER: c_int = 0;
/// The cell in front of the others. Each operation increments it, so that the progress thread sees activity.
const ACTIVITY: ffi::MPI_Aint = 0;
/// The number of cells in front of those of the caller.
const HEADER_CELLS: usize = 1;

/// Cells of 64 bits on the first rank. Each operation is atomic, and has completed there when it returns.
///
/// Over most networks, an operation needs the MPI of the first rank to make progress, which it does when that rank calls
/// MPI: a progress thread there does so.
#[derive(Debug)]
pub struct Window {
    raw: ffi::MPI_Win,
    cells: usize,
    /// On the first rank.
    progress: Option<ProgressThread>,
    /// The communicator of the progress thread: on the other ranks, and on the first when that thread has ended.
    progress_ranks: Option<Communicator>,
    /// Keeps it on one thread.
    _not_send: PhantomData<*mut ()>,
}

impl Window {
    /// Creates one cell for each value, with the values of the first rank. Collective; all ranks pass the same number of
    /// values.
    ///
    /// # Errors
    ///
    /// MPI fails, or the first rank cannot start the progress thread, which is an error on every rank.
    pub fn new(mpi: Mpi, group: &Communicator, values: &[u64]) -> Result<Self, MpiError> {
        let is_owner = group.rank() == 0;
        let bytes = if is_owner { size_of_val(values) + HEADER_CELLS * size_of::<u64>() } else { 0 };
        let mut base: *mut u64 = std::ptr::null_mut();
        // SAFETY: MPI allocates memory of the requested length, aligned for any of its types; other ranks do not touch it
        // before they know that it exists. The epoch that begins here ends in `free`.
        let raw = unsafe {
            let mut raw = ffi::RSMPI_WIN_NULL;
            let (unit, no_info) = (size_of::<u64>() as c_int, ffi::RSMPI_INFO_NULL);
            let to = (&raw mut base).cast::<c_void>();
            let size = ffi::MPI_Aint::try_from(bytes).map_err(|error| MpiError(error.to_string()))?;
            check(ffi::MPI_Win_allocate(size, unit, no_info, group.raw, to, &mut raw))?;
            check(ffi::MPI_Win_set_errhandler(raw, ffi::RSMPI_ERRORS_RETURN))?;
            check(ffi::MPI_Win_lock_all(0, raw))?;
            if is_owner {
                base.write(0);
                base.add(HEADER_CELLS).copy_from_nonoverlapping(values.as_ptr(), values.len());
                check(ffi::MPI_Win_sync(raw))?;
            }
            raw
        };
        let ranks = group.duplicate()?;
        let mut window =
            Window { raw, cells: values.len(), progress: None, progress_ranks: None, _not_send: PhantomData };
        let started = match is_owner {
            true => start_progress(mpi, ranks, base).map(Some),
            false => {
                window.progress_ranks = Some(ranks);
                Ok(None)
            }
        };
        let error = started.as_ref().err().map(ToString::to_string).unwrap_or_default();
        let error = group.all_gather(error.as_bytes())?.into_iter().find(|text| !text.is_empty());
        if let Some(error) = error {
            drop(started);
            window.progress_ranks = None; // the first rank's is gone, and freeing it is collective
            window.free()?;
            return Err(MpiError(String::from_utf8_lossy(&error).into_owned()));
        }
        window.progress = started?;
        Ok(window)
    }

    /// Adds to a cell, modulo 2^64, and returns the previous value.
    ///
    /// # Errors
    ///
    /// There is no such cell. A failure of MPI aborts the job.
    pub fn add(&self, cell: usize, value: u64) -> Result<u64, MpiError> {
        let offset = self.offset(cell)?;
        let mut previous = 0_u64;
        // SAFETY: the cell exists; both numbers live until the operation has completed, which the flush waits for.
        unsafe {
            check_or_abort(ffi::MPI_Fetch_and_op(
                (&raw const value).cast(),
                (&raw mut previous).cast(),
                ffi::RSMPI_UINT64_T,
                OWNER,
                offset,
                ffi::RSMPI_SUM,
                self.raw,
            ));
            self.complete();
        }
        Ok(previous)
    }

    /// Replaces the value of a cell with `new` if it is `old`, and returns the previous value.
    ///
    /// # Errors
    ///
    /// There is no such cell. A failure of MPI aborts the job.
    pub fn compare_and_swap(&self, cell: usize, old: u64, new: u64) -> Result<u64, MpiError> {
        let offset = self.offset(cell)?;
        let mut previous = 0_u64;
        // SAFETY: see `add`.
        unsafe {
            check_or_abort(ffi::MPI_Compare_and_swap(
                (&raw const new).cast(),
                (&raw const old).cast(),
                (&raw mut previous).cast(),
                ffi::RSMPI_UINT64_T,
                OWNER,
                offset,
                self.raw,
            ));
            self.complete();
        }
        Ok(previous)
    }

    /// Waits until pending operations have completed on the first rank.
    ///
    /// # Safety
    ///
    /// The numbers that the operations use live until this returns.
    unsafe fn complete(&self) {
        let one = 1_u64;
        // SAFETY: see above; the first cell exists.
        unsafe {
            let (from, kind) = ((&raw const one).cast(), ffi::RSMPI_UINT64_T);
            check_or_abort(ffi::MPI_Accumulate(
                from,
                1,
                kind,
                OWNER,
                ACTIVITY,
                1,
                kind,
                ffi::RSMPI_SUM,
                self.raw,
            ));
            check_or_abort(ffi::MPI_Win_flush(OWNER, self.raw));
        }
    }

    fn offset(&self, cell: usize) -> Result<ffi::MPI_Aint, MpiError> {
        let known = (cell < self.cells)
            .then_some(cell + HEADER_CELLS)
            .and_then(|cell| ffi::MPI_Aint::try_from(cell).ok());
        known.ok_or_else(|| MpiError(format!("there is no cell {cell}: there are {}", self.cells)))
    }

    /// Ends the progress thread, which may be waiting for the call lock.
    pub fn stop_progress(&mut self) {
        if let Some(mut progress) = self.progress.take() {
            self.progress_ranks = progress.stop();
        }
    }

    /// Frees the memory. Collective.
    ///
    /// # Errors
    ///
    /// MPI fails.
    pub fn free(&mut self) -> Result<(), MpiError> {
        self.stop_progress();
        // SAFETY: the window exists, in the epoch that began with it; MPI sets it to the null window.
        unsafe {
            if self.raw == ffi::RSMPI_WIN_NULL {
                return Ok(());
            }
            self.progress_ranks.iter_mut().for_each(Communicator::free);
            check(ffi::MPI_Win_unlock_all(self.raw))?;
            check(ffi::MPI_Win_free(&mut self.raw))
        }
    }
}

/// MPI may still use the memory of an operation that has failed, so a failure aborts the job.
fn check_or_abort(code: c_int) {
    if let Err(error) = check(code) {
        Mpi::abort(&format!("MPI failed during a one-sided operation: {error}"));
    }
}

/// A window that was not freed stays, with its memory and its thread, until the job ends.
impl Drop for Window {
    fn drop(&mut self) {
        std::mem::forget(self.progress.take());
    }
}

/// Starts the progress thread of the window that begins at `base`.
fn start_progress(mpi: Mpi, ranks: Communicator, base: *mut u64) -> Result<ProgressThread, MpiError> {
    struct ActivityCell(*const AtomicU64);
    // SAFETY: the cell is only read, as an atomic number.
    unsafe impl Send for ActivityCell {}
    impl ActivityCell {
        fn read(&self) -> u64 {
            // SAFETY: the cell exists as long as the window, and the thread that reads ends first.
            unsafe { (*self.0).load(Ordering::Relaxed) }
        }
    }
    if !mpi.is_thread_serialized() {
        return Err(MpiError(
            "a lock or batch over several hosts needs a second thread on the first rank that calls MPI: initialise MPI with \
             MPI_THREAD_SERIALIZED or more"
                .to_owned(),
        ));
    }
    let cell = ActivityCell(base.cast_const().cast());
    ProgressThread::start(ranks, move || cell.read())
        .map_err(|error| MpiError(format!("the progress thread cannot be started: {error}")))
}

/// Numbers as messages.
impl Communicator {
    /// Sends a number. It is so short that MPI does not wait for the receiver.
    ///
    /// # Errors
    ///
    /// MPI fails.
    pub fn send_u64(&self, to: usize, tag: c_int, value: u64) -> Result<(), MpiError> {
        let to = to_c_int(to)?;
        // SAFETY: the number lives until the call returns.
        check(unsafe { ffi::MPI_Send((&raw const value).cast(), 1, ffi::RSMPI_UINT64_T, to, tag, self.raw) })
    }

    /// Receives the next number that any rank has sent; `None` if none has arrived.
    ///
    /// # Errors
    ///
    /// MPI fails.
    pub fn try_receive_u64(&self, tag: c_int) -> Result<Option<u64>, MpiError> {
        let mut found = 0;
        let mut value = 0_u64;
        // SAFETY: a matched probe reserves the message for this receive, and it is as long as the number.
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
