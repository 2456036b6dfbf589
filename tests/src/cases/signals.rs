//! Signals that programs, terminals and batch systems send.

use super::programs::{Program, finish};
use crate::case::{Case, PYMP, Result, cases};
use crate::process::{eventually, is_alive};
use crate::support::{BOUND, Counter, Signal, blocked_on, is_parallel, square};
use crate::unix;
use rustix::process::{Signal as UnixSignal, getpgrp, getpid, kill_process, kill_process_group};
use std::os::unix::process::ExitStatusExt;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;
use unidist::config::TerminateGrace;
use unidist::prelude::*;
use unidist::{Error, on_terminate};

pub(super) const CASES: &[Case] = cases!["signals":
    handled_signals_leave_workers_and_actors.bare().one_host().only(PYMP),
    unhandled_signal_ends_program_and_workers.bare().one_host().only(PYMP),
    hooks_run_before_the_program_ends.bare().one_host(), end_of_main_waits_for_hooks.bare().one_host(),
    second_interrupt_ends_the_program.bare().one_host(), hooks_have_limited_time.bare().one_host(),
    handled_signal_runs_no_hook.bare().one_host(), hooks_end_with_their_session.bare().one_host(),
    hooks_need_the_program.bare(), signal_to_a_forked_child_runs_no_hook.one_host().alone(),
];

/// Programs that the cases above start.
pub(super) const PROGRAMS: &[Case] = cases!["signal_programs":
    handling_program.bare(), unhandling_program.bare(), saving_program.bare(), ending_program.bare(),
    stuck_program.bare(), hasty_program.bare(), half_handling_program.bare(),
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
        let starting = [Counter::remote(5), Counter::remote(6)]; // may be signalled while it starts
        kill_process_group(getpgrp(), name).unwrap();
        assert_eq!(get(counter.add.remote(1))?, round, "{name:?}");
        assert_eq!(get(starting.each_ref().map(|actor| actor.value.remote()))?, [5, 6], "{name:?}");
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
    stay()
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

fn stay() -> ! {
    loop {
        std::thread::park();
    }
}

/// Prints the state of an actor when it has to end; works on meanwhile.
fn save_at_end(counter: &ActorHandle<Counter>) -> Result {
    let counter = counter.clone();
    on_terminate(move || println!("saved {}", get(counter.add.remote(1)).unwrap()))
}

fn saving_program() -> Result {
    let _session = unidist::init()?;
    let counter = Counter::remote(1);
    save_at_end(&counter)?;
    on_terminate(|| panic!("one hook's own"))?;
    on_terminate(|| println!("last"))?;
    println!("ready");
    loop {
        get(counter.value.remote())?;
    }
}

/// The hooks of a program run when it gets a signal, alone or with its group; then it ends by that signal.
fn hooks_run_before_the_program_ends() -> Result {
    for (signal, is_for_all) in [(UnixSignal::TERM, true), (UnixSignal::TERM, false), (UnixSignal::INT, true)]
    {
        let mut program = Program::start("signal_programs::saving_program");
        assert_eq!(program.line().as_deref(), Some("ready"));
        if is_for_all {
            program.signal_group(signal)
        } else {
            program.signal(signal)
        }
        let lines = [program.line(), program.line(), program.line()];
        assert_eq!(lines.each_ref().map(Option::as_deref), [Some("saved 2"), Some("last"), None]);
        let (status, errors) = finish(program);
        assert_eq!(status.signal(), Some(signal.as_raw()));
        assert!(errors.contains("one hook's own"), "{errors}");
    }
    Ok(())
}

/// Returns from `main` while a hook runs.
fn ending_program() -> Result {
    let _session = unidist::init()?;
    let counter = Counter::remote(1);
    let (begins, begun) = channel();
    on_terminate(move || {
        begins.send(()).unwrap();
        (0..200).for_each(|_| _ = get(counter.add.remote(1)).unwrap());
        println!("saved {}", get(counter.value.remote()).unwrap());
    })?;
    println!("ready");
    begun.recv().unwrap();
    Ok(())
}

/// A session that ends while a hook runs waits for it.
fn end_of_main_waits_for_hooks() -> Result {
    let mut program = Program::start("signal_programs::ending_program");
    assert_eq!(program.line().as_deref(), Some("ready"));
    program.signal(UnixSignal::TERM);
    assert_eq!(program.line().as_deref(), Some("saved 201"));
    assert_eq!(finish(program).0.signal(), Some(UnixSignal::TERM.as_raw()));
    Ok(())
}

fn stuck_program() -> Result {
    let _session = unidist::init()?;
    on_terminate(|| {
        println!("begun");
        stay()
    })?;
    println!("ready");
    stay()
}

/// A second Ctrl-C does not wait for the hooks.
fn second_interrupt_ends_the_program() -> Result {
    let mut program = Program::start("signal_programs::stuck_program");
    assert_eq!(program.line().as_deref(), Some("ready"));
    program.signal(UnixSignal::INT);
    assert_eq!(program.line().as_deref(), Some("begun"));
    program.signal(UnixSignal::INT);
    assert_eq!(finish(program).0.signal(), Some(UnixSignal::INT.as_raw()));
    Ok(())
}

fn hasty_program() -> Result {
    TerminateGrace::put(Duration::from_millis(50))?;
    stuck_program()
}

/// Hooks that do not return within the grace period end with the program, which says so.
fn hooks_have_limited_time() -> Result {
    let mut program = Program::start("signal_programs::hasty_program");
    assert_eq!(program.line().as_deref(), Some("ready"));
    program.signal(UnixSignal::TERM);
    let (status, errors) = finish(program);
    assert_eq!(status.signal(), Some(UnixSignal::TERM.as_raw()));
    assert!(errors.contains("UNIDIST_TERMINATE_GRACE"), "{errors}");
    Ok(())
}

/// Handles SIGTERM itself.
fn half_handling_program() -> Result {
    unix::handle(UnixSignal::TERM);
    let _session = unidist::init()?;
    let counter = Counter::remote(1);
    save_at_end(&counter)?;
    kill_process(getpid(), UnixSignal::TERM).unwrap();
    println!("ready {}", get(counter.value.remote())?);
    stay()
}

/// Signals that the program handles stay its own.
fn handled_signal_runs_no_hook() -> Result {
    let mut program = Program::start("signal_programs::half_handling_program");
    assert_eq!(program.line().as_deref(), Some("ready 1"));
    program.signal(UnixSignal::INT);
    assert_eq!(program.line().as_deref(), Some("saved 2"));
    assert_eq!(finish(program).0.signal(), Some(UnixSignal::INT.as_raw()));
    Ok(())
}

/// Whether this process handles a signal, as the system tells it.
fn is_handled(signal: UnixSignal) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
    u64::from_str_radix(mask.trim(), 16).unwrap() & (1 << (signal.as_raw() - 1)) != 0
}

