//! A simulated worker or actor process: it behaves as the task thread does, one step at a time.

mod inspect;
mod threads;

use super::frame::{Frame, Made, View, is_lost, object_in, plain, world_borrow};
use super::program::Step;
use super::world::World;
use crate::network::HostId;
use crate::protocol::worker::{Blocks, FromWorker, Reply, Request, RequestId, Run, ToWorker};
use crate::store::StoredObject;
use std::collections::VecDeque;
use unidist_backend::CallKind;
use unidist_backend::Which;
use unidist_common::{DataId, Error, ErrorKind, ProcessId, Returns, Target, TaskError, TaskId};

#[derive(Debug, Default)]
pub(super) struct Process {
    pub(super) host: HostId,
    pub(super) joined: bool,
    pub(super) inbox: VecDeque<ToWorker>,
    pub(super) outbox: VecDeque<FromWorker>,
    queue: VecDeque<Run>,
    stack: Vec<Frame>,
    /// Asynchronous tasks that wait without the thread.
    suspended: Vec<Frame>,
    /// Requests of threads that have started and not asked yet.
    threads: Vec<(RequestId, Vec<DataId>)>,
    /// Requests of threads, and of tasks that were dropped while they waited, with the references that are kept for the
    /// reply.
    late: Vec<(RequestId, Vec<DataId>)>,
    pub(super) stopping: bool,
    /// A planted fault: see `Options`.
    starts_only_awaited: bool,
    /// How many messages at the front of the outbox will certainly arrive: those from before the last start of a call.
    pub(super) written: usize,
    next_id: u64,
    next_request: u64,
}

/// The outcome of a step.
pub(super) enum Stepped {
    Nothing,
    Something,
    Crashed,
    /// The process was told to stop and has exited.
    Ended,
}

impl Process {
    pub(super) fn new(host: HostId, starts_only_awaited: bool) -> Self {
        Process { host, starts_only_awaited, ..Process::default() }
    }

    /// The process takes the next message from its link.
    pub(super) fn receive(&mut self, world: &mut World) {
        match self.inbox.pop_front() {
            None => {}
            Some(ToWorker::Run(run)) => self.queue.push_back(run),
            Some(ToWorker::RetractTasks(tasks)) => {
                let returned = self.queue.iter().map(|run| run.id).filter(|id| tasks.contains(id)).collect();
                self.queue.retain(|run| !tasks.contains(&run.id));
                self.outbox.push_back(FromWorker::Retracted(returned));
            }
            Some(ToWorker::Reply(request, reply)) => self.answer(request, &reply, world),
            Some(ToWorker::Cancel { task: call, error: why }) => {
                let place = self.queue.iter().position(|run| run.id == call);
                if place.and_then(|place| self.queue.remove(place)).is_some() {
                    self.outbox.push_back(FromWorker::Done { task: call, result: Err((*why).clone()) });
                } else {
                    let frames = self.stack.iter_mut().chain(&mut self.suspended);
                    frames.filter(|frame| frame.run.id == call).for_each(|frame| frame.cancelled = true);
                }
            }
            Some(ToWorker::Stop) => {
                let returned = self.queue.drain(..).map(|run| run.id).collect();
                if !world.forgets_calls_at_the_end() {
                    self.outbox.push_back(FromWorker::Retracted(returned));
                }
                self.stopping = true;
            }
        }
    }

    fn answer(&mut self, request: RequestId, reply: &Reply, world: &mut World) {
        let is_it = |frame: &&mut Frame| frame.waiting.as_ref().is_some_and(|(on, _)| *on == request);
        if let Some(frame) = self.stack.iter_mut().chain(&mut self.suspended).find(is_it) {
            if let Reply::Values(values) = reply {
                let ids = frame.waiting.as_ref().map(|(_, ids)| ids.clone()).unwrap_or_default();
                debug_assert_eq!(values.len(), ids.len());
                frame.views.extend(world.view_all(self.host, &ids, values));
                debug_assert!(
                    world.has_lost_hosts() || !values.iter().any(is_lost),
                    "an object that is referred to is lost: {values:?}"
                );
            }
            match reply {
                Reply::Allocated(place) => frame.room = Some(Ok(*place)),
                Reply::Failed(error @ Error::StoreFull(_)) => frame.room = Some(Err(error.clone())),
                _ => {}
            }
            frame.answered = true;
        } else if let Some(at) = self.late.iter().position(|(late, _)| *late == request) {
            let (_, ids) = self.late.swap_remove(at);
            if let Reply::Values(values) = reply {
                let views = world.view_all(self.host, &ids, values);
                views.into_iter().for_each(|view| self.drop_view(view, world));
            }
            for id in ids {
                self.outbox.push_back(FromWorker::Request(Request::Release(id)));
            }
        }
    }

