//! Errors, retries and time limits: what several tasks can share by name.

use super::Reader;
use super::node::Node;
use crate::duration;
use crate::model::{Backoff, ErrorTemplate, Retry};
use std::time::Duration;

impl Reader {
    pub(super) fn duration(&mut self, node: &Node<'_>) -> Option<Duration> {
        match duration::read(node.value) {
            Ok(duration) => Some(duration),
            Err(error) => {
                self.wrong(&node.path, error);
                None
            }
        }
    }

    fn duration_of(&mut self, node: &Node<'_>, key: &str) -> Option<Duration> {
        node.get(key).and_then(|found| self.duration(&found))
    }

    /// A time limit, or the name of one in `use.timeouts`.
    pub(super) fn timeout(&mut self, node: &Node<'_>) -> Option<Duration> {
        if let Some(name) = node.value.as_str() {
            let known = self.timeouts.get(name).copied();
            if known.is_none() {
                self.wrong(&node.path, format!("there is no `{name}` in `use.timeouts`"));
            }
            return known;
        }
        self.object(node, "a timeout", &["after"], &[])?;
        let Some(after) = node.get("after") else {
            self.wrong(&node.path, "`after` is missing: how long it may take");
            return None;
        };
        let limit = self.duration(&after)?;
        if limit.is_zero() {
            self.wrong(&after.path, "a timeout is longer than nothing");
        }
        Some(limit)
    }

    /// An error, or the name of one in `use.errors`.
    pub(super) fn error_or_name(&mut self, node: &Node<'_>) -> Option<ErrorTemplate> {
        let Some(name) = node.value.as_str() else { return self.error(node) };
        let known = self.errors.get(name).cloned();
        if known.is_none() {
            self.wrong(&node.path, format!("there is no `{name}` in `use.errors`"));
        }
        known
    }

    pub(super) fn error(&mut self, node: &Node<'_>) -> Option<ErrorTemplate> {
        self.object(node, "an error", &["type", "status", "title", "detail", "instance"], &[])?;
        let mut part = |key: &str, is_needed: bool| {
            let found = node.get(key);
            if found.is_none() && is_needed {
                self.wrong(&node.path, format!("`{key}` is missing"));
            }
            found.and_then(|found| self.template(&found))
        };
        let (kind, status) = (part("type", true), part("status", true));
        let (title, detail, instance) =
            (part("title", false), part("detail", false), part("instance", false));
        if let Some(status) = node.get("status") {
            let is_status = status.value.as_u64().is_some_and(|status| (100..=599).contains(&status));
            if !is_status && !status.value.is_string() {
                self.wrong(&status.path, "a status is a number between 100 and 599");
            }
        }
        Some(ErrorTemplate { kind: kind?, status: status?, title, detail, instance })
    }

    /// A way of trying again, or the name of one in `use.retries`.
    pub(super) fn retry_or_name(&mut self, node: &Node<'_>) -> Option<Retry> {
        let Some(name) = node.value.as_str() else { return self.retry(node) };
        let known = self.retries.get(name).cloned();
        if known.is_none() {
            self.wrong(&node.path, format!("there is no `{name}` in `use.retries`"));
        }
        known
    }

    pub(super) fn retry(&mut self, node: &Node<'_>) -> Option<Retry> {
        self.object(node, "a retry", &["when", "exceptWhen", "delay", "backoff", "jitter", "limit"], &[])?;
        let when = node.get("when").and_then(|when| self.condition(&when));
        let except_when = node.get("exceptWhen").and_then(|when| self.condition(&when));
        let backoff = match node.get("backoff") {
            None => Backoff::Constant,
            Some(backoff) => self.backoff(&backoff)?,
        };
        let jitter = node.get("jitter").and_then(|jitter| self.jitter(&jitter));
        let mut retry = Retry {
            when,
            except_when,
            delay: self.duration_of(node, "delay").unwrap_or_default(),
            backoff,
            jitter,
            count: None,
            attempt: None,
            total: None,
        };
        let Some(limit) = node.get("limit") else { return Some(retry) };
        self.object(&limit, "`limit`", &["attempt", "duration"], &[])?;
        retry.total = self.duration_of(&limit, "duration");
        let Some(attempt) = limit.get("attempt") else { return Some(retry) };
        self.object(&attempt, "`attempt`", &["count", "duration"], &[])?;
        retry.attempt = self.duration_of(&attempt, "duration");
        if let Some(count) = attempt.get("count") {
            retry.count = count.value.as_u64();
            if retry.count.is_none() {
                self.wrong(&count.path, "`count` is a whole number: how many times it is tried again");
            }
        }
        Some(retry)
    }

    fn backoff(&mut self, node: &Node<'_>) -> Option<Backoff> {
        let (name, value) = self.named(node, "a backoff")?;
        let backoff = match name {
            "constant" => Backoff::Constant,
            "linear" => Backoff::Linear,
            "exponential" => Backoff::Exponential,
            _ => {
                self.wrong(&value.path, "there are `constant`, `linear` and `exponential`");
                return None;
            }
        };
        if value.value.as_object().is_none_or(|map| !map.is_empty()) {
            self.wrong(&value.path, format!("write `{name}: {{}}`; it has no settings here"));
        }
        Some(backoff)
    }

    fn jitter(&mut self, node: &Node<'_>) -> Option<(Duration, Duration)> {
        self.object(node, "a jitter", &["from", "to"], &[])?;
        let (from, to) = (self.duration_of(node, "from"), self.duration_of(node, "to"));
        let (Some(from), Some(to)) = (from, to) else {
            if node.get("from").is_none() || node.get("to").is_none() {
                self.wrong(&node.path, "a jitter is between `from` and `to`");
            }
            return None;
        };
        if from > to {
            self.wrong(&node.path, "`from` is longer than `to`");
        }
        Some((from, to))
    }
}
