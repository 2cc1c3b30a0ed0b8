//! Components are entries of a table: an executable with two more entries starts, shows, restarts and stops what they describe.

use rustix::process::Signal;
use serde_json::Value;
use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use stigmer_test_support::server::{GOOD, Platform, component, json, pid, signal, text};
use stigmer_test_support::{eventually, example};

/// Fails unless the role that it needs is running, and reports at its end whether that is still so.
const NEEDY: &str = r#"read -r config
role="$STIGMER_HOME/data/fake-role/running"
[ -e "$role" ] || exit 1
finish() {
    if [ -e "$role" ]; then echo "the role is still running" >&2; fi
    exit 0
}
trap finish TERM
echo "bundled says hello" >&2
printf '{"event":"ready","version":"7.7.7","pid":%s}\n' $$
while :; do sleep 1000 & wait $!; done"#;

/// The components that always start, in the order of the table.
fn expected() -> Vec<&'static str> {
    stigmer::components::SHIPPED.names().chain(["fake-role", "fake-bundled"]).collect()
}

/// A home, and an executable with the table of the example.
struct Own {
    platform: Platform,
    program: PathBuf,
}

impl Own {
    /// Packs an executable with these bundled components, each a script.
    fn packed(components: &[(&str, &str)]) -> Self {
        let platform = Platform::new(GOOD);
        let program = platform.path("stigmer");
        let mut words: Vec<OsString> = ["bundle", "pack", "--level", "1", "--base"].map(Into::into).into();
        words.push(example("own_components").into());
        for (name, script) in components {
            let tree = platform.path(&format!("{name} tree"));
            fs_err::create_dir(&tree).expect("made");
            let manifest = format!(r#"{{"name": "{name}", "version": "1", "entrypoint": "{name}"}}"#);
            fs_err::write(tree.join("component.json"), manifest).expect("written");
            write_script(&tree.join(name), script);
            words.extend(["--component".into(), format!("{name}={}", tree.display()).into()]);
        }
        words.extend(["--out".into(), program.clone().into()]);
        let packed = Command::new(example("own_components")).args(words).output().expect("it runs");
        assert!(packed.status.success(), "{}", text(&packed));
        Self { platform, program }
    }

    fn run(&self, args: &[&str]) -> Output {
        let mut command = Command::new(&self.program);
        command.args(args).env("STIGMER_HOME", &self.platform.home).env("TMPDIR", self.platform.path("tmp"));
        command.stdin(std::process::Stdio::null()).output().expect("it runs")
    }

    fn succeed(&self, args: &[&str]) -> Output {
        let output = self.run(args);
        assert!(output.status.success(), "{args:?}: {}", text(&output));
        // What runs now is what must have ended in the end.
        self.platform.processes();
        output
    }

    fn log(&self, name: &str) -> String {
        text(&self.succeed(&["server", "logs", "--raw", "--component", name]))
    }
}

fn write_script(path: &Path, script: &str) {
    fs_err::write(path, format!("#!/bin/sh\n{script}\n")).expect("written");
    fs_err::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("set");
}

fn names(status: &Value) -> Vec<&str> {
    let components = status["components"].as_array().expect("components");
    components.iter().map(|one| one["name"].as_str().expect("a name")).collect()
}

fn is_ready(status: &Value) -> bool {
    status["components"].as_array().expect("components").iter().all(|one| one["phase"] == "ready")
}

#[test]
fn entries_of_a_table_are_started_shown_restarted_and_stopped() {
    let own = Own::packed(&[("agent-runner", GOOD), ("fake-bundled", NEEDY)]);
    let status = json(&own.succeed(&["server", "start", "--port", "0", "--json"]));
    assert_eq!(names(&status), expected());
    assert!(is_ready(&status), "{status}");
    let bundled = component(&status, "fake-bundled");
    assert_eq!((&bundled["version"], bundled["payload"].is_string()), (&"7.7.7".into(), true));

    // Each has its log and its settings.
    assert!(own.log("fake-role").contains("greeting: 4 executions"));
    assert!(own.log("fake-bundled").contains("bundled says hello"));
    let all = text(&own.succeed(&["server", "logs"]));
    assert!(expected().iter().all(|name| all.contains(name)), "{all}");
    assert!(text(&own.run(&["server", "logs", "--component", "nobody"])).contains("fake-role, fake-bundled"));
    assert!(text(&own.succeed(&["server", "--help"])).contains("fake-role, a role for tests; fake-bundled"));

    let report = json(&own.succeed(&["doctor", "--json"]));
    let details: Vec<&str> = report["checks"]
        .as_array()
        .expect("checks")
        .iter()
        .filter_map(|one| one["detail"].as_str())
        .collect();
    for words in ["fake-role is ready", "fake-bundled is ready", "fake-bundled 1 is sound"] {
        assert!(details.iter().any(|detail| detail.contains(words)), "{words}: {details:?}");
    }

    // One that ends is started again, and the others go on.
    signal(pid(component(&status, "fake-role")), Signal::KILL);
    let again = eventually("the role runs again", || {
        let status = json(&own.succeed(&["server", "status", "--json"]));
        (is_ready(&status) && component(&status, "fake-role")["restarts"] == 1).then_some(status)
    });
    assert_eq!(component(&again, "fake-bundled")["restarts"], 0);

    let restarted = json(&own.succeed(&["server", "restart", "--json"]));
    assert_eq!(names(&restarted), expected());
    assert!(is_ready(&restarted), "{restarted}");
    assert_ne!(component(&restarted, "fake-role")["pid"], component(&again, "fake-role")["pid"]);

    own.succeed(&["server", "stop"]);
    assert_eq!(
        own.log("fake-bundled").matches("the role is still running").count(),
        2,
        "stopped before what it needs"
    );
    assert_eq!(own.run(&["server", "status"]).status.code(), Some(3));
    own.platform.assert_clean();
}

#[test]
fn a_local_build_takes_the_place_of_any_bundled_component() {
    let own = Own { platform: Platform::new(GOOD), program: example("own_components") };
    let (first, second) = (own.platform.path("first"), own.platform.path("second"));
    write_script(&first, NEEDY);
    write_script(&second, NEEDY);
    let agent = own.platform.agent.display().to_string();
    let start = |bundled: &Path| {
        let bundled = format!("fake-bundled={}", bundled.display());
        let words = ["server", "start", "--port", "0", "--json", "--use-local-binary"];
        let words: Vec<&str> = words.into_iter().chain([&*agent, "--use-local-binary", &*bundled]).collect();
        json(&own.succeed(&words))
    };
    let status = start(&first);
    let local = |status: &Value, name: &str| component(status, name)["local_binary"].clone();
    assert_eq!(local(&status, "fake-bundled"), first.to_str().expect("text"));
    assert_eq!(local(&status, "agent-runner"), agent.as_str());
    let differences = start(&second)["differences"].to_string();
    let expected = format!("its fake-bundled is `{}`, not `{}`", first.display(), second.display());
    assert!(differences.contains(&expected), "{differences}");
    let restarted = json(&own.succeed(&["server", "restart", "--json"]));
    assert_eq!(local(&restarted, "fake-bundled"), first.to_str().expect("text"));
    assert_eq!(local(&restarted, "agent-runner"), agent.as_str());
    own.succeed(&["server", "stop"]);
    own.platform.assert_clean();
}

#[test]
fn a_component_that_the_bundle_lacks_is_a_problem_of_doctor_and_of_a_start() {
    let own = Own::packed(&[("agent-runner", GOOD)]);
    let doctor = own.run(&["doctor"]);
    assert_eq!(doctor.status.code(), Some(1));
    assert!(text(&doctor).contains("component `fake-bundled` is not included"), "{}", text(&doctor));
    let start = own.run(&["server", "start", "--port", "0"]);
    assert!(!start.status.success() && text(&start).contains("fake-bundled"), "{}", text(&start));
    own.platform.assert_clean();
}

#[test]
fn a_component_that_the_configuration_asks_for_starts_then_only() {
    let own = Own::packed(&[("agent-runner", GOOD), ("fake-bundled", NEEDY)]);
    fs_err::create_dir_all(&own.platform.home).expect("made");
    fs_err::write(own.platform.home.join("config.toml"), "[agent-runner]\nexecutions = 9\n")
        .expect("written");
    let status = json(&own.succeed(&["server", "start", "--port", "0", "--json"]));
    assert_eq!(names(&status).last(), Some(&"fake-configured"));
    assert!(own.log("fake-role").contains("greeting: 9 executions"));
    own.succeed(&["server", "stop"]);
    own.platform.assert_clean();
}

#[test]
fn the_executable_that_ships_has_only_its_own_roles() {
    let platform = Platform::new(GOOD);
    assert_eq!(platform.run(&["internal-fake-role", "--help"]).status.code(), Some(2));
    assert!(platform.run(&["internal-workflow-runner", "--help"]).status.success());
    platform.assert_clean();
}
