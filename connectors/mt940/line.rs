//! The statement line `:61:` and the balances: dates of two digits, marks, amounts with a comma, references.
//! Deliberately not here: the text of `:86:`.

use chrono::{Datelike, NaiveDate};

use super::Mode;
use crate::contract::{Balance, Currency, Direction, EntryKind, Money};
use crate::iso20022::kind_of;
use crate::reading::{Amounts, BadValue, digits, money};

/// Longest reference of either side.
const REFERENCE_CHARS_MAX: usize = 16;
/// Longest amount with its comma.
const AMOUNT_CHARS_MAX: usize = 15;
/// Width of a line; a full one goes on in the next without a space.
pub const LINE_CHARS: usize = 65;
/// Two-digit years below this are of this century.
const CENTURY_PIVOT: u32 = 80;
/// What a bank writes where there is no reference.
const NO_REFERENCE: &str = "NONREF";

/// An entry as its line tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    pub valued_on: Option<NaiveDate>,
    pub booked_on: Option<NaiveDate>,
    pub direction: Direction,
    pub is_reversal: bool,
    pub is_expected: bool,
    pub amount: Money,
    /// Such as `NTRF`.
    pub code: String,
    pub reference: String,
    pub bank_reference: String,
    pub supplementary: String,
}

impl Line {
    /// A reversal is a return whatever else is said; then its type counts, then its text.
    pub fn kind(&self, by_text: EntryKind) -> EntryKind {
        match kind_of(&self.code) {
            _ if self.is_reversal => EntryKind::Return,
            EntryKind::Payment => by_text,
            kind => kind,
        }
    }
}

/// What is still to be read of a line.
struct Rest<'a>(&'a str);

impl<'a> Rest<'a> {
    /// The next `count` bytes, if all of them pass.
    fn take(&mut self, count: usize, passes: impl Fn(&u8) -> bool) -> Option<&'a str> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        let all = taken.bytes().all(|byte| passes(&byte));
        all.then(|| {
            self.0 = rest;
            taken
        })
    }

    fn take_while(&mut self, passes: impl Fn(u8) -> bool) -> &'a str {
        let end = self.0.bytes().position(|byte| !passes(byte)).unwrap_or(self.0.len());
        // The bytes that pass are ASCII, so that the end is between characters.
        let (taken, rest) = self.0.split_at_checked(end).unwrap_or((self.0, ""));
        self.0 = rest;
        taken
    }

    fn skip(&mut self, mark: &str) -> bool {
        let rest = self.0.strip_prefix(mark);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }
}

/// Marks in the order in which they must be tried, with direction, reversal and expectation.
const MARKS: [(&str, Direction, bool, bool); 6] = [
    // Taking back a credit is a debit, and the other way round.
    ("RC", Direction::Debit, true, false),
    ("RD", Direction::Credit, true, false),
    ("EC", Direction::Credit, false, true),
    ("ED", Direction::Debit, false, true),
    ("C", Direction::Credit, false, false),
    ("D", Direction::Debit, false, false),
];

