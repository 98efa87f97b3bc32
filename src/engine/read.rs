//! What people read: how far a payroll is, its disbursements, the timeline of one, the reject file.

use std::collections::BTreeMap;

use anyhow::Result;
use paymaster_connectors::contract::Money;

use super::intake::Payee;
use super::{Engine, Error, Outcome, RefusedKind, no_payroll, refused};
use crate::domain::batch::{BatchState, effective};
use crate::domain::columns::{reject_header, write_reject};
use crate::domain::disbursement::State;
use crate::domain::id::{Batch, Evidence, Id, Payroll, Publication};
use crate::store::batch::{self, BatchRow};
use crate::store::disbursement::{self, Shown, Wanted};
use crate::store::evidence::{self, EvidenceRow};
use crate::store::gauges::{self, Gauges};
use crate::store::notes::{self, ExceptionRow};
use crate::store::party::ProgrammeRow;
use crate::store::payroll::{self, PayrollRow, Total};
use crate::store::publication::{self, PublicationRow};
use crate::store::queue::{self, Filter, Line};
use crate::store::{Scope, ledger, party};

/// Rows of a page of the reject file.
const REJECTS_PAGE: i64 = 2_000;
/// Most entries of a timeline.
const TIMELINE_MAX: i64 = 500;

/// How far a payroll is.
#[derive(Debug, Clone)]
pub struct PayrollStatus {
    /// The payroll.
    pub payroll: PayrollRow,
    /// Code of its programme.
    pub programme: String,
    /// Code of its cycle.
    pub cycle: String,
    /// Taken in and stopped by a hold.
    pub held: Total,
    /// Per provider.
    pub providers: Vec<ProviderStatus>,
    /// Refused rows by code.
    pub refused_by_code: Vec<(String, Total)>,
    /// Rejections by provider, class and code.
    pub rejected_by_code: Vec<(String, String, String, Total)>,
    /// Messages to the registry: state, messages, items.
    pub publications: Vec<(String, i64, i64)>,
}

/// How far a payroll is with one provider.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProviderStatus {
    /// The provider.
    pub provider: String,
    /// How many batches.
    pub batches: i64,
    /// Everything for it.
    pub total: Total,
    /// In no worker's hands yet.
    pub waiting: Total,
    /// Sent, no end yet, the provider has it or is about to.
    pub in_flight: Total,
    /// Nobody knows; being asked about.
    pub in_doubt: Total,
    /// Arrived.
    pub settled: Total,
    /// Proven not paid.
    pub rejected: Total,
    /// Came back.
    pub returned: Total,
}

/// One disbursement with everything that is known of it.
#[derive(Debug, Clone)]
pub struct Timeline {
    /// The row.
    pub shown: Shown,
    /// Its state as it counts.
    pub state: State,
    /// Who is paid.
    pub payee_name: String,
    /// To which account.
    pub payee_account: String,
    /// The programme's key of what is owed.
    pub entitlement: String,
    /// Which part of it.
    pub instalment: String,
    /// The programme's key of who is owed.
    pub beneficiary: String,
    /// The sum.
    pub amount: Money,
    /// The reason's text.
    pub reason_text: Option<String>,
    /// What happened, oldest first.
    pub entries: Vec<TimelineEntry>,
}

/// One thing that happened to a disbursement, its batch or its payroll.
#[derive(Debug, Clone)]
pub struct TimelineEntry {
    /// When.
    pub at: i64,
    /// What.
    pub event: String,
    /// Who, or by which door.
    pub by: String,
    /// The evidence of it.
    pub evidence: Option<Id<Evidence>>,
    /// Anything else.
    pub note: String,
}

impl Engine {
    /// Payrolls of a tenant, newest first, below a number.
    pub async fn payrolls(&self, scope: &Scope, below: i64, limit: i64) -> Result<Vec<PayrollRow>> {
        let mut tx = self.store.read().await?;
        payroll::list(&mut tx, scope, below, limit).await
    }

    /// The state of a payroll.
    pub async fn payroll_state(&self, scope: &Scope, id: Id<Payroll>) -> Outcome<crate::domain::payroll::PayrollState> {
        let mut tx = self.store.read().await?;
        match payroll::get(&mut tx, scope, id).await? {
            Some(row) => Ok(row.state),
            None => no_payroll(id),
        }
    }

