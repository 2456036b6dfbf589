//! The segment: the shared memory of a host, which every process of the session maps. Its size is sealed and its pages
//! exist once they are written to; see `unidist_sync::SharedMemory`.
//!
//! The process that creates it, the engine's, maps all of it writable. Workers run code of others, such as C libraries, so
//! they map it read-only, and a wild write ends the worker instead of changing an object. What a worker writes:
//!
//! - the header, which holds the engine's doorbell, in a mapping of its own;
//! - a block that has pages of its own ([`has_own_pages`]): these are writable in the one mapping while they are filled;
//! - a smaller block, or up to 1 MiB that exist already: through the file, in one call.
#![allow(unsafe_code)] // views of mapped memory

use super::Block;
use super::arena::{PAGE, has_own_pages};
use bytes::Bytes;
use rustix::mm::MprotectFlags;
use std::fs::File;
use std::io;
use std::ops::{Deref, DerefMut};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use unidist_backend::WritableBuffer;
use unidist_sync::{Doorbell, Mapping, ReadOnlyMapping, SharedMemory, SpinLimit, WakeBatch};

/// The length of the header, which holds the engine's doorbell and waiting policy. Blocks start after it.
pub(crate) const HEADER: u64 = PAGE;
/// Up to this length a worker copies bytes to a block by a call: it costs no page faults, and takes as long as making pages
/// writable and copying to them. For more bytes, copying in the process is faster.
const COPIED_BY_CALL: u64 = 1 << 20;

#[derive(Debug)]
#[repr(C)]
struct Header {
    bell: Doorbell,
    spin_limit: SpinLimit,
    wake_batch: WakeBatch,
}

const _: () = assert!(size_of::<Header>() <= HEADER as usize);

/// The mapped segment.
#[derive(Debug)]
pub(crate) struct Segment {
    file: File,
    memory: Memory,
}

#[derive(Debug)]
enum Memory {
    /// In the process that has created it.
    Owned(Mapping),
    /// In a worker: all of it to read, and the header to write.
    Shared { all: ReadOnlyMapping, header: Mapping },
}

impl Segment {
    /// A new segment with space for `capacity` bytes of blocks.
    pub(crate) fn create(name: &str, capacity: u64) -> io::Result<Arc<Segment>> {
        let (mapping, file) = SharedMemory::create(name, HEADER.saturating_add(capacity))?.into_parts();
        Ok(Arc::new(Segment { file, memory: Memory::Owned(mapping) }))
    }

    /// Maps a segment that another process has created.
    pub(crate) fn open(file: File) -> io::Result<Arc<Segment>> {
        let len = SharedMemory::checked_len(&file, HEADER..=u64::MAX)?;
        let all = ReadOnlyMapping::new(&file, 0, usize::try_from(len).map_err(io::Error::other)?)?;
        let header = Mapping::shared(&file, HEADER as usize)?;
        Ok(Arc::new(Segment { file, memory: Memory::Shared { all, header } }))
    }

    /// The file, to be passed to another process.
    pub(crate) fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// The length of the whole segment in bytes.
    pub(crate) fn len(&self) -> u64 {
        match &self.memory {
            Memory::Owned(all) => all.len() as u64,
            Memory::Shared { all, .. } => all.len() as u64,
        }
    }

    /// The doorbell of the engine that created the segment.
    pub(crate) fn bell(&self) -> &Doorbell {
        &self.header().bell
    }

    /// How long processes spin before they sleep.
    pub(crate) fn spin_limit(&self) -> &SpinLimit {
        &self.header().spin_limit
    }

    /// How many results a worker collects before it rings.
    pub(crate) fn wake_batch(&self) -> &WakeBatch {
        &self.header().wake_batch
    }

    fn header(&self) -> &Header {
        let (Memory::Owned(mapping) | Memory::Shared { header: mapping, .. }) = &self.memory;
        // SAFETY: the header page is mapped for as long as `self`, aligned, at least as large as a `Header` (asserted
        // above), never handed out as a block, and a `Header` is made of atomics, for which any bytes are valid.
        unsafe { &*mapping.as_mut_ptr().cast::<Header>() }
    }

