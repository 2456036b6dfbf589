//! Checks of the names of the tasks' folders.

use super::METADATA_FOLDER;
use crate::{Error, Result};
use std::collections::HashSet;
use std::path::{Component, Path};

/// Checks that these can be the names of the tasks' folders.
///
/// # Errors
///
/// Their number differs from that of the tasks, one is not a plain name, or two are equal.
pub(in crate::batch) fn check_names(names: &[String], n_tasks: usize) -> Result<()> {
    let wrong = |message: String| Err(Error::argument("BatchBuilder::directory", message));
    if names.len() != n_tasks {
        return wrong(format!("there are {} names for {n_tasks} tasks", names.len()));
    }
    let mut seen = HashSet::with_capacity(n_tasks);
    for name in names {
        let mut parts = Path::new(name).components();
        let plain = matches!(parts.next(), Some(Component::Normal(part)) if part == name.as_str());
        if !plain || parts.next().is_some() || name.contains('\0') || name == METADATA_FOLDER {
            return wrong(format!(
                "{name:?} cannot be the name of a task's folder: it must be a plain name, other than `{METADATA_FOLDER}`"
            ));
        }
        if !seen.insert(name) {
            return wrong(format!("{name:?} is the name of two tasks"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_must_be_plain_and_distinct() {
        let check = |names: &[&str], n_tasks| {
            check_names(&names.iter().map(ToString::to_string).collect::<Vec<_>>(), n_tasks)
        };
        check(&["a", "b c", "..d", "ä"], 4).unwrap();
        for name in ["", ".", "..", "a/b", "/a", "a/", "./a", "a\0b", ".unidist"] {
            let error = check(&[name], 1).unwrap_err();
            assert!(error.to_string().contains(&format!("{name:?}")), "{error}");
        }
        assert!(check(&["a", "b", "a"], 3).unwrap_err().to_string().contains("two tasks"));
        assert!(check(&["a"], 2).unwrap_err().to_string().contains("1 names for 2 tasks"));
    }
}
