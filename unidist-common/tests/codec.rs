//! The encoding of values: an encoded value decodes to itself, and decoding untrusted bytes is harmless.
//!
//! The allocator of this program records the largest allocation of a thread, because a false length in a few bytes must
//! not allocate more memory than the documented limit.
#![allow(unsafe_code, reason = "an allocator")]
#![allow(clippy::unwrap_used, reason = "a test")]

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};
use std::fmt::Debug;
use std::num::NonZeroU32;
use std::time::Duration;
use unidist_common::codec::{decode, encode, splice};
use unidist_common::{
    ActorId, Arg, DataId, Error, ErrorKind, FunctionKey, GroupId, GroupSpec, Object, Part, Payload,
    ProcessId, Returns, Target, TaskError, TaskOptions, TaskSpec,
};

struct RecordingAllocator;

thread_local! {
    /// The largest allocation of this thread, in bytes.
    static LARGEST: Cell<usize> = const { Cell::new(0) };
}

fn record(size: usize) {
    // Fails while the thread ends, when the size no longer matters.
    let _ = LARGEST.try_with(|largest| largest.set(largest.get().max(size)));
}

// SAFETY: all calls are forwarded to the system's allocator.
unsafe impl GlobalAlloc for RecordingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        record(layout.size());
        // SAFETY: the caller's guarantees are those that `System` requires.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's guarantees are those that `System` requires.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        record(layout.size());
        // SAFETY: the caller's guarantees are those that `System` requires.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        record(size);
        // SAFETY: the caller's guarantees are those that `System` requires.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: RecordingAllocator = RecordingAllocator;

/// The limit of `decode` for false lengths in a few bytes, or what serde may allocate before the first item.
const MAX_ALLOCATION: usize = 2 << 20;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Tree {
    Leaf,
    Number(i64),
    Pair(Box<Tree>, Box<Tree>),
    Named { name: String, children: Vec<Tree>, rest: Option<(char, bool)> },
}

type Plain = (bool, u8, i16, u32, i64, u128, char, (), [i8; 3]);
type Lists = (Vec<u64>, Vec<String>, Option<Vec<Option<u16>>>);
/// Not for arbitrary bytes: the number of items of no bytes has no limit, and a false one takes too long to count to.
type EmptyItems = Vec<()>;
/// Sequences that are copied as a whole.
type Numbers = ((Vec<u8>, Vec<i16>, Vec<bool>), (Vec<f32>, Vec<u128>, Vec<usize>), Option<Vec<Vec<f64>>>);
type Outcome = Result<Box<str>, Vec<(u8, Duration)>>;
type Words = BTreeMap<String, Vec<u8>>;

fn tree() -> impl Strategy<Value = Tree> {
    let leaf = prop_oneof![Just(Tree::Leaf), any::<i64>().prop_map(Tree::Number)];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| Tree::Pair(a.into(), b.into())),
            (any::<String>(), vec(inner, 0..4), any::<Option<(char, bool)>>())
                .prop_map(|(name, children, rest)| Tree::Named { name, children, rest }),
        ]
    })
}

fn id() -> impl Strategy<Value = DataId> {
    (0..=ProcessId::MAX, any::<u64>())
        .prop_map(|(process, n)| DataId::new(ProcessId::new(process).unwrap(), n))
}

fn bytes() -> impl Strategy<Value = bytes::Bytes> {
    vec(any::<u8>(), 0..50).prop_map(bytes::Bytes::from)
}

fn error() -> impl Strategy<Value = TaskError> {
    let kind =
        prop::sample::select(&[ErrorKind::Panicked, ErrorKind::StoreFull, ErrorKind::InvalidOption][..]);
    let one = (kind, any::<[String; 3]>(), any::<Option<String>>(), any::<(u8, String)>());
    let one = one.prop_map(|(kind, [message, function, worker], location, payload)| TaskError {
        location,
        ..TaskError::new(kind, message).of_function(&function).on_worker(&worker).with_payload(&payload)
    });
    vec(one, 1..5).prop_map(|errors| errors.into_iter().reduce(|cause, error| error.because(cause)).unwrap())
}