    /// An object of this call, with or without a block.
    fn make(&mut self, frame: &mut Frame, world: &mut World) -> Made {
        match frame.room.take() {
            Some(Ok(place)) => Made::Object(object_in(Some(place), world_borrow(frame))),
            Some(Err(error)) => Made::NoRoom(error),
            None if world.rng.bool() => Made::Object(object_in(None, world_borrow(frame))),
            None => {
                let (request, len) = (self.new_request(), world.draw_len());
                self.outbox.push_back(FromWorker::Allocate { request, len });
                frame.waiting = Some((request, Vec::new()));
                frame.waits_unnoticed = true;
                Made::Waiting
            }
        }
    }

    /// The next result of a call that has taken its last step.
    fn make_result(&mut self, frame: &mut Frame, world: &mut World) -> Made {
        match frame.run.kind {
            CallKind::NewActor { .. } => Made::Object(plain(vec![])),
            _ => self.make(frame, world),
        }
    }

    /// Runs a step of the task thread.
    pub(super) fn step(&mut self, me: ProcessId, world: &mut World) -> Stepped {
        if !self.threads.is_empty() && world.rng.u32(0..3) == 0 {
            self.ask_on_thread();
            return Stepped::Something;
        }
        if self.waits_for_threads() {
            return Stepped::Nothing;
        }
        if !self.can_take() {
            return self.advance(me, world);
        }
        let may_poll = !self.is_stack_full();
        let woken: Vec<_> =
            (0..self.suspended.len()).filter(|at| may_poll && self.suspended[*at].is_woken()).collect();
        if let Some(at) = world.rng.choice(&woken)
            && world.rng.bool()
        {
            self.resume(*at, world);
            return Stepped::Something;
        }
        let next = self.next_call();
        match next.and_then(|at| self.queue.remove(at)) {
            Some(run) => {
                self.begin(me, run, world);
                Stepped::Something
            }
            None if self.stack.is_empty() && self.suspended.is_empty() && self.stopping => Stepped::Ended,
            None => Stepped::Nothing,
        }
    }

    /// The task thread polls a suspended task, or drops it if it was cancelled.
    fn resume(&mut self, at: usize, world: &mut World) {
        let mut frame = self.suspended.swap_remove(at);
        self.outbox.push_back(FromWorker::Resumed(frame.run.id));
        if frame.cancelled
            && !frame.answered
            && let Some((request, ids)) = frame.waiting.take()
        {
            frame.held.retain(|id| !ids.contains(id));
            self.late.push((request, ids));
        }
        match frame.cancelled {
            true => self.end(frame, world, Some(TaskError::new(ErrorKind::Cancelled, "it was dropped"))),
            false => {
                (frame.waiting, frame.answered) = (None, false);
                self.stack.push(frame);
            }
        }
    }

    fn begin(&mut self, me: ProcessId, run: Run, world: &mut World) {
        world.note_start(me, &run);
        if !self.suspended.is_empty() || self.stack.last().is_some_and(|frame| frame.waits_unnoticed) {
            self.outbox.push_back(FromWorker::Resumed(run.id));
        }
        self.written = self.outbox.len();
        let steps = world.plan(run.id).into();
        let mut views = Vec::new();
        for (id, object) in &run.objects {
            if let Some(view) = world.view(self.host, *id, object) {
                self.outbox.push_back(FromWorker::Request(Request::PinView(*id)));
                views.push(view);
            }
        }
        if run.timed && matches!(run.kind, CallKind::Method { .. }) {
            self.outbox.push_back(FromWorker::Started(run.id));
        }
        // A method that never ends would block its actor forever.
        let stubborn = run.kind == CallKind::Task && world.rng.u32(0..3) == 0;
        self.stack.push(Frame {
            run,
            steps,
            waiting: None,
            watch: None,
            waits_unnoticed: false,
            joined: Vec::new(),
            joins_at_once: world.rng.bool(),
            held: Vec::new(),
            results: Vec::new(),
            answered: false,
            views,
            can_nest: world.rng.u32(0..8) > 0,
            cancelled: false,
            stubborn,
            made: Vec::new(),
            room: None,
        });
    }

