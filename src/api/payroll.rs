//! Payrolls listed and looked at, and their reject files. Deliberately not here: how one comes in (`intake`) and
//! its approval (`approval`).

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde::Serialize;
use utoipa::ToSchema;

use super::Doors;
use super::auth::Caller;
use super::error::{Answer, Error, Reading};
use super::input::{Asked, Named, PageQuery, id};
use super::progress::PayrollView;
use super::view::{Sum, at};
use crate::domain::id::{Id, Payroll};
use crate::store::payroll::PayrollRow;

/// Code when there is no such payroll.
pub(super) const UNKNOWN: &str = "payroll_unknown";
const LIST: &str = "payrolls";

/// A payroll in a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct PayrollSummary {
    /// Its id.
    #[schema(value_type = String, example = "prl_006RBCDC1JBZJ")]
    id: Id<Payroll>,
    /// Where it stands: receiving, refused, draft, submitted, approved, released, completed, reconciled or void.
    state: &'static str,
    /// `payment`, or `reissue`: it pays again what was rejected, came back or was cancelled.
    kind: &'static str,
    /// Id of its programme.
    programme_id: String,
    /// Id of its cycle.
    cycle_id: String,
    /// ISO 4217 code.
    currency: &'static str,
    /// The day it is to be paid.
    pay_on: Option<String>,
    /// What was taken in.
    accepted: Sum,
    /// What was not.
    refused: Sum,
    /// Who handed it in.
    made_by: String,
    /// When.
    created_at: String,
    /// Whether new sends are stopped.
    paused: bool,
}

/// A page of payrolls, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct PayrollPage {
    items: Vec<PayrollSummary>,
    /// Cursor of the next page; absent on the last.
    next: Option<String>,
}

/// Payrolls of the tenant, newest first.
#[utoipa::path(
    get, path = "/v1/payrolls", operation_id = "list_payrolls",
    tag = "payrolls", params(PageQuery),
    responses((status = 200, description = "A page", body = PayrollPage), Reading), security(("token" = [])),
)]
pub async fn list(
    State(doors): State<Doors>,
    caller: Caller,
    Asked(page): Asked<PageQuery>,
) -> Answer<Json<PayrollPage>> {
    let (below, limit) = page.window(LIST, i64::MAX)?;
    let mut rows = doors.engine.payrolls(caller.scope(), below, limit).await?;
    let next = page.cut(LIST, &mut rows, |row| row.id.number());
    Ok(Json(PayrollPage { items: rows.into_iter().map(PayrollSummary::from).collect(), next }))
}

/// A payroll and how far it is.
#[utoipa::path(
    get, path = "/v1/payrolls/{id}", operation_id = "get_payroll",
    tag = "payrolls", params(("id" = String, Path, description = "Its id.")),
    responses((status = 200, description = "The payroll", body = PayrollView), Reading), security(("token" = [])),
)]
pub async fn get(State(doors): State<Doors>, caller: Caller, Named(text): Named<String>) -> Answer<Json<PayrollView>> {
    let status = doors.engine.payroll_status(caller.scope(), id(&text, UNKNOWN)?).await?;
    Ok(Json(status.into()))
}

/// The rows that were not taken in, with line, code and reason in front; mended, the file can be handed in again.
#[utoipa::path(
    get, path = "/v1/payrolls/{id}/rejects", operation_id = "get_rejects",
    tag = "payrolls",
    params(("id" = String, Path, description = "Its id.")),
    responses((status = 200, description = "The file", body = String, content_type = "text/csv"), Reading),
    security(("token" = [])),
)]
pub async fn rejects(State(doors): State<Doors>, caller: Caller, Named(text): Named<String>) -> Answer<Response> {
    let id = id::<Payroll>(&text, UNKNOWN)?;
    let scope = caller.actor.scope;
    // The first page is read before anything is answered, so that what does not exist is a 404.
    let first = doors.engine.reject_page(&scope, id, 0).await?;
    let engine = doors.engine.clone();
    let pages = stream::try_unfold(Some(first), move |page| {
        let engine = engine.clone();
        async move {
            let Some((bytes, last)) = page else { return Ok::<_, Error>(None) };
            let following = match last {
                Some(last) => Some(engine.reject_page(&scope, id, last).await?),
                None => None,
            };
            Ok(Some((Bytes::from(bytes), following)))
        }
    });
    let headers = [
        (CONTENT_TYPE, String::from("text/csv; charset=utf-8")),
        (CONTENT_DISPOSITION, format!("attachment; filename=\"rejects-{id}.csv\"")),
    ];
    // An error breaks the body off, so that half a file is not taken for a whole one.
    Ok((headers, Body::from_stream(pages)).into_response())
}

impl From<PayrollRow> for PayrollSummary {
    fn from(row: PayrollRow) -> Self {
        Self {
            id: row.id,
            state: row.state.name(),
            kind: row.kind.name(),
            programme_id: row.programme.to_string(),
            cycle_id: row.cycle.to_string(),
            currency: row.currency.code(),
            accepted: Sum::new(row.accepted, row.currency),
            refused: Sum::new(row.refused, row.currency),
            created_at: at(row.created_at),
            paused: row.paused_at.is_some(),
            pay_on: row.pay_on,
            made_by: row.made_by,
        }
    }
}
