//! The only room with SQL. Plain functions on a unit of work; it decides nothing.
//!
//! A function that reads or writes what belongs to a tenant takes a [`Scope`]; what belongs to another tenant
//! does not exist for it. Deliberately not here: which move is legal, and when to commit.

pub mod batch;
mod bind;
pub mod db;
pub mod disbursement;
pub mod evidence;
pub mod exception;
pub mod file;
pub mod floor;
pub mod gauges;
pub mod generation;
pub mod ledger;
pub mod load;
pub mod meter;
mod migrate;
pub mod notes;
pub mod pace;
pub mod party;
pub mod payroll;
pub mod publication;
pub mod queue;
pub mod reconcile;
pub mod report;
pub mod restored;
pub mod seal;
pub mod slate;
pub mod statement;
pub mod verify;
pub mod weather;

use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};

use crate::domain::id::{COUNTER_BITS, Id, Tenant};
pub use crate::values;
use db::{Db, Tx};
use restored::Seen;
pub use restored::WentBack;
use seal::Keys;

/// Numbers one process takes at a time for things that are made one by one.
const BLOCK_NUMBERS: i64 = 1_000;
/// A block older than this is left, so that numbers ascend with time.
const BLOCK_AGE_MICROS: i64 = 1_000_000;

/// Whose rows a call may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scope {
    /// The tenant.
    pub tenant: Id<Tenant>,
}

/// The open database with what belongs to it for as long as it lives.
#[derive(Debug, Clone)]
pub struct Store {
    /// Connections.
    pub db: Db,
    /// The installation's tag in every reference.
    pub tag: u16,
    /// Seals and opens personal data, and makes look-up hashes.
    pub keys: Keys,
    /// How it showed that it went back since it was last open, if it did.
    pub went_back: Option<WentBack>,
    /// Where it is, as PostgreSQL tells.
    pub server: Option<String>,
    seen: Option<Seen>,
    block: Arc<Mutex<Block>>,
}

#[derive(Debug, Default)]
struct Block {
    next: i64,
    end: i64,
    taken_at: i64,
}

impl Store {
    /// Opens the database; `migrate` brings its tables up to date first.
    pub async fn open(url: &str, migrate: bool) -> Result<Self> {
        let db = Db::open(url).await?;
        let seen = matches!(db, Db::Sqlite { .. }).then(|| Seen::beside(url));
        Self::watched(db, migrate, seen).await
    }

    /// The same on a database that is open already, and that no file beside it watches.
    pub async fn on(db: Db, migrate: bool) -> Result<Self> {
        Self::watched(db, migrate, None).await
    }

    async fn watched(db: Db, migrate: bool, seen: Option<Seen>) -> Result<Self> {
        if migrate {
            migrate::run(&db).await?;
        }
        // Read before the database, which others may be going on with.
        let seen_number = seen.as_ref().and_then(Seen::read);
        let server = restored::server(&db).await;
        let mut tx = db.read().await?;
        let found = tx.rows("SELECT tag, index_key, restores, next_number, server FROM installation", &[]).await;
        let row = found.context("the database has no tables yet; run `paymaster migrate`")?;
        let row = row.into_iter().next().context("the database has no installation row; run `paymaster migrate`")?;
        let tag = u16::try_from(row.int(0)?)?;
        let keys = Keys::new(row.bytes(1)?);
        let known = row.maybe_text(4)?;
        let went_back =
            restored::went_back((row.int(2)?, row.int(3)?), (known.as_deref(), server.as_deref()), seen_number);
        drop(tx);
        if let (true, None, Some(server)) = (migrate, &known, &server) {
            restored::keep_server(&db, server).await?;
        }
        Ok(Self { db, tag, keys, went_back, server, seen, block: Arc::default() })
    }

    /// The same store as another process would have it, with a block of numbers of its own.
    pub fn afresh(&self) -> Self {
        Self { block: Arc::default(), ..self.clone() }
    }

    /// `count` successive numbers that nobody else has; returns the first.
    pub async fn allot(&self, count: i64, now: i64) -> Result<i64> {
        let mut tx = self.db.begin().await?;
        let first = self.allot_in(&mut tx, count, now).await?;
        tx.commit().await?;
        if let Some(seen) = &self.seen {
            seen.write(first + count).await;
        }
        Ok(first)
    }

    /// The same inside a unit of work, which others wait for until it ends; for what is rare.
    pub async fn allot_in(&self, tx: &mut Tx, count: i64, now: i64) -> Result<i64> {
        let floor = (now / 1_000) << COUNTER_BITS;
        let sql = "UPDATE installation SET next_number = CASE WHEN next_number < $1 THEN $1 ELSE next_number END + $2 \
                   WHERE one = 1 RETURNING next_number";
        Ok(tx.one(sql, values![floor, count]).await?.int(0)? - count)
    }

    /// `count` numbers for things that are made one by one. Draw before the unit of work begins.
    pub async fn draw(&self, count: usize, now: i64) -> Result<Numbers> {
        let count = i64::try_from(count)?;
        if let Some(numbers) = self.take(count, now) {
            return Ok(numbers);
        }
        let size = count.max(BLOCK_NUMBERS);
        let next = self.allot(size, now).await?;
        if let Ok(mut block) = self.block.lock() {
            *block = Block { next: next + count, end: next + size, taken_at: now };
        }
        Ok(Numbers { next, end: next + count })
    }

    fn take(&self, count: i64, now: i64) -> Option<Numbers> {
        let mut block = self.block.lock().ok()?;
        let young = now - block.taken_at < BLOCK_AGE_MICROS;
        if !young || block.next + count > block.end {
            return None;
        }
        block.next += count;
        Some(Numbers { next: block.next - count, end: block.next })
    }

    /// Begins a writing unit of work.
    pub async fn begin(&self) -> Result<Tx> {
        self.db.begin().await
    }

    /// Begins a reading unit of work.
    pub async fn read(&self) -> Result<Tx> {
        self.db.read().await
    }
}

/// Numbers drawn for one unit of work.
#[derive(Debug)]
pub struct Numbers {
    next: i64,
    end: i64,
}

impl Numbers {
    /// `count` numbers that were allotted from `first` on.
    pub fn from_first(first: i64, count: i64) -> Self {
        Self { next: first, end: first + count }
    }

    /// The next one. Drawing too few is a mistake of the caller, told as an error.
    pub fn take(&mut self) -> Result<i64> {
        anyhow::ensure!(self.next < self.end, "more numbers are needed than were drawn");
        self.next += 1;
        Ok(self.next - 1)
    }
}
