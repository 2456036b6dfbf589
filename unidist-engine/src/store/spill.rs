//! The spill file: holds objects that were evicted from memory to make space for others.
//!
//! There is one file per session and host, in a folder that the user chooses. It has no name, so a crash leaves nothing
//! behind. The engine alone makes it grow, and space on the disk belongs to a block before a process gets the block: a
//! full disk is an error and never a signal. The file is read by mapping, so a reader needs neither space in the store nor
//! a copy, and the kernel caches the pages in use. A process writes only to blocks that were reserved for it, and none
//! makes the file shorter.
#![allow(unsafe_code)] // views of mapped memory

use super::Block;
use super::arena::Arena;
use super::segment::Segment;
use bytes::Bytes;
use rustix::fs::{FallocateFlags, Mode, OFlags};
use rustix::io::Errno;
use rustix::mm::MprotectFlags;
use std::fs::File;
use std::io;
use std::ops::{Deref, DerefMut};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use unidist_backend::WritableBuffer;
use unidist_sync::{Mapping, ReadOnlyMapping};

/// Blocks of the file start and end on multiples of this, so that freed blocks can be returned to the disk.
const ALIGNMENT: u64 = 4096;

/// The most zeros that are written at once.
const ZEROS: u64 = 1 << 20;

/// The bytes that a block occupies in the file, rounding included.
pub(crate) fn size_in_file(block: Block) -> u64 {
    block.len.max(1).next_multiple_of(ALIGNMENT)
}

/// The file, as every process has it.
#[derive(Debug)]
pub(crate) struct SpillFile(File);

impl SpillFile {
    /// Wraps a file that the engine has created.
    pub(crate) fn open(file: File) -> io::Result<Arc<SpillFile>> {
        match file.metadata()?.is_file() {
            true => Ok(Arc::new(SpillFile(file))),
            false => Err(io::Error::new(io::ErrorKind::InvalidData, "the file is not a spill file")),
        }
    }

    /// The file, to be passed to another process.
    pub(crate) fn file(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// The bytes of a block that belongs to an object, valid while `guard` is held; `None` if it is out of bounds.
    ///
    /// As in the segment, a block is freed and reused only when no reference to its object is left, and `guard` is such a
    /// reference.
    ///
    /// # Errors
    ///
    /// The disk cannot be read.
    pub(crate) fn view<G: Send + Sync + 'static>(&self, block: Block, guard: G) -> io::Result<Option<Bytes>> {
        let Some(len) = self.len_within(block)? else { return Ok(None) };
        if len == 0 {
            return Ok(Some(Bytes::new()));
        }
        Ok(Some(match ReadOnlyMapping::new(&self.0, block.offset, len) {
            Ok(map) => Bytes::from_owner(View { map, _guard: guard }),
            Err(_) => {
                // The process has reached its limit of mappings: copy instead.
                let mut bytes = vec![0; len];
                self.0.read_exact_at(&mut bytes, block.offset)?;
                Bytes::from(bytes)
            }
        }))
    }

    /// The bytes of a block that was reserved for the caller only, to be written; `None` if it is out of bounds.
    ///
    /// # Errors
    ///
    /// The disk cannot be read, or the block cannot be mapped.
    pub(crate) fn writable(&self, block: Block) -> io::Result<Option<WritableOnDisk>> {
        let Some(len) = self.len_within(block)? else { return Ok(None) };
        let map = (len > 0).then(|| Mapping::shared_at(&self.0, block.offset, len)).transpose()?;
        Ok(Some(WritableOnDisk { map }))
    }

    /// Writes the bytes of a block that was reserved for the caller only.
    ///
    /// # Errors
    ///
    /// The disk cannot be written.
    pub(crate) fn fill(&self, block: Block, bytes: &[u8]) -> io::Result<()> {
        match self.len_within(block)? {
            Some(len) if len == bytes.len() => self.0.write_all_at(bytes, block.offset),
            _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "the block is outside the spill file")),
        }
    }

    /// The length of a block, if it lies inside the file.
    fn len_within(&self, block: Block) -> io::Result<Option<usize>> {
        let end = block.offset.checked_add(block.len);
        let (Some(end), Ok(len)) = (end, usize::try_from(block.len)) else { return Ok(None) };
        Ok((len == 0 || end <= self.0.metadata()?.len()).then_some(len))
    }
}

