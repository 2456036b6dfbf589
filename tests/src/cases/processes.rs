//! What a worker has of a process: its runtime, its streams, its limits and its surroundings.

use super::programs::{Program, finish};
use crate::case::{Case, PYMP, Result, cases};
use crate::process::{eventually, is_alive};
use crate::support::{BOUND, Counter, process, square};
use crate::unix::set_variable;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use unidist::prelude::*;

pub(super) const CASES: &[Case] = cases!["processes":
    broken_pipe_is_an_error_in_a_task,
    broken_pipe_is_an_error_in_an_actor,
    closed_output_is_an_error.bare().only(PYMP),
    stack_overflow_is_reported.bare().only(PYMP),
    stack_overflow_of_an_actor_is_reported.bare().only(PYMP),
    output_is_flushed.bare().only(PYMP),
    tasks_run_on_a_thread_named_main.only(PYMP),
    tasks_see_the_arguments_of_the_program,
    commands_have_the_limits_of_the_program.bare().one_host(),
    commands_have_default_signals,
    surroundings_are_those_of_init.bare().one_host().only(PYMP),
];

/// Programs that the cases above start.
pub(super) const PROGRAMS: &[Case] = cases!["process_programs":
    printing_program.bare(), overflowing_program.bare(), overflowing_actor_program.bare(),
    unflushed_program.bare(),
];

/// Writes to the input of a command that has ended.
fn write_to_an_ended_command() -> std::io::Result<std::io::ErrorKind> {
    let mut command = Command::new("true").stdin(Stdio::piped()).spawn()?;
    let mut input = command.stdin.take().expect("it is piped");
    command.wait()?;
    Ok(input.write_all(b"too late").expect_err("the command has ended").kind())
}

#[remote]
fn writes_to_an_ended_command() -> std::io::Result<String> {
    write_to_an_ended_command().map(|kind| kind.to_string())
}

/// Regression: writing into a closed pipe is an error of the write, as in `main`, not the end of the worker.
fn broken_pipe_is_an_error_in_a_task() -> Result {
    assert_eq!(get(writes_to_an_ended_command.remote())?, "broken pipe");
    Ok(())
}

/// Counts closed pipes.
struct Writer(u32);

#[remote]
impl Writer {
    #[new]
    fn new() -> Self {
        Writer(0)
    }

    fn write(&mut self) -> std::io::Result<u32> {
        self.0 += u32::from(write_to_an_ended_command()? == std::io::ErrorKind::BrokenPipe);
        Ok(self.0)
    }
}

/// Regression: the same in an actor, which keeps its state.
fn broken_pipe_is_an_error_in_an_actor() -> Result {
    let writer = Writer::remote();
    assert_eq!(get((writer.write.remote(), writer.write.remote()))?, (1, 2));
    Ok(())
}

