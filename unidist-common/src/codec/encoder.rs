//! From values to bytes: a serde serializer.

use super::error::CodecError;
use super::form::{Form, Kind};
use super::large::{HELD, Hold, LARGE};
use super::plain;
use super::record::Watch;
use serde::ser::{self, Serialize};

/// Appends the encoding of one value, of which a [`Watch`] sees the structure.
pub(super) struct Encoder<'a, W> {
    out: &'a mut Vec<u8>,
    /// The length that `out` may have.
    end: usize,
    limit: usize,
    watch: &'a mut W,
    /// Takes large parts, if it is there.
    hold: Option<Hold<'a>>,
}

impl<'a, W: Watch> Encoder<'a, W> {
    pub(super) fn new(out: &'a mut Vec<u8>, limit: usize, watch: &'a mut W) -> Self {
        Encoder { end: out.len().saturating_add(limit), out, limit, watch, hold: None }
    }

    /// The same, but large parts may be held beside the encoding.
    pub(super) fn holding(self, hold: Option<Hold<'a>>) -> Self {
        Encoder { hold, ..self }
    }

    /// Writes a value inside the one that is being encoded.
    #[inline]
    pub(super) fn value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), CodecError> {
        self.watch.value::<T>();
        value.serialize(&mut *self)
    }

    #[inline]
    fn write(&mut self, bytes: &[u8]) -> Result<(), CodecError> {
        if bytes.len() > self.end - self.out.len() {
            return Err(too_long(self.limit));
        }
        self.out.extend_from_slice(bytes);
        Ok(())
    }

    #[inline]
    fn number(&mut self, kind: Kind, bytes: &[u8]) -> Result<(), CodecError> {
        self.watch.number(kind, self.out.len());
        self.write(bytes)
    }

    #[inline]
    fn data(&mut self, bytes: &[u8]) -> Result<(), CodecError> {
        self.watch.array(Kind::U8, self.out.len(), bytes.len(), bytes.len());
        self.sequence(bytes.len(), bytes)
    }

    /// A sequence of this length, which consists of these bytes.
    #[inline]
    fn sequence(&mut self, len: usize, bytes: &[u8]) -> Result<(), CodecError> {
        if bytes.len() >= LARGE
            && let Some(hold) = self.hold
            && let Some(index) = hold(bytes)?
        {
            self.write(&(len as u64 | HELD).to_le_bytes())?;
            return self.write(&index.to_le_bytes());
        }
        self.write(&(len as u64).to_le_bytes())?;
        self.write(bytes)
    }

    #[inline]
    fn variant(&mut self, form: Form, index: u32) -> Result<(), CodecError> {
        self.watch.variant(form, self.out.len());
        self.write(&index.to_le_bytes())
    }

    #[inline]
    fn open<'b>(&'b mut self, form: Form, len: usize) -> Parts<'b, 'a, W> {
        self.watch.open(form, self.out.len());
        Parts { encoder: self, form, len, left: len }
    }

    #[inline]
    fn list<'b>(&'b mut self, form: Form, len: Option<usize>) -> Result<Parts<'b, 'a, W>, CodecError> {
        let len = len.ok_or_else(|| no_length(form))?;
        self.watch.list(self.out.len(), len);
        self.write(&(len as u64).to_le_bytes())?;
        Ok(Parts { encoder: self, form, len, left: len })
    }
}

#[cold]
fn too_long(limit: usize) -> CodecError {
    CodecError::new(format!("its encoding has more than {limit} bytes"))
}

#[cold]
fn no_length(form: Form) -> CodecError {
    CodecError::new(match form {
        Form::Map => {
            "a map that does not say its length before its entries cannot be encoded, which is what \
             `#[serde(flatten)]` makes of a struct: remove the attribute, or pass the length to `serialize_map`"
        }
        _ => {
            "a sequence that does not say its length before its items cannot be encoded: collect it into a `Vec`, or \
             pass the length to `serialize_seq`"
        }
    })
}

#[cold]
fn skipped(form: Form, key: &str) -> CodecError {
    CodecError::new(format!(
        "the field `{key}` of `{}` is left out, as `#[serde(skip_serializing_if = ..)]` does, but the encoding has no \
         names of fields: what follows would be read in its place. Remove the attribute, or use `#[serde(skip)]`, \
         which leaves the field out on both sides",
        form.name()
    ))
}

