//! How an array is printed.

use super::SharedArray;
use bytemuck::Pod;
use ndarray::Dimension;
use std::any::type_name;
use std::fmt;

/// The shape, the element type, the hosts and ranks, then the values, of which `ndarray` abbreviates many. With the feature
/// `ndarray`.
impl<T: Pod + fmt::Display, D: Dimension> fmt::Display for SharedArray<T, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let layout = self.communicator().layout();
        let ranks: Vec<String> = layout.host_sizes().map(|size| size.to_string()).collect();
        let (hosts, ranks) = (plural(layout.host_count(), "host"), ranks.join(" + "));
        let elements = type_name::<T>();
        writeln!(f, "SharedArray: {:?} of {elements}, on {hosts} ({ranks} ranks)", self.shape())?;
        fmt::Display::fmt(&self.view(), f)
    }
}

fn plural(count: usize, name: &str) -> String {
    let end = if count == 1 { "" } else { "s" };
    format!("{count} {name}{end}")
}

#[cfg(test)]
mod tests {
    use crate::{Communicator, SharedArray};

    #[test]
    fn array_prints_its_shape_and_values() {
        let array = SharedArray::<f64, _>::new((2, 2), &Communicator::alone()).unwrap();
        assert_eq!(array.to_string(), "SharedArray: [2, 2] of f64, on 1 host (1 ranks)\n[[0, 0],\n [0, 0]]");
        let long = SharedArray::<u8, _>::new(1_000_000, &Communicator::alone()).unwrap();
        assert!(long.to_string().contains("..., 0") && long.to_string().len() < 200, "{long}");
    }
}
