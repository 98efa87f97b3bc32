//! Taking payments in, and all the ways in which that can fail to reach the operator or the client.
//! Deliberately not here: whether a copy is taken (`book.rs`), and paying (`carry.rs`).

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{ConnectInfo, Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use uuid::Uuid;

use super::cut::Cut;
use super::faults::{Fault, Faults, Marks};
use super::operator::{Operator, mangled};
use super::request::Asked;
use super::wire::{self, Posted, PostedBatch, Refusal};
use super::{now_micros, views};

pub(super) async fn post_batch(
    State(operator): State<Arc<Operator>>,
    ConnectInfo(cut): ConnectInfo<Cut>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Refusal> {
    let currency = operator.book().ledger.currency;
    let mut asked = asked(&headers)?;
    let mut posted: PostedBatch = wire::read(&body)?;
    asked.items = wire::items(&mut posted, currency)?;
    asked.approved = match posted.batch_status.as_deref() {
        None | Some("approved") => true,
        Some("created") => false,
        Some(_) => return Err(Refusal::invalid("formatError", "a new batch is created or approved")),
    };
    (asked.batch, asked.title, asked.description) = (true, posted.batch_title, posted.batch_description);
    take(&operator, &cut, asked).await
}

pub(super) async fn post_single(
    State(operator): State<Arc<Operator>>,
    ConnectInfo(cut): ConnectInfo<Cut>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Refusal> {
    take(&operator, &cut, single(&operator, &headers, (None, &body))?).await
}

pub(super) async fn post_single_of_kind(
    State(operator): State<Arc<Operator>>,
    ConnectInfo(cut): ConnectInfo<Cut>,
    Path(kind): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Refusal> {
    take(&operator, &cut, single(&operator, &headers, (Some(&kind), &body))?).await
}

fn single(operator: &Operator, headers: &HeaderMap, (kind, body): (Option<&str>, &[u8])) -> Result<Asked, Refusal> {
    let currency = operator.book().ledger.currency;
    let mut asked = asked(headers)?;
    let posted: Posted = wire::read(body)?;
    asked.items = vec![wire::single(posted, kind, currency)?];
    Ok(asked)
}

/// What the headers say.
fn asked(headers: &HeaderMap) -> Result<Asked, Refusal> {
    let callback = headers.get("X-Callback-URL").and_then(|url| url.to_str().ok()).map(str::to_owned);
    Ok(Asked {
        correlation: correlation(headers)?,
        callback,
        title: None,
        description: None,
        approved: true,
        batch: false,
        items: Vec::new(),
    })
}

/// Accepts one request, starts it, and answers, unless a fault keeps the request or the answer.
async fn take(operator: &Arc<Operator>, cut: &Cut, asked: Asked) -> Result<Response, Refusal> {
    let (faults, key) = (operator.faults(), asked.key());
    let marks = faults.marks(asked.payees());
    // Requests without a name of their own are spared: nobody could tell their second copy from another payment.
    let strikes_once = |fault| {
        asked.correlation.is_some() && faults.strikes(fault, &key, marks) && operator.book().first_time(fault, &key)
    };
    let late = strikes_once(Fault::LateRequest);
    if late || strikes_once(Fault::LoseRequest) {
        if late {
            operator.arrives_late(asked);
        }
        cut.now();
        return Ok(StatusCode::SERVICE_UNAVAILABLE.into_response());
    }
    let (batch, doubled) = (asked.batch, faults.strikes(Fault::DoubleRequest, &key, marks));
    let second = doubled.then(|| asked.clone());
    let mut index = accept(operator, asked)?;
    if let Some(second) = second {
        index = accept(operator, second)?;
    }
    answer(operator, cut, index, (batch, &key, &faults, marks)).await
}

/// Takes a request in and starts it.
pub(super) fn accept(operator: &Arc<Operator>, asked: Asked) -> Result<u32, Refusal> {
    let (approved, faults) = (asked.approved, operator.faults());
    let index = operator.book().accept(asked, &faults, now_micros())?;
    if approved {
        operator.start(index);
    }
    Ok(index)
}

async fn answer(
    operator: &Operator,
    cut: &Cut,
    index: u32,
    (batch, key, faults, marks): (bool, &str, &Faults, Marks),
) -> Result<Response, Refusal> {
    let first_lost = {
        let mut book = operator.book();
        let lost = batch && book.replies_lost < faults.lose_first_replies;
        book.replies_lost += u32::from(lost);
        lost
    };
    if faults.strikes(Fault::LateReply, key, marks) {
        operator.wait(faults.late_millis).await;
    }
    if first_lost || faults.strikes(Fault::LoseReply, key, marks) {
        cut.now();
    }
    if faults.strikes(Fault::ErrorAfter, key, marks) {
        let (status, text) = (StatusCode::INTERNAL_SERVER_ERROR, "something went wrong");
        return Err(Refusal::new(status, "internal", "genericError", text));
    }
    let state = operator.book().request(index).map(views::accepted).unwrap_or_default();
    let mut response = (StatusCode::ACCEPTED, axum::Json(views::shown(operator, state))).into_response();
    if let Some(how) = mangled(operator, faults, key, marks) {
        response.extensions_mut().insert(how);
    }
    Ok(response)
}

/// The client's own name for its request, a hyphenated UUID.
pub(super) fn correlation(headers: &HeaderMap) -> Result<Option<Uuid>, Refusal> {
    let Some(given) = headers.get("X-CorrelationID") else { return Ok(None) };
    let id = given.to_str().ok().filter(|text| text.len() == 36).and_then(|text| Uuid::try_parse(text).ok());
    id.map(Some).ok_or_else(|| Refusal::invalid("formatError", "X-CorrelationID must be a UUID"))
}
