//! The ranks that use a pattern together.

use crate::call::{Call, CallKind, MAX_PAYLOAD, check_all_equal};
use crate::deferred_free::DeferredFrees;
use crate::guard;
use crate::host_exchange::{HostExchange, LostRank};
use crate::hosts::HostLayout;
use crate::memory::SharedMemory;
use crate::network::Network;
use crate::{Error, Result};
use bytemuck::{Pod, Zeroable};
use std::cell::Cell;
use std::fmt;
use std::rc::Rc;

/// The ranks of a job, or some of them, that use a pattern together. Every rank runs the same code: a *collective* function is
/// called by all ranks of the communicator, in the same order.
///
/// It is a handle; clones are the same communicator. Without MPI there is [`Communicator::alone`], on which the same program
/// runs as one process.
///
/// ```
/// use unidist_spmd::{Communicator, Lock};
///
/// # fn main() -> unidist_spmd::Result<()> {
/// let world = Communicator::world()?;
/// let lock = Lock::new(&world)?;
/// println!("rank {} of {}, on host {} of {}", world.rank(), world.size(), world.host(), world.hosts());
/// lock.close()
/// # }
/// ```
///
/// # Levels of MPI
///
/// Over several hosts, a [`Lock`](crate::Lock) and a [`Batch`](crate::Batch) need one-sided operations, and a thread of the
/// first rank calls MPI. Open MPI 4 has these operations over TCP only at the level `MPI_THREAD_SERIALIZED`, at which threads
/// take turns, and with `OMPI_MCA_osc=pt2pt` or the like in the environment, which [`Communicator::world`] sets unless it is
/// set. With Open MPI 4, take a turn (`unidist_spmd::turn`) for MPI calls of your own. Other MPIs are used at the level
/// `MPI_THREAD_MULTIPLE`.
///
/// # Ranks that fail
///
/// A rank that waits for a rank of its host that has ended, or has dropped its communicator, gets [`Error::RankLost`]. If a
/// rank panics and drops a communicator of several ranks while it unwinds, the whole job ends, because the other ranks would
/// wait for it; see [`exception_guard`](crate::exception_guard).
#[derive(Clone)]
pub struct Communicator(Rc<Inner>);

struct Inner {
    rank: usize,
    layout: HostLayout,
    /// Shared by the ranks of this host; none if this is the only rank.
    host_exchange: Option<HostExchange>,
    network: Option<Network>,
    /// The number of arrays, locks and batches created so far.
    objects: Cell<u32>,
    deferred_frees: DeferredFrees,
    /// Shared with the communicators that were split from this one.
    guards: Rc<Guards>,
}

/// The exception guards that a rank is in.
#[derive(Debug, Default)]
pub(crate) struct Guards {
    pub(crate) depth: Cell<u32>,
    /// Whether this rank was notified in one of them that another rank has failed.
    pub(crate) is_notified: Cell<bool>,
}

impl Communicator {
    /// This process alone, without MPI.
    pub fn alone() -> Self {
        Communicator(Rc::new(Inner {
            rank: 0,
            layout: HostLayout::alone(),
            host_exchange: None,
            network: None,
            objects: Cell::new(0),
            deferred_frees: DeferredFrees::default(),
            guards: Rc::default(),
        }))
    }

    /// All ranks of the job. Initialises MPI unless it is initialised, at the level `MPI_THREAD_MULTIPLE` (with Open MPI 4:
    /// [`MPI_THREAD_SERIALIZED`](Communicator#levels-of-mpi)), and finalises it when the process exits; with an exit code other
    /// than 0, the whole job ends. Call it before the program has other threads.
    ///
    /// This process is [alone](Communicator::alone) if the program was built without MPI (the feature `mpi`), or if
    /// `UNIDIST_SPMD_LOCAL` is 1.
    ///
    /// # Errors
    ///
    /// `UNIDIST_SPMD_LOCAL` is neither 0 nor 1. The loaded MPI is not the one that the program was built for, MPI fails, or was
    /// finalised. The ranks of a host cannot share memory.
    pub fn world() -> Result<Self> {
        let is_local = unidist_config::SpmdLocal::get();
        if is_local.map_err(|error| Error::Setting { message: error.to_string() })? {
            return Ok(Communicator::alone());
        }
        crate::network::world()
    }

