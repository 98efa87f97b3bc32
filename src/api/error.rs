//! The one error of the API: problem details (RFC 9457). Internals never leave; they go to the log, under the
//! request's id that the problem names. Deliberately not here: deciding what is refused.

use std::borrow::Cow;

use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::{IntoResponses, ToSchema};

use crate::engine::{self, Refused, RefusedKind};

/// What a door answers.
pub type Answer<T> = Result<T, Error>;

/// Longest text of a parser that is repeated to the caller.
const DETAIL_CHARS_MAX: usize = 300;
/// What a caller is asked to wait when too many uploads are under way.
const RETRY_AFTER_SECONDS: &str = "5";

tokio::task_local! {
    /// The id of the request that is being answered.
    pub(super) static REQUEST_ID: String;
}

/// The id of the request that is being answered; empty outside of one.
pub(super) fn request_id() -> String {
    REQUEST_ID.try_with(Clone::clone).unwrap_or_default()
}

/// Why a request was not done.
#[derive(Debug)]
pub struct Error {
    status: StatusCode,
    code: Cow<'static, str>,
    detail: String,
    extras: Map<String, Value>,
}

/// Problem details as RFC 9457 has them, with a stable code.
#[derive(Debug, Serialize, ToSchema)]
pub struct Problem {
    /// `urn:paymaster:` and the code.
    #[serde(rename = "type")]
    #[schema(example = "urn:paymaster:payroll_unknown")]
    kind: String,
    /// The status in words.
    #[schema(example = "Not Found")]
    title: String,
    /// The HTTP status.
    #[schema(example = 404)]
    status: u16,
    /// What to do about it, for a person.
    detail: String,
    /// Stable, snake case; decide by this.
    #[schema(example = "payroll_unknown")]
    code: String,
    /// Names this request in our log.
    request_id: String,
    /// Facts that belong to the code, such as `payroll`, `declared` and `found` of a refused payroll.
    #[serde(flatten)]
    extras: Map<String, Value>,
}

/// Problems of a request that reads.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "only documents what `Error` becomes")]
pub(super) enum Reading {
    /// A parameter cannot be read: an unknown one, a cursor that was tampered with, a limit out of range.
    #[response(status = 400, content_type = "application/problem+json")]
    Malformed(Problem),
    /// There is no live token with this secret.
    #[response(status = 401, content_type = "application/problem+json")]
    NoToken(Problem),
    /// The token's role may not read this.
    #[response(status = 403, content_type = "application/problem+json")]
    Forbidden(Problem),
    /// It does not exist for this tenant.
    #[response(status = 404, content_type = "application/problem+json")]
    Unknown(Problem),
}

/// Problems of a request that changes something. None of them left anything half done.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "only documents what `Error` becomes")]
pub(super) enum Writing {
    /// The request cannot be read: bad JSON, an unknown or repeated field, a field of another type.
    #[response(status = 400, content_type = "application/problem+json")]
    Malformed(Problem),
    /// There is no live token with this secret.
    #[response(status = 401, content_type = "application/problem+json")]
    NoToken(Problem),
    /// The token's role may not do this (`role_forbidden`), or the person made what they would approve.
    #[response(status = 403, content_type = "application/problem+json")]
    Forbidden(Problem),
    /// It does not exist for this tenant.
    #[response(status = 404, content_type = "application/problem+json")]
    Unknown(Problem),
    /// Not in this state, or somebody was faster.
    #[response(status = 409, content_type = "application/problem+json")]
    Conflict(Problem),
    /// The body is larger than allowed.
    #[response(status = 413, content_type = "application/problem+json")]
    TooLarge(Problem),
    /// The body has another content type than allowed.
    #[response(status = 415, content_type = "application/problem+json")]
    MediaType(Problem),
    /// It can be read and cannot be used.
    #[response(status = 422, content_type = "application/problem+json")]
    Unusable(Problem),
}

impl Error {
    /// A problem with a status, a code and words.
    pub fn new(status: StatusCode, code: impl Into<Cow<'static, str>>, detail: impl Into<String>) -> Self {
        Self { status, code: code.into(), detail: detail.into(), extras: Map::new() }
    }

    /// The request cannot be read.
    pub fn malformed(code: &'static str, detail: impl std::fmt::Display) -> Self {
        let detail: String = detail.to_string().chars().take(DETAIL_CHARS_MAX).collect();
        Self::new(StatusCode::BAD_REQUEST, code, detail)
    }

    /// The request can be read and cannot be used.
    pub fn unusable(code: &'static str, detail: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, detail.to_string())
    }

    /// What is asked for does not exist for this caller.
    pub fn unknown(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, detail)
    }

    /// Adds a fact that belongs to the code.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Serialize) -> Self {
        self.extras.insert(name.to_owned(), serde_json::to_value(value).unwrap_or(Value::Null));
        self
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.code, self.detail)
    }
}

impl std::error::Error for Error {}

impl From<anyhow::Error> for Error {
    fn from(error: anyhow::Error) -> Self {
        tracing::error!(request.id = request_id(), error = format!("{error:#}"), "a request failed on our side");
        let detail = "something broke on our side; give the request's id to whoever runs this service";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail)
    }
}

impl From<engine::Error> for Error {
    fn from(error: engine::Error) -> Self {
        match error {
            engine::Error::Refused(Refused { kind, code, text }) => Self::new(status(kind), code, text),
            engine::Error::Failed(error) => error.into(),
        }
    }
}

fn status(kind: RefusedKind) -> StatusCode {
    match kind {
        RefusedKind::NotFound => StatusCode::NOT_FOUND,
        RefusedKind::Forbidden => StatusCode::FORBIDDEN,
        RefusedKind::Conflict => StatusCode::CONFLICT,
        RefusedKind::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let problem = Problem {
            kind: format!("urn:paymaster:{}", self.code),
            title: self.status.canonical_reason().unwrap_or("Error").to_owned(),
            status: self.status.as_u16(),
            detail: self.detail,
            code: self.code.into_owned(),
            request_id: request_id(),
            extras: self.extras,
        };
        let body = serde_json::to_vec(&problem).unwrap_or_default();
        let mut response = (self.status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECONDS));
        }
        response
    }
}
