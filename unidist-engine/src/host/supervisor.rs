//! Starts processes, greets them, and sees them end.
//!
//! One thread does all of it and lives as long as the session: Linux sends a child its parent-death signal when the
//! *thread* that started it ends.

use super::affinity::{Place, Places};
use super::oom::OomCounter;
use crate::link::handshake::{self, Reception, WORKER_VARIABLE, Welcome};
use crate::link::ring::LinkMemory;
use crate::store::segment::Segment;
use crate::store::spill::SpillFile;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec};
use rustix::process::{Pid, PidfdFlags};
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use unidist_backend::LaunchCommand;
use unidist_common::{Error, ProcessId};

/// A process has this long to join.
const JOIN_TIMEOUT: Duration = Duration::from_secs(60);
/// Once the first byte of its answer is there, all of the rest has this long, however it comes.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

/// What became of a process.
#[derive(Debug)]
pub(crate) enum ProcessEvent {
    /// It has joined; this is the memory of its link.
    Joined(ProcessId, Arc<LinkMemory>),
    /// It has ended, or could not be started, and this is why.
    Lost(ProcessId, String),
}

/// What the supervisor needs to know of the session.
pub(crate) struct SupervisorConfig {
    pub(crate) command: LaunchCommand,
    pub(crate) segment: Arc<Segment>,
    pub(crate) spill: Option<Arc<SpillFile>>,
    /// What each process is told, but for who it is.
    pub(crate) welcome: Welcome,
    /// Called with each notice, on the supervisor's thread.
    pub(crate) notify: Box<dyn Fn(ProcessEvent) + Send>,
}

enum Order {
    Start { process: ProcessId, actor: bool },
    Kill(ProcessId),
    End,
}

/// The handle of the supervisor's thread.
#[derive(Debug)]
pub(crate) struct Supervisor {
    orders: Sender<Order>,
    wake: Arc<OwnedFd>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Supervisor {
    pub(crate) fn start(config: SupervisorConfig) -> Result<Supervisor, Error> {
        let failed = |error: io::Error| Error::system("starting the supervisor of the workers", error);
        let wake = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK);
        let wake = Arc::new(wake.map_err(|error| failed(error.into()))?);
        let (orders, inbox) = channel();
        let places = Places::new(config.command.affinities.clone());
        let supervision = Supervision {
            config,
            places,
            inbox,
            wake: wake.clone(),
            people: BTreeMap::new(),
            oom: OomCounter::new(),
        };
        let thread = std::thread::Builder::new()
            .name("unidist-supervisor".into())
            .spawn(move || supervision.run())
            .map_err(failed)?;
        Ok(Supervisor { orders, wake, thread: Mutex::new(Some(thread)) })
    }

    /// Starts a process; a notice follows.
    pub(crate) fn launch(&self, process: ProcessId, actor: bool) {
        self.order(Order::Start { process, actor });
    }

    /// Kills a process; a notice follows.
    pub(crate) fn kill(&self, process: ProcessId) {
        self.order(Order::Kill(process));
    }

    /// Kills and reaps whatever is left and ends the thread.
    pub(crate) fn end(&self) {
        self.order(Order::End);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // A panic of the thread has been reported by the panic hook; its children ended with it.
            let _ = thread.join();
        }
    }

    fn order(&self, order: Order) {
        // It fails only after the end, when there is nobody left to order about.
        let _ = self.orders.send(order);
        let _ = rustix::io::write(&*self.wake, &1u64.to_ne_bytes());
    }
}

struct Supervision {
    config: SupervisorConfig,
    places: Places,
    inbox: Receiver<Order>,
    wake: Arc<OwnedFd>,
    people: BTreeMap<ProcessId, Person>,
    oom: OomCounter,
}

/// A process that was started.
struct Person {
    child: Child,
    ended: OwnedFd,
    socket: UnixStream,
    link: Arc<LinkMemory>,
    answer: Reception,
    /// Until when it has to join; none once it has.
    deadline: Option<Instant>,
    place: Option<Place>,
}

impl Supervision {
    fn run(mut self) {
        loop {
            loop {
                match self.inbox.try_recv() {
                    Ok(Order::Start { process, actor }) => self.start(process, actor),
                    Ok(Order::Kill(process)) => self.kill(process),
                    Ok(Order::End) | Err(TryRecvError::Disconnected) => return self.end(),
                    Err(TryRecvError::Empty) => break,
                }
            }
            for (process, seen) in self.watch() {
                match seen {
                    Seen::Ended => self.bury(process, None),
                    Seen::Answer => self.hear(process),
                    Seen::Late => self.late(process),
                }
            }
        }
    }

    fn start(&mut self, process: ProcessId, actor: bool) {
        match self.spawn(process, actor) {
            Ok(person) => {
                self.people.insert(process, person);
            }
            Err(why) => self.lost(process, why),
        }
    }

    fn spawn(&mut self, process: ProcessId, actor: bool) -> Result<Person, String> {
        let program = self.config.command.program.display();
        let mut person = self
            .spawn_silently(process, actor)
            .map_err(|error| format!("cannot start `{program}`: {error}"))?;
        // Before it is greeted it has no thread of its own that would keep the CPUs it came with.
        person.place = self.places.settle(Pid::from_child(&person.child), actor);
        let welcome = Welcome { process, actor, ..self.config.welcome.clone() };
        let spill = self.config.spill.as_deref();
        match handshake::greet(&person.socket, &welcome, &person.link, &self.config.segment, spill) {
            Ok(()) => Ok(person),
            Err(error) => {
                self.places.leave(person.place);
                let _ = person.child.kill();
                let status =
                    person.child.wait().map_or_else(|error| error.to_string(), |status| status.to_string());
                Err(format!(
                    "`{program}` ended ({status}) before it joined ({error}); is it a unidist program?"
                ))
            }
        }
    }

