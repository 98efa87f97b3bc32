//! Disbursements: a payroll's by page, and one with its timeline.

use axum::Json;
use axum::extract::State;
use paymaster_connectors::contract::Reference;
use serde::Serialize;
use utoipa::ToSchema;

use super::Doors;
use super::auth::Caller;
use super::error::{Answer, Error, Reading};
use super::input::{Asked, Named, PageQuery, id};
use super::view::{Amount, at};
use crate::domain::disbursement::State as Standing;
use crate::domain::id::{Batch, Evidence, Id, Payroll};
use crate::engine::{Engine, Timeline, TimelineEntry};

const LIST: &str = "disbursements";

/// One sum for one payee.
#[derive(Debug, Serialize, ToSchema)]
pub struct DisbursementView {
    /// Its name towards the provider, 16 characters.
    #[schema(example = "006RBCDC1JBZJ4HM")]
    reference: String,
    /// Its payroll.
    #[schema(value_type = String)]
    payroll: Id<Payroll>,
    /// Its batch.
    #[schema(value_type = String)]
    batch: Id<Batch>,
    /// Its provider.
    provider: String,
    /// held, queued, submitting, accepted, in_doubt, settled, rejected, returned or cancelled.
    state: &'static str,
    /// How much.
    #[serde(flatten)]
    amount: Amount,
    /// Who is paid.
    payee_name: String,
    /// To which account.
    payee_account: String,
    /// The programme's key of who is owed.
    beneficiary_id: String,
    /// The programme's key of what is owed.
    entitlement: String,
    /// Which part of it; may be empty.
    instalment: String,
    /// Its line in the file.
    line: i64,
    /// Counts the tries for this entitlement, from 1.
    generation: i64,
    /// Why it was rejected or came back.
    reason: Option<ReasonView>,
    /// What proves its end.
    evidence: Option<EvidencePlace>,
    /// The provider's own name for it.
    provider_reference: Option<String>,
}

/// Why a disbursement was rejected or came back.
#[derive(Debug, Serialize, ToSchema)]
pub struct ReasonView {
    /// Who has to act.
    #[schema(example = "fix_data")]
    class: String,
    /// The provider's code.
    code: String,
    /// The provider's words.
    text: Option<String>,
}

/// A place in a piece of evidence.
#[derive(Debug, Serialize, ToSchema)]
pub struct EvidencePlace {
    /// The evidence, see `/v1/evidence/{id}`.
    #[schema(value_type = String, example = "evd_006RBCDC1JBZJ")]
    id: Id<Evidence>,
    /// Where in it, counted from 0.
    position: i64,
}

/// A disbursement with everything that happened to it.
#[derive(Debug, Serialize, ToSchema)]
pub struct DisbursementDetail {
    /// The disbursement.
    #[serde(flatten)]
    disbursement: DisbursementView,
    /// What happened to it, its batch and its payroll, oldest first.
    timeline: Vec<EventView>,
}

/// One thing that happened.
#[derive(Debug, Serialize, ToSchema)]
pub struct EventView {
    /// When.
    at: String,
    /// What.
    #[schema(example = "batch.settled")]
    event: String,
    /// Who, or by which door.
    by: String,
    /// The evidence of it.
    #[schema(value_type = Option<String>)]
    evidence: Option<Id<Evidence>>,
    /// Anything else.
    note: String,
}

/// A page of disbursements.
#[derive(Debug, Serialize, ToSchema)]
pub struct DisbursementPage {
    items: Vec<DisbursementView>,
    /// Cursor of the next page; absent on the last.
    next: Option<String>,
}

