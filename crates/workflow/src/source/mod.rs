//! Files that people write, as resources and with the place of every mistake.
//!
//! YAML is read, and with it JSON, which is a part of it. A document is a resource, or a bare workflow in the Serverless Workflow
//! language, which is one that is named by itself.

pub mod fuzzing;
mod write;
mod yaml;

pub use write::to_yaml;

use crate::definition::check;
use crate::problem::{Problem, read_strictly};
use crate::resource::{API_VERSION, Kind, Metadata, Resource, check_name};
use serde_json::Value;
use std::fmt;
use yaml::{Document, Place};

/// A longer file is not read, in bytes: the server takes no longer request.
pub const LONGEST: usize = 1024 * 1024;

/// A resource, and where it begins in its text.
#[derive(Debug, Clone, PartialEq)]
pub struct Written {
    /// The resource, checked.
    pub resource: Resource,
    /// The line it begins in; the first is 1.
    pub line: usize,
}

/// What is wrong, and where in the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// The first line is 1.
    pub line: usize,
    /// The first character is 1.
    pub column: usize,
    /// What is wrong, and what would be right.
    pub message: String,
}

impl Mistake {
    fn at(Place { line, column }: Place, message: impl Into<String>) -> Self {
        Self { line, column, message: message.into() }
    }
}

impl fmt::Display for Mistake {
    /// As compilers say it, to be put behind the name of the file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.column, self.message)
    }
}

/// Reads all resources in `text` strictly.
///
/// # Errors
/// Every mistake that was found, in the order of the text.
pub fn read(text: &str) -> Result<Vec<Written>, Vec<Mistake>> {
    let (mut written, mut mistakes) = (Vec::new(), Vec::new());
    for document in documents(text).map_err(|mistake| vec![mistake])? {
        match resource(&document) {
            Ok(resource) => written.push(Written { resource, line: document.place("").line }),
            Err(found) => mistakes.extend(found),
        }
    }
    mistakes.sort_by_key(|mistake| (mistake.line, mistake.column));
    if mistakes.is_empty() { Ok(written) } else { Err(mistakes) }
}

/// Reads one value that is no resource: an input, for one.
///
/// # Errors
/// It is none, or there are several.
pub fn read_value(text: &str) -> Result<Value, Mistake> {
    let mut documents = documents(text)?.into_iter();
    match (documents.next(), documents.next()) {
        (Some(only), None) => Ok(only.value),
        (None, _) => Ok(Value::Null),
        (Some(_), Some(second)) => Err(Mistake::at(second.place(""), "there is one document too many")),
    }
}

fn documents(text: &str) -> Result<Vec<Document>, Mistake> {
    yaml::documents(text).or_else(|mistake| {
        // JSON writes what is beyond the basic plane in two halves, which YAML does not know.
        match serde_json::from_str(text) {
            Ok(value) => Ok(vec![Document::somewhere(value)]),
            Err(_) => Err(mistake),
        }
    })
}

fn resource(document: &Document) -> Result<Resource, Vec<Mistake>> {
    let value = &document.value;
    let is_bare =
        (value["document"].is_object() || value["do"].is_array()) && value.get("apiVersion").is_none();
    let found = match value.is_object() {
        true if is_bare => bare(value),
        true => read_strictly(value, ""),
        false => Err(Problem::new("", "a resource has `apiVersion`, `kind`, `metadata` and `spec`")),
    };
    let checked = found
        .map_err(|problem| vec![problem])
        .and_then(|resource: Resource| check(&resource).map(|()| resource));
    checked.map_err(|problems| {
        let place = |problem: &Problem| {
            // What stands at the top of a bare workflow is the spec of the resource.
            let path = problem.path.strip_prefix("/spec").filter(|_| is_bare).unwrap_or(&problem.path);
            document.place(path)
        };
        problems.iter().map(|problem| Mistake::at(place(problem), problem.message.clone())).collect()
    })
}

