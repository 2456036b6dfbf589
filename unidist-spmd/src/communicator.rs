//! The ranks that use a pattern together.

use crate::call::{Call, PAYLOAD, What, check_all_the_same};
use crate::deferred_free::DeferredFrees;
use crate::guard;
use crate::host_exchange::{HostExchange, Lost};
use crate::hosts::Hosts;
use crate::memory::Memory;
use crate::network::Network;
use crate::{Error, Result};
use bytemuck::{Pod, Zeroable};
use std::cell::Cell;
use std::fmt;
use std::rc::Rc;

/// The ranks of a job, or some of them, that use a pattern together. Every rank runs the same code: what is said to be
/// *collective* is called by all ranks of the communicator, in the same order.
///
/// It is a handle; clones are the same communicator. With no MPI there is [`Communicator::alone`], for which the same
/// program runs as one process.
///
/// ```
/// use unidist_spmd::{Communicator, SharedArray};
///
/// # fn main() -> unidist_spmd::Result<()> {
/// let world = Communicator::world()?;
/// let array = SharedArray::<f64, _>::new((3, 5), &world)?;
/// println!("rank {} of {} sees {} numbers", world.rank(), world.size(), array.view().len());
/// # Ok(())
/// # }
/// ```
///
/// # Levels of MPI
///
/// Over several hosts, a [`Lock`](crate::Lock) and a [`Batch`](crate::Batch) need one-sided operations, and have a thread of
/// the first rank call MPI. Open MPI 4 has these operations over TCP only at the level `MPI_THREAD_SERIALIZED`, where
/// threads take turns, and with `OMPI_MCA_osc=pt2pt` or the like in the environment, which [`Communicator::world`] sets
/// unless something is set; with it, take a turn for calls of MPI of your own (`unidist_spmd::turn`). Other MPIs are used at
/// the level `MPI_THREAD_MULTIPLE`.
///
/// # Ranks that fail
///
/// While others wait for a rank of their host that has ended, or has dropped its communicator, they get
/// [`Error::RankLost`]. If a rank panics and drops a communicator of several ranks on the way, the whole job ends, since
/// the others would wait for it; see [`exception_guard`](crate::exception_guard).
#[derive(Clone)]
pub struct Communicator(Rc<Inner>);

struct Inner {
    rank: usize,
    hosts: Hosts,
    /// What the ranks of this host share; none if this is the only rank of all.
    host_exchange: Option<HostExchange>,
    network: Option<Network>,
    /// How many numbers arrays, locks and batches have taken.
    objects: Cell<u32>,
    deferred_frees: DeferredFrees,
    /// Of this communicator, and of those that it is a part of.
    guards: Rc<Guards>,
}

/// The exception guards that a rank is in.
#[derive(Debug, Default)]
pub(crate) struct Guards {
    pub(crate) depth: Cell<u32>,
    /// Whether this rank was told in one of them that another one has failed.
    pub(crate) is_told: Cell<bool>,
}

impl Communicator {
    /// This process alone, without MPI.
    pub fn alone() -> Self {
        Communicator(Rc::new(Inner {
            rank: 0,
            hosts: Hosts::alone(),
            host_exchange: None,
            network: None,
            objects: Cell::new(0),
            deferred_frees: DeferredFrees::default(),
            guards: Rc::default(),
        }))
    }

    /// All ranks of the job. It initialises MPI if need be, for threads that call it at any time (with Open MPI 4 in turns:
    /// [`MPI_THREAD_SERIALIZED`](Communicator#levels-of-mpi)), and ends it when the process ends: with an exit code other
    /// than 0, the whole job ends with it. Call it before there are other threads.
    ///
    /// This process is [alone](Communicator::alone) if the program was built without MPI (the feature `mpi`), or if
    /// `UNIDIST_SPMD_LOCAL` is 1.
    ///
    /// # Errors
    ///
    /// `UNIDIST_SPMD_LOCAL` has another value than 0 or 1. MPI is another one than the program was built for, fails, or was
    /// finalised. The ranks of a host cannot share memory.
    pub fn world() -> Result<Self> {
        let is_local = unidist_config::SpmdLocal::get();
        if is_local.map_err(|error| Error::Setting { message: error.to_string() })? {
            return Ok(Communicator::alone());
        }
        crate::network::world()
    }

    /// The ranks that `hosts` tells of, which talk to each other through `network`. Collective.
    #[cfg_attr(not(feature = "mpi"), allow(dead_code, reason = "nobody else is there"))]
    pub(crate) fn connect(
        rank: usize,
        hosts: Hosts,
        mut network: Network,
        guards: Rc<Guards>,
    ) -> Result<Self> {
        let host_exchange =
            Communicator::host_exchange(rank, &hosts, &network).inspect_err(|_| network.free())?;
        Ok(Communicator(Rc::new(Inner {
            rank,
            hosts,
            host_exchange: Some(host_exchange),
            network: Some(network),
            objects: Cell::new(0),
            deferred_frees: DeferredFrees::default(),
            guards,
        })))
    }

