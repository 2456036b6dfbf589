//! Two ring buffers in shared memory: a byte stream in each direction between the engine and one process.
//!
//! Each ring has one writer and one reader; [`FlowControl`] says which part of it each may access.
#![allow(unsafe_code)] // copies into and out of mapped memory

use std::fs::File;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use unidist_sync::{CorruptCounters, Doorbell, FlowControl, Received, SharedMemory};

/// The capacity of a ring in bytes.
pub(crate) const CAPACITY: usize = 256 * 1024;
const CONTROLS: usize = 4096;
const FILE_LEN: u64 = (CONTROLS + 2 * CAPACITY) as u64;

/// Which end of the link this process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// The engine's end.
    Engine,
    /// The end of a worker or actor process.
    Worker,
}

/// The mapped memory of one link: the worker's doorbell and two rings.
#[derive(Debug)]
pub(crate) struct LinkMemory(SharedMemory);

/// The doorbell, then the counters of the ring to the worker and of the ring to the engine, then whether the stack of the
/// worker has overflowed.
#[derive(Debug)]
#[repr(C)]
struct Layout {
    bell: Doorbell,
    flows: [FlowControl; 2],
    stack_overflowed: AtomicU32,
}

const _: () = assert!(size_of::<Layout>() <= CONTROLS);

impl LinkMemory {
    /// Creates the memory of a new link.
    pub(crate) fn create() -> io::Result<Arc<LinkMemory>> {
        Ok(Arc::new(LinkMemory(SharedMemory::create("unidist-link", FILE_LEN)?)))
    }

    /// Maps the memory of a link that another process has created.
    pub(crate) fn open(file: File) -> io::Result<Arc<LinkMemory>> {
        Ok(Arc::new(LinkMemory(SharedMemory::open(file, FILE_LEN..=FILE_LEN)?)))
    }

    /// The file, to be passed to the other process.
    pub(crate) fn file(&self) -> BorrowedFd<'_> {
        self.0.file()
    }

    /// The doorbell of the worker.
    pub(crate) fn bell(&self) -> &Doorbell {
        &self.layout().bell
    }

    /// Not 0 once the worker ends because its stack has overflowed.
    pub(crate) fn stack_overflowed(&self) -> &AtomicU32 {
        &self.layout().stack_overflowed
    }

    fn layout(&self) -> &Layout {
        // SAFETY: the mapping is page-aligned, long enough (asserted above), lives as long as `self`, and `Layout` is
        // made of atomics only, for which any bytes are valid and which any process may change at any time.
        unsafe { &*self.0.mapping().as_mut_ptr().cast::<Layout>() }
    }

    fn flow(&self, ring: usize) -> &FlowControl {
        &self.layout().flows[ring]
    }

    fn data(&self, ring: usize) -> *mut u8 {
        // SAFETY: `ring` is 0 or 1, and the file holds two rings of data behind the controls.
        unsafe { self.0.mapping().as_mut_ptr().add(CONTROLS + ring * CAPACITY) }
    }

    /// The two ends that belong to `side`. There must be only one writer and one reader of each ring.
    pub(crate) fn ends(self: &Arc<Self>, side: Side) -> (Writer, Reader) {
        let (write, read) = match side {
            Side::Engine => (0, 1),
            Side::Worker => (1, 0),
        };
        (
            Writer { memory: self.clone(), ring: write, head: 0 },
            Reader { memory: self.clone(), ring: read, tail: 0 },
        )
    }
}

/// The writing end of a ring.
#[derive(Debug)]
pub(crate) struct Writer {
    memory: Arc<LinkMemory>,
    ring: usize,
    head: u64,
}

