//! A path in a tree, and a link at it.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| stigmer::bundle::fuzzing::tree_path(data));
