//! Sends a batch: the durable intent first, then one attempt, then what came of it.
//!
//! A crash between the intent and the end of it is a doubt, never a batch to send again.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Result;
use chrono::{DateTime, NaiveDate};
use paymaster_connectors::contract::{
    self, Failure, Instruction, Message, Outcome, Reason, ReasonClass, Report, Source,
};

use super::Engine;
use super::pace::health;
use super::said::{Ear, EngineGate, Hold};
use crate::domain::batch::{BatchState, may_resend, wait};
use crate::domain::disbursement::State;
use crate::domain::guard::Guard;
use crate::domain::id::{Batch, Id};
use crate::domain::pace::Health;
use crate::engine::intake::Payee;
use crate::store::batch::{self, BatchRow};
use crate::store::db::Tx;
use crate::store::disbursement::{self, Member};
use crate::store::evidence::{self, NewEvidence};
use crate::store::ledger::{self, Account, Entry};
use crate::store::notes::{self, ExceptionRow, Fact};
use crate::store::{Numbers, party};

/// Pause before the first repeat of a send that provably did not go out, and the longest.
const RESUBMIT_MICROS: (i64, i64) = (1_000_000, 300_000_000);

/// A batch that may be sent now, by this worker.
struct Claimed {
    row: BatchRow,
    batch: contract::Batch,
    wire: Vec<u8>,
    hold: Hold,
}

/// What a send did not begin to write.
enum Unsent {
    /// Nothing of the batch: a failure says so, and no report does. Not believed once any row was spoken of.
    All,
    /// These rows.
    Rows(Vec<i64>),
}

impl Unsent {
    fn names(&self, number: i64) -> bool {
        match self {
            Self::All => true,
            Self::Rows(numbers) => numbers.contains(&number),
        }
    }
}

impl Engine {
    /// Sends a sealed batch for the first time. Nothing due is success.
    pub(super) async fn submit_batch(&self, id: Id<Batch>) -> Result<()> {
        match self.claim(id, None).await? {
            Some(claimed) => self.send(claimed).await,
            None => Ok(()),
        }
    }

    /// Sends the same bytes again under the same references, only what the provider says it does not have.
    pub(super) async fn resend_batch(&self, id: Id<Batch>, only: &[i64]) -> Result<()> {
        match self.claim(id, Some(only)).await? {
            Some(claimed) => self.send(claimed).await,
            None => Ok(()),
        }
    }

    /// The durable intent: state, copy, fence, lease, ledger and the exact bytes, in one unit of work.
    async fn claim(&self, id: Id<Batch>, again: Option<&[i64]>) -> Result<Option<Claimed>> {
        let began = self.clock.moment();
        let now = began.date;
        let mut numbers = self.store.draw(4, now).await?;
        let mut tx = self.store.begin().await?;
        let Some(mut row) = batch::lock(&mut tx, id).await? else { return Ok(None) };
        let profile = self.provider(&row.provider)?.connector.profile();
        let legal = match again {
            None => {
                let is_due = row.due_at.is_some_and(|due_at| due_at <= now);
                row.state == BatchState::Sealed && row.ask_first_at.is_none() && is_due
            }
            Some(_) => row.state == BatchState::InDoubt && may_resend(profile, row.first_copy_at, now),
        };
        let stopped = notes::is_stopped(&mut tx, row.payroll, &row.provider, row.programme).await?;
        if !legal || stopped || row.lease_until > now {
            return Ok(None);
        }
        if again.is_none() && !self.settle_day(&mut tx, &mut row, &mut numbers, now).await? {
            tx.commit().await?;
            return Ok(None);
        }
        let members = disbursement::members(&mut tx, id, row.numbers).await?;
        if content_hash(self.store.tag, &members) != row.content_hash {
            self.block(&mut tx, &mut row, "content_changed", &mut numbers).await?;
            tx.commit().await?;
            return Ok(None);
        }
        let mut open = members;
        open.retain(|member| member.state == State::Queued && again.is_none_or(|only| only.contains(&member.number)));
        if open.is_empty() {
            return Ok(None);
        }
        let mut batch = self.outgoing(&mut tx, &row, open).await?;
        if again.is_some() && !Guard::ResendKeepsReference.stands() {
            row.wire = None;
            batch.instructions.iter_mut().for_each(|one| one.reference = renamed(one.reference));
        }
        let wire = match self.wire(&mut tx, &mut row, &batch, &mut numbers).await? {
            Ok(wire) => wire,
            Err(failure) => {
                tracing::error!(batch.id = %id, failure = %failure, "the batch cannot be written for this provider");
                self.block(&mut tx, &mut row, "cannot_be_written", &mut numbers).await?;
                tx.commit().await?;
                return Ok(None);
            }
        };
        self.intend(&mut tx, &mut row, &mut numbers, now).await?;
        let Some(turn) = self.take_lane(&mut tx, &row, now).await? else {
            drop(tx);
            self.wait_for_lane(id).await?;
            return Ok(None);
        };
        if Guard::IntentFirst.stands() {
            tx.commit().await?;
        }
        let hold = Hold::new(row.epoch, turn, began, self.lease.lease_micros);
        Ok(Some(Claimed { row, batch, wire, hold }))
    }

