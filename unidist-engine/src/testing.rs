//! Values for tests in several modules.

use std::sync::Arc;
use unidist_common::{Arg, DataId, FunctionKey, Returns, Target, TaskSpec};

/// A call of the function `big` with an argument of this number of bytes, whose one result has this id.
pub(crate) fn call(first: DataId, argument: usize) -> TaskSpec {
    TaskSpec {
        function: FunctionKey(1),
        body: None,
        name: "big".into(),
        target: Target::Pool,
        asynchronous: false,
        args: vec![Arg::Value(vec![0; argument].into())],
        dependencies: vec![],
        borrowed: vec![],
        returns: Returns { first, count: 1 },
        options: Arc::default(),
    }
}
