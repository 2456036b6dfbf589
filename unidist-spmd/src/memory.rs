#![allow(unsafe_code)] // views of mapped memory
//! Memory that the ranks of a host share: an anonymous file (memfd) that each of them maps.
//!
//! It has no name, so nothing of it is left however the ranks end. The first rank of a host creates it, and the others
//! open it through that rank's `/proc/PID/fd`.

use crate::{Error, Result};
use bytemuck::{Pod, Zeroable};
use std::fs::{File, OpenOptions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicU32, AtomicU64};
use unidist_sync::Mapping;

/// Zeroed memory, shared or private.
#[derive(Debug)]
pub(crate) struct SharedMemory {
    /// None if it is empty.
    map: Option<Mapping>,
}

/// Where the other ranks of a host find the memory, or why there is none.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct MemoryHandle {
    pid: u32,
    descriptor: i32,
    device: u64,
    inode: u64,
    /// Identifies the running system (the boot id, hashed).
    system: u64,
    /// The error number if a step failed, else 0.
    errno: i32,
    /// The step that failed.
    step: u32,
}

/// What fails, by step.
const STEPS: [&str; 3] = ["cannot create", "cannot open", "cannot map"];
const CREATE: u32 = 0;
const OPEN: u32 = 1;
const MAP: u32 = 2;

impl SharedMemory {
    /// Memory of this process alone.
    pub(crate) fn private(len: usize) -> io::Result<Self> {
        let map = match len {
            0 => None,
            _ => Some(Mapping::private(len)?),
        };
        Ok(SharedMemory { map })
    }

    /// Memory that the ranks of each host share. Collective. `gather` exchanges one handle of each rank; `first` is the
    /// first rank on this rank's host, and `is_alone` says that the host has no other rank.
    pub(crate) fn on_host(
        len: usize,
        rank: usize,
        first: usize,
        is_alone: bool,
        mut gather: impl FnMut(MemoryHandle) -> Result<Vec<MemoryHandle>>,
    ) -> Result<Self> {
        let none = MemoryHandle::zeroed();
        let created = match (len, is_alone) {
            (0, _) => Ok((SharedMemory { map: None }, None, none)),
            (_, true) => SharedMemory::private(len).map(|memory| (memory, None, none)),
            _ if rank == first => {
                SharedMemory::create(len).map(|(memory, file, handle)| (memory, Some(file), handle))
            }
            _ => Ok((SharedMemory { map: None }, None, none)),
        };
        let own =
            created.as_ref().map_or_else(|error| MemoryHandle::failed(CREATE, error), |created| created.2);
        let handles = gather(own)?;
        check_all(&handles)?;
        // An error of this rank is among the handles and was returned above.
        let Ok((memory, file, _)) = created else { return Err(Error::Memory { message: "lost".into() }) };
        let must_open = len > 0 && !is_alone && rank != first;
        let opened = match handles.get(first) {
            Some(handle) if must_open => SharedMemory::open(handle, len),
            _ => Ok(memory),
        };
        let outcome = opened.as_ref().map_or_else(|failed| *failed, |_| none);
        check_all(&gather(outcome)?)?;
        drop(file); // all have opened it
        opened.map_err(|_| Error::Memory { message: "lost".into() })
    }

    pub(crate) fn create(len: usize) -> io::Result<(Self, File, MemoryHandle)> {
        let len = u64::try_from(len).map_err(io::Error::other)?;
        let (mapping, file) = unidist_sync::SharedMemory::create("unidist-spmd", len)?.into_parts();
        let metadata = file.metadata()?;
        let handle = MemoryHandle {
            pid: std::process::id(),
            descriptor: file.as_raw_fd(),
            device: metadata.dev(),
            inode: metadata.ino(),
            system: system_id(),
            ..MemoryHandle::zeroed()
        };
        Ok((SharedMemory { map: Some(mapping) }, file, handle))
    }

    pub(crate) fn open(handle: &MemoryHandle, len: usize) -> Result<Self, MemoryHandle> {
        let path = format!("/proc/{}/fd/{}", handle.pid, handle.descriptor);
        let open = || {
            let file = OpenOptions::new().read(true).write(true).open(path)?;
            let metadata = file.metadata()?;
            let is_same =
                (metadata.dev(), metadata.ino(), system_id()) == (handle.device, handle.inode, handle.system);
            let is_long_enough = metadata.len() >= u64::try_from(len).map_err(io::Error::other)?;
            // In a PID namespace of its own, a rank sees another process under this number.
            let stale = || io::Error::from_raw_os_error(rustix::io::Errno::STALE.raw_os_error());
            if is_same && is_long_enough { Ok(file) } else { Err(stale()) }
        };
        let file = open().map_err(|error| MemoryHandle::failed(OPEN, &error))?;
        let map = Mapping::shared(&file, len).map_err(|error| MemoryHandle::failed(MAP, &error))?;
        Ok(SharedMemory { map: Some(map) })
    }

    /// The address; dangling if the memory is empty.
    pub(crate) fn start(&self) -> *mut u8 {
        self.map.as_ref().map_or(std::ptr::dangling_mut::<u128>().cast(), Mapping::as_mut_ptr)
    }

    pub(crate) fn len(&self) -> usize {
        self.map.as_ref().map_or(0, Mapping::len)
    }
}

