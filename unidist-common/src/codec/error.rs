//! Why a value could not be encoded or decoded.

use std::fmt;

/// Why a value could not be encoded or decoded.
#[derive(Clone, PartialEq, Eq)]
pub struct CodecError(Box<Fault>);

#[derive(Clone, PartialEq, Eq)]
struct Fault {
    message: String,
    origin: Origin,
    is_placed: bool,
}

/// Who reports the error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// The `Serialize` or `Deserialize` of a type, by `Error::custom`.
    Type,
    /// The encoding, or what serde derives.
    Encoding,
    /// The same, for the number of items.
    Length,
    /// The end of a record that is incomplete.
    Record,
}

impl CodecError {
    #[cold]
    pub(super) fn new(message: impl Into<String>) -> Self {
        CodecError(Box::new(Fault { message: message.into(), origin: Origin::Encoding, is_placed: false }))
    }

    /// The error at which a proof ends because no more was recorded.
    #[cold]
    pub(super) fn end_of_record() -> Self {
        let mut error = CodecError::new("no more of this value was recorded");
        error.0.origin = Origin::Record;
        error
    }

    /// The same error, of which the message begins with the place, unless it has a place already.
    #[cold]
    pub(super) fn placed(mut self, place: impl FnOnce() -> String) -> Self {
        if !self.0.is_placed {
            self.0.message = format!("{}: {}", place(), self.0.message);
            self.0.is_placed = true;
        }
        self
    }

    /// Whether it says that the encoding cannot carry the value. Else a type refuses this one value.
    pub(super) fn is_of_the_encoding(&self) -> bool {
        matches!(self.0.origin, Origin::Encoding | Origin::Length)
    }

    /// Whether it is about the number of items of a list.
    pub(super) fn is_length(&self) -> bool {
        self.0.origin == Origin::Length
    }
}

impl fmt::Display for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CodecError({:?})", self.0.message)
    }
}

impl std::error::Error for CodecError {}

impl serde::ser::Error for CodecError {
    #[cold]
    fn custom<T: fmt::Display>(message: T) -> Self {
        let mut error = CodecError::new(message.to_string());
        error.0.origin = Origin::Type;
        error
    }
}

/// What serde's derive and its types report by methods other than `custom` is about the form of the bytes.
impl serde::de::Error for CodecError {
    #[cold]
    fn custom<T: fmt::Display>(message: T) -> Self {
        serde::ser::Error::custom(message)
    }

    #[cold]
    fn invalid_type(found: serde::de::Unexpected<'_>, expected: &dyn serde::de::Expected) -> Self {
        CodecError::new(format!("{found} in place of {expected}"))
    }

    #[cold]
    fn invalid_length(len: usize, expected: &dyn serde::de::Expected) -> Self {
        let mut error = CodecError::new(format!("a length of {len} in place of {expected}"));
        error.0.origin = Origin::Length;
        error
    }

    #[cold]
    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        CodecError::new(format!("there is no variant `{variant}`, only {expected:?}"))
    }

    #[cold]
    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        CodecError::new(format!("there is no field `{field}`, only {expected:?}"))
    }

    #[cold]
    fn missing_field(field: &'static str) -> Self {
        CodecError::new(format!("the field `{field}` is missing"))
    }

    #[cold]
    fn duplicate_field(field: &'static str) -> Self {
        CodecError::new(format!("the field `{field}` comes twice"))
    }
}
