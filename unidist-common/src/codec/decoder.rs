//! From bytes to values: a serde deserializer.

use super::error::CodecError;
use super::form::Kind;
use super::large::{HELD, Held};
use super::plain::{self, Reader};
use super::proof::Inspect;
use serde::de::{self, DeserializeSeed, IntoDeserializer, Visitor};

/// Reads values from bytes. It lends none of them, so it serves any lifetime.
pub(super) struct Decoder<'a, I> {
    rest: &'a [u8],
    pub(super) inspect: I,
    /// Has the large parts, if there are any.
    held: Option<Held<'a>>,
}

/// The beginning of a sequence.
enum Head<'a> {
    /// This many items follow.
    Inline(usize),
    /// This many items are in a part beside the encoding.
    Held(usize, &'a [u8]),
}

impl<'a, I: Inspect<'a>> Decoder<'a, I> {
    pub(super) fn new(bytes: &'a [u8], inspect: I) -> Self {
        Decoder { rest: bytes, inspect, held: None }
    }

    /// The same for a value of which large parts may be held beside its encoding.
    pub(super) fn with_held(self, held: Held<'a>) -> Self {
        Decoder { held: Some(held), ..self }
    }

    /// All bytes must have been read.
    pub(super) fn end(&mut self) -> Result<(), CodecError> {
        self.inspect.end()?;
        match self.rest.len() {
            0 => Ok(()),
            left => Err(remain(left)),
        }
    }

    #[inline]
    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], CodecError> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or_else(too_few)?;
        self.rest = rest;
        Ok(*bytes)
    }

    #[inline]
    fn slice(&mut self, len: usize) -> Result<&'a [u8], CodecError> {
        let (bytes, rest) = self.rest.split_at_checked(len).ok_or_else(too_few)?;
        self.rest = rest;
        Ok(bytes)
    }

    #[inline]
    fn head(&mut self) -> Result<Head<'a>, CodecError> {
        let word = u64::from_le_bytes(self.bytes()?);
        let len = usize::try_from(word & !HELD).map_err(|_| too_few())?;
        if word & HELD == 0 { Ok(Head::Inline(len)) } else { self.held_part(len) }
    }

    #[cold]
    fn held_part(&mut self, len: usize) -> Result<Head<'a>, CodecError> {
        let index = u32::from_le_bytes(self.bytes()?);
        let part = self.held.and_then(|held| held(index)).ok_or_else(|| no_part(index))?;
        Ok(Head::Held(len, part))
    }

    /// The bytes of a sequence whose items have this width.
    #[inline]
    fn items(&mut self, width: usize) -> Result<&'a [u8], CodecError> {
        match self.head()? {
            Head::Inline(len) => self.slice(len.checked_mul(width).ok_or_else(too_few)?),
            Head::Held(len, part) if len.checked_mul(width) == Some(part.len()) => Ok(part),
            Head::Held(len, part) => Err(other_part(len, width, part.len())),
        }
    }

    /// Reads a sequence of numbers at once.
    #[inline]
    fn numbers<T>(&mut self, reader: &Reader<T>) -> Result<T, CodecError> {
        let bytes = self.items(reader.width)?;
        (reader.read)(bytes).map_err(|byte| invalid("bool", byte))
    }

    /// The bytes of a text, or bytes, and whether there are more of them in the encoding.
    #[inline]
    fn data(&mut self, what: &'static str) -> Result<(&'a [u8], bool), CodecError> {
        let limit = self.inspect.data(what)?;
        let bytes = self.items(1)?;
        Ok(if bytes.len() > limit { (&bytes[..limit], true) } else { (bytes, false) })
    }

    #[inline]
    fn text(&mut self) -> Result<&'a str, CodecError> {
        let (bytes, is_cut) = self.data("a text")?;
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(text),
            Err(error) if is_cut && error.error_len().is_none() => {
                std::str::from_utf8(&bytes[..error.valid_up_to()]).map_err(|_| not_utf8())
            }
            Err(_) => Err(not_utf8()),
        }
    }

    /// Calls the visitor with the items of a list.
    #[inline]
    fn list<T>(
        &mut self,
        visit: impl FnOnce(Parts<'_, 'a, I>) -> Result<T, CodecError>,
    ) -> Result<T, CodecError> {
        self.inspect.list()?;
        let (mut left, outside) = match self.head()? {
            Head::Inline(len) => (len, None),
            Head::Held(len, part) => (len, Some(std::mem::replace(&mut self.rest, part))),
        };
        let value = visit(Parts { decoder: self, left: &mut left, is_list: true })?;
        if left > 0 {
            return Err(CodecError::new(format!(
                "the last {left} items of a list are not read by the `Deserialize` of its type"
            )));
        }
        self.inspect.list_end(&mut self.rest);
        if let Some(outside) = outside {
            match std::mem::replace(&mut self.rest, outside).len() {
                0 => {}
                left => return Err(remain(left)),
            }
        }
        Ok(value)
    }

    /// Calls the visitor with the parts of a tuple or a struct.
    #[inline]
    fn parts<T>(
        &mut self,
        len: usize,
        visit: impl FnOnce(Parts<'_, 'a, I>) -> Result<T, CodecError>,
    ) -> Result<T, CodecError> {
        self.inspect.open()?;
        let mut left = len;
        let value = visit(Parts { decoder: self, left: &mut left, is_list: false })?;
        self.inspect.close()?;
        Ok(value)
    }
}

