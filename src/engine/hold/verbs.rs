//! One payment is stopped by a person before it leaves: hold it, let it go again, cancel it.
//!
//! Anybody may hold. Letting go and cancelling are for somebody who did not make the payroll. Deliberately not here:
//! taking rows out of a batch (`hold`).

use anyhow::Context;
use serde_json::json;

use super::{EJECTION_NUMBERS, Ejection, too_late};
use crate::domain::batch::{BatchState, effective};
use crate::domain::disbursement::{Move, State, step};
use crate::domain::id::{Evidence, Id};
use crate::engine::approve::{not_own, owned};
use crate::engine::submit::content_hash;
use crate::engine::{Actor, Engine, Outcome, RefusedKind, refused};
use crate::store::batch::{self, BatchRow};
use crate::store::db::Tx;
use crate::store::disbursement;
use crate::store::evidence::{self, NewEvidence};
use crate::store::generation::{self, Place};
use crate::store::ledger::{self, Account, Entry};
use crate::store::notes::{self, Fact};
use crate::store::payroll::{self, PayrollRow, Total};
use crate::store::{Numbers, exception};

/// Longest reason, in characters.
const REASON_CHARS_MAX: usize = 300;

/// A payment with its batch and its payroll, both locked.
struct Locked {
    place: Place,
    row: BatchRow,
    payroll: PayrollRow,
}

