#![doc = include_str!("../README.md")]

mod atomic;
mod backoff;
mod doorbell;
mod flow_control;
pub mod futex;
#[cfg(all(test, unidist_loom))]
mod models;
mod poll_backoff;
mod shared_memory;
mod spin_limit;
mod wake_batch;

pub use backoff::Backoff;
pub use doorbell::{Doorbell, SleepToken, Sleeper};
pub use flow_control::{CorruptCounters, FlowControl, Part, Received};
pub use poll_backoff::{PollBackoff, PreciseTimers};
pub use shared_memory::{Mapping, SharedMemory};
pub use spin_limit::{SpinLimit, spin_briefly};
pub use wake_batch::WakeBatch;
