//! What goes wrong at the sandbox, drawn from a seed and a name, so that arrival order changes nothing, or called
//! for by the last six digits of a payee. Deliberately not here: doing the harm; the operator and the registry
//! ask, and act.

use serde::{Deserialize, Serialize};

use super::reason::{ACCOUNT_NOT_FOUND, DAILY_LIMIT, DRAWN, INSUFFICIENT_FUNDS, Reason};

/// A payee whose identifier ends so does not exist.
pub const PAYEE_UNKNOWN_SUFFIX: &str = "990001";
/// A payee whose identifier ends so is neither credited nor refused, until the operator is healed.
pub const PAYEE_PENDING_SUFFIX: &str = "990002";
/// A request with such a payee is executed, and its reply is lost.
pub const PAYEE_LOST_REPLY_SUFFIX: &str = "990003";

/// What stands in place of every status while `foreign_status` holds. The specification has no such word.
pub const FOREIGN_STATUS: &str = "ruminating";

/// How late something late is, when nothing else is said: later than any client waits.
const LATE_MILLIS_DEFAULT: u64 = 60_000;
/// What every suffix with a meaning begins with.
const SUFFIX_HEAD: &str = "9900";

/// The operator's faults. A per-mille of 1000 or more is certainty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Faults {
    /// Every draw depends on it.
    pub seed: u64,
    /// Payments that are rejected, with a reason from a fixed list.
    pub reject_per_mille: u16,
    /// Payments whose first copy is rejected, and a second one is not.
    pub reject_once_per_mille: u16,
    /// Payments that are rejected because the float is said to be short.
    pub out_of_funds_per_mille: u16,
    /// Payments that get neither completion nor rejection until the operator is healed.
    pub partial_per_mille: u16,
    /// Payments that come back after they were completed.
    pub return_per_mille: u16,
    /// How long after.
    pub return_millis: u64,
    /// Requests that are carried out and never answered: the connection closes.
    pub lose_reply_per_mille: u16,
    /// Requests that are dropped before anything is done, the first time only.
    pub lose_request_per_mille: u16,
    /// Requests that are carried out and answered with a 500.
    pub error_after_execute_per_mille: u16,
    /// Requests that are carried out and answered `late_millis` later.
    pub late_reply_per_mille: u16,
    /// Requests whose connection closes and that arrive `late_millis` later, the first time only.
    pub late_request_per_mille: u16,
    /// How late.
    pub late_millis: u64,
    /// Requests that arrive twice; the client gets the second answer, as from a proxy that tried again.
    pub double_request_per_mille: u16,
    /// Answers, to requests and to questions, whose body ends in the middle, the first time only.
    pub truncate_reply_per_mille: u16,
    /// Answers, to requests and to questions, that are a 200 with a page of HTML, the first time only.
    pub garble_reply_per_mille: u16,
    /// Requests that are accepted and not begun until the operator is healed.
    pub silence_per_mille: u16,
    /// Payments that are shown with another sum than was paid.
    pub wrong_amount_per_mille: u16,
    /// What has ended is shown as failed, the first time it is asked about.
    pub flap_failed_per_mille: u16,
    /// What has ended is shown as pending, once, after it was shown as ended.
    pub flap_pending_per_mille: u16,
    /// Correlation ids that are forgotten at once.
    pub forget_key_per_mille: u16,
    /// How long a correlation id is remembered; 0 is for ever.
    pub key_window_millis: u64,
    /// Callbacks that are made twice.
    pub duplicate_callback_per_mille: u16,
    /// Callbacks that are never made.
    pub silent_callback_per_mille: u16,
    /// Callbacks that say the opposite of what became of it.
    pub contradict_callback_per_mille: u16,
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

/// One thing that can go wrong. Its number is its die: one fault's draws say nothing about another's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The payee does not exist.
    Reject = 1,
    /// Which reason a drawn rejection has; no fault of its own.
    Reason,
    /// Carried out, never answered.
    LoseReply,
    /// Dropped the first time.
    LoseRequest,
    /// Carried out, answered 500.
    ErrorAfter,
    /// No callback.
    SilentCallback,
    /// Two callbacks.
    DuplicateCallback,
    /// The registry keeps a message and does not acknowledge it.
    LoseAck,
    /// Answered late.
    LateReply,
    /// Arrives late.
    LateRequest,
    /// Arrives twice.
    DoubleRequest,
    /// The answer ends in the middle.
    TruncateReply,
    /// The answer cannot be read.
    GarbleReply,
    /// Another sum is shown.
    WrongAmount,
    /// Not begun until healed.
    Silence,
    /// Neither completed nor rejected until healed.
    Partial,
    /// Shown as failed once.
    FlapFailed,
    /// Shown as pending once, after it was shown as ended.
    FlapPending,
    /// Comes back after it was completed.
    Return,
    /// The float is said to be short.
    OutOfFunds,
    /// The callback says the opposite.
    ContradictCallback,
    /// The first copy is rejected.
    RejectOnce,
    /// The correlation id is forgotten at once.
    ForgetKey,
}

