//! The names of what is encoded.

use std::fmt;

/// A value of fixed form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Bool,
    U8,
    U16,
    U32,
    U64,
    U128,
    I8,
    I16,
    I32,
    I64,
    I128,
    F32,
    F64,
    Char,
    /// The byte before the value of an `Option`.
    Option,
}

impl Kind {
    /// Whether bytes that were written as this are read as the other without a loss.
    pub(super) fn is_read_as(self, other: Kind) -> bool {
        self == other || self.int_width().is_some_and(|width| other.int_width() == Some(width))
    }

    fn int_width(self) -> Option<usize> {
        match self {
            Kind::Bool | Kind::U8 | Kind::I8 => Some(1),
            Kind::U16 | Kind::I16 => Some(2),
            Kind::U32 | Kind::I32 => Some(4),
            Kind::U64 | Kind::I64 => Some(8),
            Kind::U128 | Kind::I128 => Some(16),
            Kind::F32 | Kind::F64 | Kind::Char | Kind::Option => None,
        }
    }

    /// The number of bytes, where it is the same for all values.
    pub(super) fn width(self) -> Option<usize> {
        match self {
            Kind::F32 => Some(4),
            Kind::F64 => Some(8),
            Kind::Option | Kind::Char => None,
            int => int.int_width(),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Bool => "a bool",
            Kind::U8 => "a u8",
            Kind::U16 => "a u16",
            Kind::U32 => "a u32",
            Kind::U64 => "a u64",
            Kind::U128 => "a u128",
            Kind::I8 => "an i8",
            Kind::I16 => "an i16",
            Kind::I32 => "an i32",
            Kind::I64 => "an i64",
            Kind::I128 => "an i128",
            Kind::F32 => "an f32",
            Kind::F64 => "an f64",
            Kind::Char => "a char",
            Kind::Option => "an option",
        })
    }
}

/// A value made of parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Tuple { len: usize },
    Struct { name: &'static str, len: usize },
    Variant { name: &'static str, variant: &'static str, index: u32, len: usize },
    Seq,
    Map,
}

impl Form {
    pub(super) fn name(self) -> &'static str {
        match self {
            Form::Tuple { .. } => "a tuple",
            Form::Struct { name, .. } | Form::Variant { name, .. } => name,
            Form::Seq => "a sequence",
            Form::Map => "a map",
        }
    }
}
