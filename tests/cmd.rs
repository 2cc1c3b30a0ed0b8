//! The command line as data: each file in `tests/cmd` is a session with its expected output.

#[test]
fn sessions() {
    trycmd::TestCases::new().case("tests/cmd/*.trycmd");
}