/// The workflow that a document of the Serverless Workflow language is.
fn bare(value: &Value) -> Result<Resource, Problem> {
    let name = value["document"]["name"]
        .as_str()
        .ok_or_else(|| Problem::new("/document", "a workflow has a `name` in its `document`"))?;
    check_name(name).map_err(|message| Problem::new("/document/name", message))?;
    let metadata = Metadata { name: name.to_owned() };
    Ok(Resource { api_version: API_VERSION.to_owned(), kind: Kind::Workflow, metadata, spec: value.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mistakes(text: &str) -> Vec<String> {
        read(text).expect_err(text).iter().map(ToString::to_string).collect()
    }

    const HELLO: &str = "apiVersion: stigmer.ai/v1\nkind: Agent\nmetadata: {name: hello}\n";

    #[test]
    fn several_documents_are_several_resources() {
        let text = format!("# two of them\n---\n{HELLO}spec:\n  instructions: hi\n---\n{HELLO}spec: {{}}\n");
        let read = read(&text).unwrap();
        assert_eq!(read.iter().map(|one| one.line).collect::<Vec<_>>(), [3, 9]);
        assert_eq!(read[0].resource.spec["instructions"], "hi");
    }

    #[test]
    fn json_is_read_as_well() {
        let text = r#"{"apiVersion": "stigmer.ai/v1", "kind": "Agent", "metadata": {"name": "a"},
            "spec": {"instructions": "\ud83d\ude00"}}"#;
        assert_eq!(read(text).unwrap()[0].resource.spec["instructions"], "😀");
    }

    #[test]
    fn a_bare_workflow_is_named_by_itself() {
        let text =
            "document: {dsl: 1.0.0, namespace: n, name: flow, version: 1.0.0}\ndo:\n- one: {set: {a: 1}}\n";
        let read = read(text).unwrap();
        assert_eq!(
            (read[0].resource.kind, read[0].resource.metadata.name.as_str()),
            (Kind::Workflow, "flow")
        );
        assert_eq!(read[0].resource.spec["do"][0]["one"]["set"]["a"], 1);
        let nameless = mistakes("document: {dsl: 1.0.0}\ndo: []\n");
        assert!(nameless[0].starts_with("1:1: a workflow has a `name`"), "{nameless:?}");
        let idle = mistakes("document: {dsl: '1.0', namespace: n, name: flow, version: 1.0.0}\n");
        assert_eq!(idle, ["1:1: a workflow lists its tasks in `do`"]);
        let number = mistakes("document: {dsl: 1.0, namespace: n, name: flow, version: 1.0.0}\ndo: []\n");
        assert!(number[0].starts_with("1:12: `dsl` is a text; 1.0 is none"), "{number:?}");
    }

    #[test]
    fn every_mistake_has_its_line_and_column() {
        for (text, expected) in [
            (format!("{HELLO}spec:\n  instruction: hi\n"), "5:3: unknown field `instruction`"),
            (format!("{HELLO}spec:\n  tools:\n  - read\n  - fly\n"), "7:5: unknown variant `fly`"),
            (format!("{HELLO}spec:\n  limits:\n    steps: 0\n"), "6:5: an agent takes"),
            (format!("{HELLO}spec:\n  limits: {{timeout: soon}}\n"), "5:12: "),
            (format!("{HELLO}spec: {{}}\nstatus: x\n"), "5:1: unknown field `status`"),
            ("kind: Agent\n".to_owned(), "1:1: missing field `apiVersion`"),
            (HELLO.replace("Agent", "Robot"), "2:1: unknown variant `Robot`"),
            (format!("{}spec: {{}}\n", HELLO.replace("hello", "Hello")), "3:12: `Hello` is no name"),
            (format!("{}spec: {{}}\n", HELLO.replace("v1", "v2")), "1:1: unsupported apiVersion"),
            ("- 1\n".to_owned(), "1:1: a resource has"),
            ("just words\n".to_owned(), "1:1: a resource has"),
        ] {
            let said = mistakes(&text);
            assert!(said[0].starts_with(expected), "{text}: {said:?}");
        }
        let both = format!("{HELLO}spec: {{a: 1}}\n---\n{HELLO}spec: {{b: 1}}\n");
        assert_eq!(mistakes(&both).len(), 2, "all are said, not only the first");
    }
}