    /// The intent but for the batch itself, which is saved with its lane.
    async fn intend(&self, tx: &mut Tx, row: &mut BatchRow, numbers: &mut Numbers, now: i64) -> Result<()> {
        let first = row.copies == 0;
        row.state = BatchState::Transmitting;
        row.epoch += 1;
        row.copies += 1;
        row.first_copy_at = if first { now } else { row.first_copy_at };
        self.fence(row, now, self.lease.lease_micros)?;
        row.lease_until = now + self.lease.lease_micros;
        row.due_at = Some(row.lease_until);
        if first {
            self.book_departure(tx, row, numbers, now).await?;
        }
        let tenant = party::tenant_of(tx, row.programme).await?;
        let event = if first { "batch.claimed" } else { "batch.claimed_again" };
        let list_hash = Some(row.content_hash.as_slice());
        let fact = Fact {
            event,
            subject: row.id.number(),
            actor: "engine",
            total: row.open,
            list_hash,
            evidence: row.wire,
            ..Fact::default()
        };
        notes::journal(tx, numbers.take()?, tenant, &fact, now).await
    }

    /// What a batch holds is on its way from its first intent on.
    pub(super) async fn book_departure(
        &self,
        tx: &mut Tx,
        row: &BatchRow,
        numbers: &mut Numbers,
        now: i64,
    ) -> Result<()> {
        let entry = Entry::of_batch(row, (Account::InTransit, Account::Reserved), row.open.sum_minor, row.wire);
        ledger::post(tx, numbers.take()?, &entry, now).await
    }

    /// No copy can arrive later than the provider's fence after the last write that may yet begin: that is up to
    /// `writes_for` from now.
    pub(super) fn fence(&self, row: &mut BatchRow, now: i64, writes_for: i64) -> Result<()> {
        let fence = i64::try_from(self.provider(&row.provider)?.connector.profile().fence.as_micros())?;
        row.last_copy_at = now;
        row.fence_at = now.saturating_add(writes_for).saturating_add(fence);
        Ok(())
    }

    /// The bytes to send: made and stored once, and the stored ones ever after.
    pub(super) async fn wire(
        &self,
        tx: &mut Tx,
        row: &mut BatchRow,
        batch: &contract::Batch,
        numbers: &mut Numbers,
    ) -> Result<Result<Vec<u8>, Failure>> {
        if let Some(wire) = row.wire {
            return Ok(Ok(evidence::bytes(tx, &self.store.keys, wire).await?));
        }
        let bytes = match self.provider(&row.provider)?.connector.encode(batch) {
            Ok(bytes) => bytes,
            Err(failure) => return Ok(Err(failure)),
        };
        let id = Id::new(numbers.take()?);
        let stored = NewEvidence { id, kind: "wire", source: "engine", origin: "encode", bytes: &bytes };
        evidence::insert(tx, &self.store.keys, (row.programme, row.id), &[stored], self.clock.now()).await?;
        row.wire = Some(id.number());
        row.wire_bytes = i64::try_from(bytes.len())?;
        Ok(Ok(bytes))
    }

