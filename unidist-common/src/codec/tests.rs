use super::*;
use serde::{Deserialize, Serializer};
use std::collections::{BTreeMap, HashMap};
use std::ffi::CString;
use std::fmt::Debug;
use std::path::PathBuf;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Shape {
    Empty,
    Named { name: String, sides: Option<u8> },
    Many(Vec<Shape>, BTreeMap<String, f64>),
}

#[test]
fn values_round_trip() {
    let map = BTreeMap::from([("a".to_owned(), 1.5), ("b".to_owned(), f64::INFINITY)]);
    let named = Shape::Named { name: "hexagon".into(), sides: Some(6) };
    let shape = Shape::Many(vec![Shape::Empty, named], map);
    assert_eq!(decode::<Shape>(&encode(&shape).unwrap()).unwrap(), shape);
    assert_eq!(decode::<()>(&encode(&()).unwrap()), Ok(()));
    let large = vec![7u64; 100_000];
    assert_eq!(decode::<Vec<u64>>(&encode(&large).unwrap()).unwrap(), large);
}

fn survives<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: T) {
    let bytes = encode(&value).unwrap();
    assert_eq!(decode::<T>(&bytes).as_ref(), Ok(&value));
    for end in 0..bytes.len() {
        assert!(decode::<T>(&bytes[..end]).is_err(), "{end} of {} bytes for {value:?}", bytes.len());
    }
}

#[test]
fn every_kind_of_value_round_trips() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Unit;
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Wrapped(i128, Unit, Box<Option<Wrapped>>);
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct New(f32);
    survives((true, false, 'a', 'ß', '€', '𝄞'));
    survives((u8::MAX, u16::MAX, u32::MAX, u64::MAX, u128::MAX, usize::MAX));
    survives((i8::MIN, i16::MIN, i32::MIN, i64::MIN, i128::MIN, isize::MIN));
    survives((New(-0.5), f64::MIN_POSITIVE, ()));
    survives(Wrapped(-1, Unit, Box::new(Some(Wrapped(2, Unit, Box::new(None))))));
    survives((String::from("word ß"), Bytes::from_static(b"bytes"), CString::from(c"text")));
    survives((PathBuf::from("a/b"), Some(Some(1u8)), None::<u8>, [1u16, 2, 3]));
    survives(Ok::<Vec<Shape>, String>(vec![Shape::Empty]));
    survives(HashMap::from([("a".to_owned(), 1u64), ("b".to_owned(), 2)]));
    survives(std::time::Duration::new(3, 5));
    assert_eq!(decode::<Vec<()>>(&encode(&vec![(); 1000]).unwrap()).unwrap().len(), 1000);
}

#[test]
fn wrong_length_is_an_error() {
    fn refused<T: DeserializeOwned + Debug>(before: &[u8]) {
        for length in [1, 4096, u64::from(u32::MAX) + 1, 1 << 40, 1 << 60, i64::MAX as u64, u64::MAX] {
            let bytes = [before, &length.to_le_bytes()].concat();
            assert!(decode::<T>(&bytes).is_err());
        }
    }
    refused::<String>(&[]);
    refused::<Vec<u8>>(&[]);
    refused::<Vec<u64>>(&[]);
    refused::<HashMap<String, u64>>(&[]);
    refused::<Bytes>(&[]);
    refused::<CString>(&[]);
    refused::<Box<str>>(&[]);
    refused::<Vec<Vec<String>>>(&encode(&(2u64, 0u64)).unwrap());
    refused::<Option<String>>(&[1]);
    refused::<Shape>(&encode(&1u32).unwrap());
}

#[test]
fn list_is_spliced_from_its_items() {
    let items = ["a".to_owned(), String::new(), "ccc".to_owned()];
    let encoded: Vec<Bytes> = items.iter().map(|item| encode(item).unwrap()).collect();
    let list = splice(encoded.iter().map(|item| &item[..]));
    assert_eq!(list, encode(&items.to_vec()).unwrap());
    assert_eq!(splice([].into_iter()), encode(&Vec::<u8>::new()).unwrap());
}

#[test]
fn value_is_the_sequence_of_its_parts() {
    let item = encode("a").unwrap();
    assert_eq!([&SOME_HEAD, &item[..]].concat(), encode(&Some("a")).unwrap());
    let lists = [&list_head(2), &list_head(0)[..], &list_head(1), &item].concat();
    assert_eq!(lists, encode(&vec![vec![], vec!["a"]]).unwrap());
    assert_eq!([&item[..], &item].concat(), encode(&("a", "a")).unwrap());
    assert_eq!([&item[..], &item].concat(), encode(&["a", "a"]).unwrap());
}

#[test]
fn wrong_bytes_are_an_error() {
    let bytes = encode(&(1u32, "text")).unwrap();
    assert!(decode::<(u32, String)>(&bytes[..bytes.len() - 1]).is_err());
    assert!(decode::<u32>(&bytes).unwrap_err().to_string().contains("remain after"));
    assert!(decode::<bool>(&[7]).is_err());
    assert!(decode::<Option<u8>>(&[2, 0]).is_err());
    assert!(decode::<char>(&[0xff; 4]).is_err() && decode::<char>(&[]).is_err());
    assert!(decode::<String>(&encode(&Bytes::from_static(&[0xff])).unwrap()).is_err());
    assert!(decode::<Shape>(&[9, 0, 0, 0]).unwrap_err().to_string().contains("variant"));
}

#[test]
fn encode_nests() {
    struct Outer;
    impl Serialize for Outer {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let inner = encode(&[1u8, 2]).map_err(serde::ser::Error::custom)?;
            (5u16, inner).serialize(serializer)
        }
    }
    let (number, inner): (u16, Bytes) = decode(&encode(&Outer).unwrap()).unwrap();
    assert_eq!((number, decode::<[u8; 2]>(&inner).unwrap()), (5, [1, 2]));
}

#[test]
fn encode_error_keeps_its_message() {
    struct Broken;
    impl Serialize for Broken {
        fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("no such thing"))
        }
    }
    assert!(encode(&Broken).unwrap_err().to_string().contains("no such thing"));
}
