//! Loops, attempts, and errors that are raised.

use super::Run;
use super::scope::Break;
use crate::engine::{Engine, Millis};
use crate::fault::Fault;
use crate::model::{Backoff, ErrorTemplate, ForEach, Retry, Then, Try};
use crate::template::{Template, as_text};
use serde_json::{Value, json};
use std::time::Duration;

/// The variable with the error, unless `as` says otherwise.
const ERROR: &str = "$error";

impl<E: Engine> Run<'_, E> {
    /// A round for each item. What a round gives is what the next one gets; `exit` ends all rounds.
    pub(super) fn for_each(
        &mut self,
        each: &ForEach,
        input: Value,
        path: &str,
    ) -> Result<(Value, Then), Break> {
        let items = self.evaluate(&Template::Expr(each.items.clone()), &input)?;
        let Value::Array(items) = items else {
            let words = format!("`in` of a loop gives a list, and this is {}", kind_of(&items));
            return Err(Fault::validation(words).into());
        };
        let outside = [&each.each, &each.at].map(|name| (name, self.names.remove(name)));
        let outcome = self.rounds(each, items, input, path);
        for (name, value) in outside {
            match value {
                Some(value) => self.set(name, value),
                None => drop(self.names.remove(name)),
            }
        }
        outcome
    }

    fn rounds(
        &mut self,
        each: &ForEach,
        items: Vec<Value>,
        mut value: Value,
        path: &str,
    ) -> Result<(Value, Then), Break> {
        for (place, item) in items.into_iter().enumerate() {
            self.set(&each.each, item);
            self.set(&each.at, json!(place));
            if let Some(condition) = &each.condition
                && !self.holds(condition, &value)?
            {
                break;
            }
            let left;
            (value, left) = self.list(&each.tasks, value, &format!("{path}[{place}]/do"))?;
            if left != Then::Continue {
                return Ok((value, left));
            }
        }
        Ok((value, Then::Continue))
    }

    /// Tries, tries again, and does something else in the end. An error that is retried and has nothing else to be done about it
    /// is one in the end.
    pub(super) fn try_(&mut self, tried: &Try, input: &Value, path: &str) -> Result<(Value, Then), Break> {
        let mut repetitions = 0;
        let mut first = None;
        loop {
            let base = match repetitions {
                0 => format!("{path}/try"),
                more => format!("{path}/try@{}", more + 1),
            };
            let began = match tried.retry.as_ref().filter(|retry| retry.attempt.or(retry.total).is_some()) {
                Some(_) => self.engine.now(&base)?,
                None => 0,
            };
            let first = *first.get_or_insert(began);
            let limit = tried.retry.as_ref().and_then(|retry| retry.attempt).map(|limit| (limit, began));
            let outcome =
                self.within(limit, "an attempt", |run| run.list(&tried.tasks, input.clone(), &base));
            let fault = match outcome {
                Err(Break::Fault(fault)) if matches(&tried.filter, &fault) => fault,
                other => return other,
            };
            let inner = self.failed.take();
            let outside = self.names.insert(tried.error.clone(), fault.value());
            let passed_on = fault.clone();
            let outcome = self.caught(tried, fault, input, path, &mut repetitions, first);
            if matches!(&outcome, Err(Break::Fault(fault)) if *fault == passed_on && self.failed.is_none()) {
                self.failed = inner;
            }
            match outside {
                Some(value) => self.set(&tried.error, value),
                None => drop(self.names.remove(&tried.error)),
            }
            if let Some(end) = outcome? {
                return Ok(end);
            }
        }
    }

    /// What becomes of an error that may be caught. Gives nothing if it is tried again.
    fn caught(
        &mut self,
        tried: &Try,
        fault: Fault,
        input: &Value,
        path: &str,
        repetitions: &mut u64,
        first: Millis,
    ) -> Result<Option<(Value, Then)>, Break> {
        if !self.applies(tried.when.as_ref(), tried.except_when.as_ref(), input)? {
            return Err(fault.into());
        }
        if let Some(retry) = &tried.retry
            && self.may_retry(retry, &fault, (input, path), *repetitions, first)?
        {
            *repetitions += 1;
            let delay = delay(retry, *repetitions);
            let waited = self.engine.pause(path, *repetitions, delay, retry.jitter, self.deadline())?;
            self.through(waited)?;
            return Ok(None);
        }
        match &tried.tasks_after {
            Some(tasks) => self.list(tasks, input.clone(), &format!("{path}/catch/do")).map(Some),
            None if tried.retry.is_some() => Err(fault.into()),
            None => Ok(Some((input.clone(), Then::Continue))),
        }
    }

    fn applies(
        &self,
        when: Option<&crate::template::Expr>,
        except: Option<&crate::template::Expr>,
        input: &Value,
    ) -> Result<bool, Break> {
        if let Some(when) = when
            && !self.holds(when, input)?
        {
            return Ok(false);
        }
        match except {
            Some(except) => Ok(!self.holds(except, input)?),
            None => Ok(true),
        }
    }

    fn may_retry(
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
        // A policy that is shared by name cannot know what `as` calls the error.
        let outside = self.names.insert(ERROR.to_owned(), fault.value());
        let applies = self.applies(retry.when.as_ref(), retry.except_when.as_ref(), input);
        match outside {
            Some(value) => self.set(ERROR, value),
            None => drop(self.names.remove(ERROR)),
        }
        if !applies? {
            return Ok(false);
        }
        let Some(total) = retry.total else { return Ok(true) };
        let now = self.engine.now(&format!("{path}/catch@{}", repetitions + 1))?;
        Ok(Duration::from_millis(now.saturating_sub(first)) < total)
    }

    /// The error that a task raises.
    pub(super) fn raised(&mut self, error: &ErrorTemplate, input: &Value) -> Result<Fault, Break> {
        let text = |run: &Self, template: &Option<Template>| -> Result<Option<String>, Break> {
            match template {
                Some(template) => Ok(Some(as_text(&run.evaluate(template, input)?))),
                None => Ok(None),
            }
        };
        let status = self.evaluate(&error.status, input)?;
        let number = status.as_u64().or_else(|| status.as_str().and_then(|text| text.parse().ok()));
        let Some(status) = number.filter(|status| (100..=599).contains(status)) else {
            let words =
                format!("the status of an error is a number between 100 and 599, and this is {status}");
            return Err(Fault::validation(words).into());
        };
        let kind = as_text(&self.evaluate(&error.kind, input)?);
        let title = text(self, &error.title)?.unwrap_or_else(|| kind.clone());
        let detail = text(self, &error.detail)?;
        let instance = text(self, &error.instance)?.unwrap_or_default();
        Ok(Fault { kind, status, title, detail, instance })
    }
}

/// Whether an error is one of those that are caught.
fn matches(filter: &[(String, Value)], fault: &Fault) -> bool {
    let value = fault.value();
    filter.iter().all(|(key, wanted)| value[key.as_str()] == *wanted)
}

/// The pause before the `repetition`th repetition, which is the first for 1.
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
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
