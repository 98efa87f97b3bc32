//! The one function that applies what providers said: judge each report, step, then save set by set.
//!
//! Everything happens in one unit of work under the batch's lock: evidence, moves, ledger, journal, and the
//! messages to the registry that tell of new ends. Deliberately not here: asking, sending, and states' rules.

mod complete;
pub(super) mod suspense;
pub(super) mod tell;

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use paymaster_connectors::contract::{
    About, Instruction, Message, Money, Outcome, Reason, ReasonClass, Reference, Report,
};

use super::Engine;
use super::said::Hold;
use crate::domain::batch::{BatchState, effective};
use crate::domain::disbursement::{Move, State, step};
use crate::domain::id::{Batch, Id, Tenant};
use crate::domain::judge::{Attempt, Contradiction, Verdict, judge};
use crate::store::batch::{self, BatchRow};
use crate::store::db::Tx;
use crate::store::disbursement::{self, Departure, Ends, Standing};
use crate::store::evidence::{self, NewEvidence};
use crate::store::ledger::{self, Account, Entry};
use crate::store::notes::{self, Fact};
use crate::store::payroll::Total;
use crate::store::{Numbers, party};

/// Most ends one message to the registry tells of; the standard's limit.
const PUBLICATION_ITEMS_MAX: usize = 1_000;

/// What was instructed, ascending by reference: a report that says otherwise is a contradiction.
pub(super) type Facts = [Instruction];

/// A message with its reports.
pub(super) type Spoken = (Message, Vec<Report>);

/// What applying came to, for the worker that goes on with the batch.
#[derive(Debug, Default)]
pub(super) struct Applied {
    /// Numbers the provider does not have, and that may still arrive.
    pub absent: Vec<i64>,
    /// The provider has nothing of the batch, and it may still arrive.
    pub batch_absent: bool,
    /// Numbers that were provably never begun.
    pub not_sent: Vec<i64>,
}

/// Numbers of rows that move alike, and where each stands in the evidence.
type Alike = (Vec<i64>, Vec<i64>);

/// One row while a flush is applied.
struct Row {
    own: State,
    now: State,
    amount_minor: i64,
    end: Option<(i64, i64)>,
    /// What proves that it came back after its end.
    returned_by: Option<i64>,
    departure: Option<Departure>,
    /// Where its money came from, if that waits in suspense.
    suspended_from: Option<Account>,
    /// Contradicted here: its money goes to suspense if it is not there.
    contradicted: bool,
}

struct Work<'a> {
    engine: &'a Engine,
    batch: BatchRow,
    facts: &'a Facts,
    rows: BTreeMap<i64, Row>,
    now: i64,
    /// The instant that what was said is true of.
    asked_at: i64,
    applied: Applied,
    exceptions: Vec<(&'static str, i64, i64)>,
    /// Rows that may be followed, or are, and are said to be paid after all; each with the evidence.
    paid_after_all: Vec<(i64, i64)>,
    /// By what name of the provider's rows came back.
    return_references: BTreeMap<i64, String>,
    /// What a provider said that is short of our money.
    funding_short: Option<(String, i64)>,
}

impl Engine {
    /// Applies messages about one batch. `holding` is a worker's hold, which is renewed by it; what it was told is
    /// judged as of when it began to ask, for an answer does not tell of what arrived while it was on its way.
    pub(super) async fn apply(
        &self,
        id: Id<Batch>,
        facts: &Facts,
        spoken: &[Spoken],
        holding: Option<&Hold>,
    ) -> Result<Applied> {
        let now = self.clock.now();
        let reports: usize = spoken.iter().map(|(_, reports)| reports.len()).sum();
        let needed = spoken.len() * 4 + facts.len() / PUBLICATION_ITEMS_MAX + reports / PUBLICATION_ITEMS_MAX + 20;
        let mut numbers = self.store.draw(needed, now).await?;
        let mut tx = self.store.begin().await?;
        let mut row = batch::lock(&mut tx, id).await?.context("the batch is gone")?;
        if let Some(hold) = holding {
            anyhow::ensure!(row.epoch == hold.epoch, "another worker has taken the batch");
        }
        if self.shows_departure(&row, facts, spoken) {
            self.find_departed(&mut tx, &mut row, &mut numbers).await?;
        }
        let sending = row.state == BatchState::Transmitting;
        let evidence = self.keep(&mut tx, &row, spoken, &mut numbers, now).await?;
        let wanted = instruction_numbers(self, spoken);
        let standings = disbursement::standings(&mut tx, id, &wanted).await?;
        let return_references = suspense::return_references(&mut tx, spoken, &wanted).await?;
        let rows = standings.into_iter().map(|one| (one.number, Row::of(&one)));
        let mut work = Work {
            engine: self,
            batch: row,
            facts,
            rows: rows.collect(),
            now,
            asked_at: holding.map_or(now, |hold| hold.since),
            applied: Applied::default(),
            exceptions: vec![],
            paid_after_all: vec![],
            return_references,
            funding_short: None,
        };
        for ((message, reports), evidence) in spoken.iter().zip(&evidence) {
            for (position, report) in reports.iter().enumerate() {
                let at = (*evidence, i64::try_from(position)?);
                match report.about {
                    About::Instruction(reference) => work.instruction(reference, message, report, at)?,
                    About::Batch => work.whole_batch(&mut tx, message, report, at).await?,
                }
            }
        }
        if let Some(lease) = holding.map(|_| self.lease.lease_micros) {
            work.batch.lease_until = now + lease;
            if sending {
                // With the lease, the time in which copies may leave grows.
                self.fence(&mut work.batch, now, lease)?;
            }
        }
        let applied = work.save(&mut tx, &mut numbers).await?;
        tx.commit().await?;
        Ok(applied)
    }

