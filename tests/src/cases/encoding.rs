//! What the encoding cannot carry is an error where the value is sent, and never another value.

use crate::case::{Case, Result, cases};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt::Debug;
use unidist::executor::Executor;
use unidist::pool::WorkerPool;
use unidist::prelude::*;
use unidist::view::Client;
use unidist::{Error, ErrorKind, closure, put_ref};

pub(super) const CASES: &[Case] = cases!["encoding":
    skipped_field_is_an_error,
    skipped_field_is_an_error_of_an_actor,
    skipped_field_is_an_error_of_the_patterns.one_host(),
    skipped_field_of_an_error_keeps_its_text,
    field_of_one_side_is_an_error,
    skipped_variant_is_an_error,
    tuple_struct_with_skipped_fields_is_an_error,
    sequence_of_wrong_length_is_an_error,
    impls_that_differ_are_an_error,
    self_describing_type_is_an_error_of_the_sender,
    later_value_is_checked,
];

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Config {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    limit: Option<u8>,
    retries: Option<u8>,
    rest: Option<u64>,
}

/// Without the check, this arrives as `limit: Some(7)`, and the rest is an error or, with more fields, wrong as well.
fn config() -> Config {
    Config { limit: None, retries: Some(7), rest: Some(1) }
}

/// Decodes even when a field is skipped: to other values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Sparse {
    #[serde(default, skip_serializing_if = "is_zero")]
    count: u64,
    bytes: Vec<u8>,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Without the check, this arrives as 8 and an empty list.
fn sparse() -> Sparse {
    Sparse { count: 0, bytes: vec![0; 8] }
}

/// The value is refused where it is sent, with a text that contains all of these.
#[track_caller]
fn assert_refused<T: Debug>(result: Result<T>, texts: &[&str]) {
    let error = result.unwrap_err();
    let is_encode = match &error {
        Error::Task(error) => error.root_cause().kind == ErrorKind::Encode,
        Error::Encode { .. } => true,
        _ => false,
    };
    let text = format!("{error:?}");
    assert!(is_encode && texts.iter().all(|part| text.contains(part)), "{texts:?} in: {text}");
}

/// The value is refused as an argument, as a result and by `put`.
#[track_caller]
fn assert_refused_everywhere<T>(value: T, texts: &[&str])
where
    T: Serialize + DeserializeOwned + Clone + PartialEq + Debug + Send + Sync + 'static,
{
    let equals = |a: T, b: String| format!("{a:?}") == b;
    assert_refused(get(equals.remote(&value, format!("{value:?}"))), texts);
    assert_refused(put_ref(&value), texts);
    assert_refused(put(vec![(1_u8, Some(value))]), texts);
}

/// A field that `skip_serializing_if` leaves out is an error of the sender, which names it.
fn skipped_field_is_an_error() -> Result {
    let named = ["Config", "`limit`", "skip_serializing_if"];
    assert_refused_everywhere(config(), &named);
    assert_refused_everywhere(sparse(), &["Sparse", "`count`", "skip_serializing_if"]);
    assert_refused(get(config.remote()), &named);
    assert_refused(get(sparse.remote()), &["Sparse", "`count`"]);
    let pair = || (1_u8, config());
    let (whole, failed) = pair.options().num_returns::<2>().remote();
    assert_refused(get(failed), &named);
    assert_refused(get(whole), &named);
    let later = || async { config() };
    assert_refused(get(later.remote()), &named);
    let capture = config();
    assert_refused(get(closure!([capture] |x: u8| capture.retries.unwrap_or(x)).remote(1)), &named);
    // A value of which no field is left out is sent.
    let whole = Config { limit: Some(1), ..config() };
    assert_eq!(get((|config: Config| config).remote(&whole))?, whole);
    Ok(())
}

struct Holder {
    config: Config,
}

#[remote]
impl Holder {
    #[new]
    fn new(config: Config) -> Self {
        Holder { config }
    }

    fn set(&mut self, config: Config) -> Option<u8> {
        self.config = config;
        self.config.retries
    }

    fn config(&self) -> Config {
        self.config.clone()
    }

    fn forget(&mut self) {
        self.config.limit = None;
    }
}

/// The same for the arguments of constructors and methods, and for the results of methods.
fn skipped_field_is_an_error_of_an_actor() -> Result {
    let named = ["Config", "`limit`", "skip_serializing_if"];
    let refused = Holder::remote(config());
    assert_refused(get(refused.config.remote()), &named);
    let whole = Config { limit: Some(1), ..config() };
    let holder = Holder::remote(&whole);
    assert_refused(get(holder.set.remote(config())), &named);
    assert_eq!(get(holder.config.remote())?, whole);
    get(holder.forget.remote())?;
    assert_refused(get(holder.config.remote()), &named);
    Ok(())
}

