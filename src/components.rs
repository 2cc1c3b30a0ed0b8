//! The components that ship, one entry each. ARCHITECTURE.md has the recipe for another one.

use crate::services::{server, workflow_runner};
use crate::supervise::components::{ComponentSpec, Components, Contact, EnvironmentPolicy, Source, Starts};
use serde_json::json;

const AGENT_RUNNER: &str = "agent-runner";

/// Directory below the agent-runner's work directory in which it makes the workspace of each execution, named by its id.
const WORKSPACES: &str = "workspaces";

/// The components of this executable.
pub const SHIPPED: Components = Components::new(&[
    ComponentSpec {
        name: "stigmer-server",
        about: "the API",
        source: Source::Role { command: "internal-server", run: server::run },
        needs: &[],
        starts: Starts::Always,
        contact: Contact::Api,
        settings: |config, home| {
            json!(config.server_settings(&home.data().join(AGENT_RUNNER).join(WORKSPACES)))
        },
        environment: EnvironmentPolicy::Public,
    },
    ComponentSpec {
        name: "workflow-runner",
        about: "",
        source: Source::Role { command: "internal-workflow-runner", run: workflow_runner::run },
        needs: &["stigmer-server"],
        starts: Starts::Always,
        contact: Contact::Worker,
        settings: |_, _| json!({}),
        environment: EnvironmentPolicy::Named(|config| &config.workflow_runner.environment),
    },
    ComponentSpec {
        name: AGENT_RUNNER,
        about: "",
        source: Source::Bundled,
        needs: &["stigmer-server"],
        starts: Starts::Always,
        contact: Contact::Worker,
        settings: |config, _| json!(config.agent_runner_settings()),
        environment: EnvironmentPolicy::Providers(|config| &config.agent_runner.environment),
    },
]);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_table_keeps_the_rules() {
        assert_eq!(SHIPPED.validate(), Ok(()));
    }

    #[test]
    fn the_agent_runner_makes_workspaces_where_the_server_removes_them() {
        let source = include_str!("../payloads/agent-runner/src/agent_runner/execution.py");
        assert!(source.contains(&format!("\nWORKSPACES = \"{WORKSPACES}\"\n")));
        assert!(
            source.contains(r#"Path(config.work_dir) / WORKSPACES / leased["execution"]["id"]"#),
            "a workspace is named by the id of its execution"
        );
    }
}