    pub(super) async fn outgoing(&self, tx: &mut Tx, row: &BatchRow, members: Vec<Member>) -> Result<contract::Batch> {
        let mut instructions = Vec::with_capacity(members.len());
        for member in members {
            let payee = Payee::open(&self.store.keys, &member.sealed)?;
            instructions.push(Instruction {
                reference: self.reference(member.number),
                amount: contract::Money::new(member.amount_minor, row.currency),
                payee_name: payee.payee_name,
                payee_account: payee.payee_account,
                purpose: payee.purpose,
                provider_reference: member.provider_reference,
            });
        }
        let title = party::programme_by_id(tx, row.programme).await?.name;
        Ok(contract::Batch {
            reference: self.reference(row.id.number()),
            title,
            currency: row.currency,
            made_at: DateTime::from_timestamp_micros(row.made_at).unwrap_or_default(),
            execute_on: day_of(row, self.clock.now()),
            wire_bytes: u64::try_from(row.wire_bytes)?,
            provider_reference: row.provider_reference.clone(),
            instructions,
        })
    }

    async fn send(&self, claimed: Claimed) -> Result<()> {
        let Claimed { row, batch, wire, hold } = claimed;
        let facts = batch.instructions.as_slice();
        let provider = self.provider(&row.provider)?;
        let gate = EngineGate {
            engine: self,
            hold: &hold,
            batch: row.id,
            payroll: row.payroll,
            programme: row.programme,
            provider: &row.provider,
            rate: provider.connector.profile().rate_per_second,
            asked_at: tokio::sync::Mutex::new(None),
            refused: AtomicBool::new(false),
        };
        let mut ear = Ear::new(self, row.id, facts, &hold);
        let sent = provider.connector.submit(&batch, &wire, &gate, &mut ear).await;
        if let Err(failure) = &sent {
            tracing::warn!(batch.id = %row.id, provider = row.provider, failure = %failure, "sending did not end well");
        }
        ear.flush().await?;
        let refused_by_us = gate.refused.load(Ordering::SeqCst);
        let health = if refused_by_us { Health::Untold } else { health(&sent, RESUBMIT_MICROS) };
        // An error speaks for the rows if no row was spoken of.
        let refused = refused(&sent).filter(|_| !ear.spoke_of_rows);
        match (refused, sent) {
            (Some(reason), _) => {
                let message = ear.last.take().unwrap_or_else(|| Message {
                    source: Source::Reply,
                    origin: String::from("refused before sending"),
                    bytes: reason.to_string().into(),
                });
                let report = Report::batch(Outcome::Rejected(reason));
                self.apply(row.id, facts, &[(message, vec![report])], Some(&hold)).await?;
                self.sent(row.id, (&hold, health), None, Unsent::Rows(Vec::new())).await
            }
            (None, Err(failure @ (Failure::Unavailable { .. } | Failure::Blocked(_)))) => {
                let unsent = if ear.spoke_of_rows { Unsent::Rows(ear.applied.not_sent) } else { Unsent::All };
                self.sent(row.id, (&hold, health), Some(failure), unsent).await
            }
            _ => self.sent(row.id, (&hold, health), None, Unsent::Rows(ear.applied.not_sent)).await,
        }
    }

