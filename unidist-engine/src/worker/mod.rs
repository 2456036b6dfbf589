//! A worker or actor process, which runs the calls.
//!
//! A worker begins before `main`, and so before the Rust runtime; `runtime` does what that does. It has three threads,
//! besides the one on which it began, which waits for the first of them:
//!
//! - The *task thread* runs user code (`task_loop`). While it has nothing to run, or waits for a reply, it reads the
//!   link itself.
//! - The *link thread* reads the link while the task thread is in user code: it gives queued calls back and receives
//!   replies for other threads of the user. The engine wakes it only for urgent messages.
//! - The *watch thread* waits until the socket to the engine closes, which means that the program has ended, and ends
//!   the process.

mod cancelled;
mod engine_link;
mod runtime;
mod stack;
mod task_loop;
mod task_queue;
mod transport;

use crate::client::Client;
use crate::host::outlive_signals;
use crate::link::handshake::{self, Joined, WORKER_VARIABLE};
use crate::logging;
use crate::store::client::ObjectStore;
use engine_link::EngineLink;
use runtime::MainThread;
use rustix::process::{Pid, Signal};
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;
use task_loop::TaskLoop;
use unidist_backend::{Backend, Program};
use unidist_sync::{Sleeper, with_cause};

/// The exit code of a process that cannot join its session.
const CANNOT_JOIN: i32 = 70;
/// How often the link thread reads the link without being woken.
const LINK_THREAD_SLEEP: Duration = Duration::from_secs(1);

/// In a process that was started as a worker: serves until the session ends, then ends the process. In any other
/// process: returns at once.
///
/// Call it before anything else. Tasks run on a thread that is like the one of `main`; `install` gets the backend for the
/// calls that they make.
pub fn serve_if_worker(program: Program, install: fn(Arc<dyn Backend>)) {
    let Some(parent) = std::env::var_os(WORKER_VARIABLE) else {
        return;
    };
    forget_variable();
    runtime::start();
    outlive_signals();
    let code = match serve(&parent.to_string_lossy(), program, install) {
        Ok(()) => 0,
        Err(why) => {
            eprintln!("unidist worker: {why}");
            CANNOT_JOIN
        }
    };
    std::process::exit(code);
}

/// Programs that tasks start are not workers.
#[allow(unsafe_code)]
fn forget_variable() {
    // SAFETY: the process has just started as a worker and has no other thread yet that could read the environment.
    unsafe { std::env::remove_var(WORKER_VARIABLE) };
}

fn serve(parent: &str, program: Program, install: fn(Arc<dyn Backend>)) -> Result<(), String> {
    die_with_parent(parent)?;
    let socket = Arc::new(take_socket()?);
    // A thread that cannot start is a reason not to join, which the engine reports.
    let (link, store, main) = handshake::join(&socket, &(program.build_id)(), |joined| {
        let Joined { welcome, link, segment, spill } = joined;
        let name = logging::name_on(welcome.process, welcome.host.as_deref());
        logging::start(&name, welcome.log_dir.as_deref(), "");
        let small = welcome.inline_limit as usize;
        let main = MainThread::start(link.clone()).map_err(|error| cannot_start_thread(&error))?;
        let link = Arc::new(EngineLink::new(welcome.process, welcome.actor, link, segment.clone(), small));
        let store = ObjectStore::new(segment, spill, link.clone(), small);
        let watched = socket.clone();
        spawn("unidist-watch", move || watch(&watched))?;
        let link_thread = link.clone();
        spawn("unidist-link", move || run_link_thread(&link_thread))?;
        Ok((link, store, main))
    })?;
    install(Arc::new(Client::new(link.clone(), store.clone())));
    main.run(move || TaskLoop::run(link, store, program))
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<(), String> {
    let thread = std::thread::Builder::new().name(name.into()).spawn(body);
    thread.map(drop).map_err(|error| cannot_start_thread(&error))
}

fn cannot_start_thread(error: &std::io::Error) -> String {
    format!("cannot start a thread: {}", with_cause(error))
}

/// Has the kernel kill this process when the thread that started it ends.
pub(crate) fn die_with_parent(parent: &str) -> Result<(), String> {
    // Where a sandbox refuses this, the watch thread alone sees the program's end.
    let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
    let now = rustix::process::getppid().map(Pid::as_raw_nonzero);
    match parent.parse::<i32>() {
        Ok(expected) if now.is_some_and(|now| now.get() == expected) => Ok(()),
        Ok(expected) => Err(format!("the program that started it (process {expected}) has ended")),
        Err(_) => Err(format!("{WORKER_VARIABLE} is set, which is reserved for unidist: unset it")),
    }
}

/// Takes the link from standard input, which is empty for the tasks.
pub(crate) fn take_socket() -> Result<UnixStream, String> {
    let failed = |error: std::io::Error| format!("its standard input is not a socket of the engine: {error}");
    let stdin = std::io::stdin();
    rustix::net::getpeername(stdin.as_fd()).map_err(|error| failed(error.into()))?;
    let socket: OwnedFd = stdin.as_fd().try_clone_to_owned().map_err(failed)?;
    let null = File::open("/dev/null").map_err(failed)?;
    rustix::stdio::dup2_stdin(null).map_err(|error| failed(error.into()))?;
    Ok(UnixStream::from(socket))
}

/// Ends the process when the program has ended, even if a task never returns.
fn watch(mut socket: &UnixStream) {
    let mut byte = [0];
    loop {
        match socket.read(&mut byte) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Ok(1..) => {}
            Ok(0) | Err(_) => break,
        }
    }
    // It cannot fail: the process may signal itself.
    let _ = rustix::process::kill_process(rustix::process::getpid(), Signal::KILL);
}

fn run_link_thread(link: &EngineLink) {
    loop {
        let announced = link.bell().token(Sleeper::Standby);
        if link.pump() {
            link.bell().ring_driver();
        }
        link.announce_standby();
        link.bell().sleep(announced, LINK_THREAD_SLEEP);
    }
}

#[cfg(test)]
mod tests;
