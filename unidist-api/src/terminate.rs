//! Saving a program's state before it ends by a signal.

use unidist_config::TerminateGrace;
use unidist_core::{Result, terminate};

/// Runs `hook` when the program is asked to end, by SIGTERM or SIGINT (Ctrl-C), before it ends.
///
/// Batch systems send SIGTERM some time before they kill a job that has reached its time limit. The hook may use the
/// session as any thread of the program: it can get results, call actors and write files. Workers and actors live on
/// meanwhile, and so do the threads of the program: a session that ends in the meantime waits for the hooks.
///
/// Hooks run on a thread of their own, one after the other in the order of these calls. When all have returned, or
/// after `UNIDIST_TERMINATE_GRACE`, the program ends by the signal, as it does without a hook. A second SIGINT ends it at
/// once. A panic in a hook is printed, and the others still run. Hooks belong to the session: when it ends, they are
/// dropped and do not run.
///
/// A signal that the program handles itself, or that it ignores, runs no hook.
///
/// ```
/// use unidist::prelude::*;
///
/// struct Model {
///     steps: u64,
/// }
///
/// #[remote]
/// impl Model {
///     #[new]
///     pub fn new() -> Self {
///         Model { steps: 0 }
///     }
///     pub fn train(&mut self) {
///         self.steps += 1;
///     }
///     pub fn steps(&self) -> u64 {
///         self.steps
///     }
/// }
///
/// fn main() -> unidist::Result<()> {
///     let _session = unidist::init()?;
///     let model = Model::remote();
///     let at_end = model.clone();
///     unidist::on_terminate(move || match get(at_end.steps.remote()) {
///         Ok(steps) => println!("stopped after {steps} steps"), // or write a checkpoint
///         Err(error) => eprintln!("no checkpoint: {error}"),
///     })?;
///     for _ in 0..10 {
///         get(model.train.remote())?;
///     }
///     Ok(())
/// }
/// ```
///
/// # Errors
///
/// There is no session, the process is a worker, `UNIDIST_TERMINATE_GRACE` is invalid, or the system refuses a thread.
pub fn on_terminate(hook: impl FnOnce() + Send + 'static) -> Result<()> {
    terminate::on_terminate(hook, TerminateGrace::get()?)
}
