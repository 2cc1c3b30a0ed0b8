//! The API does what its description says: schemathesis derives requests from the description, right and wrong ones, and compares the
//! answers with it.

use serde_json::json;
use std::process::Command;
use stigmer_test_support::api::{Server, TOKEN};
use stigmer_test_support::repository;

/// `STIGMER_SCHEMATHESIS` names the program, as `tests/schemathesis/install.sh` prints it; `make test` sets it.
#[test]
fn every_answer_is_one_that_is_described() {
    let Some(schemathesis) = std::env::var_os("STIGMER_SCHEMATHESIS") else {
        return;
    };
    let server = Server::patient();
    server.agent("hello");
    let execution = server.run("hello", "Good morning");
    // Something that is there, so that not every request is about nothing.
    let dir = tempfile::tempdir().expect("a directory");
    let config = dir.path().join("schemathesis.toml");
    let own = fs_err::read_to_string(repository().join("tests/schemathesis/schemathesis.toml"))
        .expect("the configuration");
    let known = ["getExecution", "listEvents", "cancelExecution", "resumeExecution"].map(|operation| {
        format!("[[operations]]\ninclude-operation-id = \"{operation}\"\nparameters = {{ \"path.id\" = \"{execution}\" }}\n")
    });
    fs_err::write(&config, format!("{own}\n{}", known.join("\n"))).expect("written");
    let output = Command::new(schemathesis)
        .arg("--config-file")
        .arg(&config)
        .args([
            "run",
            &format!("{}/openapi.json", server.url),
            "--header",
            &format!("Authorization: Bearer {TOKEN}"),
        ])
        .args([
            "--phases",
            "coverage,fuzzing",
            "--max-examples",
            "10",
            "--seed",
            "1",
            "--request-timeout",
            "60",
        ])
        .args(["--continue-on-failure", "--no-color"])
        .current_dir(dir.path())
        .output()
        .expect("schemathesis runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    // It met the server: an answer that is not there, or a description without operations, would be no failure for it.
    assert!(text.contains("Tested: "), "{text}");
    let (status, body) = server.call("GET", "/v1/status", None);
    assert_eq!((status, &body["instance"]), (200, &json!("i-1")));
}
