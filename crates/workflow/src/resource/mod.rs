//! What people write down and apply: agents and workflows, read strictly and named by what they say.
//!
//! One reading for everybody: the command line says what is wrong with a file before anything is sent, the server does not
//! believe it, and a runner gets what both have understood. A definition is a resource's spec as it was when it was applied; its
//! digest is its identity, so an execution keeps the one it began with, whatever is applied later.

mod agent;
pub mod source;

pub use crate::problem::Problem;
pub use agent::{AgentSpec, Limits, Tool};
pub use stigmer_protocol::model::{Model, Provider};
pub use stigmer_protocol::{MAX_NAME, check_name};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;
use std::str::FromStr;

/// The one version of the files.
pub const API_VERSION: &str = "stigmer.ai/v1";

/// What kind of thing a resource is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// A model with instructions and tools.
    Agent,
    /// Tasks in an order, written in the Serverless Workflow language.
    Workflow,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Agent, Self::Workflow];

    /// As it stands in the server's addresses.
    pub fn plural(self) -> &'static str {
        match self {
            Self::Agent => "agents",
            Self::Workflow => "workflows",
        }
    }

    /// As people type it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Workflow => "workflow",
        }
    }
}

impl FromStr for Kind {
    type Err = String;

    /// Takes `agent`, `agents`, `Agent`, and the same for workflows.
    fn from_str(text: &str) -> Result<Self, String> {
        let wanted = text.to_ascii_lowercase();
        Self::ALL
            .into_iter()
            .find(|kind| wanted == kind.word() || wanted == kind.plural())
            .ok_or_else(|| format!("`{text}` is no kind; there are `agent` and `workflow`"))
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// A resource as it is written in a file and sent to the server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Resource {
    /// The version of this shape: [`API_VERSION`].
    pub api_version: String,
    /// What it is.
    pub kind: Kind,
    /// What it is called.
    pub metadata: Metadata,
    /// What it says; its shape depends on the kind.
    pub spec: Value,
}

/// What a resource is called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metadata {
    /// Its name, unique in its kind.
    pub name: String,
}

impl Resource {
    /// The identity of what it says: BLAKE3 over kind and spec, in the canonical form of JSON (keys in order, no space).
    pub fn digest(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        hasher.update(self.kind.word().as_bytes()).update(b"\0");
        // A value that was read from JSON can be written as JSON; its maps are ordered.
        hasher.update(self.spec.to_string().as_bytes());
        hasher.finalize().to_hex().to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn agent(spec: Value) -> Resource {
        let metadata = Metadata { name: "hello".to_owned() };
        Resource { api_version: API_VERSION.to_owned(), kind: Kind::Agent, metadata, spec }
    }

    #[test]
    fn the_digest_is_of_what_is_said_and_not_of_how() {
        let one = agent(serde_json::from_str(r#"{"description": "x", "instructions": "y"}"#).unwrap());
        let same = agent(serde_json::from_str(r#"{"instructions":"y","description":"x"}"#).unwrap());
        let other = agent(json!({"instructions": "z"}));
        assert_eq!(one.digest(), same.digest());
        assert_ne!(one.digest(), other.digest());
        assert_ne!(one.digest(), Resource { kind: Kind::Workflow, ..one.clone() }.digest());
    }
}
