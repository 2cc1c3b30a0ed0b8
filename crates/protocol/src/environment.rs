//! Environment variables for a component, which travel on its config line and are hidden everywhere else.

use serde::ser::SerializeMap;
use serde::{Deserialize, Serializer};
use std::collections::BTreeMap;
use std::fmt;

/// Values that are an address: what is secret in them is who signs in there, and with what.
const ADDRESSES: [&str; 9] = [
    "ANTHROPIC_BASE_URL",
    "ANTHROPIC_API_URL",
    "OPENAI_BASE_URL",
    "OPENAI_API_BASE",
    "OPENAI_PROXY",
    "OLLAMA_HOST",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
];

/// Values that are no secret. Blanking out a path or a host name would make logs unreadable.
const OPEN: [&str; 3] = ["NO_PROXY", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"];

/// A value that nobody is shown: its debug form hides it, and it has no serialized form of its own.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// The value itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Secret {
    fn from(value: &str) -> Self {
        Self(value.to_owned())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(hidden)")
    }
}

/// Variables for a component, by name. Cannot be serialized but by [`on_a_line`], which a field must ask for by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Environment(BTreeMap<String, Secret>);

/// Writes the values. For the fields that travel over standard input, and for no others.
pub fn on_a_line<S: Serializer>(environment: &Environment, serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(environment.0.len()))?;
    for (name, value) in &environment.0 {
        map.serialize_entry(name, value.reveal())?;
    }
    map.end()
}

impl FromIterator<(String, String)> for Environment {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(variables: I) -> Self {
        Self(variables.into_iter().map(|(name, value)| (name, Secret(value))).collect())
    }
}

impl Environment {
    /// These and `others`.
    #[must_use]
    pub fn and(&self, others: &Self) -> Self {
        Self(self.0.iter().chain(&others.0).map(|(name, value)| (name.clone(), value.clone())).collect())
    }

    /// The values by name. For whoever uses them, and for nobody to show.
    pub fn values(&self) -> BTreeMap<String, String> {
        self.0.iter().map(|(name, value)| (name.clone(), value.reveal().to_owned())).collect()
    }

    /// What of the values must not be seen, each with the name it goes by.
    pub fn secrets(&self) -> Vec<(&str, &str)> {
        let mut found = Vec::new();
        for (name, value) in &self.0 {
            for part in secret_parts(name, value.reveal()) {
                found.push((name.as_str(), part));
            }
        }
        found
    }
}

fn secret_parts<'a>(name: &str, value: &'a str) -> Vec<&'a str> {
    let is = |names: &[&str]| names.iter().any(|known| known.eq_ignore_ascii_case(name));
    if is(&OPEN) {
        return Vec::new();
    }
    if is(&ADDRESSES) {
        let rest = value.split_once("://").map_or(value, |(_, rest)| rest);
        let place = rest.split('/').next().unwrap_or_default();
        let Some((who, _)) = place.rsplit_once('@') else {
            return Vec::new();
        };
        let mut parts = vec![who];
        parts.extend(who.split_once(':').into_iter().flat_map(|(user, password)| [user, password]));
        return parts;
    }
    // A key of several lines is logged line by line.
    value.lines().map(str::trim).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_secret_in_a_value() {
        let parts = |name, value| secret_parts(name, value);
        assert_eq!(parts("OPENAI_API_KEY", "sk-1"), ["sk-1"]);
        assert_eq!(parts("MY_PEM", "begin\nmiddle\r\nend"), ["begin", "middle", "end"]);
        assert_eq!(parts("NO_PROXY", "localhost"), [""; 0]);
        assert_eq!(parts("OLLAMA_HOST", "http://127.0.0.1:11434"), [""; 0]);
        assert_eq!(parts("https_proxy", "http://me:pass@proxy:3128/"), ["me:pass", "me", "pass"]);
        assert_eq!(parts("ALL_PROXY", "token@proxy"), ["token"]);
    }

    #[test]
    fn nothing_shows_a_value_unless_it_is_asked_to() {
        let one = Environment(BTreeMap::from([("KEY".to_owned(), Secret::from("value-4711"))]));
        assert!(!format!("{one:?}").contains("4711"));
        let line = on_a_line(&one, serde_json::value::Serializer).expect("serializes");
        assert_eq!(line, serde_json::json!({"KEY": "value-4711"}));
    }
}
