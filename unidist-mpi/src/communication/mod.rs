#![allow(unsafe_code)] // calls of a C library; what it reads and writes later is kept alive by the operations
//! MPI: this module and those in it are the only ones that name it.
//!
//! Of what the backend uses, nothing waits but what a session does at its beginning and end: `Mpi::init`,
//! `Mpi::spawn`, `Communicator::merge`, [`Communicator::split`], [`Communicator::all_gather`]. Sources are always
//! named there: between processes that were started later, MPICH over UCX does not serve a receive from anyone.
//!
//! What programs of ranks need that work together (`unidist-spmd`) is in `together`, [`pieces`] and [`window`], of which
//! some wait. In these programs threads take turns in calling MPI: [`Mpi::turn`].

mod attendant;
mod group;
mod operation;
pub mod pieces;
mod together;
pub mod window;

pub use group::{AnyCommunicator, Communicator};
pub(crate) use operation::{Operation, Part};
pub use together::Pauses;

use crate::library;
use mpi::ffi;
use std::ffi::{CStr, CString, OsString, c_char, c_int, c_void};
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use unidist_common::{Error, Result};

/// What MPI answered when it could not do something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MpiError(String);

impl fmt::Display for MpiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn check(code: c_int) -> Result<(), MpiError> {
    if code == 0 {
        return Ok(());
    }
    let mut text = [0_u8; ffi::MPI_MAX_ERROR_STRING as usize + 1];
    let mut len = 0;
    // SAFETY: the text has the length that MPI may write.
    let known = unsafe { ffi::MPI_Error_string(code, text.as_mut_ptr().cast(), &mut len) } == 0;
    let text = String::from_utf8_lossy(&text[..usize::try_from(len).unwrap_or(0)]).into_owned();
    Err(MpiError(if known { text } else { format!("error {code}") }))
}

/// What becomes of MPI when the process ends: it is one for the whole process.
static AT_EXIT: AtomicU8 = AtomicU8::new(AtExit::Finalize as u8);

/// What becomes of MPI when the process ends by `exit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum AtExit {
    /// It is finalised.
    Finalize,
    /// Nothing: others may still be talked to, or some are lost, for which it would wait.
    Leave,
    /// The whole job ends with it, and with its exit code.
    Abort,
    /// It is finalised if the exit code is 0; else the whole job ends.
    FinalizeOrAbort,
}

/// What is to be said first if the process ends in the midst of a session.
static BEFORE_EXIT: Mutex<Option<LastWords>> = Mutex::new(None);
/// Says whether MPI is to be finalised then.
type LastWords = Box<dyn FnOnce() -> bool + Send>;
/// The process that has initialised MPI; one that was forked from it has no part in that.
static PROCESS: AtomicU32 = AtomicU32::new(0);
/// Whether a launcher has started this process. MPI itself sets what would say so.
static LAUNCHED: AtomicBool = AtomicBool::new(false);
/// Whether this process has started others.
static SPAWNED: AtomicBool = AtomicBool::new(false);

/// MPI, initialised at a level at which its threads may take turns.
#[derive(Clone, Copy, Debug)]
pub struct Mpi(());

impl Mpi {
    /// Initialises MPI, unless that was done. It is finalised when the process ends.
    pub(crate) fn init() -> Result<Mpi> {
        // SAFETY: a constant of C's.
        let wanted = unsafe { ffi::RSMPI_THREAD_SERIALIZED };
        Mpi::init_at(wanted, wanted).map(|(mpi, _)| mpi)
    }

    /// The same at a level of what threads may do, or at least at the other one; and whether MPI was initialised before.
    fn init_at(wanted: c_int, least: c_int) -> Result<(Mpi, bool)> {
        library::check(&library_version())?;
        let (mut initialized, mut finalized, mut level) = (0, 0, 0);
        // SAFETY: these two may be called at any time.
        unsafe { (ffi::MPI_Initialized(&mut initialized), ffi::MPI_Finalized(&mut finalized)) };
        if finalized != 0 {
            return Err(Error::Unsupported {
                message: "MPI was finalised in this process, and cannot be used again: one session a process is what \
                          UNIDIST_MPI_SPAWN=false allows"
                    .into(),
            });
        }
        let failed = |error| Error::system("cannot initialise MPI", error);
        if initialized == 0 {
            LAUNCHED.store(crate::launch::under_launcher(), Ordering::Relaxed);
        }
        // SAFETY: MPI was not initialised; it takes no arguments. Or it was, and says how.
        unsafe {
            let no = std::ptr::null_mut();
            let code = match initialized {
                0 => ffi::MPI_Init_thread(no, no.cast(), wanted, &mut level),
                _ => ffi::MPI_Query_thread(&mut level),
            };
            check(code).map_err(failed)?;
            if initialized == 0 {
                PROCESS.store(std::process::id(), Ordering::Relaxed);
                call_at_exit();
            }
        }
        if level < least {
            return Err(Error::Unsupported { message: library::level_advice(initialized != 0) });
        }
        Ok((Mpi(()), initialized != 0))
    }

