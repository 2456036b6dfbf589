//! Signals that programs, terminals and batch systems send.

use super::programs::{Program, finish};
use crate::case::{Case, PYMP, Result, cases};
use crate::process::{eventually, is_alive};
use crate::support::{BOUND, Counter, Signal, blocked_on};
use crate::unix;
use rustix::process::{Signal as UnixSignal, getpgrp, kill_process_group};
use std::os::unix::process::ExitStatusExt;
use unidist::prelude::*;

pub(super) const CASES: &[Case] = cases!["signals":
    handled_signals_leave_workers_and_actors.bare().one_host().only(PYMP).ignored("signals to the group end workers and actors"),
    unhandled_signal_ends_program_and_workers.bare().one_host().only(PYMP),
];

/// Programs that the cases above start.
pub(super) const PROGRAMS: &[Case] = cases!["signal_programs":
    handling_program.bare(), unhandling_program.bare(),
];

/// Signals that a terminal or a batch system sends to all processes of a program.
const SIGNALS: [UnixSignal; 6] = [
    UnixSignal::INT,
    UnixSignal::TERM,
    UnixSignal::HUP,
    UnixSignal::QUIT,
    UnixSignal::USR1,
    UnixSignal::USR2,
];

/// Handles signals itself, and sends them to its own group.
fn handling_program() -> Result {
    SIGNALS.into_iter().for_each(unix::handle);
    let _session = unidist::init()?;
    let (counter, signal) = (Counter::remote(1), Signal::remote());
    let blocked = [blocked_on.remote(&signal), blocked_on.remote(&signal)];
    get(signal.waiting.remote(2_usize))?;
    for (round, name) in (2..).zip(SIGNALS) {
        kill_process_group(getpgrp(), name).unwrap();
        assert_eq!(get(counter.add.remote(1))?, round, "{name:?}");
    }
    get(signal.open.remote())?;
    println!("{}", get(blocked)?.len());
    Ok(())
}

/// A program that handles a signal keeps its workers and actors, with their state.
fn handled_signals_leave_workers_and_actors() -> Result {
    let mut program = Program::start("signal_programs::handling_program");
    let line = program.line();
    let (status, errors) = finish(program);
    assert!(status.success() && line.as_deref() == Some("2"), "{line:?} {errors}");
    Ok(())
}

/// Prints the process ids of its workers and of an actor, and waits.
fn unhandling_program() -> Result {
    let _session = unidist::init()?;
    let (counter, signal) = (Counter::remote(1), Signal::remote());
    let blocked = [blocked_on.remote(&signal), blocked_on.remote(&signal)];
    get(signal.waiting.remote(2_usize))?;
    get(signal.open.remote())?;
    let mut processes = get(blocked)?;
    processes.push(get(counter.process.remote())?);
    println!("{}", processes.iter().map(u32::to_string).collect::<Vec<_>>().join(" "));
    loop {
        std::thread::park();
    }
}

/// A program that does not handle a signal ends by it, with all its processes.
fn unhandled_signal_ends_program_and_workers() -> Result {
    for (signal, is_for_all) in [(UnixSignal::INT, true), (UnixSignal::TERM, true), (UnixSignal::TERM, false)]
    {
        let mut program = Program::start("signal_programs::unhandling_program");
        let line = program.line().unwrap();
        let processes: Vec<u32> = line.split(' ').map(|process| process.parse().unwrap()).collect();
        if is_for_all {
            program.signal_group(signal)
        } else {
            program.signal(signal)
        }
        assert_eq!(finish(program).0.signal(), Some(signal.as_raw()));
        assert!(eventually(BOUND, || !processes.iter().any(|process| is_alive(*process))), "{line}");
    }
    Ok(())
}
