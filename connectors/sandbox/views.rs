//! What the operator shows when it is asked. Asking changes nothing.
//! Deliberately not here: what the fields mean (the GSMA schema says).

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::book::Book;
use super::faults::{FOREIGN_STATUS, PAYEE_UNKNOWN_SUFFIX};
use super::ledger::Credit;
use super::operator::Operator;
use super::request::{Rejection, Request, Stage};
use super::wire::{self, Refusal};
use crate::contract::{Currency, Money};

/// Page size when none is asked for (specification).
const PAGE_ROWS_DEFAULT: usize = 50;
/// Longest page; a longer one that is asked for is cut.
const PAGE_ROWS_MAX: usize = 10_000;
/// How often a client may ask for a request's state, as it is told.
const POLLS_MAX: u32 = 1_000;

/// Fields that hold a status.
const STATUS_FIELDS: [&str; 3] = ["status", "batchStatus", "transactionStatus"];

type Shared = State<Arc<Operator>>;

/// An object as a client gets it: with a foreign word for its status while that fault holds.
pub(super) fn shown(operator: &Operator, mut object: Value) -> Value {
    if operator.faults().foreign_status {
        for field in STATUS_FIELDS {
            if let Some(status) = object.get_mut(field) {
                *status = json!(FOREIGN_STATUS);
            }
        }
    }
    object
}

pub(super) async fn batch(State(operator): Shared, Path(id): Path<String>) -> Result<Json<Value>, Refusal> {
    let book = operator.book();
    let (_, request) = book.batch(&id).ok_or_else(|| Refusal::unknown("no such batch"))?;
    Ok(Json(shown(&operator, batch_of(request))))
}

/// The schema demands both dates always; before they are known they tell what is expected.
pub(super) fn batch_of(request: &Request) -> Value {
    let status = match request.stage {
        Stage::Created => "created",
        Stage::Approved => "approved",
        Stage::Completed => "completed",
    };
    let mut shown = json!({
        "batchId": request.object,
        "batchStatus": status,
        "approvalDate": wire::date(request.at_micros),
        "completionDate": wire::date(request.ended_micros.unwrap_or(request.at_micros)),
        "creationDate": wire::date(request.at_micros),
        "modificationDate": wire::date(request.ended_micros.unwrap_or(request.at_micros)),
        "processingFlag": request.stage == Stage::Approved,
        "parsingSuccessCount": request.items_count,
        "completedCount": request.completions.len(),
        "rejectionCount": request.rejections.len(),
    });
    if let Some(title) = &request.title {
        shown["batchTitle"] = json!(title);
    }
    if let Some(description) = &request.description {
        shown["batchDescription"] = json!(description);
    }
    shown
}

#[derive(Deserialize)]
pub(super) struct Page {
    limit: Option<usize>,
    offset: Option<usize>,
}

pub(super) async fn completions(
    State(operator): Shared,
    Path(id): Path<String>,
    page: Result<Query<Page>, QueryRejection>,
) -> Result<Response, Refusal> {
    let book = operator.book();
    let (_, request) = book.batch(&id).ok_or_else(|| Refusal::unknown("no such batch"))?;
    let row = |position: &u32| book.ledger.credit(*position).map(completion).unwrap_or_default();
    rows(page, &request.completions, row)
}

pub(super) async fn rejections(
    State(operator): Shared,
    Path(id): Path<String>,
    page: Result<Query<Page>, QueryRejection>,
) -> Result<Response, Refusal> {
    let book = operator.book();
    let (_, request) = book.batch(&id).ok_or_else(|| Refusal::unknown("no such batch"))?;
    rows(page, &request.rejections, rejection)
}

fn rows<T>(
    page: Result<Query<Page>, QueryRejection>,
    all: &[T],
    row: impl Fn(&T) -> Value,
) -> Result<Response, Refusal> {
    let Ok(Query(page)) = page else {
        return Err(Refusal::invalid("invalidOffset", "limit and offset must be whole numbers"));
    };
    let limit = page.limit.unwrap_or(PAGE_ROWS_DEFAULT).min(PAGE_ROWS_MAX);
    let shown: Vec<Value> = all.iter().skip(page.offset.unwrap_or(0)).take(limit).map(row).collect();
    let mut headers = HeaderMap::new();
    headers.insert("X-Records-Available-Count", all.len().into());
    headers.insert("X-Records-Returned-Count", shown.len().into());
    Ok((headers, Json(shown)).into_response())
}

fn completion(credit: &Credit) -> Value {
    let reference = credit.operator_reference();
    let mut row = payment(&credit.reference, &credit.payee, &credit.debit);
    row.insert("link".into(), json!(format!("/transactions/{reference}")));
    row.insert("transactionReference".into(), json!(reference));
    row.insert("completionDate".into(), json!(wire::date(credit.at_micros)));
    Value::Object(row)
}

fn rejection(rejection: &Rejection) -> Value {
    let mut row = payment(&rejection.reference, &rejection.payee, &rejection.debit);
    row.insert("rejectionReason".into(), json!(rejection.reason.text));
    row.insert("rejectionDate".into(), json!(wire::date(rejection.at_micros)));
    Value::Object(row)
}

/// What every view of a payment has. A payer that was not named is left out.
fn payment(reference: &str, payee: &str, debit: &str) -> Map<String, Value> {
    let mut row = Map::new();
    if !reference.is_empty() {
        row.insert("requestingOrganisationTransactionReference".into(), json!(reference));
    }
    row.insert("creditParty".into(), wire::parties(payee));
    if !debit.is_empty() {
        row.insert("debitParty".into(), wire::parties(debit));
    }
    row
}

