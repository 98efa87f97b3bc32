//! Instructions into bytes: the body of one batch, or one body a line for single calls. Pure.
//! Amounts are written in their shortest form, which every reading of the specification takes.
//! Deliberately not here: headers, and anything a provider answers.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::settings::{Asking, Mode, Settings};
use crate::contract::{Batch, Failure, Instruction, Reason, ReasonClass, Reference};

/// Longest description the protocol takes.
const DESCRIPTION_CHARS_MAX: usize = 160;
/// Longest title the protocol takes.
const TITLE_CHARS_MAX: usize = 256;
/// Longest identifier the protocol takes.
const IDENTIFIER_CHARS_MAX: usize = 256;
/// Shortest and longest telephone number in international form.
const MSISDN_DIGITS: std::ops::RangeInclusive<usize> = 6..=15;
/// The identifier kind that only telephone numbers fit.
const MSISDN: &str = "msisdn";
/// Address schemes whose identifier is a telephone number.
const MSISDN_SCHEMES: [&str; 4] = ["mobile", "msisdn", "tel", "phone"];

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct BatchBody<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    batch_title: &'a str,
    #[serde(rename = "transactions")]
    payments: Vec<PaymentBody<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PaymentBody<'a> {
    /// Absent where the path says it.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    amount: String,
    currency: &'static str,
    credit_party: [PartyBody<'a>; 1],
    debit_party: [PartyBody<'a>; 1],
    #[serde(rename = "requestingOrganisationTransactionReference")]
    reference: &'a str,
    #[serde(skip_serializing_if = "is_empty")]
    description_text: Cow<'a, str>,
}

#[derive(Serialize)]
struct PartyBody<'a> {
    key: &'a str,
    value: &'a str,
}

/// The exact bytes of a batch.
pub fn encode(settings: &Settings, batch: &Batch) -> Result<Vec<u8>, Failure> {
    if batch.instructions.is_empty() {
        return Err(refused(ReasonClass::Format, "empty_batch", "a batch needs at least one instruction"));
    }
    if batch.instructions.len() > settings.items_max as usize {
        return Err(refused(ReasonClass::Format, "too_many_items", "the batch is larger than the provider takes"));
    }
    let payments = batch.instructions.iter().map(|instruction| payment(settings, batch, instruction));
    let payments = payments.collect::<Result<Vec<_>, _>>()?;
    let mut bytes = Vec::new();
    match settings.mode {
        Mode::Batch => write(&mut bytes, &BatchBody { batch_title: cut(&batch.title, TITLE_CHARS_MAX), payments })?,
        Mode::Single => {
            for payment in &payments {
                write(&mut bytes, payment)?;
                bytes.push(b'\n');
            }
        }
    }
    Ok(bytes)
}

fn payment<'a>(
    settings: &'a Settings,
    batch: &Batch,
    instruction: &'a Instruction,
) -> Result<PaymentBody<'a>, Failure> {
    let amount = instruction.amount;
    if amount.currency != batch.currency || amount.minor <= 0 {
        return Err(refused(ReasonClass::Format, "amount", "the amount is not a positive sum in the batch's currency"));
    }
    let identifier = identifier(&instruction.payee_account, &settings.identifier_key).ok_or_else(|| {
        let text = format!("the payee account of {} is no {}", instruction.reference, settings.identifier_key);
        refused(ReasonClass::FixData, "payee_account", text)
    })?;
    Ok(PaymentBody {
        kind: (settings.mode == Mode::Batch).then_some("disbursement"),
        amount: amount.normalised(),
        currency: amount.currency.code(),
        credit_party: [PartyBody { key: &settings.identifier_key, value: identifier }],
        debit_party: [PartyBody { key: &settings.debit_party.key, value: &settings.debit_party.value }],
        reference: instruction.reference.as_str(),
        description_text: description(settings, instruction),
    })
}

/// A statement has no field of its own for our reference: where it is to be found there, it comes first.
fn description<'a>(settings: &Settings, instruction: &'a Instruction) -> Cow<'a, str> {
    let purpose = instruction.purpose.trim();
    match settings.ask {
        Asking::Status => cut(purpose, DESCRIPTION_CHARS_MAX).into(),
        Asking::Statement => {
            let text = format!("{} {purpose}", instruction.reference);
            cut(&text, DESCRIPTION_CHARS_MAX).trim_end().to_owned().into()
        }
    }
}