/// A block of the file that is being written.
#[derive(Debug)]
pub(crate) struct WritableOnDisk {
    /// None for a block without bytes.
    map: Option<Mapping>,
}

impl WritableOnDisk {
    /// The bytes that were written, valid while `guard` keeps the block from being freed.
    pub(crate) fn freeze<G: Send + Sync + 'static>(self, guard: G) -> Bytes {
        if let Some(map) = &self.map {
            let start = map.as_mut_ptr();
            let page = rustix::param::page_size();
            if (start as usize).is_multiple_of(page) {
                // SAFETY: the pages are those of this mapping, which no one writes to any more. If the system refuses, they
                // stay writable.
                let _ = unsafe { rustix::mm::mprotect(start.cast(), map.len(), MprotectFlags::READ) };
            }
        }
        Bytes::from_owner(Written { block: self, _guard: guard })
    }
}

impl Deref for WritableOnDisk {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let Some(map) = &self.map else { return &[] };
        // SAFETY: all of it is mapped while `self` lives, lies inside the file, which never becomes shorter, has its space
        // on the disk, and was reserved for this process only, in which `self` is the only way to write to it.
        unsafe { std::slice::from_raw_parts(map.as_mut_ptr(), map.len()) }
    }
}

impl DerefMut for WritableOnDisk {
    fn deref_mut(&mut self) -> &mut [u8] {
        let Some(map) = &mut self.map else { return &mut [] };
        // SAFETY: as in `deref`; `&mut self` makes it exclusive in this process, the reservation in all others.
        unsafe { std::slice::from_raw_parts_mut(map.as_mut_ptr(), map.len()) }
    }
}

/// For an owner that keeps the block allocated by other means: the bytes are valid until it is freed.
impl WritableBuffer for WritableOnDisk {
    fn freeze(self: Box<Self>) -> Bytes {
        WritableOnDisk::freeze(*self, ())
    }
}

/// Dropped in the order of the fields: the mapping before the guard of the block.
struct Written<G> {
    block: WritableOnDisk,
    _guard: G,
}

impl<G> AsRef<[u8]> for Written<G> {
    fn as_ref(&self) -> &[u8] {
        &self.block
    }
}

/// Dropped in the order of the fields: the mapping before the guard of the block.
struct View<G> {
    map: ReadOnlyMapping,
    _guard: G,
}

impl<G> AsRef<[u8]> for View<G> {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: all of it is mapped while `map` is held, lies inside the file, which never becomes shorter, and is
        // not written to while the guard is held (see `SpillFile::view`).
        unsafe { std::slice::from_raw_parts(self.map.as_ptr(), self.map.len()) }
    }
}

/// The file with its allocator, as the engine has it.
#[derive(Debug)]
pub(crate) struct SpillSpace {
    file: File,
    arena: Arena,
}

/// Why blocks could not be spilled.
#[derive(Debug)]
pub(crate) enum SpillError {
    /// The limit of the file is reached.
    Full,
    /// A write failed.
    System(io::Error),
}

impl SpillSpace {
    /// Creates a file in this folder with at most `limit` bytes, by default half of the free space there. The limit is never
    /// above the process's file size limit (`RLIMIT_FSIZE`), since exceeding that raises a signal.
    pub(crate) fn create(folder: &Path, limit: Option<u64>) -> io::Result<(SpillSpace, Arc<SpillFile>)> {
        let file = nameless_file(folder)?;
        let limit = match limit {
            Some(limit) => limit,
            None => {
                let disk = rustix::fs::fstatvfs(&file)?;
                disk.f_bavail.saturating_mul(disk.f_frsize) / 2
            }
        };
        let allowed = rustix::process::getrlimit(rustix::process::Resource::Fsize).current;
        let limit = limit.min(allowed.unwrap_or(u64::MAX)).min(i64::MAX as u64);
        let theirs = SpillFile::open(file.try_clone()?)?;
        Ok((SpillSpace { file, arena: Arena::aligned(0, limit, ALIGNMENT) }, theirs))
    }

