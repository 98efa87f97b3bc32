//! Open exceptions: what a person has to look at.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::Doors;
use super::auth::Caller;
use super::error::{Answer, Reading};
use super::input::{Asked, PageQuery};
use super::view::at;
use crate::domain::id::{Evidence, Exception, Id, Programme};
use crate::engine::Engine;
use crate::store::notes::ExceptionRow;

const LIST: &str = "exceptions";

/// A person's task.
#[derive(Debug, Serialize, ToSchema)]
pub struct ExceptionView {
    /// Its id.
    #[schema(value_type = String, example = "exc_006RBCDC1JBZJ")]
    id: Id<Exception>,
    /// What kind.
    #[schema(example = "settled_after_rejected")]
    code: String,
    /// Reference of the disbursement or batch it is about.
    subject: String,
    /// Its programme.
    #[schema(value_type = String)]
    programme_id: Id<Programme>,
    /// Which provider.
    provider: String,
    /// What contradicts.
    #[schema(value_type = Option<String>)]
    evidence: Option<Id<Evidence>>,
    /// In words.
    detail: String,
    /// Since when.
    opened_at: String,
}

/// A page of exceptions.
#[derive(Debug, Serialize, ToSchema)]
pub struct ExceptionPage {
    items: Vec<ExceptionView>,
    /// Cursor of the next page; absent on the last.
    next: Option<String>,
}

/// Open exceptions, oldest first.
#[utoipa::path(
    get, path = "/v1/exceptions", operation_id = "list_exceptions",
    tag = "exceptions", params(PageQuery),
    responses((status = 200, description = "A page", body = ExceptionPage), Reading), security(("token" = [])),
)]
pub async fn list(
    State(doors): State<Doors>,
    caller: Caller,
    Asked(page): Asked<PageQuery>,
) -> Answer<Json<ExceptionPage>> {
    let (above, limit) = page.window(LIST, 0)?;
    let mut rows = doors.engine.exceptions(caller.scope(), above, limit).await?;
    let next = page.cut(LIST, &mut rows, |row| row.id.number());
    Ok(Json(ExceptionPage {
        items: rows.into_iter().map(|row| ExceptionView::new(&doors.engine, row)).collect(),
        next,
    }))
}

impl ExceptionView {
    fn new(engine: &Engine, row: ExceptionRow) -> Self {
        Self {
            id: row.id,
            code: row.code,
            subject: engine.reference(row.subject).to_string(),
            programme_id: row.programme,
            provider: row.provider,
            evidence: (row.evidence > 0).then(|| Id::new(row.evidence)),
            detail: row.detail,
            opened_at: at(row.opened_at),
        }
    }
}
