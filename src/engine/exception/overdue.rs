//! Doubts that are too old: asking goes on, and a person is told, who decides with evidence from elsewhere.

use anyhow::Result;

use crate::domain::batch::effective;
use crate::domain::disbursement::State;
use crate::domain::exception::DOUBT_TOO_OLD;
use crate::domain::id::Id;
use crate::engine::Engine;
use crate::store::db::Tx;
use crate::store::exception::{self, Overdue};
use crate::store::notes::{self, ExceptionRow, Handling};
use crate::store::{batch, disbursement};

/// Most batches of a provider told of at once.
const BATCHES_MAX: i64 = 100;
/// Up to so many payments in doubt are told of one by one, so that each can be decided; more as one batch.
const ROWS_MAX: i64 = 100;

impl Engine {
    /// Tells a person of doubts older than their provider's limit, once; again only after they let it stand and as
    /// much time has passed. Returns how many exceptions were opened.
    pub async fn overdue(&self, now: i64) -> Result<usize> {
        let mut opened = 0;
        for provider in &self.providers {
            let limit = i64::try_from(provider.connector.profile().doubt_limit.as_micros()).unwrap_or(i64::MAX);
            let mut tx = self.store.begin().await?;
            let found = exception::overdue(&mut tx, &provider.name, now.saturating_sub(limit), BATCHES_MAX).await?;
            for one in &found {
                opened += self.open_overdue(&mut tx, one, &provider.name, now).await?;
            }
            tx.commit().await?;
        }
        Ok(opened)
    }

    async fn open_overdue(&self, tx: &mut Tx, overdue: &Overdue, provider: &str, now: i64) -> Result<usize> {
        let Some(row) = batch::get_any(tx, overdue.batch).await? else { return Ok(0) };
        let mut subjects = vec![row.id.number()];
        if overdue.open_payments <= ROWS_MAX {
            let members = disbursement::members(tx, row.id, row.numbers).await?.into_iter();
            let doubtful = members.filter(|member| effective(member.state, row.state) == State::InDoubt);
            subjects = doubtful.map(|member| member.number).collect();
        }
        let first = self.store.allot_in(tx, i64::try_from(subjects.len())?, now).await?;
        let mut opened = 0;
        for (subject, number) in subjects.into_iter().zip(first..) {
            let exception = ExceptionRow {
                id: Id::new(number),
                programme: overdue.programme,
                code: DOUBT_TOO_OLD.to_owned(),
                subject,
                provider: provider.to_owned(),
                evidence: 0,
                detail: format!(
                    "in doubt since {}; asking goes on, and the provider must be asked by other ways",
                    crate::clock::rfc3339(row.last_copy_at)
                ),
                opened_at: now,
                handling: Handling::default(),
            };
            opened += usize::from(notes::open_exception(tx, overdue.tenant, &exception).await?);
        }
        Ok(opened)
    }
}