    /// The ranks of a layout, which communicate through `network`. Collective.
    #[cfg_attr(not(feature = "mpi"), allow(dead_code, reason = "without MPI there is no network"))]
    pub(crate) fn connect(
        rank: usize,
        layout: HostLayout,
        mut network: Network,
        guards: Rc<Guards>,
    ) -> Result<Self> {
        let host_exchange =
            Communicator::new_exchange(rank, &layout, &network).inspect_err(|_| network.free())?;
        Ok(Communicator(Rc::new(Inner {
            rank,
            layout,
            host_exchange: Some(host_exchange),
            network: Some(network),
            objects: Cell::new(0),
            deferred_frees: DeferredFrees::default(),
            guards,
        })))
    }

    fn new_exchange(rank: usize, layout: &HostLayout, network: &Network) -> Result<HostExchange> {
        let global_size = if layout.host_count() > 1 { layout.size() } else { 0 };
        let own = layout.host_of(rank);
        let too_many = || Error::Memory {
            message: format!("the exchange memory of {} ranks exceeds the address space", layout.size()),
        };
        let len = HostExchange::len(own.size(), global_size).ok_or_else(too_many)?;
        let gather = |handle| network.gather_handles(&handle);
        let memory = SharedMemory::on_host(len, rank, own.leader(), own.size() == 1, gather)?;
        HostExchange::new(memory, own.index_of(rank), own.size(), global_size).ok_or_else(too_many)
    }

    /// The number of this process, from 0.
    pub fn rank(&self) -> usize {
        self.0.rank
    }

    /// The number of ranks.
    pub fn size(&self) -> usize {
        self.0.layout.size()
    }

    /// The number of this rank's host, from 0; hosts are ordered by their first ranks.
    pub fn host(&self) -> usize {
        self.0.layout.host_number(self.0.rank)
    }

    /// The number of hosts.
    pub fn hosts(&self) -> usize {
        self.0.layout.host_count()
    }

    /// The number of this rank among those of its host, from 0.
    pub fn host_rank(&self) -> usize {
        self.layout().host_of(self.0.rank).index_of(self.0.rank)
    }

    /// The number of ranks of this rank's host.
    pub fn host_size(&self) -> usize {
        self.layout().host_of(self.0.rank).size()
    }

    /// Waits until all ranks have arrived. Collective.
    ///
    /// # Errors
    ///
    /// Another rank called something else, or is lost.
    pub fn barrier(&self) -> Result<()> {
        self.agree(CallKind::Barrier, 0, &()).map(drop)
    }

    /// Gathers a value from every rank to every rank. Collective. A value has at most 192 bytes, which is checked at compile
    /// time.
    ///
    /// ```
    /// # fn main() -> unidist_spmd::Result<()> {
    /// let world = unidist_spmd::Communicator::world()?;
    /// let sum: f64 = world.all_gather(0.5)?.iter().sum();
    /// assert_eq!(sum, 0.5 * world.size() as f64);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Another rank called something else, or passes a value of another size, or is lost.
    pub fn all_gather<V: Pod>(&self, value: V) -> Result<Vec<V>> {
        const { assert!(size_of::<V>() <= MAX_VALUE, "a value has at most 192 bytes") }
        Ok(self.agree(CallKind::AllGather, 0, &value)?.iter().map(Call::payload).collect())
    }

    /// The ranks that pass the same color, ordered by their keys, then by their ranks here. `None` for a rank that passes no
    /// color. Collective.
    ///
    /// # Errors
    ///
    /// Another rank called something else, or is lost. MPI fails, or the ranks of a host cannot share memory.
    pub fn split(&self, color: Option<usize>, key: usize) -> Result<Option<Self>> {
        let own = SplitRequest {
            has_color: u64::from(color.is_some()),
            color: color.unwrap_or(0) as u64,
            key: key as u64,
        };
        let requests: Vec<SplitRequest> =
            self.agree(CallKind::Split, 0, &own)?.iter().map(Call::payload).collect();
        match &self.0.network {
            Some(network) => {
                let (color, key) = compact(&requests, self.rank());
                network.split(color, key, &self.0.guards)
            }
            None => Ok(color.map(|_| Communicator::alone())),
        }
    }

