//! Two rings in shared memory: a byte stream each way between the engine and one process.
//!
//! Each ring has one writer and one reader. A counter only ever grows and is written by one side: `head` by the writer,
//! `tail` by the reader. What the other side wrote is checked before it is used: a counter out of bounds ends the link
//! with an error.
#![allow(unsafe_code)] // copies into and out of mapped memory

use super::bell::Bell;
use memmap2::{MmapOptions, MmapRaw};
use rustix::fs::{MemfdFlags, SealFlags};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Bytes that a ring holds.
pub(crate) const CAPACITY: usize = 256 * 1024;
const CONTROLS: usize = 4096;
const FILE_LEN: usize = CONTROLS + 2 * CAPACITY;

/// Which end of the link this process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// The scheduler's end.
    Engine,
    /// The end of a worker or actor process.
    Worker,
}

/// The mapped memory of one link: the worker's bell and two rings.
#[derive(Debug)]
pub(crate) struct LinkMemory {
    map: MmapRaw,
    file: File,
}

#[derive(Debug)]
#[repr(C, align(64))]
struct Control {
    head: Counter,
    tail: Counter,
    /// The writer has more than there is room for and wants to be rung when there is room.
    starved: AtomicU32,
}

#[derive(Debug)]
#[repr(C, align(64))]
struct Counter(AtomicU64);

/// The bell, then the controls of the ring to the worker and of the ring to the engine.
#[derive(Debug)]
#[repr(C)]
struct Layout {
    bell: Bell,
    controls: [Control; 2],
}

const _: () = assert!(size_of::<Layout>() <= CONTROLS);

impl LinkMemory {
    /// Memory for a new link.
    pub(crate) fn create() -> io::Result<Arc<LinkMemory>> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let file = File::from(rustix::fs::memfd_create("unidist-link", flags)?);
        file.set_len(FILE_LEN as u64)?;
        rustix::fs::fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
        LinkMemory::map(file)
    }

    /// Maps the memory of a link made by another process.
    pub(crate) fn open(file: File) -> io::Result<Arc<LinkMemory>> {
        let sealed = rustix::fs::fcntl_get_seals(&file)?.contains(SealFlags::SHRINK);
        if !sealed || file.metadata()?.len() != FILE_LEN as u64 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "not the memory of a link"));
        }
        LinkMemory::map(file)
    }

    fn map(file: File) -> io::Result<Arc<LinkMemory>> {
        let map = MmapOptions::new().len(FILE_LEN).map_raw(&file)?;
        Ok(Arc::new(LinkMemory { map, file }))
    }

    /// The file, to be handed to the other process.
    pub(crate) fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// The bell of the worker.
    pub(crate) fn bell(&self) -> &Bell {
        &self.layout().bell
    }

    fn layout(&self) -> &Layout {
        // SAFETY: the mapping is page-aligned, long enough (asserted above), lives as long as `self`, and `Layout` is
        // made of atomics only, for which any bytes are valid and which any process may change at any time.
        unsafe { &*self.map.as_ptr().cast::<Layout>() }
    }

    fn data(&self, ring: usize) -> *mut u8 {
        // SAFETY: `ring` is 0 or 1, and the file holds two rings of data behind the controls.
        unsafe { self.map.as_mut_ptr().add(CONTROLS + ring * CAPACITY) }
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

/// The other process has written nonsense into the ring's counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Corrupt;

/// The writing end of a ring.
#[derive(Debug)]
pub(crate) struct Writer {
    memory: Arc<LinkMemory>,
    ring: usize,
    head: u64,
}

impl Writer {
    /// Writes as many of `bytes` as there is room for and returns how many. If that is not all, the reader will ring
    /// as soon as it has made room.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<usize, Corrupt> {
        let mut written = self.write_what_fits(bytes)?;
        while written < bytes.len() {
            // Announced after the last bytes were published: either the reader sees the announcement when it has read
            // them, or this sees the room that it has made.
            self.memory.layout().controls[self.ring].starved.store(1, Ordering::SeqCst);
            match self.write_what_fits(&bytes[written..])? {
                0 => break,
                more => written += more,
            }
        }
        Ok(written)
    }

    /// How many bytes the reader has taken so far, as far as it can be believed.
    pub(crate) fn taken(&self) -> u64 {
        self.memory.layout().controls[self.ring].tail.0.load(Ordering::Acquire).min(self.head)
    }

    /// Whether something could be written (or the counters are nonsense, which writing will tell).
    pub(crate) fn has_room(&self) -> bool {
        let tail = self.memory.layout().controls[self.ring].tail.0.load(Ordering::SeqCst);
        room(self.head, tail) != Ok(0)
    }

    fn write_what_fits(&mut self, bytes: &[u8]) -> Result<usize, Corrupt> {
        let control = &self.memory.layout().controls[self.ring];
        let room = room(self.head, control.tail.0.load(Ordering::SeqCst))?;
        let len = room.min(bytes.len());
        let at = (self.head % CAPACITY as u64) as usize;
        let first = len.min(CAPACITY - at);
        let data = self.memory.data(self.ring);
        // SAFETY: `at + first <= CAPACITY` and `len - first <= at`, so both copies stay inside the ring's data. The
        // reader does not read this part before `head` is published, and this is the only writer.
        unsafe {
            data.add(at).copy_from_nonoverlapping(bytes.as_ptr(), first);
            data.copy_from_nonoverlapping(bytes.as_ptr().add(first), len - first);
        }
        self.head += len as u64;
        control.head.0.store(self.head, Ordering::Release);
        Ok(len)
    }
}

