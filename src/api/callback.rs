//! Providers call us back here, at an address nobody can guess. Deliberately not here: believing them.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use paymaster_connectors::contract::Callback;

use super::Doors;
use super::error::{Answer, Problem};
use super::input::{Named, fits, read};

/// Largest call.
const CALL_BYTES_MAX: usize = 1 << 20;

/// A provider's call. Its bytes are kept before it is answered.
#[utoipa::path(
    post, path = "/callbacks/{provider}/{secret}", operation_id = "post_callback",
    tag = "callbacks", request_body(content = Vec<u8>),
    params(
        ("provider" = String, Path, description = "The provider's name here."),
        ("secret" = String, Path, description = "What only the provider was told."),
    ),
    responses(
        (status = 204, description = "Heard"),
        (status = 404, description = "There is nothing here", body = Problem,
         content_type = "application/problem+json"),
        (status = 413, description = "More than 1 MiB", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Not a message of the provider's protocol; kept all the same", body = Problem,
         content_type = "application/problem+json"),
    ),
)]
pub async fn post(
    State(doors): State<Doors>,
    Named((provider, secret)): Named<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Answer<StatusCode> {
    hear(&doors, (&provider, &secret), &headers, body).await
}

/// The same, for providers that put.
#[utoipa::path(
    put, path = "/callbacks/{provider}/{secret}", operation_id = "put_callback",
    tag = "callbacks", request_body(content = Vec<u8>),
    params(
        ("provider" = String, Path, description = "The provider's name here."),
        ("secret" = String, Path, description = "What only the provider was told."),
    ),
    responses(
        (status = 204, description = "Heard"),
        (status = 404, description = "There is nothing here", body = Problem,
         content_type = "application/problem+json"),
        (status = 413, description = "More than 1 MiB", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Not a message of the provider's protocol; kept all the same", body = Problem,
         content_type = "application/problem+json"),
    ),
)]
pub async fn put(
    State(doors): State<Doors>,
    Named((provider, secret)): Named<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Answer<StatusCode> {
    hear(&doors, (&provider, &secret), &headers, body).await
}

async fn hear(doors: &Doors, at: (&str, &str), headers: &HeaderMap, body: Body) -> Answer<StatusCode> {
    fits(headers, CALL_BYTES_MAX as u64)?;
    let body = read(body, CALL_BYTES_MAX).await?;
    // Names of headers are lower case here already.
    let headers = headers.iter().map(|(name, value)| {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        (name.as_str().to_owned(), value)
    });
    let call = Callback { headers: headers.collect(), body };
    doors.engine.hear(at.0, at.1, &call).await?;
    Ok(StatusCode::NO_CONTENT)
}
