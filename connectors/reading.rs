//! What the readers of files share: errors with a place, exact amounts, civil days, and the sum of a statement.
//! Deliberately not here: any format.

use chrono::NaiveDate;
use rust_decimal::Decimal;

pub use crate::contract::ReadError;
use crate::contract::{
    Balance, Check, Currency, Direction, Entry, EntryStatus, Money, StatementEnd, StatementHead, StatementKind,
};

/// A value of the file that cannot be used: a stable code and a text for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadValue {
    /// Stable lower-case code.
    pub code: &'static str,
    /// For people.
    pub text: String,
}

impl BadValue {
    /// A code and the offending value, shortened.
    pub fn new(code: &'static str, value: &str) -> Self {
        Self { code, text: value.chars().take(VALUE_CHARS_MAX).collect() }
    }
}

/// Longest offending value that is shown.
const VALUE_CHARS_MAX: usize = 64;
/// Longest amount with its mark; the longest of any format is 18 digits.
const AMOUNT_CHARS_MAX: usize = 32;

/// Reads amounts exactly; remembers the last currency, because a file has few.
#[derive(Debug, Default)]
pub struct Amounts {
    last: Option<Currency>,
}

impl Amounts {
    /// A currency by its code.
    pub fn currency(&mut self, code: &str) -> Result<Currency, BadValue> {
        if let Some(last) = self.last
            && last.code() == code
        {
            return Ok(last);
        }
        self.last = Currency::parse(code);
        self.last.ok_or_else(|| BadValue::new("currency_unknown", code))
    }

    /// An amount of zero or more with a full stop; never rounded.
    pub fn money(&mut self, text: &str, currency: &str) -> Result<Money, BadValue> {
        money(text, self.currency(currency)?)
    }
}

/// An amount of zero or more with a full stop; more decimals than the currency has are refused, never rounded.
pub fn money(text: &str, currency: Currency) -> Result<Money, BadValue> {
    let decimal = decimal(text)?;
    Money::from_decimal(decimal, currency).map_err(|error| match error {
        crate::contract::AmountError::TooManyDecimals => BadValue::new("amount_decimals", text),
        _ => BadValue::new("amount_too_large", text),
    })
}

/// Digits with at most one full stop, which may stand at either end.
pub fn decimal(text: &str) -> Result<Decimal, BadValue> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let stops = text.bytes().filter(|byte| *byte == b'.').count();
    if !plain || stops > 1 || text.len() == stops || text.len() > AMOUNT_CHARS_MAX {
        return Err(BadValue::new("amount_malformed", text));
    }
    Decimal::from_str_exact(text.trim_end_matches('.')).map_err(|_| BadValue::new("amount_too_large", text))
}

/// The civil day at the beginning of an ISO date or instant, as the bank wrote it, whatever its zone.
pub fn day(text: &str) -> Option<NaiveDate> {
    let bytes = text.as_bytes().get(..10)?;
    if bytes[4] != b'-' || bytes[7] != b'-' {
        return None;
    }
    let year = i32::try_from(digits(&bytes[..4])?).ok()?;
    NaiveDate::from_ymd_opt(year, digits(&bytes[5..7])?, digits(&bytes[8..])?)
}

/// A few ASCII digits as a number.
pub fn digits(bytes: &[u8]) -> Option<u32> {
    let all = !bytes.is_empty() && bytes.len() <= 9 && bytes.iter().all(u8::is_ascii_digit);
    all.then(|| bytes.iter().fold(0, |sum, byte| sum * 10 + u32::from(byte - b'0')))
}

/// Adds up one statement.
#[derive(Debug, Default)]
pub struct Tally {
    kind: StatementKind,
    opening: Option<Balance>,
    currency: Option<Currency>,
    entries: u64,
    faults: u64,
    is_partial: bool,
    debits: i128,
    credits: i128,
    mixed: bool,
}

impl Tally {
    /// Begins with a statement's head.
    pub fn begin(head: &StatementHead) -> Self {
        let currency = head.opening.map(|balance| balance.money.currency).or(head.currency);
        Self { kind: head.kind, opening: head.opening, currency, ..Self::default() }
    }

    /// Counts an entry. Only booked ones move the balance.
    pub fn add(&mut self, entry: &Entry) {
        self.entries += 1;
        if entry.status != EntryStatus::Booked {
            return;
        }
        let currency = *self.currency.get_or_insert(entry.amount.currency);
        if currency != entry.amount.currency {
            self.mixed = true;
            return;
        }
        // An i128 holds 2^64 sums of 63 bits: it cannot overflow.
        match entry.direction {
            Direction::Debit => self.debits += i128::from(entry.amount.minor),
            Direction::Credit => self.credits += i128::from(entry.amount.minor),
        }
    }

    /// Counts what could not be read. Without one of its entries no sum proves anything.
    pub fn fault(&mut self, is_entry: bool) {
        self.faults += 1;
        self.is_partial |= is_entry;
    }

    /// Compares with the closing balance.
    pub fn end(self, closing: Option<Balance>, is_last_page: Option<bool>) -> StatementEnd {
        StatementEnd {
            is_last_page,
            entries: self.entries,
            faults: self.faults,
            debits_minor: self.debits,
            credits_minor: self.credits,
            closing,
            check: self.check(closing),
        }
    }

    fn check(&self, closing: Option<Balance>) -> Check {
        let (Some(opening), Some(closing)) = (self.opening, closing) else {
            let code = match (self.kind, self.opening) {
                (StatementKind::Notice, _) => "notice",
                (_, None) => "no_opening_balance",
                _ => "no_closing_balance",
            };
            return Check::Unproven(code);
        };
        if self.mixed || opening.money.currency != closing.money.currency {
            return Check::Unproven("mixed_currencies");
        }
        if self.is_partial {
            return Check::Unproven("unreadable_entries");
        }
        let expected = i128::from(opening.money.minor) + self.credits - self.debits;
        match i128::from(closing.money.minor) - expected {
            0 => Check::Holds,
            difference => Check::Differs(difference),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minor(text: &str, code: &str) -> Result<i64, &'static str> {
        Amounts::default().money(text, code).map(|money| money.minor).map_err(|bad| bad.code)
    }

    #[test]
    fn amounts_are_exact_or_refused() {
        assert_eq!(minor("0", "KES"), Ok(0));
        assert_eq!(minor("12.5", "KES"), Ok(1250));
        assert_eq!(minor("12.", "JPY"), Ok(12));
        assert_eq!(minor(".5", "KES"), Ok(50));
        assert_eq!(minor("12.50000", "KES"), Ok(1250));
        assert_eq!(minor("12.505", "KES"), Err("amount_decimals"));
        assert_eq!(minor("12.5", "JPY"), Err("amount_decimals"));
        assert_eq!(minor("92233720368547758.08", "KES"), Err("amount_too_large"));
        assert_eq!(minor("1", "kes"), Err("currency_unknown"));
        for text in ["", ".", "-1", "+1", "1e3", "1_0", "1.2.3", "1,5", "٣", " 1", "NaN"] {
            assert_eq!(minor(text, "KES"), Err("amount_malformed"), "{text}");
        }
    }

    #[test]
    fn days_are_taken_as_written() {
        let wanted = NaiveDate::from_ymd_opt(2026, 11, 23);
        for text in ["2026-11-23", "2026-11-23Z", "2026-11-23T23:59:59+02:00"] {
            assert_eq!(day(text), wanted);
        }
        for text in ["", "2026-11-2", "2026-13-01", "2026-02-30", "20261123xx", "２026-11-23", "+026-11-23"] {
            assert_eq!(day(text), None, "{text}");
        }
    }
}
