//! The list of what a session holds.

use super::*;
use crate::scheduler::policy::live::live;
use unidist_backend::LiveKind;

#[test]
fn objects_actors_and_calls_are_listed() {
    let mut c = Cluster::new(1);
    let kinds = |c: &Cluster| -> Vec<_> {
        live(&c.scheduler.state, 10).into_iter().map(|live| (live.id, live.kind)).collect()
    };
    let actor = c.actor();
    let ended = c.task();
    c.done(c.where_is(ended), ended);
    let running = c.task();
    let silent = c.submit(|spec| spec.returns.count = 0);
    let expected = [
        (actor, LiveKind::Actor),
        (ended, LiveKind::Object),
        (running, LiveKind::Call),
        (silent, LiveKind::Call),
    ];
    assert_eq!(kinds(&c), expected);
    assert_eq!(live(&c.scheduler.state, 2).len(), 2);
    c.done(c.where_is(running), running);
    assert_eq!(kinds(&c)[2], (running, LiveKind::Object));
    for id in [actor, ended, running] {
        c.release(id);
    }
    assert_eq!(kinds(&c), [(silent, LiveKind::Call)], "a call without results is listed until it ends");
}
