//! YAML (1.2, core schema) as JSON values that know where in the text they stood.
//!
//! What is written by people and means nothing as JSON is an error here: keys that are no text, keys given twice, tags, infinities.
//! An alias is a copy, and what all copies come to is limited, so that a short text cannot become a large value.

use super::Mistake;
use crate::pointer::escape;
use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Span, Tag};
use serde_json::{Map, Number, Value};
use std::collections::HashMap;

/// Values of one text, those in values included.
const MOST_VALUES: usize = 100_000;

/// Lists and mappings inside of each other.
const DEEPEST: usize = 100;

/// One document of a text.
#[derive(Debug)]
pub(super) struct Document {
    /// What it says.
    pub(super) value: Value,
    /// Where each part of it begins, by its pointer (RFC 6901): a member of a mapping at its key.
    places: HashMap<String, Place>,
}

/// A place in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// The first line is 1.
    pub(super) line: usize,
    /// The first character is 1.
    pub(super) column: usize,
}

impl From<Marker> for Place {
    fn from(marker: Marker) -> Self {
        Self { line: marker.line(), column: marker.col() + 1 }
    }
}

impl Document {
    /// A document whose text was not followed.
    pub(super) fn somewhere(value: Value) -> Self {
        Self { value, places: HashMap::new() }
    }

    /// Where `pointer` points to, or what it would be a part of.
    pub(super) fn place(&self, pointer: &str) -> Place {
        let mut pointer = pointer;
        loop {
            if let Some(place) = self.places.get(pointer) {
                return *place;
            }
            match pointer.rfind('/') {
                Some(end) => pointer = &pointer[..end],
                None => return Place { line: 1, column: 1 },
            }
        }
    }
}

/// The documents of `text`, without those that say nothing.
pub(super) fn documents(text: &str) -> Result<Vec<Document>, Mistake> {
    let mut reading = Reading::default();
    for event in Parser::new_from_str(text).keep_tags(true) {
        let (event, span) = event.map_err(|error| Mistake::at((*error.marker()).into(), error.info()))?;
        reading.take(event, span)?;
    }
    Ok(reading.documents)
}

/// A list or a mapping that has begun.
struct Open {
    pointer: String,
    anchor: usize,
    content: Content,
}

enum Content {
    List(Vec<Value>),
    Mapping(Map<String, Value>, Option<String>),
}

#[derive(Default)]
struct Reading {
    documents: Vec<Document>,
    places: HashMap<String, Place>,
    open: Vec<Open>,
    /// What aliases mean, with how many values each is.
    anchors: HashMap<usize, (Value, usize)>,
    values: usize,
}

impl Reading {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Mistake> {
        let place = Place::from(span.start);
        match event {
            Event::DocumentStart(_) => {
                self.places.clear();
                self.anchors.clear();
            }
            Event::Scalar(text, style, anchor, tag) => {
                let is_key = self.awaits_key();
                let value = scalar(&text, style, tag.as_deref(), is_key)
                    .map_err(|message| Mistake::at(place, message))?;
                self.add(value, anchor, place)?;
            }
            Event::Alias(anchor) => {
                let (value, size) = self
                    .anchors
                    .get(&anchor)
                    .cloned()
                    .ok_or_else(|| Mistake::at(place, "this alias means itself"))?;
                self.values += size;
                self.add(value, 0, place)?;
            }
            Event::SequenceStart(anchor, tag) => {
                self.begin(Content::List(Vec::new()), anchor, tag.as_deref(), "seq", place)?;
            }
            Event::MappingStart(anchor, tag) => {
                self.begin(Content::Mapping(Map::new(), None), anchor, tag.as_deref(), "map", place)?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(place)?,
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
        }
        Ok(())
    }

    fn awaits_key(&self) -> bool {
        matches!(self.open.last(), Some(Open { content: Content::Mapping(_, None), .. }))
    }

    /// The pointer of the value that comes next.
    fn pointer(&self) -> String {
        match self.open.last() {
            None => String::new(),
            Some(Open { pointer, content: Content::List(items), .. }) => format!("{pointer}/{}", items.len()),
            Some(Open { pointer, content: Content::Mapping(_, key), .. }) => {
                format!("{pointer}/{}", escape(key.as_deref().unwrap_or_default()))
            }
        }
    }