/// Faults that a payee calls for by its last six digits.
pub const PAYEE_SUFFIXES: [(&str, Fault); 19] = [
    (PAYEE_UNKNOWN_SUFFIX, Fault::Reject),
    (PAYEE_PENDING_SUFFIX, Fault::Partial),
    (PAYEE_LOST_REPLY_SUFFIX, Fault::LoseReply),
    ("990004", Fault::LoseRequest),
    ("990005", Fault::LateReply),
    ("990006", Fault::DoubleRequest),
    ("990007", Fault::TruncateReply),
    ("990008", Fault::GarbleReply),
    ("990009", Fault::WrongAmount),
    ("990010", Fault::ErrorAfter),
    ("990011", Fault::Silence),
    ("990012", Fault::FlapFailed),
    ("990013", Fault::FlapPending),
    ("990014", Fault::Return),
    ("990015", Fault::OutOfFunds),
    ("990016", Fault::ContradictCallback),
    ("990017", Fault::RejectOnce),
    ("990018", Fault::ForgetKey),
    ("990019", Fault::LateRequest),
];

impl Fault {
    /// The last digits of a payee that call for it, where a payee can.
    pub fn suffix(self) -> Option<&'static str> {
        PAYEE_SUFFIXES.iter().find(|(_, fault)| *fault == self).map(|(suffix, _)| *suffix)
    }
}

/// Faults that the payees of a request call for.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Marks(u32);

impl Marks {
    fn has(self, fault: Fault) -> bool {
        self.0 & (1 << fault as u32) != 0
    }
}

impl Faults {
    /// Nothing goes wrong.
    pub fn none() -> Self {
        Self {
            seed: 0,
            reject_per_mille: 0,
            reject_once_per_mille: 0,
            out_of_funds_per_mille: 0,
            partial_per_mille: 0,
            return_per_mille: 0,
            return_millis: 0,
            lose_reply_per_mille: 0,
            lose_request_per_mille: 0,
            error_after_execute_per_mille: 0,
            late_reply_per_mille: 0,
            late_request_per_mille: 0,
            late_millis: LATE_MILLIS_DEFAULT,
            double_request_per_mille: 0,
            truncate_reply_per_mille: 0,
            garble_reply_per_mille: 0,
            silence_per_mille: 0,
            wrong_amount_per_mille: 0,
            flap_failed_per_mille: 0,
            flap_pending_per_mille: 0,
            forget_key_per_mille: 0,
            key_window_millis: 0,
            duplicate_callback_per_mille: 0,
            silent_callback_per_mille: 0,
            contradict_callback_per_mille: 0,
            latency_millis: 0,
            lose_first_replies: 0,
            foreign_status: false,
            payee_suffixes: false,
        }
    }

    fn per_mille(&self, fault: Fault) -> u16 {
        match fault {
            Fault::Reject => self.reject_per_mille,
            Fault::Reason | Fault::LoseAck => 0,
            Fault::LoseReply => self.lose_reply_per_mille,
            Fault::LoseRequest => self.lose_request_per_mille,
            Fault::ErrorAfter => self.error_after_execute_per_mille,
            Fault::SilentCallback => self.silent_callback_per_mille,
            Fault::DuplicateCallback => self.duplicate_callback_per_mille,
            Fault::LateReply => self.late_reply_per_mille,
            Fault::LateRequest => self.late_request_per_mille,
            Fault::DoubleRequest => self.double_request_per_mille,
            Fault::TruncateReply => self.truncate_reply_per_mille,
            Fault::GarbleReply => self.garble_reply_per_mille,
            Fault::WrongAmount => self.wrong_amount_per_mille,
            Fault::Silence => self.silence_per_mille,
            Fault::Partial => self.partial_per_mille,
            Fault::FlapFailed => self.flap_failed_per_mille,
            Fault::FlapPending => self.flap_pending_per_mille,
            Fault::Return => self.return_per_mille,
            Fault::OutOfFunds => self.out_of_funds_per_mille,
            Fault::ContradictCallback => self.contradict_callback_per_mille,
            Fault::RejectOnce => self.reject_once_per_mille,
            Fault::ForgetKey => self.forget_key_per_mille,
        }
    }

