//! Starts processes, performs the handshake with them, and detects their end.
//!
//! One thread does all of it and lives as long as the session, since Linux sends a child its parent-death signal when the
//! *thread* that started it ends.

use super::affinity::{CpuSet, CpuSets};
use super::child_end;
use super::oom::OomCounter;
use super::open_files::OpenFiles;
use super::signals::is_interrupted;
use super::surroundings::Surroundings;
use crate::link::handshake::{self, AnswerReader, WORKER_VARIABLE};
use crate::link::ring::LinkMemory;
use crate::protocol::handshake::Welcome;
use crate::store::segment::Segment;
use crate::store::spill::SpillFile;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec};
use rustix::process::Pid;
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use unidist_backend::LaunchCommand;
use unidist_common::{Error, ProcessId};
use unidist_sync::{SystemCallError, error_number, with_cause};

/// The time that a process has to join.
const JOIN_TIMEOUT: Duration = Duration::from_secs(60);
/// The time from the first byte of a process's answer to its last one.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

/// How often a process that a signal has ended before it joined is started again.
const MAX_INTERRUPTIONS: u32 = 3;
/// Explains the end of a process in the error of its calls.
const STACK_OVERFLOWED: &str = "; its stack overflowed: let the function recurse less deeply, or raise the limit of the stack (`ulimit -s`)";

/// An event in the life of a process.
#[derive(Debug)]
pub(crate) enum ProcessEvent {
    /// It has joined.
    Joined {
        process: ProcessId,
        /// Its id in the operating system.
        pid: u32,
        link: Arc<LinkMemory>,
    },
    /// It has ended or could not be started, for this reason.
    Lost(ProcessId, String),
}

/// The settings of the supervisor.
pub(crate) struct SupervisorConfig {
    pub(crate) command: LaunchCommand,
    pub(crate) segment: Arc<Segment>,
    pub(crate) spill: Option<Arc<SpillFile>>,
    /// The welcome of each process, except for its id and role.
    pub(crate) welcome: Welcome,
    /// Called with each event, on the supervisor's thread.
    pub(crate) notify: Box<dyn Fn(ProcessEvent) + Send>,
}

enum Instruction {
    Start { process: ProcessId, actor: bool },
    Kill(ProcessId),
    End,
}

/// The handle of the supervisor's thread.
#[derive(Debug)]
pub(crate) struct Supervisor {
    instructions: Sender<Instruction>,
    wake: Arc<OwnedFd>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Supervisor {
    pub(crate) fn start(config: SupervisorConfig) -> Result<Supervisor, Error> {
        let failed = |error: io::Error| {
            Error::system("cannot start the supervisor of the workers", with_cause(&error))
        };
        let wake = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK);
        let wake = Arc::new(wake.map_err(|error| failed(SystemCallError::new("eventfd", error).into()))?);
        let (instructions, inbox) = channel();
        let cpu_sets = CpuSets::new(config.command.affinities.clone());
        let supervision = Supervision {
            surroundings: Surroundings::of(&config.command),
            open_files: OpenFiles::new(),
            config,
            cpu_sets,
            inbox,
            wake: wake.clone(),
            processes: BTreeMap::new(),
            oom: OomCounter::new(),
        };
        let thread = std::thread::Builder::new()
            .name("unidist-supervisor".into())
            .spawn(move || supervision.run())
            .map_err(failed)?;
        Ok(Supervisor { instructions, wake, thread: Mutex::new(Some(thread)) })
    }

    /// Starts a process; an event follows.
    pub(crate) fn launch(&self, process: ProcessId, actor: bool) {
        self.send(Instruction::Start { process, actor });
    }

    /// Kills a process; an event follows.
    pub(crate) fn kill(&self, process: ProcessId) {
        self.send(Instruction::Kill(process));
    }

    /// Kills and reaps all remaining processes and ends the thread.
    pub(crate) fn end(&self) {
        self.send(Instruction::End);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // A panic of the thread has been reported by the panic hook; its children ended with it.
            let _ = thread.join();
        }
    }

    /// Whether its thread, which has all processes, has not ended.
    #[cfg(test)]
    pub(crate) fn has_processes(&self) -> bool {
        self.thread.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    fn send(&self, instruction: Instruction) {
        // It fails only after the end, when no process is left.
        let _ = self.instructions.send(instruction);
        let _ = rustix::io::write(&*self.wake, &1u64.to_ne_bytes());
    }
}

struct Supervision {
    config: SupervisorConfig,
    cpu_sets: CpuSets,
    surroundings: Surroundings,
    open_files: OpenFiles,
    inbox: Receiver<Instruction>,
    wake: Arc<OwnedFd>,
    processes: BTreeMap<ProcessId, Process>,
    oom: OomCounter,
}