impl Engine {
    /// Stops one payment before it leaves.
    pub async fn hold(&self, actor: &Actor, number: i64, reason: &str) -> Outcome<()> {
        let reason = checked(reason)?;
        let mut numbers = self.store.draw(EJECTION_NUMBERS, self.clock.now()).await?;
        let mut tx = self.store.begin().await?;
        let Locked { place, mut row, payroll } = locked(&mut tx, actor, number).await?;
        if place.state == State::Held {
            return refused(RefusedKind::Conflict, "held_already", "it is held already");
        }
        let (rows, asked) = ([number], Move::Hold);
        let ejection =
            Ejection { payroll: &payroll, rows: &rows, asked, evidence: None, actor: &actor.person, note: reason };
        self.eject(&mut tx, &mut row, &ejection, &mut numbers).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Withdraws one payment before it leaves. Its entitlement may be handed in again.
    pub async fn cancel(&self, actor: &Actor, number: i64, reason: &str) -> Outcome<()> {
        let reason = checked(reason)?;
        let now = self.clock.now();
        let mut numbers = self.store.draw(EJECTION_NUMBERS + 2, now).await?;
        let mut tx = self.store.begin().await?;
        let Locked { mut row, payroll, .. } = locked(&mut tx, actor, number).await?;
        not_own(actor, &payroll)?;
        let id = Id::<Evidence>::new(numbers.take()?);
        let bytes = serde_json::to_vec(&json!({
            "disbursement": self.reference(number).as_str(), "decision": "cancelled", "reason": reason,
            "by": actor.person, "made_by": payroll.made_by,
        }))
        .context("a decision cannot be written")?;
        let origin = format!("cancelled by {}", actor.person);
        let one = NewEvidence { id, kind: "decision", source: "persons", origin: &origin, bytes: &bytes };
        evidence::insert(&mut tx, &self.store.keys, (row.programme, row.id), &[one], now).await?;
        let (rows, asked, evidence) = ([number], Move::Cancel, Some(id.number()));
        let ejection = Ejection { payroll: &payroll, rows: &rows, asked, evidence, actor: &actor.person, note: reason };
        self.eject(&mut tx, &mut row, &ejection, &mut numbers).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Lets a held payment go, in a batch of its own; of a released payroll its money is reserved anew.
    pub async fn unhold(&self, actor: &Actor, number: i64, reason: &str) -> Outcome<()> {
        let reason = checked(reason)?;
        let now = self.clock.now();
        let mut numbers = self.store.draw(3, now).await?;
        let mut tx = self.store.begin().await?;
        let Locked { place, row, payroll } = locked(&mut tx, actor, number).await?;
        not_own(actor, &payroll)?;
        if place.state != State::Held {
            let state = effective(place.state, row.state);
            return refused(RefusedKind::Conflict, "not_held", format!("it is {state}, not held"));
        }
        self.may_follow(&mut tx, &payroll, number).await?;
        let fresh = self.rebatch(&mut tx, &row, &payroll, &place, &mut numbers).await?;
        if payroll.released_at.is_some() {
            let available = ledger::available(&mut tx, row.programme).await?;
            if available < place.amount_minor {
                let text = format!("{} minor units are needed and {available} are available", place.amount_minor);
                return refused(RefusedKind::Conflict, "funds_short", text);
            }
            let entry = Entry::of_batch(&fresh, (Account::Reserved, Account::Available), place.amount_minor, None);
            ledger::post(&mut tx, numbers.take()?, &entry, now).await?;
        } else {
            let (hash, _) = crate::engine::release::content(&mut tx, payroll.id).await?;
            payroll::set_content_hash(&mut tx, payroll.id, &hash).await?;
        }
        let (event, actor) = ("disbursement.let_go", actor.person.as_str());
        let fact = Fact { event, subject: number, actor, total: fresh.total, note: reason, ..Fact::default() };
        notes::journal(&mut tx, numbers.take()?, payroll.tenant, &fact, now).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Nothing newer is paid while what it follows is in question.
    async fn may_follow(&self, tx: &mut Tx, payroll: &PayrollRow, number: i64) -> Outcome<()> {
        let older = generation::older(tx, payroll.id, (number, number)).await?;
        let mut all: Vec<i64> = older.iter().map(|(_, one)| one.number).collect();
        all.push(number);
        generation::lock(tx, &all).await?;
        if !exception::with_open(tx, &all).await?.is_empty() {
            let text = "an exception about this entitlement is open; it must be decided first";
            return refused(RefusedKind::Conflict, "exception_open", text);
        }
        let older = generation::older(tx, payroll.id, (number, number)).await?;
        match older.iter().find(|(_, one)| !one.state.may_be_followed()) {
            Some((_, one)) => {
                let text = format!("{} of the same entitlement is {}", self.reference(one.number), one.state);
                refused(RefusedKind::Conflict, "entitlement_known", text)
            }
            None => Ok(()),
        }
    }

    async fn rebatch(
        &self,
        tx: &mut Tx,
        row: &BatchRow,
        payroll: &PayrollRow,
        place: &Place,
        numbers: &mut Numbers,
    ) -> Outcome<BatchRow> {
        let number = place.number;
        let mut members = disbursement::members(tx, row.id, (number, number)).await?;
        for member in &mut members {
            let planned = step(member.state, Move::Requeue).map_err(anyhow::Error::from)?;
            member.state = step(planned, Move::Release).map_err(anyhow::Error::from)?;
        }
        let total = Total { payments: 1, sum_minor: place.amount_minor };
        let due_at =
            payroll.released_at.map(|_| crate::engine::release::first_due(payroll.pay_on.as_deref(), self.clock.now()));
        let fresh = BatchRow {
            id: Id::new(numbers.take()?),
            state: BatchState::Sealed,
            total,
            open: total,
            numbers: (number, number),
            content_hash: content_hash(self.store.tag, &members),
            due_at,
            ask_first_at: None,
            made_at: 0,
            execute_on: None,
            wire_bytes: 0,
            ..row.clone()
        };
        batch::insert(tx, &fresh).await?;
        disbursement::set_batch(tx, row.id, fresh.id, &[number]).await?;
        disbursement::set_state(tx, fresh.id, &[number], State::Held, State::Queued).await?;
        Ok(fresh)
    }
}

async fn locked(tx: &mut Tx, actor: &Actor, number: i64) -> Outcome<Locked> {
    let unknown = || refused(RefusedKind::NotFound, "disbursement_unknown", "there is no such disbursement");
    let Some(shown) = disbursement::get(tx, &actor.scope, number).await? else { return unknown() };
    let payroll = owned(tx, actor, shown.payroll).await?;
    let row = batch::lock(tx, shown.batch).await?.context("the batch is gone")?;
    let place = generation::place(tx, number).await?.context("the disbursement is gone")?;
    if place.batch != row.id {
        // Only what was being sent moves to another batch.
        return too_late(State::Submitting);
    }
    Ok(Locked { place, row, payroll })
}

fn checked(reason: &str) -> Outcome<&str> {
    let reason = reason.trim();
    if reason.is_empty() || reason.chars().count() > REASON_CHARS_MAX {
        let text = format!("say why, in 1 to {REASON_CHARS_MAX} characters, without personal data");
        return refused(RefusedKind::Invalid, "reason_missing", text);
    }
    Ok(reason)
}
