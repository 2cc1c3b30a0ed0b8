//! A signature, and a list of trusted keys.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| stigmer::update::fuzzing::signature(data));
