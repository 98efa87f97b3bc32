//! After the database was put back from a backup, nothing is sent before its provider was asked about what it has.
//!
//! The time between the backup and now is lost to us and not to the providers: any batch that seems never to have
//! left may have, and any that is in doubt may have been sent again. Deliberately not here: how a database shows that
//! it went back (`store::restored`), and what an answer means for a payment that did leave (`domain::judge`).

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use async_trait::async_trait;
use paymaster_connectors::contract::{self, About, Failure, Inquiry, Message, Profile, Report, Said};

use super::apply::{Facts, Spoken};
use super::inquire::inquiry_bounds;
use super::pace::health;
use super::said::{Ear, Hold};
use super::{Engine, Outcome, RefusedKind, refused};
use crate::domain::batch::BatchState;
use crate::domain::id::{Batch, Id};
use crate::store::batch::{self, BatchRow};
use crate::store::db::Tx;
use crate::store::notes::{self, Fact};
use crate::store::payroll::Total;
use crate::store::{Numbers, disbursement, party, restored};

/// How often a batch is looked at whose provider cannot be asked: a person has to.
const UNASKED_AGAIN_MICROS: i64 = 3_600_000_000;
/// Copies that may have left in a lost time: nobody knows, and this many stand for several, so that a rejection is
/// not believed before none of them can arrive any more.
const LOST_COPIES: i64 = 2;

/// What a restore came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Restored {
    /// How often the database has been put back so far.
    pub restores: i64,
    /// Batches that are asked about before they are sent: provider, batches, payments, and whether it can be asked.
    pub to_ask: Vec<(String, i64, Total, bool)>,
    /// Batches that left before the backup and are in doubt now.
    pub in_doubt: u64,
}

impl Engine {
    /// The database was put back: whatever it does not know to have left is asked about first. With `before`, only if
    /// that many restores are known, so that of several processes that notice one of them does it.
    pub async fn restored(&self, person: &str, before: Option<i64>) -> Result<Option<Restored>> {
        let now = self.clock.now();
        let mut tx = self.store.begin().await?;
        let counted = restored::count(&mut tx, before, self.store.server.as_deref()).await?;
        let Some((restores, since)) = counted else { return Ok(None) };
        restored::ask_first(&mut tx, now, since).await?;
        restored::end_leases(&mut tx, now).await?;
        let mut in_doubt = 0;
        for provider in restored::providers(&mut tx).await? {
            let fence = self.profile_of(&provider).map_or(Profile::worst().fence, |profile| profile.fence);
            let fence_at = now.saturating_add(i64::try_from(fence.as_micros())?);
            in_doubt += restored::doubt_in_flight(&mut tx, &provider, now, fence_at).await?;
        }
        let waiting = restored::waiting(&mut tx).await?;
        let batches: i64 = waiting.iter().map(|(_, batches, _)| batches).sum();
        let note = format!("restore {restores}: {batches} batches are asked about first, {in_doubt} are in doubt");
        let tenants = restored::tenants(&mut tx).await?;
        let mut number = self.store.allot_in(&mut tx, i64::try_from(tenants.len())?, now).await?;
        for tenant in tenants {
            let subject = tenant.number();
            let fact = Fact { event: "installation.restored", subject, actor: person, note: &note, ..Fact::default() };
            notes::journal(&mut tx, number, tenant, &fact, now).await?;
            number += 1;
        }
        tx.commit().await?;
        // Only now is it no longer to be seen from outside that the database went back.
        self.store.allot(1, now).await?;
        let to_ask = waiting.into_iter().map(|(provider, batches, total)| {
            let asked = self.profile_of(&provider).is_some_and(|profile| profile.inquiry == Inquiry::Direct);
            (provider, batches, total, asked)
        });
        Ok(Some(Restored { restores, to_ask: to_ask.collect(), in_doubt }))
    }

    /// Does what a database needs that went back while it was closed, before anything else is done with it.
    pub async fn notice_restore(&self) -> Result<()> {
        let Some(back) = &self.store.went_back else { return Ok(()) };
        if let Some(done) = self.restored("engine", Some(back.restores)).await? {
            let batches: i64 = done.to_ask.iter().map(|(_, batches, ..)| batches).sum();
            tracing::error!(
                why = back.why,
                restores = done.restores,
                batches.asked_first = batches,
                batches.in_doubt = done.in_doubt,
                "the database was put back from a backup or lost its last commits; nothing is sent before the providers \
                 were asked. Run `paymaster restored` to read what a person must do"
            );
        }
        Ok(())
    }

