//! A process's handle of the object store: it turns payloads into stored objects and back. Large parts lie in the segment,
//! or in the spill file if the segment has no room; small ones in the object's description.

use super::segment::{Segment, Writable};
use super::spill::{SpillFile, WritableOnDisk};
use super::{Blob, Place, StoredObject};
use bytes::Bytes;
use rustc_hash::FxHashMap;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use unidist_backend::{Outcome, WritableBuffer};
use unidist_common::{DataId, Error, ErrorKind, Object, Payload, Result, TaskError};
use unidist_sync::with_cause;

/// The default of the inline limit: up to this many bytes travel in messages, larger parts through the segment.
pub(crate) const INLINE_LIMIT: usize = 32 * 1024;

/// How a process allocates blocks and keeps objects alive: the controller calls its arena and directory, a worker sends
/// messages to the controller.
pub(crate) trait StoreBackend: Send + Sync + 'static {
    /// Allocates a block of `len` bytes.
    fn allocate(&self, len: u64) -> Result<Place>;
    /// Frees a block that did not become part of an object.
    fn free(&self, place: Place);
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

/// Blocks of this process that are not part of an object yet, by the address of their first byte.
#[derive(Default)]
struct UnsealedBlocks(Mutex<FxHashMap<usize, Weak<UnsealedBlock>>>);

impl UnsealedBlocks {
    fn insert(&self, unsealed: &Arc<UnsealedBlock>) {
        if unsealed.place.block().len > 0 {
            self.lock().insert(unsealed.address, Arc::downgrade(unsealed));
        }
    }

    /// Takes the block out that consists of these bytes.
    fn take(&self, bytes: &[u8]) -> Option<Arc<UnsealedBlock>> {
        let (address, len) = (bytes.as_ptr() as usize, bytes.len() as u64);
        let mut table = self.lock();
        let unsealed = table.get(&address)?.upgrade()?;
        (unsealed.place.block().len == len).then(|| table.remove(&address))?;
        Some(unsealed)
    }

    /// Removes a block that is being dropped. Another one may have its address by now.
    fn remove(&self, unsealed: &UnsealedBlock) {
        let mut table = self.lock();
        if table.get(&unsealed.address).is_some_and(|entry| std::ptr::eq(entry.as_ptr(), unsealed)) {
            table.remove(&unsealed.address);
        }
    }

    fn lock(&self) -> MutexGuard<'_, FxHashMap<usize, Weak<UnsealedBlock>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Memory of a block that is being written.
enum Memory {
    Shared(Writable),
    OnDisk(WritableOnDisk),
}

impl Memory {
    /// Where its bytes are once they are written.
    fn address_when_complete(&self) -> usize {
        match self {
            Memory::Shared(memory) => memory.address_when_complete(),
            Memory::OnDisk(memory) => memory.as_ptr() as usize,
        }
    }
}

impl Deref for Memory {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Memory::Shared(memory) => memory,
            Memory::OnDisk(memory) => memory,
        }
    }
}

