//! What MPI holds for locks and batches that were dropped, until all ranks have dropped them.
//!
//! Each rank drops its part when it likes, also on its way out of something that has failed; nobody waits for it then.
//! Whenever all ranks call something together, each says what it has dropped, and what all of them have is freed. What is
//! left when a rank drops the communicator stays until the job ends, and serves those that still use it.

use crate::call::Call;
use crate::network::{Tokens, Window};
use std::cell::RefCell;
use std::collections::BTreeMap;

/// So many are told of in one call.
pub(crate) const TOLD: usize = 8;

/// Something that is freed by all ranks together.
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
            log::error!("what a lock or batch has used cannot be freed: {error}");
        }
    }
}

/// By the numbers of what they belonged to.
#[derive(Debug, Default)]
pub(crate) struct DeferredFrees(RefCell<BTreeMap<u32, DeferredFree>>);

impl DeferredFrees {
    pub(crate) fn add(&self, object: u32, leftover: DeferredFree) {
        self.0.borrow_mut().insert(object, leftover);
    }

    /// The first ones, and zeros.
    pub(crate) fn told(&self) -> [u32; TOLD] {
        let mut told = [0; TOLD];
        told.iter_mut().zip(self.0.borrow().keys()).for_each(|(to, object)| *to = *object);
        told
    }

    /// Frees what all ranks have told of. All of them call this, after the same call.
    pub(crate) fn free_what_all_have(&self, calls: &[Call]) {
        for object in common(calls.iter().map(Call::dropped)) {
            let leftover = self.0.borrow_mut().remove(&object);
            leftover.into_iter().for_each(|mut leftover| leftover.free());
        }
    }
}

/// What is in all lists, in order.
fn common(mut lists: impl Iterator<Item = [u32; TOLD]>) -> Vec<u32> {
    let mut common: Vec<u32> = lists.next().into_iter().flatten().filter(|object| *object != 0).collect();
    lists.for_each(|list| common.retain(|object| list.contains(object)));
    common
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_all_have_dropped() {
        let list = |objects: &[u32]| {
            let mut list = [0; TOLD];
            list[..objects.len()].copy_from_slice(objects);
            list
        };
        assert_eq!(common([list(&[1, 3, 5]), list(&[3, 5]), list(&[2, 3, 4, 5])].into_iter()), [3, 5]);
        assert_eq!(common([list(&[1]), list(&[])].into_iter()), []);
        assert_eq!(common([].into_iter()), []);
    }
}
