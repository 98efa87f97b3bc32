//! Towards registries: publishing what became of payments, as signed G2P Connect on-disburse messages.
//! Deliberately not here: which message is due, and where keys and bodies are kept.

mod sign;
mod wire;

use std::time::Duration;

use reqwest::Url;
use reqwest::header::CONTENT_TYPE;
use serde::Deserialize;
use serde_json::Value;

pub use sign::{SignError, SigningKey, VerifyingKey};
pub use wire::{Envelope, OUTCOMES_MAX, Outcome, REASON_CODES, Status, WireError, on_disburse};

use crate::contract::{Failure, Reason, ReasonClass};
use crate::http::{self, Answer};

/// Longest wait for a registry when nothing is configured.
const TIMEOUT_SECONDS_DEFAULT: u64 = 30;

/// One registry, as configured.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The whole address that messages are posted to, as the registry gave it.
    pub url: String,
    /// Our name at the registry.
    pub sender_id: String,
    /// The registry's name, where it wants to be named.
    #[serde(default)]
    pub receiver_id: Option<String>,
    /// Longest wait for an answer.
    #[serde(default = "timeout_seconds_default")]
    pub timeout_seconds: u64,
}

fn timeout_seconds_default() -> u64 {
    TIMEOUT_SECONDS_DEFAULT
}

/// The registry has the message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ack {
    /// The registry's name for the exchange.
    pub correlation_id: Option<String>,
}

/// One registry, ready to be told things.
#[derive(Debug)]
pub struct Registry {
    url: Url,
    settings: Settings,
    key: SigningKey,
    client: reqwest::Client,
}

impl Registry {
    /// Checks the settings; nothing is sent.
    pub fn open(settings: Settings, signing_key: SigningKey) -> Result<Self, Failure> {
        let bad = |text: String| Failure::Blocked(Reason::new(ReasonClass::Format, "registry_settings", text));
        let url = Url::parse(&settings.url).map_err(|error| bad(format!("url: {error}")))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(bad("url: only http and https".to_owned()));
        }
        if settings.timeout_seconds == 0 {
            return Err(bad("timeout_seconds must be more than zero".to_owned()));
        }
        let client = http::client(Duration::from_secs(settings.timeout_seconds))?;
        Ok(Self { url, settings, key: signing_key, client })
    }

    /// How the registry is configured.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Sends one stored message, signed over its bytes. It moves no money and a registry knows a repeat by its
    /// message id, so whatever is neither an acknowledgement nor a refusal may be sent again.
    pub async fn publish(&self, body: &[u8]) -> Result<Ack, Failure> {
        let request = self.client.post(self.url.clone()).header(CONTENT_TYPE, "application/json");
        let request = request.header("Signature", self.key.sign(body)).body(body.to_vec());
        judge(&http::ask(request).await?)
    }
}

/// What an answer means: acknowledged, refused, or neither.
fn judge(answer: &Answer) -> Result<Ack, Failure> {
    let unclear = |code: String, text: &str| Failure::Unavailable {
        reason: Reason::unknown(code, text),
        retry_after_seconds: http::retry_after_seconds(&answer.headers),
    };
    let status = answer.status.as_u16();
    if !matches!(status, 200 | 202) {
        return Err(unclear(format!("http_{status}"), &first_error(&answer.body)));
    }
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let message = &body["message"];
    match message["ack_status"].as_str() {
        Some("ACK") => Ok(Ack { correlation_id: message["correlation_id"].as_str().map(str::to_owned) }),
        Some(no @ ("NACK" | "ERR")) => {
            let code = message["error"]["code"].as_str().unwrap_or(no);
            let text = message["error"]["message"].as_str().unwrap_or("the registry refused the message");
            Err(Failure::Refused(Reason::unknown(code, text)))
        }
        _ => Err(unclear("no_ack".to_owned(), "the answer is no acknowledgement")),
    }
}

