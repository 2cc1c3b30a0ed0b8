//! Evaluation of expressions, apart from the thread that runs the interpreter.

use super::expr;
use super::template::Expr;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Values of the variables that expressions may name, by name with its `$`.
pub(crate) type Variables = BTreeMap<String, Arc<Value>>;

/// Stack size, in bytes, of a thread that evaluates expressions: they nest as deeply as their author likes.
pub const STACK_BYTES: usize = expr::STACK;

/// Longest time an evaluation may take before its thread is abandoned.
pub const EVALUATION_TIMEOUT: Duration = expr::EVALUATION_TIMEOUT;

/// Some expressions, their input and the variables they name: everything that their values depend on.
#[derive(Debug, Clone)]
pub struct Evaluation {
    expressions: Vec<Expr>,
    input: Value,
    variables: Variables,
}

impl Evaluation {
    /// Collects what `expressions` need of `variables`.
    pub(crate) fn new(expressions: Vec<Expr>, input: &Value, variables: &Variables) -> Self {
        let variables = named(&expressions, variables);
        Self { expressions, input: input.clone(), variables }
    }

    /// Takes variables that were selected before.
    pub(crate) fn with_all(expressions: Vec<Expr>, input: Value, variables: Variables) -> Self {
        Self { expressions, input, variables }
    }

    /// Evaluates the expressions on a thread of their own and waits for it.
    ///
    /// # Errors
    /// The failed expression and the reason.
    pub fn run(self) -> Result<Vec<Value>, String> {
        expr::on_deep_stack(move || self.run_here())?
    }

    /// Evaluates the expressions on this thread, whose stack must have [`STACK_BYTES`].
    ///
    /// # Errors
    /// The failed expression and the reason.
    pub fn run_here(&self) -> Result<Vec<Value>, String> {
        let value = |expression: &Expr| {
            let outcome = expression.program.evaluate(&self.input, &self.variables);
            outcome.map_err(|error| format!("`{}`: {error}", expression.code))
        };
        self.expressions.iter().map(value).collect()
    }
}

/// The variables that the expressions name.
pub(crate) fn named(expressions: &[Expr], variables: &Variables) -> Variables {
    let is_named = |name: &str| expressions.iter().any(|expression| expression.program.names(name));
    let named = variables.iter().filter(|(name, _)| is_named(name));
    named.map(|(name, value)| (name.clone(), Arc::clone(value))).collect()
}
