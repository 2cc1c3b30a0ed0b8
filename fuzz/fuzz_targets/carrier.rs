//! Finding the bundle in a file of any kind.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| stigmer::bundle::fuzzing::carrier(data));
