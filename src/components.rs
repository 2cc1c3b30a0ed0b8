//! The components that ship, one entry each. ARCHITECTURE.md has the recipe for another one.

use crate::services::{server, workflow_runner};
use crate::supervise::components::{ComponentSpec, Components, Contact, EnvironmentPolicy, Source, Starts};
use serde_json::json;

/// The components of this executable.
pub const SHIPPED: Components = Components::new(&[
    ComponentSpec {
        name: "stigmer-server",
        about: "the API",
        source: Source::Role { command: "internal-server", run: server::run },
        needs: &[],
        starts: Starts::Always,
        contact: Contact::Api,
        settings: |_| json!({}),
        environment: EnvironmentPolicy::Public,
    },
    ComponentSpec {
        name: "workflow-runner",
        about: "",
        source: Source::Role { command: "internal-workflow-runner", run: workflow_runner::run },
        needs: &["stigmer-server"],
        starts: Starts::Always,
        contact: Contact::Worker,
        settings: |_| json!({}),
        environment: EnvironmentPolicy::Named(|config| &config.workflow_runner.environment),
    },
    ComponentSpec {
        name: "agent-runner",
        about: "",
        source: Source::Bundled,
        needs: &["stigmer-server"],
        starts: Starts::Always,
        contact: Contact::Worker,
        settings: |config| json!(config.agent_runner_settings()),
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
}
