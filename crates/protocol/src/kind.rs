//! The kinds of resources, which are the kinds of executions too, and the phases of an execution.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Kind of a resource and of its executions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A model with instructions and tools.
    Agent,
    /// Tasks in an order, written in the workflow language.
    Workflow,
}

/// A kind as files and stored resources write it: with a capital letter.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(remote = "Kind")]
#[schemars(rename = "ResourceKind")]
pub(crate) enum KindInFiles {
    Agent,
    Workflow,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 2] = [Self::Agent, Self::Workflow];

    /// Returns the plural, as the paths of the API have it.
    pub fn plural(self) -> &'static str {
        match self {
            Self::Agent => "agents",
            Self::Workflow => "workflows",
        }
    }

    /// Returns the lower case word, as people type it and the database stores it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Workflow => "workflow",
        }
    }
}

impl FromStr for Kind {
    type Err = String;

    /// Parses `agent`, `agents`, `Agent`, and the same for workflows.
    fn from_str(text: &str) -> Result<Self, String> {
        let wanted = text.to_ascii_lowercase();
        Self::ALL
            .into_iter()
            .find(|kind| wanted == kind.word() || wanted == kind.plural())
            .ok_or_else(|| format!("unknown kind `{text}`: expected `agent` or `workflow`"))
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// Kind of a resource as a part of an API path: `agents` or `workflows`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum KindPlural {
    /// Agents.
    Agents,
    /// Workflows.
    Workflows,
}

impl From<KindPlural> for Kind {
    fn from(plural: KindPlural) -> Self {
        match plural {
            KindPlural::Agents => Self::Agent,
            KindPlural::Workflows => Self::Workflow,
        }
    }
}

/// Phase of an execution; it only moves forward, and the last three are final.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Phase {
    /// No worker has started the execution.
    Pending,
    /// A worker has started the execution.
    InProgress,
    /// The execution ended with an output.
    Completed,
    /// The execution ended with an error.
    Failed,
    /// The execution was cancelled.
    Cancelled,
}

impl Phase {
    /// All phases.
    pub const ALL: [Self; 5] =
        [Self::Pending, Self::InProgress, Self::Completed, Self::Failed, Self::Cancelled];

    /// Whether the phase is final.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }

    /// Returns the phase as the database and the API write it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::InProgress => "IN_PROGRESS",
            Self::Completed => "COMPLETED",
            Self::Failed => "FAILED",
            Self::Cancelled => "CANCELLED",
        }
    }
}

impl FromStr for Phase {
    type Err = String;

    /// Parses `IN_PROGRESS`, `in_progress` and `in-progress` alike.
    fn from_str(text: &str) -> Result<Self, String> {
        let wanted = text.to_ascii_uppercase().replace('-', "_");
        Self::ALL.into_iter().find(|phase| phase.word() == wanted).ok_or_else(|| {
            format!(
                "unknown phase `{text}`: expected `pending`, `in-progress`, `completed`, `failed` or `cancelled`"
            )
        })
    }
}