    fn host_exchange(rank: usize, hosts: &Hosts, network: &Network) -> Result<HostExchange> {
        let far = if hosts.count() > 1 { hosts.size() } else { 0 };
        let own = hosts.of(rank);
        let too_many = || Error::Memory { message: format!("{} ranks are too many", hosts.size()) };
        let len = HostExchange::len(own.size(), far).ok_or_else(too_many)?;
        let gather = |offer| network.gather_offers(&offer);
        let memory = Memory::of_host(len, rank, own.first(), own.size() == 1, gather)?;
        HostExchange::new(memory, own.place_of(rank), own.size(), far).ok_or_else(too_many)
    }

    /// This process's number, from 0.
    pub fn rank(&self) -> usize {
        self.0.rank
    }

    /// How many ranks there are.
    pub fn size(&self) -> usize {
        self.0.hosts.size()
    }

    /// The number of this rank's host, from 0: hosts are counted by their first ranks.
    pub fn host(&self) -> usize {
        self.0.hosts.number_of(self.0.rank)
    }

    /// How many hosts there are.
    pub fn hosts(&self) -> usize {
        self.0.hosts.count()
    }

    /// This rank's place among those of its host, from 0.
    pub fn host_rank(&self) -> usize {
        self.places().of(self.0.rank).place_of(self.0.rank)
    }

    /// How many ranks this rank's host has.
    pub fn host_size(&self) -> usize {
        self.places().of(self.0.rank).size()
    }

    /// Waits until all ranks are here. Collective.
    ///
    /// # Errors
    ///
    /// Another rank called something else, or is lost.
    pub fn barrier(&self) -> Result<()> {
        self.agree(What::Barrier, 0, &()).map(drop)
    }

    /// What each rank says, by rank. Collective. A value has at most 192 bytes, which is checked when this is compiled.
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
    /// Another rank called something else, or says something of another size, or is lost.
    pub fn all_gather<V: Pod>(&self, value: V) -> Result<Vec<V>> {
        const { assert!(size_of::<V>() <= MAX_VALUE, "a value has at most 192 bytes") }
        Ok(self.agree(What::Gather, 0, &value)?.iter().map(Call::payload).collect())
    }

