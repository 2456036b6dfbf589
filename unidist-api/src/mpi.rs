//! Sessions on communicators of programs that are MPI programs themselves.

use crate::init::Session;
use crate::{entry, init};
use unidist_core::session;
use unidist_core::{Error, PROGRAM, Result, registry};

pub use unidist_mpi::AnyCommunicator;

/// Starts a session on the ranks of a communicator: the root gets it; each other rank serves it and gets `None` when
/// it has ended. All ranks call this with the same root. The program has initialised MPI, and can use it afterwards.
///
/// Each rank other than the root represents a CPU slot on its host. Workers are separate processes next to the ranks,
/// without MPI. A communicator of one rank has one slot.
///
/// During the session, unidist calls MPI on the root and on one rank of each other host. A program that also calls MPI
/// meanwhile must initialise it with `MPI_THREAD_MULTIPLE`; otherwise `MPI_THREAD_SERIALIZED` is enough.
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
/// // All ranks continue here, each with its part.
/// println!("rank {} of {}", world.rank(), world.size());
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// A rank already has a session or an invalid setting, the root does not exist, MPI was initialised with a lower
/// thread level, the ranks do not run the same executable, or the engine cannot start. On a serving rank: the root was
/// lost.
pub fn init_on<C: AnyCommunicator>(communicator: &C, root: usize) -> Result<Option<Session>> {
    entry::serve_if_worker();
    let is_open = session::is_installed();
    let taken = || Error::InvalidArgument {
        call: "init_on".to_owned(),
        message: "a session already exists: end it first, or use it".to_owned(),
    };
    // A rank that cannot take part tells the others, which would otherwise wait for it.
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

    /// An [`Executor`] on the ranks of a communicator, like mpi4py's `MPICommExecutor`: the root gets it, and the
    /// other ranks serve until it is dropped. See [`init_on`].
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
        // Fields are dropped in this order.
        executor: Executor,
        _session: Session,
    }

    impl CommExecutor {
        /// Returns the executor on the root, and `None` on each other rank when the executor has ended.
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
