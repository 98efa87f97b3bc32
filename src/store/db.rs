//! One connection type over both engines: the only place where SQLite and PostgreSQL differ.
//!
//! SQL elsewhere is one text: `$1` parameters, TEXT, BIGINT and bytes. What must differ for speed has a name
//! here: a table of numbers as a parameter (`{v}`), bulk loading, row locks. Deliberately not here: any table.

use std::borrow::Borrow;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures_util::TryStreamExt;
use sqlx::postgres::{PgArguments, PgConnectOptions, PgPool, PgPoolOptions, PgRow};
use sqlx::sqlite::{
    SqliteArguments, SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteRow,
    SqliteSynchronous,
};
use sqlx::{Arguments, AssertSqlSafe, Column, Postgres, Row as _, Sqlite, TypeInfo};

use super::load::{COPY_HEAD, COPY_TAIL, Load};
use super::meter;

/// Connections a process keeps to PostgreSQL.
const CONNECTIONS_MAX: u32 = 16;
/// How long a writer waits for SQLite's one write lock.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);

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

/// A value bound to a parameter. An absent value still has a type, which PostgreSQL wants to know.
#[derive(Debug, Clone, Copy)]
pub enum Value<'a> {
    /// BIGINT.
    Int(i64),
    /// BIGINT or NULL.
    MaybeInt(Option<i64>),
    /// TEXT.
    Text(&'a str),
    /// TEXT or NULL.
    MaybeText(Option<&'a str>),
    /// Bytes.
    Bytes(&'a [u8]),
    /// Bytes or NULL.
    MaybeBytes(Option<&'a [u8]>),
}

impl From<i64> for Value<'_> {
    fn from(value: i64) -> Self {
        Value::Int(value)
    }
}

impl From<Option<i64>> for Value<'_> {
    fn from(value: Option<i64>) -> Self {
        Value::MaybeInt(value)
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(value: &'a str) -> Self {
        Value::Text(value)
    }
}

impl<'a> From<&'a String> for Value<'a> {
    fn from(value: &'a String) -> Self {
        Value::Text(value)
    }
}

impl<'a> From<Option<&'a str>> for Value<'a> {
    fn from(value: Option<&'a str>) -> Self {
        Value::MaybeText(value)
    }
}

impl<'a> From<&'a [u8]> for Value<'a> {
    fn from(value: &'a [u8]) -> Self {
        Value::Bytes(value)
    }
}

impl<'a> From<Option<&'a [u8]>> for Value<'a> {
    fn from(value: Option<&'a [u8]>) -> Self {
        Value::MaybeBytes(value)
    }
}

/// Writes `[Value::from(a), Value::from(b)]` as `values![a, b]`.
#[macro_export]
macro_rules! values {
    ($($value:expr),* $(,)?) => { &[$($crate::store::db::Value::from($value)),*] };
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
            .pragma("cache_size", "-65536");
        let writer = SqlitePoolOptions::new().max_connections(1).connect_with(options.clone());
        let writer = writer.await.with_context(|| format!("cannot open {path}"))?;
        let readers = SqlitePoolOptions::new().max_connections(4).connect_with(options.read_only(true)).await?;
        Ok(Self::Sqlite { writer, readers })
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
        meter::round_trip();
        Ok(match self {
            Self::Sqlite { writer, .. } => Tx::Sqlite(writer.begin_with("BEGIN IMMEDIATE").await?),
            Self::Postgres(pool) => Tx::Postgres(pool.begin().await?),
        })
    }

    /// Begins a reading unit of work: one snapshot, no locks.
    pub async fn read(&self) -> Result<Tx> {
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
        match self {
            Self::Sqlite(tx) => tx.commit().await?,
            Self::Postgres(tx) => tx.commit().await?,
        }
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

    /// Loads rows in bulk: binary COPY on PostgreSQL, many-row INSERT on SQLite. Fails as a whole.
    pub async fn load(&mut self, load: &Load) -> Result<()> {
        if load.rows() == 0 {
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

/// One column of a table that is handed to a statement.
#[derive(Debug, Clone, Copy)]
pub enum Values<'a> {
    /// BIGINT.
    Ints(&'a [i64]),
    /// Bytes.
    Bytes(&'a [[u8; 16]]),
}

/// Columns handed to a statement as the table `v`, after its other parameters.
#[derive(Debug, Clone, Copy)]
pub struct Table<'a> {
    /// Names of the columns.
    pub names: &'a [&'a str],
    /// The columns, equally long.
    pub columns: &'a [Values<'a>],
}

impl Values<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Ints(values) => values.len(),
            Self::Bytes(values) => values.len(),
        }
    }
}

