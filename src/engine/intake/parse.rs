//! The file on its own thread: rows read, checked, routed, sealed, and handed on in chunks of bounded size.

use std::collections::HashSet;
use std::fs::File;

use anyhow::{Context, Result};
use tokio::sync::mpsc::Sender;

use super::FileRefused;
use crate::domain::columns::Columns;
use crate::domain::csv::{Reader, Record};
use crate::domain::identity::{CycleScope, Identity};
use crate::domain::row::{self, Payable, Rules};
use crate::engine::Route;
use crate::store::payroll::{Reject, Total};
use crate::store::seal::Keys;

/// Rows handed on, and loaded, at once.
pub const CHUNK_ROWS: usize = 34_000;
/// Separates the fields of a sealed payee; no field can hold it, control characters are refused.
const SEPARATOR: char = '\u{1f}';

/// Who is paid, as stored.
#[derive(Debug, Clone, Default)]
pub(in crate::engine) struct Payee {
    pub entitlement: String,
    pub instalment: String,
    pub beneficiary: String,
    pub payee_name: String,
    pub payee_account: String,
    pub purpose: String,
    pub note: String,
}

impl Payee {
    /// Opens a stored payee.
    pub fn open(keys: &Keys, sealed: &[u8]) -> Result<Self> {
        let text = String::from_utf8(keys.open(sealed)?)?;
        let mut fields = text.split(SEPARATOR).map(str::to_owned);
        let mut field = || fields.next().context("a stored payee is damaged");
        Ok(Self {
            entitlement: field()?,
            instalment: field()?,
            beneficiary: field()?,
            payee_name: field()?,
            payee_account: field()?,
            purpose: field()?,
            note: field()?,
        })
    }
}

/// A row that can be paid, before it has a number.
#[derive(Debug)]
pub(super) struct ParsedRow {
    pub line: i64,
    pub identity: [u8; 16],
    pub amount_minor: i64,
    pub account_hash: [u8; 16],
    /// Position of its provider among the engine's.
    pub provider: usize,
    pub held: bool,
    pub generation: i16,
    pub sealed: Vec<u8>,
}

/// What the thread hands on.
#[derive(Debug, Default)]
pub(super) struct Parsed {
    pub rows: Vec<ParsedRow>,
    pub rejects: Vec<Reject>,
}

/// What the thread needs to know.
pub(super) struct Parser {
    pub rules: Rules,
    pub scope: CycleScope,
    pub keys: Keys,
    pub routes: Vec<Vec<Route>>,
    pub holds: HashSet<[u8; 16]>,
    pub all_or_nothing: bool,
}

/// How the file ended: what it held, or why it is refused.
pub(super) type Ended = (Total, Option<FileRefused>);

impl Parser {
    /// Reads the file to its end, or to what refuses it. Runs on a blocking thread.
    pub fn run(self, file: File, chunks: &Sender<Parsed>) -> Result<Ended> {
        let mut reader = Reader::new(file);
        let mut total = Total::default();
        // Any selection of the amounts, negative ones too, must add up without overflow later.
        let mut gross = 0_i64;
        let refusal = |code, line, text: &str| Some(FileRefused { code, text: format!("line {line}: {text}") });
        let columns = match reader.header() {
            Ok(columns) => columns,
            Err(error) => return Ok((total, refusal(error.code, error.line, &error.text))),
        };
        let mut parsed = Parsed::default();
        let mut text = String::new();
        let refused = loop {
            let record = match reader.next() {
                Ok(Some(record)) => record,
                Ok(None) => break None,
                Err(error) => break refusal(error.code, error.line, &error.text),
            };
            let amount = row::written_amount(&columns, &record, &self.rules).unwrap_or(0);
            let (Some(sum), Some(more)) = (total.with(amount), gross.checked_add(amount.saturating_abs())) else {
                break refusal("sum_too_large", record.line(), "the sum of all amounts is too large");
            };
            (total, gross) = (sum, more);
            match self.row(&columns, &record, &mut text) {
                Ok(row) => parsed.rows.push(row),
                Err(("currency_other", _)) => {
                    let words = "a payroll has one currency; this row has another than the programme pays in";
                    break refusal("currency_mixed", record.line(), words);
                }
                Err((code, words)) => parsed.rejects.push(self.reject(&columns, &record, code, words, amount)?),
            }
            if parsed.rows.len() + parsed.rejects.len() >= CHUNK_ROWS
                && chunks.blocking_send(std::mem::take(&mut parsed)).is_err()
            {
                return Ok((total, None));
            }
        };
        // A refused file keeps the rows that were refused before it, so that they can be mended in one go.
        if refused.is_some() {
            parsed.rows.clear();
        }
        // The receiver is gone only when loading failed, and then its own error is the one that counts.
        let _ = chunks.blocking_send(parsed);
        Ok((total, refused))
    }

    fn row(
        &self,
        columns: &Columns,
        record: &Record<'_>,
        text: &mut String,
    ) -> Result<ParsedRow, (&'static str, String)> {
        let payable = row::read(columns, record, &self.rules).map_err(|refusal| (refusal.code, refusal.text))?;
        let (scheme, at) = (payable.payee_account.scheme().unwrap_or(""), payable.payee_account.provider());
        let provider = self.routes.iter().position(|routes| routes.iter().any(|route| route.takes(scheme, at)));
        let Some(provider) = provider else {
            return Err((
                "account_no_provider",
                format!("no provider pays accounts at {at}; correct the account or configure one"),
            ));
        };
        join(&payable, text);
        Ok(ParsedRow {
            line: i64::try_from(record.line()).unwrap_or(i64::MAX),
            identity: *Identity::new(&self.scope, &payable.beneficiary, &payable.entitlement, &payable.instalment)
                .as_bytes(),
            amount_minor: payable.amount.minor,
            account_hash: self.keys.hash(payable.payee_account.as_str()),
            provider,
            held: !self.holds.is_empty() && self.holds.contains(&self.keys.hash(&payable.beneficiary)),
            generation: 1,
            sealed: self.keys.seal(text.as_bytes()),
        })
    }

    fn reject(
        &self,
        columns: &Columns,
        record: &Record<'_>,
        code: &'static str,
        text: String,
        amount_minor: i64,
    ) -> Result<Reject> {
        let mut cells = Vec::with_capacity(record.raw().len() + 16);
        columns.write_row(record, &mut cells);
        Ok(Reject { line: i64::try_from(record.line())?, code, text, amount_minor, sealed: self.keys.seal(&cells) })
    }
}

fn join(payable: &Payable, text: &mut String) {
    let fields = [
        payable.entitlement.as_str(),
        &payable.instalment,
        &payable.beneficiary,
        &payable.payee_name,
        payable.payee_account.as_str(),
        &payable.purpose,
        &payable.note,
    ];
    text.clear();
    for (position, field) in fields.into_iter().enumerate() {
        if position > 0 {
            text.push(SEPARATOR);
        }
        text.push_str(field);
    }
}
