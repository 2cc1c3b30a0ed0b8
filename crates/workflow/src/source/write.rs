//! Values as YAML that people like to read, and that reads back as the same value.

use serde_json::Value;
use std::fmt::Write;

/// `value` as a YAML document, with a line's end at its end.
pub fn to_yaml(value: &Value) -> String {
    let mut text = String::new();
    match value {
        Value::Object(members) if !members.is_empty() => members_of(&mut text, value, 0),
        Value::Array(items) if !items.is_empty() => members_of(&mut text, value, 0),
        _ => {
            scalar(&mut text, value, 0);
            text.push('\n');
        }
    }
    text
}

/// The lines of a list or mapping that is not empty, each `depth` steps in.
fn members_of(text: &mut String, value: &Value, depth: usize) {
    let indent = "  ".repeat(depth);
    match value {
        Value::Object(members) => {
            for (key, value) in members {
                text.push_str(&indent);
                line(text, key);
                text.push(':');
                behind(text, value, depth);
            }
        }
        Value::Array(items) => {
            for item in items {
                text.push_str(&indent);
                text.push('-');
                behind(text, item, depth);
            }
        }
        _ => {}
    }
}

/// What stands behind a key or a dash.
fn behind(text: &mut String, value: &Value, depth: usize) {
    let is_long = match value {
        Value::Object(members) => !members.is_empty(),
        Value::Array(items) => !items.is_empty(),
        _ => false,
    };
    if is_long {
        text.push('\n');
        members_of(text, value, depth + 1);
    } else {
        text.push(' ');
        scalar(text, value, depth + 1);
        text.push('\n');
    }
}

fn scalar(text: &mut String, value: &Value, depth: usize) {
    match value {
        Value::String(string) if is_block(string) && depth > 0 => block(text, string, depth),
        Value::String(string) => line(text, string),
        other => {
            let _ = write!(text, "{other}");
        }
    }
}

/// Text in one line: as it is if it cannot be taken for anything else, also not by readers of YAML 1.1; else in quotes.
fn line(text: &mut String, string: &str) {
    const WORDS: [&str; 9] = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    let is_harmless = |c: char| c.is_ascii_alphanumeric() || " _./-".contains(c);
    let is_plain = string.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/')
        && string.chars().all(is_harmless)
        && !string.ends_with(' ')
        && !WORDS.iter().any(|word| word.eq_ignore_ascii_case(string));
    if is_plain {
        text.push_str(string);
        return;
    }
    // JSON's quotes are YAML's; what YAML does not print is escaped as well.
    for c in Value::from(string).to_string().chars() {
        match c {
            '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}' => {
                let _ = write!(text, "\\u{:04x}", c as u32);
            }
            c => text.push(c),
        }
    }
}

/// Whether a text of several lines can stand as such.
fn is_block(string: &str) -> bool {
    let is_unprintable = |c: char| {
        (c.is_control() && c != '\n')
            || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
    };
    string.contains('\n')
        && !string.starts_with([' ', '\n'])
        && !string.contains(is_unprintable)
        && string.lines().all(|line| !line.ends_with(' '))
        && !string.lines().any(|line| line.is_empty() && string.trim().is_empty())
}

fn block(text: &mut String, string: &str, depth: usize) {
    let body = string.trim_end_matches('\n');
    let ends = string.len() - body.len();
    text.push_str(match ends {
        0 => "|-",
        1 => "|",
        _ => "|+",
    });
    let indent = "  ".repeat(depth);
    for line in body.split('\n') {
        text.push('\n');
        if !line.is_empty() {
            text.push_str(&indent);
            text.push_str(line);
        }
    }
    // The line's end behind it is the first one of its own.
    text.push_str(&"\n".repeat(ends.saturating_sub(1)));
}

#[cfg(test)]
mod tests {
    use super::super::read_value;
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn it_is_as_a_person_would_write_it() {
        let value = json!({
            "apiVersion": "stigmer.ai/v1", "kind": "Agent", "metadata": {"name": "hello"},
            "spec": {"instructions": "You are\nkind.\n", "tools": ["read", "write"], "limits": {}, "description": "a: b",
                "model": {"temperature": 0.5, "name": "no"}},
        });
        let expected = "apiVersion: stigmer.ai/v1\nkind: Agent\nmetadata:\n  name: hello\nspec:\n  description: \"a: b\"\n  \
            instructions: |\n    You are\n    kind.\n  limits: {}\n  model:\n    name: \"no\"\n    temperature: 0.5\n  \
            tools:\n    - read\n    - write\n";
        assert_eq!(to_yaml(&value), expected);
    }

    fn anything() -> impl Strategy<Value = Value> {
        let text = prop_oneof![
            any::<String>(),
            "[a-z:#\\- \n\t\"'\\\\|>&*!%@`{}\\[\\],?0-9~.]{0,12}",
            "(a|b| |\n){0,8}",
        ];
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            (-1e6..1e6_f64).prop_map(Value::from),
            text.clone().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec((text.clone(), inner), 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(value in anything()) {
            let text = to_yaml(&value);
            let read = read_value(&text).map_err(|mistake| TestCaseError::fail(format!("{mistake} in {text:?}")))?;
            prop_assert_eq!(read, value, "{}", text);
        }
    }
}
