//! The operator's work after it has answered: paying, and telling the client that it is done.
//! Deliberately not here: whether to pay (`book.rs`).

use std::sync::Arc;
use std::time::Duration;

use reqwest::StatusCode;
use serde_json::Value;

use super::operator::Operator;
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
        let faults = operator.faults();
        let done = operator.book().step(index, &faults, (STEP_ITEMS_MAX, now_micros()));
        match done {
            Ok(true) => break,
            Ok(false) => tokio::task::yield_now().await,
            Err(error) => {
                tracing::error!(?error, "the sandbox ledger could not be written");
                return;
            }
        }
    }
    call_back(operator, index).await;
}

struct Call {
    url: String,
    correlation: Option<String>,
    body: Value,
    key: String,
}

/// The final object of a request, if it has one and somebody wants it.
fn call(operator: &Operator, index: u32) -> Option<Call> {
    let book = operator.book();
    let request = book.request(index)?;
    let url = request.callback.as_ref()?.to_string();
    request.ended_micros?;
    let body = match (views::failure_of(request), request.number) {
        (Some(failure), _) => failure,
        (None, Some(_)) => views::single_of(&book, &request.object)?,
        (None, None) => views::batch_of(request),
    };
    let body = views::shown(operator, body);
    Some(Call { url, correlation: request.correlation.map(|id| id.to_string()), body, key: request.key() })
}

async fn call_back(operator: &Operator, index: u32) {
    let Some(call) = call(operator, index) else { return };
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
