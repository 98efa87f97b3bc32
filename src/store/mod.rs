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
pub mod floor;
pub mod gauges;
pub mod ledger;
pub mod load;
pub mod meter;
mod migrate;
pub mod notes;
pub mod party;
pub mod payroll;
pub mod publication;
pub mod seal;
pub mod verify;
pub mod weather;

use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};

use crate::domain::id::{COUNTER_BITS, Id, Tenant};
pub use crate::values;
use db::{Db, Tx};
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
        if migrate {
            migrate::run(&db).await?;
        }
        let mut tx = db.read().await?;
        let found = tx.rows("SELECT tag, index_key FROM installation", &[]).await;
        let row = found.context("the database has no tables yet; run `paymaster migrate`")?;
        let row = row.into_iter().next().context("the database has no installation row; run `paymaster migrate`")?;
        let tag = u16::try_from(row.int(0)?)?;
        let keys = Keys::new(row.bytes(1)?);
        Ok(Self { db, tag, keys, block: Arc::default() })
    }

    /// `count` successive numbers that nobody else has; returns the first.
    pub async fn allot(&self, count: i64, now: i64) -> Result<i64> {
        let mut tx = self.db.begin().await?;
        let first = self.allot_in(&mut tx, count, now).await?;
        tx.commit().await?;
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
