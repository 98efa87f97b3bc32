//! The settings of one mobile money provider, and the profile they amount to.
//! Deliberately not here: where secrets come from; they arrive resolved and are never shown.

use std::time::Duration;

use serde::Deserialize;

use crate::contract::{
    CallbackTrust, Dedupe, Failure, Finality, Inquiry, Profile, REFERENCE_CHARS, Reason, ReasonClass, Silence,
};
use crate::secret::Secret;

/// Most payments the protocol allows in one batch.
const PROTOCOL_ITEMS_MAX: u32 = 999_999;
/// Most bytes that are put in one batch.
const BATCH_BYTES_MAX: usize = 32 << 20;
/// Furthest that a statement can be read back.
const STATEMENT_DAYS_MAX: u32 = 3_660;
/// Seconds of a day.
pub(super) const SECONDS_OF_DAY: u64 = 24 * 3_600;
/// Most calls in flight that can be configured.
const CONCURRENCY_MAX: u32 = 256;

/// Everything that differs between two providers of this protocol.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Everything before `/batchtransactions`, such as `https://api.example.org/v1.2/mm`.
    pub base_url: String,
    /// Whether payments travel together or one by one.
    #[serde(default)]
    pub mode: Mode,
    /// Our funding account with the provider.
    pub debit_party: Party,
    /// How the provider's protocol calls a payee's identifier.
    #[serde(default = "defaults::identifier_key")]
    pub identifier_key: String,
    /// Where the provider may call us; without it nothing but asking tells.
    #[serde(default)]
    pub callback_url: Option<String>,
    /// Sent as `X-Client-Id`.
    #[serde(default)]
    pub client_id: Option<Secret>,
    /// Sent as `X-API-Key`.
    #[serde(default)]
    pub api_key: Option<Secret>,
    /// Sent as `X-User-Credential-1`.
    #[serde(default)]
    pub user_credential: Option<Secret>,
    /// Longest wait for one answer.
    #[serde(default = "defaults::timeout_seconds")]
    pub timeout_seconds: u64,
    /// Items asked for in one page of completions or rejections.
    #[serde(default = "defaults::page_items")]
    pub page_items: u64,
    /// Most payments in one batch.
    #[serde(default = "defaults::items_max")]
    pub items_max: u32,
    /// Most calls in flight.
    #[serde(default = "defaults::concurrency")]
    pub concurrency: u32,
    /// How long the provider, by contract, refuses a second copy under the same correlation id.
    /// 0 claims nothing: then no copy is ever sent again.
    #[serde(default = "defaults::dedupe_window_seconds")]
    pub dedupe_window_seconds: u64,
    /// Quiet time after the last copy before the provider's "I don't have it" counts.
    #[serde(default = "defaults::absent_after_seconds")]
    pub absent_after_seconds: u64,
    /// Longest time a copy may travel; more than `timeout_seconds`.
    #[serde(default = "defaults::fence_seconds")]
    pub fence_seconds: u64,
    /// Pause before the first inquiry.
    #[serde(default = "defaults::inquire_every_millis")]
    pub inquire_every_millis: u64,
    /// Longest pause between inquiries.
    #[serde(default = "defaults::inquire_every_max_seconds")]
    pub inquire_every_max_seconds: u64,
    /// How far the provider's calls are believed.
    #[serde(default)]
    pub callback_trust: Trust,
    /// Where the provider is asked what became of a payment.
    #[serde(default)]
    pub ask: Asking,
    /// How far back the statement is read. Nothing is asked for the first time when it is older.
    #[serde(default = "defaults::statement_days")]
    pub statement_days: u32,
    /// Whether, by contract, what the provider rejected is never paid under the same correlation id.
    #[serde(default)]
    pub remembers_rejections: bool,
    /// A doubt older than this goes to a person.
    #[serde(default = "defaults::doubt_limit_seconds")]
    pub doubt_limit_seconds: u64,
    /// Most payments a second over all workers; 0 is no cap.
    #[serde(default)]
    pub rate_per_second: u32,
}

mod defaults {
    pub fn identifier_key() -> String {
        "msisdn".to_owned()
    }
    pub fn timeout_seconds() -> u64 {
        30
    }
    pub fn page_items() -> u64 {
        1_000
    }
    pub fn items_max() -> u32 {
        5_000
    }
    pub fn concurrency() -> u32 {
        8
    }
    pub fn dedupe_window_seconds() -> u64 {
        86_400
    }
    pub fn absent_after_seconds() -> u64 {
        300
    }
    pub fn fence_seconds() -> u64 {
        120
    }
    pub fn inquire_every_millis() -> u64 {
        5_000
    }
    pub fn inquire_every_max_seconds() -> u64 {
        300
    }
    pub fn statement_days() -> u32 {
        90
    }
    pub fn doubt_limit_seconds() -> u64 {
        crate::contract::Profile::worst().doubt_limit.as_secs()
    }
}

