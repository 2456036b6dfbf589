//! Draws a plate.

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;
use unidist::spmd::ndarray::ArrayView2;

/// Writes a PNG file: cold is black, followed by red, yellow, and white for the hottest point.
pub(crate) fn write(path: &Path, plate: ArrayView2<'_, f64>) -> Result<(), png::EncodingError> {
    let hottest = plate.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
    let pixels: Vec<u8> = plate.iter().flat_map(|temperature| color(temperature / hottest)).collect();
    let (rows, columns) = plate.dim();
    let mut encoder = png::Encoder::new(BufWriter::new(File::create(path)?), columns as u32, rows as u32);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(&pixels)?;
    writer.finish()
}

/// Red, green and blue, each of which rises over a third of the range from 0 to 1.
fn color(heat: f64) -> [u8; 3] {
    [0.0, 1.0, 2.0].map(|before| ((3.0 * heat - before).clamp(0.0, 1.0) * 255.0) as u8)
}
