//! Error answers: problem documents (RFC 9457).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Media type of problem documents.
pub const PROBLEM_JSON: &str = "application/problem+json";

macro_rules! problem_types {
    ($($(#[$doc:meta])* $name:ident $word:literal $status:literal $title:literal;)*) => {
        /// Type of a problem, a URI on the wire.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
        pub enum ProblemType {
            $(
                $(#[$doc])*
                #[serde(rename = $word)]
                $name,
            )*
            /// A type of a newer version.
            #[serde(rename = "about:blank", other)]
            Unknown,
        }

        impl ProblemType {
            /// All types that the server uses.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// Returns the URI of the type.
            pub fn uri(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)*
                    Self::Unknown => "about:blank",
                }
            }

            /// Returns the status code of answers with this type.
            pub fn status(self) -> u16 {
                match self {
                    $(Self::$name => $status,)*
                    Self::Unknown => 500,
                }
            }

            /// Returns the title of the type.
            pub fn title(self) -> &'static str {
                match self {
                    $(Self::$name => $title,)*
                    Self::Unknown => "Unknown problem",
                }
            }
        }
    };
}

problem_types! {
    /// The body is not JSON, or not what the route takes.
    InvalidBody "https://stigmer.ai/problems/invalid-body" 400 "Invalid request body";
    /// The query string is not what the route takes.
    InvalidQuery "https://stigmer.ai/problems/invalid-query" 400 "Invalid query string";
    /// A parameter in the path is not what the route takes.
    InvalidPath "https://stigmer.ai/problems/invalid-path" 400 "Invalid path";
    /// The request makes no sense for the resource that it names.
    InvalidRequest "https://stigmer.ai/problems/invalid-request" 400 "Invalid request";
    /// The bearer token is missing or wrong.
    Unauthorized "https://stigmer.ai/problems/unauthorized" 401 "Unauthorized";
    /// The resource, execution, session, worker or route does not exist.
    NotFound "https://stigmer.ai/problems/not-found" 404 "Not found";
    /// The route does not have this method.
    MethodNotAllowed "https://stigmer.ai/problems/method-not-allowed" 405 "Method not allowed";
    /// The request contradicts the state of the server.
    Conflict "https://stigmer.ai/problems/conflict" 409 "Conflict";
    /// The lease has ended.
    LeaseLost "https://stigmer.ai/problems/lease-lost" 410 "Lease lost";
    /// The body is too long.
    BodyTooLarge "https://stigmer.ai/problems/body-too-large" 413 "Request body too large";
    /// The resource has errors.
    InvalidResource "https://stigmer.ai/problems/invalid-resource" 422 "Invalid resource";
    /// Too many workers are registered.
    TooManyWorkers "https://stigmer.ai/problems/too-many-workers" 429 "Too many workers";
    /// The server has a defect, or its database is damaged.
    Internal "https://stigmer.ai/problems/internal" 500 "Internal error";
    /// The server is stopping, or cannot write its database.
    Unavailable "https://stigmer.ai/problems/unavailable" 503 "Unavailable";
    /// The disk is full.
    StorageFull "https://stigmer.ai/problems/storage-full" 507 "Storage full";
}

/// A problem document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// Type of the problem.
    #[serde(rename = "type")]
    pub kind: ProblemType,
    /// Title of the type.
    pub title: String,
    /// Status code of the answer.
    pub status: u16,
    /// Explanation of this problem.
    pub detail: String,
    /// Path of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// Suggested next step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The same as `detail`, for clients of version 0.1.
    pub error: String,
}

impl Problem {
    /// Creates a problem of a type.
    pub fn new(kind: ProblemType, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        Self {
            kind,
            title: kind.title().to_owned(),
            status: kind.status(),
            error: detail.clone(),
            detail,
            instance: None,
            hint: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn type_of_a_newer_version_is_read() {
        let text = r#"{"type":"https://stigmer.ai/problems/lost-in-space","title":"t","status":418,"detail":"d","error":"d"}"#;
        let problem: Problem = serde_json::from_str(text).unwrap();
        assert_eq!((problem.kind, problem.status), (ProblemType::Unknown, 418));
    }

    #[test]
    fn types_are_their_uris_on_the_wire() {
        for kind in ProblemType::ALL {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.uri());
        }
    }
}