/// A process that was started.
struct Process {
    child: Child,
    /// Readable once the process has ended.
    end: OwnedFd,
    socket: UnixStream,
    link: Arc<LinkMemory>,
    answer: AnswerReader,
    /// When it has to have joined; none once it has.
    deadline: Option<Instant>,
    cpu_set: Option<CpuSet>,
    actor: bool,
    interruptions: u32,
}

/// Why a process could not be started.
struct Failure {
    reason: String,
    /// It was ended by a signal that was meant for the program.
    is_interrupted: bool,
}

impl Supervision {
    fn run(mut self) {
        loop {
            loop {
                match self.inbox.try_recv() {
                    Ok(Instruction::Start { process, actor }) => self.start(process, actor, 0),
                    Ok(Instruction::Kill(process)) => self.kill(process),
                    Ok(Instruction::End) | Err(TryRecvError::Disconnected) => return self.end(),
                    Err(TryRecvError::Empty) => break,
                }
            }
            for (process, observation) in self.watch() {
                match observation {
                    Observation::Ended => self.reap(process, None),
                    Observation::Answered => self.read_answer(process),
                    Observation::TimedOut => self.time_out(process),
                }
            }
        }
    }

    /// `interruptions`: how often it was ended by a signal before it joined.
    fn start(&mut self, process: ProcessId, actor: bool, interruptions: u32) {
        match self.spawn(process, actor) {
            Ok(started) => {
                self.processes.insert(process, Process { interruptions, ..started });
            }
            Err(Failure { is_interrupted: true, .. }) if interruptions < MAX_INTERRUPTIONS => {
                self.start(process, actor, interruptions + 1);
            }
            Err(failure) => self.lost(process, failure.reason),
        }
    }

    fn spawn(&mut self, process: ProcessId, actor: bool) -> Result<Process, Failure> {
        let program = self.config.command.program.display().to_string();
        self.open_files.make_room(self.processes.len());
        let mut attempt = self.spawn_without_greeting(process, actor);
        if attempt.as_ref().is_err_and(is_limit_of_files) && self.open_files.raise_to_maximum() {
            attempt = self.spawn_without_greeting(process, actor);
        }
        let mut started = attempt.map_err(|error| Failure {
            reason: format!("cannot start `{program}`: {}", with_cause(&error)),
            is_interrupted: false,
        })?;
        self.open_files.restore(Pid::from_child(&started.child));
        // Before the greeting the process has no other threads, which would keep the inherited CPUs.
        started.cpu_set = self.cpu_sets.assign(Pid::from_child(&started.child), actor);
        let welcome = Welcome { process, actor, ..self.config.welcome.clone() };
        let spill = self.config.spill.as_deref();
        match handshake::greet(&started.socket, &welcome, &started.link, &self.config.segment, spill) {
            Ok(()) => Ok(started),
            Err(error) => {
                self.cpu_sets.release(started.cpu_set);
                let _ = started.child.kill();
                let status = started.child.wait();
                let is_interrupted = status.as_ref().is_ok_and(|status| is_interrupted(*status));
                let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
                let reason = format!(
                    "`{program}` ended ({status}) before it joined ({error}): check that it is a program that \
                     uses unidist"
                );
                Err(Failure { reason, is_interrupted })
            }
        }
    }

