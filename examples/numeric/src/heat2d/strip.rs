//! The rows of one rank.

use std::ops::Range;
use unidist::spmd::ndarray::{Array2, ArrayView1, ArrayView2, Axis, s};

/// Time step times diffusivity, divided by the squared distance of points. Unstable above 1/4.
const RATE: f64 = 0.2;

/// A disc that is hot at the beginning. Lengths are in points.
pub(crate) struct Spot {
    row: f64,
    column: f64,
    radius: f64,
    temperature: f64,
}

/// Random spots, the same on each rank.
pub(crate) fn spots(count: u32, seed: u64, rows: usize, columns: usize) -> impl Iterator<Item = Spot> {
    let (rows, columns) = (rows as f64, columns as f64);
    let mut random = fastrand::Rng::with_seed(seed);
    (0..count).map(move |_| Spot {
        row: rows * random.f64(),
        column: columns * random.f64(),
        radius: rows.min(columns) * (0.02 + 0.08 * random.f64()),
        temperature: 0.5 + 0.5 * random.f64(),
    })
}

/// Rows of the plate, with one more row at each end: that of the neighbour, or a copy of the outermost row at the edge
/// of the plate, so that no heat flows there.
pub(crate) struct Strip {
    range: Range<usize>,
    now: Array2<f64>,
    next: Array2<f64>,
}

impl Strip {
    /// Creates cold rows; the range must not be empty.
    pub(crate) fn new(range: Range<usize>, columns: usize) -> Self {
        let cold = Array2::zeros((range.len() + 2, columns));
        Strip { range, now: cold.clone(), next: cold }
    }

    /// Heats the part of the spot that is in this strip.
    pub(crate) fn heat(&mut self, spot: &Spot) {
        let mut rows = self.now.slice_mut(s![1..=self.range.len(), ..]);
        for ((row, column), temperature) in rows.indexed_iter_mut() {
            let (down, right) = ((self.range.start + row) as f64 - spot.row, column as f64 - spot.column);
            if down * down + right * right <= spot.radius * spot.radius {
                *temperature = spot.temperature;
            }
        }
    }

    /// The rows.
    pub(crate) fn rows(&self) -> ArrayView2<'_, f64> {
        self.now.slice(s![1..=self.range.len(), ..])
    }

    /// The first and the last row.
    pub(crate) fn edges(&self) -> Array2<f64> {
        self.rows().select(Axis(0), &[0, self.range.len() - 1])
    }

    /// Computes one time step, given the adjacent rows of the neighbours.
    pub(crate) fn step(&mut self, above: Option<ArrayView1<'_, f64>>, below: Option<ArrayView1<'_, f64>>) {
        let last = self.range.len() + 1;
        for (outer, inner, neighbour) in [(0, 1, above), (last, last - 1, below)] {
            let row = neighbour.map_or_else(|| self.now.row(inner).to_owned(), |row| row.to_owned());
            self.now.row_mut(outer).assign(&row);
        }
        for row in 1..last {
            let [above, own, below] = [row - 1, row, row + 1].map(|row| self.now.row(row));
            for column in 0..own.len() {
                let left = own[column.saturating_sub(1)];
                let right = own[(column + 1).min(own.len() - 1)];
                let around = above[column] + below[column] + left + right;
                self.next[(row, column)] = own[column] + RATE * (around - 4.0 * own[column]);
            }
        }
        std::mem::swap(&mut self.now, &mut self.next);
    }
}
