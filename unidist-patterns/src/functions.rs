//! Names and panics of user functions, as the three APIs report them.

use std::any::{Any, type_name};
use unidist_core::{ErrorKind, TaskError};

/// The name of a function as errors and logs show it, without wrappers such as [`fallible`](unidist_core::fallible).
pub(crate) fn name_of<F>() -> &'static str {
    let mut name = type_name::<F>();
    while let Some((outer, inner)) = name.split_once('<') {
        let is_wrapper = outer.ends_with("::Fallible") || outer.ends_with("::Depend");
        let Some(inner) = inner.strip_suffix('>').filter(|_| is_wrapper) else { break };
        name = inner;
    }
    name
}

/// The error for a caught panic.
pub(crate) fn panic_error(panic: &(dyn Any + Send)) -> TaskError {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text =
        text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("a panic with a payload that is not text");
    TaskError::new(ErrorKind::Panicked, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size_of_value<T>(value: &T) -> usize {
        size_of_val(value)
    }

    #[test]
    fn fallible_function_keeps_its_name() {
        fn of<F: Copy>(_: F) -> (&'static str, &'static str) {
            (name_of::<F>(), name_of::<unidist_core::Fallible<F>>())
        }
        let (plain, fallible) = of(size_of_value::<i64>);
        assert_eq!(plain, fallible);
        assert!(plain.ends_with("size_of_value<i64>"), "{plain}");
    }
}