    /// The ranks of this host. Collective.
    ///
    /// # Errors
    ///
    /// See [`Communicator::split`].
    pub fn split_by_host(&self) -> Result<Self> {
        let part = self.split(Some(self.host()), self.rank())?;
        Ok(part.unwrap_or_else(Communicator::alone))
    }

    /// Which ranks are on which host.
    pub(crate) fn layout(&self) -> &HostLayout {
        &self.0.layout
    }

    pub(crate) fn network(&self) -> Option<&Network> {
        self.0.network.as_ref()
    }

    pub(crate) fn guards(&self) -> &Guards {
        &self.0.guards
    }

    /// [`Communicator::agree`] for a call that creates an array, a lock or a batch. Returns also the number of the new object,
    /// which is the same on all ranks, since it counts what all have created together.
    pub(crate) fn agree_on_new<P: Pod>(&self, kind: CallKind, payload: &P) -> Result<(u32, Vec<Call>)> {
        let calls = self.agree(kind, 0, payload)?;
        let number = self.0.objects.get().wrapping_add(1).max(1);
        self.0.objects.set(number);
        Ok((number, calls))
    }

    pub(crate) fn deferred_frees(&self) -> &DeferredFrees {
        &self.0.deferred_frees
    }

    /// Exchanges what the ranks call, and checks that all call the same. Collective.
    ///
    /// # Errors
    ///
    /// A rank has failed in an exception guard, the ranks call different functions, or one is lost.
    pub(crate) fn agree<P: Pod>(&self, kind: CallKind, object: u32, payload: &P) -> Result<Vec<Call>> {
        let calls = self.exchange(&Call::new(kind, object, payload))?;
        if let Some(failed) = guard::first_failure(&calls, &self.0.layout) {
            self.0.guards.is_notified.set(true);
            return Err(failed);
        }
        check_all_equal(&calls)?;
        Ok(calls)
    }

    /// The same without the checks.
    pub(crate) fn exchange(&self, own: &Call) -> Result<Vec<Call>> {
        self.0.exchange(own)
    }

    /// Waits until all ranks of this host have arrived.
    pub(crate) fn host_barrier(&self) -> Result<()> {
        let Some(exchange) = &self.0.host_exchange else { return Ok(()) };
        exchange.barrier().map_err(|lost| self.0.rank_lost(lost))
    }

    /// Fails if a rank of this host has ended or left.
    pub(crate) fn check_host_alive(&self) -> Result<()> {
        let lost = self.0.host_exchange.as_ref().and_then(HostExchange::lost_rank);
        lost.map_or(Ok(()), |lost| Err(self.0.rank_lost(lost)))
    }

    /// Memory that the ranks of each host share. Collective.
    pub(crate) fn shared_memory(&self, len: usize) -> Result<SharedMemory> {
        let own = self.0.layout.host_of(self.0.rank);
        let gather = |handle| {
            let calls = self.agree(CallKind::SharedMemory, 0, &handle)?;
            Ok(calls.iter().map(Call::payload).collect())
        };
        SharedMemory::on_host(len, self.0.rank, own.leader(), own.size() == 1, gather)
    }
}

/// The maximal length of a value of [`Communicator::all_gather`], in bytes.
const MAX_VALUE: usize = 192;
const _: () = assert!(MAX_VALUE <= MAX_PAYLOAD);

/// The arguments of a rank that calls [`Communicator::split`].
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
struct SplitRequest {
    has_color: u64,
    color: u64,
    key: u64,
}