    fn spawn_silently(&self, process: ProcessId, actor: bool) -> io::Result<Person> {
        let link = LinkMemory::create()?;
        let (ours, theirs) = UnixStream::pair()?;
        let command = &self.config.command;
        let role = if actor { "actor" } else { "worker" };
        let mut start = Command::new(&command.program);
        for (name, _) in std::env::vars_os() {
            let is_dropped = |prefix: &String| name.as_encoded_bytes().starts_with(prefix.as_bytes());
            if command.dropped_env_prefixes.iter().any(is_dropped) {
                start.env_remove(&name);
            }
        }
        if let Some(dir) = &command.dir {
            start.current_dir(dir);
        }
        let mut child = start
            .arg0(format!("unidist-{role}-{}", process.number()))
            .args(&command.args)
            .envs(command.envs.iter().map(|(name, value)| (name, value)))
            .env(WORKER_VARIABLE, std::process::id().to_string())
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .spawn()?;
        match rustix::process::pidfd_open(Pid::from_child(&child), PidfdFlags::empty()) {
            Ok(ended) => {
                let (answer, deadline) = (Reception::default(), Some(Instant::now() + JOIN_TIMEOUT));
                Ok(Person { child, ended, socket: ours, link, answer, deadline, place: None })
            }
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(error.into())
            }
        }
    }

    /// Sleeps until there are orders or something has happened to a process.
    fn watch(&self) -> Vec<(ProcessId, Seen)> {
        let now = Instant::now();
        let mut fds = vec![PollFd::new(&*self.wake, PollFlags::IN)];
        for person in self.people.values() {
            fds.push(PollFd::from_borrowed_fd(person.ended.as_fd(), PollFlags::IN));
            let answer = if person.deadline.is_some() { PollFlags::IN } else { PollFlags::empty() };
            fds.push(PollFd::from_borrowed_fd(person.socket.as_fd(), answer));
        }
        let next = self.people.values().filter_map(|person| person.deadline).min();
        let timeout = next.map(|deadline| {
            let left = deadline.saturating_duration_since(now) + Duration::from_millis(1);
            Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) }
        });
        // Interrupted: nothing has been seen, and the caller comes back.
        let _ = rustix::event::poll(&mut fds, timeout.as_ref());
        let mut counter = [0; 8];
        let _ = rustix::io::read(&*self.wake, &mut counter);
        let now = Instant::now();
        let mut seen = Vec::new();
        for ((process, person), pair) in self.people.iter().zip(fds[1..].chunks(2)) {
            let answered = person.deadline.is_some() && !pair[1].revents().is_empty();
            // One that has joined says nothing there any more: it has ended, or closed what it must keep open.
            let hung_up = person.deadline.is_none() && !pair[1].revents().is_empty();
            if (!pair[0].revents().is_empty() || hung_up) && !answered {
                seen.push((*process, Seen::Ended));
            } else if person.deadline.is_some_and(|deadline| deadline <= now) {
                seen.push((*process, Seen::Late));
            } else if answered {
                seen.push((*process, Seen::Answer));
            }
        }
        seen
    }

    fn hear(&mut self, process: ProcessId) {
        let Some(person) = self.people.get_mut(&process) else {
            return;
        };
        let had_begun = person.answer.has_begun();
        match person.answer.hear(&person.socket, &self.config.welcome.build_id) {
            Some(Ok(())) => {
                person.deadline = None;
                let link = person.link.clone();
                (self.config.notify)(ProcessEvent::Joined(process, link));
            }
            Some(Err(why)) => self.bury(process, Some(why)),
            None if had_begun => {}
            None => {
                let deadline = Instant::now() + ANSWER_TIMEOUT;
                person.deadline = person.deadline.map(|earlier| earlier.min(deadline));
            }
        }
    }

    fn late(&mut self, process: ProcessId) {
        let begun = self.people.get(&process).is_some_and(|person| person.answer.has_begun());
        let why = if begun { "its answer did not end in time" } else { "it did not join in time" };
        self.bury(process, Some(why.into()));
    }

    fn kill(&mut self, process: ProcessId) {
        if let Some(person) = self.people.get_mut(&process) {
            // It may have ended by itself; in both cases `watch` sees it.
            let _ = person.child.kill();
        }
    }

    /// Makes sure that the process has ended and says how.
    fn bury(&mut self, process: ProcessId, why: Option<String>) {
        let Some(mut person) = self.people.remove(&process) else {
            return;
        };
        self.places.leave(person.place);
        let ended_by_itself = matches!(person.child.try_wait(), Ok(Some(_)));
        let _ = person.child.kill();
        let status = match person.child.wait() {
            Ok(status) => {
                let by_others = ended_by_itself || why.is_none();
                let more = if by_others { self.oom.explain(status) } else { None };
                format!("{status}{}", more.unwrap_or_default())
            }
            Err(error) => format!("unknown status: {error}"),
        };
        self.lost(
            process,
            match why {
                Some(why) if ended_by_itself => {
                    format!("its process ended ({status}) before it joined: {why}")
                }
                Some(why) => format!("its process could not join: {why}"),
                None => format!("its process ended ({status})"),
            },
        );
    }

    fn lost(&self, process: ProcessId, why: String) {
        (self.config.notify)(ProcessEvent::Lost(process, why));
    }

    fn end(mut self) {
        for person in self.people.values_mut() {
            let _ = person.child.kill();
        }
        for person in self.people.values_mut() {
            let _ = person.child.wait();
        }
    }
}

enum Seen {
    Ended,
    Answer,
    Late,
}

#[cfg(test)]
mod tests;
