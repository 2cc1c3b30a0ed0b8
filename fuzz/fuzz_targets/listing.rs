//! The listing of releases.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| stigmer::update::fuzzing::listing(data));
