//! Parameters and bodies of requests, with a problem document for each way they can be wrong.

use super::Refusal;
use axum::body::Bytes;
use axum::extract::path::ErrorKind;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::IntoResponse;
use serde::de::DeserializeOwned;
use stigmer_protocol::api::ProblemType;

/// Parameters in the path.
pub(super) struct Path<T>(pub(super) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        match axum::extract::Path::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(value)) => Ok(Self(value)),
            Err(PathRejection::FailedToDeserializePathParams(error)) => Err(match error.kind() {
                ErrorKind::InvalidUtf8InPathParam { .. } => {
                    Refusal::new(ProblemType::InvalidPath, "invalid path: a parameter is not UTF-8")
                }
                _ => Refusal::missing(format!("path not found: {}", error.body_text())),
            }),
            Err(error) => Err(Refusal::internal(error.body_text())),
        }
    }
}

/// Parameters in the query string.
pub(super) struct Query<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        match axum::extract::Query::from_request_parts(parts, state).await {
            Ok(axum::extract::Query(value)) => Ok(Self(value)),
            Err(error) => {
                let detail = format!("invalid query string: {}", source_text(&error));
                Err(Refusal::new(ProblemType::InvalidQuery, detail))
            }
        }
    }
}

/// A body that is a JSON object, whatever its content type.
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        let bytes = Bytes::from_request(request, state).await.map_err(unread)?;
        let invalid =
            |words: &str| Refusal::new(ProblemType::InvalidBody, format!("invalid request body: {words}"));
        let value = serde_json::from_slice(&bytes).map_err(|error| invalid(&error.to_string()))?;
        // A struct can also be read from an array of its fields, where those that are missing have their defaults.
        if !bytes.trim_ascii_start().starts_with(b"{") {
            return Err(invalid("expected an object"));
        }
        Ok(Self(value))
    }
}

fn unread(error: BytesRejection) -> Refusal {
    let text = error.body_text();
    if error.into_response().status() == StatusCode::PAYLOAD_TOO_LARGE {
        let detail =
            format!("the request body is too large: expected at most {} bytes", super::MAX_BODY_BYTES);
        Refusal::new(ProblemType::BodyTooLarge, detail)
    } else {
        Refusal::new(ProblemType::InvalidBody, format!("cannot read the request body: {text}"))
    }
}

/// Text of the innermost cause; the outer ones only say that something failed.
fn source_text(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
