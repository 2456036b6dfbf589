//! How processes join and leave a session: `mpiexec -n 1 TEST spread` with further hosts, or `mpiexec -n 4 TEST` with
//! `UNIDIST_MPI_SPAWN=false`. Without a launcher, the program starts itself with three ranks on this host.
//!
//! On each further host, a monitor echoes messages until it gets another one.
#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::process::ExitCode;
use std::time::{Duration, Instant};
use unidist_config::Settings;
use unidist_core::PROGRAM;
use unidist_engine::network::{Arrival, HostId};
use unidist_mpi::controller::Joined;
use unidist_mpi::{Participant, controller, launch, monitor};

fn main() -> ExitCode {
    if std::env::args().any(|argument| argument == "--list") {
        return ExitCode::SUCCESS;
    }
    if let Some(arguments) = monitor::program_arguments() {
        assert_eq!(arguments, ["spread"]);
        serve(monitor::join(PROGRAM).unwrap());
        return ExitCode::SUCCESS;
    }
    let spread = std::env::args().nth(1).is_some_and(|argument| argument == "spread");
    if !launch::under_launcher() && !spread {
        return support::start_myself(&[3], &[("UNIDIST_MPI_SPAWN", "no")]);
    }
    let settings = Settings::resolve().unwrap();
    for _ in 0..if settings.mpi.spawn { 2 } else { 1 } {
        let start = Instant::now();
        match controller::join(&settings, PROGRAM) {
            Err(error) => {
                eprintln!("{error}");
                return ExitCode::FAILURE;
            }
            Ok(Joined::Alone(slots)) => println!("alone, {slots:?} slots"),
            Ok(Joined::Session(session)) if session.place() == HostId::CONTROLLER => {
                println!("joined in {:.0} ms", start.elapsed().as_secs_f64() * 1e3);
                control(session);
            }
            Ok(Joined::Session(session)) => {
                serve(session);
                return ExitCode::SUCCESS;
            }
        }
    }
    ExitCode::SUCCESS
}

fn control(session: Participant) {
    for host in &session.topology().hosts {
        println!("{host:?}");
    }
    let further: Vec<_> = (1..session.topology().hosts.len() as u32).map(HostId::new).collect();
    let mut network = session.network();
    further.iter().for_each(|host| network.send(*host, b"there".to_vec()));
    let mut arrivals = Vec::new();
    while arrivals.len() < further.len() {
        network.poll(&mut arrivals);
    }
    assert!(arrivals.iter().all(|arrival| matches!(arrival, Arrival::Message(_, text) if text == b"there")));
    further.iter().for_each(|host| network.send(*host, b"end".to_vec()));
    drop(network);
    let start = Instant::now();
    session.leave(true).unwrap();
    println!("left in {:.0} ms", start.elapsed().as_secs_f64() * 1e3);
}

fn serve(session: Participant) {
    let mut network = session.network();
    let mut arrivals = Vec::new();
    'serving: loop {
        network.poll(&mut arrivals);
        for arrival in arrivals.drain(..) {
            match arrival {
                Arrival::Message(from, text) if text == b"there" => network.send(from, text),
                Arrival::Message(..) => break 'serving,
                other => panic!("{other:?}"),
            }
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    drop(network);
    session.leave(true).unwrap();
}
