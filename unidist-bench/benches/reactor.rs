//! The scheduler by itself: `cargo bench -p unidist-bench --bench reactor`.
//!
//! Empty calls are submitted, run by imagined workers, and released. No call is done before the last is submitted, so
//! that all are in flight at once. What Criterion calls elements are events: three for each call.

use criterion::{BatchSize, Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use std::time::Duration;
use unidist_engine::bench::{Calls, Reactor};

const WORKERS: usize = 4;

fn reactor(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("reactor");
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    for (name, count) in [("10,000 calls in flight", 10_000), ("1,000,000 calls in flight", 1_000_000)] {
        group.warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(5));
        group.throughput(Throughput::Elements(3 * count as u64));
        group.bench_function(name, |bencher| {
            // The calls and the scheduler are made, and what is left is dropped, while nobody looks at the clock.
            bencher.iter_batched(
                || (Reactor::new(WORKERS), Calls::new(count)),
                |(mut reactor, calls)| {
                    let events = reactor.run(calls);
                    assert!(events == 3 * count && reactor.is_empty());
                    reactor
                },
                BatchSize::PerIteration,
            )
        });
    }
    group.finish();
}

criterion_group!(benches, reactor);
criterion_main!(benches);