    async fn keep(
        &self,
        tx: &mut Tx,
        row: &BatchRow,
        spoken: &[Spoken],
        numbers: &mut Numbers,
        now: i64,
    ) -> Result<Vec<i64>> {
        let mut all = Vec::with_capacity(spoken.len());
        for (message, _) in spoken {
            all.push(NewEvidence {
                id: Id::new(numbers.take()?),
                kind: "message",
                source: message.source.name(),
                origin: &message.origin,
                bytes: &message.bytes,
            });
        }
        evidence::insert(tx, &self.store.keys, (row.programme, row.id), &all, now).await?;
        Ok(all.iter().map(|one| one.id.number()).collect())
    }
}

fn instruction_numbers(engine: &Engine, spoken: &[Spoken]) -> Vec<i64> {
    let abouts = spoken.iter().flat_map(|(_, reports)| reports).map(|report| report.about);
    let mut numbers: Vec<i64> = abouts
        .filter_map(|about| match about {
            About::Instruction(reference) if reference.tag() == engine.store.tag => Some(reference.number()),
            _ => None,
        })
        .collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

impl Row {
    fn new(own: State, amount_minor: i64) -> Self {
        Self {
            own,
            now: own,
            amount_minor,
            end: None,
            returned_by: None,
            departure: None,
            suspended_from: None,
            contradicted: false,
        }
    }

    fn of(standing: &Standing) -> Self {
        Self { suspended_from: standing.suspended_from, ..Self::new(standing.state, standing.amount_minor) }
    }
}

impl Work<'_> {
    fn instruction(&mut self, about: Reference, message: &Message, report: &Report, at: (i64, i64)) -> Result<()> {
        // Another installation may use the same numbers with the same provider.
        let number = if about.tag() == self.engine.store.tag { about.number() } else { 0 };
        let fact = self.facts.binary_search_by_key(&number, |fact| fact.reference.number()).map(|at| &self.facts[at]);
        let (Some(row), Ok(fact)) = (self.rows.get_mut(&number), fact) else {
            self.exceptions.push(("foreign_reference", self.batch.id.number(), at.0));
            return Ok(());
        };
        let provider = self.engine.provider(&self.batch.provider)?;
        let attempt = attempt(&self.batch, effective(row.now, self.batch.state), fact.amount, &fact.payee_account);
        let verdict = judge(&attempt, report, message.source, provider.connector.profile(), self.asked_at);
        let asked = match verdict {
            Verdict::Move(asked) => asked,
            Verdict::Repeat => return self.look_for_second_return(number, report, at.0),
            Verdict::Inconclusive => {
                if report.outcome == Outcome::Absent {
                    self.applied.absent.push(number);
                    self.look_for_loss(attempt.state, number, at.0);
                }
                return Ok(());
            }
            Verdict::Contradiction(contradiction) => {
                self.freeze(contradiction);
                return self.contradicted(number, contradiction.code(), report, at.0);
            }
        };
        match asked {
            Move::Requeue => {
                self.applied.not_sent.push(number);
                return Ok(());
            }
            // It follows its batch, which is in doubt once the send has ended; a resend takes those that follow.
            Move::Lose => return Ok(()),
            _ => {}
        }
        row.now = step(effective(row.now, self.batch.state), asked)?;
        row.note(number, report, at);
        self.note_return(number, report);
        self.look_for_shortage(report, at.0);
        Ok(())
    }

    async fn whole_batch(&mut self, tx: &mut Tx, message: &Message, report: &Report, at: (i64, i64)) -> Result<()> {
        if self.batch.provider_reference.is_none() {
            self.batch.provider_reference.clone_from(&report.provider_reference);
        }
        let provider = self.engine.provider(&self.batch.provider)?;
        let followers = self.batch.state.of_followers();
        let sum = Money::new(self.batch.total.sum_minor, self.batch.currency);
        let verdict = judge(
            &attempt(&self.batch, followers, sum, ""),
            report,
            message.source,
            provider.connector.profile(),
            self.asked_at,
        );
        match verdict {
            Verdict::Move(Move::Requeue) | Verdict::Repeat => {}
            Verdict::Move(asked) => {
                let to = step(followers, asked)?;
                match BatchState::giving(to) {
                    Some(state) => self.batch.state = state,
                    None => {
                        self.look_for_shortage(report, at.0);
                        self.end_followers(tx, to, report, at.0).await?;
                    }
                }
            }
            Verdict::Inconclusive if report.outcome == Outcome::Absent => {
                self.applied.batch_absent = true;
                self.look_for_loss(followers, self.batch.id.number(), at.0);
            }
            Verdict::Inconclusive => {}
            Verdict::Contradiction(Contradiction::SettledAfterRejected) if self.batch.open.payments == 0 => {}
            Verdict::Contradiction(contradiction) => {
                self.exceptions.push((contradiction.code(), self.batch.id.number(), at.0));
                self.freeze(contradiction);
            }
        }
        Ok(())
    }

    /// Who names a payment that was never sent may have it after all: it does not go until somebody has looked.
    fn freeze(&mut self, contradiction: Contradiction) {
        if contradiction == Contradiction::NeverSent && self.batch.state == BatchState::Sealed {
            self.batch.due_at = None;
        }
    }

    /// What a provider had and does not have any more has no end by itself: a person is told.
    fn look_for_loss(&mut self, state: State, subject: i64, evidence: i64) {
        if state == State::Accepted && self.now >= self.batch.fence_at {
            self.exceptions.push(("accepted_then_absent", subject, evidence));
        }
    }

    /// Money that is missing on our side fails everybody after: the provider is paused until somebody has looked.
    fn look_for_shortage(&mut self, report: &Report, evidence: i64) {
        if let Outcome::Rejected(reason) = &report.outcome
            && reason.class == ReasonClass::Funding
        {
            self.funding_short = Some((reason.code.clone(), evidence));
        }
    }

    /// A report on the batch speaks for every row that still follows it.
    async fn end_followers(&mut self, tx: &mut Tx, to: State, report: &Report, evidence: i64) -> Result<()> {
        let members = disbursement::members(tx, self.batch.id, self.batch.numbers).await?;
        let followers = members.into_iter().filter(|member| member.state == State::Queued);
        for (position, member) in followers.enumerate() {
            let row = self.rows.entry(member.number).or_insert_with(|| Row::new(member.state, member.amount_minor));
            if row.now == State::Queued {
                row.now = to;
                row.note(member.number, report, (evidence, i64::try_from(position)?));
            }
        }
        Ok(())
    }

    async fn save(mut self, tx: &mut Tx, numbers: &mut Numbers) -> Result<Applied> {
        let tenant = party::tenant_of(tx, self.batch.programme).await?;
        self.save_rows(tx).await?;
        self.post(tx, tenant, numbers).await?;
        self.suspend(tx, numbers).await?;
        self.publish(tx, tenant, numbers).await?;
        if let Some((code, evidence)) = self.funding_short.take() {
            notes::pause(tx, &notes::provider_pause(&self.batch.provider), &code, self.now).await?;
            self.exceptions.push(("provider_blocked", self.batch.id.number(), evidence));
        }
        self.open_exceptions(tx, tenant).await?;
        if self.batch.open.payments == 0 {
            self.batch.state = BatchState::Completed;
            self.batch.due_at = None;
        }
        batch::save(tx, &self.batch).await?;
        if self.batch.state == BatchState::Completed {
            self.engine.complete_payroll(tx, self.batch.payroll, numbers).await?;
        }
        self.engine.freeze_newer(tx, tenant, &self.paid_after_all).await?;
        Ok(self.applied)
    }

    /// Rows that move alike are written together.
    async fn save_rows(&mut self, tx: &mut Tx) -> Result<()> {
        let mut alike: BTreeMap<(State, State, i64), Alike> = BTreeMap::new();
        let mut departures = Vec::new();
        for (number, row) in &mut self.rows {
            departures.extend(row.departure.take());
            if row.own != row.now {
                let (evidence, position) = row.end.unwrap_or_default();
                let group = alike.entry((row.own, row.now, evidence)).or_default();
                group.0.push(*number);
                group.1.push(position);
            }
        }
        for ((from, to, evidence), (moved, positions)) in &alike {
            if *evidence == 0 {
                disbursement::set_state(tx, self.batch.id, moved, *from, *to).await?;
            } else {
                let ends = Ends { numbers: moved, positions, from: *from, to: *to, evidence: Id::new(*evidence) };
                disbursement::end(tx, self.batch.id, &ends).await?;
            }
        }
        if !departures.is_empty() {
            let keys = &self.engine.store.keys;
            for departure in &mut departures {
                departure.sealed = keys.seal(&departure.sealed);
            }
            disbursement::insert_departures(tx, self.batch.payroll, &departures).await?;
        }
        Ok(())
    }

    /// Ledger and journal, one line for each kind of move, and the batch's counts.
    async fn post(&mut self, tx: &mut Tx, tenant: Id<Tenant>, numbers: &mut Numbers) -> Result<()> {
        let mut moved: BTreeMap<(bool, State, bool), (Total, i64)> = BTreeMap::new();
        for row in self.rows.values().filter(|row| row.own != row.now && row.now.is_final()) {
            let evidence = row.end.map_or(0, |(evidence, _)| evidence);
            let alike = (row.own == State::Settled, row.now, row.suspended_from.is_some());
            let entry = moved.entry(alike).or_insert((Total::default(), evidence));
            entry.0 = entry.0.with(row.amount_minor).context("the sum is too large")?;
        }
        for ((was_settled, to, is_suspended), (total, evidence)) in moved {
            self.count(was_settled, to, total)?;
            let event = match to {
                State::Settled => "batch.settled",
                State::Returned => "batch.returned",
                _ => "batch.rejected",
            };
            // Money in suspense stays there, whatever is reported, until two persons decide.
            if !is_suspended {
                let credit = if was_settled { Account::Paid } else { Account::InTransit };
                let entry = Entry::of_batch(&self.batch, (Account::of(to), credit), total.sum_minor, Some(evidence));
                ledger::post(tx, numbers.take()?, &entry, self.now).await?;
            }
            let subject = self.batch.id.number();
            let fact = Fact { event, subject, actor: "engine", total, evidence: Some(evidence), ..Fact::default() };
            notes::journal(tx, numbers.take()?, tenant, &fact, self.now).await?;
        }
        Ok(())
    }

    fn count(&mut self, was_settled: bool, to: State, total: Total) -> Result<()> {
        let from = if was_settled { &mut self.batch.settled } else { &mut self.batch.open };
        from.payments -= total.payments;
        from.sum_minor -= total.sum_minor;
        let into = match to {
            State::Settled => &mut self.batch.settled,
            State::Returned => &mut self.batch.returned,
            _ => &mut self.batch.rejected,
        };
        *into = into.and(total).context("the sum is too large")?;
        self.batch.attempts = 0;
        Ok(())
    }
}

