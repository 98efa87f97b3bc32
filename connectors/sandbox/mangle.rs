//! Harm to the body of an answer: cut off in the middle, or a page of HTML in its place.
//! Deliberately not here: when.

use axum::body::{Body, Bytes, to_bytes};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use futures_util::StreamExt;

/// Longest body that can be harmed.
const BODY_BYTES_MAX: usize = 64 << 20;
/// What some box in between says.
const PAGE: &str = "<html><body>It works!</body></html>";

/// What is done to a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mangle {
    /// Half of it is sent under the length of the whole, and the connection ends.
    Truncate,
    /// 200 and a page of HTML.
    Garble,
}

pub(super) async fn mangle(response: Response, how: Mangle) -> Response {
    let (mut head, body) = response.into_parts();
    head.headers.remove(header::CONTENT_LENGTH);
    match how {
        Mangle::Garble => {
            head.status = StatusCode::OK;
            head.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html"));
            Response::from_parts(head, Body::from(PAGE))
        }
        Mangle::Truncate => {
            let whole = to_bytes(body, BODY_BYTES_MAX).await.unwrap_or_default();
            head.headers.insert(header::CONTENT_LENGTH, whole.len().into());
            let half: Result<Bytes, std::io::Error> = Ok(whole.slice(..whole.len() / 2));
            let end = async {
                // What is written leaves while the rest is waited for; an error at once would keep all of it back.
                tokio::task::yield_now().await;
                Err(std::io::ErrorKind::ConnectionReset.into())
            };
            let stream = futures_util::stream::iter([half]).chain(futures_util::stream::once(end));
            Response::from_parts(head, Body::from_stream(stream))
        }
    }
}
