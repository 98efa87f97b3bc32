//! What the protocol's error codes and a provider's rejection texts mean. Pure.
//! Deliberately not here: which HTTP status carried them, except that 401 and 429 speak for themselves.

use super::object::Object;
use crate::contract::{Failure, Reason, ReasonClass};

/// Longest code made from a provider's text.
const CODE_CHARS_MAX: usize = 64;

/// What an error code says about a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meaning {
    /// Not executed; this class of correction is needed.
    Refused(ReasonClass),
    /// Not executed; our side is at fault, for every payment alike.
    Blocked(ReasonClass),
    /// Not executed; too fast.
    Throttled,
    /// The code proves nothing.
    InDoubt(ReasonClass),
}

use Meaning::{Blocked, InDoubt, Refused, Throttled};
use ReasonClass::{Duplicate, FixAtBank, FixData, Format, Funding, Limit, NotExecuted, Schedule, Stop, Unknown};

/// Every code of the protocol, in the form that [`squeeze`] makes.
const CODES: &[(&str, Meaning)] = &[
    ("genericerror", InDoubt(Unknown)),
    ("duplicaterequest", InDoubt(Duplicate)),
    ("ratelimiterror", Throttled),
    ("insufficientfunds", Blocked(Funding)),
    ("transactiontypeerror", Blocked(Format)),
    ("nomandateauthority", Blocked(NotExecuted)),
    ("clientauthorisationerror", Blocked(NotExecuted)),
    ("clientauthorizationerror", Blocked(NotExecuted)),
    ("requestdeclined", Blocked(NotExecuted)),
    ("servicingpartyauthorisationerror", Blocked(NotExecuted)),
    ("servicingpartyauthorizationerror", Blocked(NotExecuted)),
    ("requestingpartyauthorisationerror", Blocked(NotExecuted)),
    ("requestingpartyauthorizationerror", Blocked(NotExecuted)),
    ("dailyvolumelimitexceeded", Refused(Limit)),
    ("dailyvaluelimitexceeded", Refused(Limit)),
    ("weeklyvolumelimitexceeded", Refused(Limit)),
    ("weeklyvaluelimitexceeded", Refused(Limit)),
    ("monthlyvolumelimitexceeded", Refused(Limit)),
    ("monthlyvaluelimitexceeded", Refused(Limit)),
    ("accountmaxtotalvolumeexceeded", Refused(Limit)),
    ("accountmaxtotalvalueexceeded", Refused(Limit)),
    ("lessthantransactionminvalue", Refused(Limit)),
    ("greaterthantransactionmaxvalue", Refused(Limit)),
    ("maxbalanceexceeded", Refused(Limit)),
    ("samepartieserror", Refused(FixData)),
    ("identifiererror", Refused(FixData)),
    ("incorrectstate", Refused(FixAtBank)),
    ("linkviolation", Refused(FixAtBank)),
    ("iddocumentnotsupported", Refused(FixAtBank)),
    ("issuingcountrynotsupported", Refused(FixAtBank)),
    ("countryoforiginnotpermitted", Refused(Stop)),
    ("nationalitynotpermitted", Refused(Stop)),
    ("quotehasexpired", Refused(Schedule)),
    ("underpaymentnotallowed", Refused(Format)),
    ("overpaymentnotallowed", Refused(Format)),
    ("lengtherror", Refused(Format)),
    ("formaterror", Refused(Format)),
    ("negativevalue", Refused(Format)),
    ("currencynotsupported", Refused(Format)),
    ("mandatoryvaluenotsupplied", Refused(Format)),
    ("invalidoffset", Refused(Format)),
];

/// The code of a reason that was not given.
const UNSTATED: &str = "unstated";

