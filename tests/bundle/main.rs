//! Bundles: packing, reading on every platform, and everything that can be wrong with a carrier.

mod damage;
mod fixtures;
mod hostile_indexes;
mod images;
mod other_platforms;
#[cfg(unix)]
mod pack;
#[cfg(target_os = "linux")]
mod packagers_tools;
mod signature;

#[test]
fn every_test_file_is_compiled() {
    stigmer_test_support::areas::assert_none_forgotten("bundle");
}