    fn advance(&mut self, me: ProcessId, world: &mut World) -> Stepped {
        let Some(mut frame) = self.stack.pop() else { return Stepped::Nothing };
        if frame.waiting.take().is_some() {
            frame.answered = false;
            frame.waits_unnoticed = false;
            self.end_watch(&mut frame);
        }
        let task = frame.run.id;
        if frame.cancelled && !frame.stubborn && world.rng.bool() {
            self.end(frame, world, Some(TaskError::new(ErrorKind::Cancelled, "it was canceled")));
            return Stepped::Something;
        }
        match frame.steps.pop_front() {
            None => {
                while frame.made.len() < frame.run.returns as usize {
                    match self.make_result(&mut frame, world) {
                        Made::Object(object) => frame.made.push(object),
                        Made::Waiting => {
                            self.stack.push(frame);
                            return Stepped::Something;
                        }
                        Made::NoRoom(error) => {
                            self.end(frame, world, Some(error.into()));
                            return Stepped::Something;
                        }
                    }
                }
                self.end(frame, world, None);
                return Stepped::Something;
            }
            Some(Step::Fail) => {
                self.end(frame, world, Some(TaskError::new(ErrorKind::Failed, "as planned")));
                return Stepped::Something;
            }
            Some(Step::Hang) if self.stopping => {} // the time limit of a method ends with its session
            Some(Step::Hang) => frame.steps.push_front(Step::Hang),
            Some(Step::Cancel) => {
                let id = match world.rng.bool() {
                    true => world.parent_of(task).map(TaskId::first_return),
                    false => world.rng.choice(&frame.results).copied(),
                };
                let request = self.new_request();
                let ids = id.into_iter().collect();
                self.outbox.push_back(FromWorker::Request(Request::Cancel {
                    request,
                    ids,
                    which: Which::All,
                }));
                frame.waiting = Some((request, Vec::new()));
                frame.waits_unnoticed = true;
            }
            // Requests of a canceled call fail in its own process.
            Some(Step::GetAll | Step::GetOnThread { .. } | Step::Await | Step::WaitSome { .. })
                if frame.cancelled => {}
            Some(Step::Crash) => {
                self.stack.push(frame);
                return Stepped::Crashed;
            }
            Some(Step::Spawn(count)) => {
                for _ in 0..count {
                    let id = self.new_id(me);
                    let depends = world.pick(&frame.results).into_iter().collect();
                    let borrows = world.pick(&frame.held).into_iter().collect();
                    let spec = world.spec(
                        Returns { first: id, count: 1 },
                        Target::Pool,
                        depends,
                        borrows,
                        Some(task),
                    );
                    self.outbox.push_back(FromWorker::Request(Request::Submit {
                        spec: Box::new(spec),
                        caller: Some(task),
                    }));
                    frame.held.push(id);
                    frame.results.push(id);
                }
            }
            Some(Step::CallActor) => {
                if let Some(actor) = world.handle_of(task) {
                    let id = self.new_id(me);
                    let depends = world.pick(&frame.results).into_iter().collect();
                    let spec = world.spec(
                        Returns { first: id, count: 1 },
                        Target::Actor(actor),
                        depends,
                        vec![],
                        Some(task),
                    );
                    world.note_call(actor, (me, Some(task)), TaskId::of_first_return(id));
                    self.outbox.push_back(FromWorker::Request(Request::Submit {
                        spec: Box::new(spec),
                        caller: Some(task),
                    }));
                    frame.held.push(id);
                    frame.results.push(id);
                }
            }
            Some(Step::GetAll) => {
                let request = self.new_request();
                let ids = frame.results.clone();
                self.outbox.push_back(FromWorker::Request(Request::Get {
                    request,
                    ids: ids.clone(),
                    blocks: Blocks::Call { call: task, can_nest: frame.can_nest },
                }));
                frame.waiting = Some((request, ids));
            }
            Some(Step::GetOnThread { .. }) if frame.run.kind != CallKind::Task => {}
            Some(Step::GetOnThread { joins }) => {
                let request = self.new_request();
                let ids = frame.results.clone();
                let retained = ids.iter().map(|id| FromWorker::Request(Request::Retain(*id)));
                self.outbox.extend(retained);
                self.threads.push((request, ids));
                if joins {
                    frame.joined.push(request);
                }
            }
            Some(Step::Await) => {
                let request = self.new_request();
                let ids = frame.results.clone();
                self.outbox.push_back(FromWorker::Request(Request::Get {
                    request,
                    ids: ids.clone(),
                    blocks: Blocks::Nothing,
                }));
                frame.waiting = Some((request, ids));
                return self.suspend(frame);
            }
            Some(Step::Sleep) => return self.suspend(frame),
            Some(Step::WaitSome { hurry, .. }) if world.rng.u32(0..3) == 0 => {
                let (watch, request) = (self.new_request(), self.new_request());
                let blocks = Blocks::Call { call: task, can_nest: frame.can_nest };
                let mut asks = vec![
                    Request::Watch { watch, ids: frame.results.clone() },
                    Request::Next { request, watch, timed: hurry, blocks },
                ];
                asks.extend(hurry.then_some(Request::Expire { request }));
                self.outbox.extend(asks.into_iter().map(FromWorker::Request));
                (frame.waiting, frame.watch) = (Some((request, Vec::new())), Some(watch));
            }
            Some(Step::WaitSome { percent, hurry }) => {
                let request = self.new_request();
                let ids = frame.results.clone();
                let count = ids.len() as u64 * percent / 100;
                self.outbox.push_back(FromWorker::Request(Request::Wait {
                    request,
                    ids: ids.clone(),
                    count,
                    timed: hurry,
                    blocks: Blocks::Call { call: task, can_nest: frame.can_nest },
                }));
                if hurry {
                    self.outbox.push_back(FromWorker::Request(Request::Expire { request }));
                }
                frame.waiting = Some((request, Vec::new()));
            }
            Some(Step::Put) => match self.make(&mut frame, world) {
                Made::Waiting => frame.steps.push_front(Step::Put),
                Made::NoRoom(_) => {}
                Made::Object(object) => {
                    let id = self.new_id(me);
                    let view = world.rng.bool().then(|| world.view(self.host, id, &object)).flatten();
                    self.outbox.push_back(FromWorker::Request(Request::Put {
                        id,
                        object,
                        views: view.is_some().into(),
                    }));
                    frame.views.extend(view);
                    frame.held.push(id);
                }
            },
            Some(Step::Release) => {
                if let Some(view) = frame.views.pop() {
                    self.drop_view(view, world);
                }
                if let Some(id) = frame.held.pop() {
                    frame.results.retain(|result| *result != id);
                    self.outbox.push_back(FromWorker::Request(Request::Release(id)));
                }
            }
        }
        self.stack.push(frame);
        Stepped::Something
    }

