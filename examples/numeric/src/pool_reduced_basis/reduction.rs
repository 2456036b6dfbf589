//! Derives a model with few unknowns from snapshots.

use crate::model::{HeatedRod, Parameter};
use nalgebra::DMatrix;
use serde::{Deserialize, Serialize};

/// An orthonormal basis of `size` vectors, most significant for the snapshots first: proper orthogonal decomposition,
/// by singular values.
pub(crate) fn decompose(snapshots: &[DMatrix<f64>], size: usize) -> DMatrix<f64> {
    let columns: Vec<_> = snapshots.iter().flat_map(|snapshots| snapshots.column_iter()).collect();
    let svd = DMatrix::from_columns(&columns).svd(true, false); // the singular values are sorted
    let vectors = svd.u.unwrap_or_default();
    let size = size.min(vectors.ncols());
    vectors.columns(0, size).into_owned()
}

/// The rod in a reduced basis: Galerkin projection.
#[derive(Serialize, Deserialize)]
pub(crate) struct ReducedRod {
    basis: DMatrix<f64>,
    /// The part of the operator for each material.
    operators: [DMatrix<f64>; 2],
    source: DMatrix<f64>,
    steps: usize,
    time_step: f64,
}

impl ReducedRod {
    pub(crate) fn project(model: &HeatedRod, basis: DMatrix<f64>) -> Self {
        ReducedRod {
            operators: [0, 1].map(|material| basis.tr_mul(&model.conduct(material, &basis))),
            source: basis.tr_mul(&model.source()),
            basis,
            steps: model.steps(),
            time_step: model.time_step(),
        }
    }

    /// The number of vectors in the basis.
    pub(crate) fn size(&self) -> usize {
        self.basis.ncols()
    }

    /// The temperatures at all points, one column per time step, approximated with the first `size` vectors.
    pub(crate) fn solve(&self, parameter: Parameter, size: usize) -> DMatrix<f64> {
        let mut operator = DMatrix::identity(size, size);
        for (part, diffusivity) in self.operators.iter().zip(parameter) {
            operator += part.view((0, 0), (size, size)) * (diffusivity * self.time_step);
        }
        let source = self.source.rows(0, size) * self.time_step;
        let factors = operator.lu();
        let mut coefficients = DMatrix::zeros(size, self.steps);
        let mut now = DMatrix::zeros(size, 1);
        for step in 0..self.steps {
            now += &source;
            factors.solve_mut(&mut now); // a positive definite operator has an inverse
            coefficients.set_column(step, &now.column(0));
        }
        self.basis.columns(0, size) * coefficients
    }
}