impl DerefMut for Memory {
    fn deref_mut(&mut self) -> &mut [u8] {
        match self {
            Memory::Shared(memory) => memory,
            Memory::OnDisk(memory) => memory,
        }
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
        let place = self.0.backend.allocate(len as u64)?;
        let memory = self.writable(place).inspect_err(|_| self.0.backend.free(place))?;
        let unsealed = Arc::new(UnsealedBlock {
            place,
            address: memory.address_when_complete(),
            backend: self.0.backend.clone(),
            table: self.0.unsealed.clone(),
            view: OnceLock::new(),
            is_sealed: AtomicBool::new(false),
        });
        self.0.unsealed.insert(&unsealed);
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
            let Some(unsealed) = self.0.unsealed.take(&bytes) else { return Ok(Part::Bytes(bytes)) };
            let place = unsealed.place;
            adopted.push(unsealed);
            Ok(Part::Adopted(place))
        });
        if stored.is_err() {
            // The blocks stay unsealed: a later put may adopt them.
            adopted.iter().for_each(|unsealed| self.0.unsealed.insert(unsealed));
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
            let Some(unsealed) = self.0.unsealed.take(&bytes) else { return Ok(Part::Bytes(bytes)) };
            let place = unsealed.place;
            drop(bytes);
            if Arc::strong_count(&unsealed) > 1 {
                self.0.unsealed.insert(&unsealed);
                return Ok(Part::Bytes(self.written(place, unsealed)?));
            }
            adopted.push(unsealed);
            Ok(Part::Adopted(place))
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
                    let places = stored.iter().flat_map(StoredObject::places);
                    places.for_each(|place| self.0.backend.free(place));
                    return Err(error);
                }
            }
        }
        Ok(stored)
    }

    fn store_with(
        &self,
        object: Object,
        mut adopt: impl FnMut(Bytes) -> Result<Part>,
    ) -> Result<StoredObject> {
        let Object { payload: Payload { header, buffers }, borrowed } = object;
        let mut allocated = Vec::new();
        let mut write = |bytes: Bytes| match adopt(bytes)? {
            Part::Adopted(place) => Ok(place.into()),
            Part::Bytes(bytes) => self.write(bytes).inspect(|blob| allocated.extend(blob.place())),
        };
        let stored = write(header).and_then(|header| {
            let buffers = buffers.into_iter().map(&mut write).collect::<Result<_>>()?;
            Ok(StoredObject { header, buffers, borrowed })
        });
        if stored.is_err() {
            allocated.into_iter().for_each(|place| self.0.backend.free(place));
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

    /// The bytes of a block that this process has written and that is not part of an object yet.
    fn written(&self, place: Place, unsealed: Arc<UnsealedBlock>) -> Result<Bytes> {
        match (place, &self.0.spill) {
            (Place::Memory(block), _) => self.0.segment.view(block, unsealed).ok_or_else(out_of_bounds),
            (Place::Disk(block), Some(file)) => {
                file.view(block, unsealed).map_err(cannot_write)?.ok_or_else(out_of_bounds)
            }
            (Place::Disk(_), None) => Err(out_of_bounds()),
        }
    }

    fn write(&self, bytes: Bytes) -> Result<Blob> {
        if bytes.len() <= self.0.inline_limit {
            return Ok(Blob::Inline(bytes));
        }
        let place = self.0.backend.allocate(bytes.len() as u64)?;
        let written = match (place, &self.0.spill) {
            (Place::Disk(block), Some(file)) => file.fill(block, &bytes).map_err(cannot_write),
            (Place::Disk(_), None) => Err(out_of_bounds()),
            (Place::Memory(block), _) => self
                .0
                .segment
                .write(block, &bytes)
                .map_err(|error| Error::system("cannot write to the object store", with_cause(&error))),
        };
        written.inspect_err(|_| self.0.backend.free(place))?;
        Ok(place.into())
    }

    /// The memory of an allocated block.
    fn writable(&self, place: Place) -> Result<Memory> {
        let memory = match (place, &self.0.spill) {
            (Place::Memory(block), _) => self.0.segment.writable(block).map(Memory::Shared),
            (Place::Disk(block), Some(file)) => {
                file.writable(block).map_err(cannot_write)?.map(Memory::OnDisk)
            }
            (Place::Disk(_), None) => None,
        };
        memory.ok_or_else(out_of_bounds)
    }
}

/// A part of a payload that is being stored.
enum Part {
    /// It lies in a block already, which becomes part of the object.
    Adopted(Place),
    Bytes(Bytes),
}

fn out_of_bounds() -> Error {
    Error::system("cannot write to the object store", "the allocated block is outside the store")
}

fn cannot_write(error: std::io::Error) -> Error {
    Error::system("cannot write an object to the spill file", error)
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
    place: Place,
    /// Where its bytes are in this process, once they are written.
    address: usize,
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
            self.table.remove(self);
            self.backend.free(self.place);
        }
    }
}

struct Buffer {
    memory: Memory,
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
        match memory {
            Memory::Shared(memory) => match memory.complete() {
                // The block was in bounds when it became writable, so the view exists.
                Ok(block) => segment.view(block, unsealed).unwrap_or_default(),
                // Memory of this process: a later put copies it, or reports that there is no memory.
                Err(bytes) => bytes,
            },
            Memory::OnDisk(memory) => memory.freeze(unsealed),
        }
    }
}

#[cfg(test)]
mod tests;