    /// What these payees call for.
    pub(super) fn marks<'a>(&self, payees: impl IntoIterator<Item = &'a str>) -> Marks {
        if !self.payee_suffixes {
            return Marks::default();
        }
        let bit = |payee: &str| {
            let digits = payee.get(payee.len().checked_sub(SUFFIX_HEAD.len() + 2)?..)?;
            let known = digits.starts_with(SUFFIX_HEAD).then_some(&PAYEE_SUFFIXES)?;
            known.iter().find(|(suffix, _)| *suffix == digits).map(|(_, fault)| 1_u32 << *fault as u32)
        };
        Marks(payees.into_iter().filter_map(bit).fold(0, |all, one| all | one))
    }

    /// Whether a fault strikes what has this name and these payees.
    pub(super) fn strikes(&self, fault: Fault, key: &str, marks: Marks) -> bool {
        marks.has(fault) || falls(self.seed, fault, self.per_mille(fault), key)
    }

    /// How often a callback is made: never, once or twice.
    pub(super) fn callbacks(&self, key: &str) -> u8 {
        let strikes = |fault| self.strikes(fault, key, Marks::default());
        if strikes(Fault::SilentCallback) { 0 } else { 1 + u8::from(strikes(Fault::DuplicateCallback)) }
    }

    /// Why a payment is rejected, if it is. Every further copy of it is drawn for anew.
    pub(super) fn rejects(&self, reference: &str, payee: &str, copy: u32) -> Option<&'static Reason> {
        let marks = self.marks([payee]);
        if marks.has(Fault::Reject) {
            return Some(&ACCOUNT_NOT_FOUND);
        }
        if copy == 0 && self.strikes(Fault::RejectOnce, reference, marks) {
            return Some(&DAILY_LIMIT);
        }
        let again = (copy > 0).then(|| format!("{reference}#{copy}"));
        let key = again.as_deref().unwrap_or(reference);
        if self.strikes(Fault::OutOfFunds, key, marks) {
            return Some(&INSUFFICIENT_FUNDS);
        }
        if !falls(self.seed, Fault::Reject, self.reject_per_mille, key) {
            return None;
        }
        let which = draw(self.seed, Fault::Reason, key) % DRAWN.len() as u64;
        DRAWN.get(usize::try_from(which).unwrap_or(0)).copied()
    }

    /// Whether a correlation id that was last used so long ago is not known any more.
    pub(super) fn forgets(&self, key: &str, marks: Marks, age_micros: i64) -> bool {
        let window = i64::try_from(self.key_window_millis.saturating_mul(1_000)).unwrap_or(i64::MAX);
        (window > 0 && age_micros >= window) || self.strikes(Fault::ForgetKey, key, marks)
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
        falls(self.seed, Fault::LoseAck, self.lose_ack_per_mille, message_id)
    }
}

fn falls(seed: u64, die: Fault, per_mille: u16, key: &str) -> bool {
    per_mille > 0 && draw(seed, die, key) % 1000 < u64::from(per_mille)
}

fn draw(seed: u64, die: Fault, key: &str) -> u64 {
    roll(seed, die as u64, key)
}

/// SplitMix64, stepped once for each eight bytes of the key. Dice are numbered below 256.
pub(super) fn roll(seed: u64, die: u64, key: &str) -> u64 {
    let start = mix(seed ^ (die << 56));
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
        let fate =
            |faults: &Faults, copy| -> Vec<_> { names.iter().map(|name| faults.rejects(name, "1", copy)).collect() };
        let (first, again, elsewhere) = (fate(&faults, 0), fate(&faults, 0), fate(&other, 0));
        assert_eq!(first, again);
        assert_ne!(first, elsewhere);
        assert_ne!(first, fate(&faults, 1), "a further copy is drawn for anew");
        let rejected = first.iter().flatten().count();
        assert!((800..1200).contains(&rejected), "{rejected} of 10000 at 100 per mille");
        for reason in DRAWN {
            assert!(first.contains(&Some(reason)), "{} never drawn", reason.text);
            assert_eq!(Reason::parse(reason.text), Some(reason));
        }
    }

    #[test]
    fn one_faults_draws_say_nothing_about_anothers() {
        let all: Vec<Fault> = PAYEE_SUFFIXES.iter().map(|(_, fault)| *fault).collect();
        for pair in all.windows(2) {
            let both = (0..10_000)
                .filter(|n| pair.iter().all(|die| draw(7, *die, &format!("R{n}")).is_multiple_of(10)))
                .count();
            assert!((50..150).contains(&both), "{pair:?} fell together {both} times of 10000");
        }
    }

    #[test]
    fn suffixes_work_only_when_they_are_on() {
        let on = Faults { payee_suffixes: true, ..Faults::none() };
        for (suffix, fault) in PAYEE_SUFFIXES {
            let payee = format!("254700{suffix}");
            assert!(on.strikes(fault, "R", on.marks([payee.as_str()])), "{suffix}");
            assert!(!Faults::none().strikes(fault, "R", Faults::none().marks([payee.as_str()])), "{suffix}");
            assert_eq!(fault.suffix(), Some(suffix));
            let others = PAYEE_SUFFIXES.iter().filter(|(_, other)| on.strikes(*other, "R", on.marks([payee.as_str()])));
            assert_eq!(others.count(), 1, "{suffix}");
        }
        assert_eq!(on.rejects("R", "254700990001", 1), Some(&ACCOUNT_NOT_FOUND));
        assert_eq!(on.rejects("R", "254700990015", 0), Some(&INSUFFICIENT_FUNDS));
        assert!(on.rejects("R", "254700990017", 0).is_some() && on.rejects("R", "254700990017", 1).is_none());
        for plain in ["", "1", "990099", "25470099000", "99000é"] {
            assert_eq!(on.marks([plain]).0, 0, "{plain}");
        }
    }

    #[test]
    fn what_is_left_out_takes_its_default_and_what_is_misspelt_is_refused() {
        assert_eq!(serde_json::from_str::<Faults>("{}").unwrap(), Faults::default());
        assert!(serde_json::from_str::<Faults>(r#"{"loose_reply_per_mille": 1}"#).is_err());
    }
}
