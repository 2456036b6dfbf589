//! Pages of the book that a command writes from the sources: they are written, or compared with what is there.

use crate::Result;
use crate::workspace::Workspace;

/// The arguments of a command that writes a page.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Write nothing; fail if the page is out of date.
    #[arg(long)]
    check: bool,
}

/// A page, and what writes it.
pub(crate) struct GeneratedPage {
    /// Its path in the repository.
    pub(crate) path: &'static str,
    /// The command of xtask that writes it.
    pub(crate) command: &'static str,
    /// Its text as it should be.
    pub(crate) text: fn(&Workspace) -> Result<String>,
}

impl GeneratedPage {
    /// Runs the command.
    pub(crate) fn run(&self, arguments: &Arguments) -> Result {
        let workspace = Workspace::load()?;
        if arguments.check {
            return match self.finding(&workspace)? {
                None => Ok(()),
                Some(finding) => Err(finding.into()),
            };
        }
        std::fs::write(workspace.root.join(self.path), (self.text)(&workspace)?)?;
        println!("wrote {}", self.path);
        Ok(())
    }

    /// What to do if the page is out of date.
    pub(crate) fn finding(&self, workspace: &Workspace) -> Result<Option<String>> {
        let is_current = workspace.read(self.path)? == (self.text)(workspace)?;
        Ok((!is_current).then(|| format!("{} is out of date: run `cargo xtask {}`", self.path, self.command)))
    }
}
