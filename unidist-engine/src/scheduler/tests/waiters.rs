//! The lists of those that wait for an object.

use super::*;

#[test]
fn canceled_dependents_leave_no_waiters_behind() {
    let mut c = Cluster::new(2);
    let lasting = c.task();
    let kept = c.task_on(lasting);
    for _ in 0..1000 {
        let dependents: Vec<_> = (0..20).map(|_| c.task_on(lasting)).collect();
        for dependent in dependents {
            assert_eq!(c.cancel(dependent), 1);
            c.release(dependent);
        }
    }
    let waiters = c.scheduler.state.objects.waiter_count(lasting);
    assert!(waiters < 100, "{waiters}");
    c.done(c.where_is(lasting), lasting);
    assert_eq!(c.runs().len(), 2, "the call that was not canceled runs");
    c.done(c.where_is(kept), kept);
    c.end(&[lasting, kept]);
}

#[test]
fn canceled_dependents_of_an_actor_leave_no_waiters_behind() {
    let mut c = Cluster::new(1);
    let (lasting, actor) = (c.task(), c.actor());
    for _ in 0..1000 {
        let call = c.submit(|spec| {
            spec.target = Target::Actor(actor_of(actor));
            spec.dependencies = vec![lasting];
        });
        assert_eq!(c.cancel(call), 1);
        c.release(call);
    }
    let waiters = c.scheduler.state.objects.waiter_count(lasting);
    assert!(waiters < 100, "{waiters}");
}
