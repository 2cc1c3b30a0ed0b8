//! Every example of this crate runs to its end. What it promises, it asserts itself.

#[path = "../examples/pack_and_read.rs"]
mod pack_and_read;

#[test]
fn pack_and_read() {
    pack_and_read::main().unwrap();
}
