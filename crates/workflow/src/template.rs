//! Values with expressions in them.
//!
//! Text that is one expression, `${ … }`, becomes what that gives; expressions in the middle of text become part of it.

use super::expr::Program;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// An expression, ready to be evaluated.
#[derive(Clone)]
pub struct Expr {
    /// As it was written, without `${` and `}`.
    pub code: String,
    /// As it is evaluated.
    pub program: Arc<Program>,
}

impl fmt::Debug for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "${{ {} }}", self.code)
    }
}

/// A value with expressions in it.
#[derive(Debug, Clone)]
pub enum Template {
    /// Has none.
    Literal(Value),
    /// Is one.
    Expr(Expr),
    /// Text, with some in it.
    Text(Vec<Piece>),
    /// A list with some in it.
    List(Vec<Template>),
    /// An object with some in its values.
    Map(Vec<(String, Template)>),
}

/// A piece of text.
#[derive(Debug, Clone)]
pub enum Piece {
    /// As it stands.
    Text(String),
    /// What the expression gives, as text.
    Expr(Expr),
}

/// A piece of text before its expressions are read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Raw<'t> {
    Text(&'t str),
    Expr(&'t str),
}

/// Cuts text where its expressions begin and end.
///
/// # Errors
/// An expression does not end.
pub(super) fn cut(text: &str) -> Result<Vec<Raw<'_>>, String> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        if start > 0 {
            pieces.push(Raw::Text(&rest[..start]));
        }
        let inner = &rest[start + 2..];
        let end = end(inner).ok_or_else(|| "an expression begins with `${` and has no `}`".to_owned())?;
        pieces.push(Raw::Expr(inner[..end].trim()));
        rest = &inner[end + 1..];
    }
    if !rest.is_empty() {
        pieces.push(Raw::Text(rest));
    }
    Ok(pieces)
}

/// Where the brace stands that ends the expression. Braces in text and remarks do not count; text can hold expressions again.
fn end(code: &str) -> Option<usize> {
    #[derive(PartialEq)]
    enum Open {
        Brace,
        Paren,
        Text,
        /// `\(` in text.
        Inner,
    }
    let mut open = Vec::new();
    let mut chars = code.char_indices();
    while let Some((at, c)) = chars.next() {
        if open.last() == Some(&Open::Text) {
            match c {
                '"' => drop(open.pop()),
                '\\' if chars.next()?.1 == '(' => open.push(Open::Inner),
                _ => {}
            }
            continue;
        }
        match c {
            '"' => open.push(Open::Text),
            '#' => drop(chars.find(|(_, c)| *c == '\n')),
            '{' => open.push(Open::Brace),
            '(' => open.push(Open::Paren),
            ')' if matches!(open.last(), Some(Open::Paren | Open::Inner)) => drop(open.pop()),
            '}' if open.last() == Some(&Open::Brace) => drop(open.pop()),
            '}' => return Some(at),
            _ => {}
        }
    }
    None
}

impl Expr {
    /// Evaluates it.
    ///
    /// # Errors
    /// What went wrong, with the expression.
    pub fn evaluate(&self, input: &Value, variables: &BTreeMap<String, Value>) -> Result<Value, String> {
        self.program.run(input, variables).map_err(|error| format!("`{}`: {error}", self.code))
    }
}

impl Template {
    /// Evaluates all expressions in it.
    ///
    /// # Errors
    /// What went wrong, with the expression.
    pub fn evaluate(&self, input: &Value, variables: &BTreeMap<String, Value>) -> Result<Value, String> {
        Ok(match self {
            Self::Literal(value) => value.clone(),
            Self::Expr(expr) => expr.evaluate(input, variables)?,
            Self::Text(pieces) => {
                let mut text = String::new();
                for piece in pieces {
                    match piece {
                        Piece::Text(piece) => text.push_str(piece),
                        Piece::Expr(expr) => text.push_str(&as_text(&expr.evaluate(input, variables)?)),
                    }
                }
                Value::String(text)
            }
            Self::List(items) => Value::Array(
                items.iter().map(|item| item.evaluate(input, variables)).collect::<Result<_, _>>()?,
            ),
            Self::Map(pairs) => {
                let mut map = Map::new();
                for (key, value) in pairs {
                    map.insert(key.clone(), value.evaluate(input, variables)?);
                }
                Value::Object(map)
            }
        })
    }

    /// All expressions in it.
    pub fn expressions(&self) -> Vec<&Expr> {
        match self {
            Self::Literal(_) => Vec::new(),
            Self::Expr(expr) => vec![expr],
            Self::Text(pieces) => {
                fn expr(piece: &Piece) -> Option<&Expr> {
                    if let Piece::Expr(expr) = piece { Some(expr) } else { None }
                }
                pieces.iter().filter_map(expr).collect()
            }
            Self::List(items) => items.iter().flat_map(Self::expressions).collect(),
            Self::Map(pairs) => pairs.iter().flat_map(|(_, value)| value.expressions()).collect(),
        }
    }
}

/// A value as part of a text: text as it is, nothing for null, everything else as JSON.
pub(super) fn as_text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_where_expressions_begin_and_end() {
        for (text, pieces) in [
            ("plain {x}", vec![Raw::Text("plain {x}")]),
            ("", vec![]),
            ("${ .a }", vec![Raw::Expr(".a")]),
            ("a ${.b} c${.d}", vec![Raw::Text("a "), Raw::Expr(".b"), Raw::Text(" c"), Raw::Expr(".d")]),
            ("${ {a: {b: 1}} }", vec![Raw::Expr("{a: {b: 1}}")]),
            (r#"${ "}" }"#, vec![Raw::Expr(r#""}""#)]),
            (r#"${ "\"}" }"#, vec![Raw::Expr(r#""\"}""#)]),
            (r#"${ "\({a: "}"} | .a)}" }!"#, vec![Raw::Expr(r#""\({a: "}"} | .a)}""#), Raw::Text("!")]),
            ("${ . # }\n}", vec![Raw::Expr(". # }")]),
        ] {
            assert_eq!(cut(text), Ok(pieces), "{text}");
        }
        for text in ["${", "${ \"}", "${ {a: 1 ", "x ${ # }"] {
            assert!(cut(text).is_err(), "{text}");
        }
    }
}
