//! A file of agents and workflows.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| stigmer::source::fuzzing::resources(data));