impl Table<'_> {
    const NONE: Self = Table { names: &[], columns: &[] };

    /// `[[1,"0a"],[3,"0b"]]`: the rows as JSON, which SQLite reads back; bytes as hexadecimal.
    fn json(&self) -> String {
        let rows = self.columns.first().map_or(0, Values::len);
        let mut text = String::with_capacity(rows * 40 + 2);
        text.push('[');
        for row in 0..rows {
            text.push_str(if row == 0 { "[" } else { ",[" });
            for (position, column) in self.columns.iter().enumerate() {
                if position > 0 {
                    text.push(',');
                }
                match column {
                    Values::Ints(values) => text.push_str(&values[row].to_string()),
                    Values::Bytes(values) => {
                        text.push('"');
                        values[row].iter().for_each(|byte| text.push_str(&format!("{byte:02x}")));
                        text.push('"');
                    }
                }
            }
            text.push(']');
        }
        text.push(']');
        text
    }
}

fn sqlite_call(sql: &str, values: &[Value<'_>], table: Table<'_>) -> Result<(String, SqliteArguments)> {
    let mut arguments = SqliteArguments::default();
    for value in values {
        let bound = match *value {
            Value::Int(value) => arguments.add(value),
            Value::MaybeInt(value) => arguments.add(value),
            Value::Text(value) => arguments.add(value.to_owned()),
            Value::MaybeText(value) => arguments.add(value.map(str::to_owned)),
            Value::Bytes(value) => arguments.add(value.to_vec()),
            Value::MaybeBytes(value) => arguments.add(value.map(<[u8]>::to_vec)),
        };
        bound.map_err(|error| anyhow::anyhow!(error))?;
    }
    if table.names.is_empty() {
        return Ok((sql.to_owned(), arguments));
    }
    arguments.add(table.json()).map_err(|error| anyhow::anyhow!(error))?;
    let named = table.names.iter().zip(table.columns).enumerate().map(|(position, (name, column))| match column {
        Values::Ints(_) => format!("value->>{position} AS {name}"),
        Values::Bytes(_) => format!("unhex(value->>{position}) AS {name}"),
    });
    let columns = named.collect::<Vec<_>>().join(", ");
    let source = format!("(SELECT {columns} FROM json_each(${})) AS v", values.len() + 1);
    Ok((sql.replace("{v}", &source), arguments))
}

fn postgres_call(sql: &str, values: &[Value<'_>], table: Table<'_>) -> Result<(String, PgArguments)> {
    let mut arguments = PgArguments::default();
    for value in values {
        let bound = match *value {
            Value::Int(value) => arguments.add(value),
            Value::MaybeInt(value) => arguments.add(value),
            Value::Text(value) => arguments.add(value),
            Value::MaybeText(value) => arguments.add(value),
            Value::Bytes(value) => arguments.add(value),
            Value::MaybeBytes(value) => arguments.add(value),
        };
        bound.map_err(|error| anyhow::anyhow!(error))?;
    }
    if table.names.is_empty() {
        return Ok((sql.to_owned(), arguments));
    }
    for column in table.columns {
        let bound = match column {
            Values::Ints(values) => arguments.add(*values),
            Values::Bytes(values) => arguments.add(values.iter().map(|value| value.to_vec()).collect::<Vec<_>>()),
        };
        bound.map_err(|error| anyhow::anyhow!(error))?;
    }
    let arrays = table.columns.iter().enumerate().map(|(position, column)| {
        let kind = if matches!(column, Values::Ints(_)) { "bigint" } else { "bytea" };
        format!("${}::{kind}[]", values.len() + position + 1)
    });
    let arrays = arrays.collect::<Vec<_>>().join(", ");
    let source = format!("UNNEST({arrays}) AS v({})", table.names.join(", "));
    Ok((sql.replace("{v}", &source), arguments))
}
