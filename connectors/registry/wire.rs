//! The G2P Connect on-disburse message: outcomes to bytes. Pure; the same inputs give the same bytes, so that a
//! repeated message is the same message. Deliberately not here: signing and sending.

use chrono::{DateTime, SecondsFormat};
use rust_decimal::Decimal;
use serde::Serialize;

use crate::contract::Money;

/// Most outcomes in one message.
pub const OUTCOMES_MAX: usize = 1_000;
/// Longest reason text (schema).
const REASON_CHARS_MAX: usize = 999;
/// Decimals that the schema's amounts have at least here; it allows one or two.
const AMOUNT_DECIMALS_MIN: u32 = 2;
/// Version of the message format.
const VERSION: &str = "1.0.0";
/// The reason codes of the schema. It has none for limits, closed accounts or deceased payees.
pub const REASON_CODES: [&str; 8] = [
    "rjct.reference_id.invalid",
    "rjct.reference_id.duplicate",
    "rjct.timestamp.invalid",
    "rjct.payer_fa.invalid",
    "rjct.payee_fa.invalid",
    "rjct.amount.invalid",
    "rjct.schedule_ts.invalid",
    "rjct.currency_code.invalid",
];

/// What became of a payment, in the registry's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Funds have arrived.
    Succ,
    /// Was not paid, or came back.
    Rjct,
    /// No end yet.
    Pdng,
}

/// One payment's outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The registry's own name for the item.
    pub reference_id: String,
    /// When the outcome was known, in microseconds since 1970.
    pub timestamp_micros: i64,
    /// What became of it.
    pub status: Status,
    /// One of [`REASON_CODES`]; any other is left out, for the schema allows no other.
    pub reason_code: Option<String>,
    /// Why, for people; cut to 999 characters.
    pub reason_text: Option<String>,
    /// Our reference, sent as `instruction`: it tells two generations of one item apart.
    pub our_reference: String,
    /// The sum.
    pub amount: Money,
    /// Financial address of the payer, `scheme:id@provider`.
    pub payer_fa: Option<String>,
    /// Financial address of the payee.
    pub payee_fa: Option<String>,
    /// Name of the payee.
    pub payee_name: Option<String>,
}

/// What a message says about itself. All of it is stored before the first sending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// Unique for the message; the registry recognises a repeat by it.
    pub message_id: String,
    /// When the message was made, in microseconds since 1970.
    pub timestamp_micros: i64,
    /// The payroll as the registry named it (`transaction_id`, at most 99 characters).
    pub payroll: String,
    /// Status of the whole; `Pdng` while more messages about the payroll will follow.
    pub status: Status,
    /// Our name at the registry.
    pub sender_id: String,
    /// The registry's name, where it wants to be named.
    pub receiver_id: Option<String>,
    /// Payments of the payroll.
    pub total_count: u64,
    /// Payments of the payroll that have an end.
    pub completed_count: u64,
}

/// Why a message cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// More outcomes than one message may hold.
    #[error("a message holds at most {OUTCOMES_MAX} outcomes")]
    TooMany,
    /// An instant outside the calendar.
    #[error("an instant is outside the calendar")]
    BadInstant,
    /// The bytes could not be written.
    #[error("the message could not be written")]
    Unwritable,
}

#[derive(Serialize)]
struct Body<'a> {
    header: Header<'a>,
    message: Message<'a>,
}

#[derive(Serialize)]
struct Header<'a> {
    version: &'a str,
    message_id: &'a str,
    message_ts: String,
    action: &'a str,
    status: Status,
    total_count: u64,
    completed_count: u64,
    sender_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    receiver_id: Option<&'a str>,
}

#[derive(Serialize)]
struct Message<'a> {
    #[serde(rename = "transaction_id")]
    payroll: &'a str,
    disbursements_status: Vec<Item<'a>>,
}

#[derive(Serialize)]
struct Item<'a> {
    reference_id: &'a str,
    timestamp: String,
    status: Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    status_reason_code: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status_reason_message: Option<String>,
    instruction: &'a str,
    amount: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    payer_fa: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payee_fa: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payee_name: Option<&'a str>,
    currency_code: &'a str,
}

/// The bytes of one on-disburse message. They carry no signature: it travels in a header, over these bytes.
pub fn on_disburse(envelope: &Envelope, outcomes: &[Outcome]) -> Result<Vec<u8>, WireError> {
    if outcomes.len() > OUTCOMES_MAX {
        return Err(WireError::TooMany);
    }
    let body = Body {
        header: Header {
            version: VERSION,
            message_id: &envelope.message_id,
            message_ts: instant(envelope.timestamp_micros)?,
            action: "on-disburse",
            status: envelope.status,
            total_count: envelope.total_count,
            completed_count: envelope.completed_count,
            sender_id: &envelope.sender_id,
            receiver_id: envelope.receiver_id.as_deref(),
        },
        message: Message {
            payroll: &envelope.payroll,
            disbursements_status: outcomes.iter().map(item).collect::<Result<_, _>>()?,
        },
    };
    serde_json::to_vec(&body).map_err(|_| WireError::Unwritable)
}

