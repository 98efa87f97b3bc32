//! What the provider writes, read leniently: one shape with every field the protocol has, all optional.
//! Which object it is shows in the fields that are there. Deliberately not here: what it means.

use rust_decimal::Decimal;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};

use crate::contract::{Currency, Money};

/// Any object of the protocol. Texts, numbers and flags are taken as text, whichever way they were written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Object {
    /// Name of the state of a request.
    #[serde(deserialize_with = "text")]
    pub server_correlation_id: Option<String>,
    /// What a request became.
    #[serde(deserialize_with = "text")]
    pub object_reference: Option<String>,
    /// State of a request.
    #[serde(deserialize_with = "text")]
    pub status: Option<String>,
    /// Why a request or payment failed.
    #[serde(deserialize_with = "nested")]
    pub error: Option<Box<Object>>,
    /// Path of what a correlation id led to.
    #[serde(deserialize_with = "text")]
    pub link: Option<String>,
    /// Kind of an error.
    #[serde(deserialize_with = "text")]
    pub error_category: Option<String>,
    /// The error.
    #[serde(deserialize_with = "text")]
    pub error_code: Option<String>,
    /// The error in words, as the specification's prose spells it.
    #[serde(deserialize_with = "text")]
    pub error_description: Option<String>,
    /// The same as its schema spells it. Not an alias: an object that has both would be unreadable, and its
    /// "I don't have it" would never be heard.
    #[serde(rename = "errordescription", deserialize_with = "text")]
    pub error_description_of_schema: Option<String>,
    /// Name of a batch.
    #[serde(deserialize_with = "text")]
    pub batch_id: Option<String>,
    /// State of a batch.
    #[serde(deserialize_with = "text")]
    pub batch_status: Option<String>,
    /// Whether a batch is being worked on.
    #[serde(rename = "processingFlag", deserialize_with = "text")]
    pub working: Option<String>,
    /// Payments completed.
    #[serde(deserialize_with = "text")]
    pub completed_count: Option<String>,
    /// Payments rejected.
    #[serde(deserialize_with = "text")]
    pub rejection_count: Option<String>,
    /// The provider's name for a payment.
    #[serde(rename = "transactionReference", deserialize_with = "text")]
    pub payment_reference: Option<String>,
    /// State of a payment.
    #[serde(rename = "transactionStatus", deserialize_with = "text")]
    pub payment_status: Option<String>,
    /// Our name for a payment.
    #[serde(rename = "requestingOrganisationTransactionReference", deserialize_with = "text")]
    pub our_reference: Option<String>,
    /// Sum of a payment.
    #[serde(deserialize_with = "text")]
    pub amount: Option<String>,
    /// Currency of a sum or balance.
    #[serde(deserialize_with = "text")]
    pub currency: Option<String>,
    /// Who was paid.
    #[serde(deserialize_with = "parties")]
    pub credit_party: Vec<Party>,
    /// Who paid.
    #[serde(deserialize_with = "parties")]
    pub debit_party: Vec<Party>,
    /// What the payer said a payment is for, as a statement shows it.
    #[serde(deserialize_with = "text")]
    pub description_text: Option<String>,
    /// What a statement calls an entry.
    #[serde(deserialize_with = "text")]
    pub display_type: Option<String>,
    /// When it was made.
    #[serde(deserialize_with = "text")]
    pub creation_date: Option<String>,
    /// Why an item was not paid.
    #[serde(deserialize_with = "text")]
    pub rejection_reason: Option<String>,
    /// What may be spent.
    #[serde(deserialize_with = "text")]
    pub available_balance: Option<String>,
    /// What is there.
    #[serde(deserialize_with = "text")]
    pub current_balance: Option<String>,
}

/// One identifier of an account.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Party {
    /// Its kind.
    #[serde(deserialize_with = "text")]
    pub key: Option<String>,
    /// The identifier.
    #[serde(deserialize_with = "text")]
    pub value: Option<String>,
}

impl Object {
    /// Reads a body; `None` for anything but a JSON object.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        // A JSON array would be taken for a struct written in order.
        let first = bytes.iter().find(|byte| !byte.is_ascii_whitespace());
        if first != Some(&b'{') {
            return None;
        }
        serde_json::from_slice(bytes).ok()
    }

    /// The error in words.
    pub fn error_text(&self) -> Option<&str> {
        self.error_description.as_deref().or(self.error_description_of_schema.as_deref())
    }

    /// A count, when it is there and a number.
    pub fn count(text: Option<&String>) -> Option<u64> {
        text?.trim().parse().ok()
    }

    /// A sum the object names: `Ok(None)` when it names none, an error when it cannot be held exactly.
    pub fn money(&self, sum: Option<&String>, assumed: Option<Currency>) -> Result<Option<Money>, UnreadableMoney> {
        let Some(sum) = sum else { return Ok(None) };
        let currency = match &self.currency {
            Some(code) => Currency::parse(code.trim().to_ascii_uppercase().as_str()),
            None => assumed,
        };
        let plain = sum.trim().bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'-'));
        let decimal = if plain { sum.trim().parse::<Decimal>().ok() } else { None };
        let (Some(currency), Some(decimal)) = (currency, decimal) else { return Err(UnreadableMoney) };
        Money::from_decimal(decimal, currency).map(Some).map_err(|_| UnreadableMoney)
    }
}

/// A sum that is there and cannot be held exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnreadableMoney;

#[derive(Deserialize)]
#[serde(untagged)]
enum Loose {
    Text(String),
    Number(serde_json::Number),
    Flag(bool),
    Other(IgnoredAny),
}

/// A text; numbers and flags as they print; anything else as if it were not there.
fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(match Loose::deserialize(deserializer)? {
        Loose::Text(text) if text.trim().is_empty() => None,
        Loose::Text(text) => Some(text),
        Loose::Number(number) => Some(number.to_string()),
        Loose::Flag(flag) => Some(flag.to_string()),
        Loose::Other(_) => None,
    })
}

#[derive(Deserialize)]
#[serde(untagged)]
enum LooseParties {
    Many(Vec<Party>),
    One(Party),
    Other(IgnoredAny),
}

fn parties<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Party>, D::Error> {
    Ok(match LooseParties::deserialize(deserializer)? {
        LooseParties::Many(parties) => parties,
        LooseParties::One(party) => vec![party],
        LooseParties::Other(_) => Vec::new(),
    })
}

#[derive(Deserialize)]
#[serde(untagged)]
enum LooseObject {
    Object(Box<Object>),
    Other(IgnoredAny),
}

fn nested<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Box<Object>>, D::Error> {
    Ok(match LooseObject::deserialize(deserializer)? {
        LooseObject::Object(object) => Some(object),
        LooseObject::Other(_) => None,
    })
}
