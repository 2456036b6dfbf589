//! The calls of one map: fed from an iterator, fetched in blocks.

use super::call::Call;
use super::error::{Error, Result};
use super::notice::lock;
use super::shared::{Outstanding, Shared};
use super::waiting::receive;
use std::collections::{HashMap, VecDeque};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};
use unidist_core::{
    CallStatus, ObjectRef, Portable, Ready, TaskError, cancel_unstarted, current_call, get, status, wait,
};

/// Makes the next call, of so many items; none at the end.
pub(super) type Pull<'a, R> = Box<dyn FnMut() -> Option<(ObjectRef<R>, usize)> + 'a>;

/// What a call gives: a result, or one for each item of a chunk.
pub(super) trait Reply<T>: Portable {
    fn spread(self, give: impl FnMut(Result<T, TaskError>));
}

impl<T: Portable> Reply<T> for T {
    fn spread(self, mut give: impl FnMut(Result<T, TaskError>)) {
        give(Ok(self));
    }
}

/// What a map is to be like.
pub(super) struct Plan {
    pub(super) shared: Arc<Shared>,
    pub(super) call: &'static str,
    /// How many calls there are at most whose results have not been taken.
    pub(super) buffersize: usize,
    pub(super) limit: Duration,
    pub(super) deadline: Option<Instant>,
    pub(super) is_unordered: bool,
}

/// So many results are fetched at once, at most.
const LARGEST_BLOCK: usize = 1024;

pub(super) struct Flow<'a, R: Reply<T>, T: Portable> {
    plan: Plan,
    /// None at the end of the items.
    pull: Option<Pull<'a, R>>,
    flight: Arc<Flight<R>>,
    in_flight: usize,
    /// Results to be given, and whether each is the last of its call.
    ready: VecDeque<(Result<T>, bool)>,
    /// Calls whose results are among these.
    fetched: usize,
    /// How many calls to ask about at once: as many as are likely to have ended.
    block: usize,
    /// The results of an unordered map, by the number of the call.
    arrivals: (Sender<(u64, Ready<R>)>, Receiver<(u64, Ready<R>)>),
    next: u64,
    /// Why no more calls are made.
    refused: Option<Error>,
}

/// The calls that have been made and not fetched, each with the number of its items.
struct Flight<R>(Mutex<Sent<R>>);

enum Sent<R> {
    Ordered(VecDeque<(ObjectRef<R>, usize)>),
    Unordered(HashMap<u64, (ObjectRef<R>, usize)>),
}

impl<R> Flight<R> {
    fn refs(&self, most: usize) -> Vec<ObjectRef<R>> {
        match &*lock(&self.0) {
            Sent::Ordered(sent) => sent.iter().take(most).map(|(reference, _)| reference.clone()).collect(),
            Sent::Unordered(sent) => {
                sent.values().take(most).map(|(reference, _)| reference.clone()).collect()
            }
        }
    }

    fn push(&self, key: u64, call: (ObjectRef<R>, usize)) {
        match &mut *lock(&self.0) {
            Sent::Ordered(sent) => sent.push_back(call),
            Sent::Unordered(sent) => drop(sent.insert(key, call)),
        }
    }

    fn take_first(&self, count: usize) -> Vec<(ObjectRef<R>, usize)> {
        match &mut *lock(&self.0) {
            Sent::Ordered(sent) => sent.drain(..count.min(sent.len())).collect(),
            Sent::Unordered(_) => Vec::new(),
        }
    }

    fn take(&self, key: u64) -> Option<(ObjectRef<R>, usize)> {
        match &mut *lock(&self.0) {
            Sent::Ordered(_) => None,
            Sent::Unordered(sent) => sent.remove(&key),
        }
    }

    fn clear(&self) {
        let empty = Sent::Ordered(VecDeque::new());
        let sent = std::mem::replace(&mut *lock(&self.0), empty);
        drop(sent); // not under the lock
    }
}

impl<R: Send> Outstanding for Flight<R> {
    fn wait(&self) -> unidist_core::Result<()> {
        let refs = self.refs(usize::MAX);
        wait(&refs, refs.len(), None).map(|_| ())
    }

    fn cancel_unstarted(&self) -> unidist_core::Result<()> {
        cancel_unstarted(self.refs(usize::MAX)).map(|_| ())
    }
}

impl<'a, R: Reply<T>, T: Portable> Flow<'a, R, T> {
    /// Makes the first calls: all, unless the plan has a limit.
    pub(super) fn start(plan: Plan, pull: Pull<'a, R>) -> Self {
        let sent = match plan.is_unordered {
            true => Sent::Unordered(HashMap::new()),
            false => Sent::Ordered(VecDeque::new()),
        };
        let flight = Arc::new(Flight(Mutex::new(sent)));
        let known: Weak<Flight<R>> = Arc::downgrade(&flight);
        plan.shared.enter_map(known);
        let mut flow = Flow {
            plan,
            pull: Some(pull),
            flight,
            in_flight: 0,
            ready: VecDeque::new(),
            fetched: 0,
            block: 1,
            arrivals: mpsc::channel(),
            next: 0,
            refused: None,
        };
        flow.feed();
        flow
    }

