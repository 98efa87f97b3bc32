//! Exceptions by the set: what waits in sum, and one decision proposed, confirmed or taken off for all that a filter
//! wants. Deliberately not here: one exception (`exception`), and what may be decided.

use axum::Json;
use axum::extract::State;
use chrono::DateTime;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Doors;
use super::auth::Caller;
use super::error::{Answer, Error, Reading, Writing};
use super::exception::decision;
use super::input::{PageQuery, Sent};
use super::view::at;
use crate::domain::exception::{Owner, owner};
use crate::domain::id::{Evidence, Exception, Id, Payroll, Programme};
use crate::engine::{ManyOutcome, ProposalRequest, Refusals, Role};
use crate::store::queue::{Filter, Line};

/// Which open exceptions; at least one field is given, and all that are given hold.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ExceptionFilter {
    /// Of these kinds, up to 100.
    #[schema(example = json!(["settled_after_rejected"]))]
    codes: Vec<String>,
    /// With this provider.
    provider: Option<String>,
    /// About payments and batches of this payroll, `prl_…`.
    #[schema(value_type = Option<String>)]
    payroll: Option<Id<Payroll>>,
    /// Of this programme, `prg_…`.
    #[schema(value_type = Option<String>)]
    programme: Option<Id<Programme>>,
    /// Of kinds that are this one's: registry, bank, finance or operations.
    #[schema(example = "bank")]
    owner: Option<String>,
    /// These alone, as many as a body of 64 KiB holds.
    #[schema(value_type = Vec<String>)]
    ids: Vec<Id<Exception>>,
    /// Opened before this instant, RFC 3339.
    #[schema(example = "2026-11-25T08:00:00Z")]
    opened_before: Option<String>,
}

impl ExceptionFilter {
    fn read(self) -> Answer<Filter> {
        Ok(Filter {
            codes: self.codes,
            provider: self.provider,
            payroll: self.payroll,
            programme: self.programme,
            owner: self.owner.as_deref().map(whose).transpose()?,
            ids: self.ids.into_iter().map(Id::number).collect(),
            opened_before: self.opened_before.as_deref().map(instant).transpose()?,
        })
    }
}

/// Which open exceptions, and which page of them.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct QueueQuery {
    /// Only of this kind.
    code: Option<String>,
    /// Only with this provider.
    provider: Option<String>,
    /// Only of kinds that are this one's: registry, bank, finance or operations.
    owner: Option<String>,
    /// Only about payments and batches of this payroll, `prl_…`.
    #[param(value_type = Option<String>)]
    payroll: Option<Id<Payroll>>,
    /// Only opened before this instant, RFC 3339.
    opened_before: Option<String>,
    /// `next` of the page before; absent for the first page.
    cursor: Option<String>,
    /// Items of the page, 1 to 1000; 100 unless told.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<i64>,
}

impl QueueQuery {
    /// What is wanted, and where its page begins.
    pub fn read(self) -> Answer<(Filter, PageQuery)> {
        let filter = Filter {
            codes: self.code.into_iter().collect(),
            provider: self.provider,
            payroll: self.payroll,
            owner: self.owner.as_deref().map(whose).transpose()?,
            opened_before: self.opened_before.as_deref().map(instant).transpose()?,
            ..Filter::default()
        };
        Ok((filter, PageQuery { cursor: self.cursor, limit: self.limit }))
    }
}

/// Reads an owner's name.
fn whose(text: &str) -> Answer<Owner> {
    let all = Owner::ALL.map(|(_, name)| name).join(", ");
    Owner::parse(text).ok_or_else(|| Error::malformed("owner_unknown", format!("an owner is one of {all}")))
}

/// Reads an instant.
fn instant(text: &str) -> Answer<i64> {
    let read = DateTime::parse_from_rfc3339(text).map(|instant| instant.timestamp_micros());
    read.map_err(|_| Error::malformed("instant_malformed", "an instant is written as RFC 3339: 2026-11-25T08:00:00Z"))
}

/// A decision to propose of a set.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewProposals {
    /// Of which.
    filter: ExceptionFilter,
    /// settled, rejected, returned, stands, send or withdraw.
    #[schema(example = "settled")]
    decision: String,
    /// Why, up to 1,000 characters; it becomes part of the evidence.
    reason: String,
    /// What it rests on beside what is known, `evd_…`.
    #[schema(value_type = Option<String>)]
    evidence: Option<Id<Evidence>>,
}

/// A decision to confirm of a set.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewConfirmations {
    /// Of which.
    filter: ExceptionFilter,
    /// The decision that somebody else proposed; others are left alone.
    #[schema(example = "settled")]
    decision: String,
}

/// Proposals to take off.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewWithdrawals {
    /// Of which.
    filter: ExceptionFilter,
}

/// What became of a set.
#[derive(Debug, Serialize, ToSchema)]
pub struct ManyView {
    /// For how many it was done.
    done: usize,
    /// Those for which it was not, by code.
    refused: Vec<RefusalsView>,
    /// Whether the filter wants more than the 10,000 that one call looks at; those for which it could be done come
    /// first, so that the same call goes on where this one ended.
    more: bool,
}