    /// Whether a block lies inside the segment, after its header.
    pub(crate) fn contains(&self, block: Block) -> bool {
        block.offset >= HEADER && block.offset.checked_add(block.len).is_some_and(|end| end <= self.len())
    }

    /// The block that these bytes occupy, if they lie in this segment.
    #[cfg(test)]
    pub(crate) fn block_of(&self, bytes: &[u8]) -> Option<Block> {
        let offset = (bytes.as_ptr() as usize).checked_sub(self.start() as usize)? as u64;
        let block = Block { offset, len: bytes.len() as u64 };
        self.contains(block).then_some(block)
    }

    /// The bytes of a block that belongs to an object, valid while `guard` is held; `None` if it is out of bounds.
    ///
    /// The directory frees a block only when no reference to its object is left, and `guard` is such a reference, so no
    /// process writes to the block while the view exists. A process that breaks this protocol can change bytes of its own
    /// session, but no more: no address is computed from them.
    pub(crate) fn view<G: Send + Sync + 'static>(self: &Arc<Self>, block: Block, guard: G) -> Option<Bytes> {
        self.contains(block).then(|| Bytes::from_owner(View { segment: self.clone(), block, _guard: guard }))
    }

    /// The bytes of a newly allocated block, to be written; `None` if it is out of bounds.
    ///
    /// The block was allocated to the caller only.
    pub(crate) fn writable(self: &Arc<Self>, block: Block) -> Option<Writable> {
        if !self.contains(block) {
            return None;
        }
        let memory = match Unlocked::new(self, block) {
            Some(unlocked) => WritableMemory::InPlace(unlocked),
            None => WritableMemory::Buffer(AlignedBuffer::new(block.len as usize)),
        };
        Some(Writable { segment: self.clone(), block, memory })
    }

    /// Writes these bytes to a newly allocated block of this length.
    ///
    /// # Errors
    ///
    /// The block is out of bounds, or the system has no memory for it.
    pub(crate) fn write(self: &Arc<Self>, block: Block, bytes: &[u8]) -> io::Result<()> {
        if !self.contains(block) || block.len != bytes.len() as u64 {
            return Err(io::Error::other("the allocated block is outside the store"));
        }
        let is_owned = matches!(self.memory, Memory::Owned(_));
        let in_place = if is_owned || block.len > COPIED_BY_CALL { Unlocked::new(self, block) } else { None };
        match in_place {
            Some(mut unlocked) => unlocked.bytes_mut().copy_from_slice(bytes),
            None => self.file.write_all_at(bytes, block.offset)?,
        }
        Ok(())
    }

    fn start(&self) -> *const u8 {
        match &self.memory {
            Memory::Owned(all) => all.as_mut_ptr(),
            Memory::Shared { all, .. } => all.as_ptr(),
        }
    }

    /// The first byte of a block that `contains` has accepted.
    fn pointer(&self, block: Block) -> *const u8 {
        // SAFETY: the block lies inside the mapping.
        unsafe { self.start().add(block.offset as usize) }
    }

    /// Sets what a worker may do with the pages of a block that has its own.
    fn protect(&self, block: Block, flags: MprotectFlags) -> io::Result<()> {
        let len = block.len.next_multiple_of(PAGE) as usize;
        // SAFETY: the pages belong to this mapping and to this block alone (`Unlocked::new`), and the only reference into
        // them that writes is that of the `Unlocked` that has them made writable.
        unsafe { rustix::mm::mprotect(self.pointer(block).cast_mut().cast(), len, flags)? };
        Ok(())
    }
}

struct View<G> {
    segment: Arc<Segment>,
    block: Block,
    _guard: G,
}

impl<G> AsRef<[u8]> for View<G> {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: in bounds (checked when the view was made), mapped while `segment` is held, and not written to while
        // the guard is held (see `Segment::view`).
        unsafe { std::slice::from_raw_parts(self.segment.pointer(self.block), self.block.len as usize) }
    }
}

