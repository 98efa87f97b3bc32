//! Stopping single payments before they leave: held, withdrawn, or held because an older generation is said to be
//! paid after all. What has left cannot be stopped. Deliberately not here: holds on beneficiaries (`setup`), which
//! intake reads.

mod verbs;

use std::collections::BTreeMap;

use anyhow::{Context, Result};

use super::apply::tell::publish_ends;
use super::submit::content_hash;
use super::{Engine, Error, Outcome, RefusedKind, refused};
use crate::domain::batch::{BatchState, effective};
use crate::domain::disbursement::{Move, State, step};
use crate::domain::exception::OVERPAID;
use crate::domain::id::{Id, Tenant};
use crate::domain::payroll::PayrollState;
use crate::store::batch::{self, BatchRow};
use crate::store::db::Tx;
use crate::store::disbursement::{self, Departure, Ends, Member};
use crate::store::generation::{self, Place};
use crate::store::ledger::{self, Account, Entry};
use crate::store::notes::{self, ExceptionRow, Fact, Handling};
use crate::store::payroll::{self, PayrollRow, Total};
use crate::store::{Numbers, exception};

/// Numbers one ejection takes, but for its messages.
pub(super) const EJECTION_NUMBERS: usize = 4;

/// Which rows leave their batch before it leaves, and why.
pub(super) struct Ejection<'a> {
    /// Their payroll, locked.
    pub payroll: &'a PayrollRow,
    /// The rows, ascending.
    pub rows: &'a [i64],
    /// `Hold` or `Cancel`.
    pub asked: Move,
    /// The decision that cancels; a hold needs none.
    pub evidence: Option<i64>,
    /// Who.
    pub actor: &'a str,
    /// Why, without personal data.
    pub note: &'a str,
}

impl Engine {
    /// Takes rows out of a locked batch that has not left: its totals and hash are those of what stays, and money
    /// that was reserved for them is available again. Refused as `too_late` as a whole once any of it has left.
    pub(super) async fn eject(
        &self,
        tx: &mut Tx,
        row: &mut BatchRow,
        ejection: &Ejection<'_>,
        numbers: &mut Numbers,
    ) -> Outcome<()> {
        if row.state == BatchState::Sealed && row.ask_first_at.is_some() {
            let text = "it may have left in a time the database lost; its provider is asked first";
            return refused(RefusedKind::Conflict, "too_late", text);
        }
        // A row that was held at intake may lie outside the range of those that are sent.
        let (first, last) = (ejection.rows.first().copied(), ejection.rows.last().copied());
        let range = (row.numbers.0.min(first.unwrap_or(i64::MAX)), row.numbers.1.max(last.unwrap_or(0)));
        let mut members = disbursement::members(tx, row.id, range).await?;
        let wanted = |member: &Member| ejection.rows.binary_search(&member.number).is_ok();
        let mut gone: BTreeMap<State, (Vec<i64>, Total)> = BTreeMap::new();
        for member in members.iter_mut().filter(|member| wanted(member)) {
            let state = effective(member.state, row.state);
            let Ok(to) = step(state, ejection.asked) else { return too_late(state) };
            let (all, total) = gone.entry(member.state).or_default();
            all.push(member.number);
            *total = total.with(member.amount_minor).context("the sum is too large")?;
            member.state = to;
        }
        let all: Total = gone.values().try_fold(Total::default(), |all, (_, one)| all.and(*one)).unwrap_or_default();
        if all.payments != ejection.rows.len() as i64 {
            return Err(Error::Failed(anyhow::anyhow!("rows to eject are in another batch")));
        }
        let left = gone.get(&State::Queued).map(|(_, total)| *total).unwrap_or_default();
        self.save_ejected(tx, row, ejection, &gone).await?;
        row.total = less(row.total, left);
        row.open = less(row.open, left);
        if left.payments > 0 {
            row.content_hash = content_hash(self.store.tag, &members);
            // Bytes that were made of all of them and never left must not be sent.
            row.wire = None;
            row.epoch += 1;
        }
        if row.open.payments == 0 && row.state == BatchState::Sealed {
            (row.state, row.due_at) = (BatchState::Completed, None);
        }
        if ejection.asked == Move::Cancel {
            self.tell_cancelled(tx, row, ejection, numbers).await?;
            payroll::add_cancelled(tx, row.payroll, all).await?;
        }
        batch::save(tx, row).await?;
        self.after_ejection(tx, row, ejection, (left, all), numbers).await
    }

