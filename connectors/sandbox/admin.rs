//! The sandbox's own doors: what was really paid, and which faults hold.
//! Deliberately not here: any part of a payment protocol.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};

use super::faults::Faults;
use super::ledger::Summary;
use super::operator::Operator;
use super::wire;

/// Lines written at once.
const CHUNK_ROWS_MAX: usize = 1_000;

pub(super) fn operator_routes() -> Router<Arc<Operator>> {
    Router::new()
        .route("/admin/ledger", get(credits))
        .route("/admin/ledger/summary", get(summary))
        .route("/admin/faults", post(set_faults))
}

async fn summary(State(operator): State<Arc<Operator>>) -> Json<Summary> {
    Json(operator.book().ledger.summary())
}

async fn set_faults(State(operator): State<Arc<Operator>>, Json(faults): Json<Faults>) -> StatusCode {
    operator.set_faults(faults);
    StatusCode::NO_CONTENT
}

async fn credits(State(operator): State<Arc<Operator>>) -> Response {
    lines(move |from| {
        let book = operator.book();
        let currency = book.ledger.currency.code();
        let row = |credit: &super::ledger::Credit| {
            json!({
                "reference": credit.reference, "payee": credit.payee_id(), "amount_minor": credit.amount_minor,
                "currency": currency, "operator_reference": credit.operator_reference(),
                "at": wire::date(credit.at_micros),
            })
        };
        book.ledger.credits().iter().skip(from).take(CHUNK_ROWS_MAX).map(row).collect()
    })
}

/// Streams what `chunk` gives from a position on, one JSON value a line, until it gives nothing more.
pub(super) fn lines(chunk: impl Fn(usize) -> Vec<Value> + Send + 'static) -> Response {
    let stream = futures_util::stream::unfold((0, chunk), |(from, chunk)| async move {
        let rows = chunk(from);
        let next = from + rows.len();
        let text: String = rows.iter().map(|row| format!("{row}\n")).collect();
        (next > from).then(|| (Ok::<_, std::convert::Infallible>(Bytes::from(text)), (next, chunk)))
    });
    ([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(stream)).into_response()
}
