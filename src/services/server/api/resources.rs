//! What was applied.

use super::{App, Refusal, parse};
use crate::resource::{Kind, Resource};
use crate::services::server::resources::{self, Shown};
use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

fn kind_of(plural: &str) -> Result<Kind, Refusal> {
    Kind::ALL
        .into_iter()
        .find(|kind| kind.plural() == plural)
        .ok_or_else(|| Refusal::missing(format!("there are no `{plural}`; there are agents and workflows")))
}

pub(super) async fn put(
    State(app): State<App>,
    Path((plural, name)): Path<(String, String)>,
    body: Bytes,
) -> Result<Json<Value>, Refusal> {
    let kind = kind_of(&plural)?;
    let resource: Resource = parse(&body)?;
    if resource.kind != kind || resource.metadata.name != name {
        return Err(Refusal::bad(format!(
            "this is the {} `{}`, and it was sent as the {kind} `{name}`",
            resource.kind, resource.metadata.name
        )));
    }
    if let Err(problems) = resource.check() {
        let words: Vec<String> = problems.iter().map(ToString::to_string).collect();
        return Err(Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, words.join("; ")));
    }
    let (outcome, digest) = app.store.write(move |tx| resources::put(tx, &resource)).await?;
    Ok(Json(json!({"outcome": outcome, "digest": digest})))
}

pub(super) async fn find(
    State(app): State<App>,
    Path((plural, name)): Path<(String, String)>,
) -> Result<Json<Shown>, Refusal> {
    let kind = kind_of(&plural)?;
    app.store.read(move |tx| resources::find(tx, kind, &name)).await.map(Json)
}

pub(super) async fn delete(
    State(app): State<App>,
    Path((plural, name)): Path<(String, String)>,
) -> Result<StatusCode, Refusal> {
    let kind = kind_of(&plural)?;
    app.store.write(move |tx| resources::delete(tx, kind, &name)).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Filter {
    kind: Option<String>,
}

pub(super) async fn list(
    State(app): State<App>,
    Query(filter): Query<Filter>,
) -> Result<Json<Value>, Refusal> {
    let kind = filter.kind.map(|kind| kind.parse::<Kind>()).transpose().map_err(Refusal::bad)?;
    let resources = app.store.read(move |tx| resources::list(tx, kind, None)).await?;
    Ok(Json(json!({ "resources": resources })))
}
