//! The other ranks of an MPI job.

use crate::call::What;
use crate::communicator::Guards;
use crate::hosts::Hosts;
use crate::memory::Offer;
use crate::{Communicator, Error, Result};
use bytemuck::Zeroable;
use std::ops::Range;
use std::rc::Rc;
use std::time::{Duration, Instant};
use unidist_mpi_comm::AnyCommunicator;
use unidist_mpi_comm::{self as comm, Backoff, Communicator as Group, Mpi, MpiError};

/// What the transfers of arrays are told by.
const DATA: i32 = 1;
/// What the tokens of locks are told by.
const TOKEN: i32 = 2;

/// Who waits for a token looks at least this often.
const LONGEST_PAUSE: Duration = Duration::from_millis(2);
/// What a rank says instead of the first rank of its host, if its host's communicator is none of this one's.
const NOT_INSIDE: u64 = u64::MAX;

/// All ranks of a communicator, apart from other uses of them.
#[derive(Debug)]
pub(crate) struct Network {
    all: Group,
    /// The first ranks of all hosts, on each of them.
    leaders: Option<Group>,
}

fn failed(error: MpiError) -> Error {
    Error::Mpi { message: error.to_string() }
}

/// Ends the whole job.
pub(crate) fn abort(why: &str) -> ! {
    Mpi::abort(why)
}

/// The same from a thread that does not call MPI else.
pub(crate) fn abort_from_thread(why: &str) -> ! {
    Mpi::abort_from_thread(why)
}

/// All ranks of the job.
pub(crate) fn world() -> Result<Communicator> {
    let mpi = Mpi::init_for_ranks().map_err(|error| Error::Mpi { message: error.to_string() })?;
    let guard = Mpi::lock_calls();
    let all = mpi.world().map_err(failed)?;
    drop(guard);
    connect(all, None, Rc::default())
}

impl Communicator {
    /// The ranks of a communicator of the crate `mpi`, apart from other uses of it. Collective. The program has initialised
    /// MPI, and ends it after this is dropped.
    ///
    /// Over several hosts, locks and batches need one-sided operations, and have a thread of the first rank call MPI: the
    /// program initialises MPI with `MPI_THREAD_MULTIPLE`, or with `MPI_THREAD_SERIALIZED` and takes its [`turn`](crate::turn)
    /// when it calls MPI itself meanwhile. Open MPI 4 has one-sided operations over TCP only with the latter, and with
    /// `OMPI_MCA_osc=pt2pt` in the environment. [`Communicator::world`] sees to all this.
    ///
    /// # Errors
    ///
    /// MPI refuses, or the ranks of a host cannot share memory.
    pub fn of<C: AnyCommunicator>(communicator: &C) -> Result<Self> {
        let guard = Mpi::lock_calls();
        let all = Group::duplicate_of(communicator).map_err(failed)?;
        drop(guard);
        connect(all, None, Rc::default())
    }

    /// The same, where `host` is the communicator of the ranks that share this rank's host. Collective.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] on all ranks if the communicators of the hosts do not divide this one, else those of
    /// [`Communicator::of`].
    pub fn with_hosts<C: AnyCommunicator, H: AnyCommunicator>(communicator: &C, host: &H) -> Result<Self> {
        let guard = Mpi::lock_calls();
        let all = Group::duplicate_of(communicator).map_err(failed)?;
        let members = all.translate_ranks_of(host).map_err(failed)?;
        drop(guard);
        connect(all, Some(members), Rc::default())
    }

    /// A communicator of the crate `mpi` with the same ranks, for what the program does with MPI itself. Collective. There
    /// is none for a process that is [alone](Communicator::alone), without MPI.
    ///
    /// # Errors
    ///
    /// MPI refuses; or another rank called something else, or is lost.
    pub fn to_mpi(&self) -> Result<Option<comm::mpi::topology::SimpleCommunicator>> {
        self.agree(What::ToMpi, 0, &())?;
        let _guard = Mpi::lock_calls();
        self.network().map(|network| network.all.to_simple().map_err(failed)).transpose()
    }
}

/// This thread's turn to call MPI, until what is returned is dropped. A program takes it around its own calls of MPI while
/// there is a [`Lock`](crate::Lock) or a [`Batch`](crate::Batch) over several hosts, unless MPI lets any thread call it at any
/// time (`MPI_THREAD_MULTIPLE`, which [`Communicator::world`] asks for except with Open MPI 4). The functions of this crate
/// take their turns themselves, and must not be called with it.
pub fn turn() -> Turn {
    Turn { _turn: Mpi::lock_calls() }
}

