//! Exceptions are decided by two persons: one proposes, another confirms, and only then anything moves.
//!
//! A proposal holds for what was known when it was made: if the payment has moved since, it is proposed anew.
//! Deliberately not here: what a decision does to payments and money (`rule`), and what may be decided (the domain).

mod overdue;
mod rule;

use anyhow::Context;

use self::rule::Ruling;
use super::{Actor, Engine, Outcome, RefusedKind, refused};
use crate::domain::batch::{BatchState, effective};
use crate::domain::disbursement::State;
use crate::domain::exception::{Decision, Matter, decisions, matter, way};
use crate::domain::id::{Batch, Evidence, Exception, Id};
use crate::store::batch::BatchRow;
use crate::store::db::Tx;
use crate::store::exception::{self, Proposal};
use crate::store::generation::{self, Place};
use crate::store::notes::{self, ExceptionRow, Fact};
use crate::store::{batch, db, evidence, payroll};

/// Longest reason, in characters.
const REASON_CHARS_MAX: usize = 1_000;
/// How often a confirmation is tried when workers want the same rows.
const CONFIRM_TRIES: usize = 4;

/// What a maker proposes.
#[derive(Debug, Clone)]
pub struct ProposalRequest {
    /// What is to be decided.
    pub decision: Decision,
    /// Why; it becomes part of the evidence.
    pub reason: String,
    /// What it rests on beside what is known: a statement, a letter that was stored.
    pub evidence: Option<Id<Evidence>>,
}

/// What an exception is about, as it stands.
pub(super) enum Subject {
    /// One payment.
    Row(Place),
    /// A batch as a whole.
    Batch,
}

impl Engine {
    /// An exception of the tenant, open or closed.
    pub async fn exception(&self, actor: &Actor, id: Id<Exception>) -> Outcome<ExceptionRow> {
        let mut tx = self.store.read().await?;
        match exception::get(&mut tx, &actor.scope, id).await? {
            Some(row) => Ok(row),
            None => unknown(id),
        }
    }

    /// Why somebody proposes a decision, in their words.
    pub fn proposal_reason(&self, proposal: &Proposal) -> anyhow::Result<String> {
        Ok(String::from_utf8_lossy(&self.store.keys.open(&proposal.sealed)?).into_owned())
    }

    /// One person proposes a decision. Nothing moves.
    pub async fn propose(&self, actor: &Actor, id: Id<Exception>, request: &ProposalRequest) -> Outcome<ExceptionRow> {
        let reason = request.reason.trim();
        if reason.is_empty() || reason.chars().count() > REASON_CHARS_MAX {
            let text = format!("say why, in 1 to {REASON_CHARS_MAX} characters");
            return refused(RefusedKind::Invalid, "reason_missing", text);
        }
        let now = self.clock.now();
        let mut numbers = self.store.draw(1, now).await?;
        let mut tx = self.store.begin().await?;
        let task = opened(&mut tx, actor, id).await?;
        if let Some(other) = &task.handling.proposal {
            let text = format!("{} proposed {} already; it can be withdrawn", other.by, other.decision.name());
            return refused(RefusedKind::Conflict, "already_proposed", text);
        }
        if let Some(id) = request.evidence
            && evidence::get(&mut tx, &self.store.keys, &actor.scope, id).await?.is_none()
        {
            return refused(RefusedKind::Invalid, "evidence_unknown", format!("there is no evidence {id}"));
        }
        let (subject, row) = self.subject(&mut tx, &task).await?;
        check(&task, &subject, &row, request.decision)?;
        let proposal = Proposal {
            decision: request.decision,
            by: actor.person.clone(),
            at: now,
            state: state_of(&subject, &row),
            evidence: request.evidence.map(Id::number),
            sealed: self.store.keys.seal(reason.as_bytes()),
        };
        exception::set_proposal(&mut tx, id, Some(&proposal)).await?;
        let note = format!("{id}: {}", request.decision.name());
        let fact = Fact {
            event: "exception.proposed",
            subject: task.subject,
            actor: &actor.person,
            evidence: proposal.evidence,
            note: &note,
            ..Fact::default()
        };
        notes::journal(&mut tx, numbers.take()?, actor.scope.tenant, &fact, now).await?;
        tx.commit().await?;
        self.exception(actor, id).await
    }

    /// Takes a proposal off again.
    pub async fn withdraw_proposal(&self, actor: &Actor, id: Id<Exception>) -> Outcome<ExceptionRow> {
        let now = self.clock.now();
        let mut numbers = self.store.draw(1, now).await?;
        let mut tx = self.store.begin().await?;
        let task = opened(&mut tx, actor, id).await?;
        let Some(proposal) = &task.handling.proposal else { return nothing_proposed() };
        exception::set_proposal(&mut tx, id, None).await?;
        let note = format!("{id}: {}", proposal.decision.name());
        let event = "exception.proposal_withdrawn";
        let fact = Fact { event, subject: task.subject, actor: &actor.person, note: &note, ..Fact::default() };
        notes::journal(&mut tx, numbers.take()?, actor.scope.tenant, &fact, now).await?;
        tx.commit().await?;
        self.exception(actor, id).await
    }

    /// Another person agrees: the decision takes effect, whole or not at all.
    pub async fn confirm(&self, actor: &Actor, id: Id<Exception>) -> Outcome<ExceptionRow> {
        for _ in 1..CONFIRM_TRIES {
            match self.confirm_once(actor, id).await {
                // A worker wanted the same rows in another order.
                Err(super::Error::Failed(error)) if db::is_deadlock(&error) => {}
                done => return done,
            }
        }
        self.confirm_once(actor, id).await
    }

