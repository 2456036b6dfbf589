//! `config-doc`: the reference page of all settings.

use crate::Result;
use crate::workspace::Workspace;

/// The path of the page.
pub(crate) const PAGE: &str = "docs/configuration.md";

/// The arguments of `config-doc`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Write nothing; fail if the page is out of date.
    #[arg(long)]
    check: bool,
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Result {
    let workspace = Workspace::load()?;
    if arguments.check {
        return match is_current(&workspace)? {
            true => Ok(()),
            false => Err(format!("{PAGE} is out of date: run `cargo xtask config-doc`").into()),
        };
    }
    let path = workspace.root.join(PAGE);
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(path, unidist_config::reference_page())?;
    println!("wrote {PAGE}");
    Ok(())
}

/// Whether the page matches the registry.
pub(crate) fn is_current(workspace: &Workspace) -> Result<bool> {
    Ok(workspace.read(PAGE)? == unidist_config::reference_page())
}
