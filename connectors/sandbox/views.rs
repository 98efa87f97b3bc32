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
use super::faults::{FOREIGN_STATUS, Fault, Faults, Marks, PAYEE_UNKNOWN_SUFFIX};
use super::ledger::Credit;
use super::operator::Operator;
use super::request::{Rejection, Request, Stage};
use super::wire::{self, Refusal};
use crate::contract::{Currency, Money};

/// Page size when none is asked for (specification).
pub(super) const PAGE_ROWS_DEFAULT: usize = 50;
/// Longest page; a longer one that is asked for is cut.
pub(super) const PAGE_ROWS_MAX: usize = 10_000;
/// How often a client may ask for a request's state, as it is told.
const POLLS_MAX: u32 = 1_000;

/// How a payment that came back is shown.
const REVERSED: &str = "reversed";

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

/// A word for a status that is not what it says, once: failed the first time it is asked about something that has
/// ended, and pending after it was shown as ended.
fn flap(book: &mut Book, faults: &Faults, key: &str, marks: Marks) -> Option<&'static str> {
    if faults.strikes(Fault::FlapFailed, key, marks) && book.first_time(Fault::FlapFailed, key) {
        return Some("failed");
    }
    let seen = format!("{key} shown");
    let pends = faults.strikes(Fault::FlapPending, key, marks)
        && !book.first_time(Fault::FlapPending, &seen)
        && book.first_time(Fault::FlapPending, key);
    pends.then_some("pending")
}

/// The opposite of an end, for a callback that contradicts what became of it.
pub(super) fn contradicted(mut object: Value) -> Value {
    if let Some(status) = object.get_mut("transactionStatus") {
        *status = json!(if *status == "failed" { "completed" } else { "failed" });
    } else {
        let (completed, rejected) = (object["completedCount"].take(), object["rejectionCount"].take());
        (object["completedCount"], object["rejectionCount"]) = (rejected, completed);
    }
    object
}

pub(super) async fn batch(State(operator): Shared, Path(id): Path<String>) -> Result<Json<Value>, Refusal> {
    let faults = operator.faults();
    let mut book = operator.book();
    let (index, requests) = book.batch(&id).ok_or_else(|| Refusal::unknown("no such batch"))?;
    let mut view = batch_of(&requests);
    if view["batchStatus"] == "completed"
        && let Some((key, marks)) = book.request(index).map(|request| (request.key(), book.marks(request, &faults)))
        && let Some(word) = flap(&mut book, &faults, &key, marks)
    {
        view["batchStatus"] = json!(if word == "pending" { "approved" } else { word });
        view["processingFlag"] = json!(word == "pending");
    }
    Ok(Json(shown(&operator, view)))
}

