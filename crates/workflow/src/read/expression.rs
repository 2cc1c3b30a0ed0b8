//! Where expressions may stand, and how they are marked.

use super::Reader;
use super::node::Node;
use crate::expr::Program;
use crate::template::{Expr, Piece, Raw, Template, cut};
use serde_json::Value;
use std::sync::Arc;

impl Reader {
    /// An expression, `path` says where it stands.
    fn expression(&mut self, path: &str, code: &str) -> Option<Expr> {
        let program = match Program::read(code, &self.locals) {
            Ok(program) => program,
            Err(error) => {
                self.wrong(path, format!("the expression `{code}` is not understood: {error}"));
                return None;
            }
        };
        let (are_used, named) = (program.names("$secrets"), program.secrets().collect::<Vec<_>>());
        if !self.may_name_secrets && (are_used || !named.is_empty()) {
            let words = "secrets can be named only below `with` of `call: http`: what stands elsewhere is kept in the journal";
            self.wrong(path, words);
        } else if are_used {
            self.wrong(path, "name the secret: `$secrets.NAME`");
        }
        for name in named {
            if !self.secrets.iter().any(|secret| secret == name) {
                self.wrong(path, format!("the secret `{name}` is not listed in `use.secrets`"));
            }
        }
        Some(Expr { code: code.to_owned(), program: Arc::new(program) })
    }

    /// Text that is an expression, in `${ }` or without, as `if` and `when` have it.
    pub(super) fn condition(&mut self, node: &Node<'_>) -> Option<Expr> {
        let Some(text) = node.value.as_str() else {
            self.wrong(&node.path, "an expression is a text");
            return None;
        };
        match cut(text) {
            Err(error) => {
                self.wrong(&node.path, error);
                None
            }
            Ok(pieces) => match pieces[..] {
                [Raw::Expr(code)] => self.expression(&node.path, code),
                [Raw::Text(code)] => self.expression(&node.path, code.trim()),
                _ => {
                    self.wrong(&node.path, "one expression is wanted here, `${ … }` or without the braces");
                    None
                }
            },
        }
    }

    /// A value in which text may have expressions in `${ }`.
    pub(super) fn template(&mut self, node: &Node<'_>) -> Option<Template> {
        match node.value {
            Value::String(text) => self.text_template(&node.path, text),
            Value::Array(_) => {
                let items: Vec<_> = node.items().iter().map(|item| self.template(item)).collect();
                let items = items.into_iter().collect::<Option<Vec<_>>>()?;
                Some(if items.iter().all(is_literal) {
                    Template::Literal(node.value.clone())
                } else {
                    Template::List(items)
                })
            }
            Value::Object(map) => {
                let mut pairs = Some(Vec::new());
                for (key, value) in map {
                    let read = self.template(&Node { path: node.below(key), value });
                    pairs = pairs.zip(read).map(|(mut pairs, read)| {
                        pairs.push((key.clone(), read));
                        pairs
                    });
                }
                let pairs: Vec<(String, Template)> = pairs?;
                Some(if pairs.iter().all(|(_, value)| is_literal(value)) {
                    Template::Literal(node.value.clone())
                } else {
                    Template::Map(pairs)
                })
            }
            other => Some(Template::Literal(other.clone())),
        }
    }

    fn text_template(&mut self, path: &str, text: &str) -> Option<Template> {
        let pieces = match cut(text) {
            Ok(pieces) => pieces,
            Err(error) => {
                self.wrong(path, error);
                return None;
            }
        };
        match pieces[..] {
            [] | [Raw::Text(_)] => return Some(Template::Literal(text.into())),
            [Raw::Expr(code)] => return self.expression(path, code).map(Template::Expr),
            _ => {}
        }
        let mut read = Vec::new();
        for piece in pieces {
            read.push(match piece {
                Raw::Text(text) => Piece::Text(text.to_owned()),
                Raw::Expr(code) => Piece::Expr(self.expression(path, code)?),
            });
        }
        Some(Template::Text(read))
    }

    /// What `input.from`, `output.as` and `export.as` say: an expression, or an object with some in it.
    pub(super) fn transformed(&mut self, node: &Node<'_>, key: &str) -> Option<Template> {
        const SCHEMA: &str = "check what matters with `if` or `switch`, and `raise` an error";
        self.object(node, "this", &[key], &[("schema", SCHEMA)])?;
        let found = node.get(key)?;
        if found.value.is_string() {
            return self.condition(&found).map(Template::Expr);
        }
        if !found.value.is_object() {
            self.wrong(&found.path, format!("`{key}` is an expression, or an object with expressions in it"));
            return None;
        }
        self.template(&found)
    }
}

fn is_literal(template: &Template) -> bool {
    matches!(template, Template::Literal(_))
}
