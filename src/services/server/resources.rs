//! What was applied: names, and the definitions they mean now.
//!
//! A definition is never changed, because executions keep the one they began with; a name is only a pointer to one. It is removed when
//! neither a name nor an execution refers to it any more.

use super::refusal::Refusal;
use super::store::Tx;
use super::store::statements::{
    DEFINITION_FORGET, DEFINITION_INSERT, RESOURCE_DEFINITION, RESOURCE_DELETE, RESOURCE_FIND, RESOURCE_PUT,
    RESOURCES, RESOURCES_OF_KIND,
};
use rusqlite::{Row, params};
use stigmer_protocol::api::resources::{
    API_VERSION, Applied, ApplyOutcome, Metadata, Resource, StoredResource,
};
use stigmer_protocol::time::now;
use stigmer_protocol::{DefinitionDigest, Kind};

/// Lets a name mean what the resource says. The resource was checked.
pub fn put(tx: &Tx, resource: &Resource) -> Result<Applied, Refusal> {
    let (kind, name, digest) = (resource.kind, &resource.metadata.name, resource.digest());
    let known = definition(tx, kind, name)?;
    if known.as_ref().is_some_and(|(_, known)| *known == digest) {
        return Ok(Applied { outcome: ApplyOutcome::Unchanged, digest });
    }
    tx.execute(DEFINITION_INSERT, params![digest.as_str(), kind.word(), resource.spec.to_string()])?;
    tx.execute(RESOURCE_PUT, params![kind.word(), name, digest.as_str(), now()])?;
    let Some((old, _)) = known else { return Ok(Applied { outcome: ApplyOutcome::Created, digest }) };
    tx.execute(DEFINITION_FORGET, [old])?;
    Ok(Applied { outcome: ApplyOutcome::Updated, digest })
}

/// The definition that a name means now: its key and its digest.
fn definition(tx: &Tx, kind: Kind, name: &str) -> Result<Option<(i64, DefinitionDigest)>, Refusal> {
    let read = |row: &Row<'_>| Ok((row.get(0)?, row.get::<_, String>(1)?.into()));
    Ok(tx.first(RESOURCE_DEFINITION, params![kind.word(), name], read)?)
}

fn strings(row: &Row<'_>) -> rusqlite::Result<[String; 6]> {
    Ok([row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?])
}

fn stored([kind, name, digest, created, updated, spec]: [String; 6]) -> Result<StoredResource, Refusal> {
    Ok(StoredResource {
        api_version: API_VERSION.to_owned(),
        kind: kind.parse().map_err(Refusal::internal)?,
        metadata: Metadata { name },
        spec: serde_json::from_str(&spec)?,
        digest: digest.into(),
        created,
        updated,
    })
}

/// All resources, or those of one kind, by kind and name.
pub fn list(tx: &Tx, kind: Option<Kind>) -> Result<Vec<StoredResource>, Refusal> {
    let rows = match kind {
        Some(kind) => tx.all(RESOURCES_OF_KIND, [kind.word()], strings)?,
        None => tx.all(RESOURCES, [], strings)?,
    };
    rows.into_iter().map(stored).collect()
}

/// One resource.
///
/// # Errors
/// There is none.
pub fn find(tx: &Tx, kind: Kind, name: &str) -> Result<StoredResource, Refusal> {
    let found = tx.first(RESOURCE_FIND, params![kind.word(), name], strings)?;
    stored(found.ok_or_else(|| missing(kind, name))?)
}

/// Deletes a name. Executions that run keep their definition.
///
/// # Errors
/// There is none.
pub fn delete(tx: &Tx, kind: Kind, name: &str) -> Result<(), Refusal> {
    let (old, _) = definition(tx, kind, name)?.ok_or_else(|| missing(kind, name))?;
    tx.execute(RESOURCE_DELETE, params![kind.word(), name])?;
    tx.execute(DEFINITION_FORGET, [old])?;
    Ok(())
}

fn missing(kind: Kind, name: &str) -> Refusal {
    Refusal::missing(format!("{kind} `{name}` not found"))
        .hint("`stigmer list` shows all agents and workflows")
}
