//! The operator's work after it has answered: paying, taking back, and telling the client what became of it.
//! Deliberately not here: whether to pay (`carry.rs`).

use std::sync::Arc;
use std::time::Duration;

use reqwest::StatusCode;
use serde_json::Value;

use super::faults::Fault;
use super::kind::Kind;
use super::operator::Operator;
use super::wire::Refusal;
use super::{now_micros, views};
use crate::contract::Failure;
use crate::http;

/// Most callbacks in flight.
pub(super) const CALLBACKS_MAX: usize = 64;
/// Longest wait for a client to take a callback.
pub(super) const CALLBACK_TIMEOUT: Duration = Duration::from_secs(5);
/// How often a callback is tried.
const CALLBACK_TRIES_MAX: u32 = 2;
/// Payments made before others may look at the book.
const STEP_ITEMS_MAX: usize = 5_000;

/// Carries one request out, after the operator's delay.
pub(super) async fn execute(operator: &Arc<Operator>, index: u32) {
    tokio::time::sleep(operator.delay).await;
    loop {
        if let Err(error) = once(operator, index).await {
            tracing::error!(?error, "the sandbox ledger could not be written");
        }
        if !operator.book().finish(index) {
            return;
        }
    }
}

async fn once(operator: &Operator, index: u32) -> Result<(), Refusal> {
    // Faults are read under the book's lock: who heals the operator changes them before taking that lock.
    let silent = |operator: &Operator| {
        let mut book = operator.book();
        book.silent(index, &operator.faults())
    };
    if silent(operator) {
        return Ok(());
    }
    while !step(operator, index)? {
        tokio::task::yield_now().await;
    }
    call_back(operator, ended(operator, index)).await;
    let returning = operator.book().requests.get_mut(index as usize).map(|one| std::mem::take(&mut one.returning));
    let returning = returning.unwrap_or_default();
    if !returning.is_empty() {
        operator.wait(operator.faults().return_millis).await;
        give_back(operator, &returning).await?;
    }
    Ok(())
}

fn step(operator: &Operator, index: u32) -> Result<bool, Refusal> {
    let mut book = operator.book();
    let faults = operator.faults();
    book.step(index, &faults, (STEP_ITEMS_MAX, now_micros()))
}

/// Takes credits back and tells whoever asked to be told; returns how many had not come back before.
pub(super) async fn give_back(operator: &Operator, credits: &[u32]) -> Result<usize, Refusal> {
    let given = operator.book().give_back(credits, now_micros())?;
    for credit in &given {
        call_back(operator, returned(operator, *credit)).await;
    }
    Ok(given.len())
}

struct Call {
    url: String,
    correlation: Option<String>,
    body: Value,
    key: String,
}

/// The final object of a request, if it has one and somebody wants it.
fn ended(operator: &Operator, index: u32) -> Option<Call> {
    let (book, faults) = (operator.book(), operator.faults());
    let request = book.request(index).filter(|_| book.kind != Kind::StatementOnly)?;
    let url = request.callback.as_ref()?.to_string();
    request.ended_micros?;
    let contradicts = faults.strikes(Fault::ContradictCallback, &request.key(), book.marks(request, &faults));
    let body = match (views::failure_of(request), request.number) {
        (Some(failure), _) if !contradicts => failure,
        (_, Some(_)) => views::single_of(&book, &faults, &request.object)?,
        (_, None) => views::batch_of(&book.group(index)),
    };
    let body = if contradicts { views::contradicted(body) } else { body };
    let body = views::shown(operator, body);
    Some(Call { url, correlation: request.correlation.map(|id| id.to_string()), body, key: request.key() })
}

/// A payment that came back, if somebody wants to know.
fn returned(operator: &Operator, credit: u32) -> Option<Call> {
    let (book, faults) = (operator.book(), operator.faults());
    let credit = book.ledger.credit(credit).filter(|_| book.kind != Kind::StatementOnly)?;
    let request = book.request(credit.request)?;
    let url = request.callback.as_ref()?.to_string();
    let body = views::single_of(&book, &faults, &credit.operator_reference())?;
    let key = format!("{} returned", credit.operator_reference());
    Some(Call { url, correlation: None, body: views::shown(operator, body), key })
}

async fn call_back(operator: &Operator, call: Option<Call>) {
    let Some(call) = call else { return };
    let Ok(_slot) = operator.callbacks.acquire().await else { return };
    for _ in 0..operator.faults().callbacks(&call.key) {
        for _ in 0..CALLBACK_TRIES_MAX {
            match put(operator, &call).await {
                Ok(StatusCode::NO_CONTENT) => break,
                Ok(status) => tracing::debug!(%status, "a callback was not taken"),
                Err(error) => tracing::debug!(%error, "a callback did not arrive"),
            }
        }
    }
}

async fn put(operator: &Operator, call: &Call) -> Result<StatusCode, Failure> {
    let mut request = operator.client.put(&call.url).json(&call.body);
    request = request.header("X-Date", super::wire::date(now_micros()));
    if let Some(correlation) = &call.correlation {
        request = request.header("X-CorrelationID", correlation);
    }
    http::ask(request).await.map(|answer| answer.status)
}