    fn spawn_without_greeting(&self, process: ProcessId, actor: bool) -> io::Result<Process> {
        let link = LinkMemory::create()?;
        let (ours, theirs) = UnixStream::pair()?;
        let command = &self.config.command;
        let role = if actor { "actor" } else { "worker" };
        let mut start = Command::new(&command.program);
        self.surroundings.apply(&mut start);
        let mut child = start
            .arg0(format!("unidist-{role}-{}", process.number()))
            .args(&command.args)
            .env(WORKER_VARIABLE, std::process::id().to_string())
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .spawn()?;
        match child_end::watch(Pid::from_child(&child)) {
            Ok(end) => {
                let (answer, deadline) = (AnswerReader::default(), Some(Instant::now() + JOIN_TIMEOUT));
                let (cpu_set, interruptions) = (None, 0);
                Ok(Process {
                    child,
                    end,
                    socket: ours,
                    link,
                    answer,
                    deadline,
                    cpu_set,
                    actor,
                    interruptions,
                })
            }
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(error)
            }
        }
    }

    /// Sleeps until there are instructions or the state of a process has changed.
    fn watch(&self) -> Vec<(ProcessId, Observation)> {
        let now = Instant::now();
        let mut fds = vec![PollFd::new(&*self.wake, PollFlags::IN)];
        for process in self.processes.values() {
            fds.push(PollFd::from_borrowed_fd(process.end.as_fd(), PollFlags::IN));
            let answer = if process.deadline.is_some() { PollFlags::IN } else { PollFlags::empty() };
            fds.push(PollFd::from_borrowed_fd(process.socket.as_fd(), answer));
        }
        let next = self.processes.values().filter_map(|process| process.deadline).min();
        let timeout = next.map(|deadline| {
            let left = deadline.saturating_duration_since(now) + Duration::from_millis(1);
            Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) }
        });
        // If it is interrupted, nothing is observed, and the caller calls again.
        let _ = rustix::event::poll(&mut fds, timeout.as_ref());
        let mut counter = [0; 8];
        let _ = rustix::io::read(&*self.wake, &mut counter);
        let now = Instant::now();
        let mut observations = Vec::new();
        for ((id, process), pair) in self.processes.iter().zip(fds[1..].chunks(2)) {
            let answered = process.deadline.is_some() && !pair[1].revents().is_empty();
            // A process that has joined sends nothing here: it has ended, or closed the socket that it must keep open.
            let hung_up = process.deadline.is_none() && !pair[1].revents().is_empty();
            if (!pair[0].revents().is_empty() || hung_up) && !answered {
                observations.push((*id, Observation::Ended));
            } else if process.deadline.is_some_and(|deadline| deadline <= now) {
                observations.push((*id, Observation::TimedOut));
            } else if answered {
                observations.push((*id, Observation::Answered));
            }
        }
        observations
    }

    fn read_answer(&mut self, id: ProcessId) {
        let Some(process) = self.processes.get_mut(&id) else {
            return;
        };
        let had_begun = process.answer.has_begun();
        match process.answer.read_available(&process.socket, &self.config.welcome.build_id) {
            Some(Ok(())) => {
                process.deadline = None;
                let (pid, link) = (process.child.id(), process.link.clone());
                (self.config.notify)(ProcessEvent::Joined { process: id, pid, link });
            }
            Some(Err(reason)) => self.reap(id, Some(reason)),
            None if had_begun => {}
            None => {
                let deadline = Instant::now() + ANSWER_TIMEOUT;
                process.deadline = process.deadline.map(|earlier| earlier.min(deadline));
            }
        }
    }

    fn time_out(&mut self, id: ProcessId) {
        let has_begun = self.processes.get(&id).is_some_and(|process| process.answer.has_begun());
        let reason = if has_begun {
            "it did not complete its answer within the time limit"
        } else {
            "it did not join within the time limit"
        };
        self.reap(id, Some(reason.into()));
    }

    fn kill(&mut self, id: ProcessId) {
        if let Some(process) = self.processes.get_mut(&id) {
            // Even if it has ended by itself, `watch` observes its end.
            let _ = process.child.kill();
        }
    }

    /// Kills the process if it still runs, and reports how it has ended. `reason`: why it could not join.
    fn reap(&mut self, id: ProcessId, reason: Option<String>) {
        let Some(mut process) = self.processes.remove(&id) else {
            return;
        };
        self.cpu_sets.release(process.cpu_set);
        let ended_by_itself = matches!(process.child.try_wait(), Ok(Some(_)));
        let _ = process.child.kill();
        let status = match process.child.wait() {
            // It had run no code of the program, and did not outlive signals yet.
            Ok(status)
                if process.deadline.is_some()
                    && is_interrupted(status)
                    && process.interruptions < MAX_INTERRUPTIONS =>
            {
                return self.start(id, process.actor, process.interruptions + 1);
            }
            Ok(status) => {
                let by_others = ended_by_itself || reason.is_none();
                let explanation = match by_others {
                    true if process.link.stack_overflowed().load(Ordering::Relaxed) != 0 => {
                        Some(STACK_OVERFLOWED.to_owned())
                    }
                    true => self.oom.explain(status),
                    false => None,
                };
                format!("{status}{}", explanation.unwrap_or_default())
            }
            Err(error) => format!("its exit status cannot be read: {error}"),
        };
        self.lost(
            id,
            match reason {
                Some(reason) if ended_by_itself => {
                    format!("its process ended ({status}) before it joined: {reason}")
                }
                Some(reason) => format!("its process could not join: {reason}"),
                None => format!("its process ended ({status})"),
            },
        );
    }

    fn lost(&self, process: ProcessId, reason: String) {
        (self.config.notify)(ProcessEvent::Lost(process, reason));
    }

    fn end(mut self) {
        for process in self.processes.values_mut() {
            let _ = process.child.kill();
        }
        for process in self.processes.values_mut() {
            let _ = process.child.wait();
        }
    }
}

fn is_limit_of_files(error: &io::Error) -> bool {
    error_number(error) == Some(rustix::io::Errno::MFILE.raw_os_error())
}

enum Observation {
    Ended,
    Answered,
    TimedOut,
}

#[cfg(test)]
mod tests;