impl MemoryHandle {
    fn failed(step: u32, error: &io::Error) -> Self {
        let unknown = rustix::io::Errno::IO.raw_os_error();
        MemoryHandle {
            errno: unidist_sync::error_number(error).unwrap_or(unknown),
            step,
            ..MemoryHandle::zeroed()
        }
    }
}

/// A number that differs between hosts, and between boots of a host.
fn system_id() -> u64 {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    hasher.finish()
}

/// The error of the first rank that has failed.
fn check_all(handles: &[MemoryHandle]) -> Result<()> {
    let Some((rank, handle)) = handles.iter().enumerate().find(|(_, handle)| handle.errno != 0) else {
        return Ok(());
    };
    let step = usize::try_from(handle.step).ok().and_then(|step| STEPS.get(step)).unwrap_or(&"cannot share");
    let advice = match handle.step {
        OPEN => {
            " (the ranks of a host must see each other's processes: start all of them in one container, or all outside; a \
             communicator of a host must contain no rank of another host)"
        }
        _ => "",
    };
    let error = io::Error::from_raw_os_error(handle.errno);
    let error = unidist_sync::with_cause(&error);
    Err(Error::Memory { message: format!("rank {rank} {step} it: {error}{advice}") })
}

/// Memory as atomic numbers, which all ranks that share it may read and change at any time.
#[derive(Debug)]
pub(crate) struct AtomicWords {
    memory: SharedMemory,
    numbers: usize,
    futexes: usize,
}

impl AtomicWords {
    /// The length in bytes of memory with this many words.
    pub(crate) fn len(numbers: usize, futexes: usize) -> Option<usize> {
        let numbers = numbers.checked_mul(size_of::<AtomicU64>())?;
        numbers.checked_add(futexes.checked_mul(size_of::<AtomicU32>())?)
    }

    /// Numbers of 64 bits, and words of 32 bits for futexes; `None` if `memory` is shorter than [`AtomicWords::len`].
    pub(crate) fn new(memory: SharedMemory, numbers: usize, futexes: usize) -> Option<Self> {
        (AtomicWords::len(numbers, futexes)? <= memory.len()).then_some(AtomicWords {
            memory,
            numbers,
            futexes,
        })
    }

    pub(crate) fn numbers(&self) -> &[AtomicU64] {
        // SAFETY: this many are in the memory, which begins at a page, is zeroed at first, lives as long as `self` and is
        // used in no other way.
        unsafe { std::slice::from_raw_parts(self.memory.start().cast(), self.numbers) }
    }

    pub(crate) fn futexes(&self) -> &[AtomicU32] {
        // SAFETY: see above; they begin where the numbers end.
        unsafe {
            let start = self.memory.start().add(self.numbers * size_of::<AtomicU64>());
            std::slice::from_raw_parts(start.cast(), self.futexes)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::Ordering;

    #[test]
    fn numbers_and_futexes_do_not_overlap() {
        let len = AtomicWords::len(3, 5).unwrap();
        let words = AtomicWords::new(SharedMemory::private(len).unwrap(), 3, 5).unwrap();
        words.numbers().iter().for_each(|number| number.store(u64::MAX, Ordering::Relaxed));
        assert!(words.futexes().iter().all(|futex| futex.load(Ordering::Relaxed) == 0));
        words.futexes()[4].store(7, Ordering::Relaxed);
        assert_eq!(words.numbers()[2].load(Ordering::Relaxed), u64::MAX);
        assert!(AtomicWords::new(SharedMemory::private(len - 1).unwrap(), 3, 5).is_none());
        assert_eq!(AtomicWords::len(usize::MAX, 1), None);
    }

    #[test]
    fn empty_memory_is_not_mapped() {
        let empty = SharedMemory::private(0).unwrap();
        assert_eq!((empty.len(), empty.start().is_null()), (0, false));
    }

    #[test]
    fn memory_is_shared_through_its_handle() {
        let (made, file, handle) = SharedMemory::create(10_000).unwrap();
        let opened = SharedMemory::open(&handle, 10_000).unwrap();
        drop(file);
        // SAFETY: both are mapped, and nothing else uses them.
        unsafe {
            made.start().add(9_999).write(7);
            assert_eq!(opened.start().add(9_999).read(), 7);
        }
        let closed = SharedMemory::open(&handle, 10_000).unwrap_err();
        assert_ne!((closed.errno, closed.step), (0, CREATE), "the file is closed");
    }

    #[test]
    fn handle_of_another_host_is_refused() {
        let (_made, _file, handle) = SharedMemory::create(100).unwrap();
        assert!(SharedMemory::open(&MemoryHandle { system: handle.system ^ 1, ..handle }, 100).is_err());
        assert!(SharedMemory::open(&MemoryHandle { inode: handle.inode + 1, ..handle }, 100).is_err());
        assert!(SharedMemory::open(&handle, 101).is_err());
    }

    #[test]
    fn first_failure_is_the_error_of_all_ranks() {
        let failed = MemoryHandle::failed(OPEN, &io::Error::from_raw_os_error(13));
        let error = check_all(&[MemoryHandle::zeroed(), failed]).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("rank 1 cannot open it: Permission denied") && text.contains("one container"),
            "{text}"
        );
    }
}
