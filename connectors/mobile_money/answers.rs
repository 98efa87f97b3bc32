//! A provider's answers into reports and failures. Pure.
//! Only an error object that the protocol defines proves that nothing was executed; a page of some gateway
//! in between proves nothing. Deliberately not here: HTTP, and the order of calls.

use std::collections::BTreeMap;

use reqwest::StatusCode;

use super::object::Object;
use super::reasons::{self, slug, squeeze};
use super::wire;
use crate::contract::{Failure, Instruction, Outcome, Reason, ReasonClass, Reference, Report};
use crate::http::{Answer, retry_after_seconds};

/// Open instructions by reference.
pub type Open<'a> = BTreeMap<Reference, &'a Instruction>;

/// What an answer to a question came to.
#[derive(Debug)]
pub enum Found {
    /// The object.
    Object(Box<Object>),
    /// The provider says that it has no such thing.
    Absent,
    /// Ask again later, or never before somebody acted.
    Failed(Failure),
}

/// Reads the answer to a question. A 404 counts only with the protocol's own error object: a route that a
/// gateway does not know must never look like a payment that did not arrive.
pub fn found(answer: &Answer) -> Found {
    let object = Object::read(&answer.body);
    if answer.status.is_success() {
        return object.map_or_else(|| Found::Failed(unreadable(answer)), |object| Found::Object(Box::new(object)));
    }
    match object.and_then(|error| reasons::failure(&error, retry_after_seconds(&answer.headers))) {
        _ if answer.status == StatusCode::UNAUTHORIZED => Found::Failed(unauthorised(answer)),
        Some(Failure::Blocked(reason)) if reason.class != ReasonClass::Funding => {
            Found::Failed(Failure::Blocked(reason))
        }
        Some(Failure::Unavailable { reason, retry_after_seconds }) => {
            Found::Failed(Failure::Unavailable { reason, retry_after_seconds })
        }
        Some(_) if answer.status == StatusCode::NOT_FOUND => Found::Absent,
        _ => Found::Failed(unreadable(answer)),
    }
}

/// Why a submission that was not taken was not taken. In doubt unless the protocol's own words say otherwise.
pub fn not_taken(answer: &Answer) -> Failure {
    let retry_after_seconds = retry_after_seconds(&answer.headers);
    let code = format!("http_{}", answer.status.as_u16());
    match answer.status {
        StatusCode::UNAUTHORIZED => unauthorised(answer),
        StatusCode::TOO_MANY_REQUESTS => Failure::Unavailable {
            reason: Reason::new(ReasonClass::NotExecuted, code, "the provider takes no more for now"),
            retry_after_seconds,
        },
        status if status.is_client_error() => {
            Object::read(&answer.body).and_then(|error| reasons::failure(&error, retry_after_seconds)).unwrap_or_else(
                || Failure::InDoubt(Reason::unknown(code, "an answer without the protocol's error object")),
            )
        }
        _ => Failure::InDoubt(Reason::unknown(code, "the answer does not say what became of the request")),
    }
}

/// Why a request that the provider calls failed, failed.
pub fn failed_request(state: &Object) -> Failure {
    let error = state.error.as_deref().unwrap_or(state);
    reasons::failure(error, None)
        .unwrap_or_else(|| Failure::InDoubt(Reason::unknown("failed", "the request failed without an error")))
}

/// The state of a request, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Being worked on.
    Pending,
    /// Done, whatever that came to.
    Done,
    /// Failed as a whole.
    Failed,
    /// Done, and undone afterwards.
    Returned,
}

/// Reads a word for a state; `None` for a word we do not know.
pub fn state(word: Option<&String>) -> Option<State> {
    match squeeze(word?).as_str() {
        "completed" | "complete" | "successful" | "success" | "succeeded" => Some(State::Done),
        "failed" | "failure" | "rejected" | "declined" => Some(State::Failed),
        "reversed" | "returned" | "refunded" | "reversal" => Some(State::Returned),
        "pending" | "accepted" | "created" | "received" | "queued" | "submitted" | "initiated" | "inprogress"
        | "processing" | "approved" | "authorised" | "authorized" => Some(State::Pending),
        _ => None,
    }
}

/// What a payment object says about an instruction. Nothing when its status is a word we do not know, when it
/// is another payment's, or when it settles a sum we cannot read.
pub fn payment(object: &Object, instruction: &Instruction, key: &str) -> Option<Report> {
    let ours = object.our_reference.as_deref().is_none_or(|name| name == instruction.reference.as_str());
    let outcome = match state(object.payment_status.as_ref()).filter(|_| ours)? {
        State::Done => Outcome::Settled,
        State::Failed => Outcome::Rejected(reasons::of_failed(object)),
        State::Pending => Outcome::Accepted,
        State::Returned => Outcome::Returned(reasons::of_returned(object)),
    };
    report(object, instruction, key, outcome)
}

