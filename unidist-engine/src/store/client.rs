//! Payloads into stored objects and back: what is large goes into the segment, what is small rides along.

use super::segment::{Segment, Writable};
use super::spill::SpillFile;
use super::{Blob, Block, StoredObject};
use bytes::Bytes;
use rustc_hash::FxHashMap;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use unidist_backend::{Outcome, WritableBuffer};
use unidist_common::{DataId, Error, ErrorKind, Object, Payload, Result, TaskError};

/// Unless a session says otherwise, up to this many bytes travel inside messages; more goes through the segment.
pub(crate) const INLINE_LIMIT: usize = 32 * 1024;

/// How a process comes by blocks and keeps objects alive: the controller asks its arena and directory, a worker asks
/// the controller.
pub(crate) trait StoreBackend: Send + Sync + 'static {
    /// A block of `len` bytes that nobody else has.
    fn allocate(&self, len: u64) -> Result<Block>;
    /// Gives back a block that did not become part of an object.
    fn give_back(&self, block: Block);
    /// This process has views of an object from now on: it keeps it, and where it is.
    fn map(&self, id: DataId);
    /// It has them no longer.
    fn unmap(&self, id: DataId);
}

/// The store as one process sees it: a handle, cheap to clone.
#[derive(Clone)]
pub(crate) struct ObjectStore(Arc<Shared>);

struct Shared {
    segment: Arc<Segment>,
    /// None where nothing is spilled.
    spill: Option<Arc<SpillFile>>,
    ledger: Arc<dyn StoreBackend>,
    drafts: Arc<Drafts>,
    inline_limit: usize,
}

/// Blocks of this process that are not part of an object yet, by offset.
#[derive(Default)]
struct Drafts(Mutex<FxHashMap<u64, Weak<Draft>>>);

impl Drafts {
    fn lock(&self) -> MutexGuard<'_, FxHashMap<u64, Weak<Draft>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ObjectStore {
    /// `inline_limit`: up to this many bytes do not go into the segment.
    pub(crate) fn new(
        segment: Arc<Segment>,
        spill: Option<Arc<SpillFile>>,
        ledger: Arc<dyn StoreBackend>,
        inline_limit: usize,
    ) -> Self {
        ObjectStore(Arc::new(Shared { segment, spill, ledger, drafts: Arc::default(), inline_limit }))
    }

    /// Writable memory that [`put`](ObjectStore::put) takes over without a copy.
    pub(crate) fn allocate(&self, len: usize) -> Result<Box<dyn WritableBuffer>> {
        let memory = self.memory(len as u64)?;
        let block = memory.block();
        let draft = Arc::new(Draft {
            block,
            ledger: self.0.ledger.clone(),
            drafts: self.0.drafts.clone(),
            owner: OnceLock::new(),
            given: AtomicBool::new(false),
        });
        self.0.drafts.lock().insert(block.offset, Arc::downgrade(&draft));
        Ok(Box::new(Buffer { memory, draft, segment: self.0.segment.clone() }))
    }

    /// Makes a stored object of a payload and has `publish` announce it as `id`. Memory from
    /// [`allocate`](ObjectStore::allocate) is taken over; whoever still holds such bytes has a view of the object, and
    /// `publish` says how many of those this process has from the start.
    pub(crate) fn put(
        &self,
        id: DataId,
        object: Object,
        publish: impl FnOnce(StoredObject, u32),
    ) -> Result<()> {
        let mut drafts = Vec::new();
        let stored = self.store_with(object, |bytes| {
            let Some(draft) = self.take_draft(&bytes) else { return Err(bytes) };
            let block = draft.block;
            drafts.push(draft);
            Ok(block)
        });
        if stored.is_err() {
            // They are drafts still: whoever holds their bytes may put them again.
            let mut table = self.0.drafts.lock();
            table.extend(drafts.iter().map(|draft| (draft.block.offset, Arc::downgrade(draft))));
        }
        publish(stored?, drafts.len() as u32);
        drafts.into_iter().for_each(|draft| draft.keep(Kept::taken(id, self.0.ledger.clone())));
        Ok(())
    }

    /// Makes a stored object of a payload. Memory from [`allocate`](ObjectStore::allocate) is taken over if nobody else holds
    /// it; else it is copied, as there is no name yet by which its holders could keep the object.
    pub(crate) fn store(&self, object: Object) -> Result<StoredObject> {
        let mut drafts = Vec::new();
        let stored = self.store_with(object, |bytes| {
            let Some(draft) = self.take_draft(&bytes) else { return Err(bytes) };
            let block = draft.block;
            drop(bytes);
            if Arc::strong_count(&draft) > 1 {
                self.0.drafts.lock().insert(block.offset, Arc::downgrade(&draft));
                // The block was in bounds when it was written, so the view exists.
                return Err(self.0.segment.view(block, draft).unwrap_or_default());
            }
            drafts.push(draft);
            Ok(block)
        });
        if stored.is_ok() {
            drafts.into_iter().for_each(|draft| draft.given.store(true, Ordering::Relaxed));
        }
        stored
    }

