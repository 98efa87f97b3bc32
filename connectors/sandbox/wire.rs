//! GSMA Mobile Money 1.2 on the wire, seen from the operator: what is read, checked and written. Pure.
//! The schema is the disbursement OpenAPI 1.2.0; deliberately not here: anything that is remembered.

use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, SecondsFormat};
use serde::Deserialize;
use serde_json::{Value, json};

use super::reason::{CURRENCY, DECIMALS, Reason, TOO_LITTLE};
use crate::contract::{AmountError, Currency, Money};

/// Most payments in one batch (schema).
pub(super) const ITEMS_MAX: usize = 999_999;
/// Most identifiers of one party (schema).
const PARTY_MAX: usize = 10;
/// Longest text of most fields (schema).
const TEXT_CHARS_MAX: usize = 256;
/// Longest description of a payment (schema).
const DESCRIPTION_CHARS_MAX: usize = 160;
/// Longest amount (schema).
const AMOUNT_CHARS_MAX: usize = 23;
/// Separates the parts of packed parties; control characters are refused on entry.
const SEPARATOR: char = '\u{1f}';

/// Kinds of payment that credit a payee.
const KINDS: [&str; 4] = ["disbursement", "transfer", "inttransfer", "deposit"];
/// Kinds that the schema knows and this operator does not offer.
const OTHER_KINDS: [&str; 5] = ["billpay", "merchantpay", "adjustment", "reversal", "withdrawal"];

/// An error as the protocol words it.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    category: &'static str,
    code: &'static str,
    text: String,
    parameters: Vec<(&'static str, String)>,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, category: &'static str, code: &'static str, text: &str) -> Self {
        let text = text.chars().take(TEXT_CHARS_MAX).collect();
        Self { status, category, code, text, parameters: Vec::new() }
    }

    pub(super) fn invalid(code: &'static str, text: impl AsRef<str>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "validation", code, text.as_ref())
    }

    pub(super) fn business(code: &'static str, text: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "businessRule", code, text)
    }

    pub(super) fn unknown(text: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "identification", "identifierError", text)
    }

    fn reason(reason: &Reason) -> Self {
        Self::new(StatusCode::BAD_REQUEST, reason.category, reason.code, reason.text)
    }

    fn with(mut self, key: &'static str, value: impl Into<String>) -> Self {
        self.parameters.push((key, value.into()));
        self
    }

    pub(super) fn body(&self) -> Value {
        let parameters: Vec<Value> =
            self.parameters.iter().map(|(key, value)| json!({"key": key, "value": value})).collect();
        let mut body = error_body((self.category, self.code), &self.text, super::now_micros());
        if !parameters.is_empty() {
            body["errorParameters"] = Value::Array(parameters);
        }
        body
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.status, axum::Json(self.body())).into_response()
    }
}

/// The error object. The schema misspells its description in lower case; both spellings are written.
pub(super) fn error_body((category, code): (&str, &str), text: &str, at_micros: i64) -> Value {
    json!({
        "errorCategory": category, "errorCode": code, "errorDescription": text, "errordescription": text,
        "errorDateTime": date(at_micros),
    })
}

/// RFC 3339 in UTC with milliseconds.
pub(super) fn date(at_micros: i64) -> String {
    DateTime::from_timestamp_micros(at_micros).unwrap_or_default().to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// The operator's reference for its own number.
pub(super) fn operator_reference(number: u64) -> String {
    format!("OP{number:012}")
}

/// Reads an operator's reference back.
pub(super) fn operator_number(reference: &str) -> Option<u64> {
    reference.strip_prefix("OP")?.parse().ok()
}

#[derive(Deserialize)]
struct Party {
    key: String,
    value: String,
}

/// A payment as it was posted. Everything is optional here, so that what is missing can be named.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Posted {
    amount: Option<String>,
    currency: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    credit_party: Option<Vec<Party>>,
    debit_party: Option<Vec<Party>>,
    requesting_organisation_transaction_reference: Option<String>,
    description_text: Option<String>,
}