/// A page of items that were paid, some of which may have come back.
pub fn completions(items: &[Object], open: &Open<'_>, key: &str) -> Vec<Report> {
    let outcome = |item: &Object| match state(item.payment_status.as_ref()) {
        Some(State::Returned) => Outcome::Returned(reasons::of_returned(item)),
        _ => Outcome::Settled,
    };
    of_open(items, open).filter_map(|(item, instruction)| report(item, instruction, key, outcome(item))).collect()
}

/// A page of items that were not paid.
pub fn rejections(items: &[Object], open: &Open<'_>, key: &str) -> Vec<Report> {
    let rejected = |item: &Object| {
        Outcome::Rejected(match item.rejection_reason.as_deref() {
            Some(text) => reasons::of_text(text),
            None => reasons::of_failed(item),
        })
    };
    of_open(items, open).filter_map(|(item, instruction)| report(item, instruction, key, rejected(item))).collect()
}

fn of_open<'a>(items: &'a [Object], open: &'a Open<'_>) -> impl Iterator<Item = (&'a Object, &'a Instruction)> {
    items.iter().filter_map(|item| {
        let reference = Reference::parse(item.our_reference.as_deref()?.trim())?;
        open.get(&reference).map(|instruction| (item, *instruction))
    })
}

fn report(object: &Object, instruction: &Instruction, key: &str, outcome: Outcome) -> Option<Report> {
    let settled = matches!(outcome, Outcome::Settled | Outcome::Returned(_));
    let amount = object.money(object.amount.as_ref(), Some(instruction.amount.currency));
    Some(Report {
        provider_reference: object.payment_reference.clone(),
        // What was not paid has no sum and no payee.
        amount: if settled { amount.ok()? } else { None },
        payee_account: if settled { account(object, instruction, key) } else { None },
        ..Report::instruction(instruction.reference, outcome)
    })
}

/// The account the object names as paid: ours when it is the one we sent, for a telephone number with or without `+`.
pub fn account(object: &Object, instruction: &Instruction, key: &str) -> Option<String> {
    let sent = wire::identifier(&instruction.payee_account, key).map(bare);
    if sent.is_some() && object.credit_party.iter().any(|party| party.value.as_deref().map(bare) == sent) {
        return Some(instruction.payee_account.clone());
    }
    let same_kind = |kind: &Option<String>| kind.as_deref().is_some_and(|kind| kind.eq_ignore_ascii_case(key));
    let parties = &object.credit_party;
    let other = parties.iter().find(|party| same_kind(&party.key)).or_else(|| parties.first())?;
    Some(format!("{}:{}", other.key.as_deref().unwrap_or_default(), other.value.as_deref()?))
}

/// An identifier without the sign that some put before a telephone number.
pub fn bare(value: &str) -> &str {
    value.trim().trim_start_matches('+')
}

/// Where the answer to "what became of my request" points.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A batch by the provider's name.
    Batch(String),
    /// A payment by the provider's name.
    Payment(String),
    /// The state of a request.
    Request(String),
}

/// Reads a link by its path; its host is never followed.
pub fn target(link: &str) -> Option<Target> {
    let path = link.split(['?', '#']).next()?;
    let segments: Vec<_> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    segments.windows(2).rev().find_map(|pair| {
        let id = pair[1].to_owned();
        match pair[0] {
            "batchtransactions" => Some(Target::Batch(id)),
            "transactions" => Some(Target::Payment(id)),
            "requeststates" => Some(Target::Request(id)),
            _ => None,
        }
    })
}

/// An answer to a question that cannot be read; asking again may help.
pub fn unreadable(answer: &Answer) -> Failure {
    let code = format!("http_{}", answer.status.as_u16());
    let reason = Reason::unknown(code, "the answer cannot be read");
    Failure::Unavailable { reason, retry_after_seconds: retry_after_seconds(&answer.headers) }
}

