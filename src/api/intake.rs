//! A payroll file is handed in: streamed to disk, then taken in by the engine as a whole.
//! Deliberately not here: what a row may hold, and how bytes reach the disk (`upload`).

use std::path::PathBuf;

use anyhow::Context;
use axum::Json;
use axum::extract::{Request, State};
use axum::http::header::LOCATION;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Map, Value};
use tokio::sync::OwnedSemaphorePermit;
use utoipa::ToSchema;

use super::Doors;
use super::auth::Caller;
use super::error::{Answer, Error, Problem, Writing};
use super::input::{day, media_type, query, wrong_media_type};
use super::progress::{PayrollView, Refusal, refusal};
use super::upload::{self, Form, Spooled};
use super::view::{Sum, amount, currency};
use crate::domain::payroll::{PayrollKind, PayrollState};
use crate::engine::{IntakeRequest, Role};
use crate::store::payroll::{PayrollRow, Total};

/// What is declared along with a payroll file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UploadQuery {
    /// Code of the programme.
    programme: String,
    /// Code of the cycle.
    cycle: String,
    /// `payment` unless told, or `reissue`.
    kind: Option<String>,
    /// How many rows the file has, refused ones counted.
    declared_rows: i64,
    /// Their sum as a decimal in the programme's currency.
    declared_sum: String,
    /// The day it is to be paid, `YYYY-MM-DD`.
    pay_on: Option<String>,
}

/// A payroll file as a form.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only documents the form")]
pub struct UploadForm {
    /// Code of the programme.
    programme: String,
    /// Code of the cycle.
    cycle: String,
    /// `payment` unless told: what is owed. `reissue`: again, what was rejected, came back or was cancelled.
    kind: Option<String>,
    /// How many rows the file has, refused ones counted.
    declared_rows: i64,
    /// Their sum as a decimal in the programme's currency.
    declared_sum: String,
    /// The day it is to be paid, `YYYY-MM-DD`.
    pay_on: Option<String>,
    /// The file, CSV in UTF-8.
    #[schema(content_media_type = "text/csv")]
    file: String,
}

/// Hand in a payroll file.
///
/// The file is streamed: `text/csv` with the declaration as parameters, or a form with the same names and `file`.
/// Columns: entitlement, instalment?, beneficiary_id, payee_name, payee_account, amount, currency, purpose?, note?.
/// A row that cannot be paid is left out and stands in the reject file. An upload that is cut off has no effect.
/// The same `Idempotency-Key`, or the same file in the same cycle, gives the payroll that is there already.
#[utoipa::path(
    post, path = "/v1/payrolls", operation_id = "hand_in_payroll",
    tag = "payrolls",
    params(
        ("programme" = Option<String>, Query, description = "For `text/csv`: code of the programme."),
        ("cycle" = Option<String>, Query, description = "For `text/csv`: code of the cycle."),
        ("kind" = Option<String>, Query, description = "For `text/csv`: `payment` unless told, or `reissue`: each row pays \
          again, under the next generation, what was rejected, came back or was cancelled, with the same amount."),
        ("declared_rows" = Option<i64>, Query, description = "For `text/csv`: how many rows the file has."),
        ("declared_sum" = Option<String>, Query, description = "For `text/csv`: their sum, such as 1250.50."),
        ("pay_on" = Option<String>, Query, description = "For `text/csv`: the day it is to be paid, YYYY-MM-DD."),
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 255 characters; stands for this request."),
    ),
    request_body(content((String = "text/csv"), (UploadForm = "multipart/form-data")), description = "The file."),
    responses(
        (status = 201, description = "A draft", body = PayrollView, headers(("Location" = String))),
        (status = 408, description = "The body did not arrive in time", body = Problem,
         content_type = "application/problem+json"),
        (status = 503, description = "Too many uploads are under way", body = Problem,
         content_type = "application/problem+json"),
        Writing
    ),
    security(("token" = [])),
)]
pub async fn create(State(doors): State<Doors>, caller: Caller, request: Request) -> Answer<Response> {
    caller.needs(&[Role::Maker])?;
    let permit = permit(&doors)?;
    let (parts, body) = request.into_parts();
    let key = idempotency_key(&parts.headers)?;
    let (mut asked, file) = match media_type(&parts.headers).as_str() {
        "text/csv" => {
            let asked = translate(&doors, &caller, query(&parts)?).await?;
            (asked, upload::body(&doors.spool, doors.body_bytes_max, &parts, body).await?)
        }
        "multipart/form-data" => {
            let Form { texts, file } = upload::form(&doors.spool, doors.body_bytes_max, parts, body).await?;
            (translate(&doors, &caller, declared(texts)?).await?, file)
        }
        _ => return Err(wrong_media_type("text/csv or multipart/form-data")),
    };
    asked.idempotency_key = key;
    let row = take_in(&doors, &caller, asked, (file, permit)).await?;
    taken(&doors, &caller, row).await
}