    fn begin(
        &mut self,
        content: Content,
        anchor: usize,
        tag: Option<&Tag>,
        own: &str,
        place: Place,
    ) -> Result<(), Mistake> {
        if self.awaits_key() {
            return Err(Mistake::at(place, "a key is a text, not a list or a mapping"));
        }
        if let Some(tag) = tag.filter(|tag| !(tag.is_yaml_core_schema() && tag.suffix == own)) {
            return Err(Mistake::at(place, unknown_tag(tag)));
        }
        if self.open.len() == DEEPEST {
            return Err(Mistake::at(place, format!("this is more than {DEEPEST} levels deep")));
        }
        let pointer = self.pointer();
        self.places.entry(pointer.clone()).or_insert(place);
        self.open.push(Open { pointer, anchor, content });
        Ok(())
    }

    fn end(&mut self, place: Place) -> Result<(), Mistake> {
        let Some(Open { anchor, content, .. }) = self.open.pop() else { return Ok(()) };
        let value = match content {
            Content::List(items) => Value::Array(items),
            Content::Mapping(members, _) => Value::Object(members),
        };
        self.add(value, anchor, place)
    }

    /// A whole value, at its place in what is open, or as a document.
    fn add(&mut self, value: Value, anchor: usize, place: Place) -> Result<(), Mistake> {
        self.values += 1;
        if self.values > MOST_VALUES {
            return Err(Mistake::at(place, format!("this text comes to more than {MOST_VALUES} values")));
        }
        if anchor > 0 {
            let size = count(&value);
            self.anchors.insert(anchor, (value.clone(), size));
        }
        let pointer = self.pointer();
        match self.open.last_mut() {
            None => {
                self.places.entry(pointer).or_insert(place);
                let places = std::mem::take(&mut self.places);
                if !value.is_null() {
                    self.documents.push(Document { value, places });
                }
            }
            Some(Open { content: Content::List(items), .. }) => {
                self.places.entry(pointer).or_insert(place);
                items.push(value);
            }
            Some(Open { content: Content::Mapping(members, waiting), .. }) => {
                if let Some(key) = waiting.take() {
                    members.insert(key, value);
                    return Ok(());
                }
                let Value::String(key) = value else {
                    return Err(Mistake::at(place, "a key is a text: put it in quotes"));
                };
                if members.contains_key(&key) {
                    return Err(Mistake::at(place, format!("the key `{key}` is here already")));
                }
                *waiting = Some(key);
                let pointer = self.pointer();
                self.places.insert(pointer, place);
            }
        }
        Ok(())
    }
}

fn count(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(count).sum::<usize>(),
        Value::Object(members) => 1 + members.values().map(count).sum::<usize>(),
        _ => 1,
    }
}

fn unknown_tag(tag: &Tag) -> String {
    format!("the tag `{}{}` means nothing here", tag.handle, tag.suffix)
}

/// What a scalar is: text if it is in quotes, a block, tagged as text, or nothing else. Keys that look like something else are
/// text as well, as they have to be in JSON.
fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>, is_key: bool) -> Result<Value, String> {
    match tag {
        Some(tag) if tag.is_yaml_core_schema() && tag.suffix == "str" => return Ok(text.into()),
        Some(tag) => return Err(unknown_tag(tag)),
        None => {}
    }
    if style != ScalarStyle::Plain || is_key {
        return Ok(text.into());
    }
    Ok(match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => true.into(),
        "false" | "False" | "FALSE" => false.into(),
        _ => number(text)?.map_or_else(|| text.into(), Value::Number),
    })
}

