//! Numbers that all ranks read and change by atomic operations: in shared memory on one host, by one-sided MPI on several.

use crate::call::CallKind;
use crate::deferred_free::DeferredFree;
use crate::memory::AtomicWords;
use crate::network::Window;
use crate::{Communicator, Error, Result};
use std::sync::atomic::{AtomicU64, Ordering};

/// Cells of 64 bits.
#[derive(Debug)]
pub(crate) struct Cells {
    location: Location,
    object: u32,
    communicator: Communicator,
}

#[derive(Debug)]
enum Location {
    SharedMemory(AtomicWords),
    Window(Window),
    Freed,
}

impl Cells {
    /// Creates one cell for each value, with the values of the first rank. Collective; all ranks pass the same number of
    /// values.
    pub(crate) fn new(communicator: &Communicator, values: &[u64]) -> Result<Self> {
        let (object, lengths) = communicator.agree_on_new(CallKind::NewCells, &(values.len() as u64))?;
        check_lengths(lengths.iter().map(|call| call.payload()))?;
        let crosses_hosts = communicator.hosts() > 1;
        let location = match communicator.network() {
            Some(network) if crosses_hosts => Location::Window(network.window(values)?),
            _ => Location::SharedMemory(in_shared_memory(communicator, values)?),
        };
        Ok(Cells { location, object, communicator: communicator.clone() })
    }

    /// Frees the cells. Collective; cells that are dropped instead are freed later.
    ///
    /// # Errors
    ///
    /// Other ranks call something else: then the cells are freed later, too.
    pub(crate) fn free(&mut self) -> Result<()> {
        self.communicator.agree(CallKind::FreeCells, self.object, &())?;
        match &mut std::mem::replace(&mut self.location, Location::Freed) {
            Location::Window(window) => window.free(),
            Location::SharedMemory(_) | Location::Freed => Ok(()),
        }
    }
}

/// Does not wait for other ranks: see [`crate::deferred_free`].
impl Drop for Cells {
    fn drop(&mut self) {
        if let Location::Window(window) = std::mem::replace(&mut self.location, Location::Freed) {
            self.communicator.deferred_frees().add(self.object, DeferredFree::Window(window));
        }
    }
}

/// Atomic operations on numbered cells.
pub(crate) trait AtomicCells {
    /// The value of a cell.
    fn load(&self, cell: usize) -> Result<u64>;

    /// Adds to a cell, modulo 2^64, and returns the previous value.
    fn add(&self, cell: usize, value: u64) -> Result<u64>;

    /// Replaces the value of a cell with `new` if it is `old`, and returns the previous value.
    fn compare_and_swap(&self, cell: usize, old: u64, new: u64) -> Result<u64>;

    /// Replaces the value of a cell, and returns the previous value.
    fn swap(&self, cell: usize, new: u64) -> Result<u64> {
        let mut expected = self.load(cell)?;
        loop {
            match self.compare_and_swap(cell, expected, new)? {
                previous if previous == expected => return Ok(previous),
                previous => expected = previous,
            }
        }
    }
}

impl AtomicCells for [AtomicU64] {
    fn load(&self, cell: usize) -> Result<u64> {
        Ok(get(self, cell)?.load(Ordering::SeqCst))
    }

    fn add(&self, cell: usize, value: u64) -> Result<u64> {
        Ok(get(self, cell)?.fetch_add(value, Ordering::SeqCst))
    }

    fn compare_and_swap(&self, cell: usize, old: u64, new: u64) -> Result<u64> {
        let previous = get(self, cell)?.compare_exchange(old, new, Ordering::SeqCst, Ordering::SeqCst);
        Ok(previous.unwrap_or_else(|previous| previous))
    }
}

fn get(cells: &[AtomicU64], cell: usize) -> Result<&AtomicU64> {
    cells.get(cell).ok_or_else(|| Error::argument("Cells", format!("there is no cell {cell}")))
}

impl AtomicCells for Cells {
    fn load(&self, cell: usize) -> Result<u64> {
        match &self.location {
            Location::SharedMemory(words) => words.numbers().load(cell),
            Location::Window(window) => window.add(cell, 0),
            Location::Freed => Err(freed()),
        }
    }

    fn add(&self, cell: usize, value: u64) -> Result<u64> {
        match &self.location {
            Location::SharedMemory(words) => words.numbers().add(cell, value),
            Location::Window(window) => window.add(cell, value),
            Location::Freed => Err(freed()),
        }
    }

    fn compare_and_swap(&self, cell: usize, old: u64, new: u64) -> Result<u64> {
        match &self.location {
            Location::SharedMemory(words) => words.numbers().compare_and_swap(cell, old, new),
            Location::Window(window) => window.compare_and_swap(cell, old, new),
            Location::Freed => Err(freed()),
        }
    }
}

fn freed() -> Error {
    Error::argument("Cells", "it was freed")
}

fn check_lengths(lengths: impl Iterator<Item = u64>) -> Result<()> {
    let mut lengths = lengths.enumerate();
    let first = lengths.next().map_or(0, |(_, len)| len);
    let other = lengths.find(|(_, len)| *len != first);
    let message = |(rank, len)| format!("rank 0 has {first} values, rank {rank} has {len}");
    other.map_or(Ok(()), |other| Err(Error::Mismatch { message: message(other) }))
}

fn in_shared_memory(communicator: &Communicator, values: &[u64]) -> Result<AtomicWords> {
    let too_many = || Error::Memory { message: format!("{} cells exceed the address space", values.len()) };
    let len = AtomicWords::len(values.len(), 0).ok_or_else(too_many)?;
    let memory = communicator.shared_memory(len)?;
    let words = AtomicWords::new(memory, values.len(), 0).ok_or_else(too_many)?;
    if communicator.rank() == 0 {
        for (cell, value) in words.numbers().iter().zip(values) {
            cell.store(*value, Ordering::Relaxed);
        }
    }
    communicator.barrier()?;
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_work_in_one_process() {
        let mut cells = Cells::new(&Communicator::alone(), &[5, u64::MAX]).unwrap();
        assert_eq!((cells.load(0), cells.add(1, 2), cells.load(1)), (Ok(5), Ok(u64::MAX), Ok(1)));
        assert_eq!((cells.compare_and_swap(0, 4, 9), cells.compare_and_swap(0, 5, 9)), (Ok(5), Ok(5)));
        assert_eq!((cells.swap(0, 1), cells.load(0)), (Ok(9), Ok(1)));
        assert!(cells.load(2).is_err());
        cells.free().unwrap();
        assert!(cells.load(0).is_err());
    }

    #[test]
    fn unequal_lengths_are_refused() {
        assert_eq!(check_lengths([3, 3].into_iter()), Ok(()));
        let error = check_lengths([3, 3, 4].into_iter()).unwrap_err().to_string();
        assert!(error.contains("rank 0 has 3 values, rank 2 has 4"), "{error}");
    }
}