/// A newly allocated block whose bytes can be written where they are; in a worker, until this is dropped.
#[derive(Debug)]
struct Unlocked {
    segment: Arc<Segment>,
    block: Block,
}

impl Unlocked {
    /// `None` if it cannot be written in place: it shares pages with other blocks, or the process has reached its limit of
    /// mappings. The block is inside the segment and was allocated to the caller only.
    fn new(segment: &Arc<Segment>, block: Block) -> Option<Self> {
        if matches!(segment.memory, Memory::Shared { .. }) {
            let is_allowed = has_own_pages(block) && block.offset.is_multiple_of(PAGE);
            if !is_allowed || segment.protect(block, MprotectFlags::READ | MprotectFlags::WRITE).is_err() {
                return None;
            }
        }
        Some(Unlocked { segment: segment.clone(), block })
    }

    fn bytes(&self) -> &[u8] {
        // SAFETY: in bounds, mapped while `segment` is held, and this is the only view of the block.
        unsafe { std::slice::from_raw_parts(self.segment.pointer(self.block), self.block.len as usize) }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        let start = self.segment.pointer(self.block).cast_mut();
        // SAFETY: as in `bytes`, and writable while `self` exists; `&mut self` makes it exclusive in this process, the
        // allocation in all others.
        unsafe { std::slice::from_raw_parts_mut(start, self.block.len as usize) }
    }
}

impl Drop for Unlocked {
    fn drop(&mut self) {
        if matches!(self.segment.memory, Memory::Shared { .. }) {
            // If the system refuses, the block stays writable in this process.
            let _ = self.segment.protect(self.block, MprotectFlags::READ);
        }
    }
}

/// Zeroed bytes of this process, aligned like blocks.
#[derive(Debug)]
struct AlignedBuffer {
    memory: Vec<u8>,
    start: usize,
    len: usize,
}

impl AlignedBuffer {
    fn new(len: usize) -> Self {
        const ALIGNMENT: usize = super::arena::ALIGNMENT as usize;
        let memory = vec![0; len + ALIGNMENT - 1];
        let start = memory.as_ptr().align_offset(ALIGNMENT).min(ALIGNMENT - 1);
        AlignedBuffer { memory, start, len }
    }

    fn into_bytes(self) -> Bytes {
        Bytes::from(self.memory).slice(self.start..self.start + self.len)
    }
}

/// A block that is being written.
#[derive(Debug)]
pub(crate) struct Writable {
    segment: Arc<Segment>,
    block: Block,
    memory: WritableMemory,
}

#[derive(Debug)]
enum WritableMemory {
    InPlace(Unlocked),
    /// Copied to the block when it is complete.
    Buffer(AlignedBuffer),
}

impl Writable {
    /// Where the bytes of the block are once it is complete.
    pub(crate) fn address_when_complete(&self) -> usize {
        self.segment.pointer(self.block) as usize
    }

    /// Ends writing: the block has its bytes. If the system has no memory for them, they are returned.
    pub(crate) fn complete(self) -> Result<Block, Bytes> {
        if let WritableMemory::Buffer(buffer) = self.memory {
            let bytes = buffer.into_bytes();
            self.segment.write(self.block, &bytes).map_err(|_| bytes)?;
        }
        Ok(self.block)
    }
}

impl Deref for Writable {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.memory {
            WritableMemory::InPlace(unlocked) => unlocked.bytes(),
            WritableMemory::Buffer(buffer) => &buffer.memory[buffer.start..buffer.start + buffer.len],
        }
    }
}

impl DerefMut for Writable {
    fn deref_mut(&mut self) -> &mut [u8] {
        match &mut self.memory {
            WritableMemory::InPlace(unlocked) => unlocked.bytes_mut(),
            WritableMemory::Buffer(buffer) => &mut buffer.memory[buffer.start..buffer.start + buffer.len],
        }
    }
}

