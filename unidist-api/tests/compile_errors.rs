//! Compile errors are part of the product: what `tests/ui` gets wrong must be explained as written there.
//!
//! `TRYBUILD=overwrite cargo test -p unidist-api --test compile_errors` writes the texts anew.

#[test]
fn mistakes_are_explained() {
    let cases = trybuild::TestCases::new();
    cases.pass("tests/ui/pass/*.rs");
    cases.compile_fail("tests/ui/*.rs");
}