    /// How far a payroll is.
    pub async fn payroll_status(&self, scope: &Scope, id: Id<Payroll>) -> Outcome<PayrollStatus> {
        let mut tx = self.store.read().await?;
        let Some(row) = payroll::get(&mut tx, scope, id).await? else { return no_payroll(id) };
        let mut providers: BTreeMap<String, ProviderStatus> = BTreeMap::new();
        for stage in batch::stages(&mut tx, id).await? {
            let status = providers.entry(stage.provider.clone()).or_default();
            status.provider.clone_from(&stage.provider);
            status.batches += stage.batches;
            let [total, open, settled, rejected, returned] = stage.totals;
            let open_as = match stage.state {
                BatchState::Sealed => &mut status.waiting,
                BatchState::InDoubt => &mut status.in_doubt,
                _ => &mut status.in_flight,
            };
            *open_as = plus(*open_as, open);
            status.total = plus(status.total, total);
            status.settled = plus(status.settled, settled);
            status.rejected = plus(status.rejected, rejected);
            status.returned = plus(status.returned, returned);
        }
        let providers: Vec<ProviderStatus> = providers.into_values().collect();
        let batched = providers.iter().fold(Total::default(), |all, one| plus(all, one.total));
        let held = Total {
            payments: row.accepted.payments - row.cancelled.payments - batched.payments,
            sum_minor: row.accepted.sum_minor - row.cancelled.sum_minor - batched.sum_minor,
        };
        let held =
            if row.state.name() == "receiving" || row.state.name() == "refused" { Total::default() } else { held };
        Ok(PayrollStatus {
            programme: party::programme_by_id(&mut tx, row.programme).await?.code,
            cycle: party::cycle_code(&mut tx, row.cycle).await?,
            held,
            providers,
            refused_by_code: payroll::rejects_by_code(&mut tx, id).await?,
            rejected_by_code: disbursement::rejections(&mut tx, id).await?,
            publications: publication::counts(&mut tx, id).await?,
            payroll: row,
        })
    }

    /// A page of a payroll's disbursements above a number; `states` filters by the state that counts, empty for all.
    pub async fn disbursements(
        &self,
        scope: &Scope,
        id: Id<Payroll>,
        states: &[State],
        page: (i64, i64),
    ) -> Outcome<Vec<Timeline>> {
        let mut tx = self.store.read().await?;
        let Some(row) = payroll::get(&mut tx, scope, id).await? else { return no_payroll(id) };
        let above = page.0.max(row.numbers.0 - 1);
        let shown = disbursement::page(&mut tx, (id, row.numbers.1), &wanted(states), above, page.1).await?;
        shown.into_iter().map(|shown| self.timeline_of(shown).map_err(Error::Failed)).collect()
    }

    /// One disbursement with its timeline, by its number.
    pub async fn disbursement(&self, scope: &Scope, number: i64) -> Outcome<Timeline> {
        let mut tx = self.store.read().await?;
        let Some(shown) = disbursement::get(&mut tx, scope, number).await? else {
            return refused(RefusedKind::NotFound, "disbursement_unknown", "there is no such disbursement");
        };
        let mut entries = Vec::new();
        for subject in [shown.payroll.number(), shown.batch.number(), shown.number] {
            for fact in notes::facts(&mut tx, scope, subject, TIMELINE_MAX).await? {
                let evidence = fact.evidence.map(Id::new);
                entries.push(TimelineEntry {
                    at: fact.at,
                    event: fact.event,
                    by: fact.actor,
                    evidence,
                    note: fact.note,
                });
            }
        }
        for row in evidence::of_batch(&mut tx, shown.batch, TIMELINE_MAX).await? {
            entries.push(TimelineEntry {
                at: row.at,
                event: format!("evidence.{}", row.kind),
                by: row.source,
                evidence: Some(row.id),
                note: row.origin,
            });
        }
        entries.sort_by_key(|entry| entry.at);
        let mut timeline = self.timeline_of(shown)?;
        timeline.entries = entries;
        Ok(timeline)
    }

    fn timeline_of(&self, shown: Shown) -> Result<Timeline> {
        let payee = Payee::open(&self.store.keys, &shown.sealed)?;
        let batch = BatchState::parse(&shown.batch_state).unwrap_or(BatchState::InDoubt);
        let currency = paymaster_connectors::contract::Currency::parse(&shown.currency);
        let currency = currency.ok_or_else(|| anyhow::anyhow!("a stored currency is unknown"))?;
        let reason_text = match &shown.reason_sealed {
            Some(sealed) => Some(String::from_utf8_lossy(&self.store.keys.open(sealed)?).into_owned())
                .filter(|text| !text.is_empty()),
            None => None,
        };
        Ok(Timeline {
            state: effective(shown.state, batch),
            payee_name: payee.payee_name,
            payee_account: payee.payee_account,
            entitlement: payee.entitlement,
            instalment: payee.instalment,
            beneficiary: payee.beneficiary,
            amount: Money::new(shown.amount_minor, currency),
            reason_text,
            entries: Vec::new(),
            shown,
        })
    }

