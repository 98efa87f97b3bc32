//! How requests are read: bounded bodies with a time limit, strict JSON, strict parameters, opaque cursors.
//! Deliberately not here: what a field may mean.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::NaiveDate;
use futures_util::StreamExt;
use serde::de::DeserializeOwned;
use utoipa::IntoParams;

use super::Doors;
use super::error::{Answer, Error};
use crate::domain::id::{Id, Kind};

/// Largest JSON body.
const JSON_BYTES_MAX: usize = 64 << 10;
/// Longest wait for a whole small body.
const BODY_TIME_MAX: Duration = Duration::from_secs(30);
/// Items of a page when nothing is said.
const PAGE_ITEMS: i64 = 100;
/// Most items of a page.
const PAGE_ITEMS_MAX: i64 = 1_000;
/// Bytes of a cursor's number, and of what shows that it was not tampered with.
const CURSOR_BYTES: (usize, usize) = (8, 4);

/// A JSON body.
#[derive(Debug)]
pub struct Sent<T>(pub T);

impl<T: DeserializeOwned> FromRequest<Doors> for Sent<T> {
    type Rejection = Error;

    async fn from_request(request: Request, _: &Doors) -> Result<Self, Error> {
        if media_type(request.headers()) != "application/json" {
            return Err(wrong_media_type("application/json"));
        }
        fits(request.headers(), JSON_BYTES_MAX as u64)?;
        let body = read(request.into_body(), JSON_BYTES_MAX).await?;
        serde_json::from_slice(&body).map(Self).map_err(|error| Error::malformed("json_malformed", error))
    }
}

/// Parameters of the query; an unknown or repeated one is refused.
#[derive(Debug)]
pub struct Asked<T>(pub T);

impl<T: DeserializeOwned> FromRequestParts<Doors> for Asked<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &Doors) -> Result<Self, Error> {
        query(parts).map(Self)
    }
}

/// What the path names.
#[derive(Debug)]
pub struct Named<T>(pub T);

impl<T: DeserializeOwned + Send> FromRequestParts<Doors> for Named<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, doors: &Doors) -> Result<Self, Error> {
        let read = Path::from_request_parts(parts, doors).await;
        read.map(|Path(named)| Self(named)).map_err(|error| Error::malformed("path_malformed", error.body_text()))
    }
}

/// Reads the query.
pub fn query<T: DeserializeOwned>(parts: &Parts) -> Answer<T> {
    let read = Query::try_from_uri(&parts.uri);
    read.map(|Query(query)| query).map_err(|error| Error::malformed("query_malformed", error.body_text()))
}

/// The content type without its parameters, lower case; empty when there is none.
pub fn media_type(headers: &HeaderMap) -> String {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    value.split(';').next().unwrap_or("").trim().to_ascii_lowercase()
}

/// The body has another content type.
pub fn wrong_media_type(wanted: &str) -> Error {
    Error::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "media_type", format!("send the body as {wanted}"))
}

/// Refuses a body that says it is too large before any of it is read.
pub fn fits(headers: &HeaderMap, bytes_max: u64) -> Answer<()> {
    let length = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > bytes_max) { Err(too_large(bytes_max)) } else { Ok(()) }
}

/// The body is too large.
pub fn too_large(bytes_max: u64) -> Error {
    let detail = format!("the body may have {bytes_max} bytes");
    Error::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", detail).with("bytes_max", bytes_max)
}

/// The body came to a stop.
pub fn too_slow() -> Error {
    Error::new(StatusCode::REQUEST_TIMEOUT, "body_too_slow", "the body did not arrive in time; nothing was done")
}

/// The body ended before it was whole.
pub fn cut_off() -> Error {
    Error::malformed("body_cut_off", "the body ended before it was whole; nothing was done")
}

/// A small body as a whole.
pub async fn read(body: Body, bytes_max: usize) -> Answer<Bytes> {
    let mut stream = body.into_data_stream();
    let whole = async {
        let mut all = Vec::new();
        while let Some(chunk) = stream.next().await {
            let chunk = chunk.map_err(|_| cut_off())?;
            if all.len() + chunk.len() > bytes_max {
                return Err(too_large(bytes_max as u64));
            }
            all.extend_from_slice(&chunk);
        }
        Ok(Bytes::from(all))
    };
    tokio::time::timeout(BODY_TIME_MAX, whole).await.map_err(|_| too_slow())?
}