fn number(text: &str) -> Result<Option<Number>, String> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN") {
        return Err(format!("`{text}` is no number that JSON has"));
    }
    let too_long = || format!("`{text}` is too large a number; put it in quotes if it is a text");
    for (prefix, radix) in [("0o", 8), ("0x", 16)] {
        if let Some(digits) = text.strip_prefix(prefix)
            && !digits.is_empty()
            && digits.chars().all(|digit| digit.is_digit(radix))
        {
            return u64::from_str_radix(digits, radix).map(|n| Some(n.into())).map_err(|_| too_long());
        }
    }
    if !unsigned.is_empty() && unsigned.bytes().all(|byte| byte.is_ascii_digit()) {
        let text = text.strip_prefix('+').unwrap_or(text);
        let whole = text.parse::<u64>().map(Number::from).or_else(|_| text.parse::<i64>().map(Number::from));
        return whole.map(Some).map_err(|_| too_long());
    }
    let is_float = unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && unsigned.contains(|c: char| c.is_ascii_digit())
        && unsigned.bytes().all(|byte| byte.is_ascii_digit() || b".eE+-".contains(&byte));
    match unsigned.parse::<f64>() {
        Ok(_) if is_float => Ok(Some(text.parse().ok().and_then(Number::from_f64).ok_or_else(too_long)?)),
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn value(text: &str) -> Value {
        let mut documents = documents(text).unwrap_or_else(|mistake| panic!("{text}: {mistake}"));
        assert_eq!(documents.len(), 1, "{text}");
        documents.remove(0).value
    }

    fn mistake(text: &str) -> String {
        documents(text).expect_err(text).to_string()
    }

    #[test]
    fn scalars_are_what_the_core_schema_says() {
        for (text, expected) in [
            ("1", json!(1)),
            ("-7", json!(-7)),
            ("+7", json!(7)),
            ("0x1F", json!(31)),
            ("0o17", json!(15)),
            ("18446744073709551615", json!(u64::MAX)),
            ("1.5", json!(1.5)),
            (".5", json!(0.5)),
            ("1e3", json!(1000.0)),
            ("true", json!(true)),
            ("no", json!("no")),
            ("1.2.3", json!("1.2.3")),
            ("1-2", json!("1-2")),
            ("2026-01-31", json!("2026-01-31")),
            ("10m", json!("10m")),
            ("e5", json!("e5")),
            ("infinity", json!("infinity")),
            ("'1'", json!("1")),
            ("\"null\"", json!("null")),
            ("!!str 1", json!("1")),
            ("[a, ~, ]", json!(["a", null])),
            ("|\n  a\n  b\n", json!("a\nb\n")),
            ("{1: a, true: b}", json!({"1": "a", "true": "b"})),
            ("a: &x {b: 1}\nc: *x\n", json!({"a": {"b": 1}, "c": {"b": 1}})),
            ("{\"a\":\t[1,\n\t2]}", json!({"a": [1, 2]})),
        ] {
            assert_eq!(value(text), expected, "{text}");
        }
        assert!(documents("# nothing\n---\n---\n...\n").unwrap().is_empty());
    }

    #[test]
    fn what_means_nothing_is_an_error_at_its_place() {
        for (text, expected) in [
            ("a: 1\nb: [1, 2\n", "3:1"),
            ("a: 1\n a: 2\n", "2:"),
            ("a: 1\nb: 2\na: 3\n", "3:1: the key `a` is here already"),
            ("a: !secret x\n", "1:4: the tag"),
            ("a: .inf\n", "1:4: `.inf` is no number"),
            ("a: 99999999999999999999\n", "1:4: `99999999999999999999` is too large"),
            ("? [a]\n: b\n", "1:3: a key is a text"),
            ("a: *x\n", "1:"),
            ("a: &x [*x]\n", "1:8: this alias means itself"),
        ] {
            let said = mistake(text);
            assert!(said.starts_with(expected), "{text:?}: {said}");
        }
    }

    #[test]
    fn a_short_text_does_not_become_a_large_value() {
        let mut laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for n in 1..10 {
            let before = format!("*a{}, ", n - 1).repeat(10);
            laughs.extend([format!("a{n}: &a{n} [{before}]\n")]);
        }
        assert!(mistake(&laughs).contains("more than 100000 values"));
        assert!(mistake(&"[".repeat(150)).contains("levels deep"));
        // From some depth on it is the parser that gives up.
        mistake(&"[".repeat(100_000));
        let nested = "- ".repeat(5000);
        assert!(mistake(&nested).contains("levels deep"));
    }

    #[test]
    fn parts_are_found_where_they_stand() {
        let text = "a: 1\nb:\n  - x: 1\n  - y: 1\n    z/~: 3\n---\nc: 2\n";
        let documents = documents(text).unwrap();
        let place = |pointer| {
            let Place { line, column } = documents[0].place(pointer);
            (line, column)
        };
        assert_eq!(place("/a"), (1, 1));
        assert_eq!(place("/b/1"), (4, 5));
        assert_eq!(place("/b/1/z~1~0"), (5, 5));
        assert_eq!(place("/b/1/absent/more"), (4, 5), "what it would be a part of");
        assert_eq!(documents[1].place("/c"), Place { line: 7, column: 1 });
    }
}
