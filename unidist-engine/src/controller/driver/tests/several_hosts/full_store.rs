//! Requests for memory on a remote host whose store is full.

use super::*;

/// A process of the first remote host has made an object and asks for more than the free space; its monitor has
/// reported that nothing was freed meanwhile.
fn with_full_store() -> (Session, RemoteHost, DataId, Block) {
    let mut session = Session::start();
    let mut remote = session.process(1000);
    let (id, block) = session.put(&mut remote, 150_000);
    session.say(&mut remote, &FromWorker::Allocate { request: RequestId(1), len: 200_000 });
    session.poll();
    session.poll();
    assert_eq!(session.first().find(|told| *told == ToMonitor::Flush), Some(ToMonitor::Flush));
    session.first().say(&[FromMonitor::Flushed]);
    session.poll();
    session.poll();
    (session, remote, id, block)
}

/// The monitor is asked for a block of this length on disk; the number of the order.
fn next_reservation(session: &mut Session, len: u64) -> u64 {
    session.poll();
    session.poll();
    match session.first().find(|told| matches!(told, ToMonitor::Reserve { .. })) {
        Some(ToMonitor::Reserve { ticket, lens }) if lens == [len] => ticket,
        other => panic!("{other:?}"),
    }
}

fn refuse_reservation(session: &mut Session, len: u64, why: SpillFailure) {
    let ticket = next_reservation(session, len);
    session.first().say(&[FromMonitor::Reserved { ticket, result: Err(why) }]);
}

#[test]
fn remote_allocation_has_its_monitor_spill() {
    let (mut session, mut remote, id, block) = with_full_store();
    let spill = session.first().find(|told| matches!(told, ToMonitor::Spill { .. }));
    assert_eq!(spill, Some(ToMonitor::Spill { id, blocks: vec![block] }));
    let moved = Block { offset: 4096, len: block.len };
    session.first().say(&[FromMonitor::Spilled { id, result: Ok(vec![moved]) }]);
    let answer = session.answer(&mut remote);
    assert!(matches!(answer, ToWorker::Reply(RequestId(1), Reply::Allocated(_))), "{answer:?}");
    assert_eq!(session.usage().spilled, 151_552);
    // Now there is an unsealed block, which cannot be spilled.
    session.say(&mut remote, &FromWorker::Allocate { request: RequestId(2), len: 200_000 });
    session.poll();
    session.poll();
    assert_eq!(session.first().find(|told| *told == ToMonitor::Flush), Some(ToMonitor::Flush));
    session.first().say(&[FromMonitor::Flushed]);
    refuse_reservation(&mut session, 200_000, SpillFailure::Full);
    match session.answer(&mut remote) {
        ToWorker::Reply(RequestId(2), Reply::Failed(Error::StoreFull(full))) => {
            assert_eq!((full.requested, full.limit, full.spilled), (200_000, STORE, 151_552));
            let writing = full.holders.iter().find(|holder| holder.by == HeldBy::Writing(remote.process));
            assert_eq!(writing.map(|holder| holder.memory), Some(Block { offset: 0, len: 200_000 }.size()));
        }
        other => panic!("{other:?}"),
    }
    // Spilled blocks are freed by the monitor.
    session.say(&mut remote, &FromWorker::Request(Request::Release(id)));
    session.poll();
    session.poll();
    let freed = session.first().find(|told| *told == ToMonitor::FreeSpilled(moved));
    assert!(freed.is_some());
    assert_eq!(session.usage().spilled, 0);
}

#[test]
fn failed_remote_spill_keeps_the_object() {
    let (mut session, mut remote, id, block) = with_full_store();
    let failure = SpillFailure::System("no disk".into());
    session.first().say(&[FromMonitor::Spilled { id, result: Err(failure.clone()) }]);
    refuse_reservation(&mut session, 200_000, failure);
    match session.answer(&mut remote) {
        ToWorker::Reply(RequestId(1), Reply::Failed(Error::StoreFull(full))) => {
            assert_eq!((full.used, full.spill_error.as_deref()), (block.size(), Some("no disk")));
        }
        other => panic!("{other:?}"),
    }
}

/// A process of a remote host whose memory is full of objects in use asks for a block: it gets one on disk.
fn with_block_on_disk() -> (Session, RemoteHost, Block) {
    let (mut session, mut remote, id, _) = with_full_store();
    session.first().say(&[FromMonitor::Spilled { id, result: Err(SpillFailure::Full) }]);
    let ticket = next_reservation(&mut session, 200_000);
    let block = Block { offset: 8192, len: 200_000 };
    session.first().say(&[FromMonitor::Reserved { ticket, result: Ok(vec![block]) }]);
    let answer = session.answer(&mut remote);
    assert_eq!(answer, ToWorker::Reply(RequestId(1), Reply::Allocated(Place::Disk(block))));
    assert_eq!(session.usage().spilled, 200_704);
    (session, remote, block)
}