#[cold]
fn too_few() -> CodecError {
    CodecError::new("the bytes end before the value does")
}

#[cold]
fn remain(left: usize) -> CodecError {
    CodecError::new(format!("{left} bytes remain after the value"))
}

#[cold]
fn no_part(index: u32) -> CodecError {
    CodecError::new(format!("its part {index} did not come with it"))
}

#[cold]
fn other_part(len: usize, width: usize, found: usize) -> CodecError {
    CodecError::new(format!("a part of {found} bytes in place of {len} items of {width}"))
}

#[cold]
fn not_utf8() -> CodecError {
    CodecError::new("a text is not valid UTF-8")
}

#[cold]
fn invalid(what: &str, byte: u8) -> CodecError {
    CodecError::new(format!("the byte {byte} is no {what}"))
}

#[cold]
fn not_self_describing(method: &str, reason: &str) -> CodecError {
    CodecError::new(format!(
        "its `Deserialize` asks the bytes what they are (`{method}`), as {reason} does, but the encoding does not say: \
         use serde's default representation (no `tag`, `untagged` or `flatten`), or send the value as text, for example \
         of JSON"
    ))
}

macro_rules! numbers {
    ($($method:ident $visit:ident $type:ident $kind:ident;)*) => {
        $(
            #[inline]
            fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CodecError> {
                self.inspect.number(Kind::$kind)?;
                visitor.$visit($type::from_le_bytes(self.bytes()?))
            }
        )*
    };
}

