//! The primitives of a model. A sleep has no time-out here, so a lost wake-up is a deadlock, which loom reports.
//!
//! loom treats sequentially consistent loads and stores as acquire and release; only its fences are sequentially
//! consistent. So a store has a fence after it here and a load one before it, as compilers translate them for hardware.

use ::loom::sync::{Condvar, Mutex, atomic};
use std::cell::Cell;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// A part of the protocol that a model leaves out, to show that it is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The explicit fences of the protocols.
    Fences,
    /// The total order of sequentially consistent stores and loads.
    TotalOrder,
}

thread_local! {
    /// loom runs all threads of a model on the thread of the test.
    static FAULT: Cell<Option<Fault>> = const { Cell::new(None) };
}

/// Runs a model with this fault.
pub(crate) fn with_fault(fault: Fault, model: impl FnOnce()) {
    FAULT.set(Some(fault));
    model();
}

fn has(fault: Fault) -> bool {
    FAULT.get() == Some(fault)
}

/// A fence that is part of a protocol.
pub(crate) fn fence(order: Ordering) {
    if !has(Fault::Fences) {
        atomic::fence(order);
    }
}

fn total_order(order: Ordering) {
    if order == Ordering::SeqCst && !has(Fault::TotalOrder) {
        atomic::fence(order);
    }
}

macro_rules! atomics {
    ($($name:ident: $value:ty),+) => {$(
        #[derive(Debug, Default)]
        pub(crate) struct $name(atomic::$name);

        #[allow(dead_code, reason = "models use only some of the operations")]
        impl $name {
            pub(crate) fn load(&self, order: Ordering) -> $value {
                total_order(order);
                self.0.load(order)
            }

            pub(crate) fn store(&self, value: $value, order: Ordering) {
                self.0.store(value, order);
                total_order(order);
            }

            pub(crate) fn compare_exchange(
                &self,
                current: $value,
                new: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                self.0.compare_exchange(current, new, success, failure)
            }
        }
    )+};
}

atomics!(AtomicU32: u32, AtomicU64: u64);

/// A futex: the kernel compares and starts the sleep in one step, and wakes in one.
#[derive(Debug, Default)]
pub(crate) struct WakeCounter {
    value: atomic::AtomicU32,
    kernel: Mutex<()>,
    woken: Condvar,
}

impl WakeCounter {
    pub(crate) fn load(&self) -> u32 {
        self.value.load(Ordering::SeqCst)
    }

    pub(crate) fn wake(&self) {
        self.value.fetch_add(1, Ordering::SeqCst);
        let _kernel = self.kernel.lock().unwrap();
        self.woken.notify_one();
    }

    pub(crate) fn sleep(&self, seen: u32, _: Duration) {
        let kernel = self.kernel.lock().unwrap();
        if self.value.load(Ordering::SeqCst) == seen {
            drop(self.woken.wait(kernel).unwrap());
        }
    }
}
