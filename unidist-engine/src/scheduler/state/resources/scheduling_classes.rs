//! The scheduling classes: added on first use, removed when unused.

use crate::scheduler::state::fair_share::GroupPlace;
use crate::scheduler::state::resources::{ResourceRequest, Resources, SchedulingClass};
use rustc_hash::FxHashSet;
use std::collections::VecDeque;

/// With fewer classes than this, unused ones are kept.
pub(super) const FEW_CLASSES: usize = 64;

impl Resources {
    pub(super) fn intern(&mut self, request: ResourceRequest) -> SchedulingClass {
        if let Some(class) = self.classes.get(&request) {
            return *class;
        }
        let class = match self.unused.pop() {
            Some(class) => {
                self.requests[class.index()] = request.clone();
                self.queues[class.index()].clear();
                class
            }
            None => {
                self.requests.push(request.clone());
                self.queues.push(VecDeque::new());
                SchedulingClass(self.requests.len() as u32 - 1)
            }
        };
        self.classes.insert(request, class);
        class
    }

    /// Whether there are enough classes to look for unused ones.
    pub(crate) fn is_to_be_swept(&self) -> bool {
        self.classes.len() >= self.sweep_at
    }

    /// Removes all classes but the used ones, and groups without a class.
    pub(crate) fn sweep(&mut self, used: &FxHashSet<SchedulingClass>) {
        let unused = &mut self.unused;
        self.classes.retain(|_, class| {
            let stays = *class == SchedulingClass::DEFAULT || used.contains(class);
            if !stays {
                unused.push(*class);
            }
            stays
        });
        let used: FxHashSet<GroupPlace> = self.classes.keys().map(|request| request.group).collect();
        self.groups.keep(|group| used.contains(&group));
        self.sweep_at = (2 * self.classes.len()).max(FEW_CLASSES);
    }
}
