//! The encoding of values and of the links' messages: `cargo bench -p unidist-bench --bench codec`.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::hint::black_box;
use unidist_common::codec;
use unidist_engine::bench::messages;

fn value<T: Serialize + DeserializeOwned + 'static>(criterion: &mut Criterion, name: &str, value: &T) {
    let bytes = codec::encode(value).unwrap_or_else(|error| panic!("{name}: {error}"));
    let mut group = criterion.benchmark_group(format!("value: {name}"));
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    group.bench_function("encode", |bencher| bencher.iter(|| codec::encode(black_box(value))));
    let proof = codec::encode_recorded(value).and_then(|(bytes, record)| record.prove::<T>(&bytes));
    proof.unwrap_or_else(|error| panic!("{name}: {error}"));
    group.bench_function("encode, proven", |bencher| {
        bencher.iter(|| codec::encode_proven(black_box(value), None))
    });
    group.bench_function("decode", |bencher| bencher.iter(|| codec::decode::<T>(black_box(&bytes))));
    group.finish();
}

#[derive(Clone, Serialize, Deserialize)]
struct Point {
    x: f64,
    y: f64,
    label: Option<Label>,
}

#[derive(Clone, Serialize, Deserialize)]
enum Label {
    Number(u32),
    Name(String),
}

fn points(count: usize) -> Vec<Point> {
    let labels = [None, Some(Label::Number(1)), Some(Label::Name("a".to_owned()))];
    (0..count).map(|n| Point { x: 1.0, y: 2.0, label: labels[n % 3].clone() }).collect()
}

fn values(criterion: &mut Criterion) {
    value(criterion, "an integer", &7_u64);
    value(criterion, "a tuple", &(1_u32, 2.5_f64, "a short text".to_owned()));
    value(criterion, "1,000 integers", &(0..1_000_u64).collect::<Vec<_>>());
    value(criterion, "1,000 structs with enums", &points(1_000));
    value(criterion, "1,000 texts", &(0..1_000).map(|n| format!("number {n}")).collect::<Vec<_>>());
}

fn links(criterion: &mut Criterion) {
    for (name, message) in messages() {
        let mut bytes = Vec::new();
        message.encode(&mut bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut group = criterion.benchmark_group(format!("message: {name}, {} bytes", bytes.len()));
        group.throughput(Throughput::Elements(1));
        let mut out = Vec::with_capacity(bytes.len());
        group.bench_function("encode", |bencher| {
            bencher.iter(|| {
                out.clear();
                black_box(&message).encode(&mut out)
            })
        });
        group.bench_function("decode", |bencher| bencher.iter(|| message.decode(black_box(&bytes))));
        group.finish();
    }
}

criterion_group!(benches, values, links);
criterion_main!(benches);
