//! Queues of pending MPI operations, which own their memory.

use crate::local_store::BufferPool;
use std::collections::VecDeque;
use unidist_mpi_comm::{MpiError, Operation};

/// Operations that complete in the order in which they were started, or are treated as if they did.
#[derive(Default)]
pub(crate) struct OrderedOperations(VecDeque<Operation>);

impl OrderedOperations {
    pub(crate) fn push(&mut self, operation: Operation) {
        self.0.push_back(operation);
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Removes the first one if it has completed.
    pub(crate) fn next_completed(&mut self) -> Result<Option<Operation>, MpiError> {
        let Some(first) = self.0.front_mut() else { return Ok(None) };
        Ok(if first.test()? { self.0.pop_front() } else { None })
    }

    /// Removes completed sends, and recycles their buffers.
    pub(crate) fn recycle_completed(&mut self, buffers: &mut BufferPool) -> Result<(), MpiError> {
        while let Some(sent) = self.next_completed()? {
            if let Some(buffer) = sent.into_message() {
                buffers.put(buffer);
            }
        }
        Ok(())
    }
}

impl IntoIterator for OrderedOperations {
    type Item = Operation;
    type IntoIter = std::collections::vec_deque::IntoIter<Operation>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// Operations with lost hosts. MPI may still use their memory, so it is kept until they complete, if they ever do.
#[derive(Default)]
pub(crate) struct AbandonedOperations(Vec<Operation>);

impl AbandonedOperations {
    /// Takes over operations, and cancels receives.
    pub(crate) fn extend(&mut self, operations: impl IntoIterator<Item = Operation>) {
        for mut operation in operations {
            operation.cancel();
            self.0.push(operation);
        }
    }

    /// Frees the memory of those that have completed.
    pub(crate) fn free_completed(&mut self) {
        // An operation that fails has completed: MPI has freed its request.
        self.0.retain_mut(|operation| matches!(operation.test(), Ok(false)));
    }
}
