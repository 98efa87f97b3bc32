//! The sandbox's own doors: what was really paid, which faults hold, and what only
//! a person at the operator can do.
//! Deliberately not here: any part of a payment protocol.

use std::collections::HashSet;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::execute;
use super::faults::Faults;
use super::kind::Kind;
use super::ledger::{Net, Summary};
use super::operator::Operator;
use super::wire::{self, Refusal};

/// Lines written at once.
const CHUNK_ROWS_MAX: usize = 1_000;

pub(super) fn operator_routes() -> Router<Arc<Operator>> {
    Router::new()
        .route("/admin/ledger", get(credits))
        .route("/admin/ledger/net", get(net))
        .route("/admin/ledger/summary", get(summary))
        .route("/admin/faults", get(faults).post(set_faults))
        .route("/admin/kind", get(kind).post(set_kind))
        .route("/admin/heal", post(heal))
        .route("/admin/return", post(give_back))
        .route("/admin/float", post(set_float))
}

async fn summary(State(operator): State<Arc<Operator>>) -> Json<Summary> {
    Json(operator.book().ledger.summary())
}

/// One line for each reference.
async fn net(State(operator): State<Arc<Operator>>) -> Response {
    let line = |(reference, net): (&str, Net)| json!({"reference": reference, "credits": net.credits, "sum_minor": net.sum_minor});
    let net: Vec<Value> = operator.book().ledger.net().into_iter().map(line).collect();
    lines(move |from| net.iter().skip(from).take(CHUNK_ROWS_MAX).cloned().collect())
}

async fn faults(State(operator): State<Arc<Operator>>) -> Json<Faults> {
    Json(operator.faults())
}

async fn set_faults(State(operator): State<Arc<Operator>>, Json(faults): Json<Faults>) -> StatusCode {
    operator.set_faults(faults);
    StatusCode::NO_CONTENT
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TheKind {
    kind: Kind,
}

async fn kind(State(operator): State<Arc<Operator>>) -> Json<TheKind> {
    Json(TheKind { kind: operator.book().kind })
}

async fn set_kind(State(operator): State<Arc<Operator>>, Json(TheKind { kind }): Json<TheKind>) -> StatusCode {
    operator.book().kind = kind;
    StatusCode::NO_CONTENT
}

async fn heal(State(operator): State<Arc<Operator>>) -> StatusCode {
    operator.heal();
    StatusCode::NO_CONTENT
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Returned {
    references: HashSet<String>,
}

async fn give_back(
    State(operator): State<Arc<Operator>>,
    Json(Returned { references }): Json<Returned>,
) -> Result<Json<Value>, Refusal> {
    let credits = operator.credits_of(|reference| references.contains(reference));
    let returned = execute::give_back(&operator, &credits).await?;
    Ok(Json(json!({"returned": returned})))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Float {
    float_minor: i64,
}

async fn set_float(State(operator): State<Arc<Operator>>, Json(Float { float_minor }): Json<Float>) -> StatusCode {
    operator.book().ledger.set_float(float_minor);
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
                "at": wire::date(credit.at_micros), "returned": credit.returned,
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
