//! Decoding a value where it was encoded, against the record of its structure.
//!
//! The encoding does not describe itself: a type whose `Serialize` and `Deserialize` disagree is read as other values.
//! So the first value of each type is decoded before it is sent, as is the first one with a part that is new
//! ([`super::proven`]), and each step of `Deserialize` is compared with the step of `Serialize` that wrote the bytes.
//!
//! What must agree are the numbers, texts, lists and variants, in their order. Structs and tuples are not in the bytes,
//! so that a struct may be read as a tuple; but a value that is read as a struct must end where the struct ends.

use super::error::CodecError;
use super::form::{Form, Kind};
use super::record::{NOWHERE, Record, Token};

/// Sees each step of decoding before it reads its bytes.
pub(super) trait Inspect<'a> {
    /// Whether it chooses the items that are read.
    const IS_LIVE: bool;
    fn number(&mut self, kind: Kind) -> Result<(), CodecError>;
    /// A text, or bytes; at most as many as it returns are read.
    fn data(&mut self, what: &'static str) -> Result<usize, CodecError>;
    fn variant(&mut self, variants: &'static [&'static str]) -> Result<(), CodecError>;
    fn open(&mut self) -> Result<(), CodecError>;
    fn close(&mut self) -> Result<(), CodecError>;
    fn list(&mut self) -> Result<(), CodecError>;
    /// Goes to the next item, if there is one, or to the end of the list, and sets the number of those left.
    fn item(&mut self, rest: &mut &'a [u8], left: &mut usize) -> Result<bool, CodecError>;
    fn list_end(&mut self, rest: &mut &'a [u8]);
    fn end(&mut self) -> Result<(), CodecError>;
}

/// Of received values.
impl<'a> Inspect<'a> for () {
    const IS_LIVE: bool = false;
    #[inline]
    fn number(&mut self, _: Kind) -> Result<(), CodecError> {
        Ok(())
    }
    #[inline]
    fn data(&mut self, _: &'static str) -> Result<usize, CodecError> {
        Ok(usize::MAX)
    }
    #[inline]
    fn variant(&mut self, _: &'static [&'static str]) -> Result<(), CodecError> {
        Ok(())
    }
    #[inline]
    fn open(&mut self) -> Result<(), CodecError> {
        Ok(())
    }
    #[inline]
    fn close(&mut self) -> Result<(), CodecError> {
        Ok(())
    }
    #[inline]
    fn list(&mut self) -> Result<(), CodecError> {
        Ok(())
    }
    #[inline]
    fn item(&mut self, _: &mut &'a [u8], _: &mut usize) -> Result<bool, CodecError> {
        Ok(false)
    }
    #[inline]
    fn list_end(&mut self, _: &mut &'a [u8]) {}
    #[inline]
    fn end(&mut self) -> Result<(), CodecError> {
        Ok(())
    }
}

/// How many numbers of a list, and how many bytes, are read.
const NUMBERS: usize = 1 << 17;
const BYTES: usize = 1 << 20;

/// What a type can do about it, whichever part differs.
const ADVICE: &str = "both must have the same parts, in the same order, of the same types: look for \
     `#[serde(skip_serializing)]`, `skip_deserializing`, `skip_serializing_if`, `tag` or `with`, and for an `impl` by hand";

/// Compares the steps of decoding with a record.
pub(super) struct Comparison<'a> {
    record: &'a Record,
    bytes: &'a [u8],
    /// The token that is next, and how many numbers of it have been read.
    next: usize,
    used: usize,
    frames: Vec<Frame>,
    /// The structs that are open, and their fields.
    places: Vec<(Form, Option<&'static str>)>,
    /// Whether something of the value was left out.
    is_cut: bool,
}

/// What is being read, from the outside to the inside.
enum Frame {
    /// A tuple or a struct, of which the record has the end.
    Parts { close: usize },
    /// One that is not in the record.
    Loose,
    /// Recorded items.
    Items { close: usize },
    /// Numbers of one kind, and whether the next one has to be read.
    Numbers { kind: Kind, left: usize, end: usize, is_due: bool },
}

impl<'a> Comparison<'a> {
    pub(super) fn new(record: &'a Record, bytes: &'a [u8]) -> Self {
        Comparison {
            record,
            bytes,
            next: 0,
            used: 0,
            frames: Vec::new(),
            places: Vec::new(),
            is_cut: record.is_shortened,
        }
    }

    /// Whether the error says that the encoding cannot carry the value. A type may refuse a part of a list for its
    /// length, and by an error of its own any value.
    pub(super) fn refutes(&self, error: &CodecError) -> bool {
        error.is_of_the_encoding() && !(self.is_cut && error.is_length())
    }

    fn token(&self) -> Option<Token> {
        self.record.tokens.get(self.next).copied()
    }

    /// The innermost value whose end is known.
    fn frame(&mut self) -> Option<&mut Frame> {
        self.frames.iter_mut().rev().find(|frame| !matches!(frame, Frame::Loose))
    }

    /// The place of the token where the innermost value ends.
    fn close_of_frame(&mut self) -> usize {
        match self.frame() {
            Some(Frame::Parts { close } | Frame::Items { close }) => *close,
            _ => NOWHERE,
        }
    }

    /// Passes over what takes no bytes: to a token that does, or to the end of the innermost value.
    fn skip_markers(&mut self) -> Option<Token> {
        let close_of_frame = self.close_of_frame();
        loop {
            let token = self.token()?;
            match token {
                Token::Field { key } => {
                    if let Some((_, field)) = self.places.last_mut() {
                        *field = Some(key);
                    }
                }
                Token::Open { form, .. } => self.places.push((form, None)),
                Token::Close { .. } if self.next != close_of_frame => drop(self.places.pop()),
                _ => return Some(token),
            }
            self.next += 1;
        }
    }

    /// Where decoding is: the innermost field of a struct.
    fn place(&self) -> String {
        for (form, field) in self.places.iter().rev() {
            match (form, field) {
                (Form::Struct { name, .. }, Some(field)) => return format!("field `{field}` of `{name}`: "),
                (Form::Variant { name, variant, .. }, Some(field)) => {
                    return format!("field `{field}` of `{name}::{variant}`: ");
                }
                (Form::Struct { name, .. }, None) => return format!("`{name}`: "),
                (Form::Variant { name, variant, .. }, None) => return format!("`{name}::{variant}`: "),
                _ => {}
            }
        }
        String::new()
    }

    #[cold]
    fn differs(&self, written: impl std::fmt::Display, read: impl std::fmt::Display) -> CodecError {
        CodecError::new(format!(
            "{}`Serialize` writes {written} where `Deserialize` reads {read}; {ADVICE}",
            self.place()
        ))
    }

    /// `read` was asked for where this token is.
    #[cold]
    fn unexpected(&self, token: Option<Token>, read: impl std::fmt::Display) -> CodecError {
        match token {
            None if self.record.is_full => CodecError::end_of_record(),
            None => self.differs("nothing more", read),
            Some(token) => self.differs(written(token), read),
        }
    }

    /// Something is left where the value that was read ends.
    #[cold]
    fn unread(&self, token: Option<Token>) -> CodecError {
        match token {
            None if self.record.is_full => CodecError::end_of_record(),
            None => self.differs("nothing more", "more"),
            Some(token) => self.differs(written(token), "nothing more"),
        }
    }

    /// Takes a list of numbers, of which it reads some: its kind and its length.
    fn numbers(&mut self) -> Option<(Kind, usize, usize)> {
        match self.skip_markers() {
            Some(Token::Array { kind, len, end }) if self.used == 0 => {
                self.next += 1;
                Some((kind, len, end))
            }
            _ => None,
        }
    }
}

fn written(token: Token) -> String {
    match token {
        Token::Run { kind, .. } => kind.to_string(),
        Token::Array { .. } | Token::List { .. } => "a list, a text or bytes".to_owned(),
        Token::Variant { name, variant, .. } => format!("the variant `{name}::{variant}`"),
        Token::Open { .. } | Token::Field { .. } => "a field".to_owned(),
        Token::Item { .. } => "one more item".to_owned(),
        Token::Close { .. } => "nothing more".to_owned(),
    }
}

impl<'a> Inspect<'a> for Comparison<'a> {
    const IS_LIVE: bool = true;

    fn number(&mut self, kind: Kind) -> Result<(), CodecError> {
        if let Some(Frame::Numbers { kind: written, is_due, .. }) = self.frame() {
            let written = *written;
            let was_due = std::mem::take(is_due);
            return match was_due && written.is_read_as(kind) {
                true => Ok(()),
                false => Err(self.differs(format!("a list of {written}"), kind)),
            };
        }
        match self.skip_markers() {
            Some(Token::Run { kind: written, count }) if written.is_read_as(kind) => {
                self.used += 1;
                if self.used == count {
                    (self.next, self.used) = (self.next + 1, 0);
                }
                Ok(())
            }
            token => Err(self.unexpected(token, kind)),
        }
    }

    fn data(&mut self, what: &'static str) -> Result<usize, CodecError> {
        if let Some(Frame::Numbers { kind, .. }) = self.frame() {
            let kind = *kind;
            return Err(self.differs(format!("a list of {kind}"), what));
        }
        match self.numbers() {
            Some((kind, len, _)) if len == 0 || kind.width() == Some(1) => {
                self.is_cut |= len > BYTES;
                Ok(BYTES)
            }
            Some((kind, ..)) => Err(self.differs(format!("a list of {kind}"), what)),
            None => Err(self.unexpected(self.token(), what)),
        }
    }

    fn variant(&mut self, variants: &'static [&'static str]) -> Result<(), CodecError> {
        if let Some(Frame::Numbers { kind, .. }) = self.frame() {
            let kind = *kind;
            return Err(self.differs(format!("a list of {kind}"), "an enum"));
        }
        let Some(Token::Variant { name, variant, index }) = self.skip_markers().filter(|_| self.used == 0)
        else {
            return Err(self.unexpected(self.token(), "an enum"));
        };
        // The list may contain aliases, so a variant may be further back in it than its number says, but not before.
        let place = variants.iter().position(|known| *known == variant);
        if place.is_some_and(|place| place < index as usize) {
            return Err(CodecError::new(format!(
                "`{name}::{variant}` has the number {index} when it is written, and another one when it is read, because a \
                 variant before it is left out of `Deserialize`: move the variants with `#[serde(skip)]` or \
                 `#[serde(skip_deserializing)]` behind all others"
            )));
        }
        self.next += 1;
        Ok(())
    }

    fn open(&mut self) -> Result<(), CodecError> {
        if !matches!(self.frame(), Some(Frame::Numbers { .. })) && self.used == 0 {
            let close_of_frame = self.close_of_frame();
            loop {
                match self.token() {
                    Some(Token::Field { key }) => {
                        if let Some((_, field)) = self.places.last_mut() {
                            *field = Some(key);
                        }
                    }
                    Some(Token::Close { .. }) if self.next != close_of_frame => drop(self.places.pop()),
                    Some(Token::Open { form, close }) => {
                        self.next += 1;
                        self.places.push((form, None));
                        self.frames.push(Frame::Parts { close });
                        return Ok(());
                    }
                    _ => break,
                }
                self.next += 1;
            }
        }
        self.frames.push(Frame::Loose);
        Ok(())
    }

    fn close(&mut self) -> Result<(), CodecError> {
        if let Some(Frame::Parts { close }) = self.frames.last() {
            let close = *close;
            let token = self.skip_markers();
            if self.next != close || self.used > 0 {
                return Err(self.unread(token));
            }
            self.next += 1;
            self.places.pop();
        }
        self.frames.pop();
        Ok(())
    }

    fn list(&mut self) -> Result<(), CodecError> {
        const READ: &str = "a list";
        if let Some(Frame::Numbers { kind, .. }) = self.frame() {
            let kind = *kind;
            return Err(self.differs(format!("a list of {kind}"), READ));
        }
        if let Some((kind, len, end)) = self.numbers() {
            self.is_cut |= len > NUMBERS;
            self.frames.push(Frame::Numbers { kind, left: len.min(NUMBERS), end, is_due: false });
            return Ok(());
        }
        match self.token() {
            Some(Token::List { close }) if self.used == 0 => {
                self.next += 1;
                self.frames.push(Frame::Items { close });
                Ok(())
            }
            token => Err(self.unexpected(token, READ)),
        }
    }

    fn item(&mut self, rest: &mut &'a [u8], left: &mut usize) -> Result<bool, CodecError> {
        match self.frames.last_mut() {
            Some(Frame::Numbers { kind, is_due: true, .. }) => {
                let kind = *kind;
                Err(self.differs(format!("a list of {kind}"), "a list of nothing"))
            }
            Some(Frame::Numbers { left: numbers, is_due, end, .. }) => {
                *left = *numbers;
                if *numbers == 0 {
                    *rest = self.bytes.get(*end..).unwrap_or_default();
                    return Ok(false);
                }
                (*numbers, *is_due) = (*numbers - 1, true);
                *left -= 1;
                Ok(true)
            }
            Some(Frame::Items { close }) => {
                let close = *close;
                match self.skip_markers() {
                    Some(Token::Close { at }) if self.next == close => {
                        *rest = self.bytes.get(at..).unwrap_or_default();
                        *left = 0;
                        Ok(false)
                    }
                    Some(Token::Item { at }) if self.used == 0 => {
                        *rest = self.bytes.get(at..).unwrap_or_default();
                        self.next += 1;
                        *left = left.saturating_sub(1);
                        Ok(true)
                    }
                    token => Err(self.unread(token)),
                }
            }
            _ => Err(CodecError::end_of_record()), // not reached: lists and parts nest
        }
    }

    fn list_end(&mut self, rest: &mut &'a [u8]) {
        match self.frames.pop() {
            Some(Frame::Numbers { end, .. }) => *rest = self.bytes.get(end..).unwrap_or_default(),
            Some(Frame::Items { close }) => {
                if let Some(Token::Close { at }) = self.record.tokens.get(close) {
                    *rest = self.bytes.get(*at..).unwrap_or_default();
                }
                self.next = close.saturating_add(1);
            }
            _ => {}
        }
    }

    fn end(&mut self) -> Result<(), CodecError> {
        match self.skip_markers() {
            None => Ok(()),
            token => Err(self.unread(token)),
        }
    }
}