/// How payments travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// One `POST /batchtransactions` for all.
    #[default]
    Batch,
    /// One `POST /transactions/type/disbursement` for each.
    Single,
}

/// Where the provider is asked what became of a payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Asking {
    /// The payment or its batch: a completed one is settled.
    #[default]
    Status,
    /// The statement of our funding account: what is debited is settled.
    Statement,
}

/// How far callbacks are believed. The protocol has no signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trust {
    /// A callback only makes us ask.
    #[default]
    Hint,
    /// The path of `callback_url` is secret, so that a callback with matching facts is evidence.
    SecretUrl,
}

/// An account by kind and value, such as `organisationid` and `12345`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Party {
    /// Kind of identifier.
    pub key: String,
    /// The identifier.
    pub value: String,
}

impl Settings {
    /// The facts by which the engine decides.
    pub(super) fn profile(&self) -> Profile {
        let seconds = Duration::from_secs;
        Profile {
            dedupe: if self.dedupe_window_seconds == 0 { Dedupe::None } else { Dedupe::ByKey },
            dedupe_window: seconds(self.dedupe_window_seconds),
            remembers_rejections: self.remembers_rejections,
            absent_after: seconds(self.absent_after_seconds),
            fence: seconds(self.fence_seconds),
            inquiry: Inquiry::Direct,
            callback_trust: match self.callback_trust {
                Trust::Hint => CallbackTrust::Hint,
                Trust::SecretUrl => CallbackTrust::SecretUrl,
            },
            finality: match self.ask {
                Asking::Status => Finality::Status,
                Asking::Statement => Finality::Statement,
            },
            silence: Silence::ProvesNothing,
            items_max: self.items_max,
            bytes_max: BATCH_BYTES_MAX,
            rate_per_second: self.rate_per_second,
            doubt_limit: seconds(self.doubt_limit_seconds),
            concurrency: self.concurrency,
            batches_in_flight: match self.mode {
                Mode::Batch => self.concurrency,
                Mode::Single => 1,
            },
            inquire_every: Duration::from_millis(self.inquire_every_millis),
            inquire_every_max: seconds(self.inquire_every_max_seconds),
            ..Profile::worst()
        }
    }

    /// Refuses values that could not work or would make the guarantees untrue.
    pub(super) fn check(&self) -> Result<(), Failure> {
        let within = |value: u32, most: u32| (1..=most).contains(&value);
        // What the window leaves out must never look like a payment that did not arrive.
        let asked_within = [self.doubt_limit_seconds, self.absent_after_seconds, self.fence_seconds];
        let asked_within = asked_within.into_iter().fold(0, u64::saturating_add);
        let covers = u64::from(self.statement_days) * SECONDS_OF_DAY >= asked_within;
        let rules = [
            (self.timeout_seconds > 0, "timeout_seconds must be at least 1"),
            (self.fence_seconds > self.timeout_seconds, "fence_seconds must be more than timeout_seconds"),
            (self.page_items > 0, "page_items must be at least 1"),
            (within(self.items_max, PROTOCOL_ITEMS_MAX), "items_max must be 1 to 999999"),
            (within(self.concurrency, CONCURRENCY_MAX), "concurrency must be 1 to 256"),
            (self.inquire_every_millis > 0, "inquire_every_millis must be at least 1"),
            (self.doubt_limit_seconds > 0, "doubt_limit_seconds must be at least 1"),
            (within(self.statement_days, STATEMENT_DAYS_MAX), "statement_days must be 1 to 3660"),
            (
                covers || self.ask == Asking::Status,
                "statement_days must cover doubt_limit_seconds, absent_after_seconds and fence_seconds together",
            ),
            (!self.identifier_key.is_empty(), "identifier_key must not be empty"),
            (!self.debit_party.key.is_empty(), "debit_party.key must not be empty"),
            (!self.debit_party.value.is_empty(), "debit_party.value must not be empty"),
        ];
        rules.into_iter().find(|(holds, _)| !holds).map_or(Ok(()), |(_, rule)| Err(unusable(rule)))
    }
}

/// A configuration at fault.
pub(super) fn unusable(why: impl AsRef<str>) -> Failure {
    Failure::Blocked(Reason::new(ReasonClass::Format, "settings", why))
}

// The protocol gives a client's reference 256 characters.
const _: () = assert!(REFERENCE_CHARS <= 256);
