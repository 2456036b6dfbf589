//! Values with refs and shared slices inside, and what `get` and `wait` make of them.

use crate::args::INLINE_LIMIT;
use crate::testing::with_session;
use crate::{SharedSlice, get, is_object_ref, put, put_slice, wait};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use unidist_backend::Backend;
use unidist_common::codec::LARGE;
use unidist_common::{Error, Object, Payload, codec};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Columns {
    name: String,
    left: SharedSlice<f64>,
    right: Vec<SharedSlice<u16>>,
}

/// More items than are sent inline.
const MANY: usize = INLINE_LIMIT;

#[test]
fn large_slices_are_sent_as_buffers() {
    with_session(|memory| {
        let columns = Columns {
            name: "n".into(),
            left: SharedSlice::build(MANY, |out| out.fill(0.5)).unwrap(),
            right: (0..3).map(|n| SharedSlice::build(n * MANY, |out| out.fill(n as u16)).unwrap()).collect(),
        };
        let object = put(columns).unwrap();
        let stored = memory.value(object.id().unwrap());
        let lengths = stored.payload.buffers.iter().map(Bytes::len).collect::<Vec<_>>();
        assert_eq!(lengths, [8 * MANY, 2 * MANY, 4 * MANY]);
        let columns = get(&object).unwrap();
        assert_eq!((columns.left[1], &columns.right[2][..2]), (0.5, &[2, 2][..]));
        assert_eq!(columns.left.as_ptr().addr(), stored.payload.buffers[0].as_ptr().addr(), "no copy");

        let part = put(columns.right).unwrap(); // parts of an object in another one: references to the first
        assert_eq!(memory.value(part.id().unwrap()).borrowed, [object.id().unwrap(); 2]);
        drop((object, columns.left));
        assert_eq!(get(&part).unwrap()[2][..2], [2, 2]);
        drop(part);
        assert_eq!(memory.live_objects(), Ok(0));
    });
}

#[test]
fn small_slices_are_parts_of_their_value() {
    with_session(|memory| {
        let lengths = [0, 1, 3, INLINE_LIMIT / 2, INLINE_LIMIT / 2 + 1];
        let slices: Vec<_> =
            lengths.map(|len| SharedSlice::build(len, |out| out.fill(len as u16)).unwrap()).into();
        assert_eq!(memory.allocations(), 1, "only the longest one takes memory of the session");
        let object = put(slices).unwrap();
        let stored = memory.value(object.id().unwrap());
        assert_eq!(stored.payload.buffers.len(), 1);
        let slices = get(&object).unwrap();
        for (slice, len) in slices.iter().zip(lengths) {
            assert_eq!(**slice, *vec![len as u16; len]);
        }
        let small = slices[2].clone();
        drop((object, slices));
        assert_eq!((&small[..], memory.live_objects()), (&[3; 3][..], Ok(0)), "it keeps no object alive");
    });
}

