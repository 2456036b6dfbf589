//! Storing and loading, in memory and on disk.

use super::*;
use crate::store::Block;
use crate::store::arena::Arena;
use crate::store::segment::HEADER;
use crate::store::spill::SpillSpace;
use std::sync::atomic::AtomicI64;
use unidist_common::{ProcessId, StoreFull};

struct Local {
    arena: Mutex<Arena>,
    disk: Mutex<Option<SpillSpace>>,
    pins: AtomicI64,
}

impl Local {
    fn new(segment: &Segment) -> Arc<Local> {
        let arena = Mutex::new(Arena::new(HEADER, segment.len()));
        Arc::new(Local { arena, disk: Mutex::default(), pins: AtomicI64::new(0) })
    }
}

impl StoreBackend for Local {
    fn allocate(&self, len: u64) -> Result<Place> {
        let mut arena = self.arena.lock().unwrap();
        let (used, limit) = (arena.used_bytes(), arena.capacity());
        let in_memory = arena.allocate(len).map(Place::Memory);
        let place =
            in_memory.or_else(|| self.disk.lock().unwrap().as_mut()?.reserve(len).ok().map(Place::Disk));
        place.ok_or_else(|| StoreFull::new(len, used, limit).into())
    }
    fn free(&self, place: Place) {
        assert!(match place {
            Place::Memory(block) => self.arena.lock().unwrap().free(block),
            Place::Disk(block) => self.disk.lock().unwrap().as_mut().unwrap().free(block),
        });
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
    let local = Local::new(&segment);
    (ObjectStore::new(segment, None, local.clone(), INLINE_LIMIT), local)
}

const ID: DataId = DataId::new(ProcessId::CONTROLLER, 1);

#[test]
fn inline_limit_depends_on_the_session() {
    let segment = Segment::create("unidist-test", 1 << 20).unwrap();
    let local = Local::new(&segment);
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
    let local = Local::new(&segment);
    let (mut space, file) = SpillSpace::create(&std::env::temp_dir(), Some(1 << 20)).unwrap();
    let store = ObjectStore::new(segment.clone(), Some(file), local.clone(), INLINE_LIMIT);
    let big = Bytes::from((0..INLINE_LIMIT * 2).map(|n| n as u8).collect::<Vec<_>>());
    let payload = Payload { header: Bytes::from_static(b"small"), buffers: vec![big.clone(), big] };
    let stored = store.store(payload.clone().into()).unwrap();
    let moved = stored.spilled_with(|block| space.write(&segment.view(block, ()).unwrap())).unwrap();
    stored.places().for_each(|place| local.free(place));
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

/// A store without room in memory.
fn store_on_disk() -> (ObjectStore, Arc<Local>, impl Fn() -> u64) {
    let segment = Segment::create("unidist-test", 4096).unwrap();
    let local = Local::new(&segment);
    let (space, file) = SpillSpace::create(&std::env::temp_dir(), Some(1 << 20)).unwrap();
    *local.disk.lock().unwrap() = Some(space);
    let store = ObjectStore::new(segment, Some(file), local.clone(), INLINE_LIMIT);
    let used = {
        let local = local.clone();
        move || local.disk.lock().unwrap().as_ref().unwrap().used()
    };
    (store, local, used)
}

#[test]
fn object_without_room_in_memory_is_written_to_disk() {
    let (store, local, used) = store_on_disk();
    let big = Bytes::from(vec![7u8; INLINE_LIMIT + 1]);
    let payload = Payload { header: Bytes::from_static(b"small"), buffers: vec![big.clone()] };
    let stored = store.store(payload.clone().into()).unwrap();
    assert!(matches!((&stored.header, &stored.buffers[0]), (Blob::Inline(_), Blob::Spilled(_))));
    assert_eq!(store.load(ID, &stored).unwrap(), payload);
    let two =
        vec![Payload::inline(big.clone()).into(), Payload::inline(Bytes::from(vec![0; 1 << 20])).into()];
    let before = used();
    assert!(store.store_all(two).is_err());
    assert_eq!(used(), before);
    stored.places().for_each(|place| local.free(place));
    assert_eq!(used(), 0);
}

#[test]
fn buffer_on_disk_is_adopted_shared_and_freed() {
    let (store, local, used) = store_on_disk();
    let written = |len| {
        let mut buffer = store.allocate(len).unwrap();
        buffer.fill(3);
        buffer.freeze()
    };
    let payload = |bytes: &Bytes| Payload { header: Bytes::new(), buffers: vec![bytes.clone()] };
    let bytes = written(10_000);
    let mut stored = None;
    store.put(ID, payload(&bytes).into(), |object, views| stored = Some((object, views))).unwrap();
    let (object, views) = stored.unwrap();
    assert!(matches!(object.buffers[0], Blob::Spilled(_)) && views == 1);
    drop(bytes);
    assert_eq!(local.pins.load(Ordering::SeqCst), -1, "the view was given back");
    object.places().for_each(|place| local.free(place));

    let bytes = written(50_000);
    let copied = store.store(payload(&bytes).into()).unwrap();
    assert_eq!(used(), 2 * 53_248, "there is another reference to the bytes");
    copied.places().for_each(|place| local.free(place));
    assert_eq!(bytes, vec![3; 50_000]);
    drop(bytes);
    assert_eq!(used(), 0);

    let bytes = written(50_000);
    let payload = Payload { header: Bytes::new(), buffers: vec![bytes] };
    let adopted = store.store(payload.into()).unwrap();
    assert_eq!(used(), 53_248);
    adopted.places().for_each(|place| local.free(place));
    drop((written(50_000), written(5000)));
    assert_eq!(used(), 0);
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
