//! The bank's memory: one line of JSON for each thing that happened, in blocks that hold as a whole or not at all.
//! Deliberately not here: what the events mean (`book.rs`).

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::Path;

use anyhow::Context;
use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

/// The file inside the bank's folder.
const FILE_NAME: &str = ".ledger";

/// One thing that happened. Files, groups, accounts, credits and held payments are counted from zero.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Event {
    /// The bank opened on this day.
    Day(Date),
    /// A customer's account was seen for the first time, with what was in it.
    Account { id: Box<str>, opening_minor: i64 },
    /// A file was accepted.
    File { message_id: Box<str>, kind: Box<str> },
    /// A group of payments in the last file.
    Group { id: Box<str>, account: u32, batch: bool },
    /// An accepted payment that is looked at again on a later day: executed, or rejected with the code.
    Held { group: u32, payment: Payment, due: Date, code: Option<Box<str>> },
    /// A held payment's day has come.
    Released(u32),
    /// A payment was executed.
    Credit { group: u32, payment: Payment, shown_minor: i64, shown: Visible, back: Option<(Date, Box<str>)> },
    /// A payment was rejected.
    Rejected { group: u32, payment: Payment, code: Box<str> },
    /// A credit came back.
    Back(u32),
    /// Money moved for no order of the customer's; debits are negative.
    Other { account: u32, kind: OtherKind, minor: i64 },
    /// An account's day was closed: all that could be shown was.
    Statement(u32),
    /// A status was written.
    Status,
    /// A file for the customer goes out.
    Put(Box<str>),
    /// A file for the customer waits for a day, or for the bank to be healed.
    Withheld { name: Box<str>, until: Option<Date> },
    /// A customer's file was taken, and put away under the other name.
    Taken { name: Box<str>, done: Box<str> },
    /// A file that was put away under this name was not looked at.
    Lost(Box<str>),
    /// It has been looked at since.
    Found(Box<str>),
    /// A file was refused for no reason of its own.
    Refused,
    /// All that is hidden may be shown.
    Healed,
    /// The block holds.
    Commit,
    /// The files of the block are in their places.
    Settled,
}

/// A day, written as `2026-11-27`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(super) struct Date(pub(super) NaiveDate);

impl TryFrom<String> for Date {
    type Error = chrono::ParseError;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse().map(Self)
    }
}

impl From<Date> for String {
    fn from(date: Date) -> Self {
        date.0.to_string()
    }
}

/// A payment as it was ordered.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Payment {
    #[serde(rename = "ref")]
    pub(super) reference: Box<str>,
    pub(super) minor: i64,
    pub(super) account: Box<str>,
    pub(super) name: Box<str>,
}

/// From when on a line of the statement may be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Visible {
    /// At once, and within a batch where there is one.
    Now,
    /// From this day on, by itself.
    From(Date),
    /// When the bank is healed, by itself.
    Healed,
}

/// What moved money beside the customer's orders.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum OtherKind {
    Charge,
    Foreign,
}

/// The open file.
pub(super) struct Journal {
    file: BufWriter<File>,
}

impl Journal {
    /// Opens or makes the file and hands every event of every whole block to `each`. A last block that was cut
    /// short never held and is removed; any other unreadable line is an error.
    pub(super) fn open(folder: &Path, mut each: impl FnMut(Event) -> anyhow::Result<()>) -> anyhow::Result<Self> {
        let path = folder.join(FILE_NAME);
        let file = OpenOptions::new().read(true).append(true).create(true).open(&path);
        let file = file.with_context(|| format!("cannot open {}", path.display()))?;
        let good_bytes = whole_blocks(BufReader::new(&file))?;
        file.set_len(good_bytes)?;
        let mut lines = BufReader::new(File::open(&path)?);
        let mut line = String::new();
        while lines.read_line(&mut line)? > 0 {
            let event =
                serde_json::from_str(&line).with_context(|| format!("{} is damaged: {line}", path.display()))?;
            each(event)?;
            line.clear();
        }
        Ok(Self { file: BufWriter::new(file) })
    }

    pub(super) fn write(&mut self, event: &Event) -> anyhow::Result<()> {
        serde_json::to_writer(&mut self.file, event)?;
        Ok(self.file.write_all(b"\n")?)
    }

    /// Ends a block; afterwards it is on the disk.
    pub(super) fn commit(&mut self) -> anyhow::Result<()> {
        self.write(&Event::Commit)?;
        self.file.flush()?;
        Ok(self.file.get_ref().sync_data()?)
    }

    /// Notes that the block's files are in their places. Losing this line does no harm.
    pub(super) fn settle(&mut self) -> anyhow::Result<()> {
        self.write(&Event::Settled)?;
        Ok(self.file.flush()?)
    }
}

/// Length of the part that ends with the last line that ends a block.
fn whole_blocks(mut lines: impl BufRead) -> anyhow::Result<u64> {
    let ends = [Event::Commit, Event::Settled].map(|event| serde_json::to_vec(&event));
    let ends = ends.into_iter().collect::<Result<Vec<_>, _>>()?;
    let (mut read_bytes, mut good_bytes, mut line) = (0_u64, 0_u64, Vec::new());
    loop {
        line.clear();
        let read = lines.read_until(b'\n', &mut line)?;
        if read == 0 || line.pop() != Some(b'\n') {
            return Ok(good_bytes);
        }
        read_bytes += read as u64;
        if ends.contains(&line) {
            good_bytes = read_bytes;
        }
    }
}
