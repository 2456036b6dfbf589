//! Values with refs and shared slices inside, and what `get` and `wait` make of them.

use crate::args::INLINE_LIMIT;
use crate::testing::with_session;
use crate::{SharedSlice, get, is_object_ref, put, put_slice, wait};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use unidist_backend::Backend;
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
