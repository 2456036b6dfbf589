//! A process's handle of the object store: it turns payloads into stored objects and back. Large parts lie in the segment,
//! small ones in the object's description.

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

/// The default of the inline limit: up to this many bytes travel in messages, larger parts through the segment.
pub(crate) const INLINE_LIMIT: usize = 32 * 1024;

/// How a process allocates blocks and keeps objects alive: the controller calls its arena and directory, a worker sends
/// messages to the controller.
pub(crate) trait StoreBackend: Send + Sync + 'static {
    /// Allocates a block of `len` bytes.
    fn allocate(&self, len: u64) -> Result<Block>;
    /// Frees a block that did not become part of an object.
    fn free(&self, block: Block);
    /// Notes that this process has a view of an object: the object is neither freed nor moved meanwhile.
    fn pin_view(&self, id: DataId);
    /// Drops one such view.
    fn unpin_view(&self, id: DataId);
}

/// The object store as one process sees it: a handle, cheap to clone.
#[derive(Clone)]
pub(crate) struct ObjectStore(Arc<Shared>);

struct Shared {
    segment: Arc<Segment>,
    /// None where nothing is spilled.
    spill: Option<Arc<SpillFile>>,
    backend: Arc<dyn StoreBackend>,
    unsealed: Arc<UnsealedBlocks>,
    inline_limit: usize,
}

/// Blocks of this process that are not part of an object yet, by offset.
#[derive(Default)]
struct UnsealedBlocks(Mutex<FxHashMap<u64, Weak<UnsealedBlock>>>);

impl UnsealedBlocks {
    fn lock(&self) -> MutexGuard<'_, FxHashMap<u64, Weak<UnsealedBlock>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ObjectStore {
    /// Parts of up to `inline_limit` bytes do not go into the segment.
    pub(crate) fn new(
        segment: Arc<Segment>,
        spill: Option<Arc<SpillFile>>,
        backend: Arc<dyn StoreBackend>,
        inline_limit: usize,
    ) -> Self {
        ObjectStore(Arc::new(Shared { segment, spill, backend, unsealed: Arc::default(), inline_limit }))
    }

    /// Writable memory that [`put`](ObjectStore::put) adopts without a copy.
    pub(crate) fn allocate(&self, len: usize) -> Result<Box<dyn WritableBuffer>> {
        let memory = self.memory(len as u64)?;
        let block = memory.block();
        let unsealed = Arc::new(UnsealedBlock {
            block,
            backend: self.0.backend.clone(),
            table: self.0.unsealed.clone(),
            view: OnceLock::new(),
            is_sealed: AtomicBool::new(false),
        });
        self.0.unsealed.lock().insert(block.offset, Arc::downgrade(&unsealed));
        Ok(Box::new(Buffer { memory, unsealed, segment: self.0.segment.clone() }))
    }

    /// Stores a payload and calls `publish` to announce it as `id`. Memory from [`allocate`](ObjectStore::allocate) is
    /// adopted; such bytes become views of the object, and `publish` is told how many this process has from the start.
    pub(crate) fn put(
        &self,
        id: DataId,
        object: Object,
        publish: impl FnOnce(StoredObject, u32),
    ) -> Result<()> {
        let mut adopted = Vec::new();
        let stored = self.store_with(object, |bytes| {
            let Some(unsealed) = self.take_unsealed(&bytes) else { return Err(bytes) };
            let block = unsealed.block;
            adopted.push(unsealed);
            Ok(block)
        });
        if stored.is_err() {
            // The blocks stay unsealed: a later put may adopt them.
            let mut table = self.0.unsealed.lock();
            table.extend(adopted.iter().map(|unsealed| (unsealed.block.offset, Arc::downgrade(unsealed))));
        }
        publish(stored?, adopted.len() as u32);
        adopted.into_iter().for_each(|unsealed| unsealed.seal(ViewGuard::adopt(id, self.0.backend.clone())));
        Ok(())
    }

    /// Stores a payload that has no id yet. Memory from [`allocate`](ObjectStore::allocate) is adopted if the payload holds
    /// the only reference to it; otherwise it is copied, since other references could not pin an object without an id.
    pub(crate) fn store(&self, object: Object) -> Result<StoredObject> {
        let mut adopted = Vec::new();
        let stored = self.store_with(object, |bytes| {
            let Some(unsealed) = self.take_unsealed(&bytes) else { return Err(bytes) };
            let block = unsealed.block;
            drop(bytes);
            if Arc::strong_count(&unsealed) > 1 {
                self.0.unsealed.lock().insert(block.offset, Arc::downgrade(&unsealed));
                // The block was in bounds when it was written, so the view exists.
                return Err(self.0.segment.view(block, unsealed).unwrap_or_default());
            }
            adopted.push(unsealed);
            Ok(block)
        });
        if stored.is_ok() {
            adopted.into_iter().for_each(|unsealed| unsealed.is_sealed.store(true, Ordering::Relaxed));
        }
        stored
    }