/// The hooks of a session are dropped with it, and signals end the program as before; a later session has hooks again.
fn hooks_end_with_their_session() -> Result {
    for _ in 0..2 {
        let session = unidist::init()?;
        let kept = Arc::new(());
        let (by_hook, counter) = (kept.clone(), Counter::remote(1));
        on_terminate(move || drop((by_hook, counter)))?;
        assert!(is_handled(UnixSignal::TERM) && is_handled(UnixSignal::INT));
        drop(session);
        assert_eq!(Arc::strong_count(&kept), 1);
        assert!(!is_handled(UnixSignal::TERM) && !is_handled(UnixSignal::INT));
        if crate::environment::Environment::from_variables().is_spmd() {
            break;
        }
    }
    Ok(())
}

/// Hooks belong to a session of the program: there are none without, and none in a worker.
fn hooks_need_the_program() -> Result {
    assert!(matches!(on_terminate(|| ()), Err(Error::NotInitialized { .. })));
    let session = unidist::init()?;
    let in_a_task = || on_terminate(|| ());
    assert_eq!(get(in_a_task.remote()).is_err(), is_parallel());
    drop(session);
    Ok(())
}

/// A forked child has the handlers of its parent, but a signal to it ends the child alone.
fn signal_to_a_forked_child_runs_no_hook() -> Result {
    on_terminate(|| println!("it must not run"))?;
    let ended_well = unix::in_forked_child(|| kill_process(getpid(), UnixSignal::TERM).is_err());
    assert!(!ended_well);
    assert_eq!(get(square.remote(3))?, 9);
    Ok(())
}
