//! Events of an execution, and `/v1/executions/{id}/events`.
//!
//! A new type of event is a struct in `event_data.rs` and a line in the table of this file.

pub use super::event_data::*;

use super::workers::Empty;
use crate::json::Json;
use crate::kind::Phase;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::borrow::Cow;

/// An event of a type that this version does not know, or of a shape that it does not know.
#[derive(Debug, Clone, PartialEq)]
pub struct UnknownEvent {
    /// Type of the event.
    pub kind: String,
    /// Data of the event.
    pub data: Value,
}

/// Source of the events of a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The server writes them.
    Server,
    /// Workers report them, and they are journaled.
    Worker,
    /// Workers report them, and they go to watchers only.
    Fragment,
}

/// A line of a journal, with its data unparsed: what the server passes on as it stands in the database.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RawEvent {
    /// Sequence number: the first event has 1, and there are no gaps.
    pub seq: u64,
    /// Time of recording, RFC 3339 in UTC with milliseconds.
    pub time: String,
    /// Type of the event.
    #[serde(rename = "type")]
    pub kind: String,
    /// Path of the task, in a workflow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// Data of the event.
    pub data: Json,
}

/// A line of a journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RawEvent", into = "EventOnWire")]
pub struct JournalEvent {
    /// Sequence number: the first event has 1, and there are no gaps. A fragment has that of the journaled event before it.
    pub seq: u64,
    /// Time of recording, RFC 3339 in UTC with milliseconds.
    pub time: String,
    /// Path of the task, in a workflow.
    pub task: Option<String>,
    /// The event.
    pub event: Event,
}

#[derive(Serialize)]
struct EventOnWire {
    seq: u64,
    time: String,
    #[serde(rename = "type")]
    kind: Cow<'static, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    task: Option<String>,
    data: Value,
}

impl From<JournalEvent> for EventOnWire {
    fn from(JournalEvent { seq, time, task, event }: JournalEvent) -> Self {
        let (kind, data) = event.into_parts();
        Self { seq, time, kind, task, data }
    }
}

impl TryFrom<RawEvent> for JournalEvent {
    type Error = serde_json::Error;

    fn try_from(RawEvent { seq, time, kind, task, data }: RawEvent) -> serde_json::Result<Self> {
        Ok(Self { seq, time, task, event: Event::read(&kind, data.text())? })
    }
}

impl JsonSchema for JournalEvent {
    fn schema_name() -> Cow<'static, str> {
        "JournalEvent".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let variants = Event::data_schemas(generator).into_iter().map(|(kind, data)| {
            json_schema!({
                "type": "object",
                "title": kind,
                "properties": {
                    "seq": {
                        "description": "Sequence number: the first event has 1, and there are no gaps. A fragment has that of the journaled event before it.",
                        "type": "integer",
                        "minimum": 1,
                    },
                    "time": {
                        "description": "Time of recording, RFC 3339 in UTC with milliseconds.",
                        "type": "string",
                    },
                    "type": {"const": kind},
                    "task": {"description": "Path of the task, in a workflow.", "type": "string"},
                    "data": data,
                },
                "required": ["seq", "time", "type", "data"],
            })
        });
        json_schema!({
            "description": "A line of a journal. Clients ignore types that they do not know.",
            "oneOf": variants.collect::<Vec<_>>(),
        })
    }
}

/// An event on its way from a worker to the server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReportedEvent {
    /// Number among the events of this lease: the first has 1. An event that is sent again changes nothing.
    pub n: u64,
    /// Type of the event.
    #[serde(rename = "type")]
    pub kind: String,
    /// Path of the task, in a workflow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// Data of the event.
    #[serde(default)]
    pub data: Json,
}

impl ReportedEvent {
    /// Reads the event.
    ///
    /// # Errors
    /// Workers do not report this type, or the data has another shape.
    pub fn event(&self) -> Result<Event, String> {
        match Event::origin(&self.kind) {
            Some(Origin::Worker | Origin::Fragment) => Event::parse(&self.kind, self.data.text())
                .map_err(|error| format!("invalid data of event {} (`{}`): {error}", self.n, self.kind)),
            Some(Origin::Server) => {
                Err(format!("invalid type `{}` of event {}: only the server writes it", self.kind, self.n))
            }
            None => Err(format!("unknown type `{}` of event {}", self.kind, self.n)),
        }
    }
}

