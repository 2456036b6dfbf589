//! How fast 16 MiB of numbers are put, got, passed as an argument and returned, in various values, beside a `to_vec()` of
//! as many bytes in the same process and in the same round. A ratio of 1 is the speed of `to_vec()`; an argument and a
//! result are copied twice, into the store and out of it.
//!
//! `cargo run --release -p unidist-bench --example plain_vectors`

use serde::{Deserialize, Serialize};
use std::hint::black_box;
use std::time::{Duration, Instant};
use unidist::prelude::*;
use unidist::{Portable, put_ref};

const BYTES: usize = 16 << 20;
const NUMBERS: usize = BYTES / size_of::<f32>();
const ROUNDS: usize = 15;

/// A value that has `BYTES` bytes of numbers.
trait Make: Portable {
    fn make() -> Self;
}

impl Make for Vec<u8> {
    fn make() -> Self {
        vec![7; BYTES]
    }
}

impl Make for Vec<f32> {
    fn make() -> Self {
        vec![0.5; NUMBERS]
    }
}

impl Make for String {
    fn make() -> Self {
        "x".repeat(BYTES)
    }
}

impl Make for (u8, Vec<f32>) {
    fn make() -> Self {
        (1, Make::make())
    }
}

impl Make for Option<Vec<f32>> {
    fn make() -> Self {
        Some(Make::make())
    }
}

impl Make for Vec<Vec<f32>> {
    fn make() -> Self {
        vec![vec![0.5; NUMBERS / 16]; 16]
    }
}

/// Small lists, which are not held in memory of their own.
#[derive(Serialize, Deserialize)]
struct ManyRows(Vec<Vec<f32>>);

impl Make for ManyRows {
    fn make() -> Self {
        ManyRows(vec![vec![0.5; 1 << 10]; NUMBERS >> 10])
    }
}

#[derive(Serialize, Deserialize)]
struct Unmarked {
    name: String,
    numbers: Vec<f32>,
}

impl Make for Unmarked {
    fn make() -> Self {
        Unmarked { name: "n".to_owned(), numbers: Make::make() }
    }
}

#[derive(Serialize, Deserialize)]
struct Marked {
    #[serde(with = "unidist::bulk")]
    points: Vec<[f32; 4]>,
}

impl Make for Marked {
    fn make() -> Self {
        Marked { points: vec![[0.5; 4]; NUMBERS / 4] }
    }
}

#[derive(Clone, Serialize, Deserialize)]
struct Point {
    x: f32,
    y: f32,
    z: f32,
    w: f32,
}

/// Item by item.
impl Make for Vec<Point> {
    fn make() -> Self {
        vec![Point { x: 0.1, y: 0.2, z: 0.3, w: 0.4 }; NUMBERS / 4]
    }
}

fn take<T: Make>(value: T) {
    black_box(value);
}

/// The value, and for how many seconds it was made.
fn give<T: Make>() -> (f64, T) {
    let begun = Instant::now();
    let value = black_box(T::make());
    (begun.elapsed().as_secs_f64(), value)
}

fn timed<R>(run: impl FnOnce() -> R) -> (f64, R) {
    let begun = Instant::now();
    let result = run();
    (begun.elapsed().as_secs_f64(), result)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn measure<T: Make>(name: &str) -> unidist::Result<()>
where
    (f64, T): Portable,
{
    let bytes = vec![7_u8; BYTES];
    let value = T::make();
    let mut samples: [Vec<f64>; 5] = Default::default();
    for round in 0..ROUNDS + 2 {
        let (copy, copied) = timed(|| black_box(&bytes[..]).to_vec());
        drop(copied);
        let (put, reference) = timed(|| put_ref(&value));
        let reference = reference?;
        let (got, back) = timed(|| get(&reference));
        drop((back?, reference));
        let (argument, done) = timed(|| get((take::<T>).remote(&value)));
        done?;
        let (result, returned) = timed(|| get((give::<T>).remote()));
        let (made, returned) = returned?;
        drop(returned);
        // Memory goes back to the store after the drops.
        std::thread::sleep(Duration::from_millis(2));
        if round >= 2 {
            let took = [copy, put, got, argument, result - made];
            samples.iter_mut().zip(took).for_each(|(samples, took)| samples.push(took));
        }
    }
    let [copy, rest @ ..] = samples.map(median);
    let cells = rest.map(|took| format!("{:>6.2} {:>6.2}", copy / took, BYTES as f64 / took / 1e9));
    println!("{name:<34} {:>6.2}   {}", BYTES as f64 / copy / 1e9, cells.join("   "));
    Ok(())
}

fn main() -> unidist::Result<()> {
    unidist::config::CpuCount::put(1)?;
    let _session = unidist::init()?;
    println!("each: speed as a multiple of to_vec(), and in GB/s");
    println!("{:<34} to_vec             put             get        argument          result", "value");
    measure::<Vec<u8>>("Vec<u8>")?;
    measure::<Vec<f32>>("Vec<f32>")?;
    measure::<String>("String")?;
    measure::<(u8, Vec<f32>)>("(u8, Vec<f32>)")?;
    measure::<Option<Vec<f32>>>("Option<Vec<f32>>")?;
    measure::<Vec<Vec<f32>>>("Vec<Vec<f32>>, 1 MiB each")?;
    measure::<ManyRows>("struct of Vec<Vec<f32>>, 4 KiB each")?;
    measure::<Unmarked>("struct, Vec<f32>")?;
    measure::<Marked>("struct, unidist::bulk")?;
    measure::<Vec<Point>>("Vec of structs, item by item")
}
