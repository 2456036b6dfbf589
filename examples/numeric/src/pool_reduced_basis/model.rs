//! The full model.

use nalgebra::DMatrix;
use serde::{Deserialize, Serialize};

/// The diffusivities of the left and the right half.
pub(crate) type Parameter = [f64; 2];

/// A rod from 0 to 1, heated in its left quarter, cold at both ends and at time 0.
///
/// The heat equation, by finite differences in space and the implicit Euler method until time 1. The operator is a sum,
/// one part for each material, so that it can be projected once for all parameters.
#[derive(Serialize, Deserialize)]
pub(crate) struct HeatedRod {
    points: usize,
    steps: usize,
}

impl HeatedRod {
    pub(crate) fn new(points: usize, steps: usize) -> Self {
        HeatedRod { points, steps }
    }

    pub(crate) fn steps(&self) -> usize {
        self.steps
    }

    pub(crate) fn time_step(&self) -> f64 {
        1.0 / self.steps as f64
    }

    fn distance(&self) -> f64 {
        1.0 / (self.points + 1) as f64
    }

    /// The heat supplied at each point.
    pub(crate) fn source(&self) -> DMatrix<f64> {
        DMatrix::from_fn(self.points, 1, |point, _| {
            let position = (point + 1) as f64 * self.distance();
            if position < 0.25 { 1.0 } else { 0.0 }
        })
    }

    /// Multiplies the columns by the operator's part for one material (0 or 1) with diffusivity 1.
    pub(crate) fn conduct(&self, material: usize, columns: &DMatrix<f64>) -> DMatrix<f64> {
        let mut parameter = [0.0; 2];
        parameter[material] = 1.0;
        DMatrix::from_fn(self.points, columns.ncols(), |point, column| {
            let [left, right] = self.conductances(point, parameter);
            let at = |point: usize| columns.get((point, column)).copied().unwrap_or(0.0);
            let before = if point > 0 { at(point - 1) } else { 0.0 };
            left * (at(point) - before) + right * (at(point) - at(point + 1))
        })
    }

    /// The conductances between a point and its two neighbours.
    fn conductances(&self, point: usize, parameter: Parameter) -> [f64; 2] {
        [point, point + 1].map(|gap| {
            let is_right = (gap as f64 + 0.5) * self.distance() > 0.5;
            parameter[usize::from(is_right)] / self.distance().powi(2)
        })
    }

    /// The temperatures: a column for each time step.
    pub(crate) fn solve(&self, parameter: Parameter) -> DMatrix<f64> {
        let source = self.source() * self.time_step();
        let mut temperatures = DMatrix::zeros(self.points, self.steps);
        let mut now = DMatrix::zeros(self.points, 1);
        for step in 0..self.steps {
            now = self.solve_step(parameter, now + &source);
            temperatures.set_column(step, &now.column(0));
        }
        temperatures
    }

    /// Solves (1 + time step · operator) x = right side, which is tridiagonal, by elimination.
    fn solve_step(&self, parameter: Parameter, mut x: DMatrix<f64>) -> DMatrix<f64> {
        let mut upper = vec![0.0; self.points];
        for point in 0..self.points {
            let [left, right] = self.conductances(point, parameter).map(|flow| flow * self.time_step());
            let (before, upper_before) =
                if point > 0 { (x[point - 1], upper[point - 1]) } else { (0.0, 0.0) };
            let pivot = 1.0 + left + right + left * upper_before;
            upper[point] = -right / pivot;
            x[point] = (x[point] + left * before) / pivot;
        }
        for point in (0..self.points - 1).rev() {
            x[point] -= upper[point] * x[point + 1];
        }
        x
    }
}
