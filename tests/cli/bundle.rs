//! What a person sees of `stigmer bundle`: help, errors and their exit codes, as data in `tests/cmd/bundle/`.

#[test]
fn bundle_sessions() {
    trycmd::TestCases::new().case("tests/cmd/bundle/*.md");
}
