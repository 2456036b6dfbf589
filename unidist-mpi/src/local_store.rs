//! A pool of message buffers: a buffer that was sent is reused for a message that arrives.

/// Unused buffers.
#[derive(Debug, Default)]
pub(crate) struct BufferPool {
    free: Vec<Vec<u8>>,
}

impl BufferPool {
    /// The number of buffers that are kept.
    const MAX_BUFFERS: usize = 64;
    /// Larger buffers are freed, and smaller ones are not worth keeping.
    const SIZES: std::ops::RangeInclusive<usize> = 256..=1 << 20;

    /// A buffer of at least this capacity.
    pub(crate) fn take(&mut self, len: usize) -> Vec<u8> {
        if Self::SIZES.contains(&len) {
            let large_enough = self.free.iter().rposition(|buffer| buffer.capacity() >= len);
            if let Some(place) = large_enough {
                return self.free.swap_remove(place);
            }
        }
        Vec::with_capacity(len)
    }

    /// Keeps a buffer for reuse, unless the pool is full.
    pub(crate) fn put(&mut self, mut buffer: Vec<u8>) {
        if self.free.len() < Self::MAX_BUFFERS && Self::SIZES.contains(&buffer.capacity()) {
            buffer.clear();
            self.free.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_reused() {
        let mut pool = BufferPool::default();
        let buffer = vec![1; 1000];
        let place = buffer.as_ptr();
        pool.put(buffer);
        let larger = pool.take(2000);
        assert_ne!(larger.as_ptr(), place);
        let again = pool.take(500);
        assert_eq!((again.as_ptr(), again.len()), (place, 0));
    }

    #[test]
    fn pool_is_bounded() {
        let mut pool = BufferPool::default();
        pool.put(vec![0; 2 << 20]);
        (0..100).for_each(|_| pool.put(vec![0; 1000]));
        assert_eq!(pool.free.len(), BufferPool::MAX_BUFFERS);
    }
}
