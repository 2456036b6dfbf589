#![allow(unsafe_code)] // calls of a C library; what it reads and writes later is kept alive by the operations
//! MPI: the one module that names it.
//!
//! Nothing here waits, but for what a session does at its beginning and end: [`Mpi::init`], [`Mpi::spawn`],
//! [`Communicator::merge`], [`Communicator::split`], [`Communicator::all_gather`]. Sources are always named: between
//! processes that were started later, MPICH over UCX does not serve a receive from anyone.

use crate::library;
use bytes::Bytes;
use mpi::ffi;
use mpi::raw::AsRaw;
use std::ffi::{CStr, CString, OsString, c_char, c_int, c_void};
use std::fmt;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use unidist_common::{Error, Result};
use unidist_core::WritableBuffer;

/// What MPI answered when it could not do something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MpiError(String);

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
pub(crate) struct Mpi(());

impl Mpi {
    /// Initialises MPI, unless that was done. It is finalised when the process ends.
    pub(crate) fn init() -> Result<Mpi> {
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
        // SAFETY: MPI was not initialised; it takes no arguments. Or it was, and says how. The constant is one of C's.
        let wanted = unsafe {
            let wanted = ffi::RSMPI_THREAD_SERIALIZED;
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
            wanted
        };
        if level < wanted {
            return Err(Error::Unsupported { message: library::level_advice(initialized != 0) });
        }
        Ok(Mpi(()))
    }

