//! What a confirmed decision does, in one unit of work: evidence that names both persons and both evidences, ends,
//! counts, money out of suspense, the registry told, the exception closed.
//! Deliberately not here: whether it may be decided.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde_json::json;

use super::Subject;
use crate::domain::batch::{BatchState, effective};
use crate::domain::disbursement::{Move, State, step};
use crate::domain::exception::{Decision, Matter, matter, way};
use crate::domain::id::{Evidence, Id};
use crate::engine::apply::suspense::covering;
use crate::engine::apply::tell::publish_ends;
use crate::engine::hold::{EJECTION_NUMBERS, Ejection, less};
use crate::engine::submit::content_hash;
use crate::engine::{Actor, Engine, Outcome, RefusedKind, refused};
use crate::store::Numbers;
use crate::store::batch::{self, BatchRow};
use crate::store::db::Tx;
use crate::store::disbursement::{self, Departure, Ends, Member};
use crate::store::evidence::{self, NewEvidence};
use crate::store::exception::{self, Proposal};
use crate::store::generation::{self, Place};
use crate::store::ledger::{self, Account, Entry};
use crate::store::notes::{self, ExceptionRow, Fact};
use crate::store::payroll::{PayrollRow, Total};

/// Numbers one ruling takes, but for its messages: evidence, ledger by account, journal, completion, an ejection.
const RULING_NUMBERS: usize = 24 + EJECTION_NUMBERS;
/// Most references of payments that a decision's evidence names one by one.
const NAMED_MAX: usize = 100;

/// A decision that has been confirmed.
pub(super) struct Ruling<'a> {
    pub engine: &'a Engine,
    pub task: &'a ExceptionRow,
    pub proposal: &'a Proposal,
    pub checker: &'a Actor,
    /// Locked.
    pub payroll: &'a PayrollRow,
    pub now: i64,
}

/// A payment that is ruled on.
#[derive(Debug, Clone)]
struct Ruled {
    number: i64,
    own: State,
    state: State,
    amount_minor: i64,
    end_evidence: Option<i64>,
    /// Where its money came from, if it waits in suspense.
    suspended_from: Option<Account>,
    /// It goes on waiting, for another exception.
    stays: bool,
}