#[test]
fn remote_process_stores_an_object_on_disk() {
    let (mut session, mut remote, block) = with_block_on_disk();
    let object = StoredObject { header: Blob::Spilled(block), buffers: vec![], borrowed: vec![] };
    let id = remote.ids.reserve(1);
    session.say(&mut remote, &FromWorker::Request(Request::Put { id, object: object.clone(), views: 0 }));
    session.say(&mut remote, &FromWorker::Request(Request::Release(id)));
    session.poll();
    session.poll();
    assert!(session.first().find(|told| *told == ToMonitor::FreeSpilled(block)).is_some());
    assert_eq!(session.usage().spilled, 0);
    // It belongs to no one any more.
    let id = remote.ids.reserve(1);
    session.say(&mut remote, &FromWorker::Request(Request::Put { id, object, views: 0 }));
    session.poll();
    assert!(session.engine.is_broken(remote.process));
}

#[test]
fn block_on_disk_is_freed_with_its_process() {
    let (mut session, remote, block) = with_block_on_disk();
    let process = remote.process;
    session.first().say(&[FromMonitor::Lost { process, why: "it was killed".into(), taken: 0 }]);
    session.poll();
    session.poll();
    assert!(session.first().find(|told| *told == ToMonitor::FreeSpilled(block)).is_some());
    assert_eq!(session.usage().spilled, 0);
}

#[test]
fn reservation_for_a_lost_process_is_freed() {
    let (mut session, remote, id, _) = with_full_store();
    session.first().say(&[FromMonitor::Spilled { id, result: Err(SpillFailure::Full) }]);
    let ticket = next_reservation(&mut session, 200_000);
    let process = remote.process;
    session.first().say(&[FromMonitor::Lost { process, why: "it was killed".into(), taken: 0 }]);
    session.poll();
    session.poll();
    let block = Block { offset: 8192, len: 200_000 };
    session.first().say(&[FromMonitor::Reserved { ticket, result: Ok(vec![block]) }]);
    session.poll();
    session.poll();
    assert!(session.first().find(|told| *told == ToMonitor::FreeSpilled(block)).is_some());
    assert_eq!(session.usage().spilled, 0);
}

#[test]
fn impossible_reservation_expels_the_host() {
    for lens in [vec![200_000], vec![100]] {
        let (mut session, _remote, id, _) = with_full_store();
        session.first().say(&[FromMonitor::Spilled { id, result: Err(SpillFailure::Full) }]);
        let ticket = next_reservation(&mut session, 200_000);
        let ticket = if lens == [200_000] { ticket + 1 } else { ticket };
        let blocks = lens.iter().map(|len| Block { offset: 8192, len: *len }).collect();
        session.first().say(&[FromMonitor::Reserved { ticket, result: Ok(blocks) }]);
        session.poll();
        session.poll();
        assert!(!session.engine.driver.hosts.as_ref().unwrap().has(FIRST), "{lens:?}");
    }
}

/// A copy to the first host that is larger than its memory: its monitor is asked for a block on disk.
fn with_copy_larger_than_memory() -> (Session, Arc<StoredObject>, u64) {
    let mut session = Session::start();
    let object = Arc::new(outside(&[Block { offset: HEADER, len: STORE + 1 }]));
    session.engine.driver.copy(copy(1, SECOND, FIRST, object.clone()));
    session.engine.driver.retry_deferred();
    session.engine.driver.flush(true);
    assert_eq!(session.first().next_memory_order(), ToMonitor::Flush);
    session.first().say(&[FromMonitor::Flushed]);
    let ticket = next_reservation(&mut session, STORE + 1);
    (session, object, ticket)
}

#[test]
fn copy_without_space_in_memory_goes_to_disk() {
    let (mut session, object, ticket) = with_copy_larger_than_memory();
    let block = Block { offset: 0, len: STORE + 1 };
    session.first().say(&[FromMonitor::Reserved { ticket, result: Ok(vec![block]) }]);
    session.poll();
    session.poll();
    let (transfer, from) = (Transfer(1), SECOND);
    let receive = ToMonitor::Receive { transfer, from, blocks: vec![Place::Disk(block)] };
    assert_eq!(session.first().next_memory_order(), receive);
    session.first().say(&[FromMonitor::Received { transfer, result: Ok(()) }]);
    session.monitors[1].say(&[FromMonitor::SendStarted { transfer, result: Ok(()) }]);
    let follow_up_events = session.follow_up_events();
    let [Event::Copied { result: Ok(there), .. }] = &follow_up_events[..] else {
        panic!("{follow_up_events:?}")
    };
    assert_eq!(*there, object.copied_with(|_| Place::Disk(block)));
}

#[test]
fn copy_without_space_fails() {
    let (mut session, _, ticket) = with_copy_larger_than_memory();
    session.first().say(&[FromMonitor::Reserved { ticket, result: Err(SpillFailure::Full) }]);
    session.engine.driver.poll_network();
    session.engine.driver.retry_deferred();
    let follow_up_events = session.follow_up_events();
    let [Event::Copied { transfer: Transfer(1), result: Err(error) }] = &follow_up_events[..] else {
        panic!("{follow_up_events:?}")
    };
    assert_eq!(error.kind, ErrorKind::StoreFull);
}
