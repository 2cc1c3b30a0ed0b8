//! `stigmer get`, `list` and `delete`: applied agents and workflows.

use super::execution::name;
use super::run::kind;
use super::{Failure, Outcome, Output, api};
use crate::cli::output::dash;
use crate::cli::time::ago;
use crate::resource::Kind;
use crate::services::client::Client;
use crate::source::to_yaml;
use clap::ValueEnum;
use serde::Serialize;
use stigmer_protocol::api::executions::ExecutionQuery;
use stigmer_protocol::api::resources::ResourceQuery;
use stigmer_protocol::api::{Execution, Resource, StoredResource};
use stigmer_protocol::{ExecutionId, Phase};

#[derive(Debug, clap::Args)]
pub(super) struct GetArgs {
    /// agent or workflow
    #[arg(value_parser = kind)]
    kind: Kind,
    /// Name of the agent or workflow; without it, all of the kind are listed
    #[arg(value_parser = name)]
    name: Option<String>,
    /// Output format; yaml can be applied again, json only for one resource [default for one: yaml]
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
    /// Name of the agent or workflow
    #[arg(value_parser = name)]
    name: String,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// Output of `get KIND -o json`.
#[derive(Serialize)]
struct Resources {
    resources: Vec<Resource>,
}

/// Output of `list --json`.
#[derive(Serialize)]
struct Listing {
    resources: Vec<Listed>,
}

#[derive(Serialize)]
struct Listed {
    #[serde(flatten)]
    resource: StoredResource,
    last_execution: Option<LastExecution>,
}

/// Newest execution of a resource: what a list shows of it.
#[derive(Serialize)]
struct LastExecution {
    id: ExecutionId,
    phase: Phase,
    created: String,
    ended: Option<String>,
}

/// Output of `delete --json`.
#[derive(Serialize)]
struct Deleted<'a> {
    kind: Kind,
    name: &'a str,
    outcome: &'static str,
}

impl GetArgs {
    pub(super) fn run(self) -> Outcome {
        let mut client = api::connect()?;
        let output = Output::new(false);
        let is_one = self.name.is_some();
        let stored = match &self.name {
            Some(name) => vec![client.resources().get(self.kind, name)?],
            None => client.resources().list(&ResourceQuery { kind: Some(self.kind) })?,
        };
        let Some(format) = self.output.or(is_one.then_some(Format::Yaml)) else {
            return table(&mut client, &stored, output).map(|()| 0);
        };
        let resources: Vec<Resource> = stored.into_iter().map(StoredResource::into_resource).collect();
        match (format, resources.as_slice()) {
            (Format::Yaml, _) => {
                let documents: Result<Vec<String>, Failure> = resources.iter().map(document).collect();
                output.text(&documents?.join("---\n"))?;
            }
            // One resource is what can be applied again; it has its format's version in itself.
            (Format::Json, [one]) if is_one => output.line(super::output::json_text(one)?)?,
            (Format::Json, _) => output.json(&Resources { resources })?,
        }
        Ok(0)
    }
}

fn document(resource: &Resource) -> Result<String, Failure> {
    let value = serde_json::to_value(resource).map_err(std::io::Error::from)?;
    Ok(to_yaml(&value))
}

impl ListArgs {
    pub(super) fn run(self) -> Outcome {
        let mut client = api::connect()?;
        let output = Output::new(self.json);
        let stored = client.resources().list(&ResourceQuery::default())?;
        if !output.is_json() {
            return table(&mut client, &stored, output).map(|()| 0);
        }
        let mut resources = Vec::with_capacity(stored.len());
        for resource in stored {
            let last_execution = last_execution(&mut client, &resource)?;
            resources.push(Listed { resource, last_execution });
        }
        output.json(&Listing { resources })?;
        Ok(0)
    }
}

fn last_execution(client: &mut Client, resource: &StoredResource) -> Result<Option<LastExecution>, Failure> {
    let query = ExecutionQuery {
        kind: Some(resource.kind),
        name: Some(resource.metadata.name.clone()),
        limit: Some(1),
        ..ExecutionQuery::default()
    };
    let newest = client.executions().list(&query)?.into_iter().next();
    let of = |Execution { id, phase, created, ended, .. }| LastExecution { id, phase, created, ended };
    Ok(newest.map(of))
}

fn table(client: &mut Client, stored: &[StoredResource], output: Output) -> Result<(), Failure> {
    if stored.is_empty() {
        output.note("no agents or workflows found");
        output.hint("run `stigmer apply -f FILE` to add some");
        return Ok(());
    }
    let mut rows = vec![["KIND", "NAME", "UPDATED", "LAST EXECUTION", "PHASE"].map(str::to_owned)];
    for one in stored {
        let last = last_execution(client, one)?;
        rows.push([
            one.kind.word().to_owned(),
            one.metadata.name.clone(),
            format!("{} ago", ago(&one.updated)),
            dash(last.as_ref().map(|last| &last.id)),
            dash(last.as_ref().map(|last| last.phase.word())),
        ]);
    }
    Ok(output.table(&rows)?)
}

impl DeleteArgs {
    pub(super) fn run(self) -> Outcome {
        let output = Output::new(self.json);
        let Self { kind, name, .. } = self;
        api::connect()?.resources().delete(kind, &name)?;
        if output.is_json() {
            output.json(&Deleted { kind, name: &name, outcome: "deleted" })?;
        } else {
            output.line(format_args!("{kind} {name} deleted"))?;
        }
        Ok(0)
    }
}