/// Exceptions of a set that were left out for the same reason.
#[derive(Debug, Serialize, ToSchema)]
pub struct RefusalsView {
    /// Stable, snake case: the code one of them alone would be refused with.
    #[schema(example = "changed_since")]
    code: &'static str,
    /// The words for the first of them.
    detail: String,
    /// How many.
    count: usize,
    /// Up to 20 of them.
    #[schema(value_type = Vec<String>)]
    examples: Vec<Id<Exception>>,
}

impl From<ManyOutcome> for ManyView {
    fn from(outcome: ManyOutcome) -> Self {
        let refused = outcome.refused.into_iter();
        let refused = refused.map(|Refusals { code, text, count, examples }| RefusalsView {
            code,
            detail: text,
            count,
            examples,
        });
        Self { done: outcome.done, refused: refused.collect(), more: outcome.more }
    }
}

/// What waits of one kind with one provider.
#[derive(Debug, Serialize, ToSchema)]
pub struct QueueLine {
    /// What kind.
    #[schema(example = "settled_after_rejected")]
    code: String,
    /// Whose it is: registry, bank, finance or operations.
    #[schema(example = "bank")]
    owner: &'static str,
    /// With which provider.
    provider: String,
    /// How many are open.
    open: i64,
    /// For how many of them somebody has proposed something.
    proposed: i64,
    /// Since when the oldest is.
    oldest_at: String,
}

/// What waits for a decision.
#[derive(Debug, Serialize, ToSchema)]
pub struct QueueView {
    /// By kind and provider.
    items: Vec<QueueLine>,
}

impl From<Line> for QueueLine {
    fn from(line: Line) -> Self {
        Self {
            owner: owner(&line.code).name(),
            code: line.code,
            provider: line.provider,
            open: line.open,
            proposed: line.proposed,
            oldest_at: at(line.oldest_at),
        }
    }
}

/// What waits for a decision, by kind and provider.
#[utoipa::path(
    get, path = "/v1/exceptions/summary", operation_id = "summarise_exceptions",
    tag = "exceptions",
    responses((status = 200, description = "The sums", body = QueueView), Reading), security(("token" = [])),
)]
pub async fn summary(State(doors): State<Doors>, caller: Caller) -> Answer<Json<QueueView>> {
    let lines = doors.engine.exceptions_summary(caller.scope()).await?;
    Ok(Json(QueueView { items: lines.into_iter().map(QueueLine::from).collect() }))
}

/// Propose one decision of up to 10,000 exceptions. Nothing moves before another person confirms it.
#[utoipa::path(
    post, path = "/v1/exceptions/proposals", operation_id = "propose_decisions",
    tag = "exceptions", request_body = NewProposals,
    responses((status = 200, description = "What became of them", body = ManyView), Writing), security(("token" = [])),
)]
pub async fn propose(
    State(doors): State<Doors>,
    caller: Caller,
    Sent(new): Sent<NewProposals>,
) -> Answer<Json<ManyView>> {
    caller.needs(&[Role::Maker, Role::Checker])?;
    let (filter, decision) = (new.filter.read()?, decision(&new.decision)?);
    let request = ProposalRequest { decision, reason: new.reason, evidence: new.evidence };
    Ok(Json(doors.engine.propose_many(&caller.actor, &filter, &request).await?.into()))
}

/// Confirm a decision that somebody else proposed of up to 10,000 exceptions. It takes effect batch by batch, each
/// whole or not at all; those that changed since it was proposed are left out and told.
#[utoipa::path(
    post, path = "/v1/exceptions/confirmations", operation_id = "confirm_decisions",
    tag = "exceptions", request_body = NewConfirmations,
    responses((status = 200, description = "What became of them", body = ManyView), Writing), security(("token" = [])),
)]
pub async fn confirm(
    State(doors): State<Doors>,
    caller: Caller,
    Sent(new): Sent<NewConfirmations>,
) -> Answer<Json<ManyView>> {
    caller.needs(&[Role::Checker])?;
    let (filter, decision) = (new.filter.read()?, decision(&new.decision)?);
    Ok(Json(doors.engine.confirm_many(&caller.actor, &filter, decision).await?.into()))
}

/// Take the proposals of up to 10,000 exceptions off again.
#[utoipa::path(
    post, path = "/v1/exceptions/withdrawals", operation_id = "withdraw_proposals",
    tag = "exceptions", request_body = NewWithdrawals,
    responses((status = 200, description = "What became of them", body = ManyView), Writing), security(("token" = [])),
)]
pub async fn withdraw(
    State(doors): State<Doors>,
    caller: Caller,
    Sent(new): Sent<NewWithdrawals>,
) -> Answer<Json<ManyView>> {
    caller.needs(&[Role::Maker, Role::Checker])?;
    Ok(Json(doors.engine.withdraw_many(&caller.actor, &new.filter.read()?).await?.into()))
}
