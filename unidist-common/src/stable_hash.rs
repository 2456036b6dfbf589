//! A hash that does not depend on the process.

use std::hash::Hasher;

/// FNV-1a: the same input gives the same hash in every process and build of this crate.
#[derive(Clone, Copy, Debug)]
pub struct StableHasher(u64);

impl StableHasher {
    /// Hashers with different seeds give unrelated hashes.
    pub fn with_seed(seed: u64) -> Self {
        StableHasher(0xcbf2_9ce4_8422_2325 ^ seed)
    }
}

impl Hasher for StableHasher {
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