fn spec() -> impl Strategy<Value = TaskSpec> {
    let target = prop_oneof![
        Just(Target::Pool),
        Just(Target::NewActor),
        id().prop_map(|id| Target::Actor(ActorId::of_handle(id)))
    ];
    let arg = prop_oneof![
        bytes().prop_map(Arg::Value),
        id().prop_map(Arg::Ref),
        vec(id(), 0..5).prop_map(Arg::List),
        vec(prop_oneof![bytes().prop_map(Part::Bytes), id().prop_map(Part::Ref)], 0..5).prop_map(Arg::Parts)
    ];
    let options = (any::<Option<u32>>(), vec((any::<String>(), 0.0..9.0), 0..3), any::<Option<String>>());
    let parts = (any::<u128>(), prop::option::of(bytes()), any::<String>(), target, vec(arg, 0..5));
    (parts, vec(id(), 0..5), vec(id(), 0..5), (id(), any::<u32>()), options).prop_map(
        |((function, body, name, target, args), dependencies, borrowed, (first, count), options)| TaskSpec {
            function: FunctionKey(function),
            body,
            name: name.into(),
            target,
            asynchronous: count % 2 == 0,
            args,
            dependencies,
            borrowed,
            returns: Returns { first, count },
            options: std::sync::Arc::new(TaskOptions {
                num_cpus: options.0.map(f64::from),
                resources: options.1,
                memory: options.0.map(u64::from),
                name: options.2,
                max_retries: options.0,
                priority: Some(-1),
                max_concurrency: None,
                max_restarts: options.0,
                timeout: options.0.map(|seconds| Duration::from_secs(seconds.into())),
                worker: options.0.and_then(ProcessId::new),
                group: options.0.map(|limit| GroupSpec {
                    id: GroupId::of_reserved(first),
                    limit: NonZeroU32::new(limit),
                }),
            }),
        },
    )
}

/// The encoded value decodes to itself; a part of it, or one byte more, is an error.
fn assert_round_trip<T: Serialize + DeserializeOwned + PartialEq + Debug>(
    value: &T,
    cut: prop::sample::Index,
) {
    let encoded = encode(value).unwrap();
    assert_eq!(decode::<T>(&encoded).as_ref(), Ok(value));
    if !encoded.is_empty() {
        let part = &encoded[..cut.index(encoded.len())];
        assert!(decode::<T>(part).is_err(), "{} of {} bytes", part.len(), encoded.len());
    }
    assert!(decode::<T>(&[&encoded[..], &[0]].concat()).is_err());
}

/// Arbitrary bytes decode to a value or an error, and allocate no more memory than the limit.
fn assert_harmless<T: Serialize + DeserializeOwned>(bytes: &[u8]) {
    LARGEST.set(0);
    let decoded = decode::<T>(bytes);
    let largest = LARGEST.get();
    assert!(largest <= MAX_ALLOCATION, "{largest} bytes for {}", bytes.len());
    if let Ok(value) = decoded {
        assert!(encode(&value).unwrap().len() <= bytes.len());
    }
}

/// A sequence has the same bytes whether it is written as a whole or item by item, and each is read both ways, wherever
/// it is. The value of an item is compared by its bytes, because NaN does not equal itself.
fn assert_same_as_items<T: Clone + Serialize + DeserializeOwned>(items: &[T], before: &str) {
    let as_items: VecDeque<T> = items.iter().cloned().collect();
    let encoded = encode(&(before, items, 'x')).unwrap();
    assert_eq!(encoded, encode(&(before, &as_items, 'x')).unwrap());
    let whole = decode::<(String, Vec<T>, char)>(&encoded).unwrap();
    assert_eq!(encode(&whole).unwrap(), encoded);
    let item_by_item = decode::<(String, VecDeque<T>, char)>(&encoded).unwrap();
    assert_eq!(encode(&item_by_item).unwrap(), encoded);
}

fn assert_harmless_for_all_types(bytes: &[u8]) {
    assert_harmless::<Plain>(bytes);
    assert_harmless::<Lists>(bytes);
    assert_harmless::<Numbers>(bytes);
    assert_harmless::<Tree>(bytes);
    assert_harmless::<Outcome>(bytes);
    assert_harmless::<Words>(bytes);
    assert_harmless::<TaskError>(bytes);
    assert_harmless::<Error>(bytes);
    assert_harmless::<TaskSpec>(bytes);
    assert_harmless::<Object>(bytes);
    assert_harmless::<bytes::Bytes>(bytes);
}

