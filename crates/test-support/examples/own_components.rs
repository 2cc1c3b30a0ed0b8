//! An executable with a component table of its own: the components that ship, and one more of each kind.
//!
//! It shows and tests that a component is an entry of a table: nothing else of the library names the three.

use serde::Deserialize;
use serde_json::json;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use stigmer::components::SHIPPED;
use stigmer::protocol::component::ComponentConfig;
use stigmer::services::ServiceError;
use stigmer::services::role::{self, StartedBy};
use stigmer::supervise::components::{ComponentSpec, Components, Contact, EnvironmentPolicy, Source, Starts};

const FAKE_ROLE: ComponentSpec = ComponentSpec {
    name: "fake-role",
    about: "a role for tests",
    source: Source::Role { command: "internal-fake-role", run: greet },
    needs: &["workflow-runner"],
    starts: Starts::Always,
    contact: Contact::None,
    settings: |config, _| json!({"greeting": format!("{} executions", config.agent_runner.executions)}),
    environment: EnvironmentPolicy::Public,
};

const FAKE_BUNDLED: ComponentSpec = ComponentSpec {
    name: "fake-bundled",
    about: "",
    source: Source::Bundled,
    needs: &["fake-role"],
    starts: Starts::Always,
    contact: Contact::None,
    settings: |_, _| json!({}),
    environment: EnvironmentPolicy::Public,
};

const FAKE_CONFIGURED: ComponentSpec = ComponentSpec {
    name: "fake-configured",
    about: "",
    source: Source::Role { command: "internal-fake-configured", run: greet },
    needs: &["stigmer-server"],
    starts: Starts::WhenConfigured(|config| config.agent_runner.executions == 9),
    contact: Contact::None,
    settings: |_, _| json!({"greeting": "configured"}),
    environment: EnvironmentPolicy::Public,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    greeting: String,
}

/// Keeps a file while it runs, so that others see whether it does.
fn greet(config: &ComponentConfig, started_by: StartedBy) -> Result<(), ServiceError> {
    let Settings { greeting } = config.settings()?;
    let running = Path::new(&config.work_dir).join("running");
    fs_err::write(&running, "")?;
    writeln!(io::stderr(), "greeting: {greeting}")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    role::say_ready(None)?;
    runtime.block_on(role::shutdown_requested(started_by));
    Ok(fs_err::remove_file(&running)?)
}

fn main() -> ExitCode {
    let specs: Vec<ComponentSpec> =
        SHIPPED.iter().copied().chain([FAKE_ROLE, FAKE_BUNDLED, FAKE_CONFIGURED]).collect();
    let components = Components::new(specs.leak());
    if let Err(problem) = components.validate() {
        let _ = writeln!(io::stderr(), "invalid table: {problem}");
        return ExitCode::FAILURE;
    }
    stigmer::cli::run(std::env::args_os(), components)
}
