use super::*;
use serde::Deserializer;
use serde::ser::{SerializeSeq, Serializer};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt::Debug;

/// Encodes a value, and collects its large parts.
fn held<T: Serialize + ?Sized>(value: &T) -> (Bytes, Vec<Vec<u8>>) {
    let parts = RefCell::new(Vec::new());
    let hold = |part: &[u8]| {
        let mut parts = parts.borrow_mut();
        parts.push(part.to_vec());
        Ok(u32::try_from(parts.len() - 1).ok())
    };
    let bytes = encode_holding(value, &hold).unwrap();
    (bytes, parts.into_inner())
}

fn read<T: DeserializeOwned>(bytes: &[u8], parts: &[Vec<u8>]) -> Result<T, CodecError> {
    decode_with(bytes, &|index| parts.get(index as usize).map(|part| &part[..]))
}

const LONG: usize = LARGE / 4;

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Table {
    name: String,
    columns: Vec<Vec<f32>>,
    mask: Option<Vec<bool>>,
    rest: (Bytes, u8),
}

fn table() -> Table {
    Table {
        name: "ß".repeat(LARGE),
        columns: vec![vec![0.5; LONG], vec![1.5; LONG - 1], vec![], vec![f32::MAX; LONG + 1]],
        mask: Some(vec![true; LARGE]),
        rest: (vec![7; LARGE].into(), 9),
    }
}

#[test]
fn large_parts_are_held_and_small_ones_are_not() {
    let table = table();
    let (bytes, parts) = held(&table);
    let lengths: Vec<usize> = parts.iter().map(Vec::len).collect();
    assert_eq!(lengths, [2 * LARGE, LARGE, LARGE + 4, LARGE, LARGE]);
    assert!(bytes.len() < LARGE + 100, "one column is just too small");
    assert_eq!(read::<Table>(&bytes, &parts).as_ref(), Ok(&table));
    assert_eq!(decode::<Table>(&encode(&table).unwrap()).as_ref(), Ok(&table), "the same without parts");
    let (recorded, _) = encode_recorded(&table).unwrap();
    assert_eq!(recorded, encode(&table).unwrap(), "what is proven is in one piece");
}

#[test]
fn part_that_nobody_takes_stays_in_the_encoding() {
    let bytes = encode_holding(&table(), &|_| Ok(None)).unwrap();
    assert_eq!(bytes, encode(&table()).unwrap());
}

#[test]
fn error_of_the_holder_is_the_error() {
    let full = |_: &[u8]| Err(CodecError::new("no room"));
    assert_eq!(encode_holding(&table(), &full).unwrap_err().to_string(), "field `name` of `Table`: no room");
}

#[test]
fn missing_and_changed_parts_are_errors() {
    let (bytes, parts) = held(&table());
    for place in 0..parts.len() {
        assert!(read::<Table>(&bytes, &parts[..place]).unwrap_err().to_string().contains("did not come"));
        for change in
            [|part: &mut Vec<u8>| part.push(0), |part: &mut Vec<u8>| part.truncate(LARGE - 3), Vec::clear]
        {
            let mut changed = parts.clone();
            change(&mut changed[place]);
            assert!(read::<Table>(&bytes, &changed).is_err(), "{place}");
        }
    }
    let mut no_bool = parts.clone();
    no_bool[3][5] = 2;
    assert!(read::<Table>(&bytes, &no_bool).unwrap_err().to_string().contains("the byte 2 is no bool"));
    let mut no_text = parts;
    no_text[0][0] = 0xff;
    assert!(read::<Table>(&bytes, &no_text).unwrap_err().to_string().contains("UTF-8"));
    assert!(decode::<Table>(&bytes).is_err());
    for end in 0..bytes.len().min(200) {
        assert!(read::<Table>(&bytes[..end], &no_text).is_err(), "{end}");
    }
}

/// Written by `Vec`, read item by item by another type, and the other way round.
#[test]
fn part_can_be_read_item_by_item() {
    let items: VecDeque<u64> = (0..LARGE as u64).collect();
    let (bytes, parts) = held(&(3u8, Vec::from(items.clone()), 4u8));
    assert_eq!(parts.len(), 1);
    assert_eq!(read::<(u8, VecDeque<u64>, u8)>(&bytes, &parts).as_ref(), Ok(&(3, items.clone(), 4)));
    assert_eq!(
        read::<(u8, Vec<(u32, u32)>, u8)>(&bytes, &parts).unwrap().1[5],
        (5, 0),
        "as long as nothing remains"
    );
    let other = read::<(u8, VecDeque<u32>, u8)>(&bytes, &parts).unwrap_err().to_string();
    assert!(other.contains("bytes remain"), "{other}");
    let inline = encode(&(3u8, &items, 4u8)).unwrap();
    assert_eq!(decode::<(u8, Vec<u64>, u8)>(&inline), Ok((3, Vec::from(items), 4)));
}

/// A type that reads a list of numbers by code of its own gets what it asks for.
#[test]
fn types_with_visitors_of_their_own_are_asked() {
    #[derive(Debug, PartialEq)]
    struct Halves(Vec<f64>);
    impl Serialize for Halves {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let mut items = serializer.serialize_seq(Some(self.0.len()))?;
            self.0.iter().try_for_each(|item| items.serialize_element(&(item * 2.0)))?;
            items.end()
        }
    }
    impl<'de> Deserialize<'de> for Halves {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct Visitor;
            impl<'de> serde::de::Visitor<'de> for Visitor {
                type Value = Vec<f64>;
                fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    f.write_str("numbers")
                }
                fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut items: A) -> Result<Vec<f64>, A::Error> {
                    let mut halves = Vec::new();
                    while let Some(item) = items.next_element::<f64>()? {
                        halves.push(item / 2.0);
                    }
                    Ok(halves)
                }
            }
            deserializer.deserialize_seq(Visitor).map(Halves)
        }
    }
    let halves = Halves(vec![1.0, 2.0]);
    let bytes = encode(&halves).unwrap();
    assert_eq!(decode::<Vec<f64>>(&bytes), Ok(vec![2.0, 4.0]));
    assert_eq!(decode::<Halves>(&bytes), Ok(halves));
}

#[test]
fn proven_value_is_held_and_a_new_one_is_not() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Once(Vec<u16>);
    fn assert_holds<T: Serialize + DeserializeOwned + PartialEq + Debug + 'static>(value: &T) {
        let taken = RefCell::new(0);
        let hold = |_: &[u8]| {
            *taken.borrow_mut() += 1;
            Ok(Some(0))
        };
        assert_eq!(encode_proven(value, Some(&hold)), Ok(None));
        assert_eq!(taken.take(), 0);
        let (bytes, record) = encode_recorded(value).unwrap();
        record.prove::<T>(&bytes).unwrap();
        assert_eq!(decode::<T>(&bytes).as_ref(), Ok(value));
        assert_eq!(encode_proven(value, None), Ok(Some(bytes)));
        assert!(encode_proven(value, Some(&hold)).unwrap().unwrap().len() < 100);
        assert_eq!(taken.take(), 1);
    }
    assert_holds(&Once(vec![5; LARGE]));
    assert_holds(&(1u8, Some(Once(vec![6; LARGE]))));
    assert_holds(&vec![vec![Once(vec![]), Once(vec![6; LARGE])]]);
    assert_holds(&Ok::<Once, Option<String>>(Once(vec![7; LARGE])));
    assert_holds(&Some(vec![vec![0.5f64; LARGE], vec![]]));
}