/// Words in rejection texts, the safest reading first: a duplicate may have been paid.
const PHRASES: &[(ReasonClass, &[&str])] = &[
    (Duplicate, &["duplicate", "already_paid", "already_executed"]),
    (Stop, &["deceased", "sanction", "sanctions", "sanctioned", "litigation"]),
    (Funding, &["insufficient_funds", "insufficient_balance", "not_enough_funds", "insufficient_float"]),
    (Limit, &["limit", "limits", "exceeded", "max_balance", "maximum", "minimum"]),
    (
        FixData,
        &[
            "not_found",
            "not_registered",
            "unregistered",
            "does_not_exist",
            "no_such",
            "unknown_account",
            "unknown_payee",
            "unknown_subscriber",
            "unknown_msisdn",
            "unknown_recipient",
            "invalid_account",
            "invalid_msisdn",
            "invalid_number",
            "invalid_payee",
            "wrong_number",
            "name_mismatch",
        ],
    ),
    (
        FixAtBank,
        &["closed", "dormant", "inactive", "blocked", "barred", "suspended", "frozen", "not_active", "locked", "kyc"],
    ),
    (Schedule, &["expired", "cut_off"]),
];

/// What a readable error object means for the request it answers, or `None` when it is no error object.
pub fn failure(error: &Object, retry_after_seconds: Option<u64>) -> Option<Failure> {
    if error.error_code.is_none() && error.error_category.is_none() {
        return None;
    }
    let code = error.error_code.as_deref().unwrap_or_default();
    let reason = |class| Reason::new(class, slug(code), error.error_text().unwrap_or(code));
    Some(match meaning(code).unwrap_or_else(|| by_category(error)) {
        Refused(class) => Failure::Refused(reason(class)),
        Blocked(class) => Failure::Blocked(reason(class)),
        Throttled => Failure::Unavailable { reason: reason(NotExecuted), retry_after_seconds },
        InDoubt(class) => Failure::InDoubt(reason(class)),
    })
}

/// Why a payment that the provider itself calls failed was not paid: by its error, its text, or unstated.
pub fn of_failed(object: &Object) -> Reason {
    let stated = object.error.as_deref().unwrap_or(object);
    match (&stated.error_code, &object.rejection_reason) {
        (Some(code), _) => {
            let class = meaning(code).map_or(Unknown, class);
            Reason::new(class, slug(code), stated.error_text().unwrap_or(code))
        }
        (None, text) => of_text(text.as_deref().unwrap_or_default()),
    }
}

/// Why a payment came back: by its error, or unstated.
pub fn of_returned(object: &Object) -> Reason {
    let stated = object.error.as_deref().unwrap_or(object);
    match &stated.error_code {
        Some(code) => {
            Reason::new(meaning(code).map_or(Unknown, class), slug(code), stated.error_text().unwrap_or(code))
        }
        None => Reason::unknown("reversed", "the provider shows it as reversed"),
    }
}

/// Whether a payment is called failed and nothing more.
pub fn is_unstated(reason: &Reason) -> bool {
    reason.code == UNSTATED
}

/// Why an item of the rejections list was not paid. The list itself says that it was not executed, so that
/// a text we do not know is no doubt; only the word of a duplicate is.
pub fn of_text(text: &str) -> Reason {
    let code = slug(text);
    let known = meaning(text).map(class).filter(|class| *class != Unknown);
    Reason::new(known.or_else(|| by_phrase(&code)).unwrap_or(NotExecuted), code, text)
}

fn meaning(code: &str) -> Option<Meaning> {
    let squeezed = squeeze(code);
    CODES.iter().find(|(known, _)| *known == squeezed).map(|(_, meaning)| *meaning)
}

/// A code nobody knows proves nothing, unless its category says that the door was not opened at all.
fn by_category(error: &Object) -> Meaning {
    match error.error_category.as_deref().map(squeeze).as_deref() {
        Some("authorisation" | "authorization") => Blocked(NotExecuted),
        _ => InDoubt(Unknown),
    }
}

fn by_phrase(code: &str) -> Option<ReasonClass> {
    let words = format!("_{code}_");
    let has = |phrase: &&str| words.contains(&format!("_{phrase}_"));
    PHRASES.iter().find(|(_, phrases)| phrases.iter().any(has)).map(|(class, _)| *class)
}