impl Writer {
    /// Writes as many of `bytes` as there is space for and returns how many. If that is not all, the reader rings as soon as
    /// it has made space.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<usize, CorruptCounters> {
        let Writer { memory, ring, head } = self;
        let data = memory.data(*ring);
        memory.flow(*ring).write(head, CAPACITY, bytes.len(), |part, from| {
            let at = (part.at % CAPACITY as u64) as usize;
            let first = part.len.min(CAPACITY - at);
            let (end, start) = bytes[from..from + part.len].split_at(first);
            // SAFETY: a part is no longer than the ring, so `at + first <= CAPACITY` and the rest is no longer than
            // `at`: both copies stay inside the ring's data. The reader does not read this part before its end is
            // published, and this is the only writer.
            unsafe {
                data.add(at).copy_from_nonoverlapping(end.as_ptr(), end.len());
                data.copy_from_nonoverlapping(start.as_ptr(), start.len());
            }
        })
    }

    /// How many bytes the reader has consumed; at most as many as were written, whatever it claims.
    pub(crate) fn consumed(&self) -> u64 {
        self.memory.flow(self.ring).consumed(self.head)
    }

    /// Whether a write would make progress or return an error.
    pub(crate) fn has_space(&self) -> bool {
        self.memory.flow(self.ring).has_space(self.head, CAPACITY)
    }
}

/// The reading end of a ring.
#[derive(Debug)]
pub(crate) struct Reader {
    memory: Arc<LinkMemory>,
    ring: usize,
    tail: u64,
}

impl Reader {
    /// Whether a read would return bytes or an error.
    pub(crate) fn has_data(&self) -> bool {
        self.memory.flow(self.ring).has_data(self.tail)
    }

    /// Appends all bytes in the ring to `out`.
    pub(crate) fn read(&mut self, out: &mut Vec<u8>) -> Result<Received, CorruptCounters> {
        let Reader { memory, ring, tail } = self;
        let data = memory.data(*ring);
        memory.flow(*ring).read(tail, CAPACITY, |part| {
            let at = (part.at % CAPACITY as u64) as usize;
            let first = part.len.min(CAPACITY - at);
            out.reserve(part.len);
            // SAFETY: a part is no longer than the ring, so both copies stay inside the ring's data; the writer does
            // not touch them before they are given back; `out` has room for `len` more bytes, all of which are
            // initialised here.
            unsafe {
                let spare = out.as_mut_ptr().add(out.len());
                spare.copy_from_nonoverlapping(data.add(at), first);
                spare.add(first).copy_from_nonoverlapping(data, part.len - first);
                out.set_len(out.len() + part.len);
            }
        })
    }
}

#[cfg(test)]
impl LinkMemory {
    /// Sets a counter of the ring to the engine out of bounds.
    pub(crate) fn corrupt_counters(&self) {
        self.flow(1).set_counters(CAPACITY as u64 + 1, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Writer, Reader) {
        let memory = LinkMemory::create().unwrap();
        let theirs = LinkMemory::open(File::from(memory.file().try_clone_to_owned().unwrap())).unwrap();
        (memory.ends(Side::Engine).0, theirs.ends(Side::Worker).1)
    }

    #[test]
    fn bytes_pass_unchanged_across_the_end_of_the_ring() {
        let (mut writer, mut reader) = pair();
        let message: Vec<u8> = (0..CAPACITY * 2 / 3).map(|i| i as u8).collect();
        for _ in 0..5 {
            assert_eq!(writer.write(&message), Ok(message.len()));
            let mut out = Vec::new();
            assert_eq!(reader.read(&mut out), Ok(Received { len: message.len(), starved: false }));
            assert_eq!(out, message);
        }
    }

    #[test]
    fn full_ring_takes_a_part_and_reports_a_starved_writer() {
        let (mut writer, mut reader) = pair();
        let message = vec![1u8; CAPACITY + 10];
        assert_eq!(writer.write(&message), Ok(CAPACITY));
        assert_eq!(writer.write(&message), Ok(0));
        let mut out = Vec::new();
        assert!(reader.read(&mut out).unwrap().starved);
        assert_eq!(writer.write(&message[CAPACITY..]), Ok(10));
        assert_eq!(reader.read(&mut out), Ok(Received { len: 10, starved: false }));
        assert_eq!(out, message);
    }

    #[test]
    fn counter_out_of_bounds_is_an_error() {
        let (mut writer, mut reader) = pair();
        reader.memory.flow(0).set_counters(CAPACITY as u64 + 1, 0);
        assert_eq!(reader.read(&mut Vec::new()), Err(CorruptCounters));
        writer.memory.flow(0).set_counters(0, 7);
        assert_eq!(writer.write(&[1]), Err(CorruptCounters));
    }
}
