//! Numbers on the first rank that all ranks read and change, each operation at once: in memory that all share where they
//! are on one host, by one-sided MPI else.

use crate::call::What;
use crate::deferred_free::DeferredFree;
use crate::memory::{Memory, Words};
use crate::network::Window;
use crate::{Communicator, Error, Result};
use std::sync::atomic::{AtomicU64, Ordering};

/// Cells of 64 bits.
#[derive(Debug)]
pub(crate) struct Cells {
    place: Place,
    object: u32,
    communicator: Communicator,
}

#[derive(Debug)]
enum Place {
    Host(Words),
    Far(Window),
    Freed,
}

impl Cells {
    /// As many cells as there are values, with those of the first rank. Collective, with as many values on all ranks.
    pub(crate) fn new(communicator: &Communicator, values: &[u64]) -> Result<Self> {
        let (object, lengths) = communicator.agree_on_new(What::NewCells, &(values.len() as u64))?;
        check_lengths(lengths.iter().map(|call| call.payload()))?;
        let is_far = communicator.hosts() > 1;
        let place = match communicator.network() {
            Some(network) if is_far => Place::Far(network.window(values)?),
            _ => Place::Host(on_host(communicator, values)?),
        };
        Ok(Cells { place, object, communicator: communicator.clone() })
    }

    /// Ends the cells. Collective; those that are dropped are ended later.
    ///
    /// # Errors
    ///
    /// Other ranks do something else: then the cells are ended later, too.
    pub(crate) fn free(&mut self) -> Result<()> {
        self.communicator.agree(What::DropCells, self.object, &())?;
        match &mut std::mem::replace(&mut self.place, Place::Freed) {
            Place::Far(window) => window.free(),
            Place::Host(_) | Place::Freed => Ok(()),
        }
    }
}

/// It waits for nobody: see [`crate::deferred_free`].
impl Drop for Cells {
    fn drop(&mut self) {
        if let Place::Far(window) = std::mem::replace(&mut self.place, Place::Freed) {
            self.communicator.deferred_frees().add(self.object, DeferredFree::Window(window));
        }
    }
}

/// Numbers that many change, each operation at once.
pub(crate) trait Atomics {
    /// What is in a cell.
    fn load(&self, cell: usize) -> Result<u64>;

    /// Adds to a cell, and gives what was there. What is too much for 64 bits is left out.
    fn add(&self, cell: usize, value: u64) -> Result<u64>;

    /// Replaces what is in a cell if that is `old`, and gives what was there.
    fn compare_and_swap(&self, cell: usize, old: u64, new: u64) -> Result<u64>;

    /// Replaces what is in a cell, and gives what was there.
    fn swap(&self, cell: usize, new: u64) -> Result<u64> {
        let mut expected = self.load(cell)?;
        loop {
            match self.compare_and_swap(cell, expected, new)? {
                was if was == expected => return Ok(was),
                was => expected = was,
            }
        }
    }
}

impl Atomics for [AtomicU64] {
    fn load(&self, cell: usize) -> Result<u64> {
        Ok(one(self, cell)?.load(Ordering::SeqCst))
    }

    fn add(&self, cell: usize, value: u64) -> Result<u64> {
        Ok(one(self, cell)?.fetch_add(value, Ordering::SeqCst))
    }

    fn compare_and_swap(&self, cell: usize, old: u64, new: u64) -> Result<u64> {
        let was = one(self, cell)?.compare_exchange(old, new, Ordering::SeqCst, Ordering::SeqCst);
        Ok(was.unwrap_or_else(|was| was))
    }
}

fn one(cells: &[AtomicU64], cell: usize) -> Result<&AtomicU64> {
    cells.get(cell).ok_or_else(|| Error::argument("Cells", format!("there is no cell {cell}")))
}

impl Atomics for Cells {
    fn load(&self, cell: usize) -> Result<u64> {
        match &self.place {
            Place::Host(words) => words.numbers().load(cell),
            Place::Far(window) => window.add(cell, 0),
            Place::Freed => Err(freed()),
        }
    }

    fn add(&self, cell: usize, value: u64) -> Result<u64> {
        match &self.place {
            Place::Host(words) => words.numbers().add(cell, value),
            Place::Far(window) => window.add(cell, value),
            Place::Freed => Err(freed()),
        }
    }

    fn compare_and_swap(&self, cell: usize, old: u64, new: u64) -> Result<u64> {
        match &self.place {
            Place::Host(words) => words.numbers().compare_and_swap(cell, old, new),
            Place::Far(window) => window.compare_and_swap(cell, old, new),
            Place::Freed => Err(freed()),
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

fn on_host(communicator: &Communicator, values: &[u64]) -> Result<Words> {
    let too_many = || Error::Memory { message: format!("{} cells are too many", values.len()) };
    let len = Words::len(values.len(), 0).ok_or_else(too_many)?;
    let memory: Memory = communicator.memory(len)?;
    let words = Words::new(memory, values.len(), 0).ok_or_else(too_many)?;
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
    fn cells_of_one_process() {
        let mut cells = Cells::new(&Communicator::alone(), &[5, u64::MAX]).unwrap();
        assert_eq!((cells.load(0), cells.add(1, 2), cells.load(1)), (Ok(5), Ok(u64::MAX), Ok(1)));
        assert_eq!((cells.compare_and_swap(0, 4, 9), cells.compare_and_swap(0, 5, 9)), (Ok(5), Ok(5)));
        assert_eq!((cells.swap(0, 1), cells.load(0)), (Ok(9), Ok(1)));
        assert!(cells.load(2).is_err());
        cells.free().unwrap();
        assert!(cells.load(0).is_err());
    }

    #[test]
    fn other_lengths_are_refused() {
        assert_eq!(check_lengths([3, 3].into_iter()), Ok(()));
        let error = check_lengths([3, 3, 4].into_iter()).unwrap_err().to_string();
        assert!(error.contains("rank 0 has 3 values, rank 2 has 4"), "{error}");
    }
}
