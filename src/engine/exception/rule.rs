//! What a confirmed decision does to the exceptions of one group, in one unit of work: one piece of evidence that names
//! them, both persons and what they rest on, ends, counts, money out of suspense, the registry told, all of them closed.
//! Deliberately not here: whether it may be decided.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use serde_json::json;

use super::confirm::Key;
use super::ground::Subject;
use super::{conflict, list_hash, named};
use crate::domain::batch::{BatchState, effective};
use crate::domain::disbursement::{Move, State, step};
use crate::domain::exception::{Decision, Matter, matter, way};
use crate::domain::id::{Batch, Evidence, Exception, Id, Programme};
use crate::engine::apply::suspense::covering;
use crate::engine::apply::tell::publish_ends;
use crate::engine::hold::{EJECTION_NUMBERS, Ejection, less};
use crate::engine::submit::content_hash;
use crate::engine::{Actor, Engine, Error, Outcome, Refused, RefusedKind, refused};
use crate::store::Numbers;
use crate::store::batch::{self, BatchRow};
use crate::store::db::Tx;
use crate::store::disbursement::{self, Departure, Ends, Member};
use crate::store::evidence::{self, NewEvidence};
use crate::store::exception;
use crate::store::generation::{self, Place};
use crate::store::ledger::{self, Account, Entry};
use crate::store::notes::{self, ExceptionRow, Fact};
use crate::store::payroll::{PayrollRow, Total};
use crate::store::seal::hex;

/// Numbers one ruling takes, but for its messages: evidence, ledger by account, journal, completion, an ejection.
const RULING_NUMBERS: usize = 24 + EJECTION_NUMBERS;
/// Most exceptions, and most references of payments, that a decision's evidence names one by one.
const NAMED_MAX: usize = 100;

