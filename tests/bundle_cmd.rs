//! What a person sees of `stigmer bundle`: help, errors and their exit codes, as data in `tests/cmd/bundle/`.
#![cfg(unix)]

#[test]
fn the_command_line() {
    trycmd::TestCases::new().case("tests/cmd/bundle/*.md");
}
