//! Which copies may leave the memory, and when.

use super::*;
use crate::network::HostId;
use unidist_common::{HeldBy, StoreHolder};

fn put(c: &mut Cluster, offset: u64) -> DataId {
    let id = DataId::new(ME, c.next);
    c.next += 10;
    c.handle(Event::Request { process: ME, request: Request::Put { id, object: shared(offset), views: 0 } });
    id
}

/// The objects that may be evicted, in order.
fn victims(c: &Cluster) -> Vec<DataId> {
    let next = |after| c.scheduler.next_victim(HostId::CONTROLLER, after).map(|(moment, id, _)| (moment, id));
    std::iter::successors(next(0), |(moment, _)| next(*moment)).map(|(_, id)| id).collect()
}

fn spill(c: &mut Cluster, id: DataId, to: u64) {
    let to = Block { offset: to, len: 64 };
    let object = StoredObject { header: Blob::Spilled(to), ..object(vec![]) };
    c.handle(Event::Spilled { host: HostId::CONTROLLER, id, object, moved: vec![to] });
}

fn unmap(c: &mut Cluster, process: ProcessId, id: DataId) {
    c.handle(Event::Request { process, request: Request::UnpinView(id) });
}

fn assert_nothing_is_left(c: &Cluster) {
    assert_eq!(c.scheduler.state.locations.describe(), None);
    assert_eq!(c.live(), 0);
}

#[test]
fn least_recently_used_copy_is_evicted_first() {
    let mut c = Cluster::new(1);
    let [a, b] = [put(&mut c, 4096), put(&mut c, 8192)];
    let small = DataId::new(ME, 1000);
    c.handle(Event::Request {
        process: ME,
        request: Request::Put { id: small, object: object(vec![]), views: 0 },
    });
    assert_eq!(victims(&c), [a, b], "what travels in messages takes no memory");
    c.get(ME, &[a], None);
    assert_eq!(victims(&c), [b], "a view keeps it where it is, from the answer on");
    c.get(ME, &[a], None);
    unmap(&mut c, ME, a);
    assert_eq!(victims(&c), [b]);
    unmap(&mut c, ME, a);
    assert_eq!(victims(&c), [b, a]);
    assert_eq!(c.scheduler.resident_bytes(HostId::CONTROLLER), (128, 128));
    [a, b, small].into_iter().for_each(|id| c.release(id));
    assert_nothing_is_left(&c);
}

#[test]
fn spilled_object_is_read_and_freed_in_place() {
    let mut c = Cluster::new(1);
    let id = put(&mut c, 4096);
    spill(&mut c, id, 0);
    assert_eq!(c.freed, [Block { offset: 4096, len: 64 }]);
    assert_eq!((victims(&c), c.scheduler.resident_bytes(HostId::CONTROLLER)), (vec![], (0, 0)));
    let request = c.get(ME, &[id], None);
    let Some(Reply::Values(values)) = c.reply(request) else { panic!("no answer") };
    let Value::Ready(object) = &values[0] else { panic!("no value") };
    assert_eq!(object.spilled_blocks().collect::<Vec<_>>(), [Block { offset: 0, len: 64 }]);
    c.release(id);
    assert_eq!(c.freed.len(), 1, "a view keeps it");
    unmap(&mut c, ME, id);
    assert_eq!(c.freed[1], Block { offset: 0, len: 64 });
    assert_nothing_is_left(&c);
}

#[test]
fn copy_used_meanwhile_is_not_spilled() {
    let mut c = Cluster::new(1);
    let id = put(&mut c, 4096);
    c.get(ME, &[id], None);
    spill(&mut c, id, 0);
    assert_eq!(c.freed, [Block { offset: 0, len: 64 }], "the copy goes, not what is in use");
    unmap(&mut c, ME, id);
    assert_eq!(victims(&c), [id]);
    c.release(id);
    spill(&mut c, id, 64);
    assert_eq!(c.freed[1..], [Block { offset: 4096, len: 64 }, Block { offset: 64, len: 64 }]);
    assert_nothing_is_left(&c);
}

#[test]
fn arguments_are_in_use_until_the_call_ends() {
    let mut c = Cluster::new(1);
    let argument = put(&mut c, 4096);
    let call = c.task_on(argument);
    let w = c.where_is(call);
    assert_eq!(victims(&c), []);
    c.release(argument);
    // The worker pins a view before it reports the end of the call.
    c.handle(Event::Request { process: w, request: Request::PinView(argument) });
    c.done(w, call);
    assert!(victims(&c).is_empty() && c.freed.is_empty());
    unmap(&mut c, w, argument);
    assert_eq!(c.freed, [Block { offset: 4096, len: 64 }]);
    c.release(call);
    assert_nothing_is_left(&c);
}

