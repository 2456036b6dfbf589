//! Flow control of a ring buffer in shared memory: the counters by which writer and reader learn of each other's
//! progress, and the flag of a writer that waits for space.
//!
//! A counter only grows and is written by one side: `head` by the writer, `tail` by the reader. Each side checks the
//! other's counter before it uses it: a counter out of bounds is an error. Nothing here touches the bytes of the ring;
//! the caller copies the parts that it is given.

use crate::atomic::{AtomicU32, AtomicU64, Ordering};

/// The counters of one ring, in shared memory.
///
/// Their layout is explicit, and not that of a `CachePadded`, because both processes have to agree on it.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub struct FlowControl {
    head: Counter,
    tail: Counter,
    /// The writer has more bytes than there is space for, and has to be rung when there is space.
    starved: AtomicU32,
}

/// A counter with a cache line of its own, since each side writes one and polls the other.
#[derive(Debug, Default)]
#[repr(C, align(64))]
struct Counter(AtomicU64);

/// A counter of the ring is out of bounds: the other process is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CorruptCounters;

/// The result of [`FlowControl::read`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// Bytes read.
    pub len: usize,
    /// The writer waits for the space that reading has made: ring for it.
    pub starved: bool,
}

/// A part of a ring: `len` bytes from the position `at` of the stream on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// The position in the stream, not in the ring.
    pub at: u64,
    /// The length in bytes.
    pub len: usize,
}

impl FlowControl {
    /// Has `copy` write as many of `len` bytes as there is space for, from the position `head` on, which is advanced, and
    /// returns how many. If that is not all, the reader rings as soon as it has made space.
    ///
    /// `copy` is given parts that the reader does not touch and that are no longer than `capacity`, each with its offset
    /// in the `len` bytes.
    ///
    /// # Errors
    ///
    /// The reader's counter is out of bounds.
    #[inline]
    pub fn write(
        &self,
        head: &mut u64,
        capacity: usize,
        len: usize,
        mut copy: impl FnMut(Part, usize),
    ) -> Result<usize, CorruptCounters> {
        let mut written = self.write_available(head, capacity, len, |part| copy(part, 0))?;
        while written < len {
            // Set after the last bytes were published: either the reader sees the flag once it has read them, or this
            // thread sees the space that the reader has made.
            self.starved.store(1, Ordering::SeqCst);
            match self.write_available(head, capacity, len - written, |part| copy(part, written))? {
                0 => break,
                more => written += more,
            }
        }
        Ok(written)
    }

    #[inline]
    fn write_available(
        &self,
        head: &mut u64,
        capacity: usize,
        len: usize,
        copy: impl FnOnce(Part),
    ) -> Result<usize, CorruptCounters> {
        let len = space(*head, self.tail.0.load(Ordering::SeqCst), capacity)?.min(len);
        copy(Part { at: *head, len });
        *head += len as u64;
        self.head.0.store(*head, Ordering::Release);
        Ok(len)
    }

    /// How many bytes the reader has consumed. Whatever it claims, not more than were written.
    #[inline]
    pub fn consumed(&self, head: u64) -> u64 {
        self.tail.0.load(Ordering::Acquire).min(head)
    }

    /// Whether a write would make progress or report corrupt counters. If not, the reader rings as soon as it has made
    /// space: the flag is set again, since the reader may have taken an earlier one and rung while the writer was awake.
    pub fn has_space(&self, head: u64, capacity: usize) -> bool {
        let is_full = || space(head, self.tail.0.load(Ordering::SeqCst), capacity) == Ok(0);
        if !is_full() {
            return true;
        }
        self.starved.store(1, Ordering::SeqCst);
        !is_full()
    }

    /// Whether a read would return bytes or report corrupt counters.
    #[inline]
    pub fn has_data(&self, tail: u64) -> bool {
        self.head.0.load(Ordering::Acquire) != tail
    }

    /// Has `copy` take all bytes in the ring, from the position `tail` on, which is advanced.
    ///
    /// `copy` is given a part that the writer does not touch and that is no longer than `capacity`.
    ///
    /// # Errors
    ///
    /// The writer's counter is out of bounds.
    #[inline]
    pub fn read(
        &self,
        tail: &mut u64,
        capacity: usize,
        copy: impl FnOnce(Part),
    ) -> Result<Received, CorruptCounters> {
        let unread = self.head.0.load(Ordering::Acquire).checked_sub(*tail).ok_or(CorruptCounters)?;
        if unread > capacity as u64 {
            return Err(CorruptCounters);
        }
        let len = unread as usize;
        copy(Part { at: *tail, len });
        *tail += unread;
        self.tail.0.store(*tail, Ordering::SeqCst);
        let starved = len > 0 && self.starved.load(Ordering::SeqCst) != 0;
        if starved {
            self.starved.store(0, Ordering::SeqCst);
        }
        Ok(Received { len, starved })
    }

    /// Overwrites the counters, for tests with a broken process.
    #[doc(hidden)]
    pub fn set_counters(&self, head: u64, tail: u64) {
        self.head.0.store(head, Ordering::SeqCst);
        self.tail.0.store(tail, Ordering::SeqCst);
    }
}

#[inline]
fn space(head: u64, tail: u64, capacity: usize) -> Result<usize, CorruptCounters> {
    match head.checked_sub(tail) {
        Some(unread) if unread <= capacity as u64 => Ok(capacity - unread as usize),
        _ => Err(CorruptCounters),
    }
}
