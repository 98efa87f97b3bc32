//! Batches, and the evidence about them as it came.

use axum::Json;
use axum::extract::State;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::http::{HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::Doors;
use super::auth::Caller;
use super::error::{Answer, Reading};
use super::input::{Asked, Named, PageQuery, id};
use super::view::{Sum, at, at_if};
use crate::domain::id::{Batch, Evidence, Id, Payroll};
use crate::engine::{Engine, Role};
use crate::store::batch::BatchRow;
use crate::store::evidence::EvidenceRow;
use crate::store::seal::hex;

const LIST: &str = "batches";

/// What one provider gets at once.
#[derive(Debug, Serialize, ToSchema)]
pub struct BatchView {
    /// Its id.
    #[schema(value_type = String, example = "bat_006RBCDC1JBZJ")]
    id: Id<Batch>,
    /// Its name towards the provider, 16 characters.
    reference: String,
    /// Its payroll.
    #[schema(value_type = String)]
    payroll: Id<Payroll>,
    /// Who gets it.
    provider: String,
    /// ISO 4217 code.
    currency: &'static str,
    /// sealed, transmitting, accepted, in_doubt or completed.
    state: &'static str,
    /// Everything in it; the sum of the four below.
    total: Sum,
    /// What has no end yet.
    open: Sum,
    /// What settled.
    settled: Sum,
    /// What was rejected.
    rejected: Sum,
    /// What came back.
    returned: Sum,
    /// How often there was an intent to send it.
    copies: i64,
    /// When it was first to be sent.
    first_copy_at: Option<String>,
    /// When it was last to be sent.
    last_copy_at: Option<String>,
    /// When something is to be done with it.
    due_at: Option<String>,
    /// The provider's name for it.
    provider_reference: Option<String>,
    /// SHA-256 over its rows in order.
    content_sha256: String,
    /// The evidence that holds the bytes that were sent.
    #[schema(value_type = Option<String>)]
    wire: Option<Id<Evidence>>,
}

/// A page of batches.
#[derive(Debug, Serialize, ToSchema)]
pub struct BatchPage {
    items: Vec<BatchView>,
    /// Cursor of the next page; absent on the last.
    next: Option<String>,
}

/// A batch with the evidence about it.
#[derive(Debug, Serialize, ToSchema)]
pub struct BatchDetail {
    /// The batch.
    #[serde(flatten)]
    batch: BatchView,
    /// What was sent and what was said, oldest first, at most 500.
    evidence: Vec<EvidenceView>,
}

/// What a piece of evidence is.
#[derive(Debug, Serialize, ToSchema)]
pub struct EvidenceView {
    /// Its id.
    #[schema(value_type = String, example = "evd_006RBCDC1JBZJ")]
    id: Id<Evidence>,
    /// message, decision, rule or wire.
    kind: String,
    /// By which door it came.
    source: String,
    /// What was asked, or who decided.
    origin: String,
    /// SHA-256 of its bytes.
    sha256: String,
    /// When it came.
    at: String,
}

/// Batches of a payroll.
#[utoipa::path(
    get, path = "/v1/payrolls/{id}/batches", operation_id = "list_batches",
    tag = "batches",
    params(("id" = String, Path, description = "Id of the payroll."), PageQuery),
    responses((status = 200, description = "A page", body = BatchPage), Reading), security(("token" = [])),
)]
pub async fn list(
    State(doors): State<Doors>,
    caller: Caller,
    Named(text): Named<String>,
    Asked(page): Asked<PageQuery>,
) -> Answer<Json<BatchPage>> {
    let payroll = id(&text, super::payroll::UNKNOWN)?;
    let list = format!("{LIST} of {payroll}");
    let (above, limit) = page.window(&list, 0)?;
    let mut rows = doors.engine.batches(caller.scope(), payroll, above, limit).await?;
    let next = page.cut(&list, &mut rows, |row| row.id.number());
    Ok(Json(BatchPage { items: rows.into_iter().map(|row| BatchView::new(&doors.engine, row)).collect(), next }))
}

