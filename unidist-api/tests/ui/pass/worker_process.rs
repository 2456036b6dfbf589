//! A worker's description has the id of its process.
fn main() -> unidist::Result<()> {
    unidist::config::Backend::put(unidist::config::BackendName::Pyseq)?;
    let _session = unidist::init()?;
    assert_eq!(unidist::workers()?[0].pid, std::process::id());
    Ok(())
}
