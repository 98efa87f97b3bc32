//! Files that providers left for us: when a mailbox is looked into, the bytes in parts, and under which listing.

use anyhow::Result;
use paymaster_connectors::contract::Listed;

use super::db::{Row, Tx};
use super::{Store, values};
use crate::domain::id::{File, Id, Mailbox};

/// Makes a mailbox for a provider that has none, due at once. True when it is new.
pub async fn ensure_mailbox(tx: &mut Tx, id: Id<Mailbox>, provider: &str, now: i64) -> Result<bool> {
    let sql = "INSERT INTO mailbox (number, provider, due_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
    Ok(tx.execute(sql, values![id.number(), provider, now]).await? == 1)
}

/// Providers that have a mailbox.
pub async fn mailboxes(tx: &mut Tx) -> Result<Vec<String>> {
    tx.rows("SELECT provider FROM mailbox ORDER BY provider", &[]).await?.iter().map(|row| row.text(0)).collect()
}

/// A provider's mailbox if it is due, nobody is at it, and nobody was told of it lately; marks it as told.
pub async fn nudge(tx: &mut Tx, provider: &str, (now, told_before): (i64, i64)) -> Result<Option<i64>> {
    let sql = "UPDATE mailbox SET nudged_at = $2 WHERE provider = $1 AND due_at <= $2 AND lease_until <= $2 \
               AND nudged_at < $3 RETURNING number";
    tx.row(sql, values![provider, now, told_before]).await?.map(|row| row.int(0)).transpose()
}

/// A worker's hold on a mailbox.
#[derive(Debug, Clone)]
pub struct Held {
    /// The mailbox.
    pub id: Id<Mailbox>,
    /// Whose.
    pub provider: String,
    /// Counts the claims.
    pub epoch: i64,
    /// Failed looks in a row before this one.
    pub attempts: i64,
}

/// Takes a due mailbox in hand.
pub async fn claim(tx: &mut Tx, id: Id<Mailbox>, now: i64, lease_until: i64) -> Result<Option<Held>> {
    let sql = "UPDATE mailbox SET epoch = epoch + 1, lease_until = $3 WHERE number = $1 AND due_at <= $2 \
               AND lease_until <= $2 RETURNING provider, epoch, attempts";
    let held = |row: Row| Ok(Held { id, provider: row.text(0)?, epoch: row.int(1)?, attempts: row.int(2)? });
    tx.row(sql, values![id.number(), now, lease_until]).await?.map(held).transpose()
}

/// Prolongs a hold; an error when another worker has the mailbox.
pub async fn renew(tx: &mut Tx, held: &Held, lease_until: i64) -> Result<()> {
    let sql = "UPDATE mailbox SET lease_until = $3 WHERE number = $1 AND epoch = $2";
    let changed = tx.execute(sql, values![held.id.number(), held.epoch, lease_until]).await?;
    anyhow::ensure!(changed == 1, "another worker has taken the mailbox");
    Ok(())
}

/// Lets go of a mailbox: when to look next, and what went wrong, if anything did.
pub async fn release(tx: &mut Tx, held: &Held, (now, due_at): (i64, i64), problem: Option<&str>) -> Result<()> {
    let sql = "UPDATE mailbox SET lease_until = 0, nudged_at = 0, due_at = $3, problem = $5, \
               collected_at = CASE WHEN CAST($5 AS TEXT) IS NULL THEN $4 ELSE collected_at END, \
               attempts = CASE WHEN CAST($5 AS TEXT) IS NULL THEN 0 ELSE attempts + 1 END \
               WHERE number = $1 AND epoch = $2";
    tx.execute(sql, values![held.id.number(), held.epoch, due_at, now, problem]).await.map(|_| ())
}

/// Makes a provider's mailbox due now.
pub async fn make_due_now(tx: &mut Tx, provider: &str, now: i64) -> Result<bool> {
    let sql = "UPDATE mailbox SET due_at = $2, nudged_at = 0 WHERE provider = $1";
    Ok(tx.execute(sql, values![provider, now]).await? == 1)
}

/// Whether a file that is listed so was taken before.
pub async fn is_listed(tx: &mut Tx, provider: &str, listed: &Listed) -> Result<bool> {
    let sql =
        "SELECT 1 FROM file_listing WHERE provider = $1 AND folder = $2 AND name = $3 AND bytes = $4 AND modified = $5";
    let bytes = i64::try_from(listed.bytes)?;
    let bound = values![provider, &listed.folder, &listed.name, bytes, listed.modified.unwrap_or(0)];
    Ok(tx.row(sql, bound).await?.is_some())
}

/// Begins a file whose bytes are about to arrive; its own number stands for its hash until that is known.
pub async fn begin(tx: &mut Tx, id: Id<File>, provider: &str, listed: &Listed, now: i64) -> Result<()> {
    let sql = "INSERT INTO file (number, provider, name, bytes, sha256, state, at) VALUES ($1, $2, $3, 0, $4, 'arriving', $5)";
    let mark = id.number().to_be_bytes();
    tx.execute(sql, values![id.number(), provider, &listed.name, &mark[..], now]).await.map(|_| ())
}

/// Adds a part.
pub async fn add_part(tx: &mut Tx, id: Id<File>, position: i64, sealed: &[u8]) -> Result<()> {
    let sql = "INSERT INTO file_part (file, position, sealed) VALUES ($1, $2, $3)";
    tx.execute(sql, values![id.number(), position, sealed]).await.map(|_| ())
}

