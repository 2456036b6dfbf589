//! How a callable gets its key.

use std::any::TypeId;
use std::hash::{Hash, Hasher};
use unidist_common::{FunctionKey, StableHasher};

/// The key of a callable with a name that the user chose.
pub(super) fn of_name(name: &str, outcome: &str, num_returns: u32) -> FunctionKey {
    of(|hash| (name, outcome, num_returns).hash(hash))
}

/// The key of any other callable: its type, which is the same in all processes of one build.
pub(super) fn of_type(callable: TypeId, type_name: &str) -> FunctionKey {
    of(|hash| (callable, type_name).hash(hash))
}

fn of(feed: impl Fn(&mut StableHasher)) -> FunctionKey {
    let half = |seed: u64| {
        let mut hash = StableHasher::with_seed(seed);
        feed(&mut hash);
        u128::from(hash.finish())
    };
    FunctionKey(half(1) << 64 | half(2))
}
