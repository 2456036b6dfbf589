#![allow(unsafe_code)] // views of mapped memory
//! Memory that the ranks of a host share: an anonymous file that each of them maps.
//!
//! It has no name, so nothing of it is left however the ranks end. The first rank of a host makes it, and the others
//! open it among that one's files in `/proc`.

use crate::{Error, Result};
use bytemuck::{Pod, Zeroable};
use memmap2::{MmapOptions, MmapRaw};
use rustix::fs::{MemfdFlags, SealFlags};
use std::fs::{File, OpenOptions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicU32, AtomicU64};

/// Zeroed memory.
#[derive(Debug)]
pub(crate) struct Memory {
    /// None if it is empty.
    map: Option<MmapRaw>,
}

/// Where the other ranks of a host find the memory, or that there is none.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct Offer {
    pid: u32,
    descriptor: i32,
    device: u64,
    inode: u64,
    /// Which running system it is.
    system: u64,
    /// What the system has said when it failed; 0 if it did not.
    error: i32,
    stage: u32,
}

/// What fails, where something does.
const STAGES: [&str; 3] = ["cannot make", "cannot open", "cannot map"];
const MAKE: u32 = 0;
const OPEN: u32 = 1;
const MAP: u32 = 2;

impl Memory {
    /// Memory of this process alone.
    pub(crate) fn private(len: usize) -> io::Result<Self> {
        let map = match len {
            0 => None,
            _ => Some(MmapRaw::from(MmapOptions::new().len(len).map_anon()?)),
        };
        Ok(Memory { map })
    }

    /// Memory that each host's ranks share. `gather` tells all ranks what each says; `first` is the first rank on this
    /// rank's host, and `is_alone` whether there is no other one.
    pub(crate) fn of_host(
        len: usize,
        rank: usize,
        first: usize,
        is_alone: bool,
        mut gather: impl FnMut(Offer) -> Result<Vec<Offer>>,
    ) -> Result<Self> {
        let nothing = Offer::zeroed();
        let made = match (len, is_alone) {
            (0, _) => Ok((Memory { map: None }, None, nothing)),
            (_, true) => Memory::private(len).map(|memory| (memory, None, nothing)),
            _ if rank == first => Memory::make(len).map(|(memory, file, offer)| (memory, Some(file), offer)),
            _ => Ok((Memory { map: None }, None, nothing)),
        };
        let offers = gather(made.as_ref().map_or_else(|error| Offer::failed(MAKE, error), |made| made.2))?;
        failure(&offers)?;
        // It cannot have failed, since this rank is among the offers.
        let Ok((memory, file, _)) = made else { return Err(Error::Memory { message: "lost".into() }) };
        let has_to_open = len > 0 && !is_alone && rank != first;
        let opened = match offers.get(first) {
            Some(offer) if has_to_open => Memory::open(offer, len),
            _ => Ok(memory),
        };
        let outcome = opened.as_ref().map_or_else(|failed| *failed, |_| nothing);
        failure(&gather(outcome)?)?;
        drop(file); // all have opened it
        opened.map_err(|_| Error::Memory { message: "lost".into() })
    }

    pub(crate) fn make(len: usize) -> io::Result<(Self, File, Offer)> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let file = File::from(rustix::fs::memfd_create("unidist-spmd", flags)?);
        file.set_len(u64::try_from(len).map_err(io::Error::other)?)?;
        rustix::fs::fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
        let metadata = file.metadata()?;
        let offer = Offer {
            pid: std::process::id(),
            descriptor: file.as_raw_fd(),
            device: metadata.dev(),
            inode: metadata.ino(),
            system: system(),
            ..Offer::zeroed()
        };
        Ok((Memory { map: Some(MmapOptions::new().len(len).map_raw(&file)?) }, file, offer))
    }

    pub(crate) fn open(offer: &Offer, len: usize) -> Result<Self, Offer> {
        let path = format!("/proc/{}/fd/{}", offer.pid, offer.descriptor);
        let open = || {
            let file = OpenOptions::new().read(true).write(true).open(path)?;
            let metadata = file.metadata()?;
            let is_it =
                (metadata.dev(), metadata.ino(), system()) == (offer.device, offer.inode, offer.system);
            let is_long_enough = metadata.len() >= u64::try_from(len).map_err(io::Error::other)?;
            // Another process can have that number where processes are counted for each rank.
            let other = || io::Error::from_raw_os_error(rustix::io::Errno::STALE.raw_os_error());
            if is_it && is_long_enough { Ok(file) } else { Err(other()) }
        };
        let file = open().map_err(|error| Offer::failed(OPEN, &error))?;
        let map = MmapOptions::new().len(len).map_raw(&file).map_err(|error| Offer::failed(MAP, &error))?;
        Ok(Memory { map: Some(map) })
    }

    /// Where it is; dangling if it is empty.
    pub(crate) fn start(&self) -> *mut u8 {
        self.map.as_ref().map_or(std::ptr::dangling_mut::<u128>().cast(), MmapRaw::as_mut_ptr)
    }

    pub(crate) fn len(&self) -> usize {
        self.map.as_ref().map_or(0, MmapRaw::len)
    }
}

