//! `stigmer get`, `list` and `delete`: what was applied.

use super::apply::address;
use super::execution::name;
use super::run::kind;
use super::{Failure, Outcome, Output, api};
use crate::cli::time::ago;
use crate::resource::Kind;
use crate::resource::source::to_yaml;
use crate::services::client::Api;
use clap::ValueEnum;
use serde_json::{Value, json};
use ureq::http::Method;

#[derive(Debug, clap::Args)]
pub(super) struct GetArgs {
    /// agent or workflow
    #[arg(value_parser = kind)]
    kind: Kind,
    /// Its name; without it, all of the kind are listed
    #[arg(value_parser = name)]
    name: Option<String>,
    /// Print what was applied; yaml can be applied again, json only of one [default for one: yaml]
    #[arg(short, long, value_name = "FORMAT")]
    output: Option<Format>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Yaml,
    Json,
}

#[derive(Debug, clap::Args)]
pub(super) struct ListArgs {
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct DeleteArgs {
    /// agent or workflow
    #[arg(value_parser = kind)]
    kind: Kind,
    /// Its name
    #[arg(value_parser = name)]
    name: String,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// What can be applied again of what the server shows.
fn written(mut shown: Value) -> Value {
    if let Some(members) = shown.as_object_mut() {
        members.retain(|key, _| matches!(key.as_str(), "apiVersion" | "kind" | "metadata" | "spec"));
    }
    shown
}

fn all(api: &mut Api, kind: Option<Kind>) -> Result<Vec<Value>, Failure> {
    let filter = kind.map(|kind| format!("?kind={kind}")).unwrap_or_default();
    let answer: Value = api.get(&format!("/v1/resources{filter}"))?;
    Ok(answer["resources"].as_array().cloned().unwrap_or_default())
}

impl GetArgs {
    pub(super) fn run(self) -> Outcome {
        let mut api = api::find()?;
        let output = Output::new(false);
        let is_one = self.name.is_some();
        let shown = match &self.name {
            Some(name) => vec![api.get(&address(self.kind, name))?],
            None => all(&mut api, Some(self.kind))?,
        };
        match self.output.or(is_one.then_some(Format::Yaml)) {
            None => table(&mut api, &shown, output)?,
            Some(Format::Yaml) => {
                let documents: Vec<String> = shown.into_iter().map(|one| to_yaml(&written(one))).collect();
                output.text(&documents.join("---\n"))?;
            }
            // One is what can be applied again, and says itself what version its shape has.
            Some(Format::Json) if is_one => {
                let one = shown.into_iter().next().map(written).unwrap_or_default();
                output.line(super::output::json_text(&one)?)?;
            }
            Some(Format::Json) => {
                let resources: Vec<Value> = shown.into_iter().map(written).collect();
                output.json(&json!({ "resources": resources }))?;
            }
        }
        Ok(0)
    }
}

impl ListArgs {
    pub(super) fn run(self) -> Outcome {
        let mut api = api::find()?;
        let output = Output::new(self.json);
        let mut shown = all(&mut api, None)?;
        if output.is_json() {
            for one in &mut shown {
                one["last_execution"] = last_execution(&mut api, one)?;
            }
            output.json(&json!({ "resources": shown }))?;
        } else {
            table(&mut api, &shown, output)?;
        }
        Ok(0)
    }
}

/// The newest execution of a resource, or nothing.
fn last_execution(api: &mut Api, shown: &Value) -> Result<Value, Failure> {
    let kind = shown["kind"].as_str().unwrap_or_default().to_ascii_lowercase();
    let name = shown["metadata"]["name"].as_str().unwrap_or_default();
    let page: Value = api.get(&format!("/v1/executions?kind={kind}&name={name}&limit=1"))?;
    let mut last = page["executions"][0].clone();
    // Which one, and what became of it; the rest is shown by `execution get`.
    if let Some(members) = last.as_object_mut() {
        members.retain(|key, _| matches!(key.as_str(), "id" | "phase" | "created" | "ended"));
    }
    Ok(last)
}

fn table(api: &mut Api, shown: &[Value], output: Output) -> Result<(), Failure> {
    if shown.is_empty() {
        output.note("there is nothing yet");
        output.hint("`stigmer apply -f FILE` adds agents and workflows");
        return Ok(());
    }
    let mut rows = vec![["KIND", "NAME", "UPDATED", "LAST EXECUTION", "PHASE"].map(str::to_owned)];
    for one in shown {
        let text = |value: &Value| value.as_str().map_or_else(|| "-".to_owned(), str::to_owned);
        let last = last_execution(api, one)?;
        rows.push([
            text(&one["kind"]).to_ascii_lowercase(),
            text(&one["metadata"]["name"]),
            format!("{} ago", ago(&text(&one["updated"]))),
            text(&last["id"]),
            text(&last["phase"]),
        ]);
    }
    Ok(output.table(&rows)?)
}

impl DeleteArgs {
    pub(super) fn run(self) -> Outcome {
        let output = Output::new(self.json);
        let Self { kind, name, .. } = self;
        api::find()?.call::<Value>(&Method::DELETE, &address(kind, &name), None)?;
        if output.is_json() {
            output.json(&json!({"kind": kind.word(), "name": name, "outcome": "deleted"}))?;
        } else {
            output.line(format_args!("{kind} {name} deleted"))?;
        }
        Ok(0)
    }
}
