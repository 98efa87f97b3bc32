//! Exact money: minor units and a currency, checked arithmetic, no floats and no rounding.
//! Deliberately not here: exchange rates and formatting for a locale.

use std::fmt;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

/// An ISO 4217 alphabetic code that is known and has a minor unit.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Currency(iso_currency::Currency);

impl Currency {
    /// Reads an upper-case ISO 4217 code. `usd`, `XXX` and unknown codes are refused.
    pub fn parse(code: &str) -> Option<Self> {
        let currency = iso_currency::Currency::from_code(code)?;
        currency.exponent().map(|_| Self(currency))
    }

    /// The alphabetic code, three upper-case letters.
    pub fn code(self) -> &'static str {
        self.0.code()
    }

    /// Number of decimals of the minor unit: 0 for JPY, 2 for KES, 3 for KWD.
    pub fn exponent(self) -> u32 {
        u32::from(self.0.exponent().unwrap_or(0))
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl TryFrom<String> for Currency {
    type Error = String;
    fn try_from(code: String) -> Result<Self, String> {
        Self::parse(&code).ok_or_else(|| format!("`{code}` is not an ISO 4217 currency code"))
    }
}

impl From<Currency> for String {
    fn from(currency: Currency) -> Self {
        currency.code().to_owned()
    }
}

/// Why a written amount cannot be paid. Each has a stable code in the intake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AmountError {
    /// Nothing was written.
    #[error("the amount is empty")]
    Empty,
    /// Anything but ASCII digits with at most one full stop between digits.
    #[error("the amount must be plain digits with an optional full stop, such as 1250.00")]
    NotPlain,
    /// Digits of another script, such as Arabic-Indic.
    #[error("the amount must use the digits 0-9")]
    ForeignDigits,
    /// More decimals than the currency's minor unit has.
    #[error("the amount has more decimals than the currency allows")]
    TooManyDecimals,
    /// Zero or below.
    #[error("the amount must be more than zero")]
    NotPositive,
    /// Does not fit in 63 bits of minor units.
    #[error("the amount is too large")]
    TooLarge,
}

/// A sum in minor units of one currency. Negative sums do not occur in instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Money {
    /// Minor units, for example cents.
    pub minor: i64,
    /// What they are units of.
    pub currency: Currency,
}

impl Money {
    /// A sum of `minor` units.
    pub fn new(minor: i64, currency: Currency) -> Self {
        Self { minor, currency }
    }

    /// Reads a positive amount as people write it in files: `1250`, `1250.5`, `1250.50`.
    /// Signs, exponents, grouping and more decimals than the currency has are refused, never rounded.
    pub fn parse(text: &str, currency: Currency) -> Result<Self, AmountError> {
        if text.is_empty() {
            return Err(AmountError::Empty);
        }
        if text.chars().any(|c| c.is_numeric() && !c.is_ascii_digit()) {
            return Err(AmountError::ForeignDigits);
        }
        if is_plain(text.strip_prefix('-').unwrap_or(text)) && text.starts_with('-') {
            return Err(AmountError::NotPositive);
        }
        if !is_plain(text) {
            return Err(AmountError::NotPlain);
        }
        // The other reader rounds what has more digits than it can hold.
        let decimal = Decimal::from_str_exact(text).map_err(|_| AmountError::TooLarge)?;
        let money = Self::from_decimal(decimal, currency)?;
        if money.minor == 0 { Err(AmountError::NotPositive) } else { Ok(money) }
    }

    /// Converts an exact decimal; refuses what the currency's minor unit cannot hold.
    pub fn from_decimal(decimal: Decimal, currency: Currency) -> Result<Self, AmountError> {
        let exact = decimal.normalize();
        if exact.scale() > currency.exponent() {
            return Err(AmountError::TooManyDecimals);
        }
        let factor = 10_i128.pow(currency.exponent() - exact.scale());
        let minor = exact.mantissa().checked_mul(factor).ok_or(AmountError::TooLarge)?;
        let minor = i64::try_from(minor).map_err(|_| AmountError::TooLarge)?;
        Ok(Self { minor, currency })
    }

    /// The sum as an exact decimal with the currency's decimals, such as `1250.50`.
    pub fn decimal(self) -> Decimal {
        Decimal::from_i128_with_scale(i128::from(self.minor), self.currency.exponent())
    }

    /// Shortest decimal text without trailing zeros: `200`, `5.5` (the form the GSMA schema demands).
    pub fn normalised(self) -> String {
        self.decimal().normalize().to_string()
    }

    /// Adds, or `None` when the currencies differ or the sum does not fit.
    pub fn checked_add(self, other: Self) -> Option<Self> {
        if self.currency != other.currency {
            return None;
        }
        self.minor.checked_add(other.minor).map(|minor| Self { minor, ..self })
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.decimal(), self.currency)
    }
}

/// ASCII digits, optionally one full stop with digits on both sides.
fn is_plain(text: &str) -> bool {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    match text.split_once('.') {
        None => digits(text),
        Some((whole, fraction)) => digits(whole) && digits(fraction),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str, code: &str) -> Result<i64, AmountError> {
        Money::parse(text, Currency::parse(code).unwrap()).map(|money| money.minor)
    }

    #[test]
    fn reads_exact_minor_units_for_each_exponent() {
        assert_eq!(parse("10.00", "KES"), Ok(1000));
        assert_eq!(parse("10.5", "KES"), Ok(1050));
        assert_eq!(parse("010.00", "KES"), Ok(1000));
        assert_eq!(parse("10.500", "KES"), Ok(1050));
        assert_eq!(parse("10", "JPY"), Ok(10));
        assert_eq!(parse("1.234", "KWD"), Ok(1234));
        assert_eq!(parse("92233720368547758.07", "KES"), Ok(i64::MAX));
    }

    #[test]
    fn refuses_rather_than_rounds() {
        use AmountError::*;
        let cases = [
            ("", Empty),
            ("0", NotPositive),
            ("0.00", NotPositive),
            ("-5", NotPositive),
            ("1,000.00", NotPlain),
            ("1.000,00", NotPlain),
            ("1e3", NotPlain),
            ("NaN", NotPlain),
            ("Inf", NotPlain),
            ("10.005", TooManyDecimals),
            ("٣", ForeignDigits),
            (" 10", NotPlain),
            ("+1", NotPlain),
            (".5", NotPlain),
            ("5.", NotPlain),
            ("92233720368547758.08", TooLarge),
            ("99999999999999999999999999999999999999", TooLarge),
            ("10.0000000000000000000000000000000001", TooLarge),
        ];
        for (text, wanted) in cases {
            assert_eq!(parse(text, "KES"), Err(wanted), "{text}");
        }
        assert_eq!(parse("10.5", "JPY"), Err(TooManyDecimals));
    }

    #[test]
    fn writes_what_the_rails_want() {
        let kes = Currency::parse("KES").unwrap();
        assert_eq!(Money::new(20000, kes).normalised(), "200");
        assert_eq!(Money::new(550, kes).normalised(), "5.5");
        assert_eq!(Money::new(550, kes).to_string(), "5.50 KES");
        assert!(Money::new(i64::MAX, kes).checked_add(Money::new(1, kes)).is_none());
        for code in ["usd", "XXX", "", "KE", "ZZZ"] {
            assert!(Currency::parse(code).is_none(), "{code}");
        }
    }
}