/// A batch as it was posted.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PostedBatch {
    #[serde(rename = "transactions")]
    items: Option<Vec<Posted>>,
    pub(super) batch_status: Option<String>,
    pub(super) batch_title: Option<String>,
    #[serde(alias = "batchdescription")]
    pub(super) batch_description: Option<String>,
}

/// One change of a PATCH.
#[derive(Deserialize)]
pub(super) struct Patch {
    pub(super) op: String,
    pub(super) path: String,
    pub(super) value: String,
}

/// A payment that was read and checked.
#[derive(Debug, Clone)]
pub(super) struct Item {
    pub(super) reference: Box<str>,
    pub(super) payee: Box<str>,
    pub(super) debit: Arc<str>,
    pub(super) kind: &'static str,
    pub(super) amount_minor: i64,
    /// The payer's words for the statement.
    pub(super) description: Box<str>,
    /// Why it cannot be paid although it is well formed.
    pub(super) refused: Option<&'static Reason>,
}

impl Item {
    /// The payee's first identifier.
    pub(super) fn payee_id(&self) -> &str {
        first_value(&self.payee)
    }
}

/// Reads JSON, or says in the protocol's words that it is none.
pub(super) fn read<T: for<'de> Deserialize<'de>>(body: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|error| Refusal::invalid("formatError", error.to_string()))
}

/// Reads the payments of a batch; one malformed payment refuses the whole batch.
pub(super) fn items(posted: &mut PostedBatch, currency: Currency) -> Result<Vec<Item>, Refusal> {
    let posted = posted.items.take().ok_or_else(|| missing("transactions"))?;
    if posted.is_empty() || posted.len() > ITEMS_MAX {
        return Err(Refusal::invalid("lengthError", "a batch has 1 to 999999 transactions"));
    }
    let mut debit: Arc<str> = Arc::from("");
    let mut read = Vec::with_capacity(posted.len());
    for (index, one) in posted.into_iter().enumerate() {
        let mut item = item(one, None, currency).map_err(|refusal| refusal.with("index", index.to_string()))?;
        if item.debit.is_empty() {
            return Err(missing("debitParty").with("index", index.to_string()));
        }
        // One payer pays the batch as a rule, so its name is kept once.
        if debit == item.debit {
            item.debit = debit.clone();
        } else {
            debit = item.debit.clone();
        }
        read.push(item);
    }
    Ok(read)
}

/// Reads a single payment; what could never be paid is refused at once.
pub(super) fn single(posted: Posted, kind: Option<&str>, currency: Currency) -> Result<Item, Refusal> {
    let from_path = kind.is_some();
    let item = item(posted, kind, currency)?;
    if item.debit.is_empty() && !from_path {
        return Err(missing("debitParty"));
    }
    match item.refused {
        Some(reason) => Err(Refusal::reason(reason)),
        None => Ok(item),
    }
}

fn item(posted: Posted, kind: Option<&str>, currency: Currency) -> Result<Item, Refusal> {
    let kind = self::kind(kind.or(posted.kind.as_deref()).ok_or_else(|| missing("type"))?)?;
    let amount = posted.amount.ok_or_else(|| missing("amount"))?;
    if !is_amount(&amount) {
        return Err(Refusal::invalid("formatError", "the amount does not match the schema's pattern")
            .with("field", "amount")
            .with("value", amount.chars().take(TEXT_CHARS_MAX).collect::<String>()));
    }
    let code = posted.currency.ok_or_else(|| missing("currency"))?;
    let reference = posted.requesting_organisation_transaction_reference.unwrap_or_default();
    if reference.chars().count() > TEXT_CHARS_MAX {
        return Err(Refusal::invalid("lengthError", "the reference is too long"));
    }
    let description = posted.description_text.unwrap_or_default();
    if description.chars().count() > DESCRIPTION_CHARS_MAX {
        return Err(Refusal::invalid("lengthError", "the description is too long"));
    }
    let payee = pack(posted.credit_party.unwrap_or_default(), "creditParty")?;
    if payee.is_empty() {
        return Err(missing("creditParty"));
    }
    let debit = pack(posted.debit_party.unwrap_or_default(), "debitParty")?;
    let (amount_minor, refused) = if code == currency.code() {
        match Money::parse(&amount, currency) {
            Ok(money) => (money.minor, None),
            Err(AmountError::NotPositive) => (0, Some(&TOO_LITTLE)),
            Err(_) => (0, Some(&DECIMALS)),
        }
    } else {
        (0, Some(&CURRENCY))
    };
    Ok(Item {
        reference: reference.into(),
        payee: payee.into(),
        debit: debit.into(),
        kind,
        amount_minor,
        description: description.into(),
        refused,
    })
}

