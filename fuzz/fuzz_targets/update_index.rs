//! The update index of a release.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| stigmer::update::fuzzing::update_index(data));
