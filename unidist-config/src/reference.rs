//! The reference page.

use crate::{VARIABLES, Variable};
use std::fmt::Write;

/// `docs/configuration.md`, as the registry has it.
pub fn reference_page() -> String {
    let mut page = String::from(INTRODUCTION);
    for variable in VARIABLES {
        // Writing to a string cannot fail.
        let _ = write_row(&mut page, variable);
    }
    page.push_str(CODE);
    page
}

const INTRODUCTION: &str = "\
<!-- Written by `cargo xtask config-doc` from unidist-config's registry: change it there. -->

# Configuration

Every setting is an environment variable and a parameter of `unidist::config`. What the program sets with `put` wins
over the environment, which wins over the default. All of them are read and checked once, when `unidist::init()`
starts a session; a wrong value is an error that names the variable, the value and what is allowed. An empty variable
counts as unset. Worker processes get their settings from the program that started them, not from variables.

| Variable | Parameter | Type | Default | Allowed | What it does |
|---|---|---|---|---|---|
";

const CODE: &str = "
In code, before `init`:

```rust
use unidist::config::{Backend, BackendName, CpuCount, Source};

fn main() -> unidist::Result<()> {
    Backend::put(BackendName::Pyseq)?;
    CpuCount::put(4)?;
    assert_eq!(CpuCount::get()?.get(), 4);
    assert_eq!(CpuCount::source(), Source::Code);
    let _session = unidist::init()?;
    Ok(())
}
```

While a session exists, `put` is an error (`ConfigError::AfterInit`), since it would change nothing. `reset` forgets
what was put.
";

fn write_row(page: &mut String, variable: &Variable) -> std::fmt::Result {
    let doc = variable.doc.split_whitespace().collect::<Vec<_>>().join(" ");
    let Variable { name, parameter, kind, default, allowed, .. } = variable;
    writeln!(page, "| `{name}` | `{parameter}` | {kind} | {default} | {allowed} | {doc} |")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_variable_has_a_row_of_six_cells() {
        let page = reference_page();
        for variable in VARIABLES {
            let start = format!("| `{}` |", variable.name);
            let row = page.lines().find(|line| line.starts_with(&start)).unwrap();
            assert_eq!(row.matches('|').count(), 7, "{row}");
        }
    }
}
