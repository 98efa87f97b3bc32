//! Why a payment was not made, as the GSMA error object names it.
//! Deliberately not here: when (`faults.rs` draws, `wire.rs` checks).

/// One reason.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Reason {
    pub category: &'static str,
    pub code: &'static str,
    pub text: &'static str,
}

impl Reason {
    const fn business(code: &'static str, text: &'static str) -> Self {
        Self { category: "businessRule", code, text }
    }

    /// Finds a reason by the text it was stored under.
    pub(super) fn parse(text: &str) -> Option<&'static Self> {
        DRAWN.iter().chain(&CHECKED).find(|reason| reason.text == text).copied()
    }
}

pub(super) static ACCOUNT_NOT_FOUND: Reason =
    Reason { category: "identification", code: "identifierError", text: "Account not found" };
static ACCOUNT_CLOSED: Reason = Reason::business("requestDeclined", "Account closed");
pub(super) static DAILY_LIMIT: Reason = Reason::business("dailyValueLimitExceeded", "Daily limit exceeded");
static MAX_BALANCE: Reason = Reason::business("maxBalanceExceeded", "Max balance exceeded");
static DECEASED: Reason = Reason::business("requestDeclined", "Payee deceased");
pub(super) static INSUFFICIENT_FUNDS: Reason = Reason::business("insufficientFunds", "Insufficient funds");
pub(super) static CURRENCY: Reason =
    Reason { category: "validation", code: "currencyNotSupported", text: "Currency not supported" };
pub(super) static DECIMALS: Reason =
    Reason { category: "validation", code: "formatError", text: "Amount does not fit the currency" };
pub(super) static TOO_LITTLE: Reason = Reason::business("lessThanTransactionMinValue", "Amount is below the minimum");

/// Reasons that a drawn rejection has.
pub(super) static DRAWN: [&Reason; 5] = [&ACCOUNT_NOT_FOUND, &ACCOUNT_CLOSED, &DAILY_LIMIT, &MAX_BALANCE, &DECEASED];
static CHECKED: [&Reason; 4] = [&INSUFFICIENT_FUNDS, &CURRENCY, &DECIMALS, &TOO_LITTLE];
