//! Values with expressions in them.
//!
//! Text that is exactly one expression, `${ … }`, is replaced by the expression's value of any type; an expression in the middle of text
//! becomes part of the text.

use super::expr::Program;
use serde_json::{Map, Value};
use std::fmt;
use std::sync::Arc;

/// A compiled expression.
#[derive(Clone)]
pub struct Expr {
    /// Source of the expression, without `${` and `}`.
    pub code: String,
    /// Compiled form of the expression.
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
    /// Value without expressions.
    Literal(Value),
    /// Exactly one expression.
    Expr(Expr),
    /// Text with expressions in it.
    Text(Vec<Piece>),
    /// List with expressions in some of its items.
    List(Vec<Template>),
    /// Object with expressions in some of its values.
    Map(Vec<(String, Template)>),
}

/// A piece of text with expressions.
#[derive(Debug, Clone)]
pub enum Piece {
    /// Text that is copied as it is.
    Text(String),
    /// Expression whose value is inserted as text.
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

impl Template {
    /// Puts values in place of the expressions, in the order of [`Template::expressions`].
    pub(crate) fn filled(&self, values: &mut impl Iterator<Item = Value>) -> Value {
        let mut next = || values.next().unwrap_or_default();
        match self {
            Self::Literal(value) => value.clone(),
            Self::Expr(_) => next(),
            Self::Text(pieces) => {
                let piece = |piece: &Piece| match piece {
                    Piece::Text(text) => text.clone(),
                    Piece::Expr(_) => as_text(&next()),
                };
                Value::String(pieces.iter().map(piece).collect())
            }
            Self::List(items) => items.iter().map(|item| item.filled(values)).collect(),
            Self::Map(pairs) => {
                let pairs = pairs.iter().map(|(key, value)| (key.clone(), value.filled(values)));
                Value::Object(pairs.collect::<Map<_, _>>())
            }
        }
    }

    /// The template in the form in which workflows are written.
    pub(crate) fn source(&self) -> Value {
        match self {
            Self::Literal(value) => value.clone(),
            Self::Expr(expr) => format!("${{ {} }}", expr.code).into(),
            Self::Text(pieces) => {
                let piece = |piece: &Piece| match piece {
                    Piece::Text(text) => text.clone(),
                    Piece::Expr(expr) => format!("${{ {} }}", expr.code),
                };
                Value::String(pieces.iter().map(piece).collect())
            }
            Self::List(items) => items.iter().map(Self::source).collect(),
            Self::Map(pairs) => {
                let pairs = pairs.iter().map(|(key, value)| (key.clone(), value.source()));
                Value::Object(pairs.collect::<Map<_, _>>())
            }
        }
    }

    /// All expressions of the template, in the order in which they are written.
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
    fn a_template_is_written_as_it_was_read() {
        let source = serde_json::json!({"a": "${ .a }", "b": ["x ${ .b } y", 1, null], "c": {"d": "plain"}});
        let template =
            crate::expr::on_deep_stack(move || crate::read::secret_template(&source, vec![], vec![]));
        let template = template.expect("a thread").expect("a template");
        assert_eq!(
            template.source(),
            serde_json::json!({"a": "${ .a }", "b": ["x ${ .b } y", 1, null], "c": {"d": "plain"}})
        );
        let mut values = [serde_json::json!([1]), serde_json::json!("in")].into_iter();
        assert_eq!(
            template.filled(&mut values),
            serde_json::json!({"a": [1], "b": ["x in y", 1, null], "c": {"d": "plain"}})
        );
    }

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
