//! The numbers of requests and replies.

use super::{Digest, Number};
use crate::scheduler::{Blocks, Reply, Request};
use unidist_backend::{CallStatus, Which};

impl Digest {
    pub(super) fn request(&mut self, request: &Request) {
        match request {
            Request::Submit { spec, caller } => {
                self.add(1);
                self.option(caller.map(Number::to_number));
                self.spec(spec);
            }
            Request::SubmitFailed { spec, caller, error } => {
                self.add(2);
                self.option(caller.map(Number::to_number));
                self.spec(spec);
                self.error(error);
            }
            Request::Put { id, object, views } => {
                self.all([3, id.to_number(), u64::from(*views)]);
                self.object(object);
            }
            Request::Get { request, ids, blocks } => {
                self.all([4, request.0]);
                self.ids(ids);
                self.blocks(*blocks);
            }
            Request::Wait { request, ids, count, timed, blocks } => {
                self.all([5, request.0, *count, u64::from(*timed)]);
                self.ids(ids);
                self.blocks(*blocks);
            }
            Request::Expire { request } => self.all([6, request.0]),
            Request::Retain(id) => self.all([7, id.to_number()]),
            Request::Release(id) => self.all([8, id.to_number()]),
            Request::PinView(id) => self.all([9, id.to_number()]),
            Request::UnpinView(id) => self.all([10, id.to_number()]),
            Request::LiveObjects { request } => self.all([11, request.0]),
            Request::Cancel { request, ids, which } => {
                let which = match which {
                    Which::All => 1,
                    Which::Unstarted => 2,
                };
                self.all([12, request.0, which]);
                self.ids(ids);
            }
            Request::Status { request, ids } => {
                self.all([13, request.0]);
                self.ids(ids);
            }
            Request::Workers { request, at_least } => self.all([14, request.0, *at_least]),
            Request::EndWorker { request, worker } => self.all([15, request.0, worker.to_number()]),
            Request::FindActor { request, .. } => self.all([16, request.0]),
            Request::Live { request, at_most } => self.all([17, request.0, *at_most]),
            Request::Watch { watch, ids } => {
                self.all([18, watch.0]);
                self.ids(ids);
            }
            Request::Next { request, watch, timed, blocks } => {
                self.all([19, request.0, watch.0, u64::from(*timed)]);
                self.blocks(*blocks);
            }
            Request::Unwatch { watch } => self.all([20, watch.0]),
        }
    }

    pub(super) fn reply(&mut self, reply: &Reply) {
        match reply {
            Reply::Values(values) => {
                self.add(1);
                self.list(values, Self::value_of_object);
            }
            Reply::Ready(positions) => {
                self.add(2);
                self.list(positions, |digest, position| digest.add(*position));
            }
            Reply::Allocated(place) => {
                self.add(3);
                self.block(place.block());
            }
            Reply::Cluster(_) => self.add(4),
            Reply::StoreUsage(_) => self.add(5),
            Reply::Count(count) => self.all([6, *count]),
            Reply::Status(all) => {
                self.add(7);
                self.list(all, |digest, status| match status {
                    CallStatus::Waiting => digest.add(1),
                    CallStatus::Running(process) => digest.all([2, process.to_number()]),
                    CallStatus::Ended => digest.add(3),
                });
            }
            Reply::Workers(workers) => {
                self.add(8);
                self.list(workers, |digest, worker| digest.add(worker.id.to_number()));
            }
            Reply::Settled(ids) => {
                self.add(13);
                self.ids(ids);
            }
            Reply::Actor(found) => self.all([10, found.map_or(0, |actor| actor.handle.to_number())]),
            Reply::Live(live) => {
                self.add(11);
                self.list(live, |digest, live| digest.add(live.id.to_number()));
            }
            Reply::Failed(error) => {
                self.add(9);
                self.failure(error);
            }
        }
    }

    fn blocks(&mut self, blocks: Blocks) {
        match blocks {
            Blocks::Nothing => self.add(1),
            Blocks::Call { call, can_nest } => self.all([2, call.to_number(), u64::from(can_nest)]),
            Blocks::Thread => self.add(3),
        }
    }
}