pub(super) async fn single(State(operator): Shared, Path(reference): Path<String>) -> Result<Json<Value>, Refusal> {
    let book = operator.book();
    let view = single_of(&book, &reference).ok_or_else(|| Refusal::unknown("no such transaction"))?;
    Ok(Json(shown(&operator, view)))
}

/// A single payment, or a completed payment of a batch.
pub(super) fn single_of(book: &Book, reference: &str) -> Option<Value> {
    let number = wire::operator_number(reference)?;
    let currency = book.ledger.currency;
    let Some(request) = book.single(number) else {
        let credit = book.ledger.by_number(number)?;
        let row = payment(&credit.reference, &credit.payee, &credit.debit);
        let amount = Money::new(credit.amount_minor, currency);
        return Some(paid_view(row, reference, (amount, "disbursement", "completed"), credit.at_micros));
    };
    let item = request.items.first()?;
    let status = match request.stage {
        Stage::Completed if request.completions.is_empty() => "failed",
        Stage::Completed => "completed",
        Stage::Approved | Stage::Created => "pending",
    };
    let row = payment(&item.reference, &item.payee, &item.debit);
    let amount = Money::new(item.amount_minor, currency);
    let at_micros = request.ended_micros.unwrap_or(request.at_micros);
    Some(paid_view(row, reference, (amount, item.kind, status), at_micros))
}

fn paid_view(
    mut row: Map<String, Value>,
    reference: &str,
    (amount, kind, status): (Money, &str, &str),
    at_micros: i64,
) -> Value {
    row.insert("transactionReference".into(), json!(reference));
    row.insert("transactionStatus".into(), json!(status));
    row.insert("amount".into(), json!(amount.normalised()));
    row.insert("currency".into(), json!(amount.currency.code()));
    row.insert("type".into(), json!(kind));
    row.insert("creationDate".into(), json!(wire::date(at_micros)));
    row.insert("modificationDate".into(), json!(wire::date(at_micros)));
    Value::Object(row)
}

/// The final word on a failed single payment.
pub(super) fn failure_of(request: &Request) -> Option<Value> {
    let rejection = request.rejections.first().filter(|_| request.number.is_some())?;
    let reason = rejection.reason;
    Some(wire::error_body((reason.category, reason.code), reason.text, rejection.at_micros))
}

pub(super) async fn request_state(State(operator): Shared, Path(id): Path<String>) -> Result<Json<Value>, Refusal> {
    let book = operator.book();
    let request = Uuid::try_parse(&id).ok().and_then(|id| book.by_server(id));
    let request = request.ok_or_else(|| Refusal::unknown("no such request"))?;
    Ok(Json(shown(&operator, state_of(request))))
}

/// A request as its client follows it.
pub(super) fn state_of(request: &Request) -> Value {
    let failure = failure_of(request);
    let status = match request.stage {
        Stage::Completed if failure.is_some() => "failed",
        Stage::Completed => "completed",
        Stage::Approved | Stage::Created => "pending",
    };
    let mut shown = json!({
        "serverCorrelationId": request.server.to_string(),
        "objectReference": request.object,
        "status": status,
        "notificationMethod": if request.callback.is_some() { "callback" } else { "polling" },
        "pollLimit": POLLS_MAX,
    });
    if let Some(failure) = failure {
        shown["error"] = failure;
    }
    shown
}

pub(super) async fn response(State(operator): Shared, Path(id): Path<String>) -> Result<Json<Value>, Refusal> {
    let book = operator.book();
    let request = Uuid::try_parse(&id).ok().and_then(|id| book.by_correlation(id));
    let request = request.ok_or_else(|| Refusal::unknown("no request with that correlation id"))?;
    let path = if request.number.is_some() { "transactions" } else { "batchtransactions" };
    Ok(Json(json!({"link": format!("/{path}/{}", request.object)})))
}

pub(super) async fn heartbeat() -> Json<Value> {
    Json(json!({"serviceStatus": "available", "delay": 0}))
}

pub(super) async fn own_balance(State(operator): Shared) -> Json<Value> {
    let float = operator.book().ledger.float();
    let nothing = zero(float.currency);
    Json(json!({
        "accountStatus": "available",
        "currentBalance": float.normalised(),
        "availableBalance": float.normalised(),
        "reservedBalance": nothing,
        "unclearedBalance": nothing,
        "currency": float.currency.code(),
    }))
}

fn zero(currency: Currency) -> String {
    Money::new(0, currency).normalised()
}

pub(super) async fn account_status(
    State(operator): Shared,
    Path((_, value)): Path<(String, String)>,
) -> Result<Json<Value>, Refusal> {
    known(&operator, &value)?;
    Ok(Json(json!({"accountStatus": "available"})))
}

pub(super) async fn account_name(
    State(operator): Shared,
    Path((_, value)): Path<(String, String)>,
) -> Result<Json<Value>, Refusal> {
    known(&operator, &value)?;
    let family: String = value.chars().rev().take(4).collect::<Vec<_>>().into_iter().rev().collect();
    let full = format!("Payee {family}");
    Ok(Json(json!({"name": {"firstName": "Payee", "lastName": family, "fullName": full}})))
}

fn known(operator: &Operator, value: &str) -> Result<(), Refusal> {
    if operator.faults().payee_suffixes && value.ends_with(PAYEE_UNKNOWN_SUFFIX) {
        return Err(Refusal::unknown("Account not found"));
    }
    Ok(())
}
