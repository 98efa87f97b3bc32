//! What goes wrong at the sandbox, drawn from a seed and a name, so that arrival order changes nothing.
//! Deliberately not here: doing the harm; the operator and the registry ask, and act.

use serde::{Deserialize, Serialize};

/// A payee whose identifier ends so does not exist.
pub const PAYEE_UNKNOWN_SUFFIX: &str = "990001";
/// A payee whose identifier ends so is never credited and never refused.
pub const PAYEE_PENDING_SUFFIX: &str = "990002";
/// A single payment to such a payee is executed, and its reply is lost.
pub const PAYEE_LOST_REPLY_SUFFIX: &str = "990003";

/// What stands in place of every status while `foreign_status` holds. The specification has no such word.
pub const FOREIGN_STATUS: &str = "ruminating";

/// The operator's faults. A per-mille of 1000 or more is certainty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Faults {
    /// Every draw depends on it.
    pub seed: u64,
    /// Payments that are rejected, with a reason from a fixed list.
    pub reject_per_mille: u16,
    /// Requests that are carried out and never answered: the connection closes.
    pub lose_reply_per_mille: u16,
    /// Requests that are dropped before anything is done, the first time only.
    pub lose_request_per_mille: u16,
    /// Requests that are carried out and answered with a 500.
    pub error_after_execute_per_mille: u16,
    /// Callbacks that are made twice.
    pub duplicate_callback_per_mille: u16,
    /// Callbacks that are never made.
    pub silent_callback_per_mille: u16,
    /// Wait before each request is looked at.
    pub latency_millis: u64,
    /// The first so many batches lose their reply for certain.
    pub lose_first_replies: u32,
    /// Requests, batches and payments are shown under a status that the specification does not have.
    pub foreign_status: bool,
    /// Whether the payee suffixes mean something.
    pub payee_suffixes: bool,
}

impl Default for Faults {
    fn default() -> Self {
        Self { reject_per_mille: 10, payee_suffixes: true, ..Self::none() }
    }
}

impl Faults {
    /// Nothing goes wrong.
    pub fn none() -> Self {
        Self {
            seed: 0,
            reject_per_mille: 0,
            lose_reply_per_mille: 0,
            lose_request_per_mille: 0,
            error_after_execute_per_mille: 0,
            duplicate_callback_per_mille: 0,
            silent_callback_per_mille: 0,
            latency_millis: 0,
            lose_first_replies: 0,
            foreign_status: false,
            payee_suffixes: false,
        }
    }

    pub(super) fn loses_reply(&self, key: &str) -> bool {
        falls(self.seed, Die::LoseReply, self.lose_reply_per_mille, key)
    }

    pub(super) fn loses_request(&self, key: &str) -> bool {
        falls(self.seed, Die::LoseRequest, self.lose_request_per_mille, key)
    }

    pub(super) fn errs_after(&self, key: &str) -> bool {
        falls(self.seed, Die::ErrorAfter, self.error_after_execute_per_mille, key)
    }

    /// How often a callback is made: never, once or twice.
    pub(super) fn callbacks(&self, key: &str) -> u8 {
        if falls(self.seed, Die::SilentCallback, self.silent_callback_per_mille, key) {
            0
        } else {
            1 + u8::from(falls(self.seed, Die::DuplicateCallback, self.duplicate_callback_per_mille, key))
        }
    }

    /// Why a payment is rejected, if it is.
    pub(super) fn rejects(&self, reference: &str, payee: &str) -> Option<&'static Reason> {
        if self.payee_suffixes && payee.ends_with(PAYEE_UNKNOWN_SUFFIX) {
            return Some(&ACCOUNT_NOT_FOUND);
        }
        if !falls(self.seed, Die::Reject, self.reject_per_mille, reference) {
            return None;
        }
        let which = draw(self.seed, Die::Reason, reference) % DRAWN.len() as u64;
        DRAWN.get(usize::try_from(which).unwrap_or(0)).copied()
    }

    pub(super) fn pends(&self, payee: &str) -> bool {
        self.payee_suffixes && payee.ends_with(PAYEE_PENDING_SUFFIX)
    }

    pub(super) fn loses_single_reply(&self, payee: &str) -> bool {
        self.payee_suffixes && payee.ends_with(PAYEE_LOST_REPLY_SUFFIX)
    }
}

