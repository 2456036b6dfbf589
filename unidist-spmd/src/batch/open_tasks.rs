//! The states of all tasks, and those that may be open as a stack from which all ranks take.
//!
//! Of `n` tasks, in `2 n + 2` cells:
//!
//! | cells          | each holds                                                                                  |
//! |----------------|---------------------------------------------------------------------------------------------|
//! | `0 .. n`       | a task: its state in the low 8 bits; bit 8 says that it is listed, that is, in the stack    |
//! | `n .. 2 n`     | a link: the number of the listed task below, from 1; 0 if it is the lowest                  |
//! | `2 n`          | the top: the number of the highest listed task in the low 32 bits, a tag in the high ones   |
//! | `2 n + 1`      | when somebody last looked for tasks elsewhere, in milliseconds                              |
//!
//! Who changes what:
//!
//! 1. A task's cell is changed by compare-and-swap alone, by any rank.
//! 2. Who sets its bit "listed" pushes it, and until that is done nobody else writes its link.
//! 3. Who takes it from the top clears the bit, in one step with the change from open to running.
//! 4. A listed task that is not open any more stays where it is until it is taken, and is then let go.
//! 5. Each change of the top changes its tag, so that a top with the same task, but another one below, is not mistaken
//!    for the one that was read.
//!
//! So each task is taken once for each time it was listed, and handed out only if it is open then: the cost of a call
//! does not depend on the number of tasks.

use super::TaskState;
use crate::Result;
use crate::cells::AtomicCells;

/// In a task's cell: it is in the stack.
const LISTED: u64 = 1 << 8;

/// The most tasks there can be: the number of one has 32 bits, and 0 is none.
pub(super) const MAX_TASKS: usize = u32::MAX as usize - 1;

/// The states of all tasks, and the stack.
pub(super) struct OpenTasks<C> {
    cells: C,
    n_tasks: usize,
}

/// CallKind the cells hold in the beginning: the open tasks are listed, the first one on top.
pub(super) fn first_values(states: &[TaskState], now: u64) -> Vec<u64> {
    let words = states.iter().map(|&state| match state {
        TaskState::Open => code(state) | LISTED,
        _ => code(state),
    });
    let mut values: Vec<u64> = words.collect();
    values.resize(number_of_cells(states.len()), 0);
    let mut top = 0;
    for task in (0..states.len()).rev().filter(|&task| states[task] == TaskState::Open) {
        values[states.len() + task] = top;
        top = number(task);
    }
    values[2 * states.len()] = top;
    values[2 * states.len() + 1] = now;
    values
}

/// How many cells so many tasks need.
pub(super) fn number_of_cells(n_tasks: usize) -> usize {
    2 * n_tasks + 2
}

impl<C: AtomicCells> OpenTasks<C> {
    /// On cells that hold the [`first_values`] of so many tasks.
    pub(super) fn new(cells: C, n_tasks: usize) -> OpenTasks<C> {
        OpenTasks { cells, n_tasks }
    }

    /// How many tasks there are, of whatever state.
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

    /// Takes an open task, which is running from then on; `None` if there is none.
    pub(super) fn take(&self) -> Result<Option<usize>> {
        while let Some(task) = self.pop()? {
            let open = code(TaskState::Open);
            let was = self.change(task, open | LISTED, |word| match state_in(word) {
                TaskState::Open => code(TaskState::Running),
                state => code(state),
            })?;
            if state_in(was) == TaskState::Open {
                return Ok(Some(task));
            }
        }
        Ok(None)
    }

    /// Sets the state of a task if `change` gives another for the one it has, and returns the one it had.
    ///
    /// A task that becomes open is the next to be taken.
    pub(super) fn set(
        &self,
        task: usize,
        change: impl Fn(TaskState) -> Option<TaskState>,
    ) -> Result<TaskState> {
        let new_word = |word| match change(state_in(word)) {
            Some(TaskState::Open) => code(TaskState::Open) | LISTED,
            Some(state) => code(state) | (word & LISTED),
            None => word,
        };
        let was = self.change(task, code(TaskState::Running), new_word)?;
        if new_word(was) & LISTED != was & LISTED {
            self.push(task)?;
        }
        Ok(state_in(was))
    }

    /// Makes a task open, whatever it was.
    pub(super) fn open(&self, task: usize) -> Result<()> {
        self.set(task, |_| Some(TaskState::Open)).map(drop)
    }

    /// Whether so many milliseconds have passed since this was last true on any rank (or since the beginning).
    pub(super) fn is_time_to_look(&self, now: u64, every: u64) -> Result<bool> {
        let at = 2 * self.n_tasks + 1;
        let last = self.cells.load(at)?;
        // A clock that was set back, or is another host's, must not make this never true.
        let due = now.abs_diff(last) >= every;
        Ok(due && self.cells.compare_and_swap(at, last, now)? == last)
    }

    /// Replaces a task's word and returns the old one. `guess` is what it probably is: if so, one operation is enough.
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

/// A task as links and the top name it.
fn number(task: usize) -> u64 {
    task as u64 + 1
}

/// The task that a link or the top names.
fn numbered(word: u64) -> Option<usize> {
    (word as u32 as usize).checked_sub(1)
}

/// The top that follows on this one.
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