    /// Writes these bytes to a free block.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<Block, SpillError> {
        let block = self.arena.allocate(bytes.len() as u64).ok_or(SpillError::Full)?;
        match self.file.write_all_at(bytes, block.offset) {
            Ok(()) => Ok(block),
            Err(error) => {
                self.free(block);
                Err(SpillError::System(error))
            }
        }
    }

    /// A free block with its space on the disk, for a process to write to.
    pub(crate) fn reserve(&mut self, len: u64) -> Result<Block, SpillError> {
        let block = self.arena.allocate(len).ok_or(SpillError::Full)?;
        match self.take_space(block) {
            Ok(()) => Ok(block),
            Err(error) => {
                self.free(block);
                Err(SpillError::System(error))
            }
        }
    }

    /// Blocks of these lengths as [`reserve`](SpillSpace::reserve) returns them: all or none.
    pub(crate) fn reserve_all(&mut self, lens: &[u64]) -> Result<Vec<Block>, SpillError> {
        let mut reserved = Vec::with_capacity(lens.len());
        for len in lens {
            match self.reserve(*len) {
                Ok(block) => reserved.push(block),
                Err(error) => {
                    reserved.into_iter().for_each(|block| {
                        self.free(block);
                    });
                    return Err(error);
                }
            }
        }
        Ok(reserved)
    }

    /// Takes the space of a block from the disk, so that no later write to it can lack space.
    fn take_space(&self, block: Block) -> io::Result<()> {
        let (mut at, end) = (block.offset, block.offset + size_in_file(block));
        loop {
            match rustix::fs::fallocate(&self.file, FallocateFlags::empty(), at, end - at) {
                Err(Errno::INTR) => {}
                // The file system cannot reserve space: zeros are written.
                Err(Errno::OPNOTSUPP | Errno::NOSYS) => break,
                other => return Ok(other?),
            }
        }
        let zeros = vec![0; ZEROS.min(end - at) as usize];
        while at < end {
            let len = ZEROS.min(end - at);
            self.file.write_all_at(&zeros[..len as usize], at)?;
            at += len;
        }
        Ok(())
    }

    /// Writes these blocks of the segment, which do not change meanwhile: all or none.
    pub(crate) fn write_all(
        &mut self,
        segment: &Arc<Segment>,
        blocks: impl Iterator<Item = Block>,
    ) -> Result<Vec<Block>, SpillError> {
        let mut written = Vec::new();
        for block in blocks {
            let bytes = segment.view(block, ()).unwrap_or_default();
            match self.write(&bytes) {
                Ok(to) => written.push(to),
                Err(error) => {
                    written.into_iter().for_each(|block| {
                        self.free(block);
                    });
                    return Err(error);
                }
            }
        }
        Ok(written)
    }

    /// Frees a block and returns its space to the disk. Returns false, without effect, if it is not in use.
    pub(crate) fn free(&mut self, block: Block) -> bool {
        if !self.arena.free(block) {
            return false;
        }
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        let len = size_in_file(block);
        if let Err(error) = rustix::fs::fallocate(&self.file, flags, block.offset, len) {
            // The space stays allocated to the file, which reuses it.
            log::debug!("cannot return a freed part of the spill file to the disk: {error}");
        }
        true
    }

    /// Bytes in use, rounding included.
    pub(crate) fn used(&self) -> u64 {
        self.arena.used_bytes()
    }

    /// The limit in bytes.
    pub(crate) fn limit(&self) -> u64 {
        self.arena.capacity()
    }
}

