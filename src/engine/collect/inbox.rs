//! Takes a fetched file in: cut into parts, sealed and hashed on a thread of its own, stored part by part.

use std::io::Read;

use anyhow::{Context, Result, ensure};
use async_trait::async_trait;
use paymaster_connectors::contract::{Inbox, Listed};
use tokio::sync::mpsc::{self, Sender};

use crate::domain::id::Id;
use crate::engine::Engine;
use crate::store::file::{self, Held};
use crate::store::seal::Keys;

/// Bytes of a file stored in one row.
const PART_BYTES: usize = 1 << 20;
/// Parts that wait to be stored.
const PARTS_WAITING_MAX: usize = 2;

/// Where a connector puts what it fetched for the holder of a mailbox.
pub(super) struct EngineInbox<'a> {
    pub engine: &'a Engine,
    pub held: &'a Held,
}

#[async_trait]
impl Inbox for EngineInbox<'_> {
    async fn has(&mut self, listed: &Listed) -> Result<bool> {
        file::is_listed(&mut self.engine.store.read().await?, &self.held.provider, listed).await
    }

    async fn take(&mut self, listed: &Listed, from: Box<dyn Read + Send>) -> Result<()> {
        let (engine, provider) = (self.engine, self.held.provider.as_str());
        let id = Id::new(engine.store.draw(1, engine.clock.now()).await?.take()?);
        let mut tx = engine.store.begin().await?;
        file::begin(&mut tx, id, provider, listed, engine.clock.now()).await?;
        tx.commit().await?;
        let (parts, mut arriving) = mpsc::channel(PARTS_WAITING_MAX);
        let keys = engine.store.keys.clone();
        let cutting = tokio::task::spawn_blocking(move || cut(from, &keys, &parts));
        let mut position = 0;
        while let Some(sealed) = arriving.recv().await {
            let mut tx = engine.store.begin().await?;
            file::renew(&mut tx, self.held, engine.clock.now() + engine.lease.lease_micros).await?;
            file::add_part(&mut tx, id, position, &sealed).await?;
            tx.commit().await?;
            position += 1;
        }
        let (bytes, sha256) = cutting.await.context("a file was not cut to its end")??;
        ensure!(
            bytes == listed.bytes,
            "the file had {} bytes when it was listed and {bytes} when fetched",
            listed.bytes
        );
        let mut tx = engine.store.begin().await?;
        let kept = file::finish(&mut tx, id, provider, listed, sha256.as_ref()).await?;
        tx.commit().await?;
        tracing::info!(file.id = %kept, provider, bytes, is_new = kept == id, "file collected");
        Ok(())
    }
}

/// Cuts a file into sealed parts; its size and hash.
fn cut(mut from: Box<dyn Read + Send>, keys: &Keys, parts: &Sender<Vec<u8>>) -> Result<(u64, ring::digest::Digest)> {
    let mut hash = ring::digest::Context::new(&ring::digest::SHA256);
    let (mut part, mut bytes) = (Vec::with_capacity(PART_BYTES), 0);
    loop {
        part.clear();
        from.by_ref().take(PART_BYTES as u64).read_to_end(&mut part)?;
        if part.is_empty() {
            return Ok((bytes, hash.finish()));
        }
        bytes += part.len() as u64;
        hash.update(&part);
        parts.blocking_send(keys.seal(&part)).context("nobody stores the file any more")?;
    }
}