impl Offer {
    fn failed(stage: u32, error: &io::Error) -> Self {
        let unknown = rustix::io::Errno::IO.raw_os_error();
        Offer { error: error.raw_os_error().unwrap_or(unknown), stage, ..Offer::zeroed() }
    }
}

/// A number that this host has since it was started, and no other one.
fn system() -> u64 {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let mut number = DefaultHasher::new();
    id.hash(&mut number);
    number.finish()
}

/// The failure of the first rank that has failed.
fn failure(offers: &[Offer]) -> Result<()> {
    let Some((rank, offer)) = offers.iter().enumerate().find(|(_, offer)| offer.error != 0) else {
        return Ok(());
    };
    let stage =
        usize::try_from(offer.stage).ok().and_then(|stage| STAGES.get(stage)).unwrap_or(&"cannot share");
    let advice = match offer.stage {
        OPEN => {
            " (the ranks of a host have to see each other's processes: start them in one container, if in any; ranks of other hosts \
                 are not among them)"
        }
        _ => "",
    };
    let error = io::Error::from_raw_os_error(offer.error);
    Err(Error::Memory { message: format!("rank {rank} {stage} it: {error}{advice}") })
}

/// Memory as numbers that all who share it read and change at any time.
#[derive(Debug)]
pub(crate) struct Words {
    memory: Memory,
    numbers: usize,
    bells: usize,
}

impl Words {
    /// The length of the memory that so many are in.
    pub(crate) fn len(numbers: usize, bells: usize) -> Option<usize> {
        let numbers = numbers.checked_mul(size_of::<AtomicU64>())?;
        numbers.checked_add(bells.checked_mul(size_of::<AtomicU32>())?)
    }

    /// So many numbers, and so many that can be slept on; `memory` is as long as [`Words::len`] says.
    pub(crate) fn new(memory: Memory, numbers: usize, bells: usize) -> Option<Self> {
        (Words::len(numbers, bells)? <= memory.len()).then_some(Words { memory, numbers, bells })
    }

    pub(crate) fn numbers(&self) -> &[AtomicU64] {
        // SAFETY: so many are in the memory, which begins at a page, is zeroed at first, lives as long as `self` and is
        // used in no other way.
        unsafe { std::slice::from_raw_parts(self.memory.start().cast(), self.numbers) }
    }

    pub(crate) fn bells(&self) -> &[AtomicU32] {
        // SAFETY: see above; they begin where the numbers end.
        unsafe {
            let start = self.memory.start().add(self.numbers * size_of::<AtomicU64>());
            std::slice::from_raw_parts(start.cast(), self.bells)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::Ordering;

    #[test]
    fn numbers_and_bells_are_apart() {
        let len = Words::len(3, 5).unwrap();
        let words = Words::new(Memory::private(len).unwrap(), 3, 5).unwrap();
        words.numbers().iter().for_each(|number| number.store(u64::MAX, Ordering::Relaxed));
        assert!(words.bells().iter().all(|bell| bell.load(Ordering::Relaxed) == 0));
        words.bells()[4].store(7, Ordering::Relaxed);
        assert_eq!(words.numbers()[2].load(Ordering::Relaxed), u64::MAX);
        assert!(Words::new(Memory::private(len - 1).unwrap(), 3, 5).is_none());
        assert_eq!(Words::len(usize::MAX, 1), None);
    }

    #[test]
    fn no_memory_is_no_mapping() {
        let empty = Memory::private(0).unwrap();
        assert_eq!((empty.len(), empty.start().is_null()), (0, false));
    }

    #[test]
    fn a_file_of_this_process_is_opened_as_by_another() {
        let (made, file, offer) = Memory::make(10_000).unwrap();
        let opened = Memory::open(&offer, 10_000).unwrap();
        drop(file);
        // SAFETY: both are mapped, and nobody else uses them.
        unsafe {
            made.start().add(9_999).write(7);
            assert_eq!(opened.start().add(9_999).read(), 7);
        }
        let closed = Memory::open(&offer, 10_000).unwrap_err();
        assert_ne!((closed.error, closed.stage), (0, MAKE), "its file is closed");
    }

    #[test]
    fn what_another_host_offers_is_not_opened() {
        let (_made, _file, offer) = Memory::make(100).unwrap();
        assert!(Memory::open(&Offer { system: offer.system ^ 1, ..offer }, 100).is_err());
        assert!(Memory::open(&Offer { inode: offer.inode + 1, ..offer }, 100).is_err());
        assert!(Memory::open(&offer, 101).is_err());
    }

    #[test]
    fn the_first_failure_is_that_of_all() {
        let failed = Offer::failed(OPEN, &io::Error::from_raw_os_error(13));
        let error = failure(&[Offer::zeroed(), failed]).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("rank 1 cannot open it: Permission denied") && text.contains("one container"),
            "{text}"
        );
    }
}