    async fn save_ejected(
        &self,
        tx: &mut Tx,
        row: &BatchRow,
        ejection: &Ejection<'_>,
        gone: &BTreeMap<State, (Vec<i64>, Total)>,
    ) -> Outcome<()> {
        for (from, (numbers, _)) in gone {
            match ejection.evidence {
                Some(evidence) => {
                    let positions: Vec<i64> = (0..numbers.len() as i64).collect();
                    let (to, evidence) = (State::Cancelled, Id::new(evidence));
                    let ends = Ends { numbers, positions: &positions, from: *from, to, evidence };
                    disbursement::end(tx, row.id, &ends).await?;
                }
                None => disbursement::set_state(tx, row.id, numbers, *from, State::Held).await?,
            }
        }
        Ok(())
    }

    async fn tell_cancelled(
        &self,
        tx: &mut Tx,
        row: &mut BatchRow,
        ejection: &Ejection<'_>,
        numbers: &mut Numbers,
    ) -> Outcome<()> {
        let departures: Vec<Departure> = ejection.rows.iter().map(|number| withdrawn(self, *number)).collect();
        disbursement::insert_departures(tx, row.payroll, &departures).await?;
        if self.registry.is_some() {
            let ended = [(ejection.evidence.unwrap_or(0), ejection.rows.to_vec())];
            publish_ends(tx, ejection.payroll.tenant, row, &ended, (numbers, self.clock.now())).await?;
        }
        Ok(())
    }

    /// Ledger, journal, and what the payroll's approval binds. `left` left the batch, `all` were stopped.
    async fn after_ejection(
        &self,
        tx: &mut Tx,
        row: &BatchRow,
        ejection: &Ejection<'_>,
        (left, all): (Total, Total),
        numbers: &mut Numbers,
    ) -> Outcome<()> {
        let (payroll, now) = (ejection.payroll, self.clock.now());
        if payroll.released_at.is_some() && left.sum_minor > 0 {
            let accounts = (Account::Available, Account::Reserved);
            ledger::post(tx, numbers.take()?, &Entry::of_batch(row, accounts, left.sum_minor, ejection.evidence), now)
                .await?;
        }
        if payroll.released_at.is_none() && left.payments > 0 {
            let (hash, _) = super::release::content(tx, row.payroll).await?;
            payroll::set_content_hash(tx, row.payroll, &hash).await?;
        }
        let event = if ejection.asked == Move::Cancel { "disbursement.cancelled" } else { "disbursement.held" };
        let subject = if let [one] = ejection.rows { *one } else { row.id.number() };
        let (actor, note, evidence) = (ejection.actor, ejection.note, ejection.evidence);
        let fact = Fact { event, subject, actor, total: all, evidence, note, ..Fact::default() };
        notes::journal(tx, numbers.take()?, payroll.tenant, &fact, now).await?;
        self.complete_payroll(tx, row.payroll, numbers).await?;
        Ok(())
    }

    /// Older generations are said to be paid after all: what follows them is held if it has not left. If it has, the
    /// entitlement may be paid twice, and a person is told. `older` are rows, each with the evidence.
    pub(super) async fn freeze_newer(&self, tx: &mut Tx, tenant: Id<Tenant>, older: &[(i64, i64)]) -> Result<()> {
        if older.is_empty() {
            return Ok(());
        }
        let numbers: Vec<i64> = older.iter().map(|(number, _)| *number).collect();
        generation::lock(tx, &numbers).await?;
        for (before, newer) in generation::newer(tx, &numbers).await? {
            let evidence = older.iter().find(|(number, _)| *number == before).map_or(0, |(_, evidence)| *evidence);
            // A row whose batch is not cut yet is being taken in: intake looks once more before it cuts.
            if batch::get_any(tx, newer.batch).await?.is_some() {
                self.freeze_one(tx, tenant, (before, evidence), &newer).await?;
            }
        }
        Ok(())
    }

