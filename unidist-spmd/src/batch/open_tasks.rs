//! The states of all tasks, and a stack of those that may be open, from which all ranks take.
//!
//! Of `n` tasks, in `2 n + 2` cells:
//!
//! | cells          | each holds                                                                                  |
//! |----------------|---------------------------------------------------------------------------------------------|
//! | `0 .. n`       | a task: its state in the low 8 bits; bit 8 is set while it is on the stack                  |
//! | `n .. 2 n`     | a link: the number of the task below on the stack, from 1; 0 if it is the lowest            |
//! | `2 n`          | the top: the number of the highest task in the low 32 bits, a tag in the high ones          |
//! | `2 n + 1`      | the time of the last scan of the directory, in milliseconds                                 |
//!
//! The protocol:
//!
//! 1. Any rank changes the cell of a task, by compare-and-swap only.
//! 2. The rank that sets the stack bit pushes the task, and until that is done no other rank writes its link.
//! 3. The rank that pops the task clears the bit, in one step with the change from open to running.
//! 4. A task on the stack that is no longer open stays there until it is popped, and is then discarded.
//! 5. Each change of the top changes its tag, which avoids the ABA problem: a top with the same task, but another one below,
//!    is not mistaken for the one that was read.
//!
//! So each task is popped once for each push, and handed out only if it is open then: the cost of a call does not depend on
//! the number of tasks.

use super::TaskState;
use crate::Result;
use crate::cells::AtomicCells;

/// The stack bit of a task.
const ON_STACK: u64 = 1 << 8;

/// The maximal number of tasks: a task number has 32 bits, and 0 means none.
pub(super) const MAX_TASKS: usize = u32::MAX as usize - 1;

/// The states of all tasks, and the stack.
pub(super) struct OpenTasks<C> {
    cells: C,
    n_tasks: usize,
}

/// The initial values of the cells: the open tasks are on the stack, the first one on top.
pub(super) fn initial_values(states: &[TaskState], now: u64) -> Vec<u64> {
    let words = states.iter().map(|&state| match state {
        TaskState::Open => code(state) | ON_STACK,
        _ => code(state),
    });
    let mut values: Vec<u64> = words.collect();
    values.resize(cell_count(states.len()), 0);
    let mut top = 0;
    for task in (0..states.len()).rev().filter(|&task| states[task] == TaskState::Open) {
        values[states.len() + task] = top;
        top = number(task);
    }
    values[2 * states.len()] = top;
    values[2 * states.len() + 1] = now;
    values
}

/// The number of cells for this many tasks.
pub(super) fn cell_count(n_tasks: usize) -> usize {
    2 * n_tasks + 2
}

impl<C: AtomicCells> OpenTasks<C> {
    /// On cells with the [`initial_values`] of this many tasks.
    pub(super) fn new(cells: C, n_tasks: usize) -> OpenTasks<C> {
        OpenTasks { cells, n_tasks }
    }

    /// The number of tasks in any state.
    pub(super) fn n_tasks(&self) -> usize {
        self.n_tasks
    }

    /// The cells.
    #[cfg(test)]
    pub(super) fn cells(&self) -> &C {
        &self.cells
    }

    /// The cells, to free them.
    pub(super) fn cells_mut(&mut self) -> &mut C {
        &mut self.cells
    }

    /// The state of a task.
    pub(super) fn state(&self, task: usize) -> Result<TaskState> {
        self.cells.load(task).map(state_in)
    }

    /// Takes an open task and marks it as running; `None` if no task is open.
    pub(super) fn take(&self) -> Result<Option<usize>> {
        while let Some(task) = self.pop()? {
            let open = code(TaskState::Open);
            let was = self.change(task, open | ON_STACK, |word| match state_in(word) {
                TaskState::Open => code(TaskState::Running),
                state => code(state),
            })?;
            if state_in(was) == TaskState::Open {
                return Ok(Some(task));
            }
        }
        Ok(None)
    }

