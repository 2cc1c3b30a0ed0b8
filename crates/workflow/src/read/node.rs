//! Walking through a document strictly: every place knows its pointer, and every key is accounted for.

use super::Reader;
use crate::pointer::escape;
use crate::problem::Problem;
use serde_json::{Map, Value};

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Node<'v> {
    pub(super) path: String,
    pub(super) value: &'v Value,
}

impl<'v> Node<'v> {
    /// The value of a key, if it has one that is not null.
    pub(super) fn get(&self, key: &str) -> Option<Node<'v>> {
        let value = self.value.get(key).filter(|value| !value.is_null())?;
        Some(Node { path: self.below(key), value })
    }

    /// The pointer to a key.
    pub(super) fn below(&self, key: &str) -> String {
        format!("{}/{}", self.path, escape(key))
    }

    /// The items of a list.
    pub(super) fn items(&self) -> Vec<Node<'v>> {
        let items = self.value.as_array().map(Vec::as_slice).unwrap_or_default();
        let item = |(place, value)| Node { path: format!("{}/{place}", self.path), value };
        items.iter().enumerate().map(item).collect()
    }
}

impl Reader {
    pub(super) fn wrong(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.problems.push(Problem::new(path, message));
    }

    /// An object whose keys are all among `known`; of the others, those in `refused` are named as what we do not do.
    pub(super) fn object<'v>(
        &mut self,
        node: &Node<'v>,
        what: &str,
        known: &[&str],
        refused: &[(&str, &str)],
    ) -> Option<&'v Map<String, Value>> {
        let Some(map) = node.value.as_object() else {
            self.wrong(&node.path, format!("{what} is an object"));
            return None;
        };
        for key in map.keys().filter(|key| !known.contains(&key.as_str())) {
            let message = match refused.iter().find(|(name, _)| name == key) {
                Some((name, why)) => format!("`{name}` is not supported: {why}"),
                None => format!("there is no `{key}` in {what}; there are {}", listed(known)),
            };
            self.wrong(node.below(key), message);
        }
        Some(map)
    }

    /// The value of a key that has to be there.
    pub(super) fn needed<'v>(&mut self, node: &Node<'v>, key: &str, message: &str) -> Option<Node<'v>> {
        let found = node.get(key);
        if found.is_none() {
            self.wrong(&node.path, message);
        }
        found
    }

    /// The text of a key.
    pub(super) fn text<'v>(&mut self, node: &Node<'v>, key: &str, is_needed: bool) -> Option<&'v str> {
        let Some(found) = node.get(key) else {
            if is_needed {
                self.wrong(&node.path, format!("`{key}` is missing"));
            }
            return None;
        };
        let text = found.value.as_str().filter(|text| !text.trim().is_empty());
        if text.is_none() && (found.value.is_number() || found.value.is_boolean()) {
            let value = found.value;
            self.wrong(
                &found.path,
                format!("`{key}` is a text; {value} is none as long as it has no quotes"),
            );
        } else if text.is_none() {
            self.wrong(&found.path, format!("`{key}` is a text that is not empty"));
        }
        text
    }

    /// The only key of an object, and its value: how lists name what is in them.
    pub(super) fn named<'v>(&mut self, node: &Node<'v>, what: &str) -> Option<(&'v str, Node<'v>)> {
        let pair = node.value.as_object().filter(|map| map.len() == 1).and_then(|map| map.iter().next());
        let Some((name, value)) = pair else {
            self.wrong(&node.path, format!("{what} is an object with one key, its name"));
            return None;
        };
        Some((name, Node { path: node.below(name), value }))
    }
}

fn listed(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}