    /// Makes stored objects of the results of a call; all or none.
    pub(crate) fn store_all(&self, objects: Vec<Object>) -> Result<Vec<StoredObject>> {
        let mut stored: Vec<StoredObject> = Vec::with_capacity(objects.len());
        for object in objects {
            match self.store(object) {
                Ok(object) => stored.push(object),
                Err(error) => {
                    let blocks = stored.iter().flat_map(StoredObject::blocks);
                    blocks.for_each(|block| self.0.ledger.give_back(block));
                    return Err(error);
                }
            }
        }
        Ok(stored)
    }

    fn store_with(
        &self,
        object: Object,
        mut take: impl FnMut(Bytes) -> std::result::Result<Block, Bytes>,
    ) -> Result<StoredObject> {
        let Object { payload: Payload { header, buffers }, borrowed } = object;
        let mut fresh = Vec::new();
        let mut place = |bytes: Bytes| match take(bytes) {
            Ok(block) => Ok(Blob::Shared(block)),
            Err(bytes) => self.place(bytes).inspect(|blob| {
                if let Blob::Shared(block) = blob {
                    fresh.push(*block);
                }
            }),
        };
        let stored = place(header).and_then(|header| {
            let buffers = buffers.into_iter().map(&mut place).collect::<Result<_>>()?;
            Ok(StoredObject { header, buffers, borrowed })
        });
        if stored.is_err() {
            fresh.into_iter().for_each(|block| self.0.ledger.give_back(block));
        }
        stored
    }

    /// The payload of a stored object. Its parts outside keep the object, and where it is; the caller sees to both
    /// until this returns.
    pub(crate) fn load(&self, id: DataId, stored: &StoredObject) -> Outcome {
        self.open(id, stored, || Kept::new(id, self.0.ledger.clone()))
    }

    /// The payload of a stored object that came as an answer: if part of it lies outside, who answered has noted
    /// already that this process has views of it.
    pub(crate) fn load_answer(&self, id: DataId, stored: &StoredObject) -> Outcome {
        self.open(id, stored, || Kept::taken(id, self.0.ledger.clone()))
    }

    fn open(&self, id: DataId, stored: &StoredObject, kept: impl FnOnce() -> Kept) -> Outcome {
        let guard = stored.is_outside().then(|| Arc::new(kept()));
        let open = |blob: &Blob| {
            let bytes = match (blob, &self.0.spill) {
                (Blob::Inline(bytes), _) => Some(bytes.clone()),
                (Blob::Shared(block), _) => self.0.segment.view(*block, guard.clone()),
                (Blob::Spilled(block), Some(file)) => file.view(*block, guard.clone()).map_err(|error| {
                    let text = format!("object {id} cannot be read from the spill file: {error}");
                    TaskError::new(ErrorKind::ObjectLost, text)
                })?,
                (Blob::Spilled(_), None) => None,
            };
            bytes.ok_or_else(|| {
                TaskError::new(ErrorKind::Decode, format!("object {id} lies outside the object store"))
            })
        };
        Ok(Payload {
            header: open(&stored.header)?,
            buffers: stored.buffers.iter().map(open).collect::<Result<_, _>>()?,
        })
    }

    fn take_draft(&self, bytes: &Bytes) -> Option<Arc<Draft>> {
        let block = self.0.segment.block_of(bytes)?;
        let mut drafts = self.0.drafts.lock();
        let draft = drafts.get(&block.offset)?.upgrade()?;
        (draft.block == block).then(|| drafts.remove(&block.offset))?;
        Some(draft)
    }

    fn place(&self, bytes: Bytes) -> Result<Blob> {
        if bytes.len() <= self.0.inline_limit {
            return Ok(Blob::Inline(bytes));
        }
        let mut memory = self.memory(bytes.len() as u64)?;
        memory.copy_from_slice(&bytes);
        Ok(Blob::Shared(memory.block()))
    }

    fn memory(&self, len: u64) -> Result<Writable> {
        let block = self.0.ledger.allocate(len)?;
        self.0
            .segment
            .writable(block)
            .ok_or_else(|| Error::system("using the object store", "a block is out of bounds"))
    }
}

/// A view of an object, given back on drop.
struct Kept {
    id: DataId,
    ledger: Arc<dyn StoreBackend>,
}

impl Kept {
    fn new(id: DataId, ledger: Arc<dyn StoreBackend>) -> Self {
        ledger.map(id);
        Kept { id, ledger }
    }

    /// One that is counted already.
    fn taken(id: DataId, ledger: Arc<dyn StoreBackend>) -> Self {
        Kept { id, ledger }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.ledger.unmap(self.id);
    }
}