fn class(meaning: Meaning) -> ReasonClass {
    match meaning {
        Refused(class) | Blocked(class) | InDoubt(class) => class,
        Throttled => NotExecuted,
    }
}

/// Lower-case letters and digits alone, so that spelling styles of one word are one.
pub fn squeeze(text: &str) -> String {
    text.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

/// `InsufficientFunds`, `insufficientFunds` and `Insufficient funds.` all become `insufficient_funds`.
pub fn slug(text: &str) -> String {
    let mut code = String::new();
    let mut before = ' ';
    for c in text.chars() {
        let word_starts = c.is_ascii_uppercase() && (before.is_ascii_lowercase() || before.is_ascii_digit());
        if (word_starts || !c.is_ascii_alphanumeric()) && !code.is_empty() && !code.ends_with('_') {
            code.push('_');
        }
        if c.is_ascii_alphanumeric() {
            code.push(c.to_ascii_lowercase());
        }
        if code.len() >= CODE_CHARS_MAX {
            break;
        }
        before = c;
    }
    let code = code.trim_end_matches('_');
    if code.is_empty() { UNSTATED.to_owned() } else { code.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(code: &str) -> Failure {
        failure(&Object { error_code: Some(code.into()), ..Object::default() }, Some(7)).unwrap()
    }

    #[test]
    fn spelling_styles_of_a_code_are_one_code() {
        for code in ["insufficientFunds", "InsufficientFunds", "INSUFFICIENT_FUNDS", "insufficient funds"] {
            let Failure::Blocked(reason) = error(code) else { panic!("{code}") };
            assert_eq!((reason.class, reason.code.as_str()), (Funding, "insufficient_funds"));
        }
    }

    #[test]
    fn an_error_with_both_spellings_of_its_text_is_read() {
        let body = br#"{"errorCode": "identifierError", "errorDescription": "gone", "errordescription": "gone"}"#;
        let Some(Failure::Refused(reason)) = Object::read(body).and_then(|error| failure(&error, None)) else {
            panic!("unreadable")
        };
        assert_eq!(reason.text, "gone");
    }

    #[test]
    fn only_known_codes_prove_that_nothing_was_executed() {
        assert!(matches!(error("IdentifierError"), Failure::Refused(Reason { class: FixData, .. })));
        assert!(matches!(error("formatError"), Failure::Refused(Reason { class: Format, .. })));
        assert!(matches!(error("DuplicateRequest"), Failure::InDoubt(Reason { class: Duplicate, .. })));
        assert!(matches!(error("genericError"), Failure::InDoubt(_)));
        assert!(matches!(error("somethingNew"), Failure::InDoubt(Reason { class: Unknown, .. })));
        assert!(matches!(error("RateLimitError"), Failure::Unavailable { retry_after_seconds: Some(7), .. }));
        assert_eq!(failure(&Object::default(), None), None);
    }

    #[test]
    fn rejection_texts_become_classes() {
        for (text, class, code) in [
            ("Payee not found.", FixData, "payee_not_found"),
            ("MaxBalanceExceeded", Limit, "max_balance_exceeded"),
            ("Account is DORMANT", FixAtBank, "account_is_dormant"),
            ("duplicateRequest", Duplicate, "duplicate_request"),
            ("Duplicate payment", Duplicate, "duplicate_payment"),
            ("Insufficient balance", Funding, "insufficient_balance"),
            ("Account holder deceased", Stop, "account_holder_deceased"),
            ("GenericError", NotExecuted, "generic_error"),
            ("Läuft nicht", NotExecuted, "l_uft_nicht"),
            ("", NotExecuted, "unstated"),
        ] {
            let reason = of_text(text);
            assert_eq!((reason.class, reason.code.as_str()), (class, code), "{text}");
        }
    }

    #[test]
    fn codes_are_bounded() {
        assert!(slug(&"long ".repeat(1_000)).len() <= CODE_CHARS_MAX + 1);
    }
}
