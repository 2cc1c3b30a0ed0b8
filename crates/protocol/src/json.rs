//! JSON text that is passed on as it came, without being parsed.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// A JSON value as text. Two values are equal if their texts are.
///
/// It can only be read from JSON text, not from a [`Value`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Json(Box<RawValue>);

impl Json {
    /// Serializes a value.
    ///
    /// # Errors
    /// The value has no JSON form, a map with keys that are not text for example.
    pub fn of(value: &impl Serialize) -> serde_json::Result<Self> {
        serde_json::value::to_raw_value(value).map(Self)
    }

    /// Checks that `text` is JSON and takes it.
    ///
    /// # Errors
    /// The text is not JSON.
    pub fn from_text(text: String) -> serde_json::Result<Self> {
        RawValue::from_string(text).map(Self)
    }

    /// Returns the text.
    pub fn text(&self) -> &str {
        self.0.get()
    }

    /// Returns the same value on one line, as streams of events need it.
    #[must_use]
    pub fn on_one_line(self) -> Self {
        // Inside of strings, JSON has no line breaks.
        if !self.text().contains(['\n', '\r']) {
            return self;
        }
        Self::from_text(self.text().replace(['\n', '\r'], " ")).unwrap_or_default()
    }

    /// Parses the text.
    ///
    /// # Errors
    /// The text nests too deeply.
    pub fn value(&self) -> serde_json::Result<Value> {
        serde_json::from_str(self.text())
    }
}

impl Default for Json {
    /// Returns `null`.
    fn default() -> Self {
        Self(RawValue::NULL.to_owned())
    }
}

impl PartialEq for Json {
    fn eq(&self, other: &Self) -> bool {
        self.text() == other.text()
    }
}

impl JsonSchema for Json {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "AnyValue".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_breaks_between_tokens_become_spaces() {
        let json = Json::from_text("{\r\n \"a\\n\": [1,\n2]}".to_owned()).unwrap().on_one_line();
        assert_eq!(json.text(), "{   \"a\\n\": [1, 2]}");
    }
}
