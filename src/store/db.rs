//! One connection type over both engines: the only place where SQLite and PostgreSQL differ.
//!
//! SQL elsewhere is one text: `$1` parameters, TEXT, BIGINT and bytes. What must differ for speed has a name
//! here: a table of numbers as a parameter (`{v}`), bulk loading, row locks. Deliberately not here: any table.

use std::borrow::Borrow;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures_util::TryStreamExt;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions, PgRow};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteRow, SqliteSynchronous,
};
use sqlx::{AssertSqlSafe, Column, Postgres, Row as _, Sqlite, TypeInfo};

pub use super::bind::{Table, Value, Values};
use super::bind::{postgres_call, sqlite_call};
use super::load::{COPY_HEAD, COPY_TAIL, Load};
use super::weather::Commit;
use super::{meter, weather};

/// Connections a process keeps to PostgreSQL.
const CONNECTIONS_MAX: u32 = 16;
/// Longest time PostgreSQL lets a unit of work idle before it ends it.
const IDLE_TIMEOUT: &str = "60s";
/// How long a writer waits for SQLite's one write lock.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);

/// SQLite's page cache of the writer and of each reader, in KiB as SQLite writes it.
const WRITER_CACHE: &str = "-32768";
const READER_CACHE: &str = "-4096";

/// The database. Cheap to clone.
#[derive(Clone, Debug)]
pub enum Db {
    /// Embedded: one writer, many readers.
    Sqlite {
        /// The only connection that writes.
        writer: SqlitePool,
        /// Connections that read.
        readers: SqlitePool,
    },
    /// A server, for many processes.
    Postgres(PgPool),
}

/// One row of an answer, read by position.
#[derive(Debug)]
pub enum Row {
    /// From SQLite.
    Sqlite(SqliteRow),
    /// From PostgreSQL.
    Postgres(PgRow),
}

impl Row {
    /// An integer column of any width.
    pub fn int(&self, position: usize) -> Result<i64> {
        self.maybe_int(position)?.with_context(|| format!("column {position} is NULL"))
    }

    /// An integer column that may be NULL.
    pub fn maybe_int(&self, position: usize) -> Result<Option<i64>> {
        Ok(match self {
            Self::Sqlite(row) => row.try_get(position)?,
            Self::Postgres(row) => match row.column(position).type_info().name() {
                "INT2" => row.try_get::<Option<i16>, _>(position)?.map(i64::from),
                "INT4" => row.try_get::<Option<i32>, _>(position)?.map(i64::from),
                _ => row.try_get(position)?,
            },
        })
    }

    /// A text column.
    pub fn text(&self, position: usize) -> Result<String> {
        self.maybe_text(position)?.with_context(|| format!("column {position} is NULL"))
    }

    /// A text column that may be NULL.
    pub fn maybe_text(&self, position: usize) -> Result<Option<String>> {
        Ok(match self {
            Self::Sqlite(row) => row.try_get(position)?,
            Self::Postgres(row) => row.try_get(position)?,
        })
    }

    /// A bytes column.
    pub fn bytes(&self, position: usize) -> Result<&[u8]> {
        self.maybe_bytes(position)?.with_context(|| format!("column {position} is NULL"))
    }

    /// A bytes column that may be NULL.
    pub fn maybe_bytes(&self, position: usize) -> Result<Option<&[u8]>> {
        Ok(match self {
            Self::Sqlite(row) => row.try_get(position)?,
            Self::Postgres(row) => row.try_get(position)?,
        })
    }
}

