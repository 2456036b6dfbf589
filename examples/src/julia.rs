//! The Julia set of mpi4py.futures' documentation, as a PNG file: one task per line of the picture.
//!
//! ```sh
//! cargo run --release -p unidist-examples --bin julia
//! UNIDIST_BACKEND=pyseq cargo run --release -p unidist-examples --bin julia -- --output sequential.png
//! ```

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use std::error::Error;
use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::time::Instant;
use unidist::config::Backend;
use unidist::prelude::*;

const WIDTH: u32 = 1280;
const HEIGHT: u32 = 960;
/// The left edge and the width of the region.
const X: (f64, f64) = (-2.0, 4.0);
/// The upper edge and the height of the region.
const Y: (f64, f64) = (1.5, 3.0);
/// The constant of z² + c.
const C: (f64, f64) = (0.0, 0.65);

/// Draw a Julia set with one remote task per line.
#[derive(Parser)]
struct Arguments {
    /// Where to write the picture.
    #[arg(long, default_value = "julia.png")]
    output: PathBuf,
}

/// One line of the picture, one byte per pixel.
#[remote]
fn scanline(line: u32) -> Vec<u8> {
    let y = Y.0 - f64::from(line) * Y.1 / f64::from(HEIGHT);
    let pixels = 0..WIDTH;
    pixels.map(|column| shade(X.0 + f64::from(column) * X.1 / f64::from(WIDTH), y)).collect()
}

/// 255 minus the number of steps of z <- z² + c from this point until |z| is 3 or more; at least 1.
fn shade(mut x: f64, mut y: f64) -> u8 {
    let mut shade = 255;
    while x * x + y * y < 9.0 && shade > 1 {
        (x, y) = (x * x - y * y + C.0, 2.0 * x * y + C.1);
        shade -= 1;
    }
    shade
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let session = unidist::init()?;
    let start = Instant::now();
    let lines: Vec<ObjectRef<Vec<u8>>> = (0..HEIGHT).map(|line| scanline.remote(line)).collect();

    let bar = ProgressBar::new(HEIGHT.into());
    bar.set_style(ProgressStyle::with_template("{wide_bar} {pos}/{len} lines [{elapsed}]")?);
    let mut picture = Vec::with_capacity((WIDTH * HEIGHT) as usize);
    for line in &lines {
        picture.extend(get(line)?);
        bar.inc(1);
    }
    bar.finish_and_clear();
    let seconds = start.elapsed().as_secs_f64();

    write(&arguments.output, &picture).map_err(|error| format!("{}: {error}", arguments.output.display()))?;
    println!(
        "wrote {}: {WIDTH} x {HEIGHT} pixels, {} tasks in {seconds:.2} s on backend {} with {} CPUs",
        arguments.output.display(),
        lines.len(),
        Backend::get()?,
        unidist::num_cpus()?,
    );
    drop(lines);
    drop(session); // waits for running tasks, then stops the workers
    Ok(())
}

fn write(path: &Path, picture: &[u8]) -> Result<(), png::EncodingError> {
    let mut encoder = png::Encoder::new(BufWriter::new(File::create(path)?), WIDTH, HEIGHT);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(picture)?;
    writer.finish()
}
