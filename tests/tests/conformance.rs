//! The conformance suite: every promise, on every backend that makes it.

fn main() -> std::process::ExitCode {
    unidist_tests::main()
}