    /// The end of a send: what was provably never begun waits again, what was not spoken of is in doubt.
    async fn sent(
        &self,
        id: Id<Batch>,
        (hold, health): (&Hold, Health),
        failure: Option<Failure>,
        unsent: Unsent,
    ) -> Result<()> {
        let now = self.clock.now();
        let mut numbers = self.store.draw(6, now).await?;
        let mut tx = self.store.begin().await?;
        let Some(mut row) = hold.batch(&mut tx, id).await? else { return Ok(()) };
        row.lease_until = 0;
        // Copies left until now, however long ago the first of them did.
        self.fence(&mut row, now, 0)?;
        if row.state == BatchState::Transmitting && row.copies == 1 {
            self.requeue(&mut tx, &mut row, &unsent, failure.as_ref(), &mut numbers).await?;
        }
        if row.state == BatchState::Transmitting {
            row.state = BatchState::InDoubt;
        }
        if matches!(row.state, BatchState::InDoubt | BatchState::Accepted) {
            row.attempts = 0;
            let every = self.provider(&row.provider)?.connector.profile().inquire_every;
            row.due_at = Some(now + i64::try_from(every.as_micros())?);
        }
        batch::save(&mut tx, &row).await?;
        if let Some(Failure::Blocked(reason)) = &failure {
            self.pause_for(&mut tx, &row, reason, &mut numbers).await?;
        }
        self.remember(&mut tx, &row.provider, hold.turn, health).await?;
        tx.commit().await
    }

    /// Rows that were never begun: the whole batch goes back, or they leave it for a batch of their own.
    async fn requeue(
        &self,
        tx: &mut Tx,
        row: &mut BatchRow,
        unsent: &Unsent,
        failure: Option<&Failure>,
        numbers: &mut Numbers,
    ) -> Result<()> {
        let now = self.clock.now();
        let wait = wait(failure.and_then(Failure::retry_after_seconds), RESUBMIT_MICROS, row.attempts);
        let mut members = disbursement::members(tx, row.id, row.numbers).await?;
        members.retain(is_sent);
        // Whoever was spoken of by another door meanwhile stays where that put them.
        let (left, gone): (Vec<Member>, Vec<Member>) =
            members.into_iter().partition(|member| member.state == State::Queued && unsent.names(member.number));
        if left.is_empty() || (matches!(unsent, Unsent::All) && !gone.is_empty()) {
            return Ok(());
        }
        let sum = left.iter().map(|member| member.amount_minor).sum();
        let entry = Entry::of_batch(row, (Account::Reserved, Account::InTransit), sum, row.wire);
        ledger::post(tx, numbers.take()?, &entry, now).await?;
        if gone.is_empty() {
            row.state = BatchState::Sealed;
            row.copies = 0;
            row.attempts += 1;
            row.due_at = Some(now + wait);
            return Ok(());
        }
        let total = crate::store::payroll::Total { payments: i64::try_from(left.len())?, sum_minor: sum };
        let moved: Vec<i64> = left.iter().map(|member| member.number).collect();
        let fresh = BatchRow {
            id: Id::new(numbers.take()?),
            state: BatchState::Sealed,
            total,
            open: total,
            content_hash: content_hash(self.store.tag, &left),
            due_at: Some(now + wait),
            ..row.clone()
        };
        batch::insert(tx, &fresh).await?;
        disbursement::set_batch(tx, row.id, fresh.id, &moved).await?;
        row.total.payments -= total.payments;
        row.total.sum_minor -= total.sum_minor;
        row.open.payments -= total.payments;
        row.open.sum_minor -= total.sum_minor;
        row.content_hash = content_hash(self.store.tag, &gone);
        if row.open.payments == 0 {
            row.state = BatchState::Completed;
            row.due_at = None;
        }
        Ok(())
    }

    async fn pause_for(&self, tx: &mut Tx, row: &BatchRow, reason: &Reason, numbers: &mut Numbers) -> Result<()> {
        let now = self.clock.now();
        notes::pause(tx, &notes::provider_pause(&row.provider), &reason.to_string(), now).await?;
        self.raise(tx, row, "provider_blocked", &reason.code, numbers).await
    }

