//! The structure of a value, seen while it is encoded.

use super::form::{Form, Kind};
use super::proven::{Key, Within};

/// Sees the structure of a value that is being encoded, or those parts of it that it defines. `at` is the length of the
/// encoding so far.
pub(super) trait Watch {
    /// A number, a character, or the byte of an option.
    #[inline]
    fn number(&mut self, _kind: Kind, _at: usize) {}
    /// A text, bytes or numbers of one kind: a length, then this many, which take `size` bytes.
    #[inline]
    fn array(&mut self, _kind: Kind, _at: usize, _len: usize, _size: usize) {}
    /// The number of a variant.
    #[inline]
    fn variant(&mut self, _form: Form, _at: usize) {}
    /// The first part of a tuple, a struct or a variant with fields follows.
    #[inline]
    fn open(&mut self, _form: Form, _at: usize) {}
    /// A field of this name follows.
    #[inline]
    fn field(&mut self, _key: &'static str) {}
    /// A sequence, or a map: a length, then this many items or entries.
    #[inline]
    fn list(&mut self, _at: usize, _len: usize) {}
    /// An item or an entry of the innermost list follows.
    #[inline]
    fn item(&mut self, _at: usize) {}
    /// It has ended.
    #[inline]
    fn item_end(&mut self) {}
    /// The innermost tuple, struct, variant or list has ended.
    #[inline]
    fn close(&mut self, _at: usize) {}
    /// A value of this type follows.
    #[inline]
    fn value<T: ?Sized>(&mut self) {}
    /// A value of this type follows, in an option, a list or a variant.
    #[inline]
    fn inner<T: ?Sized>(&mut self) {}
}

/// Of what the program itself sends.
impl Watch for () {}

/// Sees whether all parts of the value are proven.
#[derive(Default)]
pub(super) struct Novelty {
    pub(super) is_new: bool,
    within: Within,
}

impl Novelty {
    #[inline]
    fn see(&mut self, key: Key) {
        if !key.is_proven() {
            self.is_new = true;
        }
    }

    #[inline]
    fn see_form(&mut self, form: Form) {
        let here = Key::of_form_here(self.within, form);
        if !here.is_proven() {
            self.see_names(here, form);
        }
    }

    /// The names may have been proven at other addresses.
    #[cold]
    fn see_names(&mut self, here: Key, form: Form) {
        if Key::of_form(self.within, form).is_proven() {
            here.set_proven();
        } else {
            self.is_new = true;
        }
    }
}

impl Watch for Novelty {
    #[inline]
    fn variant(&mut self, form: Form, _: usize) {
        self.see_form(form);
    }
    #[inline]
    fn open(&mut self, form: Form, _: usize) {
        if let Form::Struct { .. } = form {
            self.see_form(form);
        }
    }
    #[inline]
    fn value<T: ?Sized>(&mut self) {
        self.within = Within::value::<T>();
    }

    fn inner<T: ?Sized>(&mut self) {
        self.see(Key::of_inner::<T>());
    }
}

/// A part of a recorded value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Token {
    /// Some numbers of one kind.
    Run { kind: Kind, count: usize },
    /// A length, then this many numbers of one kind, or bytes, which end here.
    Array { kind: Kind, len: usize, end: usize },
    /// The number of a variant.
    Variant { name: &'static str, variant: &'static str, index: u32 },
    /// The beginning of a tuple, a struct or the fields of a variant, and the place of its `Close`.
    Open { form: Form, close: usize },
    /// The name of the field that follows.
    Field { key: &'static str },
    /// A length, then items, and the place of the `Close`.
    List { close: usize },
    /// The beginning of an item, at this byte. (Most of the items of a long list are not recorded.)
    Item { at: usize },
    /// The end of an `Open` or a `List`, at this byte.
    Close { at: usize },
}

/// How many items of a list are recorded, apart from those in which something new is.
const ITEMS: usize = 64;
/// How many tokens are recorded, so that a large value takes little time and memory.
const TOKENS: usize = 1 << 16;
/// The place of a token that is not recorded.
pub(super) const NOWHERE: usize = usize::MAX;

/// The structure of an encoded value, and what in it has not been proven before.
#[derive(Debug, Default)]
pub struct Record {
    pub(super) tokens: Vec<Token>,
    pub(super) new: Vec<Key>,
    /// Whether `TOKENS` did not suffice.
    pub(super) is_full: bool,
    /// Whether a list has items that are not recorded.
    pub(super) is_shortened: bool,
    /// What is open: the place of its token, and whether it is a list.
    open: Vec<(usize, bool)>,
    lists: Vec<List>,
    within: Within,
}

/// A list that is being recorded.
#[derive(Debug)]
struct List {
    items: usize,
    /// The number of tokens and of new parts where the item began.
    tokens_before: usize,
    new_before: usize,
    /// What every item so far is, if each is one number of the same kind.
    kind: Option<Kind>,
}

impl Record {
    fn push(&mut self, token: Token) -> usize {
        if self.tokens.len() >= TOKENS {
            self.is_full = true;
        }
        if self.is_full {
            return NOWHERE;
        }
        self.tokens.push(token);
        self.tokens.len() - 1
    }