fn item(outcome: &Outcome) -> Result<Item<'_>, WireError> {
    let code = outcome.reason_code.as_deref().filter(|code| REASON_CODES.contains(code));
    let text = outcome.reason_text.as_ref().map(|text| text.chars().take(REASON_CHARS_MAX).collect());
    Ok(Item {
        reference_id: &outcome.reference_id,
        timestamp: instant(outcome.timestamp_micros)?,
        status: outcome.status,
        status_reason_code: code,
        status_reason_message: text,
        instruction: &outcome.our_reference,
        amount: amount(outcome.amount),
        payer_fa: outcome.payer_fa.as_deref(),
        payee_fa: outcome.payee_fa.as_deref(),
        payee_name: outcome.payee_name.as_deref(),
        currency_code: outcome.amount.currency.code(),
    })
}

/// RFC 3339 in UTC with microseconds, always the same length.
fn instant(micros: i64) -> Result<String, WireError> {
    let instant = DateTime::from_timestamp_micros(micros).ok_or(WireError::BadInstant)?;
    Ok(instant.to_rfc3339_opts(SecondsFormat::Micros, true))
}

/// At least two decimals. A currency with three keeps them: cutting one would change the sum.
fn amount(money: Money) -> String {
    let mut decimal: Decimal = money.decimal();
    decimal.rescale(money.currency.exponent().max(AMOUNT_DECIMALS_MIN));
    decimal.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::Currency;

    fn envelope() -> Envelope {
        Envelope {
            message_id: "M-1".into(),
            timestamp_micros: 1_790_000_000_000_001,
            payroll: "P-7".into(),
            status: Status::Succ,
            sender_id: "payer.example.org".into(),
            receiver_id: None,
            total_count: 2,
            completed_count: 2,
        }
    }

    fn outcome(status: Status, minor: i64, code: &str) -> Outcome {
        Outcome {
            reference_id: "E1".into(),
            timestamp_micros: 0,
            status,
            reason_code: None,
            reason_text: None,
            our_reference: "006RBCDC1JBZJ4HM".into(),
            amount: Money::new(minor, Currency::parse(code).unwrap()),
            payer_fa: None,
            payee_fa: Some("mobile:254700000011@operator".into()),
            payee_name: Some("Amina \"Nuru\" Ögal".into()),
        }
    }

    #[test]
    fn the_message_is_this_one_to_the_byte() {
        let refused = Outcome {
            reference_id: "E2".into(),
            reason_code: Some("rjct.payee_fa.invalid".into()),
            reason_text: Some("account not found".into()),
            payee_name: None,
            payer_fa: Some("account:1@bank".into()),
            ..outcome(Status::Rjct, 1_250, "KES")
        };
        let bytes = on_disburse(&envelope(), &[outcome(Status::Succ, 20_000, "KES"), refused]).unwrap();
        let wanted = concat!(
            r#"{"header":{"version":"1.0.0","message_id":"M-1","message_ts":"2026-09-21T14:13:20.000001Z","#,
            r#""action":"on-disburse","status":"succ","total_count":2,"completed_count":2,"#,
            r#""sender_id":"payer.example.org"},"message":{"transaction_id":"P-7","disbursements_status":["#,
            r#"{"reference_id":"E1","timestamp":"1970-01-01T00:00:00.000000Z","status":"succ","#,
            r#""instruction":"006RBCDC1JBZJ4HM","amount":"200.00","payee_fa":"mobile:254700000011@operator","#,
            r#""payee_name":"Amina \"Nuru\" Ögal","currency_code":"KES"},"#,
            r#"{"reference_id":"E2","timestamp":"1970-01-01T00:00:00.000000Z","status":"rjct","#,
            r#""status_reason_code":"rjct.payee_fa.invalid","status_reason_message":"account not found","#,
            r#""instruction":"006RBCDC1JBZJ4HM","amount":"12.50","payer_fa":"account:1@bank","#,
            r#""payee_fa":"mobile:254700000011@operator","currency_code":"KES"}]}}"#,
        );
        assert_eq!(String::from_utf8(bytes).unwrap(), wanted);
    }

    #[test]
    fn amounts_keep_every_minor_unit() {
        let written = |minor, code| amount(Money::new(minor, Currency::parse(code).unwrap()));
        assert_eq!(written(10, "JPY"), "10.00");
        assert_eq!(written(5, "KES"), "0.05");
        assert_eq!(written(1_234, "KWD"), "1.234");
        assert_eq!(written(i64::MAX, "KES"), "92233720368547758.07");
        assert_eq!(written(i64::MAX, "JPY"), "9223372036854775807.00");
    }

    #[test]
    fn only_the_schemas_codes_and_lengths_leave() {
        let odd = Outcome {
            reason_code: Some("rjct.account.closed".into()),
            reason_text: Some("ж".repeat(2_000)),
            ..outcome(Status::Rjct, 100, "KES")
        };
        let bytes = on_disburse(&envelope(), &[odd]).unwrap();
        let body: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        let item = &body["message"]["disbursements_status"][0];
        assert!(item.get("status_reason_code").is_none());
        assert_eq!(item["status_reason_message"].as_str().unwrap().chars().count(), REASON_CHARS_MAX);
        let many = vec![outcome(Status::Succ, 1, "KES"); OUTCOMES_MAX + 1];
        assert_eq!(on_disburse(&envelope(), &many), Err(WireError::TooMany));
        assert!(on_disburse(&envelope(), &many[..OUTCOMES_MAX]).is_ok());
        let never = Outcome { timestamp_micros: i64::MAX, ..outcome(Status::Succ, 1, "KES") };
        assert_eq!(on_disburse(&envelope(), &[never]), Err(WireError::BadInstant));
    }
}