/// See [`turn`].
#[derive(Debug)]
#[must_use = "the turn is over when it is dropped"]
pub struct Turn {
    _turn: comm::CallGuard,
}

fn connect(mut all: Group, members: Option<Vec<Option<usize>>>, guards: Rc<Guards>) -> Result<Communicator> {
    let guard = Mpi::lock_calls();
    let (hosts, leaders) = places(&all, members).inspect_err(|_| all.free())?;
    let rank = all.rank();
    drop(guard);
    Communicator::connect(rank, hosts, Network { all, leaders }, guards)
}

/// Who is where, and the first ranks of all hosts, on each of them. Each rank says the first rank of its host, how many
/// there are, and the host's name.
fn places(all: &Group, members: Option<Vec<Option<usize>>>) -> Result<(Hosts, Option<Group>)> {
    let rank = all.rank();
    let members = match members {
        Some(members) => members,
        None => members_of_host(all)?,
    };
    let inside: Option<Vec<usize>> = members.iter().copied().collect();
    let first = inside.and_then(|ranks| ranks.contains(&rank).then(|| ranks.into_iter().min()).flatten());
    let first = first.map_or(NOT_INSIDE, |first| first as u64);
    let mut said = first.to_ne_bytes().to_vec();
    said.extend((members.len() as u64).to_ne_bytes());
    said.extend(host_name().as_bytes());
    let said = all.all_gather(&said).map_err(failed)?;
    let hosts = hosts_of(&said)?;
    let is_first = hosts.of(rank).first() == rank;
    let leaders = all.split(is_first.then_some(0), rank).map_err(failed)?;
    Ok((hosts, leaders))
}

/// The name of this host, of a length that does not matter.
fn host_name() -> String {
    let name = rustix::system::uname();
    name.nodename().to_string_lossy().chars().take(64).collect()
}

fn members_of_host(all: &Group) -> Result<Vec<Option<usize>>> {
    let mut host = all.split_by_host().map_err(failed)?;
    let ranks = host.all_gather(&(all.rank() as u64).to_ne_bytes()).map_err(failed)?;
    host.free();
    let rank = |said: &Vec<u8>| usize::try_from(u64::from_ne_bytes(said.as_slice().try_into().ok()?)).ok();
    Ok(ranks.iter().map(rank).collect())
}

/// Checks that the hosts divide the ranks.
fn hosts_of(said: &[Vec<u8>]) -> Result<Hosts> {
    let read = |said: &Vec<u8>| {
        let (first, rest) = said.split_first_chunk::<8>()?;
        let (count, name) = rest.split_first_chunk::<8>()?;
        let name = String::from_utf8_lossy(name).into_owned();
        Some((u64::from_ne_bytes(*first), u64::from_ne_bytes(*count), name))
    };
    let wrong = |message: String| Error::argument("Communicator::with_hosts", message);
    let said =
        said.iter().map(|said| read(said).ok_or_else(|| wrong("a rank says something else".to_owned())));
    let said = said.collect::<Result<Vec<_>>>()?;
    for (rank, (first, count, _)) in said.iter().enumerate() {
        if *first == NOT_INSIDE {
            return Err(wrong(format!(
                "the communicator of rank {rank}'s host has ranks that the communicator of all does not have, or is not \
                 its own: split the one by host to get the other"
            )));
        }
        let same = said.iter().filter(|(other, others, _)| (other, others) == (first, count)).count();
        if same as u64 != *count {
            return Err(wrong(format!(
                "rank {rank} is in a host's communicator of {count} ranks with rank {first} as its first, but {same} of \
                 them say so: all ranks pass the one that they are in"
            )));
        }
    }
    let hosts: Vec<_> = said.into_iter().map(|(first, _, name)| (first as usize, name)).collect();
    Ok(Hosts::new(&hosts))
}

impl Network {
    /// What each rank says of memory, by rank, while there is no board yet. Collective.
    pub(crate) fn gather_offers(&self, own: &Offer) -> Result<Vec<Offer>> {
        let _guard = Mpi::lock_calls();
        let said = self.all.all_gather(bytemuck::bytes_of(own)).map_err(failed)?;
        let read = |said: &Vec<u8>| bytemuck::try_pod_read_unaligned(said).unwrap_or(Offer::zeroed());
        Ok(said.iter().map(read).collect())
    }

