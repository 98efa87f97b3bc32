//! The one way to speak HTTP to a provider or registry: no retry, no redirect, bounded time and size.
//!
//! A response becomes a [`Failure`] here and nowhere else. Only a failure before the request could have been
//! written is `Unavailable`; whatever happens later to a request that moves money is in doubt.
//! Deliberately not here: what a body means.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::header::HeaderMap;
use reqwest::{Client, RequestBuilder, StatusCode};

use crate::contract::{Failure, Reason, ReasonClass};

/// Longest body that is read.
const BODY_BYTES_MAX: usize = 32 << 20;
/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A client that neither retries nor follows redirects, and sends nothing through a proxy it was not told of.
pub fn client(timeout: Duration) -> Result<Client, Failure> {
    // An error means that another part of the process has chosen the provider already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder()
        .connect_timeout(CONNECT_TIMEOUT.min(timeout))
        .timeout(timeout)
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .no_proxy()
        .user_agent(concat!("paymaster/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| Failure::Blocked(Reason::new(ReasonClass::Format, "http_client", error.to_string())))
}

/// A whole response.
#[derive(Debug, Clone)]
pub struct Answer {
    /// HTTP status.
    pub status: StatusCode,
    /// Response headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

/// Sends a request that may move money: one attempt. Every status comes back as an `Answer`; the caller
/// decides by the body what it proves.
pub async fn send(request: RequestBuilder) -> Result<Answer, Failure> {
    let response = request.send().await.map_err(|error| {
        // A connection that never came to be has carried nothing.
        let nothing_went = error.is_connect() || error.is_builder();
        let reason = Reason::unknown(code(&error), error.without_url().to_string());
        if nothing_went { unavailable(reason, None) } else { Failure::InDoubt(reason) }
    })?;
    whole(response).await.map_err(Failure::InDoubt)
}

/// Sends a question. Asking moves no money, so whatever goes wrong means: ask again later.
pub async fn ask(request: RequestBuilder) -> Result<Answer, Failure> {
    let response = match request.send().await {
        Ok(response) => response,
        Err(error) => return Err(unavailable(Reason::unknown(code(&error), error.without_url().to_string()), None)),
    };
    let retry_after = retry_after_seconds(response.headers());
    let answer = whole(response).await.map_err(|reason| unavailable(reason, None))?;
    let status = answer.status;
    if status.is_server_error() || matches!(status.as_u16(), 408 | 429) {
        return Err(unavailable(
            Reason::unknown(format!("http_{}", status.as_u16()), "the provider cannot answer now"),
            retry_after,
        ));
    }
    Ok(answer)
}

/// What `Retry-After` asks for, when it is given in seconds.
pub fn retry_after_seconds(headers: &HeaderMap) -> Option<u64> {
    headers.get(reqwest::header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()
}

fn unavailable(reason: Reason, retry_after_seconds: Option<u64>) -> Failure {
    Failure::Unavailable { reason, retry_after_seconds }
}

fn code(error: &reqwest::Error) -> &'static str {
    if error.is_connect() || error.is_builder() {
        "not_connected"
    } else if error.is_timeout() {
        "timed_out"
    } else {
        "connection_lost"
    }
}

async fn whole(mut response: reqwest::Response) -> Result<Answer, Reason> {
    let (status, headers) = (response.status(), response.headers().clone());
    let mut body = BytesMut::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() > BODY_BYTES_MAX => {
                return Err(Reason::unknown("answer_too_long", "the answer is longer than we read"));
            }
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => return Ok(Answer { status, headers, body: body.freeze() }),
            Err(error) => return Err(Reason::unknown("answer_cut", error.without_url().to_string())),
        }
    }
}