proptest! {
    #[test]
    fn plain_values_round_trip(value: Plain, floats: [f64; 2], cut: prop::sample::Index) {
        assert_round_trip(&value, cut);
        let back = decode::<[f64; 2]>(&encode(&floats).unwrap()).unwrap();
        prop_assert_eq!(back.map(f64::to_bits), floats.map(f64::to_bits));
    }

    #[test]
    fn lists_and_maps_round_trip(
        numbers: Vec<u64>,
        names in vec(any::<String>(), 0..9),
        nothing in 0..50usize,
        options: Option<Vec<Option<u16>>>,
        words in btree_map(any::<String>(), any::<Vec<u8>>(), 0..5),
        cut: prop::sample::Index,
    ) {
        assert_round_trip(&(numbers, names, options) as &Lists, cut);
        assert_round_trip(&vec![(); nothing] as &EmptyItems, cut);
        assert_round_trip(&words, cut);
    }

    #[test]
    fn numbers_round_trip(
        small in (vec(any::<u8>(), 0..9), vec(any::<i16>(), 0..9), vec(any::<bool>(), 0..9)),
        large in (vec(-9.0..9f32, 0..9), vec(any::<u128>(), 0..9), vec(any::<usize>(), 0..9)),
        rows in prop::option::of(vec(vec(-9.0..9f64, 0..9), 0..4)),
        cut: prop::sample::Index) {
        assert_round_trip(&(small, large, rows) as &Numbers, cut);
    }

    #[test]
    fn numbers_are_the_same_item_by_item(bytes in vec(any::<u128>(), 0..20), before in "[a-z]{0,9}") {
        macro_rules! all {
            ($($number:ident)*) => {
                $(
                    let items: Vec<$number> = bytes.iter().map(|bits| *bits as $number).collect();
                    assert_same_as_items(&items, &before);
                )*
            };
        }
        all!(u8 u16 u32 u64 u128 usize i8 i16 i32 i64 i128 isize);
        assert_same_as_items(&bytes.iter().map(|bits| bits % 2 == 0).collect::<Vec<_>>(), &before);
        let bits = |bits: &u128| (f32::from_bits(*bits as u32), f64::from_bits(*bits as u64));
        let (singles, doubles): (Vec<_>, Vec<_>) = bytes.iter().map(bits).unzip();
        assert_same_as_items(&singles, &before);
        assert_same_as_items(&doubles, &before);
    }

    #[test]
    fn trees_and_outcomes_round_trip(tree in tree(), outcome in any::<Result<String, Vec<(u8, Duration)>>>(), cut: prop::sample::Index) {
        assert_round_trip(&tree, cut);
        assert_round_trip(&outcome.map(String::into_boxed_str), cut);
    }

    #[test]
    fn wire_types_round_trip(error in error(), spec in spec(), parts in vec(bytes(), 1..4), borrowed in vec(id(), 0..4), cut: prop::sample::Index) {
        assert_round_trip(&Error::from(error.clone()), cut);
        assert_round_trip(&error, cut);
        assert_round_trip(&spec, cut);
        let payload = Payload { header: parts[0].clone(), buffers: parts[1..].to_vec() };
        assert_round_trip(&Object { payload, borrowed }, cut);
    }

    #[test]
    fn lists_are_spliced(items in vec((any::<u8>(), "[a-zß]{0,9}"), 0..20)) {
        let encoded: Vec<_> = items.iter().map(|item| encode(item).unwrap()).collect();
        prop_assert_eq!(splice(encoded.iter().map(|item| &item[..])), encode(&items).unwrap());
    }

    #[test]
    fn arbitrary_bytes_are_harmless(bytes in vec(prop_oneof![Just(0u8), Just(1), Just(0xff), any::<u8>()], 0..200)) {
        assert_harmless_for_all_types(&bytes);
    }

    #[test]
    fn false_lengths_are_harmless(before in vec(0..3u8, 0..40), length: u64, shift in 0..64u32, after: Vec<u8>) {
        assert_harmless_for_all_types(&[&before[..], &(length >> shift).to_le_bytes(), &after].concat());
    }

    #[test]
    fn changed_byte_is_harmless(spec in spec(), error in error(), at: prop::sample::Index, byte: u8) {
        for encoded in [encode(&spec).unwrap(), encode(&error).unwrap()] {
            let mut bytes = encoded.to_vec();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            assert_harmless_for_all_types(&bytes);
        }
    }
}