    /// A page of a payroll's reject file after a line, with its header on the first page, and the last line in it.
    pub async fn reject_page(&self, scope: &Scope, id: Id<Payroll>, above: i64) -> Outcome<(Vec<u8>, Option<i64>)> {
        let mut tx = self.store.read().await?;
        if payroll::get(&mut tx, scope, id).await?.is_none() {
            return no_payroll(id);
        }
        let rejects = payroll::rejects(&mut tx, id, above, REJECTS_PAGE).await?;
        let mut text = if above == 0 { reject_header() } else { Vec::new() };
        for (line, code, words, sealed) in &rejects {
            write_reject(*line, code, words, &self.store.keys.open(sealed)?, &mut text);
        }
        Ok((text, rejects.last().map(|(line, ..)| *line)))
    }

    /// Batches of a payroll above a number.
    pub async fn batches(&self, scope: &Scope, id: Id<Payroll>, above: i64, limit: i64) -> Outcome<Vec<BatchRow>> {
        let mut tx = self.store.read().await?;
        if payroll::get(&mut tx, scope, id).await?.is_none() {
            return no_payroll(id);
        }
        Ok(batch::of_payroll(&mut tx, id, above, limit).await?)
    }

    /// One batch with the evidence about it.
    pub async fn batch(&self, scope: &Scope, id: Id<Batch>) -> Outcome<(BatchRow, Vec<EvidenceRow>)> {
        let mut tx = self.store.read().await?;
        match batch::get(&mut tx, scope, id).await? {
            Some(row) => Ok((row, evidence::of_batch(&mut tx, id, TIMELINE_MAX).await?)),
            None => refused(RefusedKind::NotFound, "batch_unknown", format!("there is no batch {id}")),
        }
    }

    /// The bytes of one piece of evidence, with what it is.
    pub async fn evidence(&self, scope: &Scope, id: Id<Evidence>) -> Outcome<(EvidenceRow, Vec<u8>)> {
        let mut tx = self.store.read().await?;
        match evidence::get(&mut tx, &self.store.keys, scope, id).await? {
            Some(found) => Ok(found),
            None => refused(RefusedKind::NotFound, "evidence_unknown", format!("there is no evidence {id}")),
        }
    }

    /// Open exceptions above a number.
    pub async fn exceptions(&self, scope: &Scope, above: i64, limit: i64) -> Result<Vec<ExceptionRow>> {
        self.exceptions_of(scope, &Filter::default(), above, limit).await
    }

    /// Open exceptions that a filter wants, above a number, oldest first.
    pub async fn exceptions_of(
        &self,
        scope: &Scope,
        filter: &Filter,
        above: i64,
        limit: i64,
    ) -> Result<Vec<ExceptionRow>> {
        let mut tx = self.store.read().await?;
        queue::list(&mut tx, scope, filter, above, limit).await
    }

    /// What waits for a decision, by kind and provider.
    pub async fn exceptions_summary(&self, scope: &Scope) -> Result<Vec<Line>> {
        let mut tx = self.store.read().await?;
        queue::summary(&mut tx, scope).await
    }

    /// Messages to the registry in a state, above a number.
    pub async fn publications(
        &self,
        scope: &Scope,
        state: &str,
        above: i64,
        limit: i64,
    ) -> Result<Vec<PublicationRow>> {
        let mut tx = self.store.read().await?;
        publication::list(&mut tx, scope, state, above, limit).await
    }

    /// Brings one message back that was laid aside; all of them without an id.
    pub async fn replay_publications(&self, scope: &Scope, id: Option<Id<Publication>>) -> Outcome<u64> {
        let count = self.replay(scope, id).await?;
        match id {
            Some(id) if count == 0 => refused(
                RefusedKind::NotFound,
                "publication_unknown",
                format!("there is no message {id} that was laid aside"),
            ),
            _ => Ok(count),
        }
    }

    /// Programmes of a tenant, each with what it may still spend in minor units.
    pub async fn programmes(&self, scope: &Scope) -> Result<Vec<(ProgrammeRow, i64)>> {
        let mut tx = self.store.read().await?;
        let available = ledger::all_available(&mut tx, scope).await?;
        let rows = party::programmes(&mut tx, scope).await?.into_iter();
        Ok(rows
            .map(|row| {
                let sum = available.get(&row.id).copied().unwrap_or(0);
                (row, sum)
            })
            .collect())
    }

    /// What whoever watches the installation wants to know, over all tenants.
    pub async fn gauges(&self) -> Result<Gauges> {
        let mut tx = self.store.read().await?;
        gauges::read(&mut tx, self.clock.now()).await
    }

    /// Fails when the database does not answer.
    pub async fn ready(&self) -> Result<()> {
        let mut tx = self.store.read().await?;
        gauges::answers(&mut tx).await
    }
}

/// Rows that count as one of these states: by their own, or by that of the batch they follow.
fn wanted(states: &[State]) -> Wanted {
    Wanted {
        own: states.iter().copied().filter(|state| *state != State::Queued).collect(),
        following: states.iter().filter_map(|state| BatchState::giving(*state)).collect(),
    }
}

fn plus(a: Total, b: Total) -> Total {
    a.and(b).unwrap_or(Total { payments: a.payments + b.payments, sum_minor: i64::MAX })
}
