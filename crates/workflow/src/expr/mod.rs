//! Expressions, in the language of jq.
//!
//! What an expression gives depends on what it is given and on nothing else: there is no clock, no environment, no input
//! beside it and no way to end the process. `now` is the time at which the task began first, as the journal has it. And it
//! comes to an end: each call of a filter and each number of a `range` is a step, the steps and the depth of calls are
//! counted, what it gives has a size limit, and whoever is still at it after half a minute is left alone.

mod guard;
mod value;

use guard::Kind;
use jaq_core::load::{Arena, File, Loader, lex, parse};
use jaq_core::{Compiler, Ctx, Filter, Vars, unwrap_valr};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

/// The variables that every expression may name.
pub(super) const VARIABLES: [&str; 7] =
    ["$context", "$input", "$output", "$secrets", "$task", "$workflow", "$runtime"];

/// The variable behind the filter `now`.
pub(super) const NOW: &str = "$__now";

/// The longest expression, in bytes.
pub(super) const MOST_CODE: usize = 16 * 1024;

/// How long an evaluation may take before it is given up. The steps are used up long before that; this is for what is slow
/// inside a single step.
pub(super) const EVALUATION_TIMEOUT: Duration = Duration::from_secs(30);

/// The stack that expressions are read and evaluated on: they nest as deeply as their author likes.
pub(super) const STACK: usize = 64 * 1024 * 1024;

/// An expression that can be evaluated.
pub struct Program {
    filter: Filter<Kind>,
    named: BTreeSet<String>,
    variables: Vec<String>,
}

impl std::fmt::Debug for Program {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Program").field("variables", &self.variables).finish_non_exhaustive()
    }
}

/// Does `work` on a stack that is deep enough for expressions.
///
/// # Errors
/// There is no thread, the work did not end in time, or it went wrong in a way that nobody foresaw.
pub(super) fn on_deep_stack<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, String> {
    let (done, result) = channel();
    std::thread::Builder::new()
        .name("expression".to_owned())
        .stack_size(STACK)
        .spawn(move || {
            let _ = done.send(work());
        })
        .map_err(|error| format!("there is no thread for it: {error}"))?;
    result.recv_timeout(EVALUATION_TIMEOUT).map_err(|error| match error {
        RecvTimeoutError::Timeout => format!("it takes longer than {} s", EVALUATION_TIMEOUT.as_secs()),
        RecvTimeoutError::Disconnected => "it broke the evaluation".to_owned(),
    })
}

impl Program {
    /// Reads an expression that may name the [`VARIABLES`] and those of the tasks around it, `locals`, each with its `$`.
    /// To be called [`on_deep_stack`].
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(code: &str, locals: &[String]) -> Result<Self, String> {
        if code.len() > MOST_CODE {
            return Err(format!("an expression of {} bytes; at most {MOST_CODE} are read", code.len()));
        }
        let mut variables: Vec<String> = VARIABLES.iter().map(|name| (*name).to_owned()).collect();
        variables.push(NOW.to_owned());
        variables.extend(locals.iter().cloned());
        let mut named = BTreeSet::new();
        let call = format!("__main({})", variables.join(";"));
        let filter = {
            let body = guard::term(parsed(code)?, &mut named);
            let args = variables.iter().map(String::as_str).collect();
            let main = parse::Def { name: "__main", args, body };
            let arena = Arena::default();
            let file = File { code: call.as_str(), path: () };
            let loader = Loader::new(guard::definitions().into_iter().chain([main]));
            let modules = loader.load(&arena, file).map_err(|_| "it cannot be read".to_owned())?;
            Compiler::default()
                .with_funs(guard::functions())
                .with_global_vars(variables.iter().map(String::as_str))
                .compile(modules)
                .map_err(|errors| undefined(errors.iter().flat_map(|(_, errors)| errors)))?
        };
        Ok(Self { filter, named, variables })
    }

    /// The secrets that it names: `$secrets.NAME`.
    pub fn secrets(&self) -> impl Iterator<Item = &str> {
        self.named.iter().filter_map(|name| name.strip_prefix("$secrets."))
    }

    /// Whether it names the variable `name`; `$secrets` only where it does not say which.
    pub fn names(&self, name: &str) -> bool {
        self.named.contains(name)
    }

    /// Evaluates the expression on `input`. A variable without a value is null. To be called [`on_deep_stack`].
    ///
    /// # Errors
    /// The expression's own error, or an exceeded limit.
    pub fn evaluate(&self, input: &Value, variables: &BTreeMap<String, Arc<Value>>) -> Result<Value, String> {
        let given = self
            .variables
            .iter()
            .map(|name| variables.get(name).map_or(jaq_json::Val::Null, |value| value::to(value)));
        let budget = guard::Budget::new(STACK / 2);
        let data = guard::Data { lut: &self.filter.lut, budget: &budget };
        let context = Ctx::<Kind>::new(data, Vars::new(given));
        let mut results = self.filter.id.run((context, value::to(input))).map(unwrap_valr);
        let Some(first) = results.next() else { return Ok(Value::Null) };
        let first = first.map_err(|error| said(&error))?;
        if results.next().is_some() {
            return Err("it gives several values where one is wanted: put it in [ ]".to_owned());
        }
        value::from(&first)
    }
}

/// An expression's error in words, not at any length.
fn said(error: &jaq_json::Error) -> String {
    const LONGEST: usize = 300;
    let text = error.to_string();
    if text.chars().count() <= LONGEST {
        return text;
    }
    text.chars().take(LONGEST).chain(['…']).collect()
}

fn undefined<'a>(errors: impl Iterator<Item = &'a jaq_core::compile::Error<&'a str>>) -> String {
    let all: BTreeSet<String> = errors
        .map(|(name, what)| match what {
            jaq_core::compile::Undefined::Filter(arity) => {
                format!("there is no filter `{name}` with {arity} arguments")
            }
            other => format!("there is no {} `{name}`", other.as_str()),
        })
        .collect();
    all.into_iter().collect::<Vec<_>>().join("; ")
}

fn parsed(code: &str) -> Result<parse::Term<&str>, String> {
    let tokens = lex::Lexer::new(code).lex().map_err(|errors| {
        let (expected, rest) = &errors[0];
        format!("a {} is missing{}", expected.as_str(), at(code, rest))
    })?;
    parse::Parser::new(&tokens).parse(jaq_core::load::Parser::term).map_err(|errors| {
        let (expected, found) = &errors[0];
        let found = lex::Token::opt_as_str(*found, code);
        format!("a {} is expected{}", expected.as_str(), at(code, found))
    })
}

fn at(code: &str, found: &str) -> String {
    let place = jaq_core::load::span(code, found).start;
    match code[place..].chars().next() {
        None => " at the end".to_owned(),
        Some(c) => format!(" before `{c}`, the character {}", code[..place].chars().count() + 1),
    }
}

#[cfg(test)]
mod tests;