/// For an owner that keeps the block allocated by other means: the bytes are valid until it is freed.
impl WritableBuffer for Writable {
    fn freeze(self: Box<Self>) -> Bytes {
        let segment = self.segment.clone();
        match self.complete() {
            // The block was in bounds when it became writable, so the view exists.
            Ok(block) => segment.view(block, ()).unwrap_or_default(),
            Err(bytes) => bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segment_is_shared_between_mappings() {
        let ours = Segment::create("unidist-test", 1 << 16).unwrap();
        let theirs = Segment::open(File::from(ours.file().try_clone_to_owned().unwrap())).unwrap();
        let block = Block { offset: HEADER, len: 5 };
        ours.writable(block).unwrap().copy_from_slice(b"hello");
        let view = theirs.view(block, ()).unwrap();
        assert_eq!(view, "hello");
        assert_eq!(theirs.block_of(&view), Some(block));
        assert_eq!(ours.block_of(&view), None);
    }

    /// How this process may use the pages at an address: `rw-s` and the like.
    fn permissions(bytes: &[u8]) -> String {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let found = maps.lines().find_map(|line| {
            let (range, rest) = line.split_once(' ')?;
            let (start, end) = range.split_once('-')?;
            let [start, end] = [start, end].map(|number| usize::from_str_radix(number, 16).unwrap());
            (start..end).contains(&(bytes.as_ptr() as usize)).then(|| rest[..4].to_owned())
        });
        found.unwrap()
    }

    #[test]
    fn worker_writes_blocks_of_any_length_and_nothing_else() {
        const LARGE: u64 = 32 * PAGE;
        let engines = Segment::create("unidist-test", 20 * LARGE).unwrap();
        let workers = Segment::open(File::from(engines.file().try_clone_to_owned().unwrap())).unwrap();
        for (n, len) in [0, 1, 63, 5000, LARGE - 1, LARGE, LARGE + 1, 9 * LARGE].into_iter().enumerate() {
            let block = Block { offset: HEADER + LARGE, len };
            let mut writable = workers.writable(block).unwrap();
            assert!(
                (writable.as_ptr() as usize).is_multiple_of(super::super::arena::ALIGNMENT as usize),
                "{len}"
            );
            let in_place = len >= LARGE;
            assert_eq!(writable.as_ptr() as usize == writable.address_when_complete(), in_place, "{len}");
            writable.fill(n as u8 + 1);
            if in_place {
                assert_eq!(permissions(&writable), "rw-s");
            }
            assert_eq!(writable.complete().unwrap(), block);
            let view = workers.view(block, ()).unwrap();
            assert!(view.iter().all(|byte| usize::from(*byte) == n + 1) && view.len() as u64 == len);
            assert_eq!(permissions(&view), "r--s");
            workers.write(block, &vec![99; len as usize]).unwrap();
            assert!(engines.view(block, ()).unwrap().iter().all(|byte| *byte == 99));
            assert_eq!(permissions(&view), "r--s");
        }
        workers.bell().ring(); // the header is writable
    }

    #[test]
    fn block_that_is_dropped_unfinished_is_locked_again() {
        let engines = Segment::create("unidist-test", 64 * PAGE).unwrap();
        let workers = Segment::open(File::from(engines.file().try_clone_to_owned().unwrap())).unwrap();
        let block = Block { offset: HEADER, len: 40 * PAGE };
        let writable = workers.writable(block).unwrap();
        let view = workers.view(Block { len: 1, ..block }, ()).unwrap();
        assert_eq!(permissions(&view), "rw-s");
        drop(writable);
        assert_eq!(permissions(&view), "r--s");
        assert!(workers.write(block, b"too short").is_err());
    }

    #[test]
    fn view_refuses_blocks_out_of_bounds() {
        let segment = Segment::create("unidist-test", 4096).unwrap();
        for (offset, len) in [(0, 8), (HEADER, 4097), (u64::MAX, 2), (HEADER + 4096, 1)] {
            assert!(segment.view(Block { offset, len }, ()).is_none(), "{offset} {len}");
        }
    }
}