    /// All processes that were started together with this one, apart from other uses of them.
    ///
    /// # Errors
    ///
    /// MPI refuses.
    pub fn world(self) -> Result<Communicator, MpiError> {
        // SAFETY: MPI is initialised, and then this communicator is there.
        unsafe {
            let mut raw = ffi::RSMPI_COMM_NULL;
            check(ffi::MPI_Comm_dup(ffi::RSMPI_COMM_WORLD, &mut raw))?;
            Ok(Communicator::new(raw))
        }
    }

    /// The processes that have started this one, if MPI was asked for it.
    pub(crate) fn parent(self) -> Result<Option<Communicator>, MpiError> {
        // SAFETY: MPI is initialised.
        unsafe {
            let mut raw = ffi::RSMPI_COMM_NULL;
            check(ffi::MPI_Comm_get_parent(&mut raw))?;
            Ok((raw != ffi::RSMPI_COMM_NULL).then(|| Communicator::new(raw)))
        }
    }

    /// Whether a launcher has started this process.
    pub(crate) fn was_launched(self) -> bool {
        LAUNCHED.load(Ordering::Relaxed)
    }

    /// Whether this process has started others before.
    pub(crate) fn has_spawned(self) -> bool {
        SPAWNED.load(Ordering::Relaxed)
    }

    /// Starts so many processes, with this process alone on the other side of the communicator.
    pub(crate) fn spawn(
        self,
        program: &Path,
        args: &[OsString],
        count: usize,
        info: &[(&str, String)],
    ) -> Result<Communicator, MpiError> {
        let text = |bytes: &[u8]| CString::new(bytes).map_err(|error| MpiError(error.to_string()));
        let program = text(program.as_os_str().as_bytes())?;
        let args = args.iter().map(|arg| text(arg.as_bytes())).collect::<Result<Vec<_>, _>>()?;
        let mut argv: Vec<*mut c_char> = args.iter().map(|arg| arg.as_ptr().cast_mut()).collect();
        argv.push(std::ptr::null_mut());
        let mut errors = vec![0; count];
        let number = c_int::try_from(count).map_err(|error| MpiError(error.to_string()))?;
        // SAFETY: MPI is initialised; the strings, the list of arguments (which ends with a null) and as many places
        // for errors as there are processes live until the calls return. MPI writes to none of the strings.
        unsafe {
            let self_only = ffi::RSMPI_COMM_SELF;
            check(ffi::MPI_Comm_set_errhandler(self_only, ffi::RSMPI_ERRORS_RETURN))?;
            let mut keys = ffi::RSMPI_INFO_NULL;
            check(ffi::MPI_Info_create(&mut keys))?;
            for (key, value) in info {
                let (key, value) = (text(key.as_bytes())?, text(value.as_bytes())?);
                check(ffi::MPI_Info_set(keys, key.as_ptr(), value.as_ptr()))?;
            }
            let mut raw = ffi::RSMPI_COMM_NULL;
            let spawned = ffi::MPI_Comm_spawn(
                program.as_ptr(),
                argv.as_mut_ptr(),
                number,
                keys,
                0,
                self_only,
                &mut raw,
                errors.as_mut_ptr(),
            );
            ffi::MPI_Info_free(&mut keys);
            check(spawned)?;
            SPAWNED.store(true, Ordering::Relaxed);
            errors.into_iter().try_for_each(check)?;
            Ok(Communicator::new(raw))
        }
    }

    /// The name of this host, as MPI knows it.
    pub fn processor_name(self) -> String {
        let mut text = vec![0_u8; ffi::MPI_MAX_PROCESSOR_NAME as usize + 1];
        let mut len = 0;
        // SAFETY: the text has the length that MPI may write.
        unsafe { ffi::MPI_Get_processor_name(text.as_mut_ptr().cast(), &mut len) };
        text.truncate(usize::try_from(len).unwrap_or(0));
        OsString::from_vec(text).to_string_lossy().into_owned()
    }

