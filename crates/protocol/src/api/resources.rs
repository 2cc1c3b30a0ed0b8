//! `/v1/resources`: agents and workflows as they were applied.

use crate::ids::DefinitionDigest;
use crate::kind::{Kind, KindInFiles};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Version of the resource format.
pub const API_VERSION: &str = "stigmer.ai/v1";

/// A resource as a file holds it and `PUT /v1/resources/{kind}/{name}` takes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Resource {
    /// Version of the format: [`API_VERSION`].
    pub api_version: String,
    /// Kind of the resource.
    #[serde(with = "KindInFiles")]
    #[schemars(with = "KindInFiles")]
    pub kind: Kind,
    /// Name of the resource.
    pub metadata: Metadata,
    /// Definition; its shape depends on the kind.
    pub spec: Value,
}

/// Name of a resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Metadata {
    /// Name, unique within the kind.
    pub name: String,
}

impl Resource {
    /// Returns the identity of the definition: BLAKE3 over kind and spec in canonical JSON (keys in order, no spaces).
    pub fn digest(&self) -> DefinitionDigest {
        let mut hasher = blake3::Hasher::new();
        hasher.update(self.kind.word().as_bytes()).update(b"\0");
        // Maps of a `Value` are ordered, so the text is canonical.
        hasher.update(self.spec.to_string().as_bytes());
        hasher.finalize().to_hex().as_str().into()
    }
}

/// A resource as the server stores it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StoredResource {
    /// Version of the format: [`API_VERSION`].
    pub api_version: String,
    /// Kind of the resource.
    #[serde(with = "KindInFiles")]
    #[schemars(with = "KindInFiles")]
    pub kind: Kind,
    /// Name of the resource.
    pub metadata: Metadata,
    /// Definition; its shape depends on the kind.
    pub spec: Value,
    /// Digest of the definition.
    pub digest: DefinitionDigest,
    /// Time of the first `apply` of this name, RFC 3339 in UTC.
    pub created: String,
    /// Time of the last change, RFC 3339 in UTC.
    pub updated: String,
}

impl StoredResource {
    /// Returns the part that can be applied again.
    pub fn into_resource(self) -> Resource {
        let Self { api_version, kind, metadata, spec, .. } = self;
        Resource { api_version, kind, metadata, spec }
    }
}

/// Effect of applying a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ApplyOutcome {
    /// The name is new.
    Created,
    /// The name has another definition now.
    Updated,
    /// The name had this definition before.
    Unchanged,
}

impl ApplyOutcome {
    /// Returns the outcome as people read it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Updated => "updated",
            Self::Unchanged => "unchanged",
        }
    }
}

/// Answer to `PUT /v1/resources/{kind}/{name}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Applied {
    /// Effect of the request.
    pub outcome: ApplyOutcome,
    /// Digest of the definition.
    pub digest: DefinitionDigest,
}

/// Query of `GET /v1/resources`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ResourceQuery {
    /// Only resources of this kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
}

/// Answer to `GET /v1/resources`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ResourceList {
    /// Resources by kind and name.
    pub resources: Vec<StoredResource>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn digest_ignores_order_and_space() {
        let agent = |spec: &str| Resource {
            api_version: API_VERSION.to_owned(),
            kind: Kind::Agent,
            metadata: Metadata { name: "hello".to_owned() },
            spec: serde_json::from_str(spec).unwrap(),
        };
        let one = agent(r#"{"description": "x", "instructions": "y"}"#);
        let same = agent(r#"{"instructions":"y","description":"x"}"#);
        assert_eq!(one.digest(), same.digest());
        assert_ne!(one.digest(), agent(r#"{"instructions":"z"}"#).digest());
        assert_ne!(one.digest(), Resource { kind: Kind::Workflow, ..one.clone() }.digest());
    }

    #[test]
    fn kinds_are_capitalized_in_files_and_nowhere_else() {
        let file = json!({"apiVersion": API_VERSION, "kind": "Agent", "metadata": {"name": "a"}, "spec": {}});
        let resource: Resource = serde_json::from_value(file.clone()).unwrap();
        assert_eq!(serde_json::to_value(&resource).unwrap(), file);
        assert_eq!(serde_json::to_value(resource.kind).unwrap(), json!("agent"));
    }
}
