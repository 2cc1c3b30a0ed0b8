//! Loops, retries, and errors that are raised.

use super::scope::Break;
use super::{Left, Run};
use crate::engine::{Effects, Millis, Observer};
use crate::fault::Fault;
use crate::model::{Backoff, ErrorTemplate, ForEach, Retry, Then, Try};
use crate::template::{Expr, Template, as_text};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// Variable that holds the error, unless `as` names another.
const ERROR: &str = "$error";

impl<E: Effects, O: Observer> Run<'_, E, O> {
    /// Runs tasks once for each item. The output of a round is the input of the next; `exit` ends all rounds.
    pub(super) async fn for_each(&mut self, each: &ForEach, input: Value, path: &str) -> Result<Left, Break> {
        let items = self.evaluate(&Template::Expr(each.items.clone()), &input).await?;
        let Value::Array(items) = items else {
            let words = format!("invalid value of `in`: expected an array, got {}", kind_of(&items));
            return Err(Fault::validation(words).into());
        };
        let outside = [&each.each, &each.at].map(|name| (name, self.names.remove(name)));
        let outcome = self.rounds(each, items, input, path).await;
        for (name, value) in outside {
            self.restore(name, value);
        }
        outcome
    }

    async fn rounds(
        &mut self,
        each: &ForEach,
        items: Vec<Value>,
        mut value: Value,
        path: &str,
    ) -> Result<Left, Break> {
        for (place, item) in items.into_iter().enumerate() {
            self.set(&each.each, item);
            self.set(&each.at, json!(place));
            if let Some(condition) = &each.condition
                && !self.holds(condition, &value).await?
            {
                break;
            }
            let left;
            (value, left) = self.list(&each.tasks, value, &format!("{path}[{place}]/do")).await?;
            if left != Then::Continue {
                return Ok((value, left));
            }
        }
        Ok((value, Then::Continue))
    }

    /// Runs tasks, retries them, and handles their errors. An error that is retried and has no `do` fails the task in the end.
    pub(super) async fn try_(&mut self, tried: &Try, input: &Value, path: &str) -> Result<Left, Break> {
        let mut repetitions = 0;
        let mut first = None;
        loop {
            let base = match repetitions {
                0 => format!("{path}/try"),
                more => format!("{path}/try@{}", more + 1),
            };
            let began = match tried.retry.as_ref().filter(|retry| retry.attempt.or(retry.total).is_some()) {
                Some(_) => self.shared.effects.now(&base)?,
                None => 0,
            };
            let first = *first.get_or_insert(began);
            let limit = tried.retry.as_ref().and_then(|retry| retry.attempt).map(|limit| (limit, began));
            let list = async |run: &mut Self| run.list(&tried.tasks, input.clone(), &base).await;
            let outcome = self.within(limit, "an attempt", list).await;
            let fault = match outcome {
                Err(Break::Fault(fault)) if matches(&tried.filter, &fault) => fault,
                other => return other,
            };
            let inner = self.failed.take();
            let outside = self.names.insert(tried.error.clone(), Arc::new(fault.value()));
            let passed_on = fault.clone();
            let outcome = self.caught(tried, fault, input, path, &mut repetitions, first).await;
            if matches!(&outcome, Err(Break::Fault(fault)) if *fault == passed_on && self.failed.is_none()) {
                self.failed = inner;
            }
            self.restore(&tried.error, outside);
            if let Some(end) = outcome? {
                return Ok(end);
            }
        }
    }

    /// Handles an error that may be caught. Returns `None` if the tasks are to be retried.
    async fn caught(
        &mut self,
        tried: &Try,
        fault: Fault,
        input: &Value,
        path: &str,
        repetitions: &mut u64,
        first: Millis,
    ) -> Result<Option<Left>, Break> {
        if !self.applies(tried.when.as_ref(), tried.except_when.as_ref(), input).await? {
            return Err(fault.into());
        }
        if let Some(retry) = &tried.retry
            && self.may_retry(retry, &fault, (input, path), *repetitions, first).await?
        {
            *repetitions += 1;
            let delay = delay(retry, *repetitions);
            let (effects, deadline) = (self.shared.effects, self.deadline());
            let waited = effects.pause(path, *repetitions, delay, retry.jitter, deadline).await?;
            self.elapsed(waited)?;
            return Ok(None);
        }
        match &tried.tasks_after {
            Some(tasks) => self.list(tasks, input.clone(), &format!("{path}/catch/do")).await.map(Some),
            None if tried.retry.is_some() => Err(fault.into()),
            None => Ok(Some((input.clone(), Then::Continue))),
        }
    }

    async fn applies(
        &self,
        when: Option<&Expr>,
        except: Option<&Expr>,
        input: &Value,
    ) -> Result<bool, Break> {
        if let Some(when) = when
            && !self.holds(when, input).await?
        {
            return Ok(false);
        }
        match except {
            Some(except) => Ok(!self.holds(except, input).await?),
            None => Ok(true),
        }
    }

    async fn may_retry(
        &mut self,
        retry: &Retry,
        fault: &Fault,
        (input, path): (&Value, &str),
        repetitions: u64,
        first: Millis,
    ) -> Result<bool, Break> {
        if retry.count.is_some_and(|count| repetitions >= count) {
            return Ok(false);
        }
        // A policy that is shared by name does not know the name that `as` gives to the error.
        let outside = self.names.insert(ERROR.to_owned(), Arc::new(fault.value()));
        let applies = self.applies(retry.when.as_ref(), retry.except_when.as_ref(), input).await;
        self.restore(ERROR, outside);
        if !applies? {
            return Ok(false);
        }
        let Some(total) = retry.total else { return Ok(true) };
        let now = self.shared.effects.now(&format!("{path}/catch@{}", repetitions + 1))?;
        Ok(Duration::from_millis(now.saturating_sub(first)) < total)
    }

    /// Builds the error that a task raises.
    pub(super) async fn raised(&self, error: &ErrorTemplate, input: &Value) -> Result<Fault, Break> {
        let text = async |template: &Option<Template>| -> Result<Option<String>, Break> {
            match template {
                Some(template) => Ok(Some(as_text(&self.evaluate(template, input).await?))),
                None => Ok(None),
            }
        };
        let status = self.evaluate(&error.status, input).await?;
        let number = status.as_u64().or_else(|| status.as_str().and_then(|text| text.parse().ok()));
        let Some(status) = number.filter(|status| (100..=599).contains(status)) else {
            let words =
                format!("invalid status of an error: expected a number from 100 to 599, got {status}");
            return Err(Fault::validation(words).into());
        };
        let kind = as_text(&self.evaluate(&error.kind, input).await?);
        let title = text(&error.title).await?.unwrap_or_else(|| kind.clone());
        let detail = text(&error.detail).await?;
        let instance = text(&error.instance).await?.unwrap_or_default();
        Ok(Fault { kind, status, title, detail, instance })
    }
}

/// Whether an error passes the filter of a `catch`.
fn matches(filter: &[(String, Value)], fault: &Fault) -> bool {
    let value = fault.value();
    filter.iter().all(|(key, wanted)| value[key.as_str()] == *wanted)
}

/// Pause before a retry; the first is number 1.
fn delay(retry: &Retry, repetition: u64) -> Duration {
    let factor = match retry.backoff {
        Backoff::Constant => 1,
        Backoff::Linear => u32::try_from(repetition).unwrap_or(u32::MAX),
        Backoff::Exponential => {
            let doublings = u32::try_from(repetition.saturating_sub(1)).unwrap_or(u32::MAX);
            2_u32.checked_pow(doublings).unwrap_or(u32::MAX)
        }
    };
    retry.delay.saturating_mul(factor)
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}
