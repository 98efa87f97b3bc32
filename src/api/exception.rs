//! Exceptions: what a person has to look at, what one proposes, and what another confirms.
//! Deliberately not here: many at once (`queue`), what may be decided, and what comes of it.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Doors;
use super::auth::Caller;
use super::error::{Answer, Error, Reading, Writing};
use super::input::{Asked, Named, Sent, id};
use super::queue::QueueQuery;
use super::view::{at, at_if};
use crate::domain::exception::{Decision, decisions, matter, owner};
use crate::domain::id::{Evidence, Exception, Id, Programme};
use crate::engine::{Engine, ProposalRequest, Role};
use crate::store::notes::ExceptionRow;

const LIST: &str = "exceptions";
const UNKNOWN: &str = "exception_unknown";

/// A person's task.
#[derive(Debug, Serialize, ToSchema)]
pub struct ExceptionView {
    /// Its id.
    #[schema(value_type = String, example = "exc_006RBCDC1JBZJ")]
    id: Id<Exception>,
    /// What kind.
    #[schema(example = "settled_after_rejected")]
    code: String,
    /// Whose it is: registry, bank, finance or operations.
    #[schema(example = "bank")]
    owner: &'static str,
    /// Reference of what it is about: a disbursement, a batch, a file, a statement or an entry.
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
    /// The account its payment's money came from into suspense.
    #[schema(example = "available")]
    suspended_from: Option<&'static str>,
    /// What may be decided of it.
    decisions: Vec<&'static str>,
    /// What one person proposes; another confirms it.
    proposal: Option<ProposalView>,
    /// Since when.
    opened_at: String,
    /// When it was closed.
    closed_at: Option<String>,
}

/// What one person proposes.
#[derive(Debug, Serialize, ToSchema)]
pub struct ProposalView {
    /// What is to be decided.
    #[schema(example = "settled")]
    decision: &'static str,
    /// Why.
    reason: String,
    /// What it rests on beside what is known.
    #[schema(value_type = Option<String>)]
    evidence: Option<Id<Evidence>>,
    /// Who proposes it.
    proposed_by: String,
    /// When.
    proposed_at: String,
}

/// A page of exceptions.
#[derive(Debug, Serialize, ToSchema)]
pub struct ExceptionPage {
    items: Vec<ExceptionView>,
    /// Cursor of the next page; absent on the last.
    next: Option<String>,
}

/// A decision to propose.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewProposal {
    /// settled, rejected, returned, stands, send or withdraw; which of them, `decisions` of the exception says.
    #[schema(example = "settled")]
    decision: String,
    /// Why, up to 1,000 characters; it becomes part of the evidence.
    reason: String,
    /// What it rests on beside what is known, `evd_…`.
    #[schema(value_type = Option<String>)]
    evidence: Option<Id<Evidence>>,
}

/// Open exceptions, oldest first.
#[utoipa::path(
    get, path = "/v1/exceptions", operation_id = "list_exceptions",
    tag = "exceptions", params(QueueQuery),
    responses((status = 200, description = "A page", body = ExceptionPage), Reading), security(("token" = [])),
)]
pub async fn list(
    State(doors): State<Doors>,
    caller: Caller,
    Asked(query): Asked<QueueQuery>,
) -> Answer<Json<ExceptionPage>> {
    let (filter, page) = query.read()?;
    let (above, limit) = page.window(LIST, 0)?;
    let mut rows = doors.engine.exceptions_of(caller.scope(), &filter, above, limit).await?;
    let next = page.cut(LIST, &mut rows, |row| row.id.number());
    let items: anyhow::Result<Vec<_>> = rows.into_iter().map(|row| ExceptionView::new(&doors.engine, row)).collect();
    Ok(Json(ExceptionPage { items: items?, next }))
}

/// One exception, open or closed.
#[utoipa::path(
    get, path = "/v1/exceptions/{id}", operation_id = "get_exception",
    tag = "exceptions", params(("id" = String, Path, description = "Its id.")),
    responses((status = 200, description = "The exception", body = ExceptionView), Reading), security(("token" = [])),
)]
pub async fn get(
    State(doors): State<Doors>,
    caller: Caller,
    Named(text): Named<String>,
) -> Answer<Json<ExceptionView>> {
    let row = doors.engine.exception(&caller.actor, id(&text, UNKNOWN)?).await?;
    Ok(Json(ExceptionView::new(&doors.engine, row)?))
}

