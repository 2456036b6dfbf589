//! Part of unidist.