/// The file is whole. One with the same bytes that is known already stands for it, and it goes again.
pub async fn finish(tx: &mut Tx, id: Id<File>, provider: &str, listed: &Listed, sha256: &[u8]) -> Result<Id<File>> {
    let known =
        tx.row("SELECT number FROM file WHERE provider = $1 AND sha256 = $2", values![provider, sha256]).await?;
    let bytes = i64::try_from(listed.bytes)?;
    let file = match known {
        Some(row) => {
            forget(tx, id).await?;
            Id::new(row.int(0)?)
        }
        None => {
            let sql = "UPDATE file SET state = 'stored', sha256 = $2, bytes = $3 WHERE number = $1";
            tx.execute(sql, values![id.number(), sha256, bytes]).await?;
            id
        }
    };
    let sql = "INSERT INTO file_listing (provider, folder, name, bytes, modified, file) VALUES ($1, $2, $3, $4, $5, $6) \
               ON CONFLICT DO NOTHING";
    let modified = listed.modified.unwrap_or(0);
    tx.execute(sql, values![provider, &listed.folder, &listed.name, bytes, modified, file.number()]).await?;
    Ok(file)
}

async fn forget(tx: &mut Tx, id: Id<File>) -> Result<()> {
    tx.execute("DELETE FROM file_part WHERE file = $1", values![id.number()]).await?;
    tx.execute("DELETE FROM file WHERE number = $1", values![id.number()]).await.map(|_| ())
}

/// Forgets what a worker that is gone did not fetch to its end. The mailbox must be held.
pub async fn forget_arriving(tx: &mut Tx, provider: &str) -> Result<()> {
    let sql = "SELECT number FROM file WHERE provider = $1 AND state = 'arriving'";
    for row in tx.rows(sql, values![provider]).await? {
        forget(tx, Id::new(row.int(0)?)).await?;
    }
    Ok(())
}

/// A file as it is known.
#[derive(Debug, Clone)]
pub struct FileRow {
    /// Its number.
    pub id: Id<File>,
    /// Who left it.
    pub provider: String,
    /// Its name where it lay.
    pub name: String,
    /// Its size.
    pub bytes: i64,
    /// SHA-256 of its bytes.
    pub sha256: Vec<u8>,
    /// `stored`, `read` or `unreadable`.
    pub state: String,
    /// `statement` or `status` once that is known.
    pub kind: Option<String>,
    /// Why it has no effect, or not the whole one.
    pub problem: Option<String>,
    /// When it came.
    pub at: i64,
    /// When it was read.
    pub read_at: Option<i64>,
}

const FILE: &str = "SELECT number, provider, name, bytes, sha256, state, kind, problem, at, read_at FROM file";

fn file_row(row: &Row) -> Result<FileRow> {
    Ok(FileRow {
        id: Id::new(row.int(0)?),
        provider: row.text(1)?,
        name: row.text(2)?,
        bytes: row.int(3)?,
        sha256: row.bytes(4)?.to_vec(),
        state: row.text(5)?,
        kind: row.maybe_text(6)?,
        problem: row.maybe_text(7)?,
        at: row.int(8)?,
        read_at: row.maybe_int(9)?,
    })
}

/// The oldest file of a provider that was not read yet.
pub async fn next_stored(tx: &mut Tx, provider: &str) -> Result<Option<FileRow>> {
    let sql = format!("{FILE} WHERE provider = $1 AND state = 'stored' ORDER BY number LIMIT 1");
    tx.row(&sql, values![provider]).await?.as_ref().map(file_row).transpose()
}

/// A file by its number.
pub async fn get(tx: &mut Tx, id: Id<File>) -> Result<Option<FileRow>> {
    let sql = format!("{FILE} WHERE number = $1 AND state <> 'arriving'");
    tx.row(&sql, values![id.number()]).await?.as_ref().map(file_row).transpose()
}

/// Files above a number, oldest first; of one provider, or of all.
pub async fn list(tx: &mut Tx, provider: Option<&str>, above: i64, limit: i64) -> Result<Vec<FileRow>> {
    let sql = format!(
        "{FILE} WHERE number > $1 AND state <> 'arriving' AND (CAST($2 AS TEXT) IS NULL OR provider = $2) \
         ORDER BY number LIMIT $3"
    );
    tx.rows(&sql, values![above, provider, limit]).await?.iter().map(file_row).collect()
}

/// A part of a file as it came; `None` after the last.
pub async fn part(store: &Store, id: Id<File>, position: i64) -> Result<Option<Vec<u8>>> {
    let sql = "SELECT sealed FROM file_part WHERE file = $1 AND position = $2";
    let row = store.read().await?.row(sql, values![id.number(), position]).await?;
    row.map(|row| store.keys.open(row.bytes(0)?)).transpose()
}

/// The file has been read, or cannot be.
pub async fn set_read(
    tx: &mut Tx,
    id: Id<File>,
    state: &str,
    told: (Option<&str>, Option<&str>),
    now: i64,
) -> Result<()> {
    let sql = "UPDATE file SET state = $2, kind = $3, problem = $4, read_at = $5 WHERE number = $1";
    tx.execute(sql, values![id.number(), state, told.0, told.1, now]).await.map(|_| ())
}