impl JsonSchema for ReportedEvent {
    fn schema_name() -> Cow<'static, str> {
        "ReportedEvent".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let variants = Event::data_schemas(generator)
            .into_iter()
            .filter(|(kind, _)| Event::origin(kind) != Some(Origin::Server))
            .map(|(kind, data)| {
                json_schema!({
                    "type": "object",
                    "title": kind,
                    "properties": {
                        "n": {
                            "description": "Number among the events of this lease: the first has 1. An event that is sent again changes nothing.",
                            "type": "integer",
                            "minimum": 1,
                        },
                        "type": {"const": kind},
                        "task": {"description": "Path of the task, in a workflow.", "type": ["string", "null"]},
                        "data": data,
                    },
                    "required": ["n", "type", "data"],
                    "additionalProperties": false,
                })
            });
        json_schema!({
            "description": "An event on its way from a worker to the server.",
            "oneOf": variants.collect::<Vec<_>>(),
        })
    }
}

/// Query of `GET /v1/executions/{id}/events`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EventQuery {
    /// Only events after the one with this sequence number; a `Last-Event-ID` header takes precedence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
    /// Maximum number of events on a page, 1 to 500; 500 by default. A stream has no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// Answer to `GET /v1/executions/{id}/events`: a page of the journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EventPage<E = JournalEvent> {
    /// Events in order.
    pub events: Vec<E>,
    /// Phase of the execution when the page was read.
    pub phase: Phase,
}

