//! What a proof refutes, and what it does not.

use super::*;
use serde::{Deserializer, Serializer};
use std::collections::BTreeMap;

fn prove<T: Serialize + DeserializeOwned + 'static>(value: &T) -> Result<(), CodecError> {
    let (bytes, record) = encode_recorded(value)?;
    assert_eq!(bytes, encode(value).unwrap(), "a record changes nothing");
    record.prove::<T>(&bytes)
}

#[track_caller]
fn assert_refuted<T: Serialize + DeserializeOwned + 'static>(value: &T, texts: &[&str]) {
    for _ in 0..2 {
        assert_eq!(encode_proven(value, None).unwrap_or_default(), None, "it is never proven");
        let error = prove(value).unwrap_err().to_string();
        assert!(texts.iter().all(|text| error.contains(text)), "{texts:?} in: {error}");
    }
}

#[track_caller]
fn assert_proven<T: Serialize + DeserializeOwned + 'static>(value: &T) {
    prove(value).unwrap();
    assert_eq!(encode_proven(value, None).unwrap(), Some(encode(value).unwrap()));
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct OneSided {
    #[serde(skip_serializing, default)]
    hidden: u16,
    shown: u16,
    next: Vec<u8>,
}

const ONE_SIDED: OneSided = OneSided { hidden: 1, shown: 2, next: Vec::new() };

#[derive(Clone, Serialize, Deserialize)]
enum Part {
    Plain(u8),
    Fields { a: u8, b: Option<OneSided> },
    Faulty(OneSided),
}

#[test]
fn new_part_of_a_proven_type_is_proven() {
    let part = Part::Plain(1);
    assert_proven(&part);
    assert_eq!(encode_proven(&Part::Fields { a: 1, b: None }, None).unwrap(), None, "a new variant");
    assert_proven(&Part::Fields { a: 1, b: None });
    assert_eq!(encode_proven(&Part::Plain(2), None).unwrap(), Some(encode(&Part::Plain(2)).unwrap()));
    assert_refuted(&Part::Faulty(ONE_SIDED), &["OneSided"]);
    let b = Some(ONE_SIDED);
    assert_refuted(&Part::Fields { a: 1, b }, &["field `", "OneSided"]);
    assert_proven(&part);
}

#[test]
fn rare_item_of_a_long_list_is_proven() {
    let mut parts = vec![Part::Plain(1); 5_000];
    assert_proven(&parts);
    parts[4_000] = Part::Faulty(ONE_SIDED);
    assert_refuted(&parts, &["OneSided"]);
    let maps: Vec<BTreeMap<u8, Part>> = vec![(0..9).map(|key| (key, Part::Plain(key))).collect(); 500];
    assert_proven(&maps);
    let mut maps: Vec<BTreeMap<u16, Part>> = vec![BTreeMap::new(); 500];
    maps[400].insert(1, Part::Faulty(ONE_SIDED));
    assert_refuted(&maps, &["OneSided"]);
}

/// Begins with a large part and ends with a faulty one.
#[test]
fn part_behind_a_large_one_is_proven() {
    assert_refuted(&(vec![0.5_f64; 1_000_000], ONE_SIDED), &["OneSided"]);
    assert_refuted(&("é".repeat(1_000_000), ONE_SIDED), &["OneSided"]);
    assert_refuted(&(vec![("a".to_owned(), Some(1)); 100_000], ONE_SIDED), &["OneSided"]);
    assert_refuted(&(Bytes::from(vec![1; 5 << 20]), vec![vec![1_u8; 100]; 100], ONE_SIDED), &["OneSided"]);
}

/// Of a list with 12 million numbers in it, little is recorded and read.
#[test]
fn record_of_a_large_value_is_short() {
    let rows = vec![vec![(1.0_f64, 2_u32); 1_000]; 6_000];
    let (bytes, record) = encode_recorded(&rows).unwrap();
    assert!(record.tokens.len() < 50_000, "{}", record.tokens.len());
    record.prove::<Vec<Vec<(f64, u32)>>>(&bytes).unwrap();
    let deep = vec![vec![vec![vec![(1_u8, 'x'); 70]; 70]; 70]; 3];
    let (bytes, record) = encode_recorded(&deep).unwrap();
    assert!(record.tokens.len() <= 1 << 16, "{}", record.tokens.len());
    record.prove::<Vec<Vec<Vec<Vec<(u8, char)>>>>>(&bytes).unwrap();
}

#[derive(Debug, PartialEq)]
struct Square(Vec<u32>);

impl Serialize for Square {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|item| (item, "text")))
    }
}

impl<'de> Deserialize<'de> for Square {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let items = Vec::<(u32, String)>::deserialize(deserializer)?;
        match items.len() {
            100 => Ok(Square(items.into_iter().map(|(item, _)| item).collect())),
            len => Err(serde::de::Error::invalid_length(len, &"a hundred items")),
        }
    }
}

#[test]
fn list_that_was_shortened_may_be_refused_for_its_length() {
    assert_proven(&Square(vec![1; 100]));
    assert_refuted(&vec![Square(vec![1; 3])], &["a hundred items"]);
}

/// What is in the bytes must agree; how serde calls it need not.
#[test]
fn other_form_with_the_same_bytes_is_proven() {
    #[derive(Clone, Deserialize)]
    #[serde(from = "(u32, (i8, u8))")]
    struct Flat([u32; 3]);
    impl From<(u32, (i8, u8))> for Flat {
        fn from((a, (b, c)): (u32, (i8, u8))) -> Self {
            Flat([a, b.unsigned_abs().into(), c.into()])
        }
    }
    impl Serialize for Flat {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            (self.0[0] as i32, self.0[1] as u8, self.0[2] == 1).serialize(serializer)
        }
    }
    assert_proven(&Flat([5, 6, 1]));
    assert_proven(&vec![Flat([5, 6, 1]); 3].into_iter().map(|flat| Some((flat, ()))).collect::<Vec<_>>());

    #[derive(Clone, Copy, Serialize, Deserialize)]
    struct Wrapped(#[serde(with = "as_bytes")] [u8; 4]);
    mod as_bytes {
        use super::*;
        pub(super) fn serialize<S: Serializer>(bytes: &[u8; 4], serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_bytes(bytes)
        }
        pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[u8; 4], D::Error> {
            let bytes = Vec::<u8>::deserialize(deserializer)?;
            bytes.try_into().map_err(|_| serde::de::Error::custom("not four bytes"))
        }
    }
    assert_proven(&vec![Wrapped([1, 2, 3, 4]); 100]);
}

#[test]
fn value_that_its_type_refuses_is_left_to_the_receiver() {
    #[derive(Clone, Debug, Serialize, Deserialize)]
    #[serde(try_from = "u8", into = "u8")]
    struct Even(u8);
    impl From<Even> for u8 {
        fn from(even: Even) -> Self {
            even.0
        }
    }
    impl TryFrom<u8> for Even {
        type Error = String;
        fn try_from(number: u8) -> Result<Self, String> {
            if number.is_multiple_of(2) { Ok(Even(number)) } else { Err(format!("{number} is odd")) }
        }
    }
    assert_proven(&Even(3));
    assert!(decode::<Even>(&encode(&Even(3)).unwrap()).is_err_and(|error| error.to_string() == "3 is odd"));
}
