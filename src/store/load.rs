//! Bulk loading: columns in memory, written as PostgreSQL's binary COPY or as SQLite's many-row INSERT.
//! Deliberately not here: when a chunk is full and what happens on a conflict.

use anyhow::{Result, ensure};
use sqlx::Arguments;
use sqlx::postgres::PgArguments;
use sqlx::sqlite::SqliteArguments;

/// The values of one column. The width must be the column's own: binary COPY converts nothing.
#[derive(Debug)]
pub enum Column {
    /// SMALLINT.
    Small(Vec<i16>),
    /// INTEGER.
    Middle(Vec<i32>),
    /// BIGINT.
    Int(Vec<i64>),
    /// BIGINT that may be NULL.
    MaybeInt(Vec<Option<i64>>),
    /// BYTEA.
    Bytes(Strip),
    /// TEXT.
    Text(Strip),
    /// TEXT that may be NULL.
    MaybeText(Vec<Option<String>>),
}

/// Many byte strings in one allocation.
#[derive(Debug, Default)]
pub struct Strip {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Strip {
    /// Appends one.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.ends.push(self.bytes.len());
    }

    /// All of them in order.
    pub fn all(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.ends.len()).map(|position| self.get(position))
    }

    /// The one at `position`.
    pub fn get(&self, position: usize) -> &[u8] {
        let start = if position == 0 { 0 } else { self.ends[position - 1] };
        &self.bytes[start..self.ends[position]]
    }
}

impl Column {
    /// Text values.
    pub fn texts<'a>(values: impl Iterator<Item = &'a str>) -> Self {
        Self::Text(strip(values.map(str::as_bytes)))
    }

    /// Byte values.
    pub fn bytes<'a>(values: impl Iterator<Item = &'a [u8]>) -> Self {
        Self::Bytes(strip(values))
    }

    fn len(&self) -> usize {
        match self {
            Self::Small(values) => values.len(),
            Self::Middle(values) => values.len(),
            Self::Int(values) => values.len(),
            Self::MaybeInt(values) => values.len(),
            Self::Bytes(values) | Self::Text(values) => values.ends.len(),
            Self::MaybeText(values) => values.len(),
        }
    }

    fn bind(&self, row: usize, arguments: &mut SqliteArguments) -> Result<()> {
        let bound = match self {
            Self::Small(values) => arguments.add(values[row]),
            Self::Middle(values) => arguments.add(values[row]),
            Self::Int(values) => arguments.add(values[row]),
            Self::MaybeInt(values) => arguments.add(values[row]),
            Self::Bytes(values) => arguments.add(values.get(row).to_vec()),
            Self::Text(values) => arguments.add(std::str::from_utf8(values.get(row))?.to_owned()),
            Self::MaybeText(values) => arguments.add(values[row].clone()),
        };
        bound.map_err(|error| anyhow::anyhow!(error))
    }

    /// Binds all values as one array; returns the name of their type.
    fn array(&self, arguments: &mut PgArguments) -> Result<&'static str> {
        let (bound, name) = match self {
            Self::Small(values) => (arguments.add(values.as_slice()), "smallint"),
            Self::Middle(values) => (arguments.add(values.as_slice()), "integer"),
            Self::Int(values) => (arguments.add(values.as_slice()), "bigint"),
            Self::MaybeInt(values) => (arguments.add(values.as_slice()), "bigint"),
            Self::Bytes(values) => (arguments.add(values.all().collect::<Vec<&[u8]>>()), "bytea"),
            Self::Text(values) => {
                let texts: Result<Vec<&str>, _> = values.all().map(std::str::from_utf8).collect();
                (arguments.add(texts?), "text")
            }
            Self::MaybeText(values) => (arguments.add(values.as_slice()), "text"),
        };
        bound.map_err(|error| anyhow::anyhow!(error))?;
        Ok(name)
    }

    fn copy(&self, row: usize, out: &mut Vec<u8>) -> Result<()> {
        match self {
            Self::Small(values) => field(out, &values[row].to_be_bytes()),
            Self::Middle(values) => field(out, &values[row].to_be_bytes()),
            Self::Int(values) => field(out, &values[row].to_be_bytes()),
            Self::MaybeInt(values) => match values[row] {
                Some(value) => field(out, &value.to_be_bytes()),
                None => null(out),
            },
            Self::Bytes(values) | Self::Text(values) => field(out, values.get(row)),
            Self::MaybeText(values) => match &values[row] {
                Some(value) => field(out, value.as_bytes()),
                None => null(out),
            },
        }
    }
}

