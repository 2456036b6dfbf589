//! Shared memory: an anonymous file that several processes map.
//!
//! The file has no name, so a crash leaves nothing behind, and its size is sealed, so no process can take memory away
//! from under another one. It is sparse: a page exists once it is written to.

use crate::{Mapping, SystemCallError};
use rustix::fs::{MemfdFlags, Mode, SealFlags};
use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};
use std::fs::File;
use std::io;
use std::ops::RangeInclusive;
use std::os::fd::{AsFd, BorrowedFd};

/// Shared memory with the file that other processes open it by.
#[derive(Debug)]
pub struct SharedMemory {
    mapping: Mapping,
    file: File,
}

impl SharedMemory {
    /// New memory of `len` bytes. `name` is what `/proc` shows.
    ///
    /// # Errors
    ///
    /// The system refuses, or `len` is 0.
    pub fn create(name: &str, len: u64) -> io::Result<Self> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let failed = |call| move |error: Errno| SystemCallError::new(call, error);
        let file = File::from(rustix::fs::memfd_create(name, flags).map_err(failed("memfd_create"))?);
        // Others could open it only through a process of the same user; the mode says so, too.
        let _ = rustix::fs::fchmod(&file, Mode::RUSR | Mode::WUSR);
        // Exceeding the limit would raise a signal, which ends the process.
        if getrlimit(Resource::Fsize).current.is_some_and(|limit| len > limit) {
            return Err(failed("ftruncate")(Errno::FBIG).into());
        }
        rustix::fs::ftruncate(&file, len).map_err(failed("ftruncate"))?;
        rustix::fs::fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)
            .map_err(failed("fcntl(F_ADD_SEALS)"))?;
        SharedMemory::map(file, len)
    }

    /// Maps memory that another process has created, if its size is sealed and in `expected_len`.
    ///
    /// # Errors
    ///
    /// It is another file, or the system refuses.
    pub fn open(file: File, expected_len: RangeInclusive<u64>) -> io::Result<Self> {
        let len = SharedMemory::checked_len(&file, expected_len)?;
        SharedMemory::map(file, len)
    }

    /// The length of memory that another process has created, if its size is sealed and in `expected_len`.
    ///
    /// # Errors
    ///
    /// It is another file, or the system refuses.
    pub fn checked_len(file: &File, expected_len: RangeInclusive<u64>) -> io::Result<u64> {
        let is_sealed = rustix::fs::fcntl_get_seals(file)?.contains(SealFlags::SHRINK);
        let len = file.metadata()?.len();
        if !is_sealed || !expected_len.contains(&len) {
            let message =
                format!("the file is not the expected shared memory: {len} bytes, sealed: {is_sealed}");
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        Ok(len)
    }

    fn map(file: File, len: u64) -> io::Result<Self> {
        let mapping = Mapping::shared(&file, usize::try_from(len).map_err(io::Error::other)?)?;
        Ok(SharedMemory { mapping, file })
    }

    /// The file, to be passed to another process.
    pub fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// The mapped bytes.
    #[inline]
    pub fn mapping(&self) -> &Mapping {
        &self.mapping
    }

    /// The mapping and the file, which an owner can close once no other process opens it any more.
    pub fn into_parts(self) -> (Mapping, File) {
        (self.mapping, self.file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_refuses_an_unsealed_file_and_another_length() {
        let sealed = SharedMemory::create("unidist-test", 8192).unwrap();
        let file = || File::from(sealed.file().try_clone_to_owned().unwrap());
        assert_eq!(SharedMemory::open(file(), 4096..=8192).unwrap().mapping().len(), 8192);
        assert!(SharedMemory::open(file(), 0..=4096).is_err());
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let unsealed = File::from(rustix::fs::memfd_create("unidist-test", flags).unwrap());
        unsealed.set_len(8192).unwrap();
        assert!(SharedMemory::open(unsealed, 0..=8192).is_err());
    }
}