    fn see(&mut self, key: Key) {
        if !key.is_proven() && !self.new.contains(&key) {
            self.new.push(key);
        }
    }
}

impl Watch for Record {
    fn number(&mut self, kind: Kind, _: usize) {
        match self.tokens.last_mut() {
            Some(Token::Run { kind: last, count }) if *last == kind && !self.is_full => *count += 1,
            _ => {
                self.push(Token::Run { kind, count: 1 });
            }
        }
    }

    fn array(&mut self, kind: Kind, at: usize, len: usize, size: usize) {
        self.push(Token::Array { kind, len, end: at + size_of::<u64>() + size });
    }

    fn variant(&mut self, form: Form, _: usize) {
        self.see(Key::of_form(self.within, form));
        if let Form::Variant { name, variant, index, .. } = form {
            self.push(Token::Variant { name, variant, index });
        }
    }

    fn open(&mut self, form: Form, _: usize) {
        if let Form::Struct { .. } = form {
            self.see(Key::of_form(self.within, form));
        }
        let token = self.push(Token::Open { form, close: NOWHERE });
        self.open.push((token, false));
    }

    fn field(&mut self, key: &'static str) {
        self.push(Token::Field { key });
    }

    fn list(&mut self, _: usize, _: usize) {
        let token = self.push(Token::List { close: NOWHERE });
        self.open.push((token, true));
        self.lists.push(List { items: 0, tokens_before: 0, new_before: 0, kind: None });
    }

    fn item(&mut self, at: usize) {
        let (tokens_before, new_before) = (self.tokens.len(), self.new.len());
        self.push(Token::Item { at });
        if let Some(list) = self.lists.last_mut() {
            (list.tokens_before, list.new_before) = (tokens_before, new_before);
        }
    }

    fn item_end(&mut self) {
        let Some(list) = self.lists.last_mut().filter(|_| !self.is_full) else { return };
        let kind = match self.tokens[list.tokens_before..] {
            [Token::Item { .. }, Token::Run { kind, count: 1 }] => Some(kind),
            _ => None,
        };
        list.items += 1;
        if list.items == 1 {
            list.kind = kind;
            return;
        }
        let is_alike = kind.is_some() && kind == list.kind;
        if !is_alike {
            self.is_shortened |= list.kind.take().is_some() && list.items > 2;
        }
        if is_alike || list.items > ITEMS && self.new.len() == list.new_before {
            self.tokens.truncate(list.tokens_before);
            self.is_shortened |= !is_alike;
        }
    }

    fn close(&mut self, at: usize) {
        let Some((token, is_list)) = self.open.pop() else { return };
        let list = if is_list { self.lists.pop() } else { None };
        if self.is_full {
            return;
        }
        if let Some(list) = list
            && (list.items == 0 || list.kind.is_some())
        {
            self.tokens.truncate(token);
            let kind = list.kind.unwrap_or(Kind::U8);
            self.push(Token::Array { kind, len: list.items, end: at });
            return;
        }
        let end = self.push(Token::Close { at });
        if let Some(Token::Open { close, .. } | Token::List { close }) = self.tokens.get_mut(token) {
            *close = end;
        }
    }

    fn value<T: ?Sized>(&mut self) {
        self.within = Within::value::<T>();
    }

    fn inner<T: ?Sized>(&mut self) {
        self.see(Key::of_inner::<T>());
    }
}