#[cold]
fn miscounted(form: Form, len: usize, has_more: bool) -> CodecError {
    let (parts, announced) = match form {
        Form::Seq => ("items", "a sequence"),
        Form::Map => ("entries", "a map"),
        _ => ("fields", form.name()),
    };
    let relation = if has_more { "more" } else { "fewer" };
    CodecError::new(format!(
        "{announced} has {relation} {parts} than the {len} that its `Serialize` announces: correct the length there"
    ))
}

/// The parts of a value: fields, items, or keys and values.
pub(super) struct Parts<'b, 'a, W> {
    encoder: &'b mut Encoder<'a, W>,
    form: Form,
    len: usize,
    /// How many are still to come; beyond zero after too many.
    left: usize,
}

impl<W: Watch> Parts<'_, '_, W> {
    #[inline]
    fn count(&mut self) {
        self.left = self.left.wrapping_sub(1);
    }

    #[inline]
    fn field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), CodecError> {
        self.count();
        self.encoder.watch.field(key);
        self.inner_of_variant::<T>();
        self.encoder.value(value).map_err(|error| in_field(error, self.form, key))
    }

    #[inline]
    fn position<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), CodecError> {
        self.count();
        self.inner_of_variant::<T>();
        self.encoder.value(value)
    }

    /// Which variants there are in a value is not known from its type.
    #[inline]
    fn inner_of_variant<T: ?Sized>(&mut self) {
        if let Form::Variant { .. } = self.form {
            self.encoder.watch.inner::<T>();
        }
    }

    #[inline]
    fn item<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), CodecError> {
        self.begin_item(value)?;
        self.encoder.watch.item_end();
        Ok(())
    }

    /// An item, or the key of an entry.
    #[inline]
    fn begin_item<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), CodecError> {
        if self.left == self.len {
            self.encoder.watch.inner::<T>();
        }
        self.count();
        self.encoder.watch.item(self.encoder.out.len());
        self.encoder.value(value)
    }

    #[inline]
    fn close(self) -> Result<(), CodecError> {
        if self.left != 0 {
            return Err(miscounted(self.form, self.len, self.left > self.len));
        }
        self.encoder.watch.close(self.encoder.out.len());
        Ok(())
    }
}

#[cold]
fn in_field(error: CodecError, form: Form, key: &str) -> CodecError {
    error.placed(|| format!("field `{key}` of `{}`", form.name()))
}

macro_rules! numbers {
    ($($method:ident $type:ty, $kind:ident;)*) => {
        $(
            #[inline]
            fn $method(self, value: $type) -> Result<(), CodecError> {
                self.number(Kind::$kind, &value.to_le_bytes())
            }
        )*
    };
}

impl<'b, 'a, W: Watch> ser::Serializer for &'b mut Encoder<'a, W> {
    type Ok = ();
    type Error = CodecError;
    type SerializeSeq = Parts<'b, 'a, W>;
    type SerializeTuple = Parts<'b, 'a, W>;
    type SerializeTupleStruct = Parts<'b, 'a, W>;
    type SerializeTupleVariant = Parts<'b, 'a, W>;
    type SerializeMap = Parts<'b, 'a, W>;
    type SerializeStruct = Parts<'b, 'a, W>;
    type SerializeStructVariant = Parts<'b, 'a, W>;

    numbers! {
        serialize_u8 u8, U8;
        serialize_u16 u16, U16;
        serialize_u32 u32, U32;
        serialize_u64 u64, U64;
        serialize_u128 u128, U128;
        serialize_i8 i8, I8;
        serialize_i16 i16, I16;
        serialize_i32 i32, I32;
        serialize_i64 i64, I64;
        serialize_i128 i128, I128;
        serialize_f32 f32, F32;
        serialize_f64 f64, F64;
    }

    #[inline]
    fn serialize_bool(self, value: bool) -> Result<(), CodecError> {
        self.number(Kind::Bool, &[u8::from(value)])
    }

    #[inline]
    fn serialize_char(self, value: char) -> Result<(), CodecError> {
        self.number(Kind::Char, value.encode_utf8(&mut [0; 4]).as_bytes())
    }

    #[inline]
    fn serialize_str(self, value: &str) -> Result<(), CodecError> {
        self.data(value.as_bytes())
    }

    #[inline]
    fn serialize_bytes(self, value: &[u8]) -> Result<(), CodecError> {
        self.data(value)
    }

    #[inline]
    fn serialize_none(self) -> Result<(), CodecError> {
        self.number(Kind::Option, &[0])
    }

