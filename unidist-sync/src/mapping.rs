//! Mapped memory. Core files leave it out: it is large, and mostly the data of other processes.

use crate::SystemCallError;
use memmap2::{Advice, MmapOptions, MmapRaw};
use std::fs::File;
use std::io;

/// Mapped memory, readable and writable, page-aligned and zeroed at first. It is unmapped on drop.
#[derive(Debug)]
pub struct Mapping(MmapRaw);

impl Mapping {
    /// Memory of this process only.
    ///
    /// # Errors
    ///
    /// The system refuses, or `len` is 0.
    pub fn private(len: usize) -> io::Result<Self> {
        Ok(Mapping(not_dumped(MmapRaw::from(MmapOptions::new().len(len).map_anon().map_err(refused)?))))
    }

    /// The first `len` bytes of a file, shared with every process that maps them.
    ///
    /// # Errors
    ///
    /// The system refuses, or `len` is 0.
    pub fn shared(file: &File, len: usize) -> io::Result<Self> {
        Ok(Mapping(not_dumped(MmapOptions::new().len(len).map_raw(file).map_err(refused)?)))
    }

    /// The `len` bytes of a file from `offset` on, shared with every process that maps them.
    ///
    /// # Errors
    ///
    /// The system refuses, or `len` is 0.
    pub fn shared_at(file: &File, offset: u64, len: usize) -> io::Result<Self> {
        let map = MmapOptions::new().offset(offset).len(len).map_raw(file).map_err(refused)?;
        Ok(Mapping(not_dumped(map)))
    }

    /// The length in bytes.
    #[inline]
    #[expect(clippy::len_without_is_empty, reason = "a mapping is never empty")]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The first byte.
    #[inline]
    pub fn as_mut_ptr(&self) -> *mut u8 {
        self.0.as_mut_ptr()
    }
}

/// Mapped bytes of a file, for reading. They are unmapped on drop.
#[derive(Debug)]
pub struct ReadOnlyMapping(MmapRaw);

impl ReadOnlyMapping {
    /// The `len` bytes of a file from `offset` on.
    ///
    /// # Errors
    ///
    /// The system refuses, or `len` is 0.
    pub fn new(file: &File, offset: u64, len: usize) -> io::Result<Self> {
        let map = MmapOptions::new().offset(offset).len(len).map_raw_read_only(file).map_err(refused)?;
        Ok(ReadOnlyMapping(not_dumped(map)))
    }

    /// The length in bytes.
    #[inline]
    #[expect(clippy::len_without_is_empty, reason = "a mapping is never empty")]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The first byte.
    #[inline]
    pub fn as_ptr(&self) -> *const u8 {
        self.0.as_ptr()
    }
}

fn refused(error: io::Error) -> io::Error {
    SystemCallError::new("mmap", error).into()
}

/// Has the kernel leave the mapping out of core files. Otherwise, a process that crashes writes the whole file, since
/// shared files without a name are dumped like memory, and its death is noticed only when that is done.
fn not_dumped(map: MmapRaw) -> MmapRaw {
    #[cfg(target_os = "linux")]
    // If the kernel refuses, core files are large, and everything else works.
    let _ = map.advise(Advice::DontDump);
    map
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    /// Whether the mapping that begins at this address is left out of core files: its flags have `dd`.
    fn is_left_out(start: usize) -> bool {
        let smaps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let from_start = smaps.lines().skip_while(|line| !line.starts_with(&format!("{start:x}-")));
        let flags = from_start.into_iter().find_map(|line| line.strip_prefix("VmFlags:")).unwrap();
        flags.split_whitespace().any(|flag| flag == "dd")
    }

    #[test]
    fn every_mapping_is_left_out_of_core_files() {
        let mut file = tempfile();
        file.write_all(&[7; 8192]).unwrap();
        let (private, shared) = (Mapping::private(8192).unwrap(), Mapping::shared(&file, 8192).unwrap());
        let read_only = ReadOnlyMapping::new(&file, 4096, 4096).unwrap();
        assert!(is_left_out(private.as_mut_ptr().addr()));
        assert!(is_left_out(shared.as_mut_ptr().addr()));
        assert!(is_left_out(Mapping::shared_at(&file, 4096, 4096).unwrap().as_mut_ptr().addr()));
        assert!(is_left_out(read_only.as_ptr().addr()));
    }

    fn tempfile() -> File {
        File::from(rustix::fs::memfd_create("unidist-test", rustix::fs::MemfdFlags::CLOEXEC).unwrap())
    }
}