    /// A person has asked a provider that cannot be asked by us, and it has none of the batches that wait.
    pub async fn asked_by_person(&self, person: &str, provider: &str, reason: &str) -> Outcome<(i64, Total)> {
        if self.provider(provider).is_err() {
            return refused(RefusedKind::NotFound, "provider_unknown", format!("there is no provider {provider}"));
        }
        if reason.trim().is_empty() {
            return refused(RefusedKind::Invalid, "reason_missing", "say how the provider was asked and what it said");
        }
        let now = self.clock.now();
        let mut tx = self.store.begin().await?;
        let (mut batches, mut all) = (0, Total::default());
        let asked = restored::asked(&mut tx, provider, now).await?;
        let count = i64::try_from(asked.len()).context("too many tenants")?;
        let mut number = self.store.allot_in(&mut tx, count, now).await?;
        for (tenant, of_tenant, total) in asked {
            let note = format!("{provider}: {of_tenant} batches; {reason}");
            let (event, subject) = ("installation.asked", tenant.number());
            let fact = Fact { event, subject, actor: person, total, note: &note, ..Fact::default() };
            notes::journal(&mut tx, number, tenant, &fact, now).await?;
            number += 1;
            batches += of_tenant;
            all = all.and(total).context("the sum is too large")?;
        }
        tx.commit().await?;
        Ok((batches, all))
    }

    fn profile_of(&self, provider: &str) -> Option<&Profile> {
        self.provider(provider).ok().map(|provider| provider.connector.profile())
    }

    /// Asks about a batch that may have left in a lost time. It is sent only once the provider has nothing of it.
    pub(super) async fn ask_first(&self, id: Id<Batch>) -> Result<()> {
        let asks = |row: &BatchRow| row.state == BatchState::Sealed && row.ask_first_at.is_some();
        let Some((row, outgoing, hold)) = self.begin_asking(id, asks).await? else { return Ok(()) };
        let connector = &self.provider(&row.provider)?.connector;
        if connector.profile().inquiry != Inquiry::Direct {
            return self.leave_to_person(id, &hold).await;
        }
        let facts = outgoing.instructions.as_slice();
        let mut tally = Tally { ear: Ear::new(self, id, facts, &hold), absent: BTreeSet::new(), all_absent: false };
        let asked = connector.inquire(&outgoing, &mut tally).await;
        if let Err(failure) = &asked {
            tracing::warn!(batch.id = %id, provider = row.provider, failure = %failure, "asking did not end well");
        }
        tally.ear.flush().await?;
        let each = facts.iter().all(|fact| tally.absent.contains(&fact.reference.number()));
        let has_nothing = asked.is_ok() && (tally.all_absent || each);
        self.asked_first(id, &hold, has_nothing, asked).await
    }

    /// Ends such a question.
    async fn asked_first(
        &self,
        id: Id<Batch>,
        hold: &Hold,
        has_nothing: bool,
        asked: Result<(), Failure>,
    ) -> Result<()> {
        let now = self.clock.now();
        let mut numbers = self.store.draw(1, now).await?;
        let mut tx = self.store.begin().await?;
        let mut row = batch::lock(&mut tx, id).await?.context("the batch is gone")?;
        if row.epoch != hold.epoch {
            return Ok(());
        }
        let profile = self.provider(&row.provider)?.connector.profile();
        self.ask_again(&mut row, &asked, now)?;
        // Whoever sent it in the lost time was gone at the restore. Once the longest journey of a copy and the quiet
        // time have passed since then, no copy of that time can still arrive: what the provider does not have now it
        // will not get but from us, and the references are as good as new.
        let quiet = i64::try_from(profile.fence.max(profile.absent_after).as_micros())?;
        let is_proof = |since: i64| now >= since.saturating_add(quiet);
        if row.state == BatchState::Sealed && has_nothing && row.ask_first_at.is_some_and(is_proof) {
            (row.ask_first_at, row.first_copy_at, row.attempts, row.due_at) = (None, 0, 0, Some(now));
            self.journal_of(&mut tx, &row, "batch.absent_after_restore", &mut numbers).await?;
        }
        batch::save(&mut tx, &row).await?;
        self.remember(&mut tx, &row.provider, hold.turn, health(&asked, inquiry_bounds(profile)?)).await?;
        tx.commit().await
    }

