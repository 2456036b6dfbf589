//! The coordinated shutdown of a session on all hosts.
//!
//! When the controller's engine has shut down on all hosts, it sends CANCEL to each of them. A monitor waits until none of
//! its own operations is pending and answers READY_TO_SHUTDOWN. When all have answered, the controller sends SHUTDOWN, also
//! to the ranks that sleep. Then every process frees the communicator, in which nothing is pending, and finalises MPI.
//!
//! No process waits for a lost host. Finalising MPI would wait for it, so a session that has lost a host ends with
//! SHUTDOWN_WITHOUT_FINALIZE: MPI is left as it is. A monitor that cannot reach another one gives that answer itself. It then
//! stays until the program exits, which sends SHUTDOWN meanwhile.
//!
//! A program that calls `exit` in the middle of a session sends the same messages while it exits: to a monitor at work,
//! CANCEL is the end of its work.

use crate::launch;
use crate::network::MpiNetwork;
use crate::serialization::MessageKind;
use crate::topology::Topology;
use crate::worker::{self, SLEEPERS};
use std::time::{Duration, Instant};
use unidist_common::{Error, Result};
use unidist_engine::network::{HostId, Network};
use unidist_mpi_comm::Communicator;

const POLL_INTERVAL: Duration = Duration::from_micros(200);

/// How long the last message may take to leave this host.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);

/// The same for the last message of all, when the program exits.
const EXIT_TIMEOUT: Duration = Duration::from_secs(1);

/// What to do with MPI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ShutdownMode {
    /// All processes finalise it.
    Finalize,
    /// No process finalises it: that would wait for lost processes.
    SkipFinalize,
}

/// The controller's side. The other hosts have `limit` to answer.
pub(crate) fn coordinate_shutdown(
    network: &mut MpiNetwork,
    topology: &Topology,
    world: Option<&Communicator>,
    limit: Duration,
) -> ShutdownMode {
    send_to_all(network, MessageKind::Cancel);
    let has_answered = |message: Option<MessageKind>| {
        matches!(message, Some(MessageKind::ReadyToShutdown | MessageKind::ShutdownWithoutFinalize))
    };
    poll_until(network, Some(limit), |network| {
        network.living().iter().all(|(_, message)| has_answered(*message))
    });
    let late = network.living().into_iter().filter(|(_, message)| !has_answered(*message));
    late.for_each(|(host, _)| network.forget(host));
    let all_ready =
        network.living().iter().all(|(_, message)| *message == Some(MessageKind::ReadyToShutdown));
    let (mut mode, kind) = match all_ready && !network.has_lost() {
        true => (ShutdownMode::Finalize, MessageKind::Shutdown),
        false => (ShutdownMode::SkipFinalize, MessageKind::ShutdownWithoutFinalize),
    };
    send_to_all(network, kind);
    if !poll_until(network, Some(FLUSH_TIMEOUT), |network| !network.is_busy()) {
        mode = ShutdownMode::SkipFinalize;
    }
    if let Some(world) = world {
        wake_sleepers(network, topology, world, mode);
    }
    mode
}

/// A monitor's side. Without a `limit`, the controller may take as long as it needs to begin.
///
/// # Errors
///
/// The controller is lost, or does not answer within the limit.
pub(crate) fn await_shutdown(network: &mut MpiNetwork, limit: Option<Duration>) -> Result<ShutdownMode> {
    let controller = |network: &MpiNetwork| {
        let living = network.living();
        living.iter().find(|(host, _)| *host == HostId::CONTROLLER).map(|(_, message)| *message)
    };
    let is_final =
        |message| matches!(message, Some(MessageKind::Shutdown | MessageKind::ShutdownWithoutFinalize));
    // It may take long: the engine of another host may still be at work.
    poll_until(network, limit, |network| controller(network).is_none_or(|message| message.is_some()));
    let answer = match network.has_lost() {
        true => MessageKind::ShutdownWithoutFinalize,
        false => MessageKind::ReadyToShutdown,
    };
    network.send_signal(HostId::CONTROLLER, answer);
    let limit = limit.unwrap_or(2 * network.timeout());
    poll_until(network, Some(limit), |network| controller(network).is_none_or(is_final));
    match controller(network) {
        Some(Some(MessageKind::Shutdown)) => {
            Ok(match poll_until(network, Some(FLUSH_TIMEOUT), |network| !network.is_busy()) {
                true => ShutdownMode::Finalize,
                false => ShutdownMode::SkipFinalize,
            })
        }
        Some(Some(MessageKind::ShutdownWithoutFinalize)) => Ok(ShutdownMode::SkipFinalize),
        Some(_) => Err(Error::Launch {
            message:
                "the controller did not end the session within the time limit: this host leaves the session"
                    .into(),
        }),
        None => Err(Error::Launch {
            message: "the connection to the controller is lost: this host leaves the session".into(),
        }),
    }
}

/// Tells the monitors in [`wait_for_exit`] that the program exits, if MPI was not finalised.
pub(crate) fn notify_exit(network: &mut MpiNetwork) {
    network.disable_timeouts();
    send_to_all(network, MessageKind::Shutdown);
    poll_until(network, Some(EXIT_TIMEOUT), |network| !network.is_busy());
}

/// Keeps a monitor alive until the program has exited, where that is necessary: a launcher whose job does not survive the
/// death of a process treats a process that exits without finalising MPI as dead, and kills the program. When the program
/// exits, MPI kills the other processes; MPICH does not kill those that the program has spawned.
pub(crate) fn wait_for_exit(network: &mut MpiNetwork) {
    if launch::survives_process_death() {
        return;
    }
    network.disable_timeouts();
    poll_until(network, None, |network| {
        let living = network.living();
        let controller = living.iter().find(|(host, _)| *host == HostId::CONTROLLER);
        controller.is_none_or(|(_, message)| *message == Some(MessageKind::Shutdown))
    });
    // The program must exit first, so that the job gets its exit code.
    std::thread::sleep(2 * EXIT_TIMEOUT);
}

fn send_to_all(network: &mut MpiNetwork, kind: MessageKind) {
    network.living().into_iter().for_each(|(host, _)| network.send_signal(host, kind));
}

/// Wakes the sleeping ranks of the hosts that are not lost.
fn wake_sleepers(network: &MpiNetwork, topology: &Topology, world: &Communicator, mode: ShutdownMode) {
    let lost = network.lost();
    let end = Instant::now() + FLUSH_TIMEOUT;
    let mut sends = Vec::new();
    for (place, host) in (0..).map(HostId::new).zip(&topology.hosts) {
        if lost.contains(&place) {
            continue;
        }
        for rank in host.sleepers() {
            match world.send(rank, SLEEPERS, worker::wake_message(mode == ShutdownMode::Finalize)) {
                Ok(send) => sends.push(send),
                Err(error) => log::warn!(
                    "the sleeping rank {rank} cannot be woken, so its process may outlive the session: {error}"
                ),
            }
        }
    }
    // The messages are so short that no MPI waits for their receivers.
    for mut send in sends {
        while matches!(send.test(), Ok(false)) && Instant::now() < end {
            std::thread::sleep(POLL_INTERVAL);
        }
    }
}

/// Polls the network until it is `done`; false if the limit ends first. Other arrivals are discarded.
fn poll_until(network: &mut MpiNetwork, limit: Option<Duration>, done: impl Fn(&MpiNetwork) -> bool) -> bool {
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
        std::thread::sleep(POLL_INTERVAL);
    }
}
