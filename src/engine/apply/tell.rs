//! Who else learns what was applied: the registry of new ends, a person of what does not fit.
//! Deliberately not here: sending the messages (`publish`), and judging.

use std::collections::BTreeMap;

use anyhow::Result;

use super::{PUBLICATION_ITEMS_MAX, Work};
use crate::domain::exception::{Matter, matter};
use crate::domain::id::{Id, Tenant};
use crate::store::Numbers;
use crate::store::batch::BatchRow;
use crate::store::db::Tx;
use crate::store::ledger::Account;
use crate::store::notes::{self, ExceptionRow, Handling};
use crate::store::publication::{self, PublicationRow};

impl Work<'_> {
    /// New ends are told to the registry, in ranges of one evidence each.
    pub(super) async fn publish(&mut self, tx: &mut Tx, tenant: Id<Tenant>, numbers: &mut Numbers) -> Result<()> {
        if self.engine.registry.is_none() {
            return Ok(());
        }
        let mut ended: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
        for (number, row) in self.rows.iter().filter(|(_, row)| row.own != row.now) {
            let end = row.end.map(|(evidence, _)| evidence);
            for evidence in end.into_iter().chain(row.returned_by.filter(|returned_by| Some(*returned_by) != end)) {
                ended.entry(evidence).or_default().push(*number);
            }
        }
        let ended: Vec<(i64, Vec<i64>)> = ended.into_iter().collect();
        publish_ends(tx, tenant, &mut self.batch, &ended, (numbers, self.now)).await
    }

    /// What contradicts becomes a task for a person.
    pub(super) async fn open_exceptions(&mut self, tx: &mut Tx, tenant: Id<Tenant>) -> Result<()> {
        let exceptions = std::mem::take(&mut self.exceptions);
        if exceptions.is_empty() {
            return Ok(());
        }
        let first = self.engine.store.allot_in(tx, i64::try_from(exceptions.len())?, self.now).await?;
        for ((code, subject, evidence), number) in exceptions.into_iter().zip(first..) {
            let suspended_from = match matter(code) {
                Matter::Money => self.rows.get(&subject).and_then(|row| row.suspended_from),
                _ => None,
            };
            let exception = ExceptionRow {
                id: Id::new(number),
                programme: self.batch.programme,
                code: code.to_owned(),
                subject,
                provider: self.batch.provider.clone(),
                evidence,
                detail: detail(code, suspended_from),
                opened_at: self.now,
                handling: Handling { suspended_from, ..Handling::default() },
            };
            if notes::open_exception(tx, tenant, &exception).await? {
                tracing::warn!(exception.code = code, batch.id = %self.batch.id, "exception opened");
            }
        }
        Ok(())
    }
}

/// Messages that tell the registry of ends, each of one evidence: numbers of rows, ascending, by their evidence.
pub(in crate::engine) async fn publish_ends(
    tx: &mut Tx,
    tenant: Id<Tenant>,
    batch: &mut BatchRow,
    ended: &[(i64, Vec<i64>)],
    (numbers, now): (&mut Numbers, i64),
) -> Result<()> {
    let mut publications = Vec::new();
    for (evidence, all) in ended {
        for range in all.chunks(PUBLICATION_ITEMS_MAX) {
            batch.publications += 1;
            publications.push(PublicationRow {
                id: Id::new(numbers.take()?),
                tenant,
                programme: batch.programme,
                payroll: batch.payroll,
                batch: batch.id,
                sequence: batch.publications,
                evidence: *evidence,
                numbers: (range[0], range[range.len() - 1]),
                items: i64::try_from(range.len())?,
                state: String::from("open"),
                attempts: 0,
                last_error: None,
                created_at: now,
                acknowledged_at: None,
            });
        }
    }
    publication::insert(tx, &publications).await
}

/// What an exception asks of a person.
fn detail(code: &str, suspended_from: Option<Account>) -> String {
    let text = match code {
        "provider_blocked" => "our money with the provider is short; nothing more is sent to it until it is resumed",
        "accepted_then_absent" => {
            "the provider took it and now says that it does not have it; ask the provider what became of it"
        }
        _ => "the provider contradicts what is known; nothing was overwritten",
    };
    match suspended_from {
        Some(Account::Funding) => {
            format!("{text}; its sum waits in suspense and is not covered by what is available: fund the programme")
        }
        Some(account) => format!("{text}; its sum waits in suspense and came from {}", account.name()),
        None => text.to_owned(),
    }
}