fn unauthorised(answer: &Answer) -> Failure {
    let error = Object::read(&answer.body).unwrap_or_default();
    let code = error.error_code.as_deref().map_or_else(|| "http_401".to_owned(), slug);
    let text = error.error_text().unwrap_or("the provider does not know us");
    Failure::Blocked(Reason::new(ReasonClass::NotExecuted, code, text))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{batch, instruction};
    use super::*;
    use crate::contract::{About, Currency, Money};
    use serde_json::{Value, json};

    fn object(value: Value) -> Object {
        Object::read(value.to_string().as_bytes()).unwrap()
    }

    fn said(value: Value) -> Option<Report> {
        payment(&object(value), &instruction(1, 150_000), "msisdn")
    }

    #[test]
    fn a_completed_payment_settles_with_its_facts() {
        let report = said(json!({
            "transactionStatus": "Completed", "transactionReference": "MM-1", "amount": "1500.00", "currency": "KES",
            "creditParty": [{"key": "walletid", "value": "7"}, {"key": "msisdn", "value": "254700000001"}],
        }));
        let report = report.unwrap();
        assert_eq!(report.outcome, Outcome::Settled);
        assert_eq!(report.amount, Some(Money::new(150_000, Currency::parse("KES").unwrap())));
        assert_eq!(report.provider_reference.as_deref(), Some("MM-1"));
        assert_eq!(report.payee_account.as_deref(), Some("mobile:+254700000001@operator"));
    }

    #[test]
    fn another_sum_or_account_is_passed_on_as_it_was_said() {
        let report = said(json!({"transactionStatus": "completed", "amount": 15.5, "currency": "kes",
            "creditParty": [{"key": "msisdn", "value": "+254711111111"}]}));
        let report = report.unwrap();
        assert_eq!(report.amount.map(|amount| amount.minor), Some(1_550));
        assert_eq!(report.payee_account.as_deref(), Some("msisdn:+254711111111"));
    }

    #[test]
    fn unknown_words_and_unreadable_sums_are_no_report() {
        assert_eq!(said(json!({"transactionStatus": "marinating"})), None);
        assert_eq!(said(json!({"transactionReference": "MM-1"})), None);
        assert_eq!(said(json!({"transactionStatus": "completed", "amount": "15.005"})), None);
        assert_eq!(said(json!({"transactionStatus": "completed", "amount": "1_500"})), None);
        assert_eq!(said(json!({"transactionStatus": "completed", "amount": "15", "currency": "XXX"})), None);
        let other = json!({"transactionStatus": "completed", "requestingOrganisationTransactionReference": "x"});
        assert_eq!(said(other), None);
        assert_eq!(Object::read(b"[\"a\"]"), None);
        assert_eq!(Object::read(b"<html>"), None);
    }

    #[test]
    fn a_failed_payment_is_rejected_by_its_error_where_it_has_one() {
        let failed = |value| match said(value).unwrap().outcome {
            Outcome::Rejected(reason) => (reason.class, reason.code),
            other => panic!("{other:?}"),
        };
        let error = json!({"transactionStatus": "failed", "error": {"errorCode": "MaxBalanceExceeded"}});
        assert_eq!(failed(error), (ReasonClass::Limit, "max_balance_exceeded".into()));
        let unknown = json!({"transactionStatus": "FAILED", "errorCode": "newCode"});
        assert_eq!(failed(unknown), (ReasonClass::Unknown, "new_code".into()));
        assert_eq!(failed(json!({"transactionStatus": "rejected"})), (ReasonClass::NotExecuted, "unstated".into()));
    }

    #[test]
    fn pages_speak_for_open_instructions_only() {
        let batch = batch(&[(1, 150_000), (2, 200), (3, 300), (4, 400)]);
        let open: Open<'_> = batch.instructions.iter().map(|item| (item.reference, item)).collect();
        let paid: Vec<Object> = serde_json::from_str(include_str!("fixtures/completions.json")).unwrap();
        let reports = completions(&paid, &open, "msisdn");
        let accounts: Vec<_> = reports.iter().map(|report| report.payee_account.as_deref()).collect();
        assert_eq!(accounts, [Some("mobile:+254700000001@operator"), Some("msisdn:+254799999999")]);
        let unpaid: Vec<Object> = serde_json::from_str(include_str!("fixtures/rejections.json")).unwrap();
        let classes: Vec<_> = rejections(&unpaid, &open, "msisdn")
            .into_iter()
            .map(|report| match (report.about, report.outcome) {
                (About::Instruction(reference), Outcome::Rejected(reason)) => (reference.number(), reason.class),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(classes, [(3, ReasonClass::FixData), (4, ReasonClass::NotExecuted)]);
    }

    #[test]
    fn links_are_read_by_their_path() {
        for (link, expected) in [
            ("/batchtransactions/B-1", Some(Target::Batch("B-1".into()))),
            ("https://other.example/v1.2/mm/transactions/T1?x=1", Some(Target::Payment("T1".into()))),
            ("requeststates/S1/", Some(Target::Request("S1".into()))),
            ("B-1", None),
            ("", None),
        ] {
            assert_eq!(target(link), expected, "{link}");
        }
    }
}