    /// What all ranks say, host by host; the first rank of each host brings what those there say.
    /// A failure ends the job: the others of the host wait.
    pub(crate) fn gather(&self, hosts: &Hosts, said: &[u8]) -> Vec<u8> {
        let lengths: Vec<usize> = hosts.sizes().map(|size| size * crate::host_exchange::RECORD).collect();
        let mut all = vec![0; lengths.iter().sum()];
        if let Some(leaders) = &self.leaders
            && let Err(error) = leaders.all_gather_asleep(said, &lengths, &mut all)
        {
            abort(&format!("the hosts cannot exchange anything: {error}"));
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
        let part = self.all.split(color, key).map_err(failed)?;
        drop(guard);
        part.map(|part| connect(part, None, guards.clone())).transpose()
    }

    /// Sends bytes to a rank, which receives them. A failure ends the job: the others are in the midst of it.
    pub(crate) fn send(&self, to: usize, bytes: &[u8], meanwhile: impl FnMut(Range<usize>)) {
        let _guard = Mpi::lock_calls();
        if let Err(error) = self.all.send_pipelined(to, DATA, bytes, meanwhile) {
            abort(&format!("cannot send to rank {to}: {error}"));
        }
    }

    /// Receives bytes that a rank sends, and passes them on.
    pub(crate) fn receive(&self, from: usize, pass_on_to: Option<usize>, bytes: &mut [u8]) {
        let _guard = Mpi::lock_calls();
        if let Err(error) = self.all.receive_pipelined(from, pass_on_to, DATA, bytes) {
            abort(&format!("cannot receive from rank {from}: {error}"));
        }
    }

    /// Numbers on the first rank. Collective.
    pub(crate) fn window(&self, first: &[u64]) -> Result<Window> {
        let mpi = Mpi::init_for_ranks().map_err(|error| Error::Mpi { message: error.to_string() })?;
        let _guard = Mpi::lock_calls();
        comm::Window::new(mpi, &self.all, first).map(Window).map_err(|error| Error::Mpi {
            message: format!(
                "a lock or batch cannot be made over these hosts: {error}. Over TCP, Open MPI 4 needs OMPI_MCA_osc=pt2pt \
                 in the environment, and has none for programs that initialise it with MPI_THREAD_MULTIPLE; \
                 Communicator::world sees to both"
            ),
        })
    }

    /// Tokens that are passed from rank to rank. Collective.
    pub(crate) fn tokens(&self) -> Result<Tokens> {
        let _guard = Mpi::lock_calls();
        self.all.duplicate().map(Tokens).map_err(failed)
    }

    /// Nobody uses it any more. Collective.
    pub(crate) fn free(&mut self) {
        let _guard = Mpi::lock_calls();
        if Mpi::is_active() {
            self.leaders.iter_mut().for_each(Group::free);
            self.all.free();
        }
    }
}

/// Numbers on the first rank.
#[derive(Debug)]
pub(crate) struct Window(comm::Window);

impl Window {
    pub(crate) fn add(&self, cell: usize, value: u64) -> Result<u64> {
        let _guard = Mpi::lock_calls();
        self.0.add(cell, value).map_err(failed)
    }

    pub(crate) fn compare_and_swap(&self, cell: usize, old: u64, new: u64) -> Result<u64> {
        let _guard = Mpi::lock_calls();
        self.0.compare_and_swap(cell, old, new).map_err(failed)
    }

    pub(crate) fn free(&mut self) -> Result<()> {
        self.0.stop_progress();
        let _guard = Mpi::lock_calls();
        if !Mpi::is_active() { Ok(()) } else { self.0.free().map_err(failed) }
    }
}

/// Tokens that are passed from rank to rank.
#[derive(Debug)]
pub(crate) struct Tokens(Group);

impl Tokens {
    pub(crate) fn send(&self, to: usize, token: u64) -> Result<()> {
        let _guard = Mpi::lock_calls();
        self.0.send_u64(to, TOKEN, token).map_err(failed)
    }

    pub(crate) fn receive(&self) -> Result<Option<u64>> {
        let _guard = Mpi::lock_calls();
        self.0.try_receive_u64(TOKEN).map_err(failed)
    }

    /// Waits for a little, the less the shorter it was waited so far, and not longer than `most`.
    pub(crate) fn pause(&self, since: Instant, most: Option<Duration>) {
        Backoff::since(since).pause(most.unwrap_or(LONGEST_PAUSE).min(LONGEST_PAUSE));
    }

    /// Takes what nobody waits for any more, and ends. Collective.
    pub(crate) fn free(&mut self) -> Result<()> {
        while self.receive()?.is_some() {}
        let _guard = Mpi::lock_calls();
        if Mpi::is_active() {
            self.0.free();
        }
        Ok(())
    }
}
