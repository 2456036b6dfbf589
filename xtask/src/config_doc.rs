//! `config-doc`: the reference page of all settings.

use crate::generated_page::GeneratedPage;

/// The page.
pub(crate) const PAGE: GeneratedPage = GeneratedPage {
    path: "docs/configuration.md",
    command: "config-doc",
    text: |_| Ok(unidist_config::reference_page()),
};
