//! The buffers of messages, used again: what was sent makes room for what arrives.

/// Buffers that are in no use.
#[derive(Debug, Default)]
pub(crate) struct LocalStore {
    free: Vec<Vec<u8>>,
}

impl LocalStore {
    /// So many are kept.
    const MOST: usize = 64;
    /// Larger ones are given back to the system, and smaller ones are not worth it.
    const SIZES: std::ops::RangeInclusive<usize> = 256..=1 << 20;

    /// A buffer with room for so many bytes.
    pub(crate) fn take(&mut self, len: usize) -> Vec<u8> {
        if Self::SIZES.contains(&len) {
            let enough = self.free.iter().rposition(|buffer| buffer.capacity() >= len);
            if let Some(place) = enough {
                return self.free.swap_remove(place);
            }
        }
        Vec::with_capacity(len)
    }

    /// Keeps a buffer for later, unless there are enough.
    pub(crate) fn give(&mut self, mut buffer: Vec<u8>) {
        if self.free.len() < Self::MOST && Self::SIZES.contains(&buffer.capacity()) {
            buffer.clear();
            self.free.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_used_again() {
        let mut store = LocalStore::default();
        let buffer = vec![1; 1000];
        let place = buffer.as_ptr();
        store.give(buffer);
        let larger = store.take(2000);
        assert_ne!(larger.as_ptr(), place);
        let again = store.take(500);
        assert_eq!((again.as_ptr(), again.len()), (place, 0));
    }

    #[test]
    fn only_some_are_kept() {
        let mut store = LocalStore::default();
        store.give(vec![0; 2 << 20]);
        (0..100).for_each(|_| store.give(vec![0; 1000]));
        assert_eq!(store.free.len(), LocalStore::MOST);
    }
}
