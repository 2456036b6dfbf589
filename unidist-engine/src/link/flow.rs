//! How the two sides of a ring know what the other has done: the counters, and who waits for whom.
//!
//! A counter only ever grows and is written by one side: `head` by the writer, `tail` by the reader. What the other
//! side wrote is checked before it is used: a counter out of bounds ends the link with an error. Nothing in here
//! touches the bytes of the ring; [`ring`](super::ring) does, where it is told to.

use super::sync::{AtomicU32, AtomicU64, Ordering};

/// In shared memory: the counters of one ring.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub(crate) struct Flow {
    head: Counter,
    tail: Counter,
    /// The writer has more than there is room for and wants to be rung when there is room.
    starved: AtomicU32,
}

#[derive(Debug, Default)]
#[repr(C, align(64))]
struct Counter(AtomicU64);

/// The other process has written nonsense into the ring's counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Corrupt;

/// What [`Flow::read`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Read {
    /// Bytes read.
    pub(crate) len: usize,
    /// The writer waits for the room that was made: ring for it.
    pub(crate) starved: bool,
}

/// A part of a ring: `len` bytes from the position `at` of the stream on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) at: u64,
    pub(crate) len: usize,
}

impl Flow {
    /// Has `copy` write as many of `len` bytes as there is room for, from `head` on (which is counted up), and returns
    /// how many. If that is not all, the reader will ring as soon as it has made room.
    ///
    /// `copy` is given parts that the reader does not touch and that are no longer than `capacity`, and where in the
    /// `len` bytes each begins.
    #[inline]
    pub(crate) fn write(
        &self,
        head: &mut u64,
        capacity: usize,
        len: usize,
        mut copy: impl FnMut(Part, usize),
    ) -> Result<usize, Corrupt> {
        let mut written = self.write_what_fits(head, capacity, len, |part| copy(part, 0))?;
        while written < len {
            // Announced after the last bytes were published: either the reader sees the announcement when it has read
            // them, or this sees the room that it has made.
            self.starved.store(1, Ordering::SeqCst);
            match self.write_what_fits(head, capacity, len - written, |part| copy(part, written))? {
                0 => break,
                more => written += more,
            }
        }
        Ok(written)
    }

    #[inline]
    fn write_what_fits(
        &self,
        head: &mut u64,
        capacity: usize,
        len: usize,
        copy: impl FnOnce(Part),
    ) -> Result<usize, Corrupt> {
        let len = room(*head, self.tail.0.load(Ordering::SeqCst), capacity)?.min(len);
        copy(Part { at: *head, len });
        *head += len as u64;
        self.head.0.store(*head, Ordering::Release);
        Ok(len)
    }

    /// How many bytes the reader has taken so far, as far as it can be believed.
    pub(crate) fn taken(&self, head: u64) -> u64 {
        self.tail.0.load(Ordering::Acquire).min(head)
    }

    /// Whether something could be written (or the counters are nonsense, which writing will tell). If not, the reader
    /// will ring as soon as it has made room: it may have taken the last announcement for an earlier need, and have rung
    /// when the writer was still awake.
    pub(crate) fn has_room(&self, head: u64, capacity: usize) -> bool {
        let full = || room(head, self.tail.0.load(Ordering::SeqCst), capacity) == Ok(0);
        if !full() {
            return true;
        }
        self.starved.store(1, Ordering::SeqCst);
        !full()
    }

    /// Whether there is something to read (or nonsense, which reading will tell).
    #[inline]
    pub(crate) fn has_data(&self, tail: u64) -> bool {
        self.head.0.load(Ordering::Acquire) != tail
    }

    /// Has `copy` take everything there is, from `tail` on (which is counted up).
    ///
    /// `copy` is given a part that the writer does not touch and that is no longer than `capacity`.
    #[inline]
    pub(crate) fn read(
        &self,
        tail: &mut u64,
        capacity: usize,
        copy: impl FnOnce(Part),
    ) -> Result<Read, Corrupt> {
        let unread = self.head.0.load(Ordering::Acquire).checked_sub(*tail).ok_or(Corrupt)?;
        if unread > capacity as u64 {
            return Err(Corrupt);
        }
        let len = unread as usize;
        copy(Part { at: *tail, len });
        *tail += unread;
        self.tail.0.store(*tail, Ordering::SeqCst);
        let starved = len > 0 && self.starved.load(Ordering::SeqCst) != 0;
        if starved {
            self.starved.store(0, Ordering::SeqCst);
        }
        Ok(Read { len, starved })
    }
}

fn room(head: u64, tail: u64, capacity: usize) -> Result<usize, Corrupt> {
    match head.checked_sub(tail) {
        Some(unread) if unread <= capacity as u64 => Ok(capacity - unread as usize),
        _ => Err(Corrupt),
    }
}

#[cfg(test)]
impl Flow {
    /// Writes nonsense into the counters.
    pub(crate) fn set(&self, head: u64, tail: u64) {
        self.head.0.store(head, Ordering::SeqCst);
        self.tail.0.store(tail, Ordering::SeqCst);
    }
}