/// A block on its way to become part of an object. On drop it goes back, unless an object took it.
struct Draft {
    block: Block,
    ledger: Arc<dyn StoreBackend>,
    drafts: Arc<Drafts>,
    /// Set once the block is no longer this draft's to give back, with the view of the object it is part of.
    owner: OnceLock<Kept>,
    /// The block is part of an object, and nobody here has a view of it.
    given: AtomicBool,
}

impl Draft {
    fn keep(&self, kept: Kept) {
        // A draft is taken from the table before it is kept, so this is the only call.
        let _ = self.owner.set(kept);
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if self.owner.get().is_none() && !self.given.load(Ordering::Relaxed) {
            // First: once it is given back, another draft may have its place.
            self.drafts.lock().remove(&self.block.offset);
            self.ledger.give_back(self.block);
        }
    }
}

struct Buffer {
    memory: Writable,
    draft: Arc<Draft>,
    segment: Arc<Segment>,
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.memory
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.memory
    }
}

impl WritableBuffer for Buffer {
    fn freeze(self: Box<Self>) -> Bytes {
        let Buffer { memory, draft, segment } = *self;
        // The block was in bounds when it became writable, so the view exists.
        segment.view(memory.block(), draft).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::arena::Arena;
    use crate::store::segment::HEADER;
    use crate::store::spill::SpillSpace;
    use std::sync::atomic::AtomicI64;
    use unidist_common::{ProcessId, StoreFull};

    struct Local {
        arena: Mutex<Arena>,
        references: AtomicI64,
    }

    impl StoreBackend for Local {
        fn allocate(&self, len: u64) -> Result<Block> {
            let mut arena = self.arena.lock().unwrap();
            let (used, limit) = (arena.used_bytes(), arena.capacity());
            arena.allocate(len).ok_or_else(|| StoreFull::new(len, used, limit).into())
        }
        fn give_back(&self, block: Block) {
            assert!(self.arena.lock().unwrap().free(block));
        }
        fn map(&self, _: DataId) {
            self.references.fetch_add(1, Ordering::SeqCst);
        }
        fn unmap(&self, _: DataId) {
            self.references.fetch_sub(1, Ordering::SeqCst);
        }
    }

    fn depot(capacity: u64) -> (ObjectStore, Arc<Local>) {
        let segment = Segment::create("unidist-test", capacity).unwrap();
        let arena = Mutex::new(Arena::new(HEADER, segment.len()));
        let local = Arc::new(Local { arena, references: AtomicI64::new(0) });
        (ObjectStore::new(segment, None, local.clone(), INLINE_LIMIT), local)
    }

    const ID: DataId = DataId::new(ProcessId::CONTROLLER, 1);

    #[test]
    fn what_is_small_depends_on_the_session() {
        let segment = Segment::create("unidist-test", 1 << 20).unwrap();
        let arena = Mutex::new(Arena::new(HEADER, segment.len()));
        let local = Arc::new(Local { arena, references: AtomicI64::new(0) });
        let depot = ObjectStore::new(segment, None, local, 100);
        let payload = Payload {
            header: Bytes::from(vec![1; 100]),
            buffers: vec![Bytes::from(vec![2; 101]), Bytes::from(vec![3; 99])],
        };
        let stored = depot.store(payload.into()).unwrap();
        assert_eq!(stored.blocks().map(|block| block.len).collect::<Vec<_>>(), [101]);
    }

    #[test]
    fn small_stays_inline_and_large_is_shared() {
        let (depot, local) = depot(1 << 20);
        let big = Bytes::from(vec![7u8; INLINE_LIMIT + 1]);
        let payload = Payload { header: Bytes::from_static(b"small"), buffers: vec![big.clone()] };
        let stored = depot.store(payload.clone().into()).unwrap();
        assert!(matches!((&stored.header, &stored.buffers[0]), (Blob::Inline(_), Blob::Shared(_))));
        let loaded = depot.load(ID, &stored).unwrap();
        assert_eq!(loaded, payload);
        assert_eq!(local.references.load(Ordering::SeqCst), 1);
        drop(loaded);
        assert_eq!(local.references.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn a_written_buffer_is_taken_without_a_copy() {
        let (depot, local) = depot(1 << 20);
        let mut buffer = depot.allocate(1000).unwrap();
        buffer.fill(3);
        let at = buffer.as_ptr();
        let bytes = buffer.freeze();
        let payload = Payload { header: Bytes::new(), buffers: vec![bytes.clone()] };
        let mut stored = None;
        let publish = |object, views: u32| {
            stored = Some(object);
            local.references.store(views.into(), Ordering::SeqCst);
        };
        depot.put(ID, payload.into(), publish).unwrap();
        let stored = stored.unwrap();
        let Blob::Shared(block) = stored.buffers[0] else { panic!("copied") };
        assert_eq!(depot.0.segment.view(block, ()).unwrap().as_ptr(), at);
        assert_eq!(local.references.load(Ordering::SeqCst), 1, "the written bytes keep the object alive");
        drop(bytes);
        assert_eq!(local.references.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn a_result_is_taken_without_a_copy_unless_somebody_holds_it() {
        let (depot, local) = depot(1 << 20);
        let bytes = depot.allocate(1000).unwrap().freeze();
        let at = depot.0.segment.block_of(&bytes).unwrap();
        let payload = |bytes| Payload { header: Bytes::new(), buffers: vec![bytes] };
        assert!(matches!(depot.store(payload(bytes.clone()).into()).unwrap().buffers[0], Blob::Inline(_)));
        let stored = depot.store(payload(bytes).into()).unwrap();
        assert_eq!(stored.buffers[0], Blob::Shared(at));
        assert_eq!(local.arena.lock().unwrap().used_bytes(), at.size(), "it belongs to the object now");
    }

    #[test]
    fn a_buffer_that_was_not_put_goes_back() {
        let (depot, local) = depot(1 << 20);
        drop(depot.allocate(1000).unwrap().freeze());
        drop(depot.allocate(0).unwrap());
        assert!(depot.0.drafts.lock().is_empty());
        assert_eq!(local.arena.lock().unwrap().used_bytes(), 0);
    }

    #[test]
    fn a_failed_put_leaves_its_buffers_to_those_who_hold_them() {
        let (depot, local) = depot(128 * 1024);
        let mut buffer = depot.allocate(80 * 1024).unwrap();
        buffer.fill(7);
        let bytes = buffer.freeze();
        let payload =
            Payload { header: Bytes::new(), buffers: vec![bytes.clone(), Bytes::from(vec![0; 80 * 1024])] };
        assert!(depot.put(ID, payload.into(), |_, _| panic!("it does not fit")).is_err());
        assert!(depot.allocate(80 * 1024).is_err(), "the block is in use still");
        assert!(bytes.iter().all(|byte| *byte == 7));
        let payload = Payload { header: Bytes::new(), buffers: vec![bytes.clone()] };
        let publish = |_, views: u32| local.references.store(views.into(), Ordering::SeqCst);
        depot.put(ID, payload.into(), publish).unwrap();
        assert_eq!(local.references.load(Ordering::SeqCst), 1);
        drop(bytes);
        assert_eq!(local.references.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn a_spilled_object_is_read_from_the_file() {
        let segment = Segment::create("unidist-test", 1 << 20).unwrap();
        let local = Arc::new(Local {
            arena: Mutex::new(Arena::new(HEADER, segment.len())),
            references: AtomicI64::new(0),
        });
        let (mut space, file) = SpillSpace::create(&std::env::temp_dir(), Some(1 << 20)).unwrap();
        let depot = ObjectStore::new(segment.clone(), Some(file), local.clone(), INLINE_LIMIT);
        let big = Bytes::from((0..INLINE_LIMIT * 2).map(|n| n as u8).collect::<Vec<_>>());
        let payload = Payload { header: Bytes::from_static(b"small"), buffers: vec![big.clone(), big] };
        let stored = depot.store(payload.clone().into()).unwrap();
        let moved = stored.moved(|block| space.write(&segment.view(block, ()).unwrap())).unwrap();
        stored.blocks().for_each(|block| local.give_back(block));
        assert_eq!((moved.blocks().count(), moved.spilled().count()), (0, 2));
        let loaded = depot.load(ID, &moved).unwrap();
        assert_eq!(loaded, payload);
        assert_eq!(local.references.load(Ordering::SeqCst), 1);
        drop(loaded);
        drop(depot.load_answer(ID, &moved).unwrap()); // whose view was counted elsewhere
        assert_eq!(local.references.load(Ordering::SeqCst), -1);
        let beyond = StoredObject { header: Blob::Spilled(Block { offset: 1 << 30, len: 9 }), ..moved };
        assert!(depot.load(ID, &beyond).is_err());
        assert_eq!(local.references.load(Ordering::SeqCst), -1);
    }

    #[test]
    fn a_full_store_is_an_error_and_loses_nothing() {
        let (depot, local) = depot(128 * 1024);
        let half = Bytes::from(vec![0u8; 100 * 1024]);
        let payload = Payload { header: half.clone(), buffers: vec![half.clone()] };
        assert!(matches!(depot.store(payload.into()), Err(Error::StoreFull { .. })));
        let halves = vec![Payload::inline(half.clone()).into(), Payload::inline(half).into()];
        assert!(depot.store_all(halves).is_err());
        assert_eq!(local.arena.lock().unwrap().used_bytes(), 0);
    }
}
