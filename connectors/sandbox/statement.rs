//! The statement of the funded account, newest entry first: what was paid, and what came back.
//! As in the specification an entry has no field for the payer's reference; the payer's own words for the
//! statement are shown, and nothing else ties an entry to a payment of the payer's books.
//! Deliberately not here: any other account's statement.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use chrono::DateTime;
use serde::Deserialize;
use serde_json::{Value, json};

use super::ledger::{Credit, Ledger, Line};
use super::operator::Operator;
use super::views::{PAGE_ROWS_DEFAULT, PAGE_ROWS_MAX};
use super::wire::{self, Refusal};
use crate::contract::Money;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Window {
    limit: Option<usize>,
    offset: Option<usize>,
    from_date_time: Option<String>,
    to_date_time: Option<String>,
}

/// There is one funded account, the client's, under whatever name it is asked for.
pub(super) async fn entries(
    State(operator): State<Arc<Operator>>,
    window: Result<Query<Window>, QueryRejection>,
) -> Result<Response, Refusal> {
    let Ok(Query(window)) = window else {
        return Err(Refusal::invalid("invalidOffset", "limit and offset must be whole numbers"));
    };
    let from = instant(window.from_date_time.as_deref())?.unwrap_or(i64::MIN);
    let to = instant(window.to_date_time.as_deref())?.unwrap_or(i64::MAX);
    let limit = window.limit.unwrap_or(PAGE_ROWS_DEFAULT).min(PAGE_ROWS_MAX);
    let book = operator.book();
    let lines = book.ledger.statement(from, to);
    let page = lines.iter().rev().skip(window.offset.unwrap_or(0)).take(limit);
    let shown: Vec<Value> = page.filter_map(|line| entry(&book.ledger, *line)).collect();
    let mut headers = HeaderMap::new();
    headers.insert("X-Records-Available-Count", lines.len().into());
    headers.insert("X-Records-Returned-Count", shown.len().into());
    Ok((headers, Json(shown)).into_response())
}

fn instant(text: Option<&str>) -> Result<Option<i64>, Refusal> {
    let read = text.map(DateTime::parse_from_rfc3339).transpose();
    let read = read.map_err(|error| Refusal::invalid("formatError", error.to_string()))?;
    Ok(read.map(|instant| instant.timestamp_micros()))
}

fn entry(ledger: &Ledger, line: Line) -> Option<Value> {
    match line {
        Line::Paid(position) => {
            let credit = ledger.credit(position)?;
            let mut shown = booked(ledger, credit, (credit.number, credit.at_micros));
            shown["displayType"] = json!("disbursement");
            shown["creditParty"] = wire::parties(&credit.payee);
            shown["debitParty"] = wire::parties(&credit.debit);
            Some(shown)
        }
        Line::Returned(position) => {
            let (credit, one) = ledger.returned(position)?;
            let mut shown = booked(ledger, credit, (one.number, one.at_micros));
            shown["displayType"] = json!("reversal");
            shown["creditParty"] = wire::parties(&credit.debit);
            shown["debitParty"] = wire::parties(&credit.payee);
            Some(shown)
        }
    }
}

fn booked(ledger: &Ledger, credit: &Credit, (number, at_micros): (u64, i64)) -> Value {
    let amount = Money::new(credit.amount_minor, ledger.currency);
    let mut shown = json!({
        "transactionReference": wire::operator_reference(number),
        "transactionStatus": "completed",
        "amount": amount.normalised(),
        "currency": amount.currency.code(),
        "creationDate": wire::date(at_micros),
        "modificationDate": wire::date(at_micros),
    });
    if !credit.description.is_empty() {
        shown["descriptionText"] = json!(credit.description);
    }
    shown
}