/// The stored spelling of a kind of payment.
pub(super) fn kind(text: &str) -> Result<&'static str, Refusal> {
    match KINDS.iter().find(|known| **known == text) {
        Some(known) => Ok(known),
        None if OTHER_KINDS.contains(&text) => {
            Err(Refusal::business("transactionTypeError", "this operator does not offer that type"))
        }
        None => Err(Refusal::invalid("formatError", "unknown type").with("field", "type")),
    }
}

fn missing(field: &'static str) -> Refusal {
    Refusal::invalid("mandatoryValueNotSupplied", format!("{field} is missing")).with("field", field)
}

/// The schema's pattern: no leading zeros, up to four decimals, no trailing zero.
fn is_amount(text: &str) -> bool {
    let (whole, fraction) = match text.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (text, None),
    };
    let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    let whole_fits = whole == "0" || (digits(whole) && (1..=18).contains(&whole.len()) && !whole.starts_with('0'));
    let fraction_fits = fraction.is_none_or(|f| digits(f) && (1..=4).contains(&f.len()) && !f.ends_with('0'));
    text.len() <= AMOUNT_CHARS_MAX && whole_fits && fraction_fits
}

/// Writes parties as one text: keys and values in turn. Nothing given is the empty text.
fn pack(parties: Vec<Party>, field: &'static str) -> Result<String, Refusal> {
    let bad = |text: &str| {
        let length = text.chars().count();
        length == 0 || length > TEXT_CHARS_MAX || text.chars().any(char::is_control)
    };
    if parties.len() > PARTY_MAX || parties.iter().any(|party| bad(&party.key) || bad(&party.value)) {
        return Err(Refusal::invalid("formatError", "a party is not as the schema wants it").with("field", field));
    }
    let mut packed = String::new();
    for party in &parties {
        for part in [&party.key, &party.value] {
            if !packed.is_empty() {
                packed.push(SEPARATOR);
            }
            packed.push_str(part);
        }
    }
    Ok(packed)
}

/// The first identifier of packed parties.
pub(super) fn first_value(packed: &str) -> &str {
    packed.split(SEPARATOR).nth(1).unwrap_or_default()
}

/// Packed parties as the wire wants them.
pub(super) fn parties(packed: &str) -> Value {
    let parts: Vec<&str> = packed.split(SEPARATOR).collect();
    parts.chunks_exact(2).map(|pair| json!({"key": pair[0], "value": pair[1]})).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_follow_the_schema() {
        for good in ["0", "5", "200", "5.5", "0.0001", "999999999999999999", "15.21"] {
            assert!(is_amount(good), "{good}");
        }
        for bad in ["", "200.00", "5.50", "05", "5.", ".5", "-5", "+5", "1e3", "1.00001", "1000000000000000000", "٣"] {
            assert!(!is_amount(bad), "{bad}");
        }
    }

    #[test]
    fn parties_survive_packing() {
        let party = |key: &str, value: &str| Party { key: key.into(), value: value.into() };
        let packed = pack(vec![party("msisdn", "+25470"), party("emailaddress", "a@b$c")], "creditParty").unwrap();
        assert_eq!(first_value(&packed), "+25470");
        let wanted = json!([{"key": "msisdn", "value": "+25470"}, {"key": "emailaddress", "value": "a@b$c"}]);
        assert_eq!(parties(&packed), wanted);
        assert!(pack(vec![party("msisdn", "1\u{1f}2")], "creditParty").is_err());
        assert_eq!(parties(""), json!([]));
    }
}