impl Db {
    /// Opens `postgres://…` or a SQLite file, which is made when it is missing.
    pub async fn open(url: &str) -> Result<Self> {
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            let options = PgConnectOptions::from_str(url).context("the database URL cannot be read")?;
            // A process that freezes in the middle of a unit of work must not keep its locks for ever.
            let options = options.options([("idle_in_transaction_session_timeout", IDLE_TIMEOUT)]);
            let pool = PgPoolOptions::new().max_connections(CONNECTIONS_MAX).connect_with(options);
            return Ok(Self::Postgres(pool.await.context("PostgreSQL cannot be reached")?));
        }
        let path = url.strip_prefix("sqlite://").unwrap_or(url);
        if path.contains("://") {
            bail!("a database URL is postgres://… or a path to a SQLite file");
        }
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY_TIMEOUT)
            .pragma("cache_size", WRITER_CACHE);
        let writer = SqlitePoolOptions::new().max_connections(1).connect_with(options.clone());
        let writer = writer.await.with_context(|| format!("cannot open {path}"))?;
        let readers = SqlitePoolOptions::new()
            .max_connections(4)
            .connect_with(options.pragma("cache_size", READER_CACHE).read_only(true))
            .await?;
        Ok(Self::Sqlite { writer, readers })
    }

    /// A database that lives in this value alone, on one connection; for simulations.
    pub async fn in_memory() -> Result<Self> {
        let options = SqliteConnectOptions::new().in_memory(true);
        let one = SqlitePoolOptions::new().max_connections(1).test_before_acquire(false);
        let one = one.idle_timeout(None).max_lifetime(None).connect_with(options).await?;
        Ok(Self::Sqlite { writer: one.clone(), readers: one })
    }

    /// `sqlite` or `postgresql`, as reports name it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Sqlite { .. } => "sqlite",
            Self::Postgres(_) => "postgresql",
        }
    }

    /// Begins a writing unit of work. On SQLite it takes the write lock at once.
    pub async fn begin(&self) -> Result<Tx> {
        weather::begin().await?;
        meter::round_trip();
        Ok(match self {
            Self::Sqlite { writer, .. } => Tx::Sqlite(writer.begin_with("BEGIN IMMEDIATE").await?),
            Self::Postgres(pool) => Tx::Postgres(pool.begin().await?),
        })
    }

    /// Begins a reading unit of work: one snapshot, no locks.
    pub async fn read(&self) -> Result<Tx> {
        weather::begin().await?;
        meter::round_trip();
        Ok(match self {
            Self::Sqlite { readers, .. } => Tx::Sqlite(readers.begin().await?),
            Self::Postgres(pool) => {
                Tx::Postgres(pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?)
            }
        })
    }

    /// Closes all connections.
    pub async fn close(&self) {
        match self {
            Self::Sqlite { writer, readers } => {
                readers.close().await;
                writer.close().await;
            }
            Self::Postgres(pool) => pool.close().await,
        }
    }
}

