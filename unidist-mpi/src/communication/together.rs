#![allow(unsafe_code)] // calls of a C library, whose reading and writing has ended when a function here returns
//! What ranks do together that run the same program (`unidist-spmd`). Whoever waits here sleeps.

use crate::library::Library;

use super::{AnyCommunicator, Communicator, Mpi, MpiError, check, number};
use mpi::ffi;
use mpi::raw::FromRaw;
use mpi::topology::SimpleCommunicator;
use std::ffi::c_int;
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

/// Whose turn it is to call MPI, in programs of ranks.
static TURN: Mutex<()> = Mutex::new(());

/// Keeps other threads from calling MPI from now on. One that is in it and stays there is not waited for: the process ends.
pub(super) fn last_turn() {
    let end = Instant::now() + Duration::from_secs(1);
    while Instant::now() < end {
        if let Some(turn) = Mpi::turn_if_free() {
            return std::mem::forget(turn);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Waiting for something that nobody tells: looking often at first, and ever more seldom.
#[derive(Debug)]
pub struct Pauses {
    since: Instant,
}

/// For so long it is looked at all the time.
const AWAKE: Duration = Duration::from_micros(20);
/// A pause is this part of what was waited so far,
const PART: u32 = 8;
/// and not longer than this.
const LONGEST: Duration = Duration::from_millis(10);

impl Pauses {
    /// From now on.
    #[expect(clippy::new_without_default, reason = "it is about now")]
    pub fn new() -> Self {
        Pauses { since: Instant::now() }
    }

    /// From a time that has been.
    pub fn since(since: Instant) -> Self {
        Pauses { since }
    }

    /// How long the next one is to be.
    pub fn next(&self) -> Duration {
        let waited = self.since.elapsed();
        if waited < AWAKE { Duration::ZERO } else { (waited / PART).min(LONGEST) }
    }

    /// Waits for a little, and not longer than this.
    pub fn pause(&self, most: Duration) {
        match self.next().min(most) {
            Duration::ZERO => std::hint::spin_loop(),
            time => std::thread::sleep(time),
        }
    }
}

impl Communicator {
    /// The ranks of another communicator, apart from other uses of it. All of them call this.
    ///
    /// # Errors
    ///
    /// MPI refuses.
    pub fn duplicate<C: AnyCommunicator + ?Sized>(other: &C) -> Result<Self, MpiError> {
        // SAFETY: MPI is initialised, and whoever has the value has a communicator.
        unsafe { Self::duplicate_raw(other.as_raw()) }
    }

    /// The same ranks, apart from other uses. All of them call this.
    ///
    /// # Errors
    ///
    /// MPI refuses.
    pub fn again(&self) -> Result<Self, MpiError> {
        // SAFETY: it is there.
        unsafe { Self::duplicate_raw(self.raw) }
    }

    /// # Safety
    ///
    /// The communicator is there.
    unsafe fn duplicate_raw(other: ffi::MPI_Comm) -> Result<Self, MpiError> {
        // SAFETY: see above.
        unsafe {
            let mut raw = ffi::RSMPI_COMM_NULL;
            check(ffi::MPI_Comm_dup(other, &mut raw))?;
            Ok(Communicator::new(raw))
        }
    }

    /// The ranks that those of another communicator have in this one, in their order; none for those that it does not have.
    ///
    /// # Errors
    ///
    /// MPI refuses.
    pub fn ranks_of<C: AnyCommunicator + ?Sized>(&self, other: &C) -> Result<Vec<Option<usize>>, MpiError> {
        // SAFETY: both communicators are there; the lists are as long as MPI is told.
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

    /// Puts what each rank says behind each other into `all`: from each rank as many bytes as `lengths` says. It takes turns
    /// by itself.
    ///
    /// # Errors
    ///
    /// MPI does not begin. A failure later ends the job: what was lent to MPI cannot be had back.
    pub fn gather_asleep(&self, own: &[u8], lengths: &[usize], all: &mut [u8]) -> Result<(), MpiError> {
        let lengths = lengths.iter().map(|len| number(*len)).collect::<Result<Vec<_>, _>>()?;
        let mut starts = Vec::with_capacity(lengths.len());
        let mut total = 0_i32;
        for len in &lengths {
            starts.push(total);
            total = total
                .checked_add(*len)
                .ok_or_else(|| MpiError("more than 2 GiB cannot be gathered".into()))?;
        }
        let turn = Mpi::turn();
        let fits =
            usize::try_from(total) == Ok(all.len()) && lengths.get(self.rank()) == Some(&number(own.len())?);
        if !fits || lengths.len() != self.size() {
            return Err(MpiError("what is to be gathered has other lengths".into()));
        }
        // SAFETY: there is room for what each rank sends; all of it lives until the request has ended.
        let mut request = unsafe {
            let mut request = ffi::RSMPI_REQUEST_NULL;
            let kind = ffi::RSMPI_UINT8_T;
            check(ffi::MPI_Iallgatherv(
                own.as_ptr().cast(),
                number(own.len())?,
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
        drop(turn);
        let pauses = Pauses::new();
        let mut ended = 0;
        loop {
            let turn = Mpi::turn();
            // SAFETY: the request is one that MPI has given.
            let tested = check(unsafe { ffi::MPI_Test(&mut request, &mut ended, ffi::RSMPI_STATUS_IGNORE) });
            drop(turn);
            match tested {
                Ok(()) if ended != 0 => return Ok(()),
                Ok(()) => pauses.pause(LONGEST),
                Err(error) => {
                    Mpi::abort(&format!("MPI failed while ranks told each other something: {error}"))
                }
            }
        }
    }

    /// Has MPI look after what is under way.
    pub(super) fn look_around(&self) {
        let mut found = 0;
        // SAFETY: the communicator is there; the status is not wanted.
        unsafe {
            let (any, tag, ignore) = (ffi::RSMPI_ANY_SOURCE, ffi::RSMPI_ANY_TAG, ffi::RSMPI_STATUS_IGNORE);
            ffi::MPI_Iprobe(any, tag, self.raw, &mut found, ignore);
        }
    }

    /// The same ranks, as the crate `mpi` has them. All of them call this.
    ///
    /// # Errors
    ///
    /// MPI refuses.
    pub fn to_simple(&self) -> Result<SimpleCommunicator, MpiError> {
        // SAFETY: the duplicate is there, and nobody else frees it.
        unsafe {
            let mut raw = ffi::RSMPI_COMM_NULL;
            check(ffi::MPI_Comm_dup(self.raw, &mut raw))?;
            // That crate does not look at what MPI returns.
            check(ffi::MPI_Comm_set_errhandler(raw, ffi::RSMPI_ERRORS_ARE_FATAL))?;
            Ok(SimpleCommunicator::from_raw(raw))
        }
    }
}

/// Which of Open MPI 4's ways of one-sided operations are to be used. Of the others, one crashes between ranks of a host,
/// and the one that works over TCP is switched off by some distributions.
const ONE_SIDED: (&str, &str) = ("OMPI_MCA_osc", "sm,pt2pt");

fn is_open_mpi_4() -> bool {
    matches!(Library::loaded(), Library::OpenMpi(..5))
}

/// Tells Open MPI 4 what to use, if it is not initialised yet and nobody else has told it.
fn choose_one_sided() {
    let (variable, value) = ONE_SIDED;
    let is_told = std::env::var_os(variable).is_some();
    if !is_told && is_open_mpi_4() && Mpi::is_over() {
        // SAFETY: MPI changes the environment when it is initialised, too, which is what comes next: whoever initialises it
        // has seen to it that no other thread reads the environment meanwhile.
        unsafe { std::env::set_var(variable, value) };
    }
}

impl Mpi {
    /// Initialises MPI for a program of ranks, unless that was done: for any threads at any time, but with Open MPI 4 for
    /// threads that take turns, since at a higher level it has no one-sided operations over TCP.
    ///
    /// The process ends as the program does: with an exit code other than 0, or a panic in `main`, the job is aborted,
    /// since the others would wait.
    ///
    /// # Errors
    ///
    /// It is another MPI's library than the program was built for, or MPI fails or was finalised.
    pub fn for_ranks() -> unidist_common::Result<Mpi> {
        // SAFETY: constants of C's.
        let (turns, all, least) =
            unsafe { (ffi::RSMPI_THREAD_SERIALIZED, ffi::RSMPI_THREAD_MULTIPLE, ffi::RSMPI_THREAD_SINGLE) };
        let wanted = if is_open_mpi_4() { turns } else { all };
        choose_one_sided();
        let (mpi, was_initialised) = Mpi::init_at(wanted, least)?;
        if !was_initialised {
            mpi.at_exit(super::AtExit::FinalizeOrAbort);
        }
        Ok(mpi)
    }

    /// Whether threads may take turns in calling MPI.
    pub fn allows_turns(self) -> bool {
        let mut level = 0;
        // SAFETY: MPI is initialised.
        unsafe { ffi::MPI_Query_thread(&mut level) == 0 && level >= ffi::RSMPI_THREAD_SERIALIZED }
    }

    /// This thread's turn to call MPI, until what is returned is dropped. Programs of ranks have two threads that do.
    pub fn turn() -> MutexGuard<'static, ()> {
        TURN.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The same, unless it is another one's.
    pub fn turn_if_free() -> Option<MutexGuard<'static, ()>> {
        match TURN.try_lock() {
            Ok(turn) => Some(turn),
            Err(TryLockError::Poisoned(turn)) => Some(turn.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Whether MPI can be called no more.
    pub fn is_over() -> bool {
        let (mut initialised, mut finalised) = (0, 0);
        // SAFETY: these two may be called at any time.
        unsafe { (ffi::MPI_Initialized(&mut initialised), ffi::MPI_Finalized(&mut finalised)) };
        initialised == 0 || finalised != 0
    }

    /// The same from a thread that does not call MPI else: by MPI if no other thread is in it, else by the launcher, which
    /// sees this process end.
    pub fn abort_from_thread(why: &str) -> ! {
        match Mpi::turn_if_free() {
            Some(_turn) if !Mpi::is_over() && Mpi(()).allows_turns() => Mpi::abort(why),
            _ => {
                eprintln!("unidist: {why}: the job is ended");
                std::process::abort()
            }
        }
    }

    /// Ends the whole job, and says why.
    pub fn abort(why: &str) -> ! {
        eprintln!("unidist: {why}: the job is ended");
        if !Mpi::is_over() {
            // SAFETY: MPI is initialised.
            unsafe { ffi::MPI_Abort(ffi::RSMPI_COMM_WORLD, 1) };
        }
        std::process::abort();
    }
}