    async fn freeze_one(
        &self,
        tx: &mut Tx,
        tenant: Id<Tenant>,
        (before, evidence): (i64, i64),
        newer: &Place,
    ) -> Result<()> {
        let now = self.clock.now();
        let payroll = payroll::lock(tx, newer.payroll).await?;
        let mut row = batch::lock(tx, newer.batch).await?.context("the batch is gone")?;
        // It may have been split meanwhile; then the row is in another batch that has not left, and is looked for there.
        let Some(place) = generation::place(tx, newer.number).await? else { return Ok(()) };
        if place.batch != row.id {
            row = batch::lock(tx, place.batch).await?.context("the batch is gone")?;
        }
        let state = effective(place.state, row.state);
        let references = (self.reference(before), self.reference(newer.number));
        if state == State::Queued && row.ask_first_at.is_none() {
            let note = format!("{} under the same entitlement is said to be paid after all", references.0);
            let first = self.store.allot_in(tx, EJECTION_NUMBERS as i64, now).await?;
            let mut numbers = Numbers::from_first(first, EJECTION_NUMBERS as i64);
            let rows = [newer.number];
            let asked = Move::Hold;
            let ejection =
                Ejection { payroll: &payroll, rows: &rows, asked, evidence: None, actor: "engine", note: &note };
            return self.eject(tx, &mut row, &ejection, &mut numbers).await.map_err(|error| match error {
                Error::Failed(error) => error,
                Error::Refused(refused) => anyhow::anyhow!("{refused}"),
            });
        }
        if !(state == State::Queued || state.is_in_flight() || state == State::Settled) {
            return Ok(());
        }
        let exception = ExceptionRow {
            id: Id::new(self.store.allot_in(tx, 1, now).await?),
            programme: row.programme,
            code: OVERPAID.to_owned(),
            subject: newer.number,
            provider: row.provider.clone(),
            evidence,
            detail: format!("{} is said to be paid after all, and {} may be paid too", references.0, references.1),
            opened_at: now,
            handling: Handling::default(),
        };
        if notes::open_exception(tx, tenant, &exception).await? {
            tracing::error!(exception.code = OVERPAID, batch.id = %row.id, "exception opened");
        }
        Ok(())
    }

    /// A frozen batch goes on when nothing keeps it any more: now, or on its day.
    pub(super) async fn thaw(&self, tx: &mut Tx, row: &mut BatchRow, payroll: &PayrollRow) -> Result<()> {
        let waits = row.state == BatchState::Sealed && row.due_at.is_none() && row.open.payments > 0;
        if waits && payroll.state == PayrollState::Released && !exception::is_frozen(tx, row.id).await? {
            row.due_at = Some(super::release::first_due(payroll.pay_on.as_deref(), self.clock.now()));
            batch::save(tx, row).await?;
        }
        Ok(())
    }
}

pub(super) fn less(from: Total, some: Total) -> Total {
    Total { payments: from.payments - some.payments, sum_minor: from.sum_minor - some.sum_minor }
}

fn withdrawn(engine: &Engine, number: i64) -> Departure {
    Departure {
        number,
        reason: Some(("stop", String::from("withdrawn"))),
        provider_reference: None,
        return_evidence: None,
        return_reference: None,
        sealed: engine.store.keys.seal(b"withdrawn before it left"),
    }
}

fn too_late<T>(state: State) -> Outcome<T> {
    let text = format!("it is {state}; only what has not left can be stopped");
    refused(RefusedKind::Conflict, "too_late", text)
}