    /// A provider that cannot be asked: a person has to, and to tell us by `asked_by_person`.
    async fn leave_to_person(&self, id: Id<Batch>, hold: &Hold) -> Result<()> {
        let now = self.clock.now();
        let mut numbers = self.store.draw(1, now).await?;
        let mut tx = self.store.begin().await?;
        let mut row = batch::lock(&mut tx, id).await?.context("the batch is gone")?;
        if row.epoch != hold.epoch {
            return Ok(());
        }
        (row.lease_until, row.due_at) = (0, Some(now + UNASKED_AGAIN_MICROS));
        batch::save(&mut tx, &row).await?;
        let detail = "the batch may have left in a time the database lost; ask the provider";
        self.raise(&mut tx, &row, "restored_unasked", detail, &mut numbers).await?;
        tx.commit().await
    }

    /// Whether what is said shows that a batch left in a lost time. One whose money is not reserved is left to the
    /// question that follows its release.
    pub(super) fn shows_departure(&self, row: &BatchRow, facts: &Facts, spoken: &[Spoken]) -> bool {
        let is_ours = |about: About| match about {
            About::Batch => true,
            About::Instruction(reference) => {
                reference.tag() == self.store.tag && facts.iter().any(|fact| fact.reference == reference)
            }
        };
        let waits = row.state == BatchState::Sealed && row.ask_first_at.is_some() && row.due_at.is_some();
        let mut reports = spoken.iter().flat_map(|(_, reports)| reports);
        waits
            && reports.any(|report| {
                !matches!(report.outcome, contract::Outcome::Absent | contract::Outcome::NotSent(_))
                    && is_ours(report.about)
            })
    }

    /// A batch that left in a lost time is in doubt, as if its worker had vanished at the restore.
    pub(super) async fn find_departed(&self, tx: &mut Tx, row: &mut BatchRow, numbers: &mut Numbers) -> Result<()> {
        let now = self.clock.now();
        let restored_at = row.ask_first_at.take().unwrap_or(now);
        self.fence(row, restored_at, 0)?;
        row.state = BatchState::InDoubt;
        row.copies = LOST_COPIES;
        row.attempts = 0;
        row.due_at = Some(now);
        self.book_departure(tx, row, numbers, now).await?;
        // The bytes that left are lost with the rest; the same rows make the same ones again.
        let members = disbursement::members(tx, row.id, row.numbers).await?;
        let members = members.into_iter().filter(|member| member.state == crate::domain::disbursement::State::Queued);
        let whole = self.outgoing(tx, row, members.collect()).await?;
        if let Err(failure) = self.wire(tx, row, &whole, numbers).await? {
            tracing::error!(batch.id = %row.id, failure = %failure, "the batch cannot be written for this provider");
        }
        tracing::warn!(batch.id = %row.id, provider = row.provider, "the batch left in a time the database lost");
        self.journal_of(tx, row, "batch.found_after_restore", numbers).await
    }

    async fn journal_of(&self, tx: &mut Tx, row: &BatchRow, event: &str, numbers: &mut Numbers) -> Result<()> {
        let tenant = party::tenant_of(tx, row.programme).await?;
        let (subject, total) = (row.id.number(), row.open);
        let fact = Fact { event, subject, actor: "engine", total, ..Fact::default() };
        notes::journal(tx, numbers.take()?, tenant, &fact, self.clock.now()).await
    }
}

/// Listens as an ear does, and remembers what the provider does not have.
struct Tally<'a> {
    ear: Ear<'a>,
    absent: BTreeSet<i64>,
    all_absent: bool,
}

#[async_trait]
impl Said for Tally<'_> {
    async fn say(&mut self, message: Message, reports: Vec<Report>) -> Result<()> {
        for report in reports.iter().filter(|report| report.outcome == contract::Outcome::Absent) {
            match report.about {
                About::Batch => self.all_absent = true,
                About::Instruction(reference) => drop(self.absent.insert(reference.number())),
            }
        }
        self.ear.say(message, reports).await
    }
}
