//! The network of the ranks of an MPI job.

use crate::call::CallKind;
use crate::communicator::Guards;
use crate::hosts::HostLayout;
use crate::memory::MemoryHandle;
use crate::{Communicator, Error, Result};
use bytemuck::Zeroable;
use std::ops::Range;
use std::rc::Rc;
use std::time::{Duration, Instant};
use unidist_mpi_comm::AnyCommunicator;
use unidist_mpi_comm::{self as comm, Communicator as Group, Mpi, MpiError};
use unidist_sync::Backoff;

/// The tag of array data.
const DATA: i32 = 1;
/// The tag of lock tokens.
const TOKEN: i32 = 2;

/// The longest pause between two polls for a token.
const MAX_PAUSE: Duration = Duration::from_millis(2);
/// Exchanged in place of a leader if the communicator of a rank's host is not part of this one.
const NOT_A_SUBSET: u64 = u64::MAX;

/// The ranks of a communicator, in a context of their own.
#[derive(Debug)]
pub(crate) struct Network {
    all: Group,
    /// The first ranks of all hosts; present on these ranks only.
    leaders: Option<Group>,
}

fn mpi_error(error: MpiError) -> Error {
    Error::Mpi { message: error.to_string() }
}

/// Aborts the whole job.
pub(crate) fn abort(why: &str) -> ! {
    Mpi::abort(why)
}

/// The same from a thread that does not call MPI otherwise.
pub(crate) fn abort_from_thread(why: &str) -> ! {
    Mpi::abort_from_thread(why)
}

/// All ranks of the job.
pub(crate) fn world() -> Result<Communicator> {
    let mpi = Mpi::init_for_ranks().map_err(|error| Error::Mpi { message: error.to_string() })?;
    let guard = Mpi::lock_calls();
    let all = mpi.world().map_err(mpi_error)?;
    drop(guard);
    connect(all, None, Rc::default())
}

impl Communicator {
    /// The ranks of a communicator of the crate `mpi`, in a context of their own. Collective. The program has initialised
    /// MPI, and finalises it after this is dropped.
    ///
    /// Over several hosts, locks and batches need one-sided operations, and a thread of the first rank calls MPI: the program
    /// initialises MPI with `MPI_THREAD_MULTIPLE`, or with `MPI_THREAD_SERIALIZED` and takes a [`turn`](crate::turn) for its
    /// own MPI calls. Open MPI 4 has one-sided operations over TCP only with the latter, and with `OMPI_MCA_osc=pt2pt` in the
    /// environment. [`Communicator::world`] does all this.
    ///
    /// # Errors
    ///
    /// MPI fails, or the ranks of a host cannot share memory.
    pub fn of<C: AnyCommunicator>(communicator: &C) -> Result<Self> {
        let guard = Mpi::lock_calls();
        let all = Group::duplicate_of(communicator).map_err(mpi_error)?;
        drop(guard);
        connect(all, None, Rc::default())
    }

    /// The same with `host` as the communicator of the ranks on this rank's host. Collective.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] on all ranks if the communicators of the hosts do not partition this one, else those of
    /// [`Communicator::of`].
    pub fn with_hosts<C: AnyCommunicator, H: AnyCommunicator>(communicator: &C, host: &H) -> Result<Self> {
        let guard = Mpi::lock_calls();
        let all = Group::duplicate_of(communicator).map_err(mpi_error)?;
        let members = all.translate_ranks_of(host).map_err(mpi_error)?;
        drop(guard);
        connect(all, Some(members), Rc::default())
    }

    /// A communicator of the crate `mpi` with the same ranks, for MPI calls of the program. Collective. `None` for a process
    /// that is [alone](Communicator::alone), without MPI.
    ///
    /// # Errors
    ///
    /// MPI fails; or another rank called something else, or is lost.
    pub fn to_mpi(&self) -> Result<Option<comm::mpi::topology::SimpleCommunicator>> {
        self.agree(CallKind::ToMpi, 0, &())?;
        let _guard = Mpi::lock_calls();
        self.network().map(|network| network.all.to_simple().map_err(mpi_error)).transpose()
    }
}

/// Takes this thread's turn to call MPI; it ends when the returned value is dropped. A program takes a turn for its own MPI
/// calls while there is a [`Lock`](crate::Lock) or a [`Batch`](crate::Batch) over several hosts, unless MPI lets any thread
/// call it at any time (`MPI_THREAD_MULTIPLE`, for which [`Communicator::world`] asks except with Open MPI 4). The functions
/// of this crate take turns themselves, and must not be called during a turn.
pub fn turn() -> Turn {
    Turn { _guard: Mpi::lock_calls() }
}

/// See [`turn`].
#[derive(Debug)]
#[must_use = "the turn ends when it is dropped"]
pub struct Turn {
    _guard: comm::CallGuard,
}

