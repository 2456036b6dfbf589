//! The allocator of the object store: `cargo bench -p unidist-bench --bench arena`.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use unidist_engine::bench::{Range, Ranges};

const SPACE: u64 = 1 << 40;
/// The number of ranges in use.
const IN_USE: usize = 10_000;

/// Typical lengths: many small ones, some large ones.
fn length(number: usize) -> u64 {
    1 << (10 + number % 13)
}

/// An allocator in which every other range was freed.
fn with_gaps() -> (Ranges, Vec<Range>) {
    let mut ranges = Ranges::new(SPACE);
    let taken: Vec<_> = (0..2 * IN_USE).filter_map(|number| ranges.allocate(length(number))).collect();
    let (kept, freed): (Vec<_>, Vec<_>) = taken.chunks_exact(2).map(|pair| (pair[0], pair[1])).unzip();
    freed.into_iter().for_each(|range| assert!(ranges.free(range)));
    (ranges, kept)
}

fn arena(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("arena");
    group.throughput(Throughput::Elements(1));
    let mut ranges = Ranges::new(SPACE);
    group.bench_function("allocate and free, empty", |bencher| {
        bencher.iter(|| ranges.allocate(black_box(1 << 20)).is_some_and(|range| ranges.free(range)))
    });
    let (mut ranges, mut kept) = with_gaps();
    let mut number = 0;
    group.bench_function("free one of 10,000 and allocate", |bencher| {
        bencher.iter(|| {
            number += 1;
            let place = number * 7_919 % kept.len();
            let freed = ranges.free(kept[place]);
            kept[place] = ranges.allocate(length(number)).unwrap_or(kept[place]);
            freed
        })
    });
    group.finish();
}

criterion_group!(benches, arena);
criterion_main!(benches);
