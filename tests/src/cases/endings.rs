//! How a program ends while calls run.

use super::programs::Program;
use crate::case::{Case, PYMP, Result, cases};
use crate::support::Signal;
use unidist::prelude::*;

pub(super) const CASES: &[Case] = cases!["endings":
    end_of_a_session_names_what_it_waits_for.bare().one_host().only(PYMP),
    panic_is_printed_before_the_wait.bare().one_host().only(PYMP),
];

/// Programs that the cases above start.
pub(super) const PROGRAMS: &[Case] = cases!["ending_programs":
    stuck_program.bare(), panicking_program.bare(),
];

#[remote]
fn never_returns(signal: ActorHandle<Signal>) {
    let _ = signal.wait.remote();
    loop {
        std::thread::park();
    }
}

/// Starts a call that never ends.
fn stuck() -> Result<(unidist::Session, ObjectRef<()>)> {
    let session = unidist::init()?;
    let signal = Signal::remote();
    let call = never_returns.remote(&signal);
    get(signal.waiting.remote(1_usize))?;
    Ok((session, call))
}

fn stuck_program() -> Result {
    let _stuck = stuck()?;
    get(put(1)?).map(drop)
}

fn panicking_program() -> Result {
    let _stuck = stuck()?;
    panic!("the program's own");
}

/// A session whose end waits for a call that does not return says so, and for which one.
fn end_of_a_session_names_what_it_waits_for() -> Result {
    let mut program = Program::start("ending_programs::stuck_program");
    let line = program.error_line().unwrap_or_default();
    assert!(line.contains("never_returns") && line.contains("waits"), "{line:?}");
    Ok(()) // its end kills the program
}

/// A panic is printed at once, then what the end of the session waits for.
fn panic_is_printed_before_the_wait() -> Result {
    let mut program = Program::start("ending_programs::panicking_program");
    let mut lines = Vec::new();
    while let Some(line) = program.error_line() {
        let is_last = line.contains("never_returns");
        lines.push(line);
        if is_last {
            break;
        }
    }
    let position = |text| lines.iter().position(|line: &String| line.contains(text));
    assert!(position("the program's own").is_some(), "{lines:?}");
    assert!(position("the program's own") < position("never_returns"), "{lines:?}");
    Ok(()) // its end kills the program
}