fn strip<'a>(values: impl Iterator<Item = &'a [u8]>) -> Strip {
    let mut strip = Strip::default();
    for value in values {
        strip.push(value);
    }
    strip
}

/// What a binary COPY stream begins with: signature, no flags, no extension.
pub(super) const COPY_HEAD: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// What it ends with.
pub(super) const COPY_TAIL: &[u8] = &(-1_i16).to_be_bytes();

/// Rows of one table, column by column.
#[derive(Debug)]
pub struct Load {
    /// Table name.
    pub table: &'static str,
    /// Columns that are given, with their values, equally long.
    pub columns: Vec<(&'static str, Column)>,
}

impl Load {
    /// Values bound in one INSERT on SQLite; more is slower there.
    const SQLITE_VALUES: usize = 900;
    /// Fewer rows than this are inserted by one statement on PostgreSQL.
    pub(super) const COPY_ROWS_MIN: usize = 10_000;
    /// Bytes handed to COPY at once.
    const COPY_BYTES: usize = 256 << 10;

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.columns.first().map_or(0, |(_, column)| column.len())
    }

    pub(super) fn check(&self) -> Result<()> {
        let rows = self.rows();
        ensure!(self.columns.iter().all(|(_, column)| column.len() == rows), "columns of {} differ", self.table);
        Ok(())
    }

    fn names(&self) -> String {
        self.columns.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
    }

    /// INSERT statements that together hold all rows.
    pub(super) fn inserts(&self) -> impl Iterator<Item = Result<(String, SqliteArguments)>> {
        let step = (Self::SQLITE_VALUES / self.columns.len().max(1)).max(1);
        (0..self.rows()).step_by(step).map(move |first| self.insert(first, (first + step).min(self.rows())))
    }

    fn insert(&self, first: usize, end: usize) -> Result<(String, SqliteArguments)> {
        let mut sql = format!("INSERT INTO {} ({}) VALUES ", self.table, self.names());
        let mut arguments = SqliteArguments::default();
        let places = vec!["?"; self.columns.len()].join(",");
        for row in first..end {
            sql.push_str(if row == first { "(" } else { ",(" });
            sql.push_str(&places);
            sql.push(')');
            for (_, column) in &self.columns {
                column.bind(row, &mut arguments)?;
            }
        }
        Ok((sql, arguments))
    }

    /// One statement with a column of values for each parameter, for PostgreSQL. Over TCP a COPY costs a delayed
    /// acknowledgement, some 40 ms, which only many rows are worth.
    pub(super) fn unnest(&self) -> Result<(String, PgArguments)> {
        let mut arguments = PgArguments::default();
        let mut arrays = Vec::with_capacity(self.columns.len());
        for (position, (_, column)) in self.columns.iter().enumerate() {
            arrays.push(format!("${}::{}[]", position + 1, column.array(&mut arguments)?));
        }
        let names = self.names();
        Ok((format!("INSERT INTO {} ({names}) SELECT * FROM UNNEST({})", self.table, arrays.join(", ")), arguments))
    }

    pub(super) fn copy_statement(&self) -> String {
        format!("COPY {} ({}) FROM STDIN BINARY", self.table, self.names())
    }

    /// The rows in PostgreSQL's binary COPY format, as its manual lays it out, handed on in pieces of bounded
    /// size. The stream begins with [`COPY_HEAD`] and ends with [`COPY_TAIL`].
    pub(super) fn copy_pieces(&self) -> impl Iterator<Item = Result<Vec<u8>>> {
        let mut row = 0;
        std::iter::from_fn(move || {
            if row >= self.rows() {
                return None;
            }
            let mut piece = Vec::with_capacity(Self::COPY_BYTES + 4096);
            while row < self.rows() && piece.len() < Self::COPY_BYTES {
                if let Err(error) = self.copy_row(row, &mut piece) {
                    row = self.rows();
                    return Some(Err(error));
                }
                row += 1;
            }
            Some(Ok(piece))
        })
    }

    fn copy_row(&self, row: usize, out: &mut Vec<u8>) -> Result<()> {
        out.extend_from_slice(&i16::try_from(self.columns.len())?.to_be_bytes());
        self.columns.iter().try_for_each(|(_, column)| column.copy(row, out))
    }
}

fn field(out: &mut Vec<u8>, value: &[u8]) -> Result<()> {
    out.extend_from_slice(&i32::try_from(value.len())?.to_be_bytes());
    out.extend_from_slice(value);
    Ok(())
}

fn null(out: &mut Vec<u8>) -> Result<()> {
    out.extend_from_slice(&(-1_i32).to_be_bytes());
    Ok(())
}
