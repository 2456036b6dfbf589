//! Recently finished tasks, used to name the producer of a freed object.

use std::sync::Arc;
use unidist_common::{DataId, Returns};

/// How many finished calls are remembered.
const CAPACITY: usize = 1024;

/// The calls that finished last, with their names.
#[derive(Debug, Default)]
pub(crate) struct TaskHistory {
    calls: Vec<(Returns, Arc<str>)>,
    /// The place of the oldest, once the history is full.
    oldest: usize,
}

impl TaskHistory {
    pub(crate) fn record(&mut self, returns: Returns, name: Arc<str>) {
        if self.calls.len() < CAPACITY {
            return self.calls.push((returns, name));
        }
        self.calls[self.oldest] = (returns, name);
        self.oldest = (self.oldest + 1) % CAPACITY;
    }

    /// The function and the call that made this object, if remembered.
    pub(crate) fn producer_of(&self, id: DataId) -> Option<(&str, DataId)> {
        let made = |(returns, _): &&(Returns, Arc<str>)| returns.ids().any(|result| result == id);
        self.calls.iter().find(made).map(|(returns, name)| (&**name, returns.first))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use unidist_common::ProcessId;

    #[test]
    fn history_remembers_the_last_calls() {
        let mut history = TaskHistory::default();
        let id = |n: usize| DataId::new(ProcessId::CONTROLLER, 10 * n as u64);
        for n in 0..CAPACITY + 5 {
            history.record(Returns { first: id(n), count: 2 }, format!("f{n}").into());
        }
        assert_eq!(history.producer_of(id(4)), None);
        assert_eq!(history.producer_of(id(5).nth(1)), Some(("f5", id(5))));
        assert_eq!(
            history.producer_of(id(CAPACITY + 4)),
            Some((&*format!("f{}", CAPACITY + 4), id(CAPACITY + 4)))
        );
        assert_eq!(history.producer_of(id(7).nth(2)), None);
    }
}
