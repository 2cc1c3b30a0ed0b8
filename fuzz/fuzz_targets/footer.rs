//! The footer of a bundle.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| stigmer::bundle::fuzzing::footer(data));