/// Propose a decision. Nothing moves before another person confirms it.
#[utoipa::path(
    post, path = "/v1/exceptions/{id}/proposal", operation_id = "propose_decision",
    tag = "exceptions", params(("id" = String, Path, description = "Its id.")), request_body = NewProposal,
    responses((status = 200, description = "Proposed", body = ExceptionView), Writing), security(("token" = [])),
)]
pub async fn propose(
    State(doors): State<Doors>,
    caller: Caller,
    Named(text): Named<String>,
    Sent(new): Sent<NewProposal>,
) -> Answer<Json<ExceptionView>> {
    caller.needs(&[Role::Maker, Role::Checker])?;
    let decision = decision(&new.decision)?;
    let request = ProposalRequest { decision, reason: new.reason, evidence: new.evidence };
    let row = doors.engine.propose(&caller.actor, id(&text, UNKNOWN)?, &request).await?;
    Ok(Json(ExceptionView::new(&doors.engine, row)?))
}

/// Take a proposal off again.
#[utoipa::path(
    delete, path = "/v1/exceptions/{id}/proposal", operation_id = "withdraw_proposal",
    tag = "exceptions", params(("id" = String, Path, description = "Its id.")),
    responses((status = 200, description = "Withdrawn", body = ExceptionView), Writing), security(("token" = [])),
)]
pub async fn withdraw(
    State(doors): State<Doors>,
    caller: Caller,
    Named(text): Named<String>,
) -> Answer<Json<ExceptionView>> {
    caller.needs(&[Role::Maker, Role::Checker])?;
    let row = doors.engine.withdraw_proposal(&caller.actor, id(&text, UNKNOWN)?).await?;
    Ok(Json(ExceptionView::new(&doors.engine, row)?))
}

/// Confirm what somebody else proposed: it takes effect, and the exception is closed.
#[utoipa::path(
    post, path = "/v1/exceptions/{id}/confirmation", operation_id = "confirm_decision",
    tag = "exceptions", params(("id" = String, Path, description = "Its id.")),
    responses((status = 200, description = "Decided", body = ExceptionView), Writing), security(("token" = [])),
)]
pub async fn confirm(
    State(doors): State<Doors>,
    caller: Caller,
    Named(text): Named<String>,
) -> Answer<Json<ExceptionView>> {
    caller.needs(&[Role::Checker])?;
    let row = doors.engine.confirm(&caller.actor, id(&text, UNKNOWN)?).await?;
    Ok(Json(ExceptionView::new(&doors.engine, row)?))
}

/// Reads a decision's name.
pub(super) fn decision(text: &str) -> Answer<Decision> {
    let all = Decision::ALL.map(|(_, name)| name).join(", ");
    Decision::parse(text).ok_or_else(|| Error::unusable("decision_unknown", format!("a decision is one of {all}")))
}

impl ExceptionView {
    fn new(engine: &Engine, row: ExceptionRow) -> anyhow::Result<Self> {
        let proposal = row.handling.proposal.map(|proposal| {
            anyhow::Ok(ProposalView {
                decision: proposal.decision.name(),
                reason: engine.proposal_reason(&proposal)?,
                evidence: proposal.evidence.map(Id::new),
                proposed_by: proposal.by,
                proposed_at: at(proposal.at),
            })
        });
        Ok(Self {
            id: row.id,
            decisions: decisions(matter(&row.code)).iter().map(|one| one.name()).collect(),
            owner: owner(&row.code).name(),
            code: row.code,
            subject: engine.reference(row.subject).to_string(),
            programme_id: row.programme,
            provider: row.provider,
            evidence: (row.evidence > 0).then(|| Id::new(row.evidence)),
            detail: row.detail,
            suspended_from: row.handling.suspended_from.map(|account| account.name()),
            proposal: proposal.transpose()?,
            opened_at: at(row.opened_at),
            closed_at: at_if(row.handling.closed_at),
        })
    }
}
