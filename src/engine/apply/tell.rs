//! Who else learns what was applied: the registry of new ends, a person of what does not fit.
//! Deliberately not here: sending the messages (`publish`), and judging.

use std::collections::BTreeMap;

use anyhow::Result;

use super::{PUBLICATION_ITEMS_MAX, Work};
use crate::domain::id::{Id, Tenant};
use crate::store::Numbers;
use crate::store::db::Tx;
use crate::store::notes::{self, ExceptionRow};
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
        let mut publications = Vec::new();
        for (evidence, all) in &ended {
            for range in all.chunks(PUBLICATION_ITEMS_MAX) {
                self.batch.publications += 1;
                publications.push(PublicationRow {
                    id: Id::new(numbers.take()?),
                    tenant,
                    programme: self.batch.programme,
                    payroll: self.batch.payroll,
                    batch: self.batch.id,
                    sequence: self.batch.publications,
                    evidence: *evidence,
                    numbers: (range[0], range[range.len() - 1]),
                    items: i64::try_from(range.len())?,
                    state: String::from("open"),
                    attempts: 0,
                    last_error: None,
                    created_at: self.now,
                    acknowledged_at: None,
                });
            }
        }
        publication::insert(tx, &publications).await
    }

    /// What contradicts becomes a task for a person.
    pub(super) async fn open_exceptions(&mut self, tx: &mut Tx, tenant: Id<Tenant>) -> Result<()> {
        for (code, subject, evidence) in std::mem::take(&mut self.exceptions) {
            let id = Id::new(self.engine.store.allot_in(tx, 1, self.now).await?);
            let exception = ExceptionRow {
                id,
                programme: self.batch.programme,
                code: code.to_owned(),
                subject,
                provider: self.batch.provider.clone(),
                evidence,
                detail: String::from(detail(code)),
                opened_at: self.now,
            };
            if notes::open_exception(tx, tenant, &exception).await? {
                tracing::warn!(exception.code = code, batch.id = %self.batch.id, "exception opened");
            }
        }
        Ok(())
    }
}

/// What an exception asks of a person.
fn detail(code: &str) -> &'static str {
    if code == "provider_blocked" {
        "our money with the provider is short; nothing more is sent to it until it is resumed"
    } else if code == "accepted_then_absent" {
        "the provider took it and now says that it does not have it; ask the provider what became of it"
    } else {
        "the provider contradicts what is known; nothing was overwritten"
    }
}