/// A unit of work on one connection. Dropped without [`Tx::commit`], it leaves nothing.
#[derive(Debug)]
pub enum Tx {
    /// On SQLite.
    Sqlite(sqlx::Transaction<'static, Sqlite>),
    /// On PostgreSQL.
    Postgres(sqlx::Transaction<'static, Postgres>),
}

impl Tx {
    /// Makes all of it durable.
    pub async fn commit(self) -> Result<()> {
        meter::round_trip();
        meter::commit();
        let fate = weather::commit();
        match self {
            _ if fate == Commit::Lost => drop(self),
            Self::Sqlite(tx) => tx.commit().await?,
            Self::Postgres(tx) => tx.commit().await?,
        }
        weather::ended().await;
        anyhow::ensure!(fate == Commit::Made, "the connection to the database was lost at a commit");
        Ok(())
    }

    /// Runs a statement; returns how many rows it changed.
    pub async fn execute(&mut self, sql: &str, values: &[Value<'_>]) -> Result<u64> {
        self.execute_with(sql, values, Table::NONE).await
    }

    /// Runs a statement whose text may hold `{v}`: a table `v` made of columns of numbers.
    pub async fn execute_with(&mut self, sql: &str, values: &[Value<'_>], table: Table<'_>) -> Result<u64> {
        meter::round_trip();
        Ok(match self {
            Self::Sqlite(tx) => {
                let (sql, arguments) = sqlite_call(sql, values, table)?;
                sqlx::query_with(AssertSqlSafe(sql), arguments).execute(&mut **tx).await?.rows_affected()
            }
            Self::Postgres(tx) => {
                let (sql, arguments) = postgres_call(sql, values, table)?;
                sqlx::query_with(AssertSqlSafe(sql), arguments).execute(&mut **tx).await?.rows_affected()
            }
        })
    }

    /// All rows of an answer. The statement must bound them.
    pub async fn rows(&mut self, sql: &str, values: &[Value<'_>]) -> Result<Vec<Row>> {
        self.rows_with(sql, values, Table::NONE).await
    }

    /// All rows of an answer to a statement whose text may hold `{v}`.
    pub async fn rows_with(&mut self, sql: &str, values: &[Value<'_>], table: Table<'_>) -> Result<Vec<Row>> {
        meter::round_trip();
        Ok(match self {
            Self::Sqlite(tx) => {
                let (sql, arguments) = sqlite_call(sql, values, table)?;
                let rows = sqlx::query_with(AssertSqlSafe(sql), arguments).fetch_all(&mut **tx).await?;
                rows.into_iter().map(Row::Sqlite).collect()
            }
            Self::Postgres(tx) => {
                let (sql, arguments) = postgres_call(sql, values, table)?;
                let rows = sqlx::query_with(AssertSqlSafe(sql), arguments).fetch_all(&mut **tx).await?;
                rows.into_iter().map(Row::Postgres).collect()
            }
        })
    }

    /// Turns the rows of an answer into values as they come, so that many rows are never held twice.
    pub async fn map_rows<T>(
        &mut self,
        sql: &str,
        values: &[Value<'_>],
        read: impl Fn(&Row) -> Result<T>,
    ) -> Result<Vec<T>> {
        meter::round_trip();
        let mut all = Vec::new();
        match self {
            Self::Sqlite(tx) => {
                let (sql, arguments) = sqlite_call(sql, values, Table::NONE)?;
                let mut rows = sqlx::query_with(AssertSqlSafe(sql), arguments).fetch(&mut **tx);
                while let Some(row) = rows.try_next().await? {
                    all.push(read(&Row::Sqlite(row))?);
                }
            }
            Self::Postgres(tx) => {
                let (sql, arguments) = postgres_call(sql, values, Table::NONE)?;
                let mut rows = sqlx::query_with(AssertSqlSafe(sql), arguments).fetch(&mut **tx);
                while let Some(row) = rows.try_next().await? {
                    all.push(read(&Row::Postgres(row))?);
                }
            }
        }
        Ok(all)
    }

    /// The first row of an answer, if there is one.
    pub async fn row(&mut self, sql: &str, values: &[Value<'_>]) -> Result<Option<Row>> {
        Ok(self.rows(sql, values).await?.into_iter().next())
    }

    /// The only row of an answer that must have one.
    pub async fn one(&mut self, sql: &str, values: &[Value<'_>]) -> Result<Row> {
        self.row(sql, values).await?.with_context(|| format!("no row for: {sql}"))
    }

    /// What follows a SELECT to lock its rows. SQLite has locked everything already.
    pub fn for_update(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "",
            Self::Postgres(_) => " FOR UPDATE",
        }
    }

    /// Loads rows in bulk: one INSERT of arrays or a binary COPY on PostgreSQL, many-row INSERTs on SQLite. Fails
    /// as a whole.
    pub async fn load(&mut self, load: &Load) -> Result<()> {
        if load.rows() == 0 {
            return Ok(());
        }
        if let (Self::Postgres(tx), true) = (&mut *self, load.rows() < Load::COPY_ROWS_MIN) {
            load.check()?;
            meter::round_trip();
            let (sql, arguments) = load.unnest()?;
            sqlx::query_with(AssertSqlSafe(sql), arguments).execute(&mut **tx).await?;
            return Ok(());
        }
        self.load_all(std::iter::once(load)).await
    }

    /// The same for rows that come in pieces of one table and the same columns, as one COPY.
    pub async fn load_all(&mut self, loads: impl Iterator<Item = impl Borrow<Load>>) -> Result<()> {
        let mut loads = loads.peekable();
        let Some(first) = loads.peek() else { return Ok(()) };
        let statement = first.borrow().copy_statement();
        meter::round_trip();
        match self {
            Self::Sqlite(tx) => {
                for load in loads {
                    load.borrow().check()?;
                    for insert in load.borrow().inserts() {
                        let (sql, arguments) = insert?;
                        sqlx::query_with(AssertSqlSafe(sql), arguments).execute(&mut **tx).await?;
                    }
                }
            }
            Self::Postgres(tx) => {
                let mut copy = tx.copy_in_raw(&statement).await?;
                let mut piece_before = COPY_HEAD.to_vec();
                for load in loads {
                    load.borrow().check()?;
                    for piece in load.borrow().copy_pieces() {
                        copy.send(std::mem::replace(&mut piece_before, piece?)).await?;
                    }
                }
                piece_before.extend_from_slice(COPY_TAIL);
                copy.send(piece_before).await?;
                copy.finish().await?;
            }
        }
        Ok(())
    }

    /// Tells PostgreSQL's planner about many new rows; without it, it plans for an empty table.
    pub async fn analyze(&mut self, rows: i64) -> Result<()> {
        const WORTH_IT_ROWS: i64 = 10_000;
        if rows >= WORTH_IT_ROWS && matches!(self, Self::Postgres(_)) {
            self.execute("ANALYZE disbursement, payee", &[]).await?;
        }
        Ok(())
    }
}

/// Whether an error is a unique constraint saying no.
pub fn is_conflict(error: &anyhow::Error) -> bool {
    let database = error.downcast_ref::<sqlx::Error>().and_then(|error| error.as_database_error());
    database.is_some_and(|error| error.is_unique_violation())
}

/// Whether PostgreSQL ended one of two units of work that waited for each other: begin again.
pub fn is_deadlock(error: &anyhow::Error) -> bool {
    let database = error.downcast_ref::<sqlx::Error>().and_then(|error| error.as_database_error());
    database.is_some_and(|error| matches!(error.code().as_deref(), Some("40P01" | "40001")))
}