fn connect(mut all: Group, members: Option<Vec<Option<usize>>>, guards: Rc<Guards>) -> Result<Communicator> {
    let guard = Mpi::lock_calls();
    let (layout, leaders) = exchange_layout(&all, members).inspect_err(|_| all.free())?;
    let rank = all.rank();
    drop(guard);
    Communicator::connect(rank, layout, Network { all, leaders }, guards)
}

/// Finds which ranks are on which host, and connects the leaders. Each rank sends the leader of its host, the number of ranks
/// there, and the name of the host. `members` are the ranks of its host, if the program gives them.
fn exchange_layout(all: &Group, members: Option<Vec<Option<usize>>>) -> Result<(HostLayout, Option<Group>)> {
    let rank = all.rank();
    let members = match members {
        Some(members) => members,
        None => members_of_host(all)?,
    };
    let inside: Option<Vec<usize>> = members.iter().copied().collect();
    let leader = inside.and_then(|ranks| ranks.contains(&rank).then(|| ranks.into_iter().min()).flatten());
    let leader = leader.map_or(NOT_A_SUBSET, |leader| leader as u64);
    let mut own = leader.to_ne_bytes().to_vec();
    own.extend((members.len() as u64).to_ne_bytes());
    own.extend(host_name().as_bytes());
    let gathered = all.all_gather(&own).map_err(mpi_error)?;
    let layout = check_layout(&gathered)?;
    let is_leader = layout.host_of(rank).leader() == rank;
    let leaders = all.split(is_leader.then_some(0), rank).map_err(mpi_error)?;
    Ok((layout, leaders))
}

/// The name of this host, at most 64 characters.
fn host_name() -> String {
    let name = rustix::system::uname();
    name.nodename().to_string_lossy().chars().take(64).collect()
}

fn members_of_host(all: &Group) -> Result<Vec<Option<usize>>> {
    let mut host = all.split_by_host().map_err(mpi_error)?;
    let ranks = host.all_gather(&(all.rank() as u64).to_ne_bytes()).map_err(mpi_error)?;
    host.free();
    let rank = |bytes: &Vec<u8>| usize::try_from(u64::from_ne_bytes(bytes.as_slice().try_into().ok()?)).ok();
    Ok(ranks.iter().map(rank).collect())
}

/// Checks that the hosts partition the ranks.
fn check_layout(gathered: &[Vec<u8>]) -> Result<HostLayout> {
    let read = |bytes: &Vec<u8>| {
        let (leader, rest) = bytes.split_first_chunk::<8>()?;
        let (count, name) = rest.split_first_chunk::<8>()?;
        let name = String::from_utf8_lossy(name).into_owned();
        Some((u64::from_ne_bytes(*leader), u64::from_ne_bytes(*count), name))
    };
    let wrong = |message: String| Error::argument("Communicator::with_hosts", message);
    let entries = gathered.iter().map(|bytes| {
        read(bytes).ok_or_else(|| {
            wrong("a rank sent a malformed record: run the same program on all ranks".to_owned())
        })
    });
    let entries = entries.collect::<Result<Vec<_>>>()?;
    for (rank, (leader, count, _)) in entries.iter().enumerate() {
        if *leader == NOT_A_SUBSET {
            return Err(wrong(format!(
                "rank {rank} passes a host communicator that contains ranks outside the communicator, or not rank {rank} itself: \
                 split the communicator by host to get it"
            )));
        }
        let same = entries.iter().filter(|(other, others, _)| (other, others) == (leader, count)).count();
        if same as u64 != *count {
            return Err(wrong(format!(
                "rank {rank} passes a host communicator of {count} ranks whose first is rank {leader}, but {same} ranks pass it: \
                 every rank must pass the one that it is in"
            )));
        }
    }
    let leaders: Vec<_> = entries.into_iter().map(|(leader, _, name)| (leader as usize, name)).collect();
    Ok(HostLayout::new(&leaders))
}

impl Network {
    /// Gathers a memory handle from every rank, before there is a host exchange. Collective.
    pub(crate) fn gather_handles(&self, own: &MemoryHandle) -> Result<Vec<MemoryHandle>> {
        let _guard = Mpi::lock_calls();
        let gathered = self.all.all_gather(bytemuck::bytes_of(own)).map_err(mpi_error)?;
        let read =
            |bytes: &Vec<u8>| bytemuck::try_pod_read_unaligned(bytes).unwrap_or(MemoryHandle::zeroed());
        Ok(gathered.iter().map(read).collect())
    }

