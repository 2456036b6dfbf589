//! Large parts of a value, which are held beside its encoding.
//!
//! A text, bytes or numbers of at least [`LARGE`] bytes may be given to a [`Hold`], which copies them to where they
//! stay, such as shared memory. In the encoding, the length has its highest bit set, and the part's index follows as a
//! `u32`. A part is what would follow the length otherwise, so whatever can be read from the encoding can be read from
//! the part.

/// How large a part is, in bytes, for which memory of its own pays.
pub const LARGE: usize = 256 * 1024;

/// The highest bit of the length of a sequence: its items are held beside the encoding.
pub(super) const HELD: u64 = 1 << 63;

/// Takes a copy of a part and returns its index, or `None` to leave it in the encoding.
pub type Hold<'a> = &'a dyn Fn(&[u8]) -> Result<Option<u32>, super::CodecError>;

/// Finds a part by its index.
pub type Held<'a> = &'a dyn Fn(u32) -> Option<&'a [u8]>;