    /// The ranks that name the same color, in the order of their keys, and of their ranks here where these are the same.
    /// `None` for a rank that names no color. Collective.
    ///
    /// # Errors
    ///
    /// Another rank called something else, or is lost. MPI refuses, or the ranks of a host cannot share memory.
    pub fn split(&self, color: Option<usize>, key: usize) -> Result<Option<Self>> {
        let own =
            Wish { named: u64::from(color.is_some()), color: color.unwrap_or(0) as u64, key: key as u64 };
        let wishes: Vec<Wish> = self.agree(What::Split, 0, &own)?.iter().map(Call::payload).collect();
        match &self.0.network {
            Some(network) => {
                let (color, place) = place_among(&wishes, self.rank());
                network.split(color, place, &self.0.guards)
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

    /// Who is where.
    pub(crate) fn places(&self) -> &Hosts {
        &self.0.hosts
    }

    pub(crate) fn network(&self) -> Option<&Network> {
        self.0.network.as_ref()
    }

    pub(crate) fn guards(&self) -> &Guards {
        &self.0.guards
    }

    /// The same for a call that makes an array, a lock or a batch, which gets a number: the same on all ranks, since it
    /// counts only what all have made together.
    pub(crate) fn agree_on_new<P: Pod>(&self, what: What, payload: &P) -> Result<(u32, Vec<Call>)> {
        let calls = self.agree(what, 0, payload)?;
        let number = self.0.objects.get().wrapping_add(1).max(1);
        self.0.objects.set(number);
        Ok((number, calls))
    }

    pub(crate) fn deferred_frees(&self) -> &DeferredFrees {
        &self.0.deferred_frees
    }

    /// Tells all ranks what this one does, and gives what each of them has said. Collective.
    ///
    /// # Errors
    ///
    /// One of them has failed in an exception guard, they do different things, or one is lost.
    pub(crate) fn agree<P: Pod>(&self, what: What, object: u32, payload: &P) -> Result<Vec<Call>> {
        let calls = self.exchange(&Call::new(what, object, payload))?;
        if let Some(failed) = guard::first_failure(&calls, &self.0.hosts) {
            self.0.guards.is_told.set(true);
            return Err(failed);
        }
        check_all_the_same(&calls)?;
        Ok(calls)
    }

    /// The same, whatever they do.
    pub(crate) fn exchange(&self, own: &Call) -> Result<Vec<Call>> {
        self.0.exchange(own)
    }

    /// Waits until all ranks of this host are here.
    pub(crate) fn host_barrier(&self) -> Result<()> {
        self.0
            .host_exchange
            .as_ref()
            .map_or(Ok(()), |host_exchange| host_exchange.barrier().map_err(|lost| self.0.lost(lost)))
    }

    /// An error if a rank of this host has ended or left.
    pub(crate) fn check_host(&self) -> Result<()> {
        let lost = self.0.host_exchange.as_ref().and_then(HostExchange::lost);
        lost.map_or(Ok(()), |lost| Err(self.0.lost(lost)))
    }

    /// Memory that the ranks of each host share. Collective.
    pub(crate) fn memory(&self, len: usize) -> Result<Memory> {
        let own = self.0.hosts.of(self.0.rank);
        let gather = |offer| {
            let calls = self.agree(What::Memory, 0, &offer)?;
            Ok(calls.iter().map(Call::payload).collect())
        };
        Memory::of_host(len, self.0.rank, own.first(), own.size() == 1, gather)
    }
}

/// The length of what [`Communicator::all_gather`] takes, in bytes.
const MAX_VALUE: usize = 192;
const _: () = assert!(MAX_VALUE <= PAYLOAD);

/// The part that a rank wants to be in.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
struct Wish {
    named: u64,
    color: u64,
    key: u64,
}

/// Small numbers that say the same as the color and key of a rank: the first rank with that color, and its place by keys.
fn place_among(wishes: &[Wish], rank: usize) -> (Option<usize>, usize) {
    let own = wishes[rank];
    let alike = |other: &Wish| other.named == own.named && other.color == own.color;
    let color = wishes.iter().position(alike).filter(|_| own.named != 0);
    let before = |(other, wish): &(usize, &Wish)| (wish.key, *other) < (own.key, rank);
    (color, wishes.iter().enumerate().filter(before).count())
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
    /// Tells all ranks what this one does, and gives what each of them has said.
    fn exchange(&self, own: &Call) -> Result<Vec<Call>> {
        let Some(host_exchange) = &self.host_exchange else { return Ok(vec![*own]) };
        let lost = |lost| self.lost(lost);
        let own = own.with_dropped(self.deferred_frees.told());
        let side = host_exchange.exchange(own.bytes()).map_err(lost)?;
        let hosts = &self.hosts;
        let own_host = hosts.of(self.rank);
        let Some(network) = self.network.as_ref().filter(|_| hosts.count() > 1) else {
            return Ok((0..own_host.size()).map(|place| Call::of(host_exchange.said(side, place))).collect());
        };
        if own_host.first() == self.rank {
            let said = (0..own_host.size()).map(|place| host_exchange.said(side, place)).collect::<Vec<_>>();
            host_exchange.tell(side, &network.gather(hosts, said.as_flattened()));
        }
        host_exchange.barrier().map_err(lost)?;
        let places = (0..hosts.size()).map(|rank| hosts.place_in_order(rank));
        let calls: Vec<Call> = places.map(|place| Call::of(host_exchange.said_by_all(side, place))).collect();
        self.deferred_frees.free_what_all_have(&calls);
        Ok(calls)
    }

    fn lost(&self, lost: Lost) -> Error {
        let own_host = self.hosts.of(self.rank);
        let message = match lost.has_left {
            true => "it has dropped its communicator while others waited for it",
            false => "its process has ended",
        };
        Error::RankLost { rank: own_host.rank_at(lost.host_rank), message: message.to_owned() }
    }

    /// Whether the end is one that the others will come to, too. In a panic it is not: then the job ends, unless an
    /// exception guard is going to tell them.
    fn may_end_together(&self) -> bool {
        if !std::thread::panicking() || self.hosts.size() == 1 {
            return true;
        }
        if self.guards.depth.get() == 0 {
            let (rank, host) = (self.rank, self.hosts.name_of(self.rank));
            crate::network::abort(&format!("rank {rank} of {} has panicked, on {host}", self.hosts.size()));
        }
        false
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if !self.may_end_together() {
            return;
        }
        if let Some(host_exchange) = &self.host_exchange {
            host_exchange.leave();
        }
        if let Some(network) = &mut self.network {
            network.free();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Also where the program was built with MPI, and a launcher has started several.
    #[test]
    fn one_process_if_that_is_set() {
        unidist_config::SpmdLocal::put(true).unwrap();
        let world = Communicator::world().unwrap();
        assert_eq!((world.size(), world.hosts(), world.network().is_some()), (1, 1, false));
        unidist_config::SpmdLocal::reset().unwrap();
    }

    #[test]
    fn any_colors_and_keys_will_do() {
        let wish =
            |color: Option<u64>, key| Wish { named: color.is_some().into(), color: color.unwrap_or(0), key };
        let wishes =
            [wish(Some(u64::MAX), 9), wish(None, 0), wish(Some(0), u64::MAX), wish(Some(u64::MAX), 3)];
        assert_eq!(place_among(&wishes, 0), (Some(0), 2));
        assert_eq!(place_among(&wishes, 1), (None, 0));
        assert_eq!(place_among(&wishes, 2), (Some(2), 3));
        assert_eq!(place_among(&wishes, 3), (Some(0), 1));
    }
}