/// Our reference as an entry of a statement shows it: in its own field, or as the first word we wrote.
pub fn reference_on_statement(own: Option<&str>, description: Option<&str>) -> Option<Reference> {
    match own {
        Some(own) => Reference::parse(own.trim()),
        None => Reference::parse(description?.split_whitespace().next()?),
    }
}

/// The identifier inside a financial address `scheme:id@provider`, if a payment by `key` can go to it.
/// An account number is never sent as a telephone number: it could be somebody's.
pub fn identifier<'a>(payee_account: &'a str, key: &str) -> Option<&'a str> {
    let (scheme, rest) = payee_account.split_once(':')?;
    let (id, provider) = rest.rsplit_once('@')?;
    let plain = !id.contains(|c: char| c.is_whitespace() || c.is_control());
    if provider.is_empty() || id.is_empty() || !plain || id.chars().count() > IDENTIFIER_CHARS_MAX {
        return None;
    }
    if key.eq_ignore_ascii_case(MSISDN) {
        let digits = id.strip_prefix('+').unwrap_or(id);
        let number = MSISDN_DIGITS.contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
        let named = MSISDN_SCHEMES.iter().any(|known| known.eq_ignore_ascii_case(scheme));
        return (number && named).then_some(id);
    }
    Some(id)
}

/// One stored body of a single call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line<'a> {
    /// Whose it is.
    pub reference: Reference,
    /// The body.
    pub body: &'a [u8],
}

#[derive(Deserialize)]
struct LineHead {
    #[serde(rename = "requestingOrganisationTransactionReference")]
    reference: Reference,
}

/// Splits stored bytes into their bodies; `None` when they are not what [`encode`] makes.
pub fn lines(wire: &[u8]) -> Option<Vec<Line<'_>>> {
    let bodies = wire.split(|byte| *byte == b'\n').filter(|body| !body.is_empty());
    bodies
        .map(|body| {
            let head: LineHead = serde_json::from_slice(body).ok()?;
            Some(Line { reference: head.reference, body })
        })
        .collect()
}

fn write(bytes: &mut Vec<u8>, body: &impl Serialize) -> Result<(), Failure> {
    serde_json::to_writer(bytes, body).map_err(|error| refused(ReasonClass::Format, "encode", error.to_string()))
}

fn is_empty(text: &str) -> bool {
    text.is_empty()
}

fn cut(text: &str, chars: usize) -> &str {
    text.char_indices().nth(chars).map_or(text, |(end, _)| &text[..end])
}