fn room(head: u64, tail: u64) -> Result<usize, Corrupt> {
    match head.checked_sub(tail) {
        Some(unread) if unread <= CAPACITY as u64 => Ok(CAPACITY - unread as usize),
        _ => Err(Corrupt),
    }
}

/// The reading end of a ring.
#[derive(Debug)]
pub(crate) struct Reader {
    memory: Arc<LinkMemory>,
    ring: usize,
    tail: u64,
}

/// What [`Reader::read`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Read {
    /// Bytes read.
    pub(crate) len: usize,
    /// The writer waits for the room that was made: ring for it.
    pub(crate) starved: bool,
}

impl Reader {
    /// Whether there is something to read (or nonsense, which reading will tell).
    pub(crate) fn has_data(&self) -> bool {
        self.memory.layout().controls[self.ring].head.0.load(Ordering::Acquire) != self.tail
    }

    /// Appends everything there is to `out`.
    pub(crate) fn read(&mut self, out: &mut Vec<u8>) -> Result<Read, Corrupt> {
        let control = &self.memory.layout().controls[self.ring];
        let unread = control.head.0.load(Ordering::Acquire).checked_sub(self.tail).ok_or(Corrupt)?;
        if unread > CAPACITY as u64 {
            return Err(Corrupt);
        }
        let len = unread as usize;
        let at = (self.tail % CAPACITY as u64) as usize;
        let first = len.min(CAPACITY - at);
        out.reserve(len);
        let data = self.memory.data(self.ring);
        // SAFETY: both parts lie inside the ring's data; the writer does not touch them before `tail` is published;
        // `out` has room for `len` more bytes, all of which are initialised here.
        unsafe {
            let spare = out.as_mut_ptr().add(out.len());
            spare.copy_from_nonoverlapping(data.add(at), first);
            spare.add(first).copy_from_nonoverlapping(data, len - first);
            out.set_len(out.len() + len);
        }
        self.tail += len as u64;
        control.tail.0.store(self.tail, Ordering::SeqCst);
        let starved = len > 0 && control.starved.load(Ordering::SeqCst) != 0;
        if starved {
            control.starved.store(0, Ordering::SeqCst);
        }
        Ok(Read { len, starved })
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
    fn bytes_come_out_as_they_went_in_around_the_end() {
        let (mut writer, mut reader) = pair();
        let message: Vec<u8> = (0..CAPACITY * 2 / 3).map(|i| i as u8).collect();
        for _ in 0..5 {
            assert_eq!(writer.write(&message), Ok(message.len()));
            let mut out = Vec::new();
            assert_eq!(reader.read(&mut out), Ok(Read { len: message.len(), starved: false }));
            assert_eq!(out, message);
        }
    }

    #[test]
    fn a_full_ring_takes_a_part_and_asks_for_room() {
        let (mut writer, mut reader) = pair();
        let message = vec![1u8; CAPACITY + 10];
        assert_eq!(writer.write(&message), Ok(CAPACITY));
        assert_eq!(writer.write(&message), Ok(0));
        let mut out = Vec::new();
        assert!(reader.read(&mut out).unwrap().starved);
        assert_eq!(writer.write(&message[CAPACITY..]), Ok(10));
        assert_eq!(reader.read(&mut out), Ok(Read { len: 10, starved: false }));
        assert_eq!(out, message);
    }

    #[test]
    fn counters_out_of_bounds_are_an_error() {
        let (mut writer, mut reader) = pair();
        reader.memory.layout().controls[0].head.0.store(CAPACITY as u64 + 1, Ordering::SeqCst);
        assert_eq!(reader.read(&mut Vec::new()), Err(Corrupt));
        writer.memory.layout().controls[0].tail.0.store(7, Ordering::SeqCst);
        assert_eq!(writer.write(&[1]), Err(Corrupt));
    }
}