/// A decision that has been confirmed.
pub(super) struct Ruling<'a> {
    pub engine: &'a Engine,
    /// What was proposed of all of them.
    pub key: &'a Key,
    /// The exceptions, locked; one at least.
    pub tasks: &'a [ExceptionRow],
    pub checker: &'a Actor,
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
    /// What is about no payment and no batch stands: nothing moves, and that is evidence too.
    pub async fn stands(&self, tx: &mut Tx, programme: Id<Programme>) -> Outcome<()> {
        let count = RULING_NUMBERS as i64;
        let mut numbers = Numbers::from_first(self.engine.store.allot_in(tx, count, self.now).await?, count);
        self.conclude(tx, (programme, Id::new(0)), &[], &mut numbers).await?;
        Ok(())
    }

    /// Everything the decision does to what is in a batch. Payroll and batch are locked.
    pub async fn apply(
        &self,
        tx: &mut Tx,
        (payroll, mut row): (&PayrollRow, BatchRow),
        subjects: &[Subject],
    ) -> Outcome<()> {
        let decision = self.key.decision;
        let rows = self.ruled(tx, subjects, &row).await?;
        if decision == Decision::Settled
            && rows.iter().any(|one| one.state == State::Queued)
            && payroll.released_at.is_none()
        {
            let text = "its payroll is not released, so that nothing can have been paid";
            return refused(RefusedKind::Conflict, "decision_impossible", text);
        }
        let count = RULING_NUMBERS as i64 + row.total.payments.max(rows.len() as i64) / 500;
        let first = self.engine.store.allot_in(tx, count, self.now).await?;
        let mut numbers = Numbers::from_first(first, count);
        if decision == Decision::Send {
            self.may_leave(tx, &row).await?;
        }
        if decision == Decision::Rejected && rows.iter().any(|one| one.state.is_in_flight()) {
            fence_has_passed(&row, self.now).map_err(Error::Refused)?;
        }
        let evidence = self.conclude(tx, (row.programme, row.id), &rows, &mut numbers).await?;
        match decision {
            Decision::Settled | Decision::Rejected | Decision::Returned => {
                self.end(tx, &mut row, &rows, evidence, &mut numbers).await?;
            }
            Decision::Withdraw => self.withdraw(tx, (payroll, &mut row), subjects, evidence, &mut numbers).await?,
            Decision::Stands | Decision::Send => {
                self.settle_money(tx, &row, (&rows, None), evidence, &mut numbers).await?
            }
        }
        if matter(&self.key.code) == Matter::Unsent {
            self.engine.thaw(tx, &mut row, payroll).await?;
        }
        Ok(())
    }

    /// The payments that are ruled on: those they are about, or all of their batch that have no end and no exception
    /// that keeps their own money.
    async fn ruled(&self, tx: &mut Tx, subjects: &[Subject], row: &BatchRow) -> Outcome<Vec<Ruled>> {
        let places = if !self.key.whole {
            rows_of(subjects).into_values().cloned().collect()
        } else if matter(&self.key.code) == Matter::Endless {
            let members = disbursement::members(tx, row.id, row.numbers).await?.into_iter();
            let open = members.filter(|member| effective(member.state, row.state).is_in_flight());
            generation::places(tx, &open.map(|member| member.number).collect::<Vec<_>>()).await?
        } else {
            Vec::new()
        };
        let numbers: Vec<i64> = places.iter().map(|place| place.number).collect();
        let decided: BTreeSet<i64> = self.tasks.iter().map(|task| task.id.number()).collect();
        let (mut suspended, mut stays) = (BTreeMap::new(), BTreeSet::new());
        for (number, exception, account) in exception::suspended(tx, &numbers).await? {
            suspended.entry(number).or_insert(account);
            if !decided.contains(&exception.number()) {
                stays.insert(number);
            }
        }
        let ruled = |place: Place| Ruled {
            number: place.number,
            own: place.state,
            state: effective(place.state, row.state),
            amount_minor: place.amount_minor,
            end_evidence: place.end_evidence,
            suspended_from: suspended.get(&place.number).copied(),
            stays: stays.contains(&place.number),
        };
        let mut rows: Vec<Ruled> = places.into_iter().map(ruled).collect();
        if self.key.whole {
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

    /// The decision as evidence, the exceptions closed by it, and that written down.
    async fn conclude(
        &self,
        tx: &mut Tx,
        about: (Id<Programme>, Id<Batch>),
        rows: &[Ruled],
        numbers: &mut Numbers,
    ) -> Result<Id<Evidence>> {
        let (key, checker) = (self.key, &self.checker.person);
        let ids: Vec<Id<Exception>> = self.tasks.iter().map(|task| task.id).collect();
        let (id, hash) = (Id::<Evidence>::new(numbers.take()?), list_hash(&ids));
        let bytes = serde_json::to_vec(&self.words(rows, &hash))?;
        let origin = format!("{} by {} and {checker}", named(&ids), key.by);
        let one = NewEvidence { id, kind: "decision", source: "persons", origin: &origin, bytes: &bytes };
        evidence::insert(tx, &self.engine.store.keys, about, &[one], self.now).await?;
        let closed: Vec<i64> = ids.iter().map(|id| id.number()).collect();
        exception::close(tx, &closed, checker, id.number(), self.now).await?;
        let home = if about.1.number() > 0 { about.1.number() } else { about.0.number() };
        let note = format!("{}: {} by {} and {checker}", named(&ids), key.decision.name(), key.by);
        let fact = Fact {
            event: "exception.closed",
            subject: if let [one] = self.tasks { one.subject } else { home },
            actor: checker,
            total: rows.iter().try_fold(Total::default(), |all, one| all.with(one.amount_minor)).unwrap_or_default(),
            list_hash: Some(&hash),
            evidence: Some(id.number()),
            note: &note,
        };
        notes::journal(tx, numbers.take()?, self.checker.scope.tenant, &fact, self.now).await?;
        Ok(id)
    }

    /// What both persons say. The hash is over the ids of all exceptions, each on a line.
    fn words(&self, rows: &[Ruled], hash: &[u8]) -> serde_json::Value {
        let (engine, key) = (self.engine, self.key);
        let shown = |number: i64| (number > 0).then(|| Id::<Evidence>::new(number).to_string());
        let exceptions = self.tasks.iter().take(NAMED_MAX).map(|task| {
            json!({
                "exception": task.id, "subject": engine.reference(task.subject).as_str(),
                "evidence_against": shown(task.evidence),
            })
        });
        let payments = rows.iter().take(NAMED_MAX).map(|one| {
            json!({
                "reference": engine.reference(one.number).as_str(), "was": one.state.name(),
                "evidence": one.end_evidence.and_then(shown),
            })
        });
        json!({
            "code": key.code, "decision": key.decision.name(), "reason": key.reason,
            "proposed_by": key.by, "confirmed_by": self.checker.person,
            "exceptions": self.tasks.len(), "exceptions_sha256": hex(hash),
            "exceptions_named": exceptions.collect::<Vec<_>>(),
            "disbursements": rows.len(), "named": payments.collect::<Vec<_>>(),
            "evidence_given": key.evidence.and_then(shown),
        })
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
            let moves = way(one.state, self.key.decision).context("no way leads there")?;
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
            let tenant = self.checker.scope.tenant;
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
        if self.key.decision == Decision::Settled {
            let paid: Vec<(i64, i64)> = reopened.map(|one| (one.number, evidence.number())).collect();
            self.engine.freeze_newer(tx, self.checker.scope.tenant, &paid).await?;
        }
        Ok(())
    }

    /// Why it was not paid or came back, for whoever reads the payment.
    async fn note_reasons(&self, tx: &mut Tx, row: &BatchRow, all: &[i64]) -> Result<()> {
        let (class, code) = match self.key.decision {
            Decision::Rejected => ("not_executed", "decided_rejected"),
            Decision::Returned => ("fix_at_bank", "decided_returned"),
            _ => return Ok(()),
        };
        let by_subject: BTreeMap<i64, &ExceptionRow> = self.tasks.iter().map(|task| (task.subject, task)).collect();
        let departure = |number: &i64| {
            let task = by_subject.get(number).or_else(|| by_subject.get(&row.id.number()));
            let text = format!("decided by two persons, {}", task.map_or(String::new(), |task| task.id.to_string()));
            Departure {
                number: *number,
                reason: Some((class, code.to_owned())),
                provider_reference: None,
                return_evidence: None,
                return_reference: None,
                sealed: self.engine.store.keys.seal(text.as_bytes()),
            }
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

    /// Rows that will not leave any more: those they are about, or all of their batch that wait.
    async fn withdraw(
        &self,
        tx: &mut Tx,
        (payroll, row): (&PayrollRow, &mut BatchRow),
        subjects: &[Subject],
        evidence: Id<Evidence>,
        numbers: &mut Numbers,
    ) -> Outcome<()> {
        let waiting = |member: &Member| member.state == State::Queued;
        let rows: Vec<i64> = if self.key.whole {
            let members = disbursement::members(tx, row.id, row.numbers).await?;
            members.iter().filter(|member| waiting(member)).map(|member| member.number).collect()
        } else {
            rows_of(subjects).into_keys().collect()
        };
        let note = named(&self.tasks.iter().map(|task| task.id).collect::<Vec<_>>());
        let ejection = Ejection {
            payroll,
            rows: &rows,
            asked: Move::Cancel,
            evidence: Some(evidence.number()),
            actor: &self.checker.person,
            note: &note,
        };
        self.engine.eject(tx, row, &ejection, numbers).await
    }
}

/// The payments among subjects, ascending.
fn rows_of(subjects: &[Subject]) -> BTreeMap<i64, &Place> {
    let places = subjects.iter().filter_map(|subject| match subject {
        Subject::Row(place) => Some((place.number, place)),
        _ => None,
    });
    places.collect()
}

/// While a copy may still arrive, nothing is decided not to be paid.
pub(super) fn fence_has_passed(row: &BatchRow, now: i64) -> Result<(), Refused> {
    if row.state == BatchState::Transmitting || now < row.fence_at {
        let text = format!("a copy may arrive until {}", crate::clock::rfc3339(row.fence_at));
        return Err(conflict("fence_not_passed", text));
    }
    Ok(())
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