    /// All processes that were started together with this one, apart from other uses of them.
    pub(crate) fn world(self) -> Result<Communicator, MpiError> {
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
    pub(crate) fn processor_name(self) -> String {
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
        end_mpi(0);
    }
}

/// Has [`end_mpi`] called when the process ends.
#[cfg(target_env = "gnu")]
fn call_at_exit() {
    unsafe extern "C" {
        fn on_exit(call: extern "C" fn(c_int, *mut c_void), argument: *mut c_void) -> c_int;
    }
    extern "C" fn call(code: c_int, _: *mut c_void) {
        end_mpi(code);
    }
    // SAFETY: the function of glibc, see on_exit(3); what it is to call needs no argument.
    unsafe { on_exit(call, std::ptr::null_mut()) };
}

/// The same where the exit code is not told.
#[cfg(not(target_env = "gnu"))]
fn call_at_exit() {
    extern "C" fn call() {
        end_mpi(1);
    }
    // SAFETY: it may be called at any time.
    unsafe { libc::atexit(call) };
}

/// Says the last words, if there are any, and does with MPI what is to be done.
fn end_mpi(code: c_int) {
    if PROCESS.load(Ordering::Relaxed) != std::process::id() {
        return;
    }
    let last_words = BEFORE_EXIT.lock().unwrap_or_else(PoisonError::into_inner).take();
    if last_words.is_some_and(|say| say()) {
        AT_EXIT.store(AtExit::Finalize as u8, Ordering::Relaxed);
    }
    let (mut finalized, end) = (0, AT_EXIT.load(Ordering::Relaxed));
    // SAFETY: MPI was initialised by whoever registered this; it is finalised once.
    unsafe {
        ffi::MPI_Finalized(&mut finalized);
        if finalized == 0 && end == AtExit::Finalize as u8 {
            ffi::MPI_Finalize();
        } else if finalized == 0 && end == AtExit::Abort as u8 {
            ffi::MPI_Abort(ffi::RSMPI_COMM_WORLD, code);
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

/// Communicators of the crate `mpi`, as programs have them.
pub trait AnyCommunicator: AsRaw<Raw = ffi::MPI_Comm> {}

impl<C: AsRaw<Raw = ffi::MPI_Comm>> AnyCommunicator for C {}

/// A group of processes that talk to each other.
#[derive(Debug)]
pub(crate) struct Communicator {
    raw: ffi::MPI_Comm,
}

// SAFETY: MPI was initialised so that threads may take turns; the methods that talk take `&self` of a value that is not
// `Sync`, so they do.
unsafe impl Send for Communicator {}

impl Communicator {
    /// Takes over a communicator; its errors are returned from now on.
    fn new(raw: ffi::MPI_Comm) -> Self {
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

    pub(crate) fn rank(&self) -> usize {
        let mut rank = 0;
        // SAFETY: the communicator is there.
        unsafe { ffi::MPI_Comm_rank(self.raw, &mut rank) };
        usize::try_from(rank).unwrap_or(0)
    }

    pub(crate) fn size(&self) -> usize {
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

    /// Those of the group that name the same `color`, in the order of their ranks; no group for those that name none.
    pub(crate) fn split(&self, color: Option<u16>) -> Result<Option<Communicator>, MpiError> {
        // SAFETY: the communicator is there; the constants are C's.
        unsafe {
            let color = color.map_or(ffi::RSMPI_UNDEFINED, c_int::from);
            let mut raw = ffi::RSMPI_COMM_NULL;
            check(ffi::MPI_Comm_split(self.raw, color, 0, &mut raw))?;
            Ok((raw != ffi::RSMPI_COMM_NULL).then(|| Communicator::new(raw)))
        }
    }

    /// Those of the group that share memory with this process.
    pub(crate) fn split_by_host(&self) -> Result<Communicator, MpiError> {
        // SAFETY: see `split`.
        unsafe {
            let mut raw = ffi::RSMPI_COMM_NULL;
            let (shared, no) = (ffi::RSMPI_COMM_TYPE_SHARED, ffi::RSMPI_INFO_NULL);
            check(ffi::MPI_Comm_split_type(self.raw, shared, 0, no, &mut raw))?;
            Ok(Communicator::new(raw))
        }
    }

    /// What each of the group says, by rank.
    pub(crate) fn all_gather(&self, said: &[u8]) -> Result<Vec<Vec<u8>>, MpiError> {
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
    pub(crate) fn free(&mut self) {
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

fn number(value: usize) -> Result<c_int, MpiError> {
    c_int::try_from(value).map_err(|_| MpiError(format!("{value} is too much for MPI")))
}

/// Memory that MPI fills, in parts.
pub(crate) struct Target {
    start: *mut u8,
    len: usize,
    _buffer: Box<dyn WritableBuffer>,
}

// SAFETY: the buffer may go to other threads; its memory is only written, by MPI, each part once.
unsafe impl Send for Target {}
// SAFETY: see above; nothing is done to a shared one but asking for its length.
unsafe impl Sync for Target {}

/// A part of a [`Target`] that nobody else has.
pub(crate) struct Part {
    target: Arc<Target>,
    start: usize,
    len: usize,
}

impl Part {
    /// The parts of this memory, of at most this size. There is at least one unless the memory is empty.
    pub(crate) fn all_of(mut buffer: Box<dyn WritableBuffer>, size: usize) -> impl Iterator<Item = Part> {
        let (start, len) = (buffer.as_mut_ptr(), buffer.len());
        let target = Arc::new(Target { start, len, _buffer: buffer });
        let starts = (0..len).step_by(size);
        starts.map(move |start| Part { target: target.clone(), start, len: size.min(target.len - start) })
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }
}

/// Memory that an operation needs.
enum Memory {
    Message(Vec<u8>),
    Part { _part: Bytes },
    Filled { _part: Part },
    Arriving(Vec<u8>, usize),
}

/// A sending or receiving that MPI goes on with, and the memory that it needs. Dropped before its end, it leaves the
/// memory to MPI for ever.
pub(crate) struct Operation {
    request: ffi::MPI_Request,
    memory: ManuallyDrop<Memory>,
}

// SAFETY: MPI was initialised so that threads may take turns, and `&mut self` has them do so.
unsafe impl Send for Operation {}

impl Operation {
    fn new(request: ffi::MPI_Request, memory: Memory) -> Self {
        Operation { request, memory: ManuallyDrop::new(memory) }
    }

    /// Whether it has ended.
    pub(crate) fn test(&mut self) -> Result<bool, MpiError> {
        let mut ended = 0;
        // SAFETY: the request is one that MPI has given, or the null one, which has always ended.
        check(unsafe { ffi::MPI_Test(&mut self.request, &mut ended, ffi::RSMPI_STATUS_IGNORE) })?;
        Ok(ended != 0)
    }

    /// Asks MPI to give up a receiving; it ends then, received or not.
    pub(crate) fn cancel(&mut self) {
        let receives = matches!(*self.memory, Memory::Filled { .. });
        // SAFETY: the request is one that MPI has given and that has not ended.
        unsafe {
            if receives && self.request != ffi::RSMPI_REQUEST_NULL {
                ffi::MPI_Cancel(&mut self.request);
            }
        }
    }

    /// The message that was sent or received, once it has ended.
    pub(crate) fn into_message(mut self) -> Option<Vec<u8>> {
        // SAFETY: a constant of C's.
        if self.request != unsafe { ffi::RSMPI_REQUEST_NULL } {
            return None;
        }
        match &mut *self.memory {
            Memory::Message(message) => Some(std::mem::take(message)),
            Memory::Arriving(bytes, len) => {
                // SAFETY: MPI has received a message of this length, for which there was room.
                unsafe { bytes.set_len(*len) };
                Some(std::mem::take(bytes))
            }
            Memory::Part { .. } | Memory::Filled { .. } => None,
        }
    }
}

impl Drop for Operation {
    fn drop(&mut self) {
        // SAFETY: MPI gives back the null request when it has done with the memory; it is dropped here and nowhere else.
        unsafe {
            if self.request == ffi::RSMPI_REQUEST_NULL {
                ManuallyDrop::drop(&mut self.memory);
            }
        }
    }
}

#[cfg(feature = "bench")]
impl MpiError {
    pub(crate) fn none() -> Self {
        MpiError("there is no group".into())
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
