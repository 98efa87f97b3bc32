//! What many answers hold: sums, money, instants, hashes. Every sum is given twice, as a decimal for people and
//! in minor units for machines.

use paymaster_connectors::contract::{Currency, Money};
use serde::Serialize;
use utoipa::ToSchema;

use super::error::{Answer, Error};
use crate::store::payroll::Total;

/// A count of payments and their sum.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Sum {
    /// How many payments.
    pub payments: i64,
    /// Their sum as a decimal with the currency's decimals.
    #[schema(example = "1250.50")]
    pub sum: String,
    /// Their sum in minor units.
    #[schema(example = 125_050)]
    pub sum_minor: i64,
}

impl Sum {
    /// A stored total in its currency.
    pub fn new(total: Total, currency: Currency) -> Self {
        let sum = Money::new(total.sum_minor, currency).decimal().to_string();
        Self { payments: total.payments, sum, sum_minor: total.sum_minor }
    }
}

/// An amount of money.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Amount {
    /// As a decimal with the currency's decimals.
    #[schema(example = "1250.50")]
    pub amount: String,
    /// In minor units.
    #[schema(example = 125_050)]
    pub amount_minor: i64,
    /// ISO 4217 code.
    #[schema(example = "KES")]
    pub currency: String,
}

impl From<Money> for Amount {
    fn from(money: Money) -> Self {
        let amount = money.decimal().to_string();
        Self { amount, amount_minor: money.minor, currency: money.currency.code().to_owned() }
    }
}

/// Reads an amount as people write it: `1250.50`.
pub fn amount(text: &str, currency: Currency) -> Answer<Money> {
    Money::parse(text, currency).map_err(|error| Error::unusable("amount_malformed", error))
}

/// A currency's code.
pub fn currency(code: &str) -> Answer<Currency> {
    Currency::parse(code)
        .ok_or_else(|| Error::unusable("currency_unknown", "a currency is an upper-case ISO 4217 code such as KES"))
}

/// An instant, RFC 3339 in UTC.
pub fn at(micros: i64) -> String {
    crate::clock::rfc3339(micros)
}

/// An instant that may not have come; stored as 0 or not at all.
pub fn at_if(micros: impl Into<Option<i64>>) -> Option<String> {
    micros.into().filter(|micros| *micros > 0).map(at)
}
