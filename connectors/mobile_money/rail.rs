//! The provider's address: paths, headers and credentials of every call.
//! `X-Date` is left out: the protocol makes it optional, and a resend must not differ from the first copy.
//! Deliberately not here: what is asked when, and what an answer means.

use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, RequestBuilder, Url};
use uuid::Uuid;

use super::settings::{Settings, unusable};
use crate::contract::{Failure, Message, Source};
use crate::http::{self, Answer};
use crate::secret::Secret;

/// Where and as whom the provider is called.
#[derive(Debug)]
pub struct Rail {
    client: Client,
    base: Url,
    credentials: HeaderMap,
    callback: Option<HeaderValue>,
}

/// A question, by its path and query.
#[derive(Debug, Clone)]
pub struct Question<'a> {
    /// Segments of the path, not yet escaped.
    pub path: Vec<&'a str>,
    /// Query, if any.
    pub query: Vec<(&'static str, String)>,
}

impl<'a> Question<'a> {
    /// A question without a query.
    pub fn path(path: impl Into<Vec<&'a str>>) -> Self {
        Self { path: path.into(), query: Vec::new() }
    }

    /// As evidence names it.
    pub fn origin(&self) -> String {
        let query: Vec<_> = self.query.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mark = if query.is_empty() { "" } else { "?" };
        format!("GET /{}{mark}{}", self.path.join("/"), query.join("&"))
    }

    /// A page of a list.
    pub fn page(path: impl Into<Vec<&'a str>>, limit: u64, offset: u64) -> Self {
        Self { path: path.into(), query: vec![("limit", limit.to_string()), ("offset", offset.to_string())] }
    }

    /// The answer as evidence.
    pub fn message(&self, answer: &Answer) -> Message {
        Message { source: Source::Inquiry, origin: self.origin(), bytes: answer.body.clone() }
    }
}

impl Rail {
    /// Reads the address and the credentials; says what cannot be used.
    pub fn new(settings: &Settings) -> Result<Self, Failure> {
        let base = Url::parse(settings.base_url.trim()).map_err(|error| unusable(format!("base_url: {error}")))?;
        if !matches!(base.scheme(), "http" | "https") || base.cannot_be_a_base() {
            return Err(unusable("base_url must begin with http:// or https://"));
        }
        let mut credentials = HeaderMap::new();
        for (name, secret) in [
            ("x-client-id", &settings.client_id),
            ("x-api-key", &settings.api_key),
            ("x-user-credential-1", &settings.user_credential),
        ] {
            if let Some(secret) = secret {
                credentials.insert(HeaderName::from_static(name), hidden(name, secret)?);
            }
        }
        let callback = settings.callback_url.as_deref().map(HeaderValue::from_str).transpose();
        let mut callback = callback.map_err(|_| unusable("callback_url cannot be sent as a header"))?;
        if let Some(value) = &mut callback {
            // Its path may be the secret by which a callback is believed.
            value.set_sensitive(true);
        }
        let client = http::client(Duration::from_secs(settings.timeout_seconds))?;
        Ok(Self { client, base, credentials, callback })
    }

    /// Asks. Never moves money.
    pub async fn ask(&self, question: &Question<'_>) -> Result<Answer, Failure> {
        let mut url = self.url(&question.path)?;
        if !question.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&question.query);
        }
        http::ask(self.client.get(url).headers(self.credentials.clone())).await
    }

    /// A write under its idempotency key.
    pub fn post(&self, path: &[&str], key: Uuid, body: Bytes) -> Result<RequestBuilder, Failure> {
        let mut request = self
            .client
            .post(self.url(path)?)
            .headers(self.credentials.clone())
            .header(CONTENT_TYPE, "application/json")
            .header("x-correlationid", key.to_string())
            .header("x-content-hash", sha256_hex(&body));
        if let Some(callback) = &self.callback {
            request = request.header("x-callback-url", callback.clone());
        }
        Ok(request.body(body))
    }

    fn url(&self, path: &[&str]) -> Result<Url, Failure> {
        // A parser drops such segments, and the call would go somewhere else.
        if path.iter().any(|segment| matches!(*segment, "" | "." | "..")) {
            return Err(unusable("a name of the provider cannot be part of a path"));
        }
        let mut url = self.base.clone();
        let Ok(mut segments) = url.path_segments_mut() else { return Err(unusable("base_url takes no path")) };
        segments.pop_if_empty().extend(path);
        drop(segments);
        Ok(url)
    }
}

fn hidden(name: &str, secret: &Secret) -> Result<HeaderValue, Failure> {
    let value = HeaderValue::from_str(secret.reveal());
    let mut value = value.map_err(|_| unusable(format!("the value for {name} cannot be sent as a header")))?;
    value.set_sensitive(true);
    Ok(value)
}

fn sha256_hex(body: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, body);
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::settings;
    use super::*;
    use serde_json::json;

    #[test]
    fn names_stay_inside_their_segment() {
        let rail = Rail::new(&settings(json!({"base_url": "http://h/v1/mm/"}))).unwrap();
        let url = |path: &[&str]| rail.url(path).map(String::from);
        assert_eq!(url(&["batchtransactions"]).unwrap(), "http://h/v1/mm/batchtransactions");
        assert_eq!(
            url(&["accounts", "msisdn", "a/b?c", "balance"]).unwrap(),
            "http://h/v1/mm/accounts/msisdn/a%2Fb%3Fc/balance"
        );
        assert!(url(&["transactions", ".."]).is_err());
    }

    #[test]
    fn secrets_are_not_shown() {
        let settings = settings(json!({"api_key": "s3cret", "callback_url": "https://us/cb/s3cret"}));
        let shown = format!("{:?} {:?}", settings.api_key, Rail::new(&settings).unwrap());
        assert!(!shown.contains("s3cret"), "{shown}");
        let bad = super::super::tests::settings(json!({"api_key": "a\nb"}));
        assert!(Rail::new(&bad).is_err());
    }

    #[test]
    fn the_content_hash_is_the_usual_one() {
        assert_eq!(sha256_hex(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
