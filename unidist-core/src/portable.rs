//! Values that can cross a process boundary.

use crate::split::SplitInto;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fmt::Debug;

/// A value that can be sent to another process. Implemented for all types that meet the bounds.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be sent to another process",
    label = "needs `serde::Serialize + serde::de::DeserializeOwned + Send + 'static`",
    note = "for your own type: `#[derive(serde::Serialize, serde::Deserialize)]`; in place of a borrowed type take the \
            owned one (`String` for `&str`, `Vec<f64>` for `&[f64]`)"
)]
pub trait Portable: Serialize + DeserializeOwned + Send + 'static {}

#[diagnostic::do_not_recommend]
impl<T: Serialize + DeserializeOwned + Send + 'static> Portable for T {}

/// An error value that is sent with the failure of its call. Unlike a [`Portable`] value it may contain texts of the
/// program (`&'static str`), so that a `Result<T, &'static str>` is a result of a call; these are not restored.
#[doc(hidden)]
pub trait SendableError: Serialize + Deserialize<'static> + Send + Debug + 'static {}

#[diagnostic::do_not_recommend]
impl<E: Serialize + Deserialize<'static> + Send + Debug + 'static> SendableError for E {}

/// Asserts, where `#[remote]` stands, that an argument can be sent.
#[doc(hidden)]
pub fn assert_argument<T: Portable>() {}

/// Asserts, where `#[remote]` stands, that a result can be sent.
#[doc(hidden)]
pub fn assert_result<T: Portable>() {}

/// Asserts, where `#[remote(num_returns = N)]` stands, that a result can be stored as `N` objects.
#[doc(hidden)]
pub fn assert_split<T: SplitInto<N>, const N: usize>() {}