fn refused(class: ReasonClass, code: &str, text: impl AsRef<str>) -> Failure {
    Failure::Refused(Reason::new(class, code, text))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{batch, instruction, settings};
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn a_batch_is_the_body_of_one_call() {
        let bytes = encode(&settings(json!({})), &batch(&[(1, 150_000), (2, 5_050)])).unwrap();
        let expected = include_str!("fixtures/batch.json");
        assert_eq!(
            serde_json::from_slice::<Value>(&bytes).unwrap(),
            serde_json::from_str::<Value>(expected).unwrap(),
            "{}",
            String::from_utf8_lossy(&bytes)
        );
    }

    #[test]
    fn amounts_have_no_trailing_zeros_in_any_currency() {
        for (code, minor, text) in
            [("JPY", 1_500, "1500"), ("KES", 550, "5.5"), ("KES", 20_000, "200"), ("KWD", 1_005, "1.005")]
        {
            let mut batch = batch(&[(1, minor)]);
            batch.currency = crate::contract::Currency::parse(code).unwrap();
            batch.instructions[0].amount.currency = batch.currency;
            let body: Value = serde_json::from_slice(&encode(&settings(json!({})), &batch).unwrap()).unwrap();
            assert_eq!(body["transactions"][0]["amount"], text, "{code}");
        }
    }

    #[test]
    fn single_bodies_come_back_line_by_line_without_a_type() {
        let batch = batch(&[(1, 100), (2, 200)]);
        let bytes = encode(&settings(json!({"mode": "single"})), &batch).unwrap();
        let found = lines(&bytes).unwrap();
        let references: Vec<_> = found.iter().map(|line| line.reference).collect();
        assert_eq!(references, [batch.instructions[0].reference, batch.instructions[1].reference]);
        let body: Value = serde_json::from_slice(found[1].body).unwrap();
        assert_eq!((body.get("type"), &body["amount"]), (None, &json!("2")));
        assert_eq!(lines(b"{}\n"), None);
    }

    #[test]
    fn descriptions_are_cut_by_characters_and_left_out_when_empty() {
        let mut batch = batch(&[(1, 100), (2, 100)]);
        batch.instructions[0].purpose = "é".repeat(500);
        batch.instructions[1].purpose = " ".into();
        let body: Value = serde_json::from_slice(&encode(&settings(json!({})), &batch).unwrap()).unwrap();
        assert_eq!(body["transactions"][0]["descriptionText"], "é".repeat(160));
        assert_eq!(body["transactions"][1].get("descriptionText"), None);
    }

    #[test]
    fn where_the_statement_is_asked_the_reference_comes_first_in_the_description() {
        let settings = settings(json!({"ask": "statement"}));
        let mut batch = batch(&[(1, 100), (2, 100)]);
        batch.instructions[0].purpose = "ä".repeat(200);
        batch.instructions[1].purpose = " ".into();
        let bytes = encode(&settings, &batch).unwrap();
        let value: Value = serde_json::from_slice(&bytes).unwrap();
        let texts = [0, 1].map(|n| value["transactions"][n]["descriptionText"].as_str().unwrap().to_owned());
        assert_eq!((texts[0].chars().count(), texts[1].as_str()), (160, batch.instructions[1].reference.as_str()));
        assert_eq!(reference_on_statement(None, Some(&texts[0])), Some(batch.instructions[0].reference));
        // A reference in somebody's purpose is not the payment's own.
        let quoted = format!("as {}", batch.instructions[0].reference);
        assert_eq!(reference_on_statement(None, Some(&quoted)), None);
        assert_eq!(reference_on_statement(Some("x"), Some(&texts[0])), None);
        assert_eq!(reference_on_statement(None, None), None);
    }

    #[test]
    fn only_telephone_numbers_travel_as_msisdn() {
        for (account, key, id) in [
            ("mobile:+254700000001@operator", "msisdn", Some("+254700000001")),
            ("MSISDN:254700000001@op", "msisdn", Some("254700000001")),
            ("account:254700000001@bank", "msisdn", None),
            ("mobile:12@op", "msisdn", None),
            ("mobile:+2547o0000001@op", "msisdn", None),
            ("mobile:+254700000001", "msisdn", None),
            ("joe@bank", "walletid", None),
            ("wallet:w 1@op", "walletid", None),
            ("wallet:w@1@op", "walletid", Some("w@1")),
        ] {
            assert_eq!(identifier(account, key), id, "{account}");
        }
    }

    #[test]
    fn what_cannot_be_carried_is_refused_before_anything_is_sent() {
        let refusal = |batch: &Batch| match encode(&settings(json!({"items_max": 1})), batch) {
            Err(Failure::Refused(reason)) => (reason.class, reason.code),
            other => panic!("{other:?}"),
        };
        let mut bad = batch(&[(1, 100)]);
        bad.instructions[0].payee_account = "iban:DE02@bank".into();
        assert_eq!(refusal(&bad), (ReasonClass::FixData, "payee_account".into()));
        assert_eq!(refusal(&batch(&[])).1, "empty_batch");
        assert_eq!(refusal(&batch(&[(1, 100), (2, 100)])).1, "too_many_items");
        assert_eq!(refusal(&batch(&[(1, 0)])).1, "amount");
        let mut mixed = batch(&[]);
        mixed.instructions.push(Instruction {
            amount: crate::contract::Money::new(1, crate::contract::Currency::parse("USD").unwrap()),
            ..instruction(1, 1)
        });
        assert_eq!(refusal(&mixed).1, "amount");
    }
}
