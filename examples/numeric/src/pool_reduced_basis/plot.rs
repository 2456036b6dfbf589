//! Plots the errors.

use std::fmt::Write;
use std::path::Path;

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 400.0;
const MARGIN: f64 = 60.0;

/// Draws the error (on a logarithmic scale) over the size of the basis, as an SVG file.
pub(crate) fn draw(path: &Path, errors: &[f64]) -> std::io::Result<()> {
    let exponents: Vec<f64> = errors.iter().map(|error| error.max(f64::MIN_POSITIVE).log10()).collect();
    let top = exponents.iter().copied().fold(f64::NEG_INFINITY, f64::max).ceil();
    let bottom = exponents.iter().copied().fold(f64::INFINITY, f64::min).floor().min(top - 1.0);
    let x = |size: usize| MARGIN + (WIDTH - 2.0 * MARGIN) * size as f64 / errors.len().max(1) as f64;
    let y = |exponent: f64| MARGIN + (HEIGHT - 2.0 * MARGIN) * (top - exponent) / (top - bottom);
    let picture = picture(&exponents, top as i32, bottom as i32, x, y);
    std::fs::write(path, picture.map_err(std::io::Error::other)?)
}

fn picture(
    exponents: &[f64],
    top: i32,
    bottom: i32,
    x: impl Fn(usize) -> f64,
    y: impl Fn(f64) -> f64,
) -> Result<String, std::fmt::Error> {
    let mut svg = String::new();
    writeln!(
        svg,
        r#"<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" font-family="sans-serif">"#
    )?;
    writeln!(svg, r#"<rect width="100%" height="100%" fill="white"/>"#)?;
    let (left, right) = (x(0), x(exponents.len()));
    for exponent in bottom..=top {
        let y = y(exponent.into());
        writeln!(svg, r#"<path d="M{left} {y:.1}H{right}" stroke="lightgrey"/>"#)?;
        let label = format!(r#"10<tspan dy="-5" font-size="9">{exponent}</tspan>"#);
        writeln!(
            svg,
            r#"<text x="{}" y="{:.1}" font-size="12" text-anchor="end">{label}</text>"#,
            left - 6.0,
            y + 4.0
        )?;
    }
    let points: Vec<_> = (1..).zip(exponents).map(|(size, exponent)| (size, x(size), y(*exponent))).collect();
    let line: Vec<_> = points.iter().map(|(_, x, y)| format!("{x:.1},{y:.1}")).collect();
    writeln!(
        svg,
        r#"<polyline points="{}" fill="none" stroke="steelblue" stroke-width="2"/>"#,
        line.join(" ")
    )?;
    for (size, x, y) in points {
        writeln!(svg, r#"<circle cx="{x:.1}" cy="{y:.1}" r="3.5" fill="steelblue"/>"#)?;
        let below = HEIGHT - MARGIN + 18.0;
        writeln!(svg, r#"<text x="{x:.1}" y="{below}" font-size="12" text-anchor="middle">{size}</text>"#)?;
    }
    let (middle, below) = (WIDTH / 2.0, HEIGHT - 18.0);
    writeln!(
        svg,
        r#"<text x="{middle}" y="{below}" font-size="14" text-anchor="middle">vectors in the basis</text>"#
    )?;
    writeln!(
        svg,
        r#"<text x="{middle}" y="32" font-size="14" text-anchor="middle">worst relative error</text>"#
    )?;
    writeln!(svg, "</svg>")?;
    Ok(svg)
}
