//! The Julia set of mpi4py.futures' documentation, with an executor: each line of the picture is a call, and `map`
//! yields the lines in order.
//!
//! ```sh
//! cargo run --release -p unidist-examples-numeric --bin executor_julia
//! UNIDIST_MAX_WORKERS=1 cargo run --release -p unidist-examples-numeric --bin executor_julia -- --chunksize 8
//! ```

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use std::error::Error;
use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::time::Instant;
use unidist::config::Backend;
use unidist::executor::Executor;

/// The range of x, from left to right.
const X: (f64, f64) = (-2.0, 2.0);
/// The range of y, from top to bottom.
const Y: (f64, f64) = (1.5, -1.5);
const WIDTH: u32 = 1280;
const HEIGHT: u32 = 960;

/// Draw a Julia set by mapping a function over the lines of the picture.
#[derive(Parser)]
struct Arguments {
    /// Where to write the picture.
    #[arg(long, default_value = "julia.png")]
    output: PathBuf,
    /// Number of lines per call.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    chunksize: u32,
}

/// 255 minus the number of steps until the point escapes; at least 1.
fn julia(mut x: f64, mut y: f64) -> u8 {
    let mut n = 255;
    while x * x + y * y < 9.0 && n > 1 {
        (x, y) = (x * x - y * y, 2.0 * x * y + 0.65);
        n -= 1;
    }
    n
}

/// The pixels of a line, one byte each.
fn julia_line(line: u32) -> Vec<u8> {
    let y = Y.0 + f64::from(line) * (Y.1 - Y.0) / f64::from(HEIGHT);
    (0..WIDTH).map(|column| julia(X.0 + f64::from(column) * (X.1 - X.0) / f64::from(WIDTH), y)).collect()
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let _session = unidist::init()?;
    let executor = Executor::new()?;
    let start = Instant::now();

    let bar = ProgressBar::new(HEIGHT.into());
    bar.set_style(ProgressStyle::with_template("{wide_bar} {pos}/{len} lines [{elapsed}]")?);
    let mut picture = Vec::with_capacity((WIDTH * HEIGHT) as usize);
    for line in executor.options().chunksize(arguments.chunksize as usize).map(julia_line, 0..HEIGHT)? {
        picture.extend(line?);
        bar.inc(1);
    }
    bar.finish_and_clear();
    let seconds = start.elapsed().as_secs_f64();

    write(&arguments.output, &picture).map_err(|error| format!("{}: {error}", arguments.output.display()))?;
    println!(
        "wrote {}: {WIDTH} x {HEIGHT} pixels, {} calls in {seconds:.2} s on backend {} with {} workers",
        arguments.output.display(),
        HEIGHT.div_ceil(arguments.chunksize),
        Backend::get()?,
        executor.num_workers()?,
    );
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
