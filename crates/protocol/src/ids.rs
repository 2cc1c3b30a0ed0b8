//! Identifiers as newtypes, so that one cannot be passed where another belongs.
//!
//! On the wire and in the database each is a plain string.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::ops::Deref;

macro_rules! identifiers {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Returns the identifier as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// Returns the identifier as an owned string.
            pub fn into_string(self) -> String {
                self.0
            }
        }

        impl Deref for $name {
            type Target = str;

            fn deref(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(text)
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.to_owned())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl PartialEq<str> for $name {
            fn eq(&self, other: &str) -> bool {
                self.0 == other
            }
        }

        impl PartialEq<&str> for $name {
            fn eq(&self, other: &&str) -> bool {
                self.0 == *other
            }
        }
    )*};
}

identifiers! {
    /// Identifier of an execution: 26 lower case letters and digits that sort by age.
    ExecutionId;
    /// Identifier of a lease: the right of one worker to carry out one execution.
    LeaseId;
    /// Identifier of a registered worker.
    WorkerId;
    /// Identifier of a session: a conversation with one agent over several executions.
    SessionId;
    /// Identifier of one run of the supervisor.
    InstanceId;
    /// BLAKE3 digest of a definition's kind and spec, in hexadecimal.
    DefinitionDigest;
}

impl From<ExecutionId> for SessionId {
    /// The first execution of a session gives it its identifier.
    fn from(id: ExecutionId) -> Self {
        Self(id.0)
    }
}
