//! Programs that are MPI programs themselves, and have unidist work on a communicator of theirs.

use crate::init::Session;
use crate::{entry, init};
use unidist_core::session;
use unidist_core::{Error, PROGRAM, Result, registry};

pub use unidist_mpi::AnyCommunicator;

/// Starts a session on the ranks of a communicator: the root gets it, every other rank serves it and gets `None` when it has
/// ended. All ranks call this, with the same root; the program has initialised MPI, and goes on with it afterwards.
///
/// Each rank but the root stands for a CPU slot on its host: workers are processes of their own, beside the ranks, and know
/// nothing of MPI. A communicator of one rank has one slot.
///
/// While the session lasts, unidist calls MPI on the root and on one rank of each other host. If the program calls MPI
/// meanwhile, it has to have initialised it with `MPI_THREAD_MULTIPLE`; else `MPI_THREAD_SERIALIZED` is enough.
///
/// ```ignore (it needs the crate `mpi`, and is a program of several ranks: `tests/guest` is one that runs)
/// use mpi::traits::Communicator;
/// use unidist::prelude::*;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (universe, _) = mpi::initialize_with_threading(mpi::Threading::Multiple).ok_or("MPI is there already")?;
/// let world = universe.world();
/// if let Some(_session) = unidist::mpi::init_on(&world, 0)? {
///     let squares = unidist::map(|x: i64| x * x, 0..100);
///     println!("{:?}", get(&squares)?);
/// }
/// // All ranks go on from here, each with its part.
/// println!("rank {} of {}", world.rank(), world.size());
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// On some rank there is a session already or a setting is wrong, there is no such root, MPI was initialised at a lower
/// level, the ranks do not run the same executable, or the engine cannot start. On a rank that serves: the root was lost.
pub fn init_on<C: AnyCommunicator>(communicator: &C, root: usize) -> Result<Option<Session>> {
    entry::serve_if_worker();
    let is_open = session::is_installed();
    let taken = || Error::InvalidArgument {
        call: "init_on".to_owned(),
        message: "there is a session already: end it first, or use it".to_owned(),
    };
    // A rank that cannot take part says so to the others, which wait for it else.
    let settings = if is_open { Err(taken()) } else { registry::validate().and_then(|()| init::resolve()) };
    let started = unidist_mpi::start_on(communicator, root, settings, PROGRAM);
    match started {
        Ok(Some(backend)) => init::open(|| Ok(backend)).map(Some),
        ended => {
            if !is_open {
                unidist_config::thaw();
            }
            ended.map(|_| None)
        }
    }
}

#[cfg(feature = "patterns")]
pub use executor::CommExecutor;

#[cfg(feature = "patterns")]
mod executor {
    use super::{AnyCommunicator, Result, Session, init_on};
    use std::ops::Deref;
    use unidist_patterns::executor::{self, Executor};

    /// An [`Executor`] on the ranks of a communicator, as mpi4py's `MPICommExecutor`: the root gets it, and the other ranks
    /// serve until it is dropped. See [`init_on`].
    ///
    /// ```ignore (as above)
    /// use unidist::mpi::CommExecutor;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let (universe, _) = mpi::initialize_with_threading(mpi::Threading::Multiple).ok_or("MPI is there already")?;
    /// if let Some(executor) = CommExecutor::new(&universe.world(), 0)? {
    ///     for square in executor.map(|x: i64| x * x, 0..100)? {
    ///         println!("{}", square?);
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[derive(Debug)]
    #[must_use = "the other ranks serve until it is dropped"]
    pub struct CommExecutor {
        // In the order in which they are to be dropped.
        executor: Executor,
        _session: Session,
    }

    impl CommExecutor {
        /// The executor on the root, nothing on every other rank when it has ended.
        ///
        /// # Errors
        ///
        /// Those of [`init_on`], and of [`Executor::new`].
        pub fn new<C: AnyCommunicator>(communicator: &C, root: usize) -> executor::Result<Option<Self>> {
            let session: Result<Option<Session>> = init_on(communicator, root);
            let Some(session) = session? else { return Ok(None) };
            Ok(Some(CommExecutor { executor: Executor::new()?, _session: session }))
        }
    }

    impl Deref for CommExecutor {
        type Target = Executor;

        fn deref(&self) -> &Executor {
            &self.executor
        }
    }
}
