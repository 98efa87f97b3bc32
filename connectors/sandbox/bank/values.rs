//! The values of a payment file: identifiers, counts, sums, days, and why a file is refused for one of them.
//! Deliberately not here: where they stand in the file (`order.rs`).

use chrono::NaiveDate;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::BytesRef;
use rust_decimal::Decimal;

/// Longest identifier.
const ID_CHARS_MAX: usize = 35;

/// A file that is refused as a whole, and what could be read of its head.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) code: &'static str,
    pub(super) text: String,
    pub(super) message_id: Option<String>,
    pub(super) kind: Option<String>,
}

impl Refusal {
    pub(super) fn new(code: &'static str, text: impl Into<String>) -> Self {
        Self { code, text: text.into(), message_id: None, kind: None }
    }
}

/// What breaks the format.
pub(super) fn broken(text: impl Into<String>) -> Refusal {
    Refusal::new("FF01", text)
}

/// What a level says of its content, and what is in it.
#[derive(Debug, Default)]
pub(super) struct Totals {
    pub(super) stated_count: Option<u64>,
    pub(super) stated_sum: Option<Decimal>,
    pub(super) count: u64,
    pub(super) sum: Decimal,
}

impl Totals {
    pub(super) fn add(&mut self, amount: Decimal) -> Result<(), Refusal> {
        self.count += 1;
        self.sum = self.sum.checked_add(amount).ok_or_else(|| broken("the sum is too large"))?;
        Ok(())
    }

    pub(super) fn check(&self, level: &str) -> Result<(), Refusal> {
        if self.stated_count.is_some_and(|stated| stated != self.count) {
            return Err(Refusal::new("AM18", format!("{level} holds {} payments, not as many as it says", self.count)));
        }
        if self.stated_sum.is_some_and(|stated| stated != self.sum) {
            return Err(Refusal::new("AM10", format!("{level} adds up to {}, not to its control sum", self.sum)));
        }
        Ok(())
    }
}

/// The character that a reference stands for: the five of XML and numeric ones.
pub(super) fn meaning(reference: &BytesRef<'_>) -> Option<char> {
    match reference.resolve_char_ref() {
        Ok(Some(c)) => Some(c),
        Ok(None) => resolve_predefined_entity(reference).and_then(|text| text.chars().next()),
        Err(_) => None,
    }
}

/// A text that is there and not too long.
pub(super) fn bounded(text: &str, chars_max: usize, name: &str) -> Result<String, Refusal> {
    match text.chars().count() {
        0 => Err(broken(format!("{name} is empty"))),
        chars if chars > chars_max => Err(broken(format!("{name} is too long"))),
        _ => Ok(text.to_owned()),
    }
}

/// An identifier.
pub(super) fn id(text: &str, name: &str) -> Result<String, Refusal> {
    bounded(text, ID_CHARS_MAX, name)
}

/// A number of payments.
pub(super) fn count(text: &str) -> Result<u64, Refusal> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let count = digits.then(|| text.parse().ok()).flatten();
    count.ok_or_else(|| broken("NbOfTxs is no number"))
}

/// An amount or control sum: at most 18 digits, no sign.
pub(super) fn decimal(text: &str) -> Result<Decimal, Refusal> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    let value = (plain && (1..=18).contains(&digits)).then(|| Decimal::from_str_exact(text).ok()).flatten();
    value.ok_or_else(|| broken("an amount or control sum is no decimal"))
}

/// What an `xs:boolean` says.
pub(super) fn truth(text: &str) -> Result<bool, Refusal> {
    match text {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(broken("BtchBookg is neither true nor false")),
    }
}

/// A day.
pub(super) fn day(text: &str) -> Result<NaiveDate, Refusal> {
    text.parse().map_err(|_| broken("ReqdExctnDt is no date"))
}