    #[inline]
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), CodecError> {
        self.watch.inner::<T>();
        self.number(Kind::Option, &[1])?;
        self.value(value)
    }

    #[inline]
    fn serialize_unit(self) -> Result<(), CodecError> {
        Ok(())
    }

    #[inline]
    fn serialize_unit_struct(self, _: &'static str) -> Result<(), CodecError> {
        Ok(())
    }

    #[inline]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), CodecError> {
        self.value(value)
    }

    #[inline]
    fn serialize_unit_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
    ) -> Result<(), CodecError> {
        self.variant(Form::Variant { name, variant, index, len: 0 }, index)
    }

    #[inline]
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), CodecError> {
        self.variant(Form::Variant { name, variant, index, len: 1 }, index)?;
        self.watch.inner::<T>();
        self.value(value)
    }

    #[inline]
    fn collect_seq<I>(self, sequence: I) -> Result<(), CodecError>
    where
        I: IntoIterator,
        I::Item: Serialize,
    {
        if let Some(items) = plain::items(&sequence) {
            if items.len > 0 {
                self.watch.inner::<I::Item>();
            }
            self.watch.array(items.kind, self.out.len(), items.len, items.bytes.len());
            return self.sequence(items.len, items.bytes);
        }
        let mut items = sequence.into_iter();
        let len = match items.size_hint() {
            (least, Some(most)) if least == most => Some(least),
            _ => None,
        };
        let mut parts = self.list(Form::Seq, len)?;
        items.try_for_each(|item| parts.item(&item))?;
        parts.close()
    }

    #[inline]
    fn serialize_seq(self, len: Option<usize>) -> Result<Parts<'b, 'a, W>, CodecError> {
        self.list(Form::Seq, len)
    }

    #[inline]
    fn serialize_map(self, len: Option<usize>) -> Result<Parts<'b, 'a, W>, CodecError> {
        self.list(Form::Map, len)
    }

    #[inline]
    fn serialize_tuple(self, len: usize) -> Result<Parts<'b, 'a, W>, CodecError> {
        Ok(self.open(Form::Tuple { len }, len))
    }

    #[inline]
    fn serialize_tuple_struct(self, name: &'static str, len: usize) -> Result<Parts<'b, 'a, W>, CodecError> {
        Ok(self.open(Form::Struct { name, len }, len))
    }

    #[inline]
    fn serialize_struct(self, name: &'static str, len: usize) -> Result<Parts<'b, 'a, W>, CodecError> {
        Ok(self.open(Form::Struct { name, len }, len))
    }

    #[inline]
    fn serialize_tuple_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Parts<'b, 'a, W>, CodecError> {
        let form = Form::Variant { name, variant, index, len };
        self.variant(form, index)?;
        Ok(self.open(form, len))
    }

    #[inline]
    fn serialize_struct_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Parts<'b, 'a, W>, CodecError> {
        self.serialize_tuple_variant(name, index, variant, len)
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

macro_rules! parts {
    ($($trait:ident $method:ident $part:ident;)*) => {
        $(
            impl<W: Watch> ser::$trait for Parts<'_, '_, W> {
                type Ok = ();
                type Error = CodecError;

                #[inline]
                fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), CodecError> {
                    self.$part(value)
                }

                #[inline]
                fn end(self) -> Result<(), CodecError> {
                    self.close()
                }
            }
        )*
    };
}

parts! {
    SerializeSeq serialize_element item;
    SerializeTuple serialize_element position;
    SerializeTupleStruct serialize_field position;
    SerializeTupleVariant serialize_field position;
}

macro_rules! fields {
    ($($trait:ident)*) => {
        $(
            impl<W: Watch> ser::$trait for Parts<'_, '_, W> {
                type Ok = ();
                type Error = CodecError;

                #[inline]
                fn serialize_field<T: Serialize + ?Sized>(
                    &mut self,
                    key: &'static str,
                    value: &T,
                ) -> Result<(), CodecError> {
                    self.field(key, value)
                }

                #[cold]
                fn skip_field(&mut self, key: &'static str) -> Result<(), CodecError> {
                    Err(skipped(self.form, key))
                }

                #[inline]
                fn end(self) -> Result<(), CodecError> {
                    self.close()
                }
            }
        )*
    };
}

fields!(SerializeStruct SerializeStructVariant);

impl<W: Watch> ser::SerializeMap for Parts<'_, '_, W> {
    type Ok = ();
    type Error = CodecError;

    #[inline]
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), CodecError> {
        self.begin_item(key)
    }

    #[inline]
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), CodecError> {
        if self.left.wrapping_add(1) == self.len {
            self.encoder.watch.inner::<T>();
        }
        self.encoder.value(value)?;
        self.encoder.watch.item_end();
        Ok(())
    }

    #[inline]
    fn end(self) -> Result<(), CodecError> {
        self.close()
    }
}
