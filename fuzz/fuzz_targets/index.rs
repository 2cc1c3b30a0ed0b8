//! The index of a bundle, under a footer that fits it.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| stigmer::bundle::fuzzing::index(data));
