//! The calls of one `map`: submitted from an iterator, their results fetched in blocks.

use super::call::Call;
use super::completion::lock;
use super::error::{Error, Result};
use super::shared::{Outstanding, Shared};
use super::waiting::receive;
use std::collections::{HashMap, VecDeque};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};
use unidist_core::{
    CallStatus, ObjectRef, Portable, Ready, TaskError, cancel_unstarted, current_call, get, status, wait,
};

/// Submits the next call and returns its ref and number of items; `None` at the end.
pub(super) type NextCall<'a, R> = Box<dyn FnMut() -> Option<(ObjectRef<R>, usize)> + 'a>;

/// The return value of a call: one result, or one for each item of a chunk.
pub(super) trait MapReply<T>: Portable {
    fn for_each_result(self, give: impl FnMut(Result<T, TaskError>));
}

impl<T: Portable> MapReply<T> for T {
    fn for_each_result(self, mut give: impl FnMut(Result<T, TaskError>)) {
        give(Ok(self));
    }
}

/// A call that has ended: its number and outcome.
type Completed<R> = (u64, Ready<R>);

/// The configuration of a `map`.
pub(super) struct MapConfig {
    pub(super) shared: Arc<Shared>,
    pub(super) call: &'static str,
    /// The most calls whose results have not been taken.
    pub(super) buffersize: usize,
    pub(super) limit: Duration,
    pub(super) deadline: Option<Instant>,
    pub(super) is_unordered: bool,
}

/// The most results that are fetched at once.
const MAX_BLOCK: usize = 1024;

pub(super) struct MapCalls<'a, R: MapReply<T>, T: Portable> {
    config: MapConfig,
    /// `None` after the last item.
    next_call: Option<NextCall<'a, R>>,
    calls: Arc<InFlight<R>>,
    in_flight: usize,
    /// Results that were fetched, and whether each is the last of its call.
    ready: VecDeque<(Result<T>, bool)>,
    /// The number of calls with results in `ready`.
    fetched: usize,
    /// How many calls to query at once: an estimate of how many have ended.
    block: usize,
    /// The calls of an unordered map that have ended.
    completions: (Sender<Completed<R>>, Receiver<Completed<R>>),
    next: u64,
    /// Why no more calls are submitted.
    submit_error: Option<Error>,
}

/// The calls that were submitted and not fetched, each with its number of items.
struct InFlight<R>(Mutex<Sent<R>>);

enum Sent<R> {
    Ordered(VecDeque<(ObjectRef<R>, usize)>),
    Unordered(HashMap<u64, (ObjectRef<R>, usize)>),
}