/// A draft that was made, or the refusal of a payroll as a whole.
pub(super) async fn taken(doors: &Doors, caller: &Caller, row: PayrollRow) -> Answer<Response> {
    if row.state == PayrollState::Refused {
        return Err(refused(&row));
    }
    let view = PayrollView::from(doors.engine.payroll_status(caller.scope(), row.id).await?);
    let location = [(LOCATION, format!("/v1/payrolls/{}", row.id))];
    Ok((StatusCode::CREATED, location, Json(view)).into_response())
}

/// Room for one more intake.
pub(super) fn permit(doors: &Doors) -> Answer<OwnedSemaphorePermit> {
    let detail = "too many uploads are under way; send it again in a moment";
    let permit = doors.uploads.clone().try_acquire_owned();
    permit.map_err(|_| Error::new(StatusCode::SERVICE_UNAVAILABLE, "uploads_busy", detail))
}

/// The intake goes on to its end also when the caller hangs up in the middle of it.
async fn take_in(
    doors: &Doors,
    caller: &Caller,
    mut asked: IntakeRequest,
    held: (Spooled, OwnedSemaphorePermit),
) -> Answer<PayrollRow> {
    let (engine, actor) = (doors.engine.clone(), caller.actor.clone());
    let taken = tokio::spawn(async move {
        asked.file = held.0.path().to_owned();
        let taken = engine.take_in(&actor, &asked).await;
        drop(held);
        taken
    });
    Ok(taken.await.context("an intake broke off")??)
}

fn idempotency_key(headers: &HeaderMap) -> Answer<Option<String>> {
    let key = headers.get("idempotency-key").map(|value| value.to_str().map(str::to_owned));
    key.transpose().map_err(|_| Error::malformed("idempotency_key_malformed", "a key is plain ASCII"))
}

async fn translate(doors: &Doors, caller: &Caller, asked: UploadQuery) -> Answer<IntakeRequest> {
    let programme = doors.engine.programme(caller.scope(), &asked.programme).await?;
    let sum = amount(&asked.declared_sum, currency(&programme.currency)?)?;
    Ok(IntakeRequest {
        programme: asked.programme,
        cycle: asked.cycle,
        kind: asked.kind.as_deref().map_or(Ok(PayrollKind::Payment), kind)?,
        declared: Total { payments: asked.declared_rows, sum_minor: sum.minor },
        pay_on: asked.pay_on.as_deref().map(day).transpose()?,
        idempotency_key: None,
        file: PathBuf::new(),
    })
}

fn kind(text: &str) -> Answer<PayrollKind> {
    PayrollKind::parse(text).ok_or_else(|| Error::unusable("kind_unknown", "a payroll's kind is payment or reissue"))
}

/// The texts of a form, read as strictly as parameters are.
fn declared(texts: Vec<(String, String)>) -> Answer<UploadQuery> {
    let mut fields = Map::new();
    for (name, text) in texts {
        let value = match name.as_str() {
            "declared_rows" => {
                let rows = text.parse::<i64>();
                rows.map_err(|_| Error::malformed("form_malformed", "declared_rows is a whole number"))?.into()
            }
            "pay_on" | "kind" if text.is_empty() => continue,
            _ => Value::String(text),
        };
        fields.insert(name, value);
    }
    serde_json::from_value(Value::Object(fields)).map_err(|error| Error::malformed("form_malformed", error))
}

fn refused(row: &PayrollRow) -> Error {
    let refusal = refusal(row).unwrap_or_else(|| Refusal { code: String::from("refused"), text: String::new() });
    Error::new(StatusCode::UNPROCESSABLE_ENTITY, refusal.code, refusal.text)
        .with("payroll", row.id)
        .with("declared", Sum::new(row.declared, row.currency))
        .with("found", Sum::new(row.file, row.currency))
        .with("rejects", format!("/v1/payrolls/{}/rejects", row.id))
}
