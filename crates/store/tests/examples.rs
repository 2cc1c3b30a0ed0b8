//! Every example of this crate runs to its end. What it promises, it asserts itself.

#[path = "../examples/self_extracting.rs"]
mod self_extracting;

#[test]
fn self_extracting() {
    self_extracting::main().unwrap();
}