macro_rules! events {
    ($($(#[$doc:meta])* $kind:literal $origin:ident $variant:ident($data:ty);)*) => {
        /// What has happened to an execution.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Event {
            $($(#[$doc])* $variant($data),)*
            /// An event of a newer version.
            Unknown(UnknownEvent),
        }

        impl Event {
            /// All types that this version knows.
            pub const KINDS: &'static [&'static str] = &[$($kind),*];

            /// Returns the type of the event.
            pub fn kind(&self) -> &str {
                match self {
                    $(Self::$variant(_) => $kind,)*
                    Self::Unknown(event) => &event.kind,
                }
            }

            /// Returns the source of the events of a type; `None` if the type is not known.
            pub fn origin(kind: &str) -> Option<Origin> {
                match kind {
                    $($kind => Some(Origin::$origin),)*
                    _ => None,
                }
            }

            /// Reads an event strictly: the data of a known type has to have its shape.
            ///
            /// # Errors
            /// The data is not JSON, or it has another shape.
            pub fn parse(kind: &str, data: &str) -> serde_json::Result<Self> {
                match kind {
                    $($kind => serde_json::from_str(data).map(Self::$variant),)*
                    _ => Self::unknown(kind, data),
                }
            }

            /// Returns the type and the data.
            pub fn into_parts(self) -> (Cow<'static, str>, Value) {
                match self {
                    $(Self::$variant(data) => {
                        ($kind.into(), serde_json::to_value(data).unwrap_or_default())
                    })*
                    Self::Unknown(UnknownEvent { kind, data }) => (kind.into(), data),
                }
            }

            /// Returns the data as JSON text.
            ///
            /// # Errors
            /// The data has no JSON form, which does not happen.
            pub fn data(&self) -> serde_json::Result<Json> {
                match self {
                    $(Self::$variant(data) => Json::of(data),)*
                    Self::Unknown(event) => Json::of(&event.data),
                }
            }

            fn data_schemas(generator: &mut SchemaGenerator) -> Vec<(&'static str, Schema)> {
                vec![$(($kind, generator.subschema_for::<$data>())),*]
            }
        }
    };
}

events! {
    /// The execution was requested.
    "created" Server Created(Created);
    /// A worker has the execution.
    "started" Server Started(Started);
    /// The worker gave the execution back until something happens.
    "suspended" Server Suspended(Suspended);
    /// Cancellation was requested.
    "cancel.requested" Server CancelRequested(Empty);
    /// The worker has lost the execution.
    "lease.expired" Server LeaseExpired(LeaseExpired);
    /// The execution ended with an output.
    "completed" Server Completed(Completed);
    /// The execution ended with an error.
    "failed" Server Failed(Failed);
    /// The execution was cancelled.
    "cancelled" Server Cancelled(Empty);
    /// The model has written a fragment of a message.
    "message.delta" Fragment MessageDelta(MessageDelta);
    /// The model has written a whole message.
    "message" Worker Message(Message);
    /// The agent calls a tool.
    "tool.started" Worker ToolStarted(ToolStarted);
    /// A tool has returned.
    "tool.ended" Worker ToolEnded(ToolEnded);
    /// An answer of a model has used tokens.
    "usage" Worker Usage(UsageReported);
    /// A task begins.
    "task.started" Worker TaskStarted(TaskStarted);
    /// A task has ended or was skipped.
    "task.completed" Worker TaskCompleted(TaskCompleted);
    /// A task has raised an error.
    "task.failed" Worker TaskFailed(TaskFailed);
    /// A task failed and will be tried again.
    "task.retried" Worker TaskRetried(TaskRetried);
    /// A task waits for a point in time.
    "wait.set" Worker WaitSet(WaitSet);
    /// A `switch` has taken a case.
    "branch" Worker Branch(Branch);
    /// The workflow engine remembers an effect.
    "effect" Worker Effect(Effect);
    /// The workflow engine remembers the runtime that the execution began on.
    "runtime" Worker Runtime(Runtime);
    /// There is a remark for people.
    "note" Worker Note(Note);
}

impl Event {
    /// Reads an event leniently: what this version does not understand is kept as [`Event::Unknown`].
    ///
    /// # Errors
    /// The data is not JSON.
    pub fn read(kind: &str, data: &str) -> serde_json::Result<Self> {
        Self::parse(kind, data).or_else(|_| Self::unknown(kind, data))
    }

    /// Whether the event ends its execution.
    pub fn is_end(&self) -> bool {
        matches!(self, Self::Completed(_) | Self::Failed(_) | Self::Cancelled(_))
    }

    fn unknown(kind: &str, data: &str) -> serde_json::Result<Self> {
        Ok(Self::Unknown(UnknownEvent { kind: kind.to_owned(), data: serde_json::from_str(data)? }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(value: &Value) -> JournalEvent {
        serde_json::from_str(&value.to_string()).unwrap()
    }

    #[test]
    fn event_of_a_newer_version_is_passed_on_unchanged() {
        for event in [
            json!({"seq": 7, "time": "t", "type": "teleported", "task": "/do/0", "data": {"to": [1]}}),
            json!({"seq": 7, "time": "t", "type": "branch", "data": {"case": {"not": "a name"}}}),
        ] {
            let read = read(&event);
            assert!(matches!(read.event, Event::Unknown(_)));
            assert_eq!(serde_json::to_value(read).unwrap(), event);
        }
    }

    #[test]
    fn known_event_keeps_its_wire_format() {
        for event in [
            json!({"seq": 1, "time": "t", "type": "created", "data": {
                "kind": "agent", "name": "a", "digest": "d", "input": null, "message": "hi", "session": "s",
                "parent": null, "resumes": null}}),
            json!({"seq": 2, "time": "t", "type": "task.completed", "task": "/do/0/a", "data": {"output": null}}),
            json!({"seq": 3, "time": "t", "type": "cancel.requested", "data": {}}),
            json!({"seq": 4, "time": "t", "type": "effect", "task": "/do/0/a", "data": {"begun": "GET"}}),
        ] {
            let read = read(&event);
            assert!(!matches!(read.event, Event::Unknown(_)), "{event}");
            assert_eq!(serde_json::to_value(read).unwrap(), event);
        }
    }

    #[test]
    fn worker_cannot_report_events_of_the_server_or_of_another_shape() {
        let reported = |kind: &str, data: Value| ReportedEvent {
            n: 1,
            kind: kind.to_owned(),
            task: None,
            data: Json::of(&data).unwrap(),
        };
        assert!(reported("note", json!({"text": "x"})).event().is_ok());
        for (kind, data) in
            [("completed", json!({})), ("teleported", json!({})), ("branch", json!({"case": 1}))]
        {
            let error = reported(kind, data).event().unwrap_err();
            assert!(error.contains(kind), "{error}");
        }
    }
}