/// Opens a new file without a name.
fn nameless_file(folder: &Path) -> io::Result<File> {
    // Others cannot open it: the descriptor that creates the file is the only one.
    let mode = Mode::empty();
    let made = rustix::fs::open(folder, OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC, mode);
    if let Ok(file) = made {
        return Ok(File::from(file));
    }
    // Some file systems lack O_TMPFILE: the file has a name for a moment.
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC;
    let mut attempt = 0;
    let (path, file) = loop {
        let path = folder.join(format!(".unidist-spill-{}-{attempt}", std::process::id()));
        match rustix::fs::open(&path, flags, mode) {
            Err(Errno::EXIST) if attempt < 100 => attempt += 1,
            other => break (path, File::from(other?)),
        }
    };
    std::fs::remove_file(&path)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    fn space(limit: u64) -> (SpillSpace, Arc<SpillFile>) {
        SpillSpace::create(&std::env::temp_dir(), Some(limit)).unwrap()
    }

    #[test]
    fn written_block_is_read_by_another_process() {
        let (mut space, file) = space(1 << 20);
        let theirs = SpillFile::open(File::from(file.file().try_clone_to_owned().unwrap())).unwrap();
        let first = space.write(&[1; 5000]).unwrap();
        let second = space.write(b"hello").unwrap();
        assert_eq!(theirs.view(second, ()).unwrap().unwrap(), "hello");
        assert_eq!(theirs.view(first, ()).unwrap().unwrap(), vec![1; 5000]);
        let empty = space.write(b"").unwrap();
        assert!(theirs.view(empty, ()).unwrap().unwrap().is_empty());
        assert_eq!(space.used(), 8192 + 4096 + 4096);
    }

    #[test]
    fn reserved_block_is_written_by_another_process() {
        let (mut space, file) = space(1 << 20);
        let theirs = SpillFile::open(File::from(file.file().try_clone_to_owned().unwrap())).unwrap();
        let blocks = space.reserve_all(&[5000, 0, 7]).unwrap();
        let mut written = theirs.writable(blocks[0]).unwrap().unwrap();
        assert_eq!(*written, [0; 5000]);
        written.fill(3);
        assert_eq!(written.freeze(()), vec![3; 5000]);
        assert!(theirs.writable(blocks[1]).unwrap().unwrap().is_empty());
        theirs.fill(blocks[2], b"a block").unwrap();
        assert_eq!(file.view(blocks[0], ()).unwrap().unwrap(), vec![3; 5000]);
        assert_eq!(file.view(blocks[2], ()).unwrap().unwrap(), "a block");
        let beyond = Block { offset: 1 << 20, len: 1 };
        assert!(theirs.writable(beyond).unwrap().is_none() && theirs.fill(beyond, b"x").is_err());
    }

    #[test]
    fn reserved_block_has_its_space_on_the_disk() {
        let (mut space, file) = space(1 << 20);
        let block = space.reserve(300_000).unwrap();
        let taken = || file.0.metadata().unwrap().blocks() * 512;
        assert!(taken() >= size_in_file(block), "{}", taken());
        assert!(matches!(space.reserve_all(&[300_000, 600_000]), Err(SpillError::Full)));
        assert_eq!(space.used(), size_in_file(block));
        assert!(space.free(block));
        assert_eq!(taken(), 0);
    }

    #[test]
    fn view_refuses_blocks_out_of_bounds() {
        let (mut space, file) = space(1 << 20);
        space.write(&[1; 4096]).unwrap();
        for (offset, len) in [(4096, 1), (0, 4097), (u64::MAX, 2), (0, u64::MAX), (1 << 40, 8)] {
            assert!(file.view(Block { offset, len }, ()).unwrap().is_none(), "{offset} {len}");
        }
    }

    #[test]
    fn limit_holds_and_freed_space_is_returned_to_the_disk() {
        let (mut space, file) = space(1 << 20);
        let half = vec![7; 1 << 19];
        let blocks = [space.write(&half).unwrap(), space.write(&half).unwrap()];
        assert!(matches!(space.write(&[1]), Err(SpillError::Full)));
        assert_eq!(space.used(), space.limit());
        let full = file.0.metadata().unwrap().blocks();
        assert!(space.free(blocks[0]) && !space.free(blocks[0]));
        assert!(file.0.metadata().unwrap().blocks() < full, "no space was returned");
        assert_eq!(file.view(blocks[1], ()).unwrap().unwrap(), half);
        space.write(&[1]).unwrap();
    }

    #[test]
    fn spill_file_has_no_name_in_its_folder() {
        let folder = std::env::temp_dir().join(format!("unidist-spill-test-{}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        let (mut space, _file) = SpillSpace::create(&folder, None).unwrap();
        space.write(&[1; 10_000]).unwrap();
        assert!(space.limit() > 0);
        let entries = std::fs::read_dir(&folder).unwrap().count();
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!(entries, 0);
        assert!(SpillSpace::create(&folder, None).is_err());
    }
}