impl Row {
    /// Remembers what proves an end, and what departs from the batch alone.
    fn note(&mut self, number: i64, report: &Report, at: (i64, i64)) {
        let returned_later = self.now == State::Returned && (self.own == State::Settled || self.end.is_some());
        if self.now.is_final() && !returned_later {
            self.end = Some(at);
        }
        if returned_later {
            self.returned_by = Some(at.0);
        }
        let reason = match &report.outcome {
            Outcome::Rejected(reason) | Outcome::Returned(reason) => Some(reason.clone()),
            Outcome::Absent => Some(Reason::new(
                ReasonClass::NeverArrived,
                "never_arrived",
                "the provider does not have it, and no copy can arrive any more",
            )),
            _ => None,
        };
        // What a provider calls a settled payment is in the evidence; only open or unusual rows keep it here.
        let named = if self.now == State::Accepted { report.provider_reference.clone() } else { None };
        if reason.is_none() && named.is_none() {
            return;
        }
        let text = reason.as_ref().map(|reason| reason.text.clone()).unwrap_or_default();
        self.departure = Some(Departure {
            number,
            reason: reason.map(|reason| (reason.class.name(), reason.code)),
            provider_reference: named,
            return_evidence: returned_later.then_some(at.0),
            return_reference: report.provider_reference.clone().filter(|_| self.now == State::Returned),
            sealed: text.into_bytes(),
        });
    }
}

fn attempt<'a>(batch: &BatchRow, state: State, amount: Money, payee_account: &'a str) -> Attempt<'a> {
    Attempt {
        state,
        copies: u32::try_from(batch.copies).unwrap_or(u32::MAX),
        last_copy_at: batch.last_copy_at,
        fence_at: batch.fence_at,
        amount,
        payee_account,
    }
}