    /// Says what is to become of MPI when the process ends.
    pub(crate) fn at_exit(self, end: AtExit) {
        AT_EXIT.store(end as u8, Ordering::Relaxed);
    }

    /// Says what is to be done first if the process ends by `exit`. The answer is whether MPI is to be finalised then.
    pub(crate) fn before_exit(self, last_words: Option<LastWords>) {
        *BEFORE_EXIT.lock().unwrap_or_else(PoisonError::into_inner) = last_words;
    }

    /// Ends MPI now. All communicators were freed.
    pub(crate) fn finalize(self) {
        self.at_exit(AtExit::Finalize);
        end_mpi(Some(0));
    }
}

/// Has [`end_mpi`] called when the process ends.
#[cfg(target_env = "gnu")]
fn call_at_exit() {
    unsafe extern "C" {
        fn on_exit(call: extern "C" fn(c_int, *mut c_void), argument: *mut c_void) -> c_int;
    }
    extern "C" fn call(code: c_int, _: *mut c_void) {
        end_mpi(Some(code));
    }
    // SAFETY: the function of glibc, see on_exit(3); what it is to call needs no argument.
    unsafe { on_exit(call, std::ptr::null_mut()) };
}

/// The same where the exit code is not told.
#[cfg(not(target_env = "gnu"))]
fn call_at_exit() {
    extern "C" fn call() {
        end_mpi(None);
    }
    // SAFETY: it may be called at any time.
    unsafe { libc::atexit(call) };
}

/// Says the last words, if there are any, and does with MPI what is to be done.
fn end_mpi(code: Option<c_int>) {
    if PROCESS.load(Ordering::Relaxed) != std::process::id() {
        return;
    }
    let last_words = BEFORE_EXIT.lock().unwrap_or_else(PoisonError::into_inner).take();
    if last_words.is_some_and(|say| say()) {
        AT_EXIT.store(AtExit::Finalize as u8, Ordering::Relaxed);
    }
    together::last_turn();
    let (mut finalized, end) = (0, AT_EXIT.load(Ordering::Relaxed));
    // SAFETY: MPI was initialised by whoever registered this; it is finalised once.
    unsafe {
        ffi::MPI_Finalized(&mut finalized);
        let is_fine =
            end == AtExit::Finalize as u8 || (end == AtExit::FinalizeOrAbort as u8 && code.unwrap_or(0) == 0);
        if finalized == 0 && is_fine {
            ffi::MPI_Finalize();
        } else if finalized == 0 && end != AtExit::Leave as u8 {
            ffi::MPI_Abort(ffi::RSMPI_COMM_WORLD, code.unwrap_or(1));
        }
    }
}

/// What the library that was loaded says it is. It may be asked at any time.
pub(crate) fn library_version() -> String {
    let mut text = vec![0_u8; ffi::MPI_MAX_LIBRARY_VERSION_STRING as usize + 1];
    let mut len = 0;
    // SAFETY: the text has the length that MPI may write.
    unsafe { ffi::MPI_Get_library_version(text.as_mut_ptr().cast(), &mut len) };
    let text = CStr::from_bytes_until_nul(&text).unwrap_or_default();
    text.to_string_lossy().into_owned()
}

/// What this build was made for: the constants of its `mpi.h`, 0 for those that it does not have.
pub(crate) fn built_for() -> library::Header {
    mod absent {
        #![allow(dead_code, reason = "which of these are hidden by those of the header depends on the MPI")]
        pub(super) const OMPI_MAJOR_VERSION: u32 = 0;
        pub(super) const MPICH_NUMVERSION: u32 = 0;
    }
    #[allow(unused_imports, reason = "see above")]
    use absent::*;
    {
        use mpi::ffi::*; // an inner name hides an outer one
        library::Header { open_mpi_major: OMPI_MAJOR_VERSION, mpich: MPICH_NUMVERSION }
    }
}

fn number(value: usize) -> Result<c_int, MpiError> {
    c_int::try_from(value).map_err(|_| MpiError(format!("{value} is too much for MPI")))
}

#[cfg(feature = "bench")]
impl MpiError {
    pub(crate) fn none() -> Self {
        MpiError("there is no group".into())
    }
}
