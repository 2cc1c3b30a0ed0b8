//! What was applied: names, and the definitions they mean now.
//!
//! A definition is never changed or removed, because executions keep the one they began with; a name is only a pointer to one.

use super::refusal::Refusal;
use rusqlite::{Connection, OptionalExtension, params};
use stigmer_protocol::Kind;
use stigmer_protocol::api::resources::{
    API_VERSION, Applied, ApplyOutcome, Metadata, Resource, StoredResource,
};
use stigmer_protocol::time::now;

/// Lets a name mean what the resource says. The resource was checked.
pub fn put(tx: &Connection, resource: &Resource) -> Result<Applied, Refusal> {
    let (kind, name, digest) = (resource.kind, &resource.metadata.name, resource.digest());
    let known: Option<String> = tx
        .query_row("SELECT digest FROM resource WHERE kind = ?1 AND name = ?2", [kind.word(), name], |row| {
            row.get(0)
        })
        .optional()?;
    if known.as_deref() == Some(digest.as_str()) {
        return Ok(Applied { outcome: ApplyOutcome::Unchanged, digest });
    }
    tx.execute(
        "INSERT OR IGNORE INTO definition (digest, kind, spec) VALUES (?1, ?2, ?3)",
        params![digest.as_str(), kind.word(), resource.spec.to_string()],
    )?;
    tx.execute(
        "INSERT INTO resource (kind, name, digest, created, updated) VALUES (?1, ?2, ?3, ?4, ?4)
         ON CONFLICT (kind, name) DO UPDATE SET digest = excluded.digest, updated = excluded.updated",
        params![kind.word(), name, digest.as_str(), now()],
    )?;
    let outcome = if known.is_some() { ApplyOutcome::Updated } else { ApplyOutcome::Created };
    Ok(Applied { outcome, digest })
}

/// The resources, of one kind if it is given, of one name if it is given, by kind and name.
pub fn list(tx: &Connection, kind: Option<Kind>, name: Option<&str>) -> Result<Vec<StoredResource>, Refusal> {
    let mut statement = tx.prepare_cached(
        "SELECT r.kind, r.name, r.digest, r.created, r.updated, d.spec
         FROM resource r JOIN definition d USING (digest)
         WHERE (?1 IS NULL OR r.kind = ?1) AND (?2 IS NULL OR r.name = ?2) ORDER BY r.kind, r.name",
    )?;
    let rows = statement.query_map(params![kind.map(Kind::word), name], |row| {
        let strings: [String; 6] =
            [row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?];
        Ok(strings)
    })?;
    rows.map(|row| {
        let [kind, name, digest, created, updated, spec] = row?;
        let kind = kind.parse().map_err(Refusal::internal)?;
        Ok(StoredResource {
            api_version: API_VERSION.to_owned(),
            kind,
            metadata: Metadata { name },
            spec: serde_json::from_str(&spec)?,
            digest: digest.into(),
            created,
            updated,
        })
    })
    .collect()
}

/// One resource.
///
/// # Errors
/// There is none.
pub fn find(tx: &Connection, kind: Kind, name: &str) -> Result<StoredResource, Refusal> {
    list(tx, Some(kind), Some(name))?.pop().ok_or_else(|| missing(kind, name))
}

/// Forgets a name. Executions that run keep their definition.
///
/// # Errors
/// There is none.
pub fn delete(tx: &Connection, kind: Kind, name: &str) -> Result<(), Refusal> {
    match tx.execute("DELETE FROM resource WHERE kind = ?1 AND name = ?2", [kind.word(), name])? {
        0 => Err(missing(kind, name)),
        _ => Ok(()),
    }
}

fn missing(kind: Kind, name: &str) -> Refusal {
    Refusal::missing(format!("there is no {kind} `{name}`")).hint("`stigmer list` shows what there is")
}
