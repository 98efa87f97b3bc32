//! A report as a file: CSV for programs and XLSX for people, with the same cells.
//! Amounts are exact in both: a spreadsheet keeps 15 digits of a number, so that longer ones are written as words.

use anyhow::Result;
use paymaster_connectors::contract::Money;
use rust_decimal::Decimal;
use rust_xlsxwriter::{DocProperties, ExcelDateTime, Format, FormatAlign, Workbook, Worksheet};

use super::{Cell, Check, Kind, Table};
use crate::domain::row::for_people;

/// Digits of a number that a spreadsheet keeps.
const DIGITS_MAX: usize = 15;
/// Widths of columns, in characters.
const WIDTHS: (u16, u16) = (8, 60);
/// Most characters that a spreadsheet's cell holds.
const CELL_CHARS_MAX: usize = 32_767;

/// Which file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paper {
    /// Comma-separated values in UTF-8.
    Csv,
    /// A spreadsheet.
    Xlsx,
}

impl Paper {
    /// Reads the ending of a file's name.
    pub fn parse(ending: &str) -> Option<Self> {
        match ending {
            "csv" => Some(Self::Csv),
            "xlsx" => Some(Self::Xlsx),
            _ => None,
        }
    }

    /// How it is called where a content is typed.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Csv => "text/csv; charset=utf-8",
            Self::Xlsx => "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        }
    }

    /// The whole file. It takes a while for a long report.
    pub fn write(self, table: &Table) -> Result<Vec<u8>> {
        match self {
            Self::Csv => csv(table),
            Self::Xlsx => xlsx(table),
        }
    }
}

/// The rows, a header first. Words that a spreadsheet would run are made harmless.
fn csv(table: &Table) -> Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(table.columns.iter().map(|(name, _)| *name))?;
    for row in &table.rows {
        let cells = row.iter().map(|cell| match cell {
            Cell::Text(text) | Cell::Day(text) => for_people(text).into_owned(),
            Cell::Count(count) => count.to_string(),
            Cell::Money(money) => money.decimal().to_string(),
            Cell::Empty => String::new(),
        });
        writer.write_record(cells)?;
    }
    Ok(writer.into_inner()?)
}

/// The rows on one sheet, what was held against the books on another.
fn xlsx(table: &Table) -> Result<Vec<u8>> {
    let mut book = Workbook::new();
    let made = ExcelDateTime::from_timestamp(table.at.div_euclid(1_000_000))?;
    book.set_properties(&DocProperties::new().set_title(table.title).set_creation_datetime(&made));
    let sheet = book.add_worksheet().set_name(table.name)?;
    let columns: Vec<(&str, bool)> =
        table.columns.iter().map(|(name, kind)| (*name, matches!(kind, Kind::Count | Kind::Money))).collect();
    fill(sheet, &columns, &table.rows)?;
    let checks: Vec<Vec<Cell>> = table.checks.iter().map(check_cells).collect();
    let columns = [
        ("check", false),
        ("report", true),
        ("books", true),
        ("difference", true),
        ("currency", false),
        ("holds", false),
    ];
    fill(book.add_worksheet().set_name("Checks")?, &columns, &checks)?;
    Ok(book.save_to_buffer()?)
}

fn check_cells(check: &Check) -> Vec<Cell> {
    let money = |minor| Cell::Money(Money::new(minor, check.currency));
    vec![
        Cell::text(check.what),
        money(check.report_minor),
        money(check.ledger_minor),
        money(check.report_minor.saturating_sub(check.ledger_minor)),
        Cell::text(check.currency.code()),
        Cell::text(if check.holds() { "yes" } else { "no" }),
    ]
}

/// Writes a header that stays in sight, rows below it, and makes columns wide enough. `columns` tells which stand right.
fn fill(sheet: &mut Worksheet, columns: &[(&str, bool)], rows: &[Vec<Cell>]) -> Result<()> {
    let mut widths: Vec<usize> = columns.iter().map(|(name, _)| name.len()).collect();
    for (at, (name, is_right)) in (0_u16..).zip(columns) {
        let align = if *is_right { FormatAlign::Right } else { FormatAlign::Left };
        sheet.write_string_with_format(0, at, *name, &Format::new().set_bold().set_align(align))?;
    }
    for (line, row) in (1_u32..).zip(rows) {
        for ((at, width), cell) in (0_u16..).zip(&mut widths).zip(row) {
            *width = (*width).max(write(sheet, (line, at), cell)?);
        }
    }
    for (at, width) in (0_u16..).zip(widths) {
        // Two more than the longest, for the margins of a cell.
        let width = u16::try_from(width + 2).unwrap_or(WIDTHS.1).clamp(WIDTHS.0, WIDTHS.1);
        sheet.set_column_width(at, width)?;
    }
    sheet.set_freeze_panes(1, 0)?;
    Ok(())
}

/// Writes a cell and tells how wide it is. Words are never formulas here.
fn write(sheet: &mut Worksheet, (line, at): (u32, u16), cell: &Cell) -> Result<usize> {
    let text = match cell {
        Cell::Empty => return Ok(0),
        Cell::Text(text) | Cell::Day(text) => text.chars().take(CELL_CHARS_MAX).collect(),
        Cell::Count(count) => {
            let decimal = Decimal::from(*count);
            if fits(&decimal) {
                sheet.write(line, at, decimal)?;
                return Ok(count.to_string().len());
            }
            count.to_string()
        }
        Cell::Money(money) => {
            let decimal = money.decimal();
            if fits(&decimal) {
                sheet.write_with_format(line, at, decimal, &Format::new().set_num_format(number_format(money)))?;
                // Thousands are set apart.
                return Ok(decimal.to_string().len() * 4 / 3);
            }
            decimal.to_string()
        }
    };
    let width = text.chars().count();
    sheet.write_string(line, at, text)?;
    Ok(width)
}

fn fits(decimal: &Decimal) -> bool {
    decimal.mantissa().unsigned_abs().to_string().len() <= DIGITS_MAX
}

/// How sums of a currency are shown: with all its decimals.
fn number_format(money: &Money) -> String {
    match usize::try_from(money.currency.exponent()).unwrap_or(0) {
        0 => String::from("#,##0"),
        decimals => format!("#,##0.{}", "0".repeat(decimals)),
    }
}

#[cfg(test)]
mod tests {
    use paymaster_connectors::contract::Currency;

    use super::*;

    #[test]
    fn what_a_spreadsheet_would_round_is_written_as_words() {
        for (minor, is_number) in [(0, true), (-1, true), (999_999_999_999_999, true), (1_000_000_000_000_000, false)] {
            let money = Money::new(minor, Currency::parse("KES").unwrap());
            assert_eq!(fits(&money.decimal()), is_number, "{money}");
        }
    }

    #[test]
    fn a_currency_shows_its_own_decimals() {
        let shown = |code| number_format(&Money::new(1, Currency::parse(code).unwrap()));
        assert_eq!(["JPY", "KES", "KWD"].map(shown), ["#,##0", "#,##0.00", "#,##0.000"]);
    }
}
