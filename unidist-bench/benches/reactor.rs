//! The scheduler by itself: `cargo bench -p unidist-bench --bench reactor`.
//!
//! Empty calls are submitted, run by simulated workers, and released. All calls are submitted before the first is done,
//! so that all are in flight at once. Criterion's elements are events: three per call.

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
            // Setup and drops are not measured.
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
