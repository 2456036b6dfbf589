//! The numbers of calls: as they are submitted, and as they are sent to a process.

use super::{Digest, Number};
use crate::scheduler::Run;
use unidist_backend::CallKind;
use unidist_common::{Arg, Target, TaskOptions, TaskSpec};

impl Digest {
    pub(super) fn run(&mut self, run: &Run) {
        let Run { id, function, body, kind, args, objects, returns, nested, timed } = run;
        self.all([id.to_number(), function.0 as u64, (function.0 >> 64) as u64, u64::from(*returns)]);
        self.all([u64::from(*nested), u64::from(*timed)]);
        self.option(body.as_ref().map(|body| body.len() as u64));
        match kind {
            CallKind::Task => self.add(1),
            CallKind::NewActor { max_concurrency } => {
                self.add(2);
                self.option(max_concurrency.map(u64::from));
            }
            CallKind::Method { actor } => self.all([3, actor.to_number()]),
        }
        self.list(args, Self::arg);
        self.list(objects, |digest, (id, object)| {
            digest.add(id.to_number());
            digest.object(object);
        });
    }

    pub(super) fn spec(&mut self, spec: &TaskSpec) {
        let TaskSpec { function, body, name: _, target, args, dependencies, borrowed, .. } = spec;
        let TaskSpec { returns, options, asynchronous, .. } = spec;
        self.all([function.0 as u64, (function.0 >> 64) as u64]);
        self.all([returns.first.to_number(), u64::from(returns.count)]);
        self.option(body.as_ref().map(|body| body.len() as u64));
        match target {
            Target::Pool => self.add(1),
            Target::NewActor => self.add(2),
            Target::Actor(actor) => self.all([3, actor.to_number()]),
        }
        self.list(args, Self::arg);
        self.add(u64::from(*asynchronous));
        self.ids(dependencies);
        self.ids(borrowed);
        let TaskOptions { num_cpus, resources, memory, name: _, max_retries, priority, .. } = &**options;
        let TaskOptions { max_concurrency, timeout, max_restarts, worker, group, .. } = &**options;
        self.option(num_cpus.map(f64::to_bits));
        self.list(resources, |digest, (_, amount)| digest.add(amount.to_bits()));
        self.option(*memory);
        self.option(max_retries.map(u64::from));
        self.option(priority.map(|priority| priority as u64));
        self.option(max_concurrency.map(u64::from));
        self.option(timeout.map(|time| time.as_nanos() as u64));
        self.option(max_restarts.map(u64::from));
        self.option(worker.map(Number::to_number));
        self.option(group.map(|group| group.id.to_number()));
        self.option(group.and_then(|group| group.limit).map(|limit| u64::from(limit.get())));
    }

    fn arg(&mut self, arg: &Arg) {
        match arg {
            Arg::Value(bytes) => self.all([1, bytes.len() as u64]),
            Arg::Ref(id) => self.all([2, id.to_number()]),
            Arg::List(ids) => {
                self.add(3);
                self.ids(ids);
            }
            Arg::Parts(parts) => self.all([4, parts.len() as u64]),
        }
    }
}