impl Ruling<'_> {
    /// Everything the decision does. The batch is locked.
    pub async fn apply(&self, tx: &mut Tx, subject: Subject, mut row: BatchRow) -> Outcome<()> {
        let decision = self.proposal.decision;
        let rows = self.ruled(tx, &subject, &row).await?;
        if decision == Decision::Settled
            && rows.iter().any(|one| one.state == State::Queued)
            && self.payroll.released_at.is_none()
        {
            let text = "its payroll is not released, so that nothing can have been paid";
            return refused(RefusedKind::Conflict, "decision_impossible", text);
        }
        let count = RULING_NUMBERS as i64 + row.total.payments / 500;
        let first = self.engine.store.allot_in(tx, count, self.now).await?;
        let mut numbers = Numbers::from_first(first, count);
        if decision == Decision::Send {
            self.may_leave(tx, &row).await?;
        }
        if decision == Decision::Rejected && rows.iter().any(|one| one.state.is_in_flight()) {
            self.fence_has_passed(&row)?;
        }
        let evidence = self.keep(tx, &row, &rows, &mut numbers).await?;
        exception::close(tx, self.task.id, &self.checker.person, evidence.number(), self.now).await?;
        match decision {
            Decision::Settled | Decision::Rejected | Decision::Returned => {
                self.end(tx, &mut row, &rows, evidence, &mut numbers).await?;
            }
            Decision::Withdraw => self.withdraw(tx, &mut row, &subject, evidence, &mut numbers).await?,
            Decision::Stands | Decision::Send => {
                self.settle_money(tx, &row, (&rows, None), evidence, &mut numbers).await?
            }
        }
        let total = rows.iter().try_fold(Total::default(), |all, one| all.with(one.amount_minor)).unwrap_or_default();
        let note = format!("{}: {} by {} and {}", self.task.id, decision.name(), self.proposal.by, self.checker.person);
        let fact = Fact {
            event: "exception.closed",
            subject: self.task.subject,
            actor: &self.checker.person,
            total,
            evidence: Some(evidence.number()),
            note: &note,
            ..Fact::default()
        };
        notes::journal(tx, numbers.take()?, self.payroll.tenant, &fact, self.now).await?;
        if matter(&self.task.code) == Matter::Unsent {
            self.engine.thaw(tx, &mut row, self.payroll).await?;
        }
        Ok(())
    }

    /// The payments that are ruled on: the one it is about, or all of its batch that have no end and no exception that
    /// keeps their own money.
    async fn ruled(&self, tx: &mut Tx, subject: &Subject, row: &BatchRow) -> Outcome<Vec<Ruled>> {
        let places = match subject {
            Subject::Row(place) => vec![place.clone()],
            Subject::Batch if matter(&self.task.code) == Matter::Endless => {
                let members = disbursement::members(tx, row.id, row.numbers).await?.into_iter();
                let open = members.filter(|member| effective(member.state, row.state).is_in_flight());
                generation::places(tx, &open.map(|member| member.number).collect::<Vec<_>>()).await?
            }
            Subject::Batch => Vec::new(),
        };
        let numbers: Vec<i64> = places.iter().map(|place| place.number).collect();
        let by = |found: Vec<(i64, Account)>| found.into_iter().collect::<BTreeMap<_, _>>();
        let suspended = by(exception::suspended(tx, &numbers, 0).await?);
        let stays = by(exception::suspended(tx, &numbers, self.task.id.number()).await?);
        let ruled = |place: Place| Ruled {
            number: place.number,
            own: place.state,
            state: effective(place.state, row.state),
            amount_minor: place.amount_minor,
            end_evidence: place.end_evidence,
            suspended_from: suspended.get(&place.number).copied(),
            stays: stays.contains_key(&place.number),
        };
        let mut rows: Vec<Ruled> = places.into_iter().map(ruled).collect();
        if matches!(subject, Subject::Batch) {
            rows.retain(|one| one.suspended_from.is_none());
        }
        Ok(rows)
    }

    /// Whatever kept it back is looked at once more.
    async fn may_leave(&self, tx: &mut Tx, row: &BatchRow) -> Outcome<()> {
        let refuse = |code: &'static str, text: String| refused(RefusedKind::Conflict, code, text);
        let mut members = disbursement::members(tx, row.id, row.numbers).await?;
        if content_hash(self.engine.store.tag, &members) != row.content_hash {
            return refuse("content_changed", String::from("its rows are not what was approved; withdraw it"));
        }
        members.retain(|member| member.state == State::Queued);
        let outgoing = self.engine.outgoing(tx, row, members).await?;
        match self.engine.provider(&row.provider)?.connector.encode(&outgoing) {
            Ok(_) => Ok(()),
            Err(failure) => refuse("cannot_be_written", format!("it still cannot be written: {failure}")),
        }
    }

    /// While a copy may still arrive, nothing is decided not to be paid.
    fn fence_has_passed(&self, row: &BatchRow) -> Outcome<()> {
        if row.state == BatchState::Transmitting || self.now < row.fence_at {
            let text = format!("a copy may arrive until {}", crate::clock::rfc3339(row.fence_at));
            return refused(RefusedKind::Conflict, "fence_not_passed", text);
        }
        Ok(())
    }

    /// The decision as evidence.
    async fn keep(&self, tx: &mut Tx, row: &BatchRow, rows: &[Ruled], numbers: &mut Numbers) -> Result<Id<Evidence>> {
        let id = Id::<Evidence>::new(numbers.take()?);
        let shown = |number: i64| (number > 0).then(|| Id::<Evidence>::new(number).to_string());
        let named = rows.iter().take(NAMED_MAX);
        let reason = self.engine.proposal_reason(self.proposal)?;
        let bytes = serde_json::to_vec(&json!({
            "exception": self.task.id, "code": self.task.code, "decision": self.proposal.decision.name(),
            "reason": reason, "proposed_by": self.proposal.by, "confirmed_by": self.checker.person,
            "subject": self.engine.reference(self.task.subject).as_str(),
            "disbursements": rows.len(),
            "named": named.map(|one| json!({
                "reference": self.engine.reference(one.number).as_str(), "was": one.state.name(),
                "evidence": one.end_evidence.and_then(shown),
            })).collect::<Vec<_>>(),
            "evidence_against": shown(self.task.evidence),
            "evidence_given": self.proposal.evidence.and_then(shown),
        }))?;
        let origin = format!("{} by {} and {}", self.task.id, self.proposal.by, self.checker.person);
        let one = NewEvidence { id, kind: "decision", source: "persons", origin: &origin, bytes: &bytes };
        evidence::insert(tx, &self.engine.store.keys, (row.programme, row.id), &[one], self.now).await?;
        Ok(id)
    }

    /// Rows come to the end that was decided, each with the decision as its evidence; what proved otherwise is kept.
    async fn end(
        &self,
        tx: &mut Tx,
        row: &mut BatchRow,
        rows: &[Ruled],
        evidence: Id<Evidence>,
        numbers: &mut Numbers,
    ) -> Outcome<()> {
        let mut alike: BTreeMap<(State, State, State), Vec<&Ruled>> = BTreeMap::new();
        for one in rows {
            let moves = way(one.state, self.proposal.decision).context("no way leads there")?;
            let to =
                moves.iter().try_fold(one.state, |state, by: &Move| step(state, *by)).map_err(anyhow::Error::from)?;
            alike.entry((one.own, one.state, to)).or_default().push(one);
        }
        let all: Vec<i64> = rows.iter().map(|one| one.number).collect();
        exception::keep_overruled(tx, &all).await?;
        disbursement::forget_departures(tx, &all).await?;
        let mut position = 0;
        for ((own, state, to), some) in &alike {
            let of: Vec<i64> = some.iter().map(|one| one.number).collect();
            let positions: Vec<i64> = (position..).take(of.len()).collect();
            position += of.len() as i64;
            let ends = Ends { numbers: &of, positions: &positions, from: *own, to: *to, evidence };
            disbursement::end(tx, row.id, &ends).await?;
            let total = some.iter().try_fold(Total::default(), |all, one| all.with(one.amount_minor));
            count(row, *state, *to, total.context("the sum is too large")?)?;
            let rows: Vec<Ruled> = some.iter().map(|one| (*one).clone()).collect();
            self.settle_money(tx, row, (&rows, Some(*to)), evidence, numbers).await?;
        }
        self.note_reasons(tx, row, &all).await?;
        if self.engine.registry.is_some() && !all.is_empty() {
            let tenant = self.payroll.tenant;
            publish_ends(tx, tenant, row, &[(evidence.number(), all)], (numbers, self.now)).await?;
        }
        if row.state == BatchState::Sealed {
            // Who was ruled on does not leave with the others; bytes that never left are made anew.
            row.wire = None;
        }
        row.attempts = 0;
        if row.open.payments == 0 {
            (row.state, row.due_at) = (BatchState::Completed, None);
        }
        batch::save(tx, row).await?;
        self.engine.complete_payroll(tx, row.payroll, numbers).await?;
        let reopened = rows.iter().filter(|one| one.state.may_be_followed());
        if self.proposal.decision == Decision::Settled {
            let paid: Vec<(i64, i64)> = reopened.map(|one| (one.number, evidence.number())).collect();
            self.engine.freeze_newer(tx, self.payroll.tenant, &paid).await?;
        }
        Ok(())
    }

    /// Why it was not paid or came back, for whoever reads the payment.
    async fn note_reasons(&self, tx: &mut Tx, row: &BatchRow, all: &[i64]) -> Result<()> {
        let (class, code) = match self.proposal.decision {
            Decision::Rejected => ("not_executed", "decided_rejected"),
            Decision::Returned => ("fix_at_bank", "decided_returned"),
            _ => return Ok(()),
        };
        let text = format!("decided by two persons, {}", self.task.id);
        let departure = |number: &i64| Departure {
            number: *number,
            reason: Some((class, code.to_owned())),
            provider_reference: None,
            return_evidence: None,
            return_reference: None,
            sealed: self.engine.store.keys.seal(text.as_bytes()),
        };
        disbursement::insert_departures(tx, row.payroll, &all.iter().map(departure).collect::<Vec<_>>()).await
    }

    /// Money goes to the account of the state that was decided on, out of suspense where it waits there and no other
    /// exception keeps it; back to where it came from if nothing changes (`to` is `None`).
    async fn settle_money(
        &self,
        tx: &mut Tx,
        row: &BatchRow,
        (rows, to): (&[Ruled], Option<State>),
        evidence: Id<Evidence>,
        numbers: &mut Numbers,
    ) -> Result<()> {
        let mut sums: BTreeMap<(Account, Account), i64> = BTreeMap::new();
        for one in rows.iter().filter(|one| !one.stays) {
            let wanted = Account::of(to.unwrap_or(one.state));
            let (debit, credit) = match one.suspended_from {
                // What was lent for it is given back.
                Some(Account::Funding) if wanted == Account::Available => (Account::Funding, Account::Suspense),
                Some(_) => (wanted, Account::Suspense),
                None => (wanted, Account::of(one.state)),
            };
            if debit != credit {
                let sum = sums.entry((debit, credit)).or_default();
                *sum = sum.checked_add(one.amount_minor).context("the sum is too large")?;
            }
        }
        for ((debit, credit), sum) in sums {
            let credit = covering(tx, row.programme, credit, sum).await?;
            let entry = Entry::of_batch(row, (debit, credit), sum, Some(evidence.number()));
            ledger::post(tx, numbers.take()?, &entry, self.now).await?;
        }
        Ok(())
    }

    /// Rows that will not leave any more: the one it is about, or all of its batch that wait.
    async fn withdraw(
        &self,
        tx: &mut Tx,
        row: &mut BatchRow,
        subject: &Subject,
        evidence: Id<Evidence>,
        numbers: &mut Numbers,
    ) -> Outcome<()> {
        let waiting = |member: &Member| member.state == State::Queued;
        let rows: Vec<i64> = match subject {
            Subject::Row(place) => vec![place.number],
            Subject::Batch => {
                let members = disbursement::members(tx, row.id, row.numbers).await?;
                members.iter().filter(|member| waiting(member)).map(|member| member.number).collect()
            }
        };
        let note = self.task.id.to_string();
        let ejection = Ejection {
            payroll: self.payroll,
            rows: &rows,
            asked: Move::Cancel,
            evidence: Some(evidence.number()),
            actor: &self.checker.person,
            note: &note,
        };
        self.engine.eject(tx, row, &ejection, numbers).await
    }
}

/// Moves the batch's counts from one stage to another.
fn count(row: &mut BatchRow, from: State, to: State, total: Total) -> Result<()> {
    let out = stage(row, from);
    *out = less(*out, total);
    let into = stage(row, to);
    *into = into.and(total).context("the sum is too large")?;
    Ok(())
}

fn stage(row: &mut BatchRow, state: State) -> &mut Total {
    match state {
        State::Settled => &mut row.settled,
        State::Rejected => &mut row.rejected,
        State::Returned => &mut row.returned,
        _ => &mut row.open,
    }
}