impl<'de, 'a, I: Inspect<'a>> de::Deserializer<'de> for &mut Decoder<'a, I> {
    type Error = CodecError;

    numbers! {
        deserialize_u8 visit_u8 u8 U8;
        deserialize_u16 visit_u16 u16 U16;
        deserialize_u32 visit_u32 u32 U32;
        deserialize_u64 visit_u64 u64 U64;
        deserialize_u128 visit_u128 u128 U128;
        deserialize_i8 visit_i8 i8 I8;
        deserialize_i16 visit_i16 i16 I16;
        deserialize_i32 visit_i32 i32 I32;
        deserialize_i64 visit_i64 i64 I64;
        deserialize_i128 visit_i128 i128 I128;
        deserialize_f32 visit_f32 f32 F32;
        deserialize_f64 visit_f64 f64 F64;
    }

    #[inline]
    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CodecError> {
        self.inspect.number(Kind::Bool)?;
        match self.bytes()? {
            [0] => visitor.visit_bool(false),
            [1] => visitor.visit_bool(true),
            [byte] => Err(invalid("bool", byte)),
        }
    }

    #[inline]
    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CodecError> {
        self.inspect.number(Kind::Char)?;
        let first = *self.rest.first().ok_or_else(too_few)?;
        let len = match first {
            0..0x80 => 1,
            0xc0..0xe0 => 2,
            0xe0..0xf0 => 3,
            0xf0.. => 4,
            _ => return Err(invalid("character", first)),
        };
        let text = std::str::from_utf8(self.slice(len)?).map_err(|_| not_utf8())?;
        let char = text.chars().next().ok_or_else(too_few)?;
        visitor.visit_char(char)
    }

    #[inline]
    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CodecError> {
        visitor.visit_str(self.text()?)
    }

    #[inline]
    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CodecError> {
        visitor.visit_string(self.text()?.to_owned())
    }

    #[inline]
    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CodecError> {
        visitor.visit_bytes(self.data("bytes")?.0)
    }

    #[inline]
    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CodecError> {
        visitor.visit_byte_buf(self.data("bytes")?.0.to_owned())
    }

    #[inline]
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CodecError> {
        self.inspect.number(Kind::Option)?;
        match self.bytes()? {
            [0] => visitor.visit_none(),
            [1] => visitor.visit_some(self),
            [byte] => Err(invalid("option", byte)),
        }
    }

    #[inline]
    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CodecError> {
        visitor.visit_unit()
    }

    #[inline]
    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, CodecError> {
        visitor.visit_unit()
    }

    #[inline]
    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, CodecError> {
        visitor.visit_newtype_struct(self)
    }

    #[inline]
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CodecError> {
        if !I::IS_LIVE
            && let Some(reader) = plain::reader::<V>()
        {
            return self.numbers(&reader);
        }
        self.list(|items| visitor.visit_seq(items))
    }

    #[inline]
    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CodecError> {
        self.list(|entries| visitor.visit_map(entries))
    }

    #[inline]
    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, CodecError> {
        self.parts(len, |parts| visitor.visit_seq(parts))
    }

    #[inline]
    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, CodecError> {
        self.parts(len, |parts| visitor.visit_seq(parts))
    }

    #[inline]
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, CodecError> {
        self.parts(fields.len(), |parts| visitor.visit_seq(parts))
    }

    #[inline]
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, CodecError> {
        self.inspect.variant(variants)?;
        visitor.visit_enum(self)
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, CodecError> {
        Err(not_self_describing("deserialize_any", "`#[serde(untagged)]` or `#[serde(tag = ..)]`"))
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, _: V) -> Result<V::Value, CodecError> {
        Err(not_self_describing("deserialize_identifier", "`#[serde(tag = .., content = ..)]`"))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, CodecError> {
        Err(not_self_describing("deserialize_ignored_any", "a type that skips what it does not know"))
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

/// The parts of a value that are still to be read.
pub(super) struct Parts<'b, 'a, I> {
    decoder: &'b mut Decoder<'a, I>,
    left: &'b mut usize,
    is_list: bool,
}

impl<'a, I: Inspect<'a>> Parts<'_, 'a, I> {
    /// Whether there is one more.
    #[inline]
    fn next(&mut self) -> Result<bool, CodecError> {
        if self.is_list && I::IS_LIVE {
            return self.decoder.inspect.item(&mut self.decoder.rest, self.left);
        }
        match self.left.checked_sub(1) {
            Some(left) => {
                *self.left = left;
                Ok(true)
            }
            None => Ok(false),
        }
    }

    /// A false length never causes an allocation of more items than there are bytes.
    fn hint(&self) -> Option<usize> {
        Some((*self.left).min(self.decoder.rest.len()))
    }
}

impl<'de, 'a, I: Inspect<'a>> de::SeqAccess<'de> for Parts<'_, 'a, I> {
    type Error = CodecError;

    #[inline]
    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, CodecError> {
        if !self.next()? {
            return Ok(None);
        }
        seed.deserialize(&mut *self.decoder).map(Some)
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        self.hint()
    }
}

impl<'de, 'a, I: Inspect<'a>> de::MapAccess<'de> for Parts<'_, 'a, I> {
    type Error = CodecError;

    #[inline]
    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, CodecError> {
        if !self.next()? {
            return Ok(None);
        }
        seed.deserialize(&mut *self.decoder).map(Some)
    }

    #[inline]
    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, CodecError> {
        seed.deserialize(&mut *self.decoder)
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        self.hint()
    }
}

impl<'de, 'a, I: Inspect<'a>> de::EnumAccess<'de> for &mut Decoder<'a, I> {
    type Error = CodecError;
    type Variant = Self;

    #[inline]
    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), CodecError> {
        let index = u32::from_le_bytes(self.bytes()?);
        let variant = seed.deserialize(IntoDeserializer::<CodecError>::into_deserializer(index))?;
        Ok((variant, self))
    }
}

impl<'de, 'a, I: Inspect<'a>> de::VariantAccess<'de> for &mut Decoder<'a, I> {
    type Error = CodecError;

    #[inline]
    fn unit_variant(self) -> Result<(), CodecError> {
        Ok(())
    }

    #[inline]
    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, CodecError> {
        seed.deserialize(self)
    }

    #[inline]
    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, CodecError> {
        self.parts(len, |parts| visitor.visit_seq(parts))
    }

    #[inline]
    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, CodecError> {
        self.parts(fields.len(), |parts| visitor.visit_seq(parts))
    }
}