/// Disbursements of a payroll in the order of its file.
#[utoipa::path(
    get, path = "/v1/payrolls/{id}/disbursements", operation_id = "list_disbursements",
    tag = "disbursements",
    params(
        ("id" = String, Path, description = "Id of the payroll."),
        ("state" = Option<Vec<String>>, Query, description = "Only these states; may be repeated."),
        PageQuery,
    ),
    responses((status = 200, description = "A page", body = DisbursementPage), Reading), security(("token" = [])),
)]
pub async fn list(
    State(doors): State<Doors>,
    caller: Caller,
    Named(text): Named<String>,
    Asked(pairs): Asked<Vec<(String, String)>>,
) -> Answer<Json<DisbursementPage>> {
    let (states, page) = read(pairs)?;
    let payroll = id(&text, super::payroll::UNKNOWN)?;
    let list = format!("{LIST} of {payroll}");
    let (above, limit) = page.window(&list, 0)?;
    let mut all = doors.engine.disbursements(caller.scope(), payroll, &states, (above, limit)).await?;
    let next = page.cut(&list, &mut all, |one| one.shown.number);
    let items = all.into_iter().map(|one| DisbursementView::new(&doors.engine, one)).collect();
    Ok(Json(DisbursementPage { items, next }))
}

/// The parameters, of which one may be repeated.
fn read(pairs: Vec<(String, String)>) -> Answer<(Vec<Standing>, PageQuery)> {
    let (mut states, mut page) = (Vec::new(), PageQuery::default());
    for (name, text) in pairs {
        match name.as_str() {
            "state" => {
                let state = Standing::parse(&text);
                states.push(state.ok_or_else(|| Error::malformed("state_unknown", "there is no such state"))?);
            }
            "cursor" if page.cursor.is_none() => page.cursor = Some(text),
            "limit" if page.limit.is_none() => {
                let limit = text.parse();
                page.limit = Some(limit.map_err(|_| Error::malformed("query_malformed", "limit is a whole number"))?);
            }
            _ => return Err(Error::malformed("query_malformed", "a parameter is unknown or repeated")),
        }
    }
    states.sort_unstable();
    states.dedup();
    Ok((states, page))
}

/// One disbursement, by its reference.
#[utoipa::path(
    get, path = "/v1/disbursements/{reference}", operation_id = "get_disbursement",
    tag = "disbursements",
    params(("reference" = String, Path, description = "Its reference, 16 characters.")),
    responses((status = 200, description = "The disbursement", body = DisbursementDetail), Reading),
    security(("token" = [])),
)]
pub async fn get(
    State(doors): State<Doors>,
    caller: Caller,
    Named(text): Named<String>,
) -> Answer<Json<DisbursementDetail>> {
    let reference = number(&doors, &text)?;
    let mut found = doors.engine.disbursement(caller.scope(), reference.number()).await?;
    let timeline = std::mem::take(&mut found.entries).into_iter().map(EventView::from).collect();
    Ok(Json(DisbursementDetail { disbursement: DisbursementView::new(&doors.engine, found), timeline }))
}

/// A reference of ours.
pub(super) fn number(doors: &Doors, text: &str) -> Answer<Reference> {
    let reference = doors.engine.own_reference(text);
    reference.ok_or_else(|| Error::unknown("disbursement_unknown", "there is no such disbursement"))
}

impl DisbursementView {
    /// As it is shown.
    pub(super) fn new(engine: &Engine, of: Timeline) -> Self {
        let reason = of.shown.reason.map(|(class, code)| ReasonView { class, code, text: of.reason_text });
        Self {
            reference: engine.reference(of.shown.number).to_string(),
            payroll: of.shown.payroll,
            batch: of.shown.batch,
            provider: of.shown.provider,
            state: of.state.name(),
            amount: of.amount.into(),
            payee_name: of.payee_name,
            payee_account: of.payee_account,
            beneficiary_id: of.beneficiary,
            entitlement: of.entitlement,
            instalment: of.instalment,
            line: of.shown.line,
            generation: of.shown.generation,
            reason,
            evidence: of.shown.evidence.map(|(id, position)| EvidencePlace { id, position }),
            provider_reference: of.shown.provider_reference,
        }
    }
}

impl From<TimelineEntry> for EventView {
    fn from(entry: TimelineEntry) -> Self {
        let TimelineEntry { at: micros, event, by, evidence, note } = entry;
        Self { at: at(micros), event, by, evidence, note }
    }
}
