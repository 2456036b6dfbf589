//! What the two ends of a link read from each other's rings.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| unidist_engine::fuzz::messages(bytes));