/// A batch with all its copies: what happened under one correlation id is shown under every name it has. The
/// schema demands both dates always; before they are known they tell what is expected.
pub(super) fn batch_of(requests: &[&Request]) -> Value {
    let Some(request) = requests.last() else { return Value::Null };
    let all = |stage| requests.iter().all(|request| request.stage == stage);
    let status = match () {
        () if all(Stage::Completed) => "completed",
        () if all(Stage::Created) => "created",
        () => "approved",
    };
    let sum = |of: fn(&Request) -> usize| requests.iter().map(|request| of(request)).sum::<usize>();
    let mut shown = json!({
        "batchId": request.object,
        "batchStatus": status,
        "approvalDate": wire::date(request.at_micros),
        "completionDate": wire::date(request.ended_micros.unwrap_or(request.at_micros)),
        "creationDate": wire::date(request.at_micros),
        "modificationDate": wire::date(request.ended_micros.unwrap_or(request.at_micros)),
        "processingFlag": status == "approved",
        "parsingSuccessCount": sum(|request| if request.replaces { 0 } else { request.items_count }),
        "completedCount": sum(|request| request.completions.len()),
        "rejectionCount": sum(|request| request.rejections.len()),
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
    let faults = operator.faults();
    let book = operator.book();
    let (_, requests) = book.batch(&id).ok_or_else(|| Refusal::unknown("no such batch"))?;
    let all: Vec<&[u32]> = requests.iter().map(|request| request.completions.as_slice()).collect();
    let row = |position: &u32| {
        let credit = book.ledger.credit(*position);
        credit.map(|credit| completion(credit, &faults, book.ledger.currency)).unwrap_or_default()
    };
    rows(page, &all, row)
}

pub(super) async fn rejections(
    State(operator): Shared,
    Path(id): Path<String>,
    page: Result<Query<Page>, QueryRejection>,
) -> Result<Response, Refusal> {
    let book = operator.book();
    let (_, requests) = book.batch(&id).ok_or_else(|| Refusal::unknown("no such batch"))?;
    let all: Vec<&[Rejection]> = requests.iter().map(|request| request.rejections.as_slice()).collect();
    rows(page, &all, rejection)
}

fn rows<T>(
    page: Result<Query<Page>, QueryRejection>,
    all: &[&[T]],
    row: impl Fn(&T) -> Value,
) -> Result<Response, Refusal> {
    let Ok(Query(page)) = page else {
        return Err(Refusal::invalid("invalidOffset", "limit and offset must be whole numbers"));
    };
    let limit = page.limit.unwrap_or(PAGE_ROWS_DEFAULT).min(PAGE_ROWS_MAX);
    let flat = all.iter().flat_map(|part| part.iter());
    let shown: Vec<Value> = flat.skip(page.offset.unwrap_or(0)).take(limit).map(row).collect();
    let mut headers = HeaderMap::new();
    headers.insert("X-Records-Available-Count", all.iter().map(|part| part.len()).sum::<usize>().into());
    headers.insert("X-Records-Returned-Count", shown.len().into());
    Ok((headers, Json(shown)).into_response())
}

/// The specification names no status and no sum here. A payment that came back is shown as reversed all the same,
/// and a sum is shown where a fault makes it another than was paid.
fn completion(credit: &Credit, faults: &Faults, currency: Currency) -> Value {
    let reference = credit.operator_reference();
    let mut row = payment(&credit.reference, &credit.payee, &credit.debit);
    row.insert("link".into(), json!(format!("/transactions/{reference}")));
    row.insert("transactionReference".into(), json!(reference));
    row.insert("completionDate".into(), json!(wire::date(credit.at_micros)));
    if credit.returned {
        row.insert("transactionStatus".into(), json!(REVERSED));
    }
    let amount = Money::new(credit.amount_minor, currency);
    let told = told(amount, faults, &credit.reference, credit.payee_id());
    if told != amount {
        row.insert("amount".into(), json!(told.normalised()));
        row.insert("currency".into(), json!(currency.code()));
    }
    Value::Object(row)
}

/// The sum a view names.
fn told(amount: Money, faults: &Faults, reference: &str, payee: &str) -> Money {
    let wrong = faults.strikes(Fault::WrongAmount, reference, faults.marks([payee]));
    Money::new(amount.minor.saturating_add(i64::from(wrong)), amount.currency)
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
    let faults = operator.faults();
    let mut book = operator.book();
    let mut view = single_of(&book, &faults, &reference).ok_or_else(|| Refusal::unknown("no such transaction"))?;
    if view["transactionStatus"] == "completed" {
        let payee = view["creditParty"][0]["value"].as_str().unwrap_or_default();
        let (marks, name) = (faults.marks([payee]), view["requestingOrganisationTransactionReference"].as_str());
        if let Some(word) = flap(&mut book, &faults, name.unwrap_or(&reference), marks) {
            view["transactionStatus"] = json!(word);
        }
    }
    Ok(Json(shown(&operator, view)))
}

/// A single payment, or a completed payment of a batch.
pub(super) fn single_of(book: &Book, faults: &Faults, reference: &str) -> Option<Value> {
    let number = wire::operator_number(reference)?;
    let credit = book.ledger.by_number(number);
    if let Some(credit) = credit {
        let request = book.request(credit.request).filter(|request| request.number.is_some());
        let item = request.and_then(|request| request.items.first());
        let row = payment(&credit.reference, &credit.payee, &credit.debit);
        let amount = Money::new(credit.amount_minor, book.ledger.currency);
        let amount = told(amount, faults, &credit.reference, credit.payee_id());
        let status = match request {
            _ if credit.returned => REVERSED,
            Some(request) if request.stage != Stage::Completed => "pending",
            _ => "completed",
        };
        let kind = item.map_or("disbursement", |item| item.kind);
        return Some(paid_view(row, reference, (amount, kind, status), credit.at_micros));
    }
    let request = book.single(number)?;
    let item = request.items.first()?;
    let status = if request.stage == Stage::Completed { "failed" } else { "pending" };
    let row = payment(&item.reference, &item.payee, &item.debit);
    let amount = Money::new(item.amount_minor, book.ledger.currency);
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
    let faults = operator.faults();
    let mut book = operator.book();
    let request = Uuid::try_parse(&id).ok().and_then(|id| book.by_server(id));
    let request = request.ok_or_else(|| Refusal::unknown("no such request"))?;
    let (mut view, marks) = (state_of(request), book.marks(request, &faults));
    if view["status"] == "completed"
        && let Some(word) = flap(&mut book, &faults, &id, marks)
    {
        view["status"] = json!(word);
    }
    Ok(Json(shown(&operator, view)))
}

/// A request as it was just taken, however quick the operator was.
pub(super) fn accepted(request: &Request) -> Value {
    let mut view = state_of(request);
    view["status"] = json!("pending");
    if let Some(fields) = view.as_object_mut() {
        fields.remove("error");
    }
    view
}

/// A request as its client follows it.
fn state_of(request: &Request) -> Value {
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