/// A batch with the evidence about it.
#[utoipa::path(
    get, path = "/v1/batches/{id}", operation_id = "get_batch",
    tag = "batches", params(("id" = String, Path, description = "Its id.")),
    responses((status = 200, description = "The batch", body = BatchDetail), Reading), security(("token" = [])),
)]
pub async fn get(State(doors): State<Doors>, caller: Caller, Named(text): Named<String>) -> Answer<Json<BatchDetail>> {
    let (row, evidence) = doors.engine.batch(caller.scope(), id(&text, "batch_unknown")?).await?;
    let evidence = evidence.into_iter().map(EvidenceView::from).collect();
    Ok(Json(BatchDetail { batch: BatchView::new(&doors.engine, row), evidence }))
}

/// The bytes of a piece of evidence, as they came. They hold personal data.
#[utoipa::path(
    get, path = "/v1/evidence/{id}", operation_id = "get_evidence",
    tag = "batches", params(("id" = String, Path, description = "Its id.")),
    responses(
        (status = 200, description = "The bytes", body = Vec<u8>, content_type = "application/octet-stream", headers(
            ("X-Evidence-Kind" = String, description = "message, decision, rule or wire"),
            ("X-Evidence-Source" = String, description = "By which door it came"),
            ("X-Evidence-Origin" = String, description = "What was asked, or who decided"),
            ("X-Evidence-Sha256" = String, description = "SHA-256 of the bytes"),
            ("X-Evidence-At" = String, description = "When it came"),
        )),
        Reading
    ),
    security(("token" = [])),
)]
pub async fn evidence(State(doors): State<Doors>, caller: Caller, Named(text): Named<String>) -> Answer<Response> {
    caller.needs(&[Role::Auditor, Role::Checker, Role::Admin])?;
    let (row, bytes) = doors.engine.evidence(caller.scope(), id(&text, "evidence_unknown")?).await?;
    let facts: [(&'static str, String); 5] = [
        ("x-evidence-kind", row.kind),
        ("x-evidence-source", row.source),
        ("x-evidence-origin", row.origin),
        ("x-evidence-sha256", hex(&row.sha256)),
        ("x-evidence-at", at(row.at)),
    ];
    let mut response = ([(CONTENT_TYPE, "application/octet-stream")], bytes).into_response();
    let headers = response.headers_mut();
    for (name, text) in facts {
        headers.insert(HeaderName::from_static(name), header(&text));
    }
    headers.insert(CONTENT_DISPOSITION, header(&format!("attachment; filename=\"{}.bin\"", row.id)));
    Ok(response)
}

/// A text as a header can hold it; what it cannot hold is shown as a question mark.
fn header(text: &str) -> HeaderValue {
    let shown: String = text.chars().map(|c| if (' '..='~').contains(&c) { c } else { '?' }).collect();
    HeaderValue::from_str(&shown).unwrap_or(HeaderValue::from_static("?"))
}

impl BatchView {
    fn new(engine: &Engine, row: BatchRow) -> Self {
        let sum = |total| Sum::new(total, row.currency);
        Self {
            id: row.id,
            reference: engine.reference(row.id.number()).to_string(),
            payroll: row.payroll,
            currency: row.currency.code(),
            state: row.state.name(),
            total: sum(row.total),
            open: sum(row.open),
            settled: sum(row.settled),
            rejected: sum(row.rejected),
            returned: sum(row.returned),
            copies: row.copies,
            first_copy_at: at_if(row.first_copy_at),
            last_copy_at: at_if(row.last_copy_at),
            due_at: at_if(row.due_at),
            content_sha256: hex(&row.content_hash),
            wire: row.wire.map(Id::new),
            provider: row.provider,
            provider_reference: row.provider_reference,
        }
    }
}

impl From<EvidenceRow> for EvidenceView {
    fn from(row: EvidenceRow) -> Self {
        let (sha256, at) = (hex(&row.sha256), at(row.at));
        Self { id: row.id, kind: row.kind, source: row.source, origin: row.origin, sha256, at }
    }
}