/// The same in the compatibility APIs.
fn skipped_field_is_an_error_of_the_patterns() -> Result {
    let named = ["Config", "`limit`", "skip_serializing_if"];
    let retries = |config: Config| config.retries;
    let gives = |_: u8| config();

    let executor = Executor::new()?;
    assert_refused(executor.submit(retries, (config(),))?.result(None).map_err(Into::into), &named);
    assert_refused(executor.submit(gives, (1,))?.result(None).map_err(Into::into), &named);
    let mapped = executor.map(gives, [1, 2])?.collect::<Result<Vec<_>, _>>();
    assert_refused(mapped.map_err(Into::into), &named);

    let pool = WorkerPool::over_session()?;
    assert_refused(pool.apply(retries, (config(),)).map_err(Into::into), &named);
    assert_refused(pool.apply(gives, (1,)).map_err(Into::into), &named);

    let engine = Client::new()?.view(0)?;
    assert_refused(engine.set("config", &config()).map_err(Into::into), &named);
    assert_refused(engine.apply_sync(retries, (config(),)).map_err(Into::into), &named);
    assert_refused(engine.apply_sync(gives, (1,)).map_err(Into::into), &named);
    Ok(())
}

/// An error value that cannot be sent is not restored, and its text is.
fn skipped_field_of_an_error_keeps_its_text() -> Result {
    let fails = || -> Result<u8, Sparse> { Err(sparse()) };
    let error = get(fails.remote()).unwrap_err();
    assert_eq!(error.as_task().unwrap().kind, ErrorKind::Failed);
    assert_eq!(error.downcast::<Sparse>(), None);
    assert!(error.to_string().contains("count: 0, bytes: [0, 0, 0"), "{error}");
    Ok(())
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct WriteOnly {
    #[serde(default, skip_deserializing)]
    cached: u32,
    value: u32,
    twice: u32,
    rest: Vec<u32>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct ReadOnly {
    #[serde(skip_serializing)]
    secret: u32,
    value: u32,
    list: Vec<u32>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type")]
struct Tagged {
    value: u64,
}

/// A field that only one of `Serialize` and `Deserialize` knows shifts the fields after it.
fn field_of_one_side_is_an_error() -> Result {
    let value = WriteOnly { cached: 1, value: 2, twice: 0, rest: Vec::new() };
    assert_refused_everywhere(value, &["WriteOnly", "skip_deserializing"]);
    assert_refused_everywhere(
        ReadOnly { secret: 1, value: 2, list: vec![3] },
        &["ReadOnly", "skip_serializing"],
    );
    assert_refused_everywhere(Tagged { value: 2 }, &["Tagged"]);
    assert_refused_everywhere(Some(Tagged { value: 2 }), &["Tagged"]);
    Ok(())
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
enum Shape {
    #[default]
    Empty,
    #[serde(skip)]
    #[allow(dead_code, reason = "it is never sent")]
    Internal(u8),
    Circle,
    Square,
}

/// A skipped variant gives all that follow it other numbers for `Serialize` than for `Deserialize`.
fn skipped_variant_is_an_error() -> Result {
    let named = ["Shape", "Circle", "skip"];
    assert_refused_everywhere(Shape::Circle, &named);
    let gives = || Shape::Circle;
    assert_refused(get(gives.remote()), &named);
    assert_refused_everywhere(vec![Shape::Empty, Shape::Circle], &named);
    Ok(())
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Positions(u32, #[serde(default, skip_serializing_if = "Vec::is_empty")] Vec<u32>);

/// serde does not show the fields that a tuple struct leaves out, only that it has fewer. What follows it is read for
/// them.
fn tuple_struct_with_skipped_fields_is_an_error() -> Result {
    let whole = Positions(1, vec![3]);
    assert_eq!(get((|value: Positions| value).remote(&whole))?, whole);
    assert_refused_everywhere(Positions(1, vec![]), &["Positions"]);
    assert_refused_everywhere(vec![whole, Positions(1, vec![])], &["Positions"]);
    Ok(())
}

/// Announces more items than it has, or fewer.
#[derive(Clone, Debug, Default, PartialEq)]
struct Miscounted {
    announced: usize,
    items: Vec<u64>,
    is_map: bool,
}

impl Serialize for Miscounted {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::{SerializeMap, SerializeSeq};
        if self.is_map {
            let mut map = serializer.serialize_map(Some(self.announced))?;
            self.items.iter().try_for_each(|item| map.serialize_entry(item, &1_u64))?;
            return map.end();
        }
        let mut list = serializer.serialize_seq(Some(self.announced))?;
        self.items.iter().try_for_each(|item| list.serialize_element(item))?;
        list.end()
    }
}

impl<'de> Deserialize<'de> for Miscounted {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let items = Vec::deserialize(deserializer)?;
        Ok(Miscounted { announced: items.len(), items, is_map: false })
    }
}

/// A sequence that announces another number of items than it has.
fn sequence_of_wrong_length_is_an_error() -> Result {
    for is_map in [false, true] {
        let exact = Miscounted { announced: 2, items: vec![1, 2], is_map: false };
        assert_eq!(get((|value: Miscounted| value).remote(&exact))?, exact);
        for announced in [1, 3] {
            let value = Miscounted { announced, is_map, ..exact.clone() };
            let text = announced.to_string();
            assert_refused_everywhere((value, 2_u64), &[if is_map { "entries" } else { "items" }, &text]);
        }
    }
    Ok(())
}

mod narrow {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(*value as u32)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        u64::deserialize(deserializer)
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Uneven {
    #[serde(with = "narrow")]
    number: u64,
    rest: u32,
    list: Vec<u8>,
    last: u32,
}

/// JSON does not tell a `u32` from a `u64`, or a text from a number in it; this encoding does.
fn impls_that_differ_are_an_error() -> Result {
    let value = Uneven { number: 1, rest: 2, list: Vec::new(), last: 0 };
    assert_refused_everywhere(value.clone(), &["Uneven", "`number`", "u32", "u64"]);
    let gives = || Uneven { number: 1, rest: 2, list: Vec::new(), last: 0 };
    assert_refused(get(gives.remote()), &["Uneven", "`number`"]);
    assert_refused_everywhere(BTreeMap::from([(1, value)]), &["Uneven", "`number`"]);
    Ok(())
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged {
    Number(i64),
    Text(String),
}

impl Default for Untagged {
    fn default() -> Self {
        Untagged::Text("x".to_owned())
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind")]
enum Internal {
    First { value: i64 },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "content")]
enum Adjacent {
    Unit,
    Tuple(u8, String),
    Struct { a: u16 },
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Flat {
    name: String,
    #[serde(flatten)]
    extra: BTreeMap<String, String>,
}

/// Types whose `Deserialize` asks the bytes what they hold.
fn self_describing_type_is_an_error_of_the_sender() -> Result {
    assert_refused_everywhere(Untagged::Number(3), &["Untagged", "untagged"]);
    assert_refused_everywhere(Internal::First { value: 1 }, &["Internal", "tag"]);
    for adjacent in [Adjacent::Unit, Adjacent::Tuple(1, "a".to_owned()), Adjacent::Struct { a: 3 }] {
        assert_refused_everywhere(adjacent, &["Adjacent", "tag"]);
    }
    let flat = Flat { name: "a".to_owned(), extra: BTreeMap::from([("b".to_owned(), "c".to_owned())]) };
    assert_refused_everywhere(flat, &["Flat", "flatten"]);
    assert_refused(get(Untagged::default.remote()), &["Untagged", "untagged"]);
    Ok(())
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
enum Message {
    #[default]
    Nothing,
    Number(u32),
    Late(WriteOnly),
}

/// A first value without the part that is at fault does not let later ones through.
fn later_value_is_checked() -> Result {
    let id = |message: Message| message;
    assert_eq!(get(id.remote(Message::Nothing))?, Message::Nothing);
    assert_eq!(get(id.remote(Message::Number(5)))?, Message::Number(5));
    let fault = WriteOnly { cached: 1, value: 2, twice: 0, rest: Vec::new() };
    assert_refused_everywhere(Message::Late(fault.clone()), &["WriteOnly"]);

    let count = |list: Vec<Option<ReadOnly>>| list.len();
    assert_eq!(get(count.remote(Vec::<Option<ReadOnly>>::new()))?, 0);
    assert_eq!(get(count.remote(vec![None; 1_000]))?, 1_000);
    let mut late = vec![None; 1_000];
    late.push(Some(ReadOnly { secret: 1, value: 2, list: vec![3] }));
    assert_refused(get(count.remote(&late)), &["ReadOnly"]);
    assert_refused(get(count.remote(&late)), &["ReadOnly"]);

    let shapes = |shapes: Vec<Shape>| shapes.len();
    assert_eq!(get(shapes.remote(vec![Shape::Empty; 10]))?, 10);
    assert_refused(get(shapes.remote(vec![Shape::Circle])), &["Shape"]);

    let whole = Positions(1, vec![3]);
    assert_eq!(get((|value: Positions| value).remote(&whole))?, whole);
    assert_refused_everywhere(Positions(1, vec![]), &["Positions"]);
    Ok(())
}
