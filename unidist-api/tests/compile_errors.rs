//! Compile errors are part of the product: what `tests/ui` gets wrong must be explained as written there.
//!
//! `TRYBUILD=overwrite cargo test -p unidist-api --test compile_errors` writes the texts anew.

#[test]
fn mistakes_are_explained() {
    let cases = trybuild::TestCases::new();
    cases.pass("tests/ui/pass/*.rs");
    cases.compile_fail("tests/ui/*.rs");
}

#[test]
#[ignore = "`WorkerInfo` does not have the id of the worker's process"]
fn worker_info_has_the_process_id() {
    trybuild::TestCases::new().pass("tests/ui/open/*.rs");
}
