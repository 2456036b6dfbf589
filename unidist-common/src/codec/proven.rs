//! What has been proven in this process to decode as it was encoded: types, and the structs, variants and types inside
//! them.
//!
//! A type is known by its identity, a struct or a variant by its names and by the type of the value that it is the form of:
//! types of one name are different ones. The addresses of the names stand for them where the same code asks again; other
//! code, compiled for another use of the type, may have copies of the names at other addresses, so that the text decides.
//!
//! A set without locks that only grows, since each value that is sent asks it. An entry is the hash of what it stands
//! for; that two things share one of 2⁶⁴ is as unlikely as two functions sharing their key.

use super::form::Form;
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};

const SLOTS: usize = 4096;
/// The places where an entry can be. If all are taken, it is not kept, and is proven again each time.
const PROBES: usize = 32;
const EMPTY: u64 = 0;

static PROVEN: [AtomicU64; SLOTS] = [const { AtomicU64::new(EMPTY) }; SLOTS];

/// What can be proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key(u64);

impl Key {
    #[inline]
    fn new(hash: u64) -> Self {
        Key(hash | 1) // never `EMPTY`
    }

    /// A type whose values are sent.
    #[inline]
    pub(super) fn of_type<T: 'static>() -> Self {
        Key::new(mix(Within::value::<T>().0))
    }

    /// A type inside another one.
    #[inline]
    pub(super) fn of_inner<T: ?Sized>() -> Self {
        Key::new(mix(Within::value::<T>().0.rotate_left(17) ^ INNER))
    }

    /// A struct, or a variant of an enum, by the addresses of its names.
    #[inline]
    pub(super) fn of_form_here(within: Within, form: Form) -> Self {
        Key::of_names(within, form, |name| name.as_ptr() as u64)
    }

    /// The same by its names.
    pub(super) fn of_form(within: Within, form: Form) -> Self {
        Key::of_names(within, form, |name| {
            let mut hasher = OneWord(0);
            name.hash(&mut hasher);
            mix(hasher.0)
        })
    }

    #[inline]
    fn of_names(within: Within, form: Form, word: impl Fn(&'static str) -> u64) -> Self {
        Key::new(match form {
            Form::Struct { name, len } => mix(within.0 ^ word(name) ^ (len as u64) << 48),
            // Addresses of names differ in their lowest bits.
            Form::Variant { name, variant, index, len } => {
                let numbers = u64::from(index) << 40 ^ (len as u64) << 56;
                mix(within.0 ^ word(name) ^ word(variant).rotate_left(24) ^ numbers)
            }
            Form::Tuple { .. } | Form::Seq | Form::Map => 0,
        })
    }

    fn places(self) -> impl Iterator<Item = &'static AtomicU64> {
        let first = (self.0 >> 52) as usize;
        (first..first + PROBES).map(|place| &PROVEN[place % SLOTS])
    }

    #[inline]
    pub(super) fn is_proven(self) -> bool {
        PROVEN[(self.0 >> 52) as usize].load(Ordering::Relaxed) == self.0 || self.is_proven_elsewhere()
    }

    #[inline(never)]
    fn is_proven_elsewhere(self) -> bool {
        for place in self.places() {
            match place.load(Ordering::Relaxed) {
                EMPTY => return false,
                found if found == self.0 => return true,
                _ => {}
            }
        }
        false
    }

    pub(super) fn set_proven(self) {
        for place in self.places() {
            match place.compare_exchange(EMPTY, self.0, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return,
                Err(found) if found == self.0 => return,
                Err(_) => {}
            }
        }
    }
}

/// The type of a value whose form is seen.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Within(u64);

impl Within {
    #[inline]
    pub(super) fn value<T: ?Sized>() -> Self {
        let mut hasher = OneWord(0);
        typeid::of::<T>().hash(&mut hasher);
        Within(hasher.0)
    }
}

/// Tells a type inside another one from one that is sent by itself.
const INNER: u64 = 0x5851_f42d_4c95_7f2d;

/// Spreads the bits upwards: the place in the table is taken from the highest.
#[inline]
fn mix(word: u64) -> u64 {
    (word ^ word >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// Keeps what is hashed: a `TypeId` is a hash already.
struct OneWord(u64);

impl Hasher for OneWord {
    #[inline]
    fn finish(&self) -> u64 {
        self.0
    }

    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        bytes.chunks(8).for_each(|chunk| {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        });
    }

    #[inline]
    fn write_u64(&mut self, word: u64) {
        self.0 = self.0.rotate_left(31) ^ word;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn set_keeps_what_it_was_given() {
        struct Once;
        let key = Key::of_type::<Once>();
        assert!(!key.is_proven());
        key.set_proven();
        key.set_proven();
        assert!(key.is_proven());
        assert!(!Key::of_type::<Vec<Once>>().is_proven() && !Key::of_inner::<Once>().is_proven());
        let within = Within::value::<Once>();
        let form = |len| Key::of_form(within, Form::Struct { name: "only in this test", len });
        form(2).set_proven();
        assert!(form(2).is_proven() && !form(3).is_proven());
        let variant = |index| {
            let (name, variant) = ("only in this test", "variant");
            Key::of_form(within, Form::Variant { name, variant, index, len: 2 })
        };
        variant(1).set_proven();
        assert!(variant(1).is_proven() && !variant(2).is_proven());
    }

    #[test]
    fn names_count_by_their_text_and_in_their_type_only() {
        struct Here;
        struct There;
        let copy: &'static str = Box::leak(String::from("copied").into_boxed_str());
        let form = |name| Form::Struct { name, len: 1 };
        let here = Within::value::<Here>();
        assert_ne!("copied".as_ptr(), copy.as_ptr());
        assert_eq!(Key::of_form(here, form("copied")), Key::of_form(here, form(copy)));
        assert_ne!(Key::of_form_here(here, form("copied")), Key::of_form_here(here, form(copy)));
        assert_ne!(Key::of_form(here, form(copy)), Key::of_form(Within::value::<There>(), form(copy)));
        assert_ne!(Key::of_form(here, form(copy)), Key::of_form(here, form("copier")));
    }

    #[test]
    fn full_neighbourhood_loses_entries_and_finds_no_others() {
        let crowd: Vec<Key> = (0..200).map(|n| Key::new(0x0aa0_0000_0000_0001 | n << 8)).collect();
        crowd.iter().for_each(|key| key.set_proven());
        assert!(crowd[0].is_proven());
        assert!(!crowd[199].is_proven());
    }
}