#[test]
fn small_slice_of_any_bytes_is_a_value_or_an_error() {
    with_session(|memory| {
        let read = |header: Bytes| {
            let id = memory.put(Payload::inline(header).into()).unwrap();
            let core = crate::reference::RefCore::adopt(crate::session::current("test").unwrap(), id);
            get(crate::ObjectRef::<SharedSlice<u32>>::new(core))
        };
        let good = put_slice(&[1u32, 2, 3]).unwrap();
        let header = memory.value(good.id().unwrap()).payload.header;
        assert_eq!(read(header.clone()).unwrap()[..], [1, 2, 3]);
        for len in 0..header.len() {
            assert!(matches!(read(header.slice(..len)), Err(Error::Decode { .. })), "{len}");
        }
        let mut partial = header[..header.len() - 1].to_vec();
        partial[4] -= 1; // eleven bytes are no whole number of items
        match read(partial.into()) {
            Err(Error::Decode { message, .. }) => assert!(message.contains("11 bytes"), "{message}"),
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn unaligned_slice_is_copied_and_wrong_length_rejected() {
    with_session(|memory| {
        let items: Vec<f64> = (0..MANY).map(|n| n as f64).collect();
        let good = put_slice(&items).unwrap();
        let mut object = memory.value(good.id().unwrap());
        let shifted: Vec<u8> = [&[0][..], &object.payload.buffers[0]].concat();
        object.payload.buffers[0] = Bytes::from(shifted).slice(1..);
        let read = |object: Object| {
            let id = memory.put(object).unwrap();
            let core = crate::reference::RefCore::adopt(crate::session::current("test").unwrap(), id);
            get(crate::ObjectRef::<SharedSlice<f64>>::new(core))
        };
        assert_eq!(read(object.clone()).unwrap()[..], items);

        object.payload.buffers[0] = object.payload.buffers[0].slice(..15);
        assert!(matches!(read(object.clone()), Err(Error::Decode { .. })));
        object.payload.buffers.clear();
        assert!(matches!(read(object.clone()), Err(Error::Decode { .. })));
        object.payload.header = Bytes::from_static(&[9; 40]);
        assert!(matches!(read(object), Err(Error::Decode { .. })));
    });
}

#[test]
fn too_large_slice_is_an_error() {
    with_session(|_| {
        let huge = SharedSlice::build(usize::MAX / 4, |_: &mut [u64]| {});
        assert!(matches!(huge, Err(Error::InvalidArgument { .. })));
        let large = SharedSlice::build(1 << 40, |_: &mut [u8]| {});
        assert!(matches!(large, Err(Error::StoreFull { .. })));
    });
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Mixed {
    name: String,
    numbers: Vec<Vec<f32>>,
    slice: SharedSlice<f64>,
    #[serde(with = "crate::bulk")]
    points: Vec<[u16; 3]>,
    after: Option<Vec<u8>>,
}

fn mixed() -> Mixed {
    Mixed {
        name: "n".into(),
        numbers: vec![vec![0.5; 10], vec![1.5; LARGE / 4], vec![2.5; LARGE]],
        slice: SharedSlice::build(MANY, |out| out.fill(3.5)).unwrap(),
        points: vec![[4, 5, 6]; LARGE],
        after: Some(vec![7; LARGE + 1]),
    }
}

#[test]
fn large_parts_lie_in_memory_of_the_session() {
    with_session(|memory| {
        drop(put(mixed()).unwrap()); // the first value of a type is sent in one piece, as it is proven
        let object = put(mixed()).unwrap();
        let stored = memory.value(object.id().unwrap()).payload;
        let lengths = stored.buffers.iter().map(Bytes::len).collect::<Vec<_>>();
        assert_eq!(lengths, [LARGE, 4 * LARGE, 8 * MANY, 6 * LARGE, LARGE + 1]);
        assert!(stored.header.len() < 200);
        assert_eq!(get(&object), Ok(mixed()));
    });
}

#[test]
fn missing_and_wrong_parts_are_decode_errors() {
    with_session(|memory| {
        drop(put(mixed()).unwrap());
        let good = memory.value(put(mixed()).unwrap().id().unwrap());
        let read = |object: Object| {
            let id = memory.put(object).unwrap();
            let core = crate::reference::RefCore::adopt(crate::session::current("test").unwrap(), id);
            get(crate::ObjectRef::<Mixed>::new(core))
        };
        for place in 0..good.payload.buffers.len() {
            let mut object = good.clone();
            object.payload.buffers.truncate(place);
            assert!(matches!(read(object), Err(Error::Decode { .. })), "{place}");
            let mut object = good.clone();
            object.payload.buffers[place] = object.payload.buffers[place].slice(1..);
            assert!(matches!(read(object), Err(Error::Decode { .. })), "{place}");
        }
        assert_eq!(read(good), Ok(mixed()));
    });
}

#[test]
fn bulk_fields_are_read_as_they_were_written_or_not_at_all() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Fields {
        #[serde(with = "crate::bulk")]
        words: Vec<u32>,
        #[serde(with = "crate::bulk")]
        boxed: Box<[[i8; 2]]>,
        #[serde(with = "crate::bulk")]
        table: [u64; 40],
    }
    let fields = |len| Fields {
        words: (0..len).collect(),
        boxed: (0..len).map(|n| [n as i8, -1]).collect(),
        table: std::array::from_fn(|n| n as u64),
    };
    for len in [0, 1, 7, 1000] {
        let bytes = codec::encode(&fields(len)).unwrap();
        assert_eq!(codec::decode::<Fields>(&bytes), Ok(fields(len)));
    }
    let other =
        codec::encode(&(Bytes::from_static(&[1; 5]), Bytes::new(), Bytes::from_static(&[0; 320]))).unwrap();
    assert!(codec::decode::<Fields>(&other).unwrap_err().to_string().contains("5 bytes do not make a"));
    let short = codec::encode(&(Bytes::new(), Bytes::new(), Bytes::from_static(&[0; 312]))).unwrap();
    assert!(codec::decode::<Fields>(&short).unwrap_err().to_string().contains("312 bytes do not make a"));
}

#[test]
fn full_store_is_the_error_of_a_large_part() {
    with_session(|memory| {
        drop(put(vec![1u8; LARGE]).unwrap());
        memory.refuse_memory();
        assert!(matches!(put(vec![1u8; LARGE]), Err(Error::StoreFull { .. })));
        assert!(put(vec![1u8; LARGE - 1]).is_ok(), "in one piece");
    });
}

#[test]
fn decode_error_names_the_type() {
    with_session(|memory| {
        let id = memory.put(Payload::inline(codec::encode(&1u8).unwrap()).into()).unwrap();
        let core = crate::reference::RefCore::adopt(crate::session::current("test").unwrap(), id);
        match get(crate::ObjectRef::<(u8, String)>::new(core)) {
            Err(Error::Decode { type_name, .. }) => assert!(type_name.contains("String")),
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn references_cannot_be_serialised_elsewhere() {
    with_session(|_| {
        let object = put(1u8).unwrap();
        let error = codec::encode(&object).unwrap_err().to_string();
        assert!(error.contains("only as part of"), "{error}");
    });
}

#[test]
fn get_and_wait_accept_the_documented_types() {
    with_session(|_| {
        let (a, b, text) = (put(1u8).unwrap(), put(2u8).unwrap(), put("x".to_owned()).unwrap());
        assert_eq!(get((&a, [&b, &a], vec![&text])), Ok((1, vec![2, 1], vec!["x".to_owned()])));
        assert_eq!(get(&[a.clone(), b.clone()][..]), Ok(vec![1, 2]));
        assert_eq!(get(Vec::<crate::ObjectRef<u8>>::new()), Ok(vec![]));
        let refs = vec![a.clone(), b.clone(), a.clone()];
        let waited = wait(&refs, 2, None).unwrap();
        assert_eq!((waited.ready, waited.pending), (refs[..2].to_vec(), refs[2..].to_vec()));
        assert_eq!(wait(&a, 1, None).unwrap().ready[0], a);
        match wait(&refs, 4, None) {
            Err(Error::InvalidArgument { message, .. }) => assert!(message.contains("only 3 refs")),
            other => panic!("{other:?}"),
        }
        assert!(is_object_ref(&a) && !is_object_ref(&1) && !is_object_ref(&refs));
    });
}
