//! What is under way in MPI, and keeps its memory.

use crate::local_store::LocalStore;
use std::collections::VecDeque;
use unidist_mpi_comm::{MpiError, Operation};

/// Operations that end in the order in which they began, or are looked at as if they did.
#[derive(Default)]
pub(crate) struct InOrder(VecDeque<Operation>);

impl InOrder {
    pub(crate) fn push(&mut self, operation: Operation) {
        self.0.push_back(operation);
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The first one, if it has ended.
    pub(crate) fn next_ended(&mut self) -> Result<Option<Operation>, MpiError> {
        let Some(first) = self.0.front_mut() else { return Ok(None) };
        Ok(if first.test()? { self.0.pop_front() } else { None })
    }

    /// Forgets messages that were sent; their buffers are used again.
    pub(crate) fn recycle_ended(&mut self, store: &mut LocalStore) -> Result<(), MpiError> {
        while let Some(sent) = self.next_ended()? {
            if let Some(buffer) = sent.into_message() {
                store.give(buffer);
            }
        }
        Ok(())
    }
}

impl IntoIterator for InOrder {
    type Item = Operation;
    type IntoIter = std::collections::vec_deque::IntoIter<Operation>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// What was under way with a host that is lost. MPI may still read or write the memory, so that is kept until MPI says
/// it has done with it, and for ever if it never does.
#[derive(Default)]
pub(crate) struct Abandoned(Vec<Operation>);

impl Abandoned {
    /// Takes over operations; receivings are cancelled.
    pub(crate) fn take(&mut self, operations: impl IntoIterator<Item = Operation>) {
        for mut operation in operations {
            operation.cancel();
            self.0.push(operation);
        }
    }

    /// Frees the memory of those that have ended meanwhile.
    pub(crate) fn sweep(&mut self) {
        // One whose end is an error has ended: MPI has given its request back.
        self.0.retain_mut(|operation| matches!(operation.test(), Ok(false)));
    }
}
