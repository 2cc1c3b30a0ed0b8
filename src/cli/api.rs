//! Asking the server on behalf of a command, and its refusals in words for people.

use super::server::failure::{barred, hung};
use super::{Exit, Failure};
use crate::home::Home;
use crate::services::client::{Api, ApiError, Locate};
use crate::supervise::client::{Found, look};
use crate::supervise::last_end::{LastEnd, Why};
use serde_json::Value;
use stigmer_protocol::token::Token;

/// Among so many of the newest executions an abbreviated id is looked up.
const LOOKED_THROUGH: u32 = 200;

/// The length of a whole id.
const ID: usize = 26;

/// The server of this home.
pub(super) fn find() -> Result<Api, Failure> {
    Ok(Api::new(Box::new(Installation(Home::from_env()?)))?)
}

/// Locates the server of a home through its supervisor.
#[derive(Debug)]
struct Installation(Home);

impl Locate for Installation {
    fn url(&self) -> Result<String, ApiError> {
        match look(&self.0) {
            Found::Up(status) if status.stopping => Err(ApiError::Down),
            Found::Up(status) => status.url.ok_or(ApiError::NotReady),
            Found::Absent | Found::Crashed { .. } => Err(ApiError::Down),
            Found::Hung { pid } => Err(ApiError::Hung { pid }),
            Found::Barred { pid, error } => Err(ApiError::Barred { pid, source: error }),
        }
    }

    fn token(&self) -> Result<Token, ApiError> {
        Token::read(&self.0.run().join("token")).map_err(ApiError::Token)
    }

    fn was_stopped(&self) -> bool {
        // The next start removes this record.
        match LastEnd::read(&self.0).map(|end| end.why) {
            Some(Why::Asked { by }) => by.is_none_or(|by| by.starts_with("server stop")),
            Some(Why::StartFailed { .. }) => true,
            Some(Why::Signal { .. } | Why::Crashed) | None => false,
        }
    }
}

/// The whole id of the execution that `text` means: an id, or the beginning or end of one that no other recent one has.
pub(super) fn execution_id(api: &mut Api, text: &str) -> Result<String, Failure> {
    let nothing = |words: &str| {
        Failure::new(Exit::Unavailable, format!("there is no execution {words}`{text}`"))
            .hint("`stigmer execution list` shows what there is")
    };
    // It becomes part of an address.
    let is_part = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if !is_part || text.len() > ID {
        return Err(nothing(""));
    }
    let part = text.to_ascii_lowercase();
    if part.len() == ID {
        return Ok(part);
    }
    let page: Value = api.get(&format!("/v1/executions?limit={LOOKED_THROUGH}"))?;
    let ids = page["executions"].as_array().into_iter().flatten().filter_map(|one| one["id"].as_str());
    let found: Vec<&str> = ids.filter(|id| id.starts_with(&part) || id.ends_with(&part)).collect();
    match found.as_slice() {
        [only] => Ok((*only).to_owned()),
        [] => Err(nothing("whose id begins or ends with ")),
        several => {
            let message = format!("{} executions have ids that begin or end with `{text}`", several.len());
            Err(several
                .iter()
                .take(5)
                .fold(Failure::new(Exit::Usage, message), |failure, id| failure.cause(*id))
                .hint("give more of it"))
        }
    }
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        match error {
            ApiError::Down => Self::from_error(Exit::NotRunning, &error).hint("`stigmer server` starts it"),
            ApiError::Hung { pid } => hung(pid),
            ApiError::Barred { pid, source } => barred(pid, source),
            ApiError::NotReady => Self::from_error(Exit::Busy, &error)
                .hint("`stigmer server status` says how far it is; then ask again"),
            ApiError::Refused { status, ref hint, .. } => {
                let exit = match status {
                    400 => Exit::Usage,
                    401 => Exit::Forbidden,
                    404 => Exit::Unavailable,
                    413 | 422 => Exit::Damaged,
                    503 => Exit::Busy,
                    507 => Exit::Io,
                    _ => Exit::Failed,
                };
                let failure = Self::from_error(exit, &error);
                match hint {
                    Some(hint) => failure.hint(hint),
                    None => failure,
                }
            }
            ApiError::Unreachable { .. } => Self::from_error(Exit::Failed, &error)
                .hint("`stigmer server status` says how it is; `stigmer server logs --component stigmer-server` what it says"),
            ApiError::Strange(_) => Self::from_error(Exit::Failed, &error)
                .hint("the server is of another version: `stigmer server restart` moves over to this one"),
            ApiError::Token(source) => Self::from(source),
        }
    }
}
