//! The end of a session, as the hosts agree on it.
//!
//! When the controller's engine has ended everything on all hosts, it sends CANCEL to each of them. A monitor sees that
//! nothing of its own is under way any more and answers READY_TO_SHUTDOWN. When all have, the controller sends SHUTDOWN,
//! also to the ranks that sleep. Then everyone frees its group, with nothing under way in it, and leaves MPI.
//!
//! A host that is lost is waited for by nobody. To finalise MPI would be to wait for it, so in a session that has lost
//! one the last word is LEAVE: MPI is left as it is. A monitor that cannot reach another one answers LEAVE itself. It
//! then stays until the program ends, which says SHUTDOWN while it does.
//!
//! Where the program ends in the midst of a session, by `exit`, the same is said while it ends: to a monitor at work,
//! CANCEL is the end of its work.

use crate::communication::Communicator;
use crate::launch;
use crate::network::MpiNetwork;
use crate::serialization::Operation;
use crate::topology::Topology;
use crate::worker::{self, SLEEPERS};
use std::time::{Duration, Instant};
use unidist_common::{Error, Result};
use unidist_engine::network::{HostId, Network};

const NAP: Duration = Duration::from_micros(200);
/// What was said last has so long to leave this host.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// So long the last word of all has at the program's end.
const AT_END: Duration = Duration::from_secs(1);

/// What is to become of MPI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Parting {
    /// All finalise it.
    Finalize,
    /// It is left as it is: it would wait for those that are lost.
    Leave,
}

/// The controller's side of the end. The others have this long for their part in it.
pub(crate) fn dismiss(
    network: &mut MpiNetwork,
    topology: &Topology,
    world: Option<&Communicator>,
    limit: Duration,
) -> Parting {
    tell_all(network, Operation::Cancel);
    let has_answered =
        |said: Option<Operation>| matches!(said, Some(Operation::ReadyToShutdown | Operation::Leave));
    wait(network, Some(limit), |network| network.living().iter().all(|(_, said)| has_answered(*said)));
    let late = network.living().into_iter().filter(|(_, said)| !has_answered(*said));
    late.for_each(|(host, _)| network.forget(host));
    let all_ready = network.living().iter().all(|(_, said)| *said == Some(Operation::ReadyToShutdown));
    let mut parting = if all_ready && !network.has_lost() { Parting::Finalize } else { Parting::Leave };
    tell_all(network, if parting == Parting::Finalize { Operation::Shutdown } else { Operation::Leave });
    if !wait(network, Some(LAST_WORDS), |network| !network.is_busy()) {
        parting = Parting::Leave;
    }
    if let Some(world) = world {
        wake_sleepers(network, topology, world, parting);
    }
    parting
}

/// A monitor's side of the end. The controller may take as long as it likes, unless it has to be over within a limit.
///
/// # Errors
///
/// The controller is lost, or says nothing within the limit.
pub(crate) fn take_leave(network: &mut MpiNetwork, limit: Option<Duration>) -> Result<Parting> {
    let controller = |network: &MpiNetwork| {
        let living = network.living();
        living.iter().find(|(host, _)| *host == HostId::CONTROLLER).map(|(_, said)| *said)
    };
    let is_over = |said| matches!(said, Some(Operation::Shutdown | Operation::Leave));
    // It may take long: the engine of another host may still be at work.
    wait(network, limit, |network| controller(network).is_none_or(|said| said.is_some()));
    let ready = if network.has_lost() { Operation::Leave } else { Operation::ReadyToShutdown };
    network.tell(HostId::CONTROLLER, ready);
    let patience = 2 * network.timeout();
    wait(network, Some(limit.unwrap_or(patience)), |network| controller(network).is_none_or(is_over));
    match controller(network) {
        Some(Some(Operation::Shutdown)) => Ok(match wait(network, Some(LAST_WORDS), |it| !it.is_busy()) {
            true => Parting::Finalize,
            false => Parting::Leave,
        }),
        Some(Some(Operation::Leave)) => Ok(Parting::Leave),
        Some(_) => Err(Error::Launch { message: "the controller does not end the session".into() }),
        None => Err(Error::Launch { message: "the controller is lost".into() }),
    }
}

/// What the controller says at the program's end, if MPI was left as it is: those wait for it that [`outlast`].
pub(crate) fn release(network: &mut MpiNetwork) {
    network.be_patient();
    tell_all(network, Operation::Shutdown);
    wait(network, Some(AT_END), |network| !network.is_busy());
}

/// A monitor stays until the program has ended, where it may not go before: a launcher that does not let a job survive a
/// process's death takes one that ends without finalising MPI for a dead one, and ends the program. When that ends, MPI
/// ends the rest, or (MPICH, those that were started by the program) does not.
pub(crate) fn outlast(network: &mut MpiNetwork) {
    if launch::survives_death() {
        return;
    }
    network.be_patient();
    wait(network, None, |network| {
        let living = network.living();
        let controller = living.iter().find(|(host, _)| *host == HostId::CONTROLLER);
        controller.is_none_or(|(_, said)| *said == Some(Operation::Shutdown))
    });
    // The exit code of the job is to be the program's.
    std::thread::sleep(2 * AT_END);
}

fn tell_all(network: &mut MpiNetwork, operation: Operation) {
    network.living().into_iter().for_each(|(host, _)| network.tell(host, operation));
}

/// Has the ranks wake that sleep on hosts that are not lost.
fn wake_sleepers(network: &MpiNetwork, topology: &Topology, world: &Communicator, parting: Parting) {
    let lost = network.lost();
    let end = Instant::now() + LAST_WORDS;
    let mut words = Vec::new();
    for (place, host) in (0..).map(HostId::new).zip(&topology.hosts) {
        if lost.contains(&place) {
            continue;
        }
        for rank in host.sleepers() {
            match world.send(rank, SLEEPERS, worker::last_word(parting == Parting::Finalize)) {
                Ok(word) => words.push(word),
                Err(error) => log::warn!("rank {rank}, which sleeps, cannot be woken: {error}"),
            }
        }
    }
    // The words are so short that no MPI waits for their receivers.
    for mut word in words {
        while matches!(word.test(), Ok(false)) && Instant::now() < end {
            std::thread::sleep(NAP);
        }
    }
}

/// Goes on with the network until it is `done`; false if the time is over first. Whatever else arrives is for nobody.
fn wait(network: &mut MpiNetwork, limit: Option<Duration>, done: impl Fn(&MpiNetwork) -> bool) -> bool {
    let end = limit.map(|limit| Instant::now() + limit);
    let mut arrivals = Vec::new();
    loop {
        network.poll(&mut arrivals);
        arrivals.clear();
        if done(network) {
            return true;
        }
        if end.is_some_and(|end| Instant::now() > end) {
            return false;
        }
        std::thread::sleep(NAP);
    }
}
