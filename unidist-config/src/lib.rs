//! Every `UNIDIST_*` setting, once: its type, default, allowed values and documentation.

mod error;

pub use error::ConfigError;