#[remote]
fn prints(text: String) -> std::io::Result<()> {
    let mut out = std::io::stdout();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Prints in tasks until its output is closed. The error is on standard error.
fn printing_program() -> Result {
    let _session = unidist::init()?;
    loop {
        get(prints.remote("a line\n"))?;
    }
}

/// Regression: a task that prints where no process reads any more (`program | head -1`) gets an error.
fn closed_output_is_an_error() -> Result {
    let mut program = Program::start("process_programs::printing_program");
    assert_eq!(program.line().as_deref(), Some("a line"));
    program.close_output();
    let (_, errors) = finish(program);
    assert!(errors.contains("Broken pipe"), "{errors}");
    Ok(())
}

/// Overflows the stack.
pub(super) fn deeper(n: u64) -> u64 {
    std::hint::black_box(if n == u64::MAX { n } else { deeper(std::hint::black_box(n + 1)) + 1 })
}

struct Deep;

#[remote]
impl Deep {
    #[new]
    fn new() -> Self {
        Deep
    }

    fn overflow(&self) -> u64 {
        deeper(0)
    }
}

fn overflowing_program() -> Result {
    let _session = unidist::init()?;
    let overflows = || deeper(0);
    eprintln!("lost: {:?}", get(overflows.remote()).unwrap_err());
    assert_eq!(get(square.remote(3))?, 9);
    Ok(())
}

fn overflowing_actor_program() -> Result {
    let _session = unidist::init()?;
    eprintln!("lost: {:?}", get(Deep::remote().overflow.remote()).unwrap_err());
    Ok(())
}

fn reports_an_overflow(program: &str) {
    let (status, errors) = finish(Program::start(program));
    assert!(errors.contains("its stack overflowed"), "{errors}"); // in the error of the call
    assert!(status.success(), "{errors}");
    assert!(errors.contains("thread 'main'") && errors.contains("has overflowed its stack"), "{errors}");
    assert!(errors.contains("lost: "), "{errors}");
}

/// A worker whose stack overflows prints Rust's message.
fn stack_overflow_is_reported() -> Result {
    reports_an_overflow("process_programs::overflowing_program");
    Ok(())
}

/// The same for an actor.
fn stack_overflow_of_an_actor_is_reported() -> Result {
    reports_an_overflow("process_programs::overflowing_actor_program");
    Ok(())
}

/// Prints without a line break.
struct Printer;

#[remote]
impl Printer {
    #[new]
    fn new() -> Self {
        Printer
    }

    fn print(&self) {
        print!("<actor>");
    }
}

fn unflushed_program() -> Result {
    let _session = unidist::init()?;
    let prints = || print!("<task>");
    let printer = Printer::remote();
    get((prints.remote(), printer.print.remote())).map(drop)
}

/// What tasks and actors have printed is written when their processes end with the session.
fn output_is_flushed() -> Result {
    let mut program = Program::start("process_programs::unflushed_program");
    let output = program.line().unwrap_or_default();
    assert!(finish(program).0.success());
    assert!(output.contains("<task>") && output.contains("<actor>"), "{output:?}");
    Ok(())
}

/// The thread that runs tasks has the name that it has in a program.
fn tasks_run_on_a_thread_named_main() -> Result {
    let name = || std::thread::current().name().map(str::to_owned);
    assert_eq!(get(name.remote())?.as_deref(), Some("main"));
    Ok(())
}

/// The arguments of the program are those of its workers.
fn tasks_see_the_arguments_of_the_program() -> Result {
    let arguments = || std::env::args().skip(1).collect::<Vec<_>>();
    assert_eq!(get(arguments.remote())?, arguments());
    Ok(())
}

/// What a command prints on its standard output.
#[remote]
pub(super) fn output_of(script: String) -> std::io::Result<String> {
    let output = Command::new("sh").arg("-c").arg(script).output()?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// A session may raise its limit of open files; commands have the limit that the program was given.
fn commands_have_the_limits_of_the_program() -> Result {
    let given = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(200), ..given }).unwrap();
    let session = unidist::init()?;
    assert_eq!(get(output_of.remote("ulimit -n"))?, "200");
    assert_eq!(output_of("ulimit -n".into()).unwrap(), "200"); // in the program
    drop(session);
    Ok(())
}

/// Commands that tasks start can be interrupted and end with a closed pipe, as any command.
fn commands_have_default_signals() -> Result {
    for signal in ["INT", "TERM", "HUP", "USR1", "PIPE"] {
        let ended = output_of.remote(format!("(sh -c 'kill -{signal} $$; echo it lives on'); true"));
        assert_eq!(get(ended)?, "", "{signal}");
    }
    Ok(())
}

/// Processes that start later have the environment and the folder that the program had at `init`.
fn surroundings_are_those_of_init() -> Result {
    const NAME: &str = "UNIDIST_TESTS_SURROUNDINGS";
    #[remote]
    fn surroundings() -> (Option<String>, PathBuf) {
        (std::env::var(NAME).ok(), std::env::current_dir().unwrap())
    }
    set_variable(NAME, "before");
    let at_init = (Some("before".to_owned()), std::env::current_dir().unwrap());
    let session = unidist::init()?;
    set_variable(NAME, "after");
    std::env::set_current_dir("/").unwrap();
    assert_eq!(get(surroundings.remote())?, at_init);
    for _ in 0..2 {
        let worker = get(process.remote())?;
        super::crashes::kill(worker);
        assert!(eventually(BOUND, || !is_alive(worker)));
        assert_eq!(get(surroundings.remote())?, at_init);
    }
    let counter = Counter::remote(1);
    let actor = get(counter.process.remote())?;
    assert_eq!(std::fs::read_link(format!("/proc/{actor}/cwd")).unwrap(), at_init.1);
    drop(session);
    Ok(())
}
