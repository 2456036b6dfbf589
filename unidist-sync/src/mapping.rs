//! Mapped memory.

use memmap2::{MmapOptions, MmapRaw};
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
        Ok(Mapping(MmapRaw::from(MmapOptions::new().len(len).map_anon()?)))
    }

    /// The first `len` bytes of a file, shared with every process that maps them.
    ///
    /// # Errors
    ///
    /// The system refuses, or `len` is 0.
    pub fn shared(file: &File, len: usize) -> io::Result<Self> {
        Ok(Mapping(MmapOptions::new().len(len).map_raw(file)?))
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
        Ok(ReadOnlyMapping(MmapOptions::new().offset(offset).len(len).map_raw_read_only(file)?))
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
