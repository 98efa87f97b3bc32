//! The columns of a payroll file: which there are, where they stand, and how a refused row is given back.
//! Deliberately not here: what a cell may hold (`row`).

use super::csv::{COLUMNS_MAX, FileRefusal, Record, too_many_columns};

/// Characters of a wrong column's name that a refusal repeats.
const SHOWN_CHARS: usize = 40;

/// Columns in front of each row of a reject file. Files that come back mended may keep them.
pub const REJECT_COLUMNS: [&str; 3] = ["reject_line", "reject_code", "reject_reason"];

/// A column of a payroll file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Column {
    /// What the payee is owed, by the programme's own key.
    Entitlement,
    /// Which part of it; optional.
    Instalment,
    /// Who is owed, by the programme's own key.
    BeneficiaryId,
    /// The payee's name as the rail may print it.
    PayeeName,
    /// Financial address.
    PayeeAccount,
    /// Decimal amount.
    Amount,
    /// ISO 4217 code.
    Currency,
    /// Why, for the payee; optional.
    Purpose,
    /// For the programme's own people; optional.
    Note,
}

impl Column {
    /// All of them, in the order in which a row is checked and documented.
    pub const ALL: [Self; 9] = [
        Self::Entitlement,
        Self::Instalment,
        Self::BeneficiaryId,
        Self::PayeeName,
        Self::PayeeAccount,
        Self::Amount,
        Self::Currency,
        Self::Purpose,
        Self::Note,
    ];

    /// Its name in the header.
    pub fn name(self) -> &'static str {
        match self {
            Self::Entitlement => "entitlement",
            Self::Instalment => "instalment",
            Self::BeneficiaryId => "beneficiary_id",
            Self::PayeeName => "payee_name",
            Self::PayeeAccount => "payee_account",
            Self::Amount => "amount",
            Self::Currency => "currency",
            Self::Purpose => "purpose",
            Self::Note => "note",
        }
    }

    /// Whether a file must have it.
    pub fn is_required(self) -> bool {
        !matches!(self, Self::Instalment | Self::Purpose | Self::Note)
    }

    fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|column| column.name().eq_ignore_ascii_case(name))
    }
}

/// Where the columns of one file stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Columns {
    places: [Option<usize>; Column::ALL.len()],
    /// Left to right; `None` is a column of an earlier reject file.
    order: Vec<Option<Column>>,
}

impl Columns {
    /// Reads a header: names in any order, in any case, with spaces around them.
    pub fn read(header: &Record<'_>) -> Result<Self, FileRefusal> {
        let line = header.line();
        if header.len() > COLUMNS_MAX {
            return Err(too_many_columns(line));
        }
        let mut columns = Self { places: [None; Column::ALL.len()], order: Vec::with_capacity(header.len()) };
        let mut rejects = [false; REJECT_COLUMNS.len()];
        for (index, bytes) in header.fields().enumerate() {
            let name = std::str::from_utf8(bytes)
                .map_err(|_| {
                    FileRefusal::new("encoding", line, "the header is not UTF-8; save the file as CSV (UTF-8)")
                })?
                .trim();
            let column = Column::parse(name);
            let seen = if let Some(column) = column {
                columns.places[column as usize].replace(index).is_some()
            } else if let Some(at) = REJECT_COLUMNS.iter().position(|known| known.eq_ignore_ascii_case(name)) {
                std::mem::replace(&mut rejects[at], true)
            } else {
                return Err(unknown(name, line));
            };
            if seen {
                let text = format!("the column `{name}` is there twice; remove one");
                return Err(FileRefusal::new("column_repeated", line, text));
            }
            columns.order.push(column);
        }
        columns.complete(line)
    }

    fn complete(self, line: u64) -> Result<Self, FileRefusal> {
        let missing = |column: &Column| column.is_required() && self.index(*column).is_none();
        match Column::ALL.into_iter().find(missing) {
            None => Ok(self),
            Some(column) => {
                let text = format!("the column `{}` is missing; add it", column.name());
                Err(FileRefusal::new("column_missing", line, text))
            }
        }
    }

    /// Where a column stands, counted from 0.
    pub fn index(&self, column: Column) -> Option<usize> {
        self.places[column as usize]
    }

    /// How many fields a row must have.
    pub fn count(&self) -> usize {
        self.order.len()
    }

    /// Appends a row's cells in the order of `Column::ALL`, unchanged, spaces and wrong characters too, so that a
    /// mended reject file can be sent again. A row with too few or too many cells keeps them as they stand.
    pub fn write_row(&self, row: &Record<'_>, out: &mut Vec<u8>) {
        if row.len() == self.count() {
            let cell = |column| self.index(column).and_then(|index| row.field(index)).unwrap_or_default();
            return write_cells(Column::ALL.into_iter().map(cell), out);
        }
        let own = |(index, _): &(usize, &[u8])| !matches!(self.order.get(*index), Some(None));
        write_cells(row.fields().enumerate().filter(own).map(|(_, cell)| cell), out);
    }
}

/// The header of every reject file: why first, because a row with too many cells would push it out of place.
pub fn reject_header() -> Vec<u8> {
    let names = REJECT_COLUMNS.into_iter().chain(Column::ALL.map(Column::name));
    let mut out = Vec::new();
    write_cells(names.map(str::as_bytes), &mut out);
    out.extend_from_slice(b"\r\n");
    out
}

/// Appends one row of a reject file; `cells` is what [`Columns::write_row`] or [`write_cells`] made.
pub fn write_reject(line: i64, code: &str, text: &str, cells: &[u8], out: &mut Vec<u8>) {
    write_cells([line.to_string().as_bytes(), code.as_bytes(), text.as_bytes()].into_iter(), out);
    out.push(b',');
    out.extend_from_slice(cells);
    out.extend_from_slice(b"\r\n");
}

/// Writes cells with commas between them.
pub fn write_cells<'a>(cells: impl Iterator<Item = &'a [u8]>, out: &mut Vec<u8>) {
    for (position, cell) in cells.enumerate() {
        if position > 0 {
            out.push(b',');
        }
        write_cell(cell, out);
    }
}

/// Writes a cell, quoted where RFC 4180 asks for it. The `csv` crate's writer would want a buffer of its own
/// for each row.
fn write_cell(cell: &[u8], out: &mut Vec<u8>) {
    if !cell.iter().any(|byte| matches!(byte, b',' | b'"' | b'\r' | b'\n')) {
        return out.extend_from_slice(cell);
    }
    out.push(b'"');
    for byte in cell {
        if *byte == b'"' {
            out.push(b'"');
        }
        out.push(*byte);
    }
    out.push(b'"');
}

fn unknown(name: &str, line: u64) -> FileRefusal {
    if name.contains([';', '\t', '|']) {
        let text = "the cells are not separated by commas; save the file as CSV with commas";
        return FileRefusal::new("delimiter", line, text);
    }
    let shown: String = name.chars().take(SHOWN_CHARS).collect();
    let known = Column::ALL.map(Column::name).join(", ");
    let text = format!("the column `{}` is not known; the columns are {known}", shown.escape_debug());
    FileRefusal::new("column_unknown", line, text)
}
