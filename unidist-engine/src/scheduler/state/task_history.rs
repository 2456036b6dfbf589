//! Who made the objects of late, for the error of one that is not there any more.

use std::sync::Arc;
use unidist_common::{DataId, Returns};

/// How many ended calls are remembered.
const KEPT: usize = 1024;

/// The calls that ended last, with their names.
#[derive(Debug, Default)]
pub(crate) struct TaskHistory {
    calls: Vec<(Returns, Arc<str>)>,
    /// The place of the oldest, once there are as many as are kept.
    oldest: usize,
}

impl TaskHistory {
    pub(crate) fn record(&mut self, returns: Returns, name: Arc<str>) {
        if self.calls.len() < KEPT {
            return self.calls.push((returns, name));
        }
        self.calls[self.oldest] = (returns, name);
        self.oldest = (self.oldest + 1) % KEPT;
    }

    /// The name of the function whose call made this object, and the call, if it is remembered.
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
    fn the_last_are_remembered() {
        let mut history = TaskHistory::default();
        let id = |n: usize| DataId::new(ProcessId::CONTROLLER, 10 * n as u64);
        for n in 0..KEPT + 5 {
            history.record(Returns { first: id(n), count: 2 }, format!("f{n}").into());
        }
        assert_eq!(history.producer_of(id(4)), None);
        assert_eq!(history.producer_of(id(5).nth(1)), Some(("f5", id(5))));
        assert_eq!(history.producer_of(id(KEPT + 4)), Some((&*format!("f{}", KEPT + 4), id(KEPT + 4))));
        assert_eq!(history.producer_of(id(7).nth(2)), None);
    }
}
