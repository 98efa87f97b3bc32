//! Exceptions about a provider's files, statements and entries, which belong to no batch: they are shown to the
//! programme that paid through the provider last.

use anyhow::Result;

use crate::domain::id::{Id, Programme};
use crate::engine::Engine;
use crate::store::db::Tx;
use crate::store::notes::{self, ExceptionRow, Handling};
use crate::store::{exception, party};

/// Longest detail of an exception, in characters.
const DETAIL_CHARS_MAX: usize = 1_000;

impl Engine {
    /// Opens an exception of a kind about a thing by its number, unless one is open.
    pub(super) async fn alarm(
        &self,
        tx: &mut Tx,
        provider: &str,
        (code, subject): (&str, i64),
        detail: &str,
    ) -> Result<()> {
        let Some(programme) = exception::programme_of_provider(tx, provider).await? else {
            tracing::error!(
                provider,
                exception.code = code,
                detail,
                "nobody has a programme that this could be told to"
            );
            return Ok(());
        };
        self.alarm_of(tx, (provider, programme), (code, subject), detail).await
    }

    /// The same of a programme that is known.
    pub(super) async fn alarm_of(
        &self,
        tx: &mut Tx,
        (provider, programme): (&str, Id<Programme>),
        (code, subject): (&str, i64),
        detail: &str,
    ) -> Result<()> {
        let now = self.clock.now();
        let exception = ExceptionRow {
            id: Id::new(self.store.allot_in(tx, 1, now).await?),
            programme,
            code: code.to_owned(),
            subject,
            provider: provider.to_owned(),
            evidence: 0,
            detail: detail.chars().take(DETAIL_CHARS_MAX).collect(),
            opened_at: now,
            handling: Handling::default(),
        };
        let tenant = party::tenant_of(tx, programme).await?;
        if notes::open_exception(tx, tenant, &exception).await? {
            tracing::error!(exception.id = %exception.id, exception.code = code, provider, "exception opened");
        }
        Ok(())
    }
}