    /// Stores the results of a call: all or none.
    pub(crate) fn store_all(&self, objects: Vec<Object>) -> Result<Vec<StoredObject>> {
        let mut stored: Vec<StoredObject> = Vec::with_capacity(objects.len());
        for object in objects {
            match self.store(object) {
                Ok(object) => stored.push(object),
                Err(error) => {
                    let blocks = stored.iter().flat_map(StoredObject::blocks);
                    blocks.for_each(|block| self.0.backend.free(block));
                    return Err(error);
                }
            }
        }
        Ok(stored)
    }

    fn store_with(
        &self,
        object: Object,
        mut adopt: impl FnMut(Bytes) -> std::result::Result<Block, Bytes>,
    ) -> Result<StoredObject> {
        let Object { payload: Payload { header, buffers }, borrowed } = object;
        let mut allocated = Vec::new();
        let mut write = |bytes: Bytes| match adopt(bytes) {
            Ok(block) => Ok(Blob::Shared(block)),
            Err(bytes) => self.write(bytes).inspect(|blob| {
                if let Blob::Shared(block) = blob {
                    allocated.push(*block);
                }
            }),
        };
        let stored = write(header).and_then(|header| {
            let buffers = buffers.into_iter().map(&mut write).collect::<Result<_>>()?;
            Ok(StoredObject { header, buffers, borrowed })
        });
        if stored.is_err() {
            allocated.into_iter().for_each(|block| self.0.backend.free(block));
        }
        stored
    }

    /// The payload of a stored object. Its parts in the segment or the spill file pin the object; the caller keeps the
    /// object in place until this returns.
    pub(crate) fn load(&self, id: DataId, stored: &StoredObject) -> Outcome {
        self.view(id, stored, || ViewGuard::pin(id, self.0.backend.clone()))
    }

    /// The payload of a stored object from a reply: if it needs a view, the engine has counted that view already.
    pub(crate) fn load_reply(&self, id: DataId, stored: &StoredObject) -> Outcome {
        self.view(id, stored, || ViewGuard::adopt(id, self.0.backend.clone()))
    }

    fn view(&self, id: DataId, stored: &StoredObject, pin: impl FnOnce() -> ViewGuard) -> Outcome {
        let guard = stored.has_external_parts().then(|| Arc::new(pin()));
        let view = |blob: &Blob| {
            let bytes = match (blob, &self.0.spill) {
                (Blob::Inline(bytes), _) => Some(bytes.clone()),
                (Blob::Shared(block), _) => self.0.segment.view(*block, guard.clone()),
                (Blob::Spilled(block), Some(file)) => file.view(*block, guard.clone()).map_err(|error| {
                    let text = format!("cannot read object {id} from the spill file: {error}");
                    TaskError::new(ErrorKind::ObjectLost, text)
                })?,
                (Blob::Spilled(_), None) => None,
            };
            bytes.ok_or_else(|| {
                TaskError::new(ErrorKind::Decode, format!("object {id} is outside the object store"))
            })
        };
        Ok(Payload {
            header: view(&stored.header)?,
            buffers: stored.buffers.iter().map(view).collect::<Result<_, _>>()?,
        })
    }

    fn take_unsealed(&self, bytes: &Bytes) -> Option<Arc<UnsealedBlock>> {
        let block = self.0.segment.block_of(bytes)?;
        let mut table = self.0.unsealed.lock();
        let unsealed = table.get(&block.offset)?.upgrade()?;
        (unsealed.block == block).then(|| table.remove(&block.offset))?;
        Some(unsealed)
    }

    fn write(&self, bytes: Bytes) -> Result<Blob> {
        if bytes.len() <= self.0.inline_limit {
            return Ok(Blob::Inline(bytes));
        }
        let mut memory = self.memory(bytes.len() as u64)?;
        memory.copy_from_slice(&bytes);
        Ok(Blob::Shared(memory.block()))
    }

    fn memory(&self, len: u64) -> Result<Writable> {
        let block = self.0.backend.allocate(len)?;
        self.0.segment.writable(block).ok_or_else(|| {
            Error::system("cannot write to the object store", "the allocated block is outside the store")
        })
    }
}

/// Pins an object while this process has views of it.
struct ViewGuard {
    id: DataId,
    backend: Arc<dyn StoreBackend>,
}

impl ViewGuard {
    fn pin(id: DataId, backend: Arc<dyn StoreBackend>) -> Self {
        backend.pin_view(id);
        ViewGuard { id, backend }
    }