/// Reads the value of a `:61:`.
pub fn read(value: &str, currency: Currency, mode: Mode) -> Result<Line, BadValue> {
    let (first, more) = value.split_once('\n').unwrap_or((value, ""));
    let is_cut = mode == Mode::Lenient && first.len() >= LINE_CHARS && !more.is_empty();
    let joined = if is_cut { value.replacen('\n', "", 1) } else { String::new() };
    let (first, more) = if is_cut { joined.split_once('\n').unwrap_or((&joined, "")) } else { (first, more) };
    let bad = |code| BadValue::new(code, first);

    let mut rest = Rest(first);
    let valued = rest.take(6, u8::is_ascii_digit).ok_or_else(|| bad("date_malformed"))?;
    let valued_on = Some(day(valued).ok_or_else(|| bad("date_malformed"))?);
    let booked = rest.take(4, u8::is_ascii_digit);
    let booked_on = booked.and_then(|booked| near(booked, valued_on));
    let mark = MARKS.iter().find(|(mark, ..)| rest.skip(mark)).ok_or_else(|| bad("mark_unknown"))?;
    let (_, direction, is_reversal, is_expected) = *mark;
    // The third letter of the currency may follow.
    let _funds = rest.take(1, u8::is_ascii_alphabetic);
    let amount = rest.take_while(|byte| byte.is_ascii_digit() || byte == b',' || byte == b'.');
    let amount = self::amount(amount, currency, mode)?;
    let letters = rest.0.bytes().take(4).filter(u8::is_ascii_alphanumeric).count();
    let has_type = letters == 4 && rest.0.starts_with(|c: char| c.is_ascii_uppercase());
    let code = if has_type { rest.take(4, u8::is_ascii_alphanumeric).unwrap_or_default() } else { "" };
    if code.is_empty() && mode == Mode::Strict {
        return Err(bad("type_missing"));
    }
    let (reference, bank_reference) = rest.0.split_once("//").unwrap_or((rest.0, ""));
    let (reference, bank_reference) = (reference.trim(), bank_reference.trim());
    if mode == Mode::Strict && reference.len().max(bank_reference.len()) > REFERENCE_CHARS_MAX {
        return Err(bad("reference_too_long"));
    }
    let reference = if reference == NO_REFERENCE { "" } else { reference };
    Ok(Line {
        valued_on,
        booked_on: booked_on.or(valued_on),
        direction,
        is_reversal,
        is_expected,
        amount,
        code: code.to_owned(),
        reference: reference.to_owned(),
        bank_reference: bank_reference.to_owned(),
        supplementary: more.replace('\n', " ").trim().to_owned(),
    })
}

/// Reads the value of a balance field: its currency, if that much can be read, and the balance.
pub fn balance(value: &str, amounts: &mut Amounts) -> (Option<Currency>, Option<Balance>) {
    let mut rest = Rest(value);
    let is_debit = !rest.skip("C") && rest.skip("D");
    let on = rest.take(6, u8::is_ascii_digit).and_then(day);
    let currency = rest.take(3, u8::is_ascii_uppercase).and_then(|code| amounts.currency(code).ok());
    let has_mark = value.starts_with(['C', 'D']);
    let money = currency.and_then(|currency| amount(rest.0.trim(), currency, Mode::Lenient).ok());
    let balance = money.filter(|_| has_mark).map(|mut money| {
        if is_debit {
            money.minor = -money.minor;
        }
        Balance { money, on }
    });
    (currency, balance)
}

fn amount(text: &str, currency: Currency, mode: Mode) -> Result<Money, BadValue> {
    let has_comma = text.contains(',');
    if mode == Mode::Strict && (!has_comma || text.contains('.') || text.len() > AMOUNT_CHARS_MAX) {
        return Err(BadValue::new("amount_malformed", text));
    }
    if has_comma && text.contains('.') {
        return Err(BadValue::new("amount_malformed", text));
    }
    money(&text.replace(',', "."), currency)
}

/// `YYMMDD`.
fn day(text: &str) -> Option<NaiveDate> {
    let bytes = text.as_bytes();
    let year = digits(bytes.get(..2)?)?;
    let century = if year < CENTURY_PIVOT { 2000 } else { 1900 };
    let year = i32::try_from(century + year).ok()?;
    NaiveDate::from_ymd_opt(year, digits(bytes.get(2..4)?)?, digits(bytes.get(4..6)?)?)
}

/// `MMDD`, in the year in which it is nearest to the value date.
fn near(text: &str, valued_on: Option<NaiveDate>) -> Option<NaiveDate> {
    let (month, day) = (digits(text.as_bytes().get(..2)?)?, digits(text.as_bytes().get(2..)?)?);
    let valued_on = valued_on?;
    let years = [valued_on.year(), valued_on.year().checked_sub(1)?, valued_on.year().checked_add(1)?];
    let days = years.into_iter().filter_map(|year| NaiveDate::from_ymd_opt(year, month, day));
    days.min_by_key(|day| day.signed_duration_since(valued_on).num_days().abs())
}
