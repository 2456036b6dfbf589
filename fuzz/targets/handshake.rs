//! The handshake between the engine and a new process.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| unidist_engine::fuzz::handshake(bytes));