    fn feed(&mut self) {
        while self.in_flight + self.fetched < self.plan.buffersize
            && let Some(pull) = &mut self.pull
        {
            if let Err(error) = self.plan.shared.check(self.plan.call) {
                self.refused = Some(error);
                self.pull = None;
                return;
            }
            let Some((reference, items)) = pull() else {
                self.pull = None;
                return;
            };
            let key = self.next;
            self.next += 1;
            self.in_flight += 1;
            if self.plan.is_unordered {
                self.flight.push(key, (reference.clone(), items));
                let sender = self.arrivals.0.clone();
                // Nobody may be left who wants to know.
                reference.when_ready(move |ready| drop(sender.send((key, ready))));
            } else {
                self.flight.push(key, (reference, items));
            }
        }
    }

    /// Fetches some results: whether there were any in time.
    fn fetch(&mut self) -> Result<bool> {
        if self.plan.is_unordered { self.fetch_any() } else { self.fetch_first() }
    }

    fn fetch_first(&mut self) -> Result<bool> {
        let refs = self.flight.refs(self.block);
        let mut ended = match &refs[..] {
            [_, _, ..] => {
                status(&refs)?.into_iter().take_while(|status| *status == CallStatus::Ended).count()
            }
            _ => 0, // nothing is learnt from one alone that waiting for it does not tell
        };
        if ended == 0 {
            if self.plan.deadline.is_some() && wait(&refs[0], 1, self.left())?.ready.is_empty() {
                return Ok(false);
            }
            ended = 1;
        }
        self.block = if ended == refs.len() { LARGEST_BLOCK.min(2 * ended) } else { ended };
        // They are in flight until they are here: others may want to cancel what is waited for.
        let refs = &refs[..ended];
        let replies = match get(refs) {
            Ok(replies) => replies.into_iter().map(Ok).collect(),
            Err(_) => refs.iter().map(get).collect::<Vec<_>>(), // one of them has failed
        };
        let calls = self.flight.take_first(ended);
        self.in_flight -= ended;
        for (reply, (_, items)) in replies.into_iter().zip(calls) {
            self.give(reply, items);
        }
        Ok(true)
    }

    fn fetch_any(&mut self) -> Result<bool> {
        let arrived = match self.arrivals.1.try_recv() {
            Ok(arrived) => Some(arrived),
            Err(_) => {
                // In a task this gives the CPU slot back.
                if current_call().is_some()
                    && wait(self.flight.refs(usize::MAX), 1, self.left())?.ready.is_empty()
                {
                    return Ok(false);
                }
                receive(&self.arrivals.1, self.plan.deadline)
            }
        };
        let Some((key, ready)) = arrived else {
            return Ok(false);
        };
        if let Some((_, items)) = self.flight.take(key) {
            self.in_flight -= 1;
            self.give(ready.get(), items);
        }
        Ok(true)
    }

    fn left(&self) -> Option<Duration> {
        self.plan.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    /// The results of a call that has ended.
    fn give(&mut self, reply: unidist_core::Result<R>, items: usize) {
        let shared = &self.plan.shared;
        let before = self.ready.len();
        match reply {
            Ok(reply) => reply.spread(|result| {
                let result = result.map_err(|error| shared.judge_task(error));
                self.ready.push_back((result, false));
            }),
            Err(error) => {
                let error = shared.judge(error);
                self.ready.extend((0..items).map(|_| (Err(error.clone()), false)));
            }
        }
        if self.ready.len() > before
            && let Some((_, is_last)) = self.ready.back_mut()
        {
            *is_last = true;
            self.fetched += 1;
        }
    }

    /// Cancels what has not started; the executor looks after what runs.
    fn give_up(&mut self) -> unidist_core::Result<()> {
        self.pull = None;
        self.refused = None;
        let refs = self.flight.refs(usize::MAX);
        self.in_flight = 0;
        self.flight.clear();
        if refs.is_empty() {
            return Ok(());
        }
        cancel_unstarted(&refs)?;
        let states = status(&refs)?;
        let running = refs.into_iter().zip(states).filter(|(_, state)| *state != CallStatus::Ended);
        running.for_each(|(reference, _)| drop(Call::enter(&self.plan.shared, reference)));
        Ok(())
    }

    fn end_with(&mut self, error: Error) -> Error {
        match self.give_up() {
            Ok(()) => error,
            Err(worse) => self.plan.shared.judge(worse),
        }
    }
}

impl<R: Reply<T>, T: Portable> Iterator for Flow<'_, R, T> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Result<T>> {
        loop {
            self.feed();
            if let Some((result, is_last)) = self.ready.pop_front() {
                self.fetched -= usize::from(is_last);
                return Some(result);
            }
            if self.in_flight == 0 {
                return self.refused.take().map(Err);
            }
            let error = match self.fetch() {
                Ok(true) => continue,
                Ok(false) => Error::TimedOut { what: "the results of the map are", limit: self.plan.limit },
                Err(error) => error,
            };
            return Some(Err(self.end_with(error)));
        }
    }
}

impl<R: Reply<T>, T: Portable> Drop for Flow<'_, R, T> {
    fn drop(&mut self) {
        if let Err(error) = self.give_up() {
            log::debug!("the calls of a map are not cancelled: {error}");
        }
    }
}
