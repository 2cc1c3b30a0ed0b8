//! What was applied.

use super::extract::{Body, Path, Query};
use super::{App, Refusal};
use crate::services::server::resources;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use stigmer_protocol::api::ProblemType;
use stigmer_protocol::api::resources::{Applied, Resource, ResourceList, ResourceQuery, StoredResource};
use stigmer_protocol::{Kind, KindPlural};

pub(super) async fn put(
    State(app): State<App>,
    Path((plural, name)): Path<(KindPlural, String)>,
    Body(resource): Body<Resource>,
) -> Result<Json<Applied>, Refusal> {
    let kind = Kind::from(plural);
    if resource.kind != kind || resource.metadata.name != name {
        return Err(Refusal::bad(format!(
            "the body is the {} `{}`, but the path names the {kind} `{name}`",
            resource.kind, resource.metadata.name
        )));
    }
    if let Err(problems) = crate::resource::check(&resource) {
        let words: Vec<String> = problems.iter().map(ToString::to_string).collect();
        return Err(Refusal::new(ProblemType::InvalidResource, words.join("; ")));
    }
    app.store.write(move |tx| resources::put(tx, &resource)).await.map(Json)
}

pub(super) async fn find(
    State(app): State<App>,
    Path((plural, name)): Path<(KindPlural, String)>,
) -> Result<Json<StoredResource>, Refusal> {
    let kind = Kind::from(plural);
    app.store.read(move |tx| resources::find(tx, kind, &name)).await.map(Json)
}

pub(super) async fn delete(
    State(app): State<App>,
    Path((plural, name)): Path<(KindPlural, String)>,
) -> Result<StatusCode, Refusal> {
    let kind = Kind::from(plural);
    app.store.write(move |tx| resources::delete(tx, kind, &name)).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn list(
    State(app): State<App>,
    Query(ResourceQuery { kind }): Query<ResourceQuery>,
) -> Result<Json<ResourceList>, Refusal> {
    let resources = app.store.read(move |tx| resources::list(tx, kind)).await?;
    Ok(Json(ResourceList { resources }))
}
