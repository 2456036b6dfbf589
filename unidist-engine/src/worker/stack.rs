//! The stack of the task thread: whether it has room for a call on top of a waiting one.
//!
//! Invariant: a call that starts on top of others finds at least half of the stack unused, so what runs alone runs nested,
//! too, unless it needs more than that.

use super::runtime::end_of_stack;

/// The stack of a thread.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stack {
    /// Calls start above this address.
    middle: usize,
}

impl Stack {
    /// The stack of this thread, which has used little of it so far.
    pub(super) fn of_this_thread() -> Self {
        let top = address();
        // Where the end is unknown, calls nest as if there were no end.
        let end = end_of_stack().unwrap_or(0);
        Stack { middle: top - top.saturating_sub(end) / 2 }
    }

    /// Whether a call can run on top of the code that asks.
    pub(super) fn has_room(self) -> bool {
        address() > self.middle
    }
}

/// An address at the top of the stack.
#[inline(never)]
fn address() -> usize {
    let local = 0_u8;
    std::ptr::from_ref(std::hint::black_box(&local)).addr()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: usize = 1 << 20;

    fn descend(stack: Stack, levels: usize) -> usize {
        let frame = std::hint::black_box([0_u8; 4096]);
        match stack.has_room() {
            true => descend(stack, levels + 1) + usize::from(frame[17]),
            false => levels,
        }
    }

    #[test]
    fn room_ends_in_the_middle_of_the_stack() {
        let thread = std::thread::Builder::new().stack_size(SIZE);
        let levels = thread.spawn(|| descend(Stack::of_this_thread(), 0)).unwrap().join().unwrap();
        let pages = SIZE / 4096;
        assert!((pages / 8..=pages / 2).contains(&levels), "{levels} of {pages} pages");
    }
}
