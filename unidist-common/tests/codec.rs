//! The encoding of values: what is encoded comes back, and nothing else does any harm.
//!
//! The allocator of this program counts what its threads ask for, since a false length in a few bytes must not take
//! more memory than is promised.
#![allow(unsafe_code, reason = "an allocator")]
#![allow(clippy::unwrap_used, reason = "a test")]

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::num::NonZeroU32;
use std::time::Duration;
use unidist_common::codec::{decode, encode, splice};
use unidist_common::{
    ActorId, Arg, DataId, Error, ErrorKind, FunctionKey, GroupSpec, Object, Payload, ProcessId, Returns,
    Target, TaskError, TaskOptions, TaskSpec,
};

struct Counting;

thread_local! {
    /// The largest piece of memory that this thread has asked for.
    static LARGEST: Cell<usize> = const { Cell::new(0) };
}

fn count(size: usize) {
    // While a thread ends there is nothing to count with, and nothing to count.
    let _ = LARGEST.try_with(|largest| largest.set(largest.get().max(size)));
}

// SAFETY: everything is done by the system's allocator, which is one.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: what the caller promises is promised on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: what the caller promises is promised on.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: what the caller promises is promised on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size);
        // SAFETY: what the caller promises is promised on.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// What `decode` promises for false lengths in so few bytes, or what serde may take before it has seen an item.
const MOST: usize = 2 << 20;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Tree {
    Leaf,
    Number(i64),
    Pair(Box<Tree>, Box<Tree>),
    Named { name: String, children: Vec<Tree>, rest: Option<(char, bool)> },
}

type Plain = (bool, u8, i16, u32, i64, u128, char, (), [i8; 3]);
type Lists = (Vec<u64>, Vec<String>, Option<Vec<Option<u16>>>);
/// Not for bytes at random: items that take no bytes can be any number, and a false one takes for ever to count.
type Nothings = Vec<()>;
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
        vec(id(), 0..5).prop_map(Arg::List)
    ];
    let options = (any::<Option<u32>>(), vec((any::<String>(), 0.0..9.0), 0..3), any::<Option<String>>());
    let parts = (any::<u128>(), prop::option::of(bytes()), any::<String>(), target, vec(arg, 0..5));
    (parts, vec(id(), 0..5), vec(id(), 0..5), (id(), any::<u32>()), options).prop_map(
        |((function, body, name, target, args), dependencies, borrowed, (first, count), options)| TaskSpec {
            function: FunctionKey(function),
            body,
            name: name.into(),
            target,
            args,
            dependencies,
            borrowed,
            returns: Returns { first, count },
            options: std::sync::Arc::new(TaskOptions {
                num_cpus: options.0.map(f64::from),
                resources: options.1,
                name: options.2,
                max_retries: options.0,
                priority: Some(-1),
                max_concurrency: None,
                max_restarts: options.0,
                timeout: options.0.map(|seconds| Duration::from_secs(seconds.into())),
                worker: options.0.and_then(ProcessId::new),
                group: options.0.map(|limit| GroupSpec { id: first, limit: NonZeroU32::new(limit) }),
            }),
        },
    )
}

/// What is encoded comes back; no part of it does, and none with a byte too many.
fn survives<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T, cut: prop::sample::Index) {
    let encoded = encode(value).unwrap();
    assert_eq!(decode::<T>(&encoded).as_ref(), Ok(value));
    if !encoded.is_empty() {
        let part = &encoded[..cut.index(encoded.len())];
        assert!(decode::<T>(part).is_err(), "{} of {} bytes", part.len(), encoded.len());
    }
    assert!(decode::<T>(&[&encoded[..], &[0]].concat()).is_err());
}

/// These bytes, whatever they are, are a value or an error, and take no more memory than is promised.
fn does_no_harm<T: Serialize + DeserializeOwned>(bytes: &[u8]) {
    LARGEST.set(0);
    let decoded = decode::<T>(bytes);
    let largest = LARGEST.get();
    assert!(largest <= MOST, "{largest} bytes for {}", bytes.len());
    if let Ok(value) = decoded {
        assert!(encode(&value).unwrap().len() <= bytes.len());
    }
}

fn none_does_harm(bytes: &[u8]) {
    does_no_harm::<Plain>(bytes);
    does_no_harm::<Lists>(bytes);
    does_no_harm::<Tree>(bytes);
    does_no_harm::<Outcome>(bytes);
    does_no_harm::<Words>(bytes);
    does_no_harm::<TaskError>(bytes);
    does_no_harm::<Error>(bytes);
    does_no_harm::<TaskSpec>(bytes);
    does_no_harm::<Object>(bytes);
    does_no_harm::<bytes::Bytes>(bytes);
}

proptest! {
    #[test]
    fn plain_values_survive(value: Plain, floats: [f64; 2], cut: prop::sample::Index) {
        survives(&value, cut);
        let back = decode::<[f64; 2]>(&encode(&floats).unwrap()).unwrap();
        prop_assert_eq!(back.map(f64::to_bits), floats.map(f64::to_bits));
    }

    #[test]
    fn lists_and_maps_survive(
        numbers: Vec<u64>,
        names in vec(any::<String>(), 0..9),
        nothing in 0..50usize,
        options: Option<Vec<Option<u16>>>,
        words in btree_map(any::<String>(), any::<Vec<u8>>(), 0..5),
        cut: prop::sample::Index,
    ) {
        survives(&(numbers, names, options) as &Lists, cut);
        survives(&vec![(); nothing] as &Nothings, cut);
        survives(&words, cut);
    }

    #[test]
    fn trees_and_outcomes_survive(tree in tree(), outcome in any::<Result<String, Vec<(u8, Duration)>>>(), cut: prop::sample::Index) {
        survives(&tree, cut);
        survives(&outcome.map(String::into_boxed_str), cut);
    }

    #[test]
    fn our_own_values_survive(error in error(), spec in spec(), parts in vec(bytes(), 1..4), borrowed in vec(id(), 0..4), cut: prop::sample::Index) {
        survives(&Error::from(error.clone()), cut);
        survives(&error, cut);
        survives(&spec, cut);
        let payload = Payload { header: parts[0].clone(), buffers: parts[1..].to_vec() };
        survives(&Object { payload, borrowed }, cut);
    }

    #[test]
    fn lists_are_spliced(items in vec((any::<u8>(), "[a-zß]{0,9}"), 0..20)) {
        let encoded: Vec<_> = items.iter().map(|item| encode(item).unwrap()).collect();
        prop_assert_eq!(splice(encoded.iter().map(|item| &item[..])), encode(&items).unwrap());
    }

    #[test]
    fn arbitrary_bytes_do_no_harm(bytes in vec(prop_oneof![Just(0u8), Just(1), Just(0xff), any::<u8>()], 0..200)) {
        none_does_harm(&bytes);
    }

    #[test]
    fn false_lengths_do_no_harm(before in vec(0..3u8, 0..40), length: u64, shift in 0..64u32, after: Vec<u8>) {
        none_does_harm(&[&before[..], &(length >> shift).to_le_bytes(), &after].concat());
    }

    #[test]
    fn a_changed_byte_does_no_harm(spec in spec(), error in error(), at: prop::sample::Index, byte: u8) {
        for encoded in [encode(&spec).unwrap(), encode(&error).unwrap()] {
            let mut bytes = encoded.to_vec();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            none_does_harm(&bytes);
        }
    }
}
