//! The command line as data: each file in `tests/cmd` is a session with its expected output.

#[cfg(unix)]
mod bundle;
#[cfg(target_os = "linux")]
mod cache;

#[test]
fn sessions() {
    trycmd::TestCases::new().case("tests/cmd/*.trycmd");
}

#[test]
fn every_test_file_is_compiled() {
    stigmer_test_support::areas::assert_none_forgotten("cli");
}
