//! The identity of a remote function on the wire.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Names a remote function (or constructor, or method). Opaque: the process that runs it looks it up.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FunctionKey(pub u128);

impl fmt::Debug for FunctionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "fn#{:032x}", self.0)
    }
}
