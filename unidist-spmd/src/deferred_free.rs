//! MPI resources of dropped locks and batches, kept until all ranks have dropped them.
//!
//! Freeing is collective, but each rank drops its part whenever it likes, also while it unwinds, and no rank waits for it
//! then. In every collective call, each rank reports what it has dropped, and what all ranks have dropped is freed. When a
//! rank drops the communicator, the rest stays until the job ends, and serves the ranks that still use it.

use crate::call::Call;
use crate::network::{Tokens, Window};
use std::cell::RefCell;
use std::collections::BTreeMap;

/// The number of objects that one call reports.
pub(crate) const MAX_REPORTED: usize = 8;

/// A resource that all ranks free together.
#[derive(Debug)]
pub(crate) enum DeferredFree {
    Window(Window),
    Tokens(Tokens),
}

impl DeferredFree {
    fn free(&mut self) {
        let freed = match self {
            DeferredFree::Window(window) => window.free(),
            DeferredFree::Tokens(tokens) => tokens.free(),
        };
        if let Err(error) = freed {
            log::error!("MPI cannot free the memory of a dropped lock or batch: {error}");
        }
    }
}

/// By the numbers of the objects that they belonged to.
#[derive(Debug, Default)]
pub(crate) struct DeferredFrees(RefCell<BTreeMap<u32, DeferredFree>>);

impl DeferredFrees {
    pub(crate) fn add(&self, object: u32, resource: DeferredFree) {
        self.0.borrow_mut().insert(object, resource);
    }

    /// What to report in the next call: the lowest numbers, padded with zeros.
    pub(crate) fn report(&self) -> [u32; MAX_REPORTED] {
        let mut report = [0; MAX_REPORTED];
        report.iter_mut().zip(self.0.borrow().keys()).for_each(|(to, object)| *to = *object);
        report
    }

    /// Frees what all ranks have reported. All of them call this, after the same call.
    pub(crate) fn free_common(&self, calls: &[Call]) {
        for object in common(calls.iter().map(Call::dropped)) {
            let resource = self.0.borrow_mut().remove(&object);
            resource.into_iter().for_each(|mut resource| resource.free());
        }
    }
}

/// The numbers that are in all lists, in order.
fn common(mut lists: impl Iterator<Item = [u32; MAX_REPORTED]>) -> Vec<u32> {
    let mut common: Vec<u32> = lists.next().into_iter().flatten().filter(|object| *object != 0).collect();
    lists.for_each(|list| common.retain(|object| list.contains(object)));
    common
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_dropped_by_all_ranks_are_common() {
        let list = |objects: &[u32]| {
            let mut list = [0; MAX_REPORTED];
            list[..objects.len()].copy_from_slice(objects);
            list
        };
        assert_eq!(common([list(&[1, 3, 5]), list(&[3, 5]), list(&[2, 3, 4, 5])].into_iter()), [3, 5]);
        assert_eq!(common([list(&[1]), list(&[])].into_iter()), []);
        assert_eq!(common([].into_iter()), []);
    }
}
