//! The segment: the shared memory of a host, which every process of the session maps. Its size is sealed and its pages
//! exist once they are written to; see `unidist_sync::SharedMemory`.
#![allow(unsafe_code)] // views of mapped memory

use super::Block;
use bytes::Bytes;
use std::fs::File;
use std::io;
use std::ops::{Deref, DerefMut};
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use unidist_backend::WritableBuffer;
use unidist_sync::{Doorbell, SharedMemory, SpinLimit, WakeBatch};

/// The length of the header, which holds the engine's doorbell and waiting policy. Blocks start after it.
pub(crate) const HEADER: u64 = 4096;

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
pub(crate) struct Segment(SharedMemory);

impl Segment {
    /// A new segment with space for `capacity` bytes of blocks.
    pub(crate) fn create(name: &str, capacity: u64) -> io::Result<Arc<Segment>> {
        Ok(Arc::new(Segment(SharedMemory::create(name, HEADER.saturating_add(capacity))?)))
    }

    /// Maps a segment that another process has created.
    pub(crate) fn open(file: File) -> io::Result<Arc<Segment>> {
        Ok(Arc::new(Segment(SharedMemory::open(file, HEADER..=u64::MAX)?)))
    }

    /// The file, to be passed to another process.
    pub(crate) fn file(&self) -> BorrowedFd<'_> {
        self.0.file()
    }

    /// The length of the whole segment in bytes.
    pub(crate) fn len(&self) -> u64 {
        self.0.mapping().len() as u64
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
        // SAFETY: the header page is mapped for as long as `self`, aligned, at least as large as a `Header` (asserted
        // above), never handed out as a block, and a `Header` is made of atomics, for which any bytes are valid.
        unsafe { &*self.0.mapping().as_mut_ptr().cast::<Header>() }
    }

    /// Whether the block lies in the segment, after its header.
    pub(crate) fn contains(&self, block: Block) -> bool {
        block.offset >= HEADER && block.offset.checked_add(block.len).is_some_and(|end| end <= self.len())
    }

    /// The block that these bytes occupy, if they lie in this segment.
    #[cfg(test)]
    pub(crate) fn block_of(&self, bytes: &[u8]) -> Option<Block> {
        let offset = (bytes.as_ptr() as usize).checked_sub(self.0.mapping().as_mut_ptr() as usize)? as u64;
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
        self.contains(block).then(|| Writable { segment: self.clone(), block })
    }

    fn pointer(&self, block: Block) -> *mut u8 {
        // SAFETY: `View` and `Writable` exist only for blocks that `contains` has accepted.
        unsafe { self.0.mapping().as_mut_ptr().add(block.offset as usize) }
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

/// A block that is being written.
#[derive(Debug)]
pub(crate) struct Writable {
    segment: Arc<Segment>,
    block: Block,
}

impl Writable {
    /// The block.
    pub(crate) fn block(&self) -> Block {
        self.block
    }
}

impl Deref for Writable {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: in bounds, mapped while `segment` is held, and this is the only view of the block.
        unsafe { std::slice::from_raw_parts(self.segment.pointer(self.block), self.block.len as usize) }
    }
}

impl DerefMut for Writable {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`; `&mut self` makes it exclusive in this process, the allocation in all others.
        unsafe { std::slice::from_raw_parts_mut(self.segment.pointer(self.block), self.block.len as usize) }
    }
}

/// For an owner that keeps the block allocated by other means: the bytes are valid until it is freed.
impl WritableBuffer for Writable {
    fn freeze(self: Box<Self>) -> Bytes {
        // The block was in bounds when it became writable, so the view exists.
        self.segment.view(self.block, ()).unwrap_or_default()
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

    #[test]
    fn view_refuses_blocks_out_of_bounds() {
        let segment = Segment::create("unidist-test", 4096).unwrap();
        for (offset, len) in [(0, 8), (HEADER, 4097), (u64::MAX, 2), (HEADER + 4096, 1)] {
            assert!(segment.view(Block { offset, len }, ()).is_none(), "{offset} {len}");
        }
    }
}
