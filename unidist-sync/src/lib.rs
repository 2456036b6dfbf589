#![doc = include_str!("../README.md")]

mod atomic;
mod backoff;
mod doorbell;
mod exponential_backoff;
mod flow_control;
pub mod futex;
mod idle_wait;
mod mapping;
#[cfg(all(test, unidist_loom))]
mod models;
mod poll_backoff;
mod shared_memory;
mod spin_limit;
mod system_call;
mod wake_batch;

pub use backoff::Backoff;
pub use doorbell::{Doorbell, SleepToken, Sleeper};
pub use exponential_backoff::ExponentialBackoff;
pub use flow_control::{CorruptCounters, FlowControl, Part, Received};
pub use idle_wait::{IdleWait, time_until};
pub use mapping::{Mapping, ReadOnlyMapping};
pub use poll_backoff::{PollBackoff, PreciseTimers};
pub use shared_memory::SharedMemory;
pub use spin_limit::{MAX_SPIN, SpinLimit, spin_briefly, spin_until};
pub use system_call::{SystemCallError, error_number, with_cause};
pub use wake_batch::WakeBatch;