/// An id in a path. What cannot be an id names nothing.
pub fn id<T: Kind>(text: &str, code: &'static str) -> Answer<Id<T>> {
    Id::parse(text).ok_or_else(|| Error::unknown(code, format!("an id such as {}_… is wanted here", T::PREFIX)))
}

/// A civil date, `YYYY-MM-DD`.
pub fn day(text: &str) -> Answer<NaiveDate> {
    let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok().filter(|date| date.to_string() == text);
    date.ok_or_else(|| Error::unusable("date_malformed", "a date is written YYYY-MM-DD"))
}

/// Where a page begins and how long it is.
#[derive(Debug, Default, serde::Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PageQuery {
    /// `next` of the page before; absent for the first page.
    pub cursor: Option<String>,
    /// Items of the page, 1 to 1000; 100 unless told.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    pub limit: Option<i64>,
}

impl PageQuery {
    /// The number to go on from, or `first`, and one item more than asked, which tells whether there is a next page.
    pub fn window(&self, list: &str, first: i64) -> Answer<(i64, i64)> {
        let limit = self.limit.unwrap_or(PAGE_ITEMS);
        if !(1..=PAGE_ITEMS_MAX).contains(&limit) {
            return Err(Error::malformed("limit_out_of_range", format!("limit is 1 to {PAGE_ITEMS_MAX}")));
        }
        let from = match &self.cursor {
            None => first,
            Some(cursor) => read_cursor(list, cursor)
                .ok_or_else(|| Error::malformed("cursor_malformed", "send `next` of the page before, unchanged"))?,
        };
        Ok((from, limit + 1))
    }

    /// Cuts the item too many off and makes the cursor of the next page from the last that is left.
    pub fn cut<T>(&self, list: &str, items: &mut Vec<T>, number: impl Fn(&T) -> i64) -> Option<String> {
        let limit = usize::try_from(self.limit.unwrap_or(PAGE_ITEMS)).unwrap_or(0);
        let more = items.len() > limit;
        items.truncate(limit);
        items.last().filter(|_| more).map(|last| write_cursor(list, number(last)))
    }
}

fn write_cursor(list: &str, number: i64) -> String {
    let mut bytes = number.to_be_bytes().to_vec();
    bytes.extend_from_slice(&check(list, number));
    URL_SAFE_NO_PAD.encode(bytes)
}

fn read_cursor(list: &str, cursor: &str) -> Option<i64> {
    let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
    let (number, given) = bytes.split_at_checked(CURSOR_BYTES.0)?;
    let number = i64::from_be_bytes(number.try_into().ok()?);
    (given == check(list, number)).then_some(number)
}

/// Ties a cursor to its list. It keeps nothing secret: whatever it says, only the caller's own rows are shown.
fn check(list: &str, number: i64) -> [u8; CURSOR_BYTES.1] {
    let digest = ring::digest::digest(&ring::digest::SHA256, format!("{list}\0{number}").as_bytes());
    let mut bytes = [0; CURSOR_BYTES.1];
    bytes.copy_from_slice(&digest.as_ref()[..CURSOR_BYTES.1]);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_comes_back_unchanged_or_not_at_all() {
        let cursor = write_cursor("payrolls", 7_612_345_678_901_234);
        assert_eq!(read_cursor("payrolls", &cursor), Some(7_612_345_678_901_234));
        assert_eq!(read_cursor("batches", &cursor), None);
        for position in 0..cursor.len() {
            let mut other: Vec<char> = cursor.chars().collect();
            other[position] = if other[position] == 'A' { 'B' } else { 'A' };
            assert_eq!(read_cursor("payrolls", &other.iter().collect::<String>()), None, "{position}");
        }
        assert_eq!(read_cursor("payrolls", ""), None);
    }

    #[test]
    fn dates_are_whole() {
        assert!(day("2026-11-01").is_ok());
        for text in ["2026-11-1", "2026-02-30", "0001-1-1", "", "01.11.2026"] {
            assert!(day(text).is_err(), "{text}");
        }
    }
}
