//! What a person sees of `stigmer cache` and `stigmer exec`, as data in `tests/cmd/cache/`.

use std::path::Path;
use stigmer_test_support::store::{Payload, World};

#[test]
fn cache_and_exec_sessions() {
    // Each file is a session in a home of its own.
    for file in ["help", "session", "errors"] {
        let world = World::new();
        trycmd::TestCases::new()
            .register_bin("stigmer", world.copy_of(Payload::Small).as_path())
            .register_bin("bare", Path::new(env!("CARGO_BIN_EXE_stigmer")))
            .env("STIGMER_HOME", world.home().to_str().expect("text"))
            .env("STIGMER_LOCK_TIMEOUT", "0")
            .case(format!("tests/cmd/cache/{file}.trycmd"));
    }
}