    /// A batch that must not be sent as it is: it stays, and a person is told. One that left before is asked about
    /// as ever.
    pub(super) async fn block(&self, tx: &mut Tx, row: &mut BatchRow, code: &str, numbers: &mut Numbers) -> Result<()> {
        row.due_at = row.due_at.filter(|_| row.state != BatchState::Sealed);
        batch::save(tx, row).await?;
        self.raise(tx, row, code, "the batch waits until a person has looked at it", numbers).await
    }

    pub(super) async fn raise(
        &self,
        tx: &mut Tx,
        row: &BatchRow,
        code: &str,
        detail: &str,
        numbers: &mut Numbers,
    ) -> Result<()> {
        tracing::error!(batch.id = %row.id, provider = row.provider, exception.code = code, "exception opened");
        let exception = ExceptionRow {
            id: Id::new(numbers.take()?),
            programme: row.programme,
            code: code.to_owned(),
            subject: row.id.number(),
            provider: row.provider.clone(),
            evidence: 0,
            detail: detail.to_owned(),
            opened_at: self.clock.now(),
            handling: notes::Handling::default(),
        };
        let tenant = party::tenant_of(tx, row.programme).await?;
        notes::open_exception(tx, tenant, &exception).await.map(|_| ())
    }
}

/// The day on which the provider is asked to pay: the stored one, and today before that is settled.
fn day_of(row: &BatchRow, now: i64) -> NaiveDate {
    let stored = row.execute_on.as_deref().and_then(|day| day.parse().ok());
    stored.unwrap_or_else(|| DateTime::from_timestamp_micros(now).unwrap_or_default().date_naive())
}

/// What a payer would do that names every copy anew; see [`Guard::ResendKeepsReference`].
fn renamed(reference: contract::Reference) -> contract::Reference {
    contract::Reference::new(reference.number(), reference.tag() ^ 1)
}

/// Why nothing of a whole send was executed, if its failure proves that.
fn refused(sent: &Result<(), Failure>) -> Option<Reason> {
    match sent {
        Err(Failure::Refused(reason)) => Some(reason.clone()).filter(conclusive),
        Err(Failure::InDoubt(reason)) if !Guard::TimeoutIsDoubt.stands() => {
            Some(Reason::new(ReasonClass::NotExecuted, &reason.code, &reason.text))
        }
        _ => None,
    }
}

/// A refusal that says nothing was executed; one that does not is a doubt.
fn conclusive(reason: &Reason) -> bool {
    !matches!(reason.class, ReasonClass::Unknown | ReasonClass::Duplicate)
}

/// Rows that were held or withdrawn before anything left are not what the batch sends.
fn is_sent(member: &Member) -> bool {
    !matches!(member.state, State::Planned | State::Held | State::Cancelled)
}

/// The hash of a batch's rows in order; what was approved, row by row.
pub(super) fn content_hash(tag: u16, members: &[Member]) -> Vec<u8> {
    let mut hasher = ContentHasher::new(tag);
    for member in members.iter().filter(|member| is_sent(member)) {
        hasher.add(member.number, member.amount_minor, &member.identity, &member.sealed);
    }
    hasher.finish()
}

/// Hashes a batch's rows as they come.
pub(super) struct ContentHasher(ring::digest::Context);

impl ContentHasher {
    pub fn new(tag: u16) -> Self {
        let mut context = ring::digest::Context::new(&ring::digest::SHA256);
        context.update(&tag.to_be_bytes());
        Self(context)
    }

    pub fn add(&mut self, number: i64, amount_minor: i64, identity: &[u8; 16], sealed: &[u8]) {
        self.0.update(&number.to_be_bytes());
        self.0.update(&amount_minor.to_be_bytes());
        self.0.update(identity);
        self.0.update(&(sealed.len() as u64).to_be_bytes());
        self.0.update(sealed);
    }

    pub fn finish(self) -> Vec<u8> {
        self.0.finish().as_ref().to_vec()
    }
}
