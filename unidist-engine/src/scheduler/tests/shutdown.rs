//! The end of a session with calls that run.

use super::*;

#[test]
fn call_that_a_stopped_worker_gives_back_ends_with_the_session() {
    let mut c = Cluster::new(1);
    let (w, parent, child) = c.parent_and_child();
    assert_eq!(c.where_is(child), w, "it runs on top of its parent");
    c.handle(Event::Shutdown);
    // The worker has read the call, and then that it has to stop, before it started the call.
    c.handle(Event::Retracted { process: w, tasks: vec![call_of(child)] });
    assert_eq!(c.error(child).kind, ErrorKind::SessionEnded, "the parent does not wait for ever");
    c.done(w, parent);
    c.lose(w, &[]);
    assert!(c.scheduler.is_over());
}