    /// Gathers the records of all ranks, host by host; the leader of each host passes the records of its host. A failure
    /// aborts the job, because the other ranks of the host wait.
    pub(crate) fn gather(&self, layout: &HostLayout, records: &[u8]) -> Vec<u8> {
        let lengths: Vec<usize> =
            layout.host_sizes().map(|size| size * crate::host_exchange::RECORD).collect();
        let mut all = vec![0; lengths.iter().sum()];
        if let Some(leaders) = &self.leaders
            && let Err(error) = leaders.all_gather_asleep(records, &lengths, &mut all)
        {
            abort(&format!("the exchange between hosts failed: {error}"));
        }
        all
    }

    pub(crate) fn split(
        &self,
        color: Option<usize>,
        key: usize,
        guards: &Rc<Guards>,
    ) -> Result<Option<Communicator>> {
        let guard = Mpi::lock_calls();
        let part = self.all.split(color, key).map_err(mpi_error)?;
        drop(guard);
        part.map(|part| connect(part, None, guards.clone())).transpose()
    }

    /// Sends bytes to a rank that receives them. A failure aborts the job, because the other ranks are in the same transfer.
    pub(crate) fn send(&self, to: usize, bytes: &[u8], meanwhile: impl FnMut(Range<usize>)) {
        let _guard = Mpi::lock_calls();
        if let Err(error) = self.all.send_pipelined(to, DATA, bytes, meanwhile) {
            abort(&format!("cannot send array data to rank {to}: {error}"));
        }
    }

    /// Receives bytes that a rank sends, and forwards them.
    pub(crate) fn receive(&self, from: usize, forward_to: Option<usize>, bytes: &mut [u8]) {
        let _guard = Mpi::lock_calls();
        if let Err(error) = self.all.receive_pipelined(from, forward_to, DATA, bytes) {
            abort(&format!("cannot receive array data from rank {from}: {error}"));
        }
    }

    /// Cells on the first rank, with its values. Collective.
    pub(crate) fn window(&self, values: &[u64]) -> Result<Window> {
        let mpi = Mpi::init_for_ranks().map_err(|error| Error::Mpi { message: error.to_string() })?;
        let _guard = Mpi::lock_calls();
        comm::Window::new(mpi, &self.all, values).map(Window).map_err(|error| Error::Mpi {
            message: format!(
                "a lock or batch cannot be created across these hosts: {error}. Over TCP, Open MPI 4 needs OMPI_MCA_osc=pt2pt in \
                 the environment and a thread level below MPI_THREAD_MULTIPLE: Communicator::world sets both"
            ),
        })
    }

    /// A channel for tokens. Collective.
    pub(crate) fn tokens(&self) -> Result<Tokens> {
        let _guard = Mpi::lock_calls();
        self.all.duplicate().map(Tokens).map_err(mpi_error)
    }

    /// Frees the communicators, which no rank uses any more. Collective.
    pub(crate) fn free(&mut self) {
        let _guard = Mpi::lock_calls();
        if Mpi::is_active() {
            self.leaders.iter_mut().for_each(Group::free);
            self.all.free();
        }
    }
}

/// Cells on the first rank.
#[derive(Debug)]
pub(crate) struct Window(comm::Window);

impl Window {
    pub(crate) fn add(&self, cell: usize, value: u64) -> Result<u64> {
        let _guard = Mpi::lock_calls();
        self.0.add(cell, value).map_err(mpi_error)
    }

    pub(crate) fn compare_and_swap(&self, cell: usize, old: u64, new: u64) -> Result<u64> {
        let _guard = Mpi::lock_calls();
        self.0.compare_and_swap(cell, old, new).map_err(mpi_error)
    }

    pub(crate) fn free(&mut self) -> Result<()> {
        self.0.stop_progress();
        let _guard = Mpi::lock_calls();
        if Mpi::is_active() { self.0.free().map_err(mpi_error) } else { Ok(()) }
    }
}

/// Numbers that ranks send to each other.
#[derive(Debug)]
pub(crate) struct Tokens(Group);

impl Tokens {
    pub(crate) fn send(&self, to: usize, token: u64) -> Result<()> {
        let _guard = Mpi::lock_calls();
        self.0.send_u64(to, TOKEN, token).map_err(mpi_error)
    }

    pub(crate) fn try_receive(&self) -> Result<Option<u64>> {
        let _guard = Mpi::lock_calls();
        self.0.try_receive_u64(TOKEN).map_err(mpi_error)
    }

    /// Pauses between two polls: longer the more time has passed, at most `limit`.
    pub(crate) fn pause(&self, since: Instant, limit: Option<Duration>) {
        Backoff::since(since).pause(limit.unwrap_or(MAX_PAUSE).min(MAX_PAUSE));
    }

    /// Receives stale tokens, then frees the channel. Collective.
    pub(crate) fn free(&mut self) -> Result<()> {
        while self.try_receive()?.is_some() {}
        let _guard = Mpi::lock_calls();
        if Mpi::is_active() {
            self.0.free();
        }
        Ok(())
    }
}
