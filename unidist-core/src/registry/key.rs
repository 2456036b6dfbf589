//! How a callable gets its key.

use std::any::TypeId;
use std::hash::{Hash, Hasher};
use unidist_common::FunctionKey;

/// The key of a callable with a name that the user chose.
pub(super) fn of_name(name: &str, outcome: &str, num_returns: u32) -> FunctionKey {
    of(|hash| (name, outcome, num_returns).hash(hash))
}

/// The key of any other callable: its type, which is the same in all processes of one build.
pub(super) fn of_type(callable: TypeId, type_name: &str) -> FunctionKey {
    of(|hash| (callable, type_name).hash(hash))
}

fn of(feed: impl Fn(&mut Fnv)) -> FunctionKey {
    let half = |seed: u64| {
        let mut hash = Fnv(0xcbf2_9ce4_8422_2325 ^ seed);
        feed(&mut hash);
        u128::from(hash.finish())
    };
    FunctionKey(half(1) << 64 | half(2))
}

/// FNV-1a: the same in every process and build of this crate.
pub(crate) struct Fnv(pub(crate) u64);

impl Hasher for Fnv {
    fn finish(&self) -> u64 {
        // FNV mixes its last bytes badly.
        let mixed = (self.0 ^ (self.0 >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed ^ (mixed >> 29)
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}
