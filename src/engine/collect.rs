//! Looks where a provider leaves files for us, stores what is new, and then reads what is stored and not yet read.
//!
//! A file's bytes are durable before anything is made of them, and before it is removed from where it lay. Reading
//! may be repeated: what a file says twice has no second effect. Deliberately not here: how files travel (the
//! connectors), and what a statement (`statement`) or a status report (`status`) does.

mod alarm;
mod inbox;
mod matched;
mod statement;
mod status;
mod stored;
mod total;

use anyhow::{Context, Result};
use paymaster_connectors::contract::{Failure, ReadError};

use self::inbox::EngineInbox;
use self::stored::{Reading, Told};
use super::Engine;
use crate::domain::batch::wait;
use crate::domain::id::{Id, Mailbox};
use crate::store::db::Tx;
use crate::store::file::{self, FileRow, Held};

/// Longest pause between two looks while they fail.
const FAILED_MICROS_MAX: i64 = 3_600_000_000;
/// Files read in one turn; the rest is for the next.
const FILES_MAX: usize = 1_000;

impl Engine {
    /// Mailboxes that are due and nobody was told of lately, those of new providers included.
    pub(super) async fn due_mailboxes(&self, tx: &mut Tx, times: (i64, i64)) -> Result<Vec<i64>> {
        let collects = |provider: &&super::Provider| provider.connector.profile().collect_every.is_some();
        let mine: Vec<&str> = self.providers.iter().filter(collects).map(|provider| provider.name.as_str()).collect();
        let mut due = Vec::new();
        if mine.is_empty() {
            return Ok(due);
        }
        let known = file::mailboxes(tx).await?;
        for provider in mine {
            if !known.iter().any(|known| known == provider) {
                let number = self.store.allot_in(tx, 1, times.0).await?;
                file::ensure_mailbox(tx, Id::new(number), provider, times.0).await?;
            }
            due.extend(file::nudge(tx, provider, times).await?);
        }
        Ok(due)
    }

    /// Looks into a provider's mailbox now, whatever it waits for; false when it has none.
    pub async fn collect_soon(&self, provider: &str) -> Result<bool> {
        let mut tx = self.store.begin().await?;
        let found = file::make_due_now(&mut tx, provider, self.clock.now()).await?;
        tx.commit().await?;
        Ok(found)
    }

    /// Collects and reads what a mailbox holds, if it is due. Nothing due is success.
    pub async fn collect(&self, id: Id<Mailbox>) -> Result<()> {
        let now = self.clock.now();
        let mut tx = self.store.begin().await?;
        let Some(held) = file::claim(&mut tx, id, now, now + self.lease.lease_micros).await? else { return Ok(()) };
        file::forget_arriving(&mut tx, &held.provider).await?;
        tx.commit().await?;
        let provider = self.provider(&held.provider)?;
        let collected = provider.connector.collect(&mut EngineInbox { engine: self, held: &held }).await;
        if let Err(failure) = &collected {
            tracing::warn!(provider = held.provider, failure = %failure, "collecting files did not end well");
        }
        let read = self.read_stored(&held).await;
        self.let_go(&held, collected, &read).await?;
        self.reconcile_completed(&held.provider).await?;
        read
    }

    async fn let_go(&self, held: &Held, collected: Result<(), Failure>, read: &Result<()>) -> Result<()> {
        let now = self.clock.now();
        let every = self.provider(&held.provider)?.connector.profile().collect_every.unwrap_or_default();
        let every = i64::try_from(every.as_micros())?;
        let problem = match (&collected, read) {
            (Err(failure), _) => Some(failure.to_string()),
            (_, Err(error)) => Some(format!("{error:#}")),
            _ => None,
        };
        let pause = match &problem {
            None => every,
            Some(_) => {
                let asked = collected.as_ref().err().and_then(Failure::retry_after_seconds);
                wait(asked, (every, FAILED_MICROS_MAX), held.attempts)
            }
        };
        let mut tx = self.store.begin().await?;
        if let Err(Failure::Blocked(reason)) = &collected {
            // Credentials, a changed host key, a folder that is gone: nothing comes in until somebody has looked.
            self.alarm(&mut tx, &held.provider, ("mailbox_blocked", held.id.number()), &reason.to_string()).await?;
        }
        file::release(&mut tx, held, (now, now + pause), problem.as_deref()).await?;
        tx.commit().await
    }

    /// Keeps the mailbox for another while.
    async fn hold_on(&self, held: &Held) -> Result<()> {
        let mut tx = self.store.begin().await?;
        file::renew(&mut tx, held, self.clock.now() + self.lease.lease_micros).await?;
        tx.commit().await
    }

    async fn read_stored(&self, held: &Held) -> Result<()> {
        for _ in 0..FILES_MAX {
            let mut tx = self.store.read().await?;
            let Some(file) = file::next_stored(&mut tx, &held.provider).await? else { return Ok(()) };
            drop(tx);
            self.hold_on(held).await?;
            self.read_file(held, &file).await.with_context(|| format!("reading {} ({})", file.name, file.id))?;
        }
        Ok(())
    }

    /// Reads one stored file to its end and does what it says.
    async fn read_file(&self, held: &Held, file: &FileRow) -> Result<()> {
        let mut reading = Reading::begin(self, &held.provider, file.id)?;
        let read = match reading.next().await {
            Some(Told::Status(head)) => {
                let told = self.read_status(held, file, head, &mut reading).await?;
                reading.end().await?.map(|()| ("status", told))
            }
            Some(first @ Told::Head(_)) => {
                let told = self.stage_statements(held, file, first, &mut reading).await?;
                match reading.end().await? {
                    Ok(()) => {
                        self.match_statements(held, file).await?;
                        Ok(("statement", told))
                    }
                    Err(error) => {
                        self.unstage(file).await?;
                        Err(error)
                    }
                }
            }
            Some(_) => anyhow::bail!("a file began with its middle"),
            None => reading.end().await?.and(Err(ReadError::unreadable("empty", 0, "there is nothing in it"))),
        };
        let now = self.clock.now();
        let mut tx = self.store.begin().await?;
        match read {
            Ok((kind, problem)) => {
                file::set_read(&mut tx, file.id, "read", (Some(kind), problem.as_deref()), now).await?;
            }
            Err(error) => {
                tracing::error!(file.id = %file.id, provider = file.provider, %error, "a file cannot be read");
                let text = format!("{}: {error}", file.name.escape_debug());
                file::set_read(&mut tx, file.id, "unreadable", (None, Some(&text)), now).await?;
                self.alarm(&mut tx, &file.provider, ("file_unreadable", file.id.number()), &text).await?;
            }
        }
        tx.commit().await
    }
}