/// The first error of an HTTP-level error body, for people to read.
fn first_error(body: &[u8]) -> String {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let part = |name: &str| body["errors"][0][name].as_str().unwrap_or_default();
    match (part("code"), part("message")) {
        ("", "") => "the registry did not take the message".to_owned(),
        (code, message) => format!("{code}: {message}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::{Currency, Money};
    use crate::sandbox::{RegistryFaults, Sandbox, Settings as SandboxSettings};
    use reqwest::StatusCode;

    fn kes() -> Currency {
        Currency::parse("KES").unwrap()
    }

    fn key() -> SigningKey {
        SigningKey::from_pkcs8(&SigningKey::generate().unwrap(), None).unwrap()
    }

    fn open(sandbox: &Sandbox, key: SigningKey) -> Registry {
        let settings = serde_json::json!({"url": sandbox.registry_url(), "sender_id": "payer.example.org"});
        Registry::open(serde_json::from_value(settings).unwrap(), key).unwrap()
    }

    fn message(id: &str) -> Vec<u8> {
        let envelope = Envelope {
            message_id: id.into(),
            timestamp_micros: 1_790_000_000_000_000,
            payroll: "P-7".into(),
            status: Status::Succ,
            sender_id: "payer.example.org".into(),
            receiver_id: None,
            total_count: 1,
            completed_count: 1,
        };
        let outcome = Outcome {
            reference_id: "E1".into(),
            timestamp_micros: 1_790_000_000_000_000,
            status: Status::Succ,
            reason_code: None,
            reason_text: None,
            our_reference: "006RBCDC1JBZJ4HM".into(),
            amount: Money::new(1_250, kes()),
            payer_fa: None,
            payee_fa: None,
            payee_name: None,
        };
        on_disburse(&envelope, &[outcome]).unwrap()
    }

    #[tokio::test]
    async fn a_message_is_acknowledged_and_counted_once_through_every_fault() {
        let key = key();
        let settings = SandboxSettings {
            verifying_key: Some(key.public_key()),
            registry_faults: RegistryFaults { seed: 1, refuse_first_n: 1, lose_ack_per_mille: 1000 },
            ..SandboxSettings::new(kes())
        };
        let sandbox = Sandbox::start(settings).await.unwrap();
        let registry = open(&sandbox, key);
        let body = message("M-1");
        for why in ["refused with 503", "acknowledgement lost"] {
            let failed = registry.publish(&body).await;
            assert!(matches!(failed, Err(Failure::Unavailable { .. })), "{why}: {failed:?}");
        }
        let first = registry.publish(&body).await.unwrap();
        assert!(first.correlation_id.is_some());
        assert_eq!(registry.publish(&body).await.unwrap(), first);
        let summary = sandbox.outcomes_summary();
        assert_eq!((summary.succ, summary.sum_minor_succ), (1, 1_250));
        assert_eq!((summary.messages, summary.repeated_messages), (1, 2));
        assert_eq!(sandbox.outcomes()[0].instruction, "006RBCDC1JBZJ4HM");
        sandbox.shutdown().await;
    }

    #[tokio::test]
    async fn another_key_or_an_unreadable_message_is_not_taken() {
        let ours = key();
        let settings = SandboxSettings { verifying_key: Some(ours.public_key()), ..SandboxSettings::new(kes()) };
        let sandbox = Sandbox::start(settings).await.unwrap();
        let foreign = open(&sandbox, key()).publish(&message("M-1")).await;
        let Err(Failure::Unavailable { reason, .. }) = foreign else { panic!("{foreign:?}") };
        assert_eq!(reason.code, "http_401");
        assert!(reason.text.starts_with("err.signature.invalid"), "{reason}");
        let unreadable = open(&sandbox, ours).publish(b"{}").await;
        let Err(Failure::Refused(reason)) = unreadable else { panic!("{unreadable:?}") };
        assert_eq!(reason.code, "err.request.bad");
        assert!(sandbox.outcomes().is_empty());
    }

    #[test]
    fn only_an_acknowledgement_acknowledges() {
        let judged = |status: u16, body: &'static str| {
            let status = StatusCode::from_u16(status).unwrap();
            judge(&Answer { status, headers: Default::default(), body: body.into() })
        };
        let ack = r#"{"message":{"ack_status":"ACK","correlation_id":"C"}}"#;
        for status in [200, 202] {
            assert_eq!(judged(status, ack), Ok(Ack { correlation_id: Some("C".into()) }));
        }
        let nack = r#"{"message":{"ack_status":"NACK","error":{"code":"rjct.version.invalid"}}}"#;
        assert!(matches!(judged(200, nack), Err(Failure::Refused(reason)) if reason.code == "rjct.version.invalid"));
        assert!(matches!(judged(200, r#"{"message":{"ack_status":"ERR"}}"#), Err(Failure::Refused(_))));
        let unclear =
            [(201, ack), (204, ""), (302, ack), (400, ack), (404, ""), (200, ""), (200, "<html>"), (200, "[]")];
        for (status, body) in unclear {
            assert!(matches!(judged(status, body), Err(Failure::Unavailable { .. })), "{status} {body}");
        }
    }

    #[test]
    fn settings_are_checked_before_anything_is_sent() {
        let unknown = serde_json::json!({"url": "https://r.example", "sender_id": "s", "retries": 3});
        assert!(serde_json::from_value::<Settings>(unknown).is_err());
        for url in ["", "nonsense", "ftp://registry.example"] {
            let settings = serde_json::json!({"url": url, "sender_id": "s"});
            let opened = Registry::open(serde_json::from_value(settings).unwrap(), key());
            assert!(matches!(opened, Err(Failure::Blocked(_))), "{url}");
        }
    }
}