    /// The guard of a view that is counted already.
    fn adopt(id: DataId, backend: Arc<dyn StoreBackend>) -> Self {
        ViewGuard { id, backend }
    }
}

impl Drop for ViewGuard {
    fn drop(&mut self) {
        self.backend.unpin_view(self.id);
    }
}

/// A block that is not part of an object yet. On drop it is freed, unless an object has adopted it.
struct UnsealedBlock {
    block: Block,
    backend: Arc<dyn StoreBackend>,
    table: Arc<UnsealedBlocks>,
    /// The view of the object that has adopted the block, for the bytes that this process still holds.
    view: OnceLock<ViewGuard>,
    /// An object has adopted the block, and this process has no view of it.
    is_sealed: AtomicBool,
}

impl UnsealedBlock {
    fn seal(&self, view: ViewGuard) {
        // A block leaves the table before it is sealed, so this is the only call.
        let _ = self.view.set(view);
    }
}

impl Drop for UnsealedBlock {
    fn drop(&mut self) {
        if self.view.get().is_none() && !self.is_sealed.load(Ordering::Relaxed) {
            // In this order: once the block is free, another one may have its offset.
            self.table.lock().remove(&self.block.offset);
            self.backend.free(self.block);
        }
    }
}

struct Buffer {
    memory: Writable,
    unsealed: Arc<UnsealedBlock>,
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
        let Buffer { memory, unsealed, segment } = *self;
        // The block was in bounds when it became writable, so the view exists.
        segment.view(memory.block(), unsealed).unwrap_or_default()
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
        pins: AtomicI64,
    }

    impl StoreBackend for Local {
        fn allocate(&self, len: u64) -> Result<Block> {
            let mut arena = self.arena.lock().unwrap();
            let (used, limit) = (arena.used_bytes(), arena.capacity());
            arena.allocate(len).ok_or_else(|| StoreFull::new(len, used, limit).into())
        }
        fn free(&self, block: Block) {
            assert!(self.arena.lock().unwrap().free(block));
        }
        fn pin_view(&self, _: DataId) {
            self.pins.fetch_add(1, Ordering::SeqCst);
        }
        fn unpin_view(&self, _: DataId) {
            self.pins.fetch_sub(1, Ordering::SeqCst);
        }
    }

    fn store(capacity: u64) -> (ObjectStore, Arc<Local>) {
        let segment = Segment::create("unidist-test", capacity).unwrap();
        let arena = Mutex::new(Arena::new(HEADER, segment.len()));
        let local = Arc::new(Local { arena, pins: AtomicI64::new(0) });
        (ObjectStore::new(segment, None, local.clone(), INLINE_LIMIT), local)
    }

    const ID: DataId = DataId::new(ProcessId::CONTROLLER, 1);

    #[test]
    fn inline_limit_depends_on_the_session() {
        let segment = Segment::create("unidist-test", 1 << 20).unwrap();
        let arena = Mutex::new(Arena::new(HEADER, segment.len()));
        let local = Arc::new(Local { arena, pins: AtomicI64::new(0) });
        let store = ObjectStore::new(segment, None, local, 100);
        let payload = Payload {
            header: Bytes::from(vec![1; 100]),
            buffers: vec![Bytes::from(vec![2; 101]), Bytes::from(vec![3; 99])],
        };
        let stored = store.store(payload.into()).unwrap();
        assert_eq!(stored.blocks().map(|block| block.len).collect::<Vec<_>>(), [101]);
    }

    #[test]
    fn small_parts_stay_inline_and_large_ones_are_shared() {
        let (store, local) = store(1 << 20);
        let big = Bytes::from(vec![7u8; INLINE_LIMIT + 1]);
        let payload = Payload { header: Bytes::from_static(b"small"), buffers: vec![big.clone()] };
        let stored = store.store(payload.clone().into()).unwrap();
        assert!(matches!((&stored.header, &stored.buffers[0]), (Blob::Inline(_), Blob::Shared(_))));
        let loaded = store.load(ID, &stored).unwrap();
        assert_eq!(loaded, payload);
        assert_eq!(local.pins.load(Ordering::SeqCst), 1);
        drop(loaded);
        assert_eq!(local.pins.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn written_buffer_is_adopted_without_a_copy() {
        let (store, local) = store(1 << 20);
        let mut buffer = store.allocate(1000).unwrap();
        buffer.fill(3);
        let at = buffer.as_ptr();
        let bytes = buffer.freeze();
        let payload = Payload { header: Bytes::new(), buffers: vec![bytes.clone()] };
        let mut stored = None;
        let publish = |object, views: u32| {
            stored = Some(object);
            local.pins.store(views.into(), Ordering::SeqCst);
        };
        store.put(ID, payload.into(), publish).unwrap();
        let stored = stored.unwrap();
        let Blob::Shared(block) = stored.buffers[0] else { panic!("copied") };
        assert_eq!(store.0.segment.view(block, ()).unwrap().as_ptr(), at);
        assert_eq!(local.pins.load(Ordering::SeqCst), 1, "the written bytes keep the object alive");
        drop(bytes);
        assert_eq!(local.pins.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn result_is_adopted_without_a_copy_if_it_is_the_only_reference() {
        let (store, local) = store(1 << 20);
        let bytes = store.allocate(1000).unwrap().freeze();
        let at = store.0.segment.block_of(&bytes).unwrap();
        let payload = |bytes| Payload { header: Bytes::new(), buffers: vec![bytes] };
        assert!(matches!(store.store(payload(bytes.clone()).into()).unwrap().buffers[0], Blob::Inline(_)));
        let stored = store.store(payload(bytes).into()).unwrap();
        assert_eq!(stored.buffers[0], Blob::Shared(at));
        assert_eq!(local.arena.lock().unwrap().used_bytes(), at.size(), "it belongs to the object");
    }

    #[test]
    fn buffer_that_was_not_put_is_freed() {
        let (store, local) = store(1 << 20);
        drop(store.allocate(1000).unwrap().freeze());
        drop(store.allocate(0).unwrap());
        assert!(store.0.unsealed.lock().is_empty());
        assert_eq!(local.arena.lock().unwrap().used_bytes(), 0);
    }

    #[test]
    fn failed_put_leaves_its_buffers_to_their_holders() {
        let (store, local) = store(128 * 1024);
        let mut buffer = store.allocate(80 * 1024).unwrap();
        buffer.fill(7);
        let bytes = buffer.freeze();
        let payload =
            Payload { header: Bytes::new(), buffers: vec![bytes.clone(), Bytes::from(vec![0; 80 * 1024])] };
        assert!(store.put(ID, payload.into(), |_, _| panic!("it does not fit")).is_err());
        assert!(store.allocate(80 * 1024).is_err(), "the block is still in use");
        assert!(bytes.iter().all(|byte| *byte == 7));
        let payload = Payload { header: Bytes::new(), buffers: vec![bytes.clone()] };
        let publish = |_, views: u32| local.pins.store(views.into(), Ordering::SeqCst);
        store.put(ID, payload.into(), publish).unwrap();
        assert_eq!(local.pins.load(Ordering::SeqCst), 1);
        drop(bytes);
        assert_eq!(local.pins.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn spilled_object_is_read_from_the_file() {
        let segment = Segment::create("unidist-test", 1 << 20).unwrap();
        let local =
            Arc::new(Local { arena: Mutex::new(Arena::new(HEADER, segment.len())), pins: AtomicI64::new(0) });
        let (mut space, file) = SpillSpace::create(&std::env::temp_dir(), Some(1 << 20)).unwrap();
        let store = ObjectStore::new(segment.clone(), Some(file), local.clone(), INLINE_LIMIT);
        let big = Bytes::from((0..INLINE_LIMIT * 2).map(|n| n as u8).collect::<Vec<_>>());
        let payload = Payload { header: Bytes::from_static(b"small"), buffers: vec![big.clone(), big] };
        let stored = store.store(payload.clone().into()).unwrap();
        let moved = stored.spilled_with(|block| space.write(&segment.view(block, ()).unwrap())).unwrap();
        stored.blocks().for_each(|block| local.free(block));
        assert_eq!((moved.blocks().count(), moved.spilled_blocks().count()), (0, 2));
        let loaded = store.load(ID, &moved).unwrap();
        assert_eq!(loaded, payload);
        assert_eq!(local.pins.load(Ordering::SeqCst), 1);
        drop(loaded);
        drop(store.load_reply(ID, &moved).unwrap()); // its view was counted elsewhere
        assert_eq!(local.pins.load(Ordering::SeqCst), -1);
        let beyond = StoredObject { header: Blob::Spilled(Block { offset: 1 << 30, len: 9 }), ..moved };
        assert!(store.load(ID, &beyond).is_err());
        assert_eq!(local.pins.load(Ordering::SeqCst), -1);
    }

    #[test]
    fn full_store_is_an_error_and_leaks_nothing() {
        let (store, local) = store(128 * 1024);
        let half = Bytes::from(vec![0u8; 100 * 1024]);
        let payload = Payload { header: half.clone(), buffers: vec![half.clone()] };
        assert!(matches!(store.store(payload.into()), Err(Error::StoreFull { .. })));
        let halves = vec![Payload::inline(half.clone()).into(), Payload::inline(half).into()];
        assert!(store.store_all(halves).is_err());
        assert_eq!(local.arena.lock().unwrap().used_bytes(), 0);
    }
}
