//! What statements are given: single values, and columns of values as a table, bound as each engine wants them.
//! Deliberately not here: running statements.

use anyhow::Result;
use sqlx::Arguments;
use sqlx::postgres::PgArguments;
use sqlx::sqlite::SqliteArguments;

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
    pub(super) const NONE: Self = Table { names: &[], columns: &[] };

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

pub(super) fn sqlite_call(sql: &str, values: &[Value<'_>], table: Table<'_>) -> Result<(String, SqliteArguments)> {
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

pub(super) fn postgres_call(sql: &str, values: &[Value<'_>], table: Table<'_>) -> Result<(String, PgArguments)> {
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