    fn suspend(&mut self, frame: Frame) -> Stepped {
        self.outbox.push_back(FromWorker::Suspended(frame.run.id));
        self.suspended.push(frame);
        Stepped::Something
    }

    fn end_watch(&mut self, frame: &mut Frame) {
        let ends = frame.watch.take().map(|watch| FromWorker::Request(Request::Unwatch { watch }));
        self.outbox.extend(ends);
    }

    fn end(&mut self, mut frame: Frame, world: &mut World, error: Option<TaskError>) {
        self.end_watch(&mut frame);
        let granted = frame.room.and_then(Result::ok);
        let result = match error {
            None => Ok(frame.made),
            Some(error) => {
                let unused = frame.made.iter().flat_map(StoredObject::places).chain(granted);
                self.outbox.extend(unused.map(FromWorker::FreeBlock));
                Err(error)
            }
        };
        let (before, after) = frame.views.into_iter().partition::<Vec<_>, _>(|_| world.rng.bool());
        before.into_iter().for_each(|view| self.drop_view(view, world));
        self.outbox.push_back(FromWorker::Done { task: frame.run.id, result });
        after.into_iter().for_each(|view| self.drop_view(view, world));
        for id in frame.held {
            self.outbox.push_back(FromWorker::Request(Request::Release(id)));
        }
    }

    fn drop_view(&mut self, view: View, world: &mut World) {
        world.end_view(&view);
        self.outbox.push_back(FromWorker::Request(Request::UnpinView(view.0)));
    }

    /// Whether a step would do something.
    pub(super) fn can_step(&self) -> bool {
        if !self.threads.is_empty() {
            return true;
        }
        if self.waits_for_threads() {
            return false;
        }
        !self.can_take()
            || self.next_call().is_some()
            || !self.is_stack_full() && self.suspended.iter().any(Frame::is_woken)
    }

    /// Whether nothing runs on top of the waiting call: the scheduler knows that it waits, and that its stack has no room.
    fn is_stack_full(&self) -> bool {
        self.stack.last().is_some_and(|frame| !frame.can_nest && !frame.waits_unnoticed)
    }

    /// Whether the task thread looks for a call: nothing runs, or the running call is blocked. What was sent to run on top of
    /// that one starts before it goes on.
    fn can_take(&self) -> bool {
        let goes_on = |frame: &Frame| frame.answered && !self.queue.iter().any(|run| run.nested);
        self.stack.last().is_none_or(|frame| frame.waiting.is_some() && !goes_on(frame))
    }

    /// The call that it would run: see `Calls::next`.
    fn next_call(&self) -> Option<usize> {
        let wanted = |run: &Run| match self.stack.last().and_then(|frame| frame.waiting.as_ref()) {
            None => true,
            Some(_) if self.is_stack_full() => false,
            Some((_, awaited)) => {
                awaited.iter().any(|id| (0..run.returns.max(1)).any(|n| run.id.first_return().nth(n) == *id))
            }
        };
        let sent_to_nest = |run: &Run| run.nested && (wanted(run) || !self.starts_only_awaited);
        self.queue.iter().position(sent_to_nest).or_else(|| self.queue.iter().position(wanted))
    }

    fn new_id(&mut self, me: ProcessId) -> DataId {
        self.next_id += 10;
        DataId::new(me, self.next_id)
    }

    fn new_request(&mut self) -> RequestId {
        self.next_request += 1;
        RequestId(self.next_request)
    }
}