    async fn confirm_once(&self, actor: &Actor, id: Id<Exception>) -> Outcome<ExceptionRow> {
        let now = self.clock.now();
        let mut tx = self.store.begin().await?;
        let Some(task) = exception::get(&mut tx, &actor.scope, id).await? else { return unknown(id) };
        let (subject, row) = self.subject(&mut tx, &task).await?;
        // Payroll before batch, as a release locks them; batch before exception, as whoever opens one does.
        let payroll = payroll::lock(&mut tx, row.payroll).await?;
        let row = batch::lock(&mut tx, row.id).await?.context("the batch is gone")?;
        let task = opened(&mut tx, actor, id).await?;
        let Some(proposal) = task.handling.proposal.clone() else { return nothing_proposed() };
        if proposal.by == actor.person {
            let text = "somebody who did not propose it must confirm it";
            return refused(RefusedKind::Forbidden, "same_person", text);
        }
        let subject = match subject {
            Subject::Row(place) => {
                let again = generation::place(&mut tx, place.number).await?.context("the disbursement is gone")?;
                if again.batch != row.id {
                    return changed("it moved to another batch just now; confirm it again");
                }
                Subject::Row(again)
            }
            Subject::Batch => Subject::Batch,
        };
        check(&task, &subject, &row, proposal.decision)?;
        let state = state_of(&subject, &row);
        if state != proposal.state {
            let text = state.map_or(String::from("it"), |state| format!("it is {state} now, and"));
            return changed(&format!("{text} was otherwise when this was proposed; propose anew"));
        }
        let ruling = Ruling { engine: self, task: &task, proposal: &proposal, checker: actor, payroll: &payroll, now };
        ruling.apply(&mut tx, subject, row).await?;
        tx.commit().await?;
        tracing::warn!(exception.id = %id, exception.code = task.code, decision = proposal.decision.name(), "exception closed");
        self.exception(actor, id).await
    }

    /// What an exception is about, and its batch, not locked.
    async fn subject(&self, tx: &mut Tx, task: &ExceptionRow) -> anyhow::Result<(Subject, BatchRow)> {
        let place = generation::place(tx, task.subject).await?;
        let number = place.as_ref().map_or(Id::<Batch>::new(task.subject), |place| place.batch);
        let row = batch::get_any(tx, number).await?.context("what the exception is about is gone")?;
        Ok((place.map_or(Subject::Batch, Subject::Row), row))
    }
}

/// The exception, locked, if it is the caller's tenant's and open.
async fn opened(tx: &mut Tx, actor: &Actor, id: Id<Exception>) -> Outcome<ExceptionRow> {
    match exception::lock(tx, &actor.scope, id).await? {
        None => unknown(id),
        Some(row) if row.handling.closed_at.is_some() => {
            refused(RefusedKind::Conflict, "exception_closed", "it has been decided already")
        }
        Some(row) => Ok(row),
    }
}

/// The state that counts, where the subject is one payment.
fn state_of(subject: &Subject, row: &BatchRow) -> Option<State> {
    match subject {
        Subject::Row(place) => Some(effective(place.state, row.state)),
        Subject::Batch => None,
    }
}

/// Whether this can be decided of that, as it stands now.
fn check(task: &ExceptionRow, subject: &Subject, row: &BatchRow, decision: Decision) -> Outcome<()> {
    let matter = matter(&task.code);
    let impossible = |text: String| refused(RefusedKind::Conflict, "decision_impossible", text);
    if !decisions(matter).contains(&decision) {
        let all: Vec<&str> = decisions(matter).iter().map(|one| one.name()).collect();
        return impossible(format!("of {} can be decided: {}", task.code, all.join(", ")));
    }
    let state = state_of(subject, row);
    let waits = row.state == BatchState::Sealed && state.is_none_or(|state| state == State::Queued);
    match (decision, state) {
        (Decision::Stands, _) if matter == Matter::Unsent && waits => {
            impossible(String::from("it waits to be sent: decide send or withdraw"))
        }
        (Decision::Stands, _) => Ok(()),
        (Decision::Send | Decision::Withdraw, _) if waits => Ok(()),
        (Decision::Send | Decision::Withdraw, _) => impossible(String::from("it does not wait to be sent any more")),
        (_, None) if matter == Matter::Endless => Ok(()),
        (_, None) => impossible(String::from("this is about a whole batch; no payment of it is named")),
        (_, Some(State::Submitting)) => impossible(String::from("it is being sent right now; try again in a moment")),
        (_, Some(state)) if way(state, decision).is_none() => {
            impossible(format!("it is {state}; no way leads from there to {}", decision.name()))
        }
        (_, Some(state)) if matter == Matter::Endless && !state.is_in_flight() => {
            impossible(format!("it is {state} by now; decide stands"))
        }
        _ => Ok(()),
    }
}

fn unknown<T>(id: Id<Exception>) -> Outcome<T> {
    refused(RefusedKind::NotFound, "exception_unknown", format!("there is no exception {id}"))
}

fn nothing_proposed<T>() -> Outcome<T> {
    refused(RefusedKind::Conflict, "nothing_proposed", "nobody has proposed anything that could be confirmed")
}

fn changed<T>(text: &str) -> Outcome<T> {
    refused(RefusedKind::Conflict, "changed_since", text)
}