impl<R> InFlight<R> {
    fn refs(&self, max: usize) -> Vec<ObjectRef<R>> {
        match &*lock(&self.0) {
            Sent::Ordered(sent) => sent.iter().take(max).map(|(reference, _)| reference.clone()).collect(),
            Sent::Unordered(sent) => {
                sent.values().take(max).map(|(reference, _)| reference.clone()).collect()
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
        drop(sent); // outside of the lock
    }
}

impl<R: Send> Outstanding for InFlight<R> {
    fn wait(&self) -> unidist_core::Result<()> {
        let refs = self.refs(usize::MAX);
        wait(&refs, refs.len(), None).map(|_| ())
    }

    fn cancel_unstarted(&self) -> unidist_core::Result<()> {
        cancel_unstarted(self.refs(usize::MAX)).map(|_| ())
    }
}

impl<'a, R: MapReply<T>, T: Portable> MapCalls<'a, R, T> {
    /// Submits the first calls: all of them, unless the configuration has a limit.
    pub(super) fn start(config: MapConfig, next_call: NextCall<'a, R>) -> Self {
        let sent = match config.is_unordered {
            true => Sent::Unordered(HashMap::new()),
            false => Sent::Ordered(VecDeque::new()),
        };
        let calls = Arc::new(InFlight(Mutex::new(sent)));
        let initializers: Weak<InFlight<R>> = Arc::downgrade(&calls);
        config.shared.register_map(initializers);
        let mut map_calls = MapCalls {
            config,
            next_call: Some(next_call),
            calls,
            in_flight: 0,
            ready: VecDeque::new(),
            fetched: 0,
            block: 1,
            completions: mpsc::channel(),
            next: 0,
            submit_error: None,
        };
        map_calls.submit_more();
        map_calls
    }

    fn submit_more(&mut self) {
        while self.in_flight + self.fetched < self.config.buffersize
            && let Some(next_call) = &mut self.next_call
        {
            if let Err(error) = self.config.shared.check(self.config.call) {
                self.submit_error = Some(error);
                self.next_call = None;
                return;
            }
            let Some((reference, items)) = next_call() else {
                self.next_call = None;
                return;
            };
            let key = self.next;
            self.next += 1;
            self.in_flight += 1;
            if self.config.is_unordered {
                self.calls.push(key, (reference.clone(), items));
                let sender = self.completions.0.clone();
                reference.when_ready(move |ready| {
                    let _ = sender.send((key, ready)); // fails if the map was dropped
                });
            } else {
                self.calls.push(key, (reference, items));
            }
        }
    }

    /// Fetches some results. Returns whether there were any before the deadline.
    fn fetch(&mut self) -> Result<bool> {
        if self.config.is_unordered { self.fetch_any() } else { self.fetch_first() }
    }

    fn fetch_first(&mut self) -> Result<bool> {
        let refs = self.calls.refs(self.block);
        let mut ended = match &refs[..] {
            [_, _, ..] => {
                status(&refs)?.into_iter().take_while(|status| *status == CallStatus::Ended).count()
            }
            _ => 0, // for a single call, waiting for it tells the same
        };
        if ended == 0 {
            if self.config.deadline.is_some() && wait(&refs[0], 1, self.remaining())?.ready.is_empty() {
                return Ok(false);
            }
            ended = 1;
        }
        self.block = if ended == refs.len() { MAX_BLOCK.min(2 * ended) } else { ended };
        // They stay in `calls` until they are fetched, so that a shutdown can cancel them.
        let refs = &refs[..ended];
        let replies = match get(refs) {
            Ok(replies) => replies.into_iter().map(Ok).collect(),
            Err(_) => refs.iter().map(get).collect::<Vec<_>>(), // one of them failed
        };
        let calls = self.calls.take_first(ended);
        self.in_flight -= ended;
        for (reply, (_, items)) in replies.into_iter().zip(calls) {
            self.push_results(reply, items);
        }
        Ok(true)
    }

    fn fetch_any(&mut self) -> Result<bool> {
        let arrived = match self.completions.1.try_recv() {
            Ok(arrived) => Some(arrived),
            Err(_) => {
                // In a task, this releases the CPU slot.
                if current_call().is_some()
                    && wait(self.calls.refs(usize::MAX), 1, self.remaining())?.ready.is_empty()
                {
                    return Ok(false);
                }
                receive(&self.completions.1, self.config.deadline)
            }
        };
        let Some((key, ready)) = arrived else {
            return Ok(false);
        };
        if let Some((_, items)) = self.calls.take(key) {
            self.in_flight -= 1;
            self.push_results(ready.get(), items);
        }
        Ok(true)
    }

    fn remaining(&self) -> Option<Duration> {
        self.config.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    /// Queues the results of a call that has ended.
    fn push_results(&mut self, reply: unidist_core::Result<R>, items: usize) {
        let shared = &self.config.shared;
        let before = self.ready.len();
        match reply {
            Ok(reply) => reply.for_each_result(|result| {
                let result = result.map_err(|error| shared.classify_task(error));
                self.ready.push_back((result, false));
            }),
            Err(error) => {
                let error = shared.classify(error);
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

    /// Cancels the calls that have not started, and hands running ones over to the executor.
    fn cancel_rest(&mut self) -> unidist_core::Result<()> {
        self.next_call = None;
        self.submit_error = None;
        let refs = self.calls.refs(usize::MAX);
        self.in_flight = 0;
        self.calls.clear();
        if refs.is_empty() {
            return Ok(());
        }
        cancel_unstarted(&refs)?;
        let states = status(&refs)?;
        let running = refs.into_iter().zip(states).filter(|(_, state)| *state != CallStatus::Ended);
        running.for_each(|(reference, _)| drop(Call::register(&self.config.shared, reference)));
        Ok(())
    }

    fn fail_with(&mut self, error: Error) -> Error {
        match self.cancel_rest() {
            Ok(()) => error,
            Err(worse) => self.config.shared.classify(worse),
        }
    }
}

impl<R: MapReply<T>, T: Portable> Iterator for MapCalls<'_, R, T> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Result<T>> {
        loop {
            self.submit_more();
            if let Some((result, is_last)) = self.ready.pop_front() {
                self.fetched -= usize::from(is_last);
                return Some(result);
            }
            if self.in_flight == 0 {
                return self.submit_error.take().map(Err);
            }
            let error = match self.fetch() {
                Ok(true) => continue,
                Ok(false) => Error::TimedOut { what: "the results of the map", limit: self.config.limit },
                Err(error) => error,
            };
            return Some(Err(self.fail_with(error)));
        }
    }
}

impl<R: MapReply<T>, T: Portable> Drop for MapCalls<'_, R, T> {
    fn drop(&mut self) {
        if let Err(error) = self.cancel_rest() {
            log::debug!("cannot cancel the calls of a map: {error}");
        }
    }
}
