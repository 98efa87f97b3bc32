//! The operator's memory across restarts: one line of JSON for each thing that happened, in order.
//! Deliberately not here: what the lines mean (`book.rs`), and fsync: it survives a killed operator,
//! not a lost disk.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::Path;

use anyhow::Context;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::ledger::{Credit, Return};
use super::reason::Reason;
use super::wire::{self, Item};

/// The file inside the folder.
const FILE_NAME: &str = "ledger.jsonl";

/// A request that was accepted, with everything needed to carry it out after a restart.
#[derive(Serialize, Deserialize)]
pub(super) struct RequestLine {
    pub(super) correlation: Option<String>,
    pub(super) server: String,
    pub(super) object: String,
    /// The operator's number of a single payment; a batch has none.
    pub(super) number: Option<u64>,
    pub(super) callback: Option<String>,
    pub(super) title: Option<String>,
    pub(super) description: Option<String>,
    pub(super) approved: bool,
    pub(super) at_micros: i64,
    /// The first request under the same correlation id, where this is a further copy.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(super) copy_of: Option<u32>,
    /// Whether what it holds was rejected before, and is so no more.
    #[serde(skip_serializing_if = "is_false", default)]
    pub(super) replaces: bool,
    pub(super) items: Vec<ItemLine>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_false(flag: &bool) -> bool {
    !*flag
}

/// A payment of a request.
#[derive(Serialize, Deserialize)]
pub(super) struct ItemLine {
    pub(super) reference: String,
    pub(super) payee: String,
    pub(super) debit: String,
    pub(super) kind: String,
    pub(super) amount_minor: i64,
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub(super) description: String,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(super) refused: Option<String>,
}

/// One line of the file. `request` counts the accepted requests from zero, `position` its items.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Entry {
    Request(RequestLine),
    Approved {
        request: u32,
        correlation: Option<String>,
    },
    Credit {
        request: u32,
        position: u32,
        reference: String,
        payee: String,
        debit: String,
        amount_minor: i64,
        number: u64,
        at_micros: i64,
    },
    /// The credit of this number came back.
    Returned {
        credit: u64,
        number: u64,
        at_micros: i64,
    },
    Rejected {
        request: u32,
        position: u32,
        reason: String,
        at_micros: i64,
    },
    Ended {
        request: u32,
        at_micros: i64,
    },
}

impl Entry {
    pub(super) fn returned(credit: &Credit, one: Return) -> Self {
        Self::Returned { credit: credit.number, number: one.number, at_micros: one.at_micros }
    }

    pub(super) fn credit(position: u32, credit: &Credit) -> Self {
        Self::Credit {
            request: credit.request,
            position,
            reference: credit.reference.to_string(),
            payee: credit.payee.to_string(),
            debit: credit.debit.to_string(),
            amount_minor: credit.amount_minor,
            number: credit.number,
            at_micros: credit.at_micros,
        }
    }
}

impl ItemLine {
    pub(super) fn of(item: &Item) -> Self {
        Self {
            reference: item.reference.to_string(),
            payee: item.payee.to_string(),
            debit: item.debit.to_string(),
            kind: item.kind.to_owned(),
            amount_minor: item.amount_minor,
            description: item.description.to_string(),
            refused: item.refused.map(|reason| reason.text.to_owned()),
        }
    }

    pub(super) fn item(self) -> anyhow::Result<Item> {
        let kind = wire::kind(&self.kind).map_err(|_| anyhow::anyhow!("unknown kind `{}`", self.kind))?;
        // A refusal that cannot be read must not turn into a payment.
        let refused = match self.refused {
            Some(text) => Some(Reason::parse(&text).with_context(|| format!("unknown reason `{text}`"))?),
            None => None,
        };
        Ok(Item {
            reference: self.reference.into(),
            payee: self.payee.into(),
            debit: self.debit.into(),
            kind,
            amount_minor: self.amount_minor,
            description: self.description.into(),
            refused,
        })
    }
}

/// Reads a UUID that may be missing.
pub(super) fn uuid(text: Option<&str>) -> anyhow::Result<Option<Uuid>> {
    Ok(text.map(Uuid::try_parse).transpose()?)
}

/// The open file.
pub(super) struct Journal {
    file: BufWriter<File>,
}

impl Journal {
    /// Opens or makes the file, and hands every whole line to `each`. A last line that a crash cut short
    /// was never acknowledged and is removed; any other unreadable line is an error.
    pub(super) fn open(folder: &Path, mut each: impl FnMut(Entry) -> anyhow::Result<()>) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let path = folder.join(FILE_NAME);
        let file = OpenOptions::new().read(true).append(true).create(true).open(&path);
        let file = file.with_context(|| format!("cannot open {}", path.display()))?;
        let mut reader = BufReader::new(file);
        let (mut good_bytes, mut line) = (0_u64, Vec::new());
        loop {
            line.clear();
            let read = reader.read_until(b'\n', &mut line)?;
            if read == 0 || line.last() != Some(&b'\n') {
                break;
            }
            let entry = serde_json::from_slice(&line)
                .with_context(|| format!("{} is damaged after {good_bytes} bytes", path.display()))?;
            each(entry)?;
            good_bytes += read as u64;
        }
        let file = reader.into_inner();
        file.set_len(good_bytes)?;
        Ok(Self { file: BufWriter::new(file) })
    }

    pub(super) fn write_request(&mut self, request: &RequestLine) -> std::io::Result<()> {
        /// As [`Entry::Request`] is written, without taking the line away.
        #[derive(Serialize)]
        struct Borrowed<'a> {
            request: &'a RequestLine,
        }
        serde_json::to_writer(&mut self.file, &Borrowed { request })?;
        self.file.write_all(b"\n")
    }

    pub(super) fn write(&mut self, entry: &Entry) -> std::io::Result<()> {
        serde_json::to_writer(&mut self.file, entry)?;
        self.file.write_all(b"\n")
    }

    pub(super) fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}