    /// Sets the state of a task if `change` returns a new one for the old one. Returns the old state.
    ///
    /// A task that becomes open is the next one to be taken.
    pub(super) fn set(
        &self,
        task: usize,
        change: impl Fn(TaskState) -> Option<TaskState>,
    ) -> Result<TaskState> {
        let new_word = |word| match change(state_in(word)) {
            Some(TaskState::Open) => code(TaskState::Open) | ON_STACK,
            Some(state) => code(state) | (word & ON_STACK),
            None => word,
        };
        let was = self.change(task, code(TaskState::Running), new_word)?;
        if new_word(was) & ON_STACK != was & ON_STACK {
            self.push(task)?;
        }
        Ok(state_in(was))
    }

    /// Opens a task, whatever its state is.
    pub(super) fn open(&self, task: usize) -> Result<()> {
        self.set(task, |_| Some(TaskState::Open)).map(drop)
    }

    /// Whether `every` milliseconds have passed since this was last true on any rank, or since the beginning.
    pub(super) fn scan_due(&self, now: u64, every: u64) -> Result<bool> {
        let at = 2 * self.n_tasks + 1;
        let last = self.cells.load(at)?;
        // The absolute difference, so that a clock that was set back does not keep this false.
        let due = now.abs_diff(last) >= every;
        Ok(due && self.cells.compare_and_swap(at, last, now)? == last)
    }

    /// Replaces the word of a task and returns the old one. `guess` is the expected word: if it is right, one operation is enough.
    fn change(&self, task: usize, guess: u64, new_word: impl Fn(u64) -> u64) -> Result<u64> {
        let mut old = guess;
        loop {
            let there = self.cells.compare_and_swap(task, old, new_word(old))?;
            if there == old {
                return Ok(old);
            }
            old = there;
        }
    }

    fn pop(&self) -> Result<Option<usize>> {
        let mut top = self.cells.load(self.top())?;
        while let Some(task) = numbered(top) {
            let below = self.cells.load(self.link(task))?;
            let there = self.cells.compare_and_swap(self.top(), top, with_next_tag(top, below))?;
            if there == top {
                return Ok(Some(task));
            }
            top = there;
        }
        Ok(None)
    }

    fn push(&self, task: usize) -> Result<()> {
        let mut link = self.cells.load(self.link(task))?;
        let mut top = self.cells.load(self.top())?;
        loop {
            let below = top & u64::from(u32::MAX);
            self.cells.compare_and_swap(self.link(task), link, below)?;
            link = below;
            let there = self.cells.compare_and_swap(self.top(), top, with_next_tag(top, number(task)))?;
            if there == top {
                return Ok(());
            }
            top = there;
        }
    }

    fn link(&self, task: usize) -> usize {
        self.n_tasks + task
    }

    fn top(&self) -> usize {
        2 * self.n_tasks
    }
}

/// The number of a task in links and in the top.
fn number(task: usize) -> u64 {
    task as u64 + 1
}

/// The task with the number in a link or in the top.
fn numbered(word: u64) -> Option<usize> {
    (word as u32 as usize).checked_sub(1)
}

/// The next top, with another tag.
fn with_next_tag(top: u64, number: u64) -> u64 {
    let tag = (top >> 32) as u32;
    u64::from(tag.wrapping_add(1)) << 32 | number
}

fn code(state: TaskState) -> u64 {
    match state {
        TaskState::Invalid => 0,
        TaskState::Open => 1,
        TaskState::Running => 2,
        TaskState::Done => 3,
        TaskState::Failed => 4,
    }
}

fn state_in(word: u64) -> TaskState {
    match word as u8 {
        1 => TaskState::Open,
        2 => TaskState::Running,
        3 => TaskState::Done,
        4 => TaskState::Failed,
        _ => TaskState::Invalid,
    }
}

#[cfg(test)]
#[path = "open_tasks_tests.rs"]
mod tests;