/// An equivalent color and key that fit into MPI's integers: the first rank with the same color, and the index in the order
/// of keys.
fn compact(requests: &[SplitRequest], rank: usize) -> (Option<usize>, usize) {
    let own = requests[rank];
    let is_equal = |other: &SplitRequest| other.has_color == own.has_color && other.color == own.color;
    let color = requests.iter().position(is_equal).filter(|_| own.has_color != 0);
    let precedes = |(other, request): &(usize, &SplitRequest)| (request.key, *other) < (own.key, rank);
    (color, requests.iter().enumerate().filter(precedes).count())
}

impl fmt::Debug for Communicator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Communicator(rank {} of {}, host {} of {})",
            self.rank(),
            self.size(),
            self.host(),
            self.hosts()
        )
    }
}

impl Inner {
    /// Exchanges the records of all ranks.
    fn exchange(&self, own: &Call) -> Result<Vec<Call>> {
        let Some(exchange) = &self.host_exchange else { return Ok(vec![*own]) };
        let lost = |lost| self.rank_lost(lost);
        let own = own.with_dropped(self.deferred_frees.report());
        let buffer = exchange.exchange(own.bytes()).map_err(lost)?;
        let layout = &self.layout;
        let own_host = layout.host_of(self.rank);
        let host_records = (0..own_host.size()).map(|index| exchange.host_record(buffer, index));
        let Some(network) = self.network.as_ref().filter(|_| layout.host_count() > 1) else {
            return Ok(host_records.map(Call::from_bytes).collect());
        };
        if own_host.leader() == self.rank {
            let records = host_records.collect::<Vec<_>>();
            exchange.publish(buffer, &network.gather(layout, records.as_flattened()));
        }
        exchange.barrier().map_err(lost)?;
        let indices = (0..layout.size()).map(|rank| layout.index_in_host_order(rank));
        let calls: Vec<Call> =
            indices.map(|index| Call::from_bytes(exchange.global_record(buffer, index))).collect();
        self.deferred_frees.free_common(&calls);
        Ok(calls)
    }

    fn rank_lost(&self, lost: LostRank) -> Error {
        let own_host = self.layout.host_of(self.rank);
        let message = match lost.has_left {
            true => "it dropped its communicator while other ranks waited for it",
            false => "its process has ended",
        };
        Error::RankLost { rank: own_host.rank_at(lost.host_rank), message: message.to_owned() }
    }

    /// Whether the other ranks drop the communicator, too. While this rank panics they do not: then the job ends, unless an
    /// exception guard is going to notify them.
    fn is_dropped_together(&self) -> bool {
        if !std::thread::panicking() || self.layout.size() == 1 {
            return true;
        }
        if self.guards.depth.get() == 0 {
            let (rank, host) = (self.rank, self.layout.host_name(self.rank));
            crate::network::abort(&format!("rank {rank} of {} panicked on {host}", self.layout.size()));
        }
        false
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if !self.is_dropped_together() {
            return;
        }
        if let Some(exchange) = &self.host_exchange {
            exchange.leave();
        }
        if let Some(network) = &mut self.network {
            network.free();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Also if the program was built with MPI and a launcher started several processes.
    #[test]
    fn world_is_one_process_if_set() {
        unidist_config::SpmdLocal::put(true).unwrap();
        let world = Communicator::world().unwrap();
        assert_eq!((world.size(), world.hosts(), world.network().is_some()), (1, 1, false));
        unidist_config::SpmdLocal::reset().unwrap();
    }

    #[test]
    fn split_takes_any_colors_and_keys() {
        let request = |color: Option<u64>, key| SplitRequest {
            has_color: color.is_some().into(),
            color: color.unwrap_or(0),
            key,
        };
        let requests = [
            request(Some(u64::MAX), 9),
            request(None, 0),
            request(Some(0), u64::MAX),
            request(Some(u64::MAX), 3),
        ];
        assert_eq!(compact(&requests, 0), (Some(0), 2));
        assert_eq!(compact(&requests, 1), (None, 0));
        assert_eq!(compact(&requests, 2), (Some(2), 3));
        assert_eq!(compact(&requests, 3), (Some(0), 1));
    }
}
