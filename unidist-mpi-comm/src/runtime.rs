#![allow(unsafe_code)] // calls of a C library that have returned when a function here returns
//! MPI in this process: initialisation, the world, spawned processes.

use crate::exit::{self, ExitAction};
use crate::{Communicator, MpiError, launcher, library, output, to_c_int};
use mpi::ffi;
use std::ffi::{CString, OsString, c_char, c_int};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use unidist_common::{Error, Result};

/// Whether a launcher started this process. Read before `MPI_Init`, which itself sets the launcher's variables.
static LAUNCHED: AtomicBool = AtomicBool::new(false);
/// Whether this process has spawned others.
static SPAWNED: AtomicBool = AtomicBool::new(false);

/// Turns a return code into a result.
pub(crate) fn check(code: c_int) -> Result<(), MpiError> {
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

/// A token: MPI is initialised in this process.
#[derive(Clone, Copy, Debug)]
pub struct Mpi(());

impl Mpi {
    /// Initialises MPI at `MPI_THREAD_SERIALIZED`, unless it is initialised. MPI is finalised when the process exits.
    ///
    /// # Errors
    ///
    /// The loaded library is not the one that the program was built for, MPI fails, was finalised, or was initialised at
    /// a lower thread level.
    pub fn init() -> Result<Mpi> {
        // SAFETY: a constant of C's.
        let serialized = unsafe { ffi::RSMPI_THREAD_SERIALIZED };
        Mpi::init_at(serialized, serialized).map(|(mpi, _)| mpi)
    }

    /// Initialises MPI for a program of ranks, unless it is initialised. It asks for `MPI_THREAD_MULTIPLE`, but with
    /// Open MPI 4 for `MPI_THREAD_SERIALIZED`: at a higher level that has no one-sided operations over TCP.
    ///
    /// If the process exits with a code other than 0, which includes a panic in `main`, the job is aborted, because the
    /// other ranks would wait for this one.
    ///
    /// # Errors
    ///
    /// The loaded library is not the one that the program was built for, MPI fails, or was finalised.
    pub fn init_for_ranks() -> Result<Mpi> {
        // SAFETY: constants of C's.
        let (serialized, multiple, single) =
            unsafe { (ffi::RSMPI_THREAD_SERIALIZED, ffi::RSMPI_THREAD_MULTIPLE, ffi::RSMPI_THREAD_SINGLE) };
        let wanted = if library::Library::is_open_mpi_4() { serialized } else { multiple };
        select_one_sided_component();
        let (mpi, was_initialised) = Mpi::init_at(wanted, single)?;
        if !was_initialised {
            mpi.set_exit_action(ExitAction::FinalizeOrAbort);
        }
        Ok(mpi)
    }

    /// Initialises MPI at the thread level `wanted`, and fails below `least`. Returns also whether it was initialised
    /// before.
    fn init_at(wanted: c_int, least: c_int) -> Result<(Mpi, bool)> {
        library::check_loaded()?;
        let (mut initialized, mut finalized, mut level) = (0, 0, 0);
        // SAFETY: these two may be called at any time.
        unsafe { (ffi::MPI_Initialized(&mut initialized), ffi::MPI_Finalized(&mut finalized)) };
        if finalized != 0 {
            return Err(Error::Unsupported {
                message: "MPI was finalised in this process and cannot be initialised again: with \
                          UNIDIST_MPI_SPAWN=false, a process can run one session only"
                    .into(),
            });
        }
        let failed = |error| Error::system("cannot initialise MPI", error);
        if initialized == 0 {
            LAUNCHED.store(launcher::under_launcher(), Ordering::Relaxed);
        }
        // SAFETY: MPI was not initialised; it takes no arguments. Or it was, and reports its level.
        unsafe {
            let none = std::ptr::null_mut();
            let code = match initialized {
                0 => ffi::MPI_Init_thread(none, none.cast(), wanted, &mut level),
                _ => ffi::MPI_Query_thread(&mut level),
            };
            check(code).map_err(failed)?;
        }
        if initialized == 0 {
            exit::register();
        }
        if level < least {
            return Err(Error::Unsupported { message: library::thread_level_advice(initialized != 0) });
        }
        Ok((Mpi(()), initialized != 0))
    }

    /// Whether MPI is initialised and not finalised, so that it can be called.
    pub fn is_active() -> bool {
        let (mut initialised, mut finalised) = (0, 0);
        // SAFETY: these two may be called at any time.
        unsafe { (ffi::MPI_Initialized(&mut initialised), ffi::MPI_Finalized(&mut finalised)) };
        initialised != 0 && finalised == 0
    }

    /// Whether several threads may call MPI, one at a time (`MPI_THREAD_SERIALIZED` or more).
    pub fn is_thread_serialized(self) -> bool {
        let mut level = 0;
        // SAFETY: MPI is initialised.
        unsafe { ffi::MPI_Query_thread(&mut level) == 0 && level >= ffi::RSMPI_THREAD_SERIALIZED }
    }

    /// A duplicate of `MPI_COMM_WORLD`: all processes that were started together with this one.
    ///
    /// # Errors
    ///
    /// MPI fails.
    pub fn world(self) -> Result<Communicator, MpiError> {
        // SAFETY: MPI is initialised, so this communicator exists.
        unsafe {
            let mut raw = ffi::RSMPI_COMM_NULL;
            check(ffi::MPI_Comm_dup(ffi::RSMPI_COMM_WORLD, &mut raw))?;
            Ok(Communicator::new(raw))
        }
    }

    /// The intercommunicator with the process that spawned this one; `None` if MPI did not spawn it.
    ///
    /// # Errors
    ///
    /// MPI fails.
    pub fn parent(self) -> Result<Option<Communicator>, MpiError> {
        // SAFETY: MPI is initialised.
        unsafe {
            let mut raw = ffi::RSMPI_COMM_NULL;
            check(ffi::MPI_Comm_get_parent(&mut raw))?;
            Ok((raw != ffi::RSMPI_COMM_NULL).then(|| Communicator::new(raw)))
        }
    }

    /// Whether a launcher started this process.
    pub fn was_launched(self) -> bool {
        LAUNCHED.load(Ordering::Relaxed)
    }

    /// Whether this process has spawned others before.
    pub fn has_spawned(self) -> bool {
        SPAWNED.load(Ordering::Relaxed)
    }

    /// Spawns `count` processes. Returns the intercommunicator with them, on which this process is alone on its side.
    /// `info` are the keys and values of the `MPI_Info`.
    ///
    /// # Errors
    ///
    /// MPI fails to start one of them.
    pub fn spawn(
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
        let number = to_c_int(count)?;
        // SAFETY: MPI is initialised; the strings, the list of arguments (which ends with a null) and one place for an
        // error of each process live until the calls return. MPI writes to none of the strings.
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

    /// Prints `why` and aborts the whole job.
    pub fn abort(why: &str) -> ! {
        eprintln!("unidist: {why}: the job is aborted");
        if Mpi::is_active() {
            output::wait_until_read();
            // SAFETY: MPI is initialised.
            unsafe { ffi::MPI_Abort(ffi::RSMPI_COMM_WORLD, 1) };
        }
        std::process::abort();
    }

    /// The same from a thread that does not call MPI otherwise: by MPI if no other thread is in it, else by the launcher,
    /// which sees this process end.
    pub fn abort_from_thread(why: &str) -> ! {
        match Mpi::try_lock_calls() {
            Some(_guard) if Mpi::is_active() && Mpi(()).is_thread_serialized() => Mpi::abort(why),
            _ => {
                eprintln!("unidist: {why}: the job is aborted");
                std::process::abort()
            }
        }
    }
}

/// The components of Open MPI 4 for one-sided operations. Of the others, one crashes between ranks of a host, and the
/// one that works over TCP is switched off by some distributions.
const ONE_SIDED_COMPONENTS: (&str, &str) = ("OMPI_MCA_osc", "sm,pt2pt");

/// Selects Open MPI 4's components for one-sided operations, unless MPI is initialised or the user has selected some.
fn select_one_sided_component() {
    let (variable, value) = ONE_SIDED_COMPONENTS;
    let is_set = std::env::var_os(variable).is_some();
    if !is_set && library::Library::is_open_mpi_4() && !Mpi::is_active() {
        // SAFETY: MPI changes the environment when it is initialised, too, which comes next: the caller that initialises
        // it has made sure that no other thread reads the environment meanwhile.
        unsafe { std::env::set_var(variable, value) };
    }
}