#[test]
fn arguments_of_a_failed_call_stay_in_use_on_its_process() {
    let mut c = Cluster::new(1);
    let argument = put(&mut c, 4096);
    let actor = c.actor();
    let w = c.scheduler.state.workers.keys().max().copied().unwrap();
    let call = c.submit(|spec| {
        (spec.target, spec.dependencies) = (Target::Actor(actor_of(actor)), vec![argument]);
    });
    c.handle(Event::Shutdown);
    assert_eq!(c.error(call).kind, ErrorKind::SessionEnded);
    [argument, call, actor].into_iter().for_each(|id| c.release(id));
    assert!(victims(&c).is_empty() && c.freed.is_empty(), "the process may come to it still");
    c.handle(Event::Lost { process: w, cause: "it ended".into(), undelivered: vec![] });
    assert_eq!(c.freed, [Block { offset: 4096, len: 64 }]);
    assert_nothing_is_left(&c);
}

#[test]
fn arguments_of_a_retracted_call_are_not_in_use() {
    let mut c = Cluster::new(1);
    let actor = c.actor();
    let (parent, argument) = (c.task(), put(&mut c, 4096));
    let call = c.task_on(argument);
    let w = c.where_is(call);
    let signal = c.call(actor);
    c.get(w, &[signal], Some(parent));
    assert_eq!((c.where_is(call), victims(&c)), (w, vec![]));
    c.handle(Event::Retracted { process: w, tasks: vec![call_of(call)] });
    assert_eq!(victims(&c), [argument]);
    let spare = c.join_all()[0];
    assert_eq!((c.where_is(call), victims(&c)), (spare, vec![]));
}

#[test]
fn lost_process_drops_its_views() {
    let mut c = Cluster::new(1);
    let id = put(&mut c, 4096);
    let call = c.task_on(id);
    let w = c.where_is(call);
    c.get(w, &[id, id], None);
    c.handle(Event::Request { process: w, request: Request::PinView(id) });
    c.handle(Event::Lost { process: w, cause: "killed".into(), undelivered: vec![] });
    assert_eq!(victims(&c), [id]);
    c.get(w, &[id], None); // a late message of the lost process
    assert_eq!(victims(&c), [id]);
    [id, call].into_iter().for_each(|id| c.release(id));
    assert_nothing_is_left(&c);
}

#[test]
fn unpin_of_a_missing_view_is_ignored() {
    let mut c = Cluster::new(1);
    let id = put(&mut c, 4096);
    c.get(ME, &[id], None);
    unmap(&mut c, worker(1), id);
    assert_eq!(victims(&c), []);
    unmap(&mut c, ME, id);
    unmap(&mut c, ME, id);
    assert_eq!(victims(&c), [id]);
    c.handle(Event::Request { process: ME, request: Request::PinView(DataId::new(ME, 999)) }); // of nothing
    c.release(id);
    assert_nothing_is_left(&c);
}

#[test]
fn put_comes_with_views_and_a_rejected_one_leaves_nothing() {
    let mut c = Cluster::new(1);
    let id = DataId::new(ME, 500);
    c.handle(Event::Request { process: ME, request: Request::Put { id, object: shared(4096), views: 2 } });
    assert_eq!(victims(&c), []);
    c.handle(Event::Request { process: ME, request: Request::Put { id, object: shared(8192), views: 0 } });
    assert_eq!(c.freed, [Block { offset: 8192, len: 64 }], "the id was taken");
    unmap(&mut c, ME, id);
    c.release(id);
    assert_eq!(c.freed.len(), 1);
    unmap(&mut c, ME, id);
    assert_eq!(c.freed.len(), 2);
    assert_nothing_is_left(&c);
}

#[test]
fn memory_report_names_holders_by_kind() {
    let mut c = Cluster::new(1);
    let ids = [4096, 8192, 12288, 16384, 20480].map(|offset| put(&mut c, offset));
    let running = c.task_on(ids[0]);
    let w = c.where_is(running);
    c.get(w, &[ids[1]], None);
    let outer = DataId::new(ME, 700);
    c.handle(Event::Request {
        process: ME,
        request: Request::Put { id: outer, object: object(vec![ids[2]]), views: 0 },
    });
    c.release(ids[2]);
    c.handle(Event::Request { process: w, request: Request::Retain(ids[3]) });
    c.release(ids[3]);
    spill(&mut c, ids[3], 0);
    let mut holders = c.scheduler.memory_holders(HostId::CONTROLLER);
    holders.sort_by_key(|holder| holder.by);
    let expected = [
        StoreHolder::new(HeldBy::Views(w), 64, 0, 1),
        StoreHolder::new(HeldBy::Call(w), 64, 0, 1),
        StoreHolder::new(HeldBy::Refs(ME), 64, 0, 1),
        StoreHolder::new(HeldBy::Refs(w), 0, 64, 1),
        StoreHolder::new(HeldBy::Objects, 64, 0, 1),
    ];
    assert_eq!(holders, expected);
}

#[test]
fn undelivered_reply_brings_no_views() {
    let mut c = Cluster::new(1);
    let [a, b] = [put(&mut c, 4096), put(&mut c, 8192)];
    let w = worker(1);
    c.get(w, &[b], None);
    let request = c.get(w, &[a, b, a], None);
    let Some(Reply::Values(values)) = c.reply(request).cloned() else { panic!("no answer") };
    c.handle(Event::ReplyUndelivered { process: w, values });
    assert_eq!(victims(&c), [a], "the view that it had before stays");
    unmap(&mut c, w, b);
    [a, b].into_iter().for_each(|id| c.release(id));
    assert_nothing_is_left(&c);
}
