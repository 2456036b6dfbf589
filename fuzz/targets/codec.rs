//! Values that another process has encoded.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| unidist_engine::fuzz::codec(bytes));
