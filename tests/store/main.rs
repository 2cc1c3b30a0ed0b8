//! The store under faults: damage, kills, full and read-only disks, contention, other users.
//!
//! Each test has a home of its own and starts the real program. `STIGMER_SOAK=1` makes the hunts longer. `docs/testing.md`
//! says which protection each test covers.
#![cfg(target_os = "linux")]

mod boot;
mod collect;
mod crowd;
mod damage;
mod damages;
mod doctor;
mod exec;
mod flips;
mod home;
mod kill;
mod links;
mod lock;
mod manifest;
mod readonly;
mod real;
mod reuse;
mod space;
mod start;

#[test]
fn every_test_file_is_compiled() {
    stigmer_test_support::areas::assert_none_forgotten("store");
}
