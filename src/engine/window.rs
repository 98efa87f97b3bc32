//! Whether a batch's provider takes it now, and on which day it is asked to pay; a batch that comes too late waits for
//! the next banking day, visibly. Deliberately not here: the calendar's rules (the domain).

use anyhow::Result;
use chrono::{DateTime, NaiveDate};

use super::Engine;
use crate::domain::calendar::{Window, window};
use crate::store::batch::{self, BatchRow};
use crate::store::db::Tx;
use crate::store::notes::{self, Fact};
use crate::store::{Numbers, party, payroll};

impl Engine {
    /// Fixes when a batch's bytes are made and for which day, unless they are made; false when it has to wait, for a
    /// window or for a person, which is then saved.
    pub(super) async fn settle_day(
        &self,
        tx: &mut Tx,
        row: &mut BatchRow,
        numbers: &mut Numbers,
        now: i64,
    ) -> Result<bool> {
        let wanted = payroll::pay_on(tx, row.payroll).await?;
        let wanted = wanted.as_deref().and_then(|day| day.parse::<NaiveDate>().ok());
        let today = DateTime::from_timestamp_micros(now).unwrap_or_default().date_naive();
        let calendar = self.provider(&row.provider)?.connector.profile().calendar.as_ref();
        let found = calendar.map_or(Some(Window::Open(wanted.map_or(today, |wanted| wanted.max(today)))), |calendar| {
            window(calendar, wanted, now)
        });
        match found {
            None => {
                self.block(tx, row, "no_banking_day", numbers).await?;
                Ok(false)
            }
            Some(Window::Closed(opens_at)) => {
                row.due_at = Some(opens_at);
                batch::save(tx, row).await?;
                self.note_wait(tx, row, numbers, now).await?;
                Ok(false)
            }
            Some(Window::Open(day)) => {
                let day = day.to_string();
                // Bytes that provably never left, for a day that has passed, are made anew.
                if row.wire.is_none() || (calendar.is_some() && row.execute_on.as_ref().is_none_or(|made| *made < day))
                {
                    (row.wire, row.made_at, row.execute_on) = (None, now, Some(day));
                }
                Ok(true)
            }
        }
    }

    async fn note_wait(&self, tx: &mut Tx, row: &BatchRow, numbers: &mut Numbers, now: i64) -> Result<()> {
        let until = crate::clock::rfc3339(row.due_at.unwrap_or(now));
        tracing::info!(batch.id = %row.id, provider = row.provider, until, "the batch waits for its provider's next window");
        let note = format!("{} takes it again from {until} on", row.provider);
        let tenant = party::tenant_of(tx, row.programme).await?;
        let (subject, total) = (row.id.number(), row.open);
        let fact = Fact { event: "batch.waits", subject, actor: "engine", total, note: &note, ..Fact::default() };
        notes::journal(tx, numbers.take()?, tenant, &fact, now).await
    }
}