/// The registry's faults.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RegistryFaults {
    /// Every draw depends on it.
    pub seed: u64,
    /// The first so many messages are answered 503 and not looked at.
    pub refuse_first_n: u32,
    /// Messages that are stored and, the first time only, not acknowledged: the connection closes.
    pub lose_ack_per_mille: u16,
}

impl RegistryFaults {
    pub(super) fn loses_ack(&self, message_id: &str) -> bool {
        falls(self.seed, Die::LoseAck, self.lose_ack_per_mille, message_id)
    }
}

/// Why a payment was not made, as the GSMA error object names it.
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
static DAILY_LIMIT: Reason = Reason::business("dailyValueLimitExceeded", "Daily limit exceeded");
static MAX_BALANCE: Reason = Reason::business("maxBalanceExceeded", "Max balance exceeded");
static DECEASED: Reason = Reason::business("requestDeclined", "Payee deceased");
pub(super) static INSUFFICIENT_FUNDS: Reason = Reason::business("insufficientFunds", "Insufficient funds");
pub(super) static CURRENCY: Reason =
    Reason { category: "validation", code: "currencyNotSupported", text: "Currency not supported" };
pub(super) static DECIMALS: Reason =
    Reason { category: "validation", code: "formatError", text: "Amount does not fit the currency" };
pub(super) static TOO_LITTLE: Reason = Reason::business("lessThanTransactionMinValue", "Amount is below the minimum");

static DRAWN: [&Reason; 5] = [&ACCOUNT_NOT_FOUND, &ACCOUNT_CLOSED, &DAILY_LIMIT, &MAX_BALANCE, &DECEASED];
static CHECKED: [&Reason; 4] = [&INSUFFICIENT_FUNDS, &CURRENCY, &DECIMALS, &TOO_LITTLE];

/// One die for each fault, so that one fault's draws say nothing about another's.
#[derive(Clone, Copy)]
enum Die {
    Reject = 1,
    Reason,
    LoseReply,
    LoseRequest,
    ErrorAfter,
    SilentCallback,
    DuplicateCallback,
    LoseAck,
}

fn falls(seed: u64, die: Die, per_mille: u16, key: &str) -> bool {
    per_mille > 0 && draw(seed, die, key) % 1000 < u64::from(per_mille)
}

/// SplitMix64, stepped once for each eight bytes of the key.
fn draw(seed: u64, die: Die, key: &str) -> u64 {
    let start = mix(seed ^ ((die as u64) << 56));
    key.as_bytes().chunks(8).fold(mix(start ^ key.len() as u64), |state, chunk| {
        let mut word = [0_u8; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        mix(state ^ u64::from_le_bytes(word))
    })
}

fn mix(state: u64) -> u64 {
    let mut z = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_follow_the_seed_and_the_share() {
        let faults = Faults { seed: 7, reject_per_mille: 100, ..Faults::none() };
        let other = Faults { seed: 8, ..faults.clone() };
        let names: Vec<String> = (0..10_000).map(|n| format!("REF{n:08}")).collect();
        let fate = |faults: &Faults| -> Vec<_> { names.iter().map(|name| faults.rejects(name, "1")).collect() };
        let (first, again, elsewhere) = (fate(&faults), fate(&faults), fate(&other));
        assert_eq!(first, again);
        assert_ne!(first, elsewhere);
        let rejected = first.iter().flatten().count();
        assert!((800..1200).contains(&rejected), "{rejected} of 10000 at 100 per mille");
        for reason in DRAWN {
            assert!(first.contains(&Some(reason)), "{} never drawn", reason.text);
            assert_eq!(Reason::parse(reason.text), Some(reason));
        }
    }

    #[test]
    fn suffixes_work_only_when_they_are_on() {
        let on = Faults { payee_suffixes: true, ..Faults::none() };
        assert_eq!(on.rejects("R", "254700990001"), Some(&ACCOUNT_NOT_FOUND));
        assert!(on.pends("254700990002") && on.loses_single_reply("254700990003"));
        assert!(Faults::none().rejects("R", "254700990001").is_none() && !Faults::none().pends("254700990002"));
    }
}
