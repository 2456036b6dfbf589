#![allow(unsafe_code)] // calls of a C library, whose reads and writes have completed when a function here returns
//! What all ranks of a program call together (`unidist-spmd`). A rank that waits here sleeps.

use crate::runtime::check;
use crate::{AnyCommunicator, Communicator, Mpi, MpiError, to_c_int};
use mpi::ffi;
use mpi::raw::FromRaw;
use mpi::topology::SimpleCommunicator;
use std::ffi::c_int;
use unidist_sync::Backoff;

impl Communicator {
    /// The ranks of another communicator in a new context. Collective.
    ///
    /// # Errors
    ///
    /// MPI fails.
    pub fn duplicate_of<C: AnyCommunicator + ?Sized>(other: &C) -> Result<Self, MpiError> {
        // SAFETY: MPI is initialised, and the caller has a communicator.
        unsafe { Self::duplicate_raw(other.as_raw()) }
    }

    /// The same ranks in a new context. Collective.
    ///
    /// # Errors
    ///
    /// MPI fails.
    pub fn duplicate(&self) -> Result<Self, MpiError> {
        // SAFETY: it exists.
        unsafe { Self::duplicate_raw(self.raw) }
    }

    /// # Safety
    ///
    /// The communicator exists.
    unsafe fn duplicate_raw(other: ffi::MPI_Comm) -> Result<Self, MpiError> {
        // SAFETY: see above.
        unsafe {
            let mut raw = ffi::RSMPI_COMM_NULL;
            check(ffi::MPI_Comm_dup(other, &mut raw))?;
            Ok(Communicator::new(raw))
        }
    }

    /// For each rank of another communicator, its rank in this one, or `None` if it is not a member.
    ///
    /// # Errors
    ///
    /// MPI fails.
    pub fn translate_ranks_of<C: AnyCommunicator + ?Sized>(
        &self,
        other: &C,
    ) -> Result<Vec<Option<usize>>, MpiError> {
        // SAFETY: both communicators exist; the lists have the length that MPI is told.
        unsafe {
            let mut size = 0;
            check(ffi::MPI_Comm_size(other.as_raw(), &mut size))?;
            let theirs: Vec<c_int> = (0..size).collect();
            let mut ours = vec![ffi::RSMPI_UNDEFINED; theirs.len()];
            let (mut their_group, mut our_group) = (ffi::RSMPI_GROUP_NULL, ffi::RSMPI_GROUP_NULL);
            check(ffi::MPI_Comm_group(other.as_raw(), &mut their_group))?;
            check(ffi::MPI_Comm_group(self.raw, &mut our_group))?;
            let code = ffi::MPI_Group_translate_ranks(
                their_group,
                size,
                theirs.as_ptr(),
                our_group,
                ours.as_mut_ptr(),
            );
            ffi::MPI_Group_free(&mut their_group);
            ffi::MPI_Group_free(&mut our_group);
            check(code)?;
            let known = |rank: c_int| (rank != ffi::RSMPI_UNDEFINED).then(|| usize::try_from(rank).ok());
            Ok(ours.into_iter().map(|rank| known(rank).flatten()).collect())
        }
    }

    /// Gathers bytes from every rank into `all`, one behind the other; rank `i` sends `lengths[i]` bytes. Waits asleep, and
    /// takes the call lock itself. Collective.
    ///
    /// # Errors
    ///
    /// MPI fails to start. A later failure aborts the job, because MPI still uses the memory.
    pub fn all_gather_asleep(&self, own: &[u8], lengths: &[usize], all: &mut [u8]) -> Result<(), MpiError> {
        let lengths = lengths.iter().map(|len| to_c_int(*len)).collect::<Result<Vec<_>, _>>()?;
        let mut starts = Vec::with_capacity(lengths.len());
        let mut total = 0_i32;
        for len in &lengths {
            starts.push(total);
            total = total
                .checked_add(*len)
                .ok_or_else(|| MpiError("more than 2 GiB cannot be gathered".into()))?;
        }
        let guard = Mpi::lock_calls();
        let fits = usize::try_from(total) == Ok(all.len())
            && lengths.get(self.rank()) == Some(&to_c_int(own.len())?);
        if !fits || lengths.len() != self.size() {
            return Err(MpiError("the buffers of a gather do not have the given lengths".into()));
        }
        // SAFETY: there is room for what each rank sends; all of it lives until the request has completed.
        let mut request = unsafe {
            let mut request = ffi::RSMPI_REQUEST_NULL;
            let kind = ffi::RSMPI_UINT8_T;
            check(ffi::MPI_Iallgatherv(
                own.as_ptr().cast(),
                to_c_int(own.len())?,
                kind,
                all.as_mut_ptr().cast(),
                lengths.as_ptr(),
                starts.as_ptr(),
                kind,
                self.raw,
                &mut request,
            ))?;
            request
        };
        drop(guard);
        let backoff = Backoff::new();
        let mut ended = 0;
        loop {
            let guard = Mpi::lock_calls();
            // SAFETY: MPI returned the request.
            let tested = check(unsafe { ffi::MPI_Test(&mut request, &mut ended, ffi::RSMPI_STATUS_IGNORE) });
            drop(guard);
            match tested {
                Ok(()) if ended != 0 => return Ok(()),
                Ok(()) => backoff.pause(Backoff::MAX_PAUSE),
                Err(error) => Mpi::abort(&format!("MPI failed during an exchange between ranks: {error}")),
            }
        }
    }

    /// Has MPI make progress on pending operations.
    pub(crate) fn drive_progress(&self) {
        let mut found = 0;
        // SAFETY: the communicator exists; the status is ignored.
        unsafe {
            let (any, tag, ignore) = (ffi::RSMPI_ANY_SOURCE, ffi::RSMPI_ANY_TAG, ffi::RSMPI_STATUS_IGNORE);
            ffi::MPI_Iprobe(any, tag, self.raw, &mut found, ignore);
        }
    }

    /// A duplicate as a communicator of the crate `mpi`. Collective.
    ///
    /// # Errors
    ///
    /// MPI fails.
    pub fn to_simple(&self) -> Result<SimpleCommunicator, MpiError> {
        // SAFETY: the duplicate exists, and nothing else frees it.
        unsafe {
            let mut raw = ffi::RSMPI_COMM_NULL;
            check(ffi::MPI_Comm_dup(self.raw, &mut raw))?;
            // That crate ignores the return codes of MPI.
            check(ffi::MPI_Comm_set_errhandler(raw, ffi::RSMPI_ERRORS_ARE_FATAL))?;
            Ok(SimpleCommunicator::from_raw(raw))
        }
    }
}
