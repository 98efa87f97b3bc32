//! A stored file, read on a thread of its own: its parts go in, and what stands in it comes out in chunks.

use std::io::{self, BufRead, Read};
use std::mem;
use std::sync::Arc;

use anyhow::{Context, Result};
use paymaster_connectors::contract::{
    BatchTotal, Connector, Direction, Entry, EntryDetail, EntryFault, Money, ReadError, Reason, Reference, Report,
    StatementEnd, StatementHead, StatementSink, StatusHead, StatusLine, StatusSink,
};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::task::JoinHandle;

use crate::domain::id::{File, Id};
use crate::domain::matching::LineKind;
use crate::engine::Engine;
use crate::store::seal::Keys;
use crate::store::statement::Lines;
use crate::store::{Store, file};

/// Entries or statuses handed over at once.
const CHUNK_LINES: usize = 5_000;
/// Chunks and parts that wait at most.
const WAITING_MAX: usize = 2;
/// Longest free text of an entry that is kept beside the file, in bytes.
const TEXT_BYTES_MAX: usize = 512;

/// What stands in a file, in order.
pub(super) enum Told {
    Head(StatementHead),
    Lines(Lines),
    Fault(EntryFault),
    End(StatementEnd),
    Status(StatusHead),
    Statuses(Vec<Status>),
}

/// One line of a status report.
pub(super) struct Status {
    pub is_payment: bool,
    pub payment_information_id: String,
    pub payee_account: String,
    pub report: Option<Report>,
    pub alarm: Option<(&'static str, String)>,
}

/// What is kept of an entry beside its columns; empty fields are left out.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Rest {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub bank_reference: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub account: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub text: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub code: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<(String, String, String)>,
    /// How many payments the bank says that it stands for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
}

/// A file while it is read.
pub(super) struct Reading {
    told: Receiver<Told>,
    reading: JoinHandle<Result<(), ReadError>>,
    feeding: JoinHandle<Result<()>>,
}

impl Reading {
    pub fn begin(engine: &Engine, provider: &str, id: Id<File>) -> Result<Self> {
        let connector = Arc::clone(&engine.provider(provider)?.connector);
        let (parts, arriving) = mpsc::channel(WAITING_MAX);
        let (tell, told) = mpsc::channel(WAITING_MAX);
        let feeding = tokio::spawn(feed(engine.store.clone(), id, parts));
        let (tag, keys) = (engine.store.tag, engine.store.keys.clone());
        let reading = tokio::task::spawn_blocking(move || {
            let mut teller = Teller { tell, tag, keys, lines: Lines::default(), statuses: Vec::new(), entry: None };
            read(connector.as_ref(), Parts { arriving, part: Vec::new(), read: 0, at_end: false }, &mut teller)
        });
        Ok(Self { told, reading, feeding })
    }

    /// The next thing that stands in the file; nothing at its end or where it cannot be read on.
    pub async fn next(&mut self) -> Option<Told> {
        self.told.recv().await
    }

    /// How the reading ended. An error of ours is an error; one of the file's is inside.
    pub async fn end(self) -> Result<Result<(), ReadError>> {
        drop(self.told);
        self.feeding.abort();
        match self.reading.await.context("a file was not read to its end")? {
            Err(ReadError::Io(error)) => Err(error).context("the stored file cannot be fetched"),
            Err(ReadError::Stopped(error)) => Err(error),
            read => Ok(read),
        }
    }
}

fn read(connector: &dyn Connector, mut parts: Parts, teller: &mut Teller) -> Result<(), ReadError> {
    connector.read(&mut parts, teller)?;
    teller.flush().map_err(ReadError::Stopped)
}

/// Hands the parts of a file to its reader; an empty one at the end.
async fn feed(store: Store, id: Id<File>, parts: Sender<Vec<u8>>) -> Result<()> {
    let mut position = 0;
    loop {
        let part = file::part(&store, id, position).await?.unwrap_or_default();
        let is_last = part.is_empty();
        if parts.send(part).await.is_err() || is_last {
            return Ok(());
        }
        position += 1;
    }
}

/// The parts as one stream of bytes. That they stop coming before the end is an error, never an end.
struct Parts {
    arriving: Receiver<Vec<u8>>,
    part: Vec<u8>,
    read: usize,
    at_end: bool,
}

impl BufRead for Parts {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.read == self.part.len() && !self.at_end {
            let gone = || io::Error::other("the parts of the file stopped coming");
            self.part = self.arriving.blocking_recv().ok_or_else(gone)?;
            (self.read, self.at_end) = (0, self.part.is_empty());
        }
        Ok(&self.part[self.read..])
    }

    fn consume(&mut self, amount: usize) {
        self.read = self.part.len().min(self.read + amount);
    }
}

impl Read for Parts {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let taken = available.len().min(into.len());
        into[..taken].copy_from_slice(&available[..taken]);
        self.consume(taken);
        Ok(taken)
    }
}

/// Turns what a reader tells into chunks.
struct Teller {
    tell: Sender<Told>,
    tag: u16,
    keys: Keys,
    lines: Lines,
    statuses: Vec<Status>,
    entry: Option<Open>,
}

/// An entry whose details are still coming.
struct Open {
    entry: Entry,
    details: u64,
    /// The only detail so far, held because the entry's own sum is its sum too.
    only: Option<EntryDetail>,
    /// What the details come to; `None` once one states no sum.
    sum_minor: Option<i64>,
}

impl Teller {
    fn send(&self, told: Told) -> Result<()> {
        self.tell.blocking_send(told).ok().context("nobody listens to the file any more")
    }

    fn flush(&mut self) -> Result<()> {
        self.close()?;
        if !self.lines.positions.is_empty() {
            let lines = mem::take(&mut self.lines);
            self.send(Told::Lines(lines))?;
        }
        if !self.statuses.is_empty() {
            let statuses = mem::take(&mut self.statuses);
            self.send(Told::Statuses(statuses))?;
        }
        Ok(())
    }

    /// The entry before is complete.
    fn close(&mut self) -> Result<()> {
        let Some(open) = self.entry.take() else { return Ok(()) };
        match (open.only, open.details) {
            (None, 0) => self.line(&open.entry, None, open.entry.amount)?,
            (Some(only), _) => {
                // Where the sum of the only payment is another than its entry's, less charges, the entry's is what
                // the bank booked.
                let charges = only.charges.or(open.entry.charges).map_or(0, |money| money.minor);
                let agrees = |money: &Money| {
                    money.currency != open.entry.amount.currency
                        || money.minor == open.entry.amount.minor
                        || (charges > 0 && money.minor.checked_add(charges) == Some(open.entry.amount.minor))
                };
                let amount = only.amount.filter(agrees).unwrap_or(open.entry.amount);
                self.line(&open.entry, Some(&only), amount)?;
            }
            (None, details) => {
                if open.sum_minor != Some(open.entry.amount.minor) {
                    let text = format!("the {details} payments of an entry do not come to its sum");
                    self.send_fault(&open.entry, "details_differ", text)?;
                }
            }
        }
        Ok(())
    }

    fn send_fault(&mut self, entry: &Entry, code: &'static str, text: String) -> Result<()> {
        let (entry_position, detail_position) = (entry.position, None);
        self.send(Told::Fault(EntryFault { entry_position, detail_position, code, at: 0, text }))
    }

    fn line(&mut self, entry: &Entry, detail: Option<&EntryDetail>, amount: Money) -> Result<()> {
        let kind = LineKind::of(entry, detail);
        let direction = if entry.direction == Direction::Debit { "debit" } else { "credit" };
        let reference = detail.and_then(EntryDetail::reference).or_else(|| Reference::parse(&entry.entry_reference));
        let own = reference.filter(|one| Reference::new(one.number(), self.tag) == *one);
        let lines = &mut self.lines;
        lines.positions.push(i64::try_from(entry.position)?);
        lines.details.push(i64::try_from(detail.map_or(0, |detail| detail.position))?);
        lines.directions.push(direction);
        lines.kinds.push(kind.name());
        lines.currencies.push(amount.currency.code());
        lines.amounts.push(amount.minor);
        lines.payments.push(1);
        lines.booked_on.push(entry.booked_on.map(|day| day.to_string()));
        // What does not count names nothing: it is shown and has no effect.
        let counts = matches!(kind, LineKind::Payment | LineKind::Return);
        lines.disbursements.push(own.filter(|_| counts).map(|one| one.number()));
        let rest = serde_json::to_vec(&rest(entry, detail, own.is_some()))?;
        lines.sealed.push(&self.keys.seal(&rest));
        if lines.positions.len() >= CHUNK_LINES {
            let lines = mem::take(&mut self.lines);
            self.send(Told::Lines(lines))?;
        }
        Ok(())
    }
}

/// What is kept of an entry; less where our own reference leads to everything.
fn rest(entry: &Entry, detail: Option<&EntryDetail>, is_named: bool) -> Rest {
    let first = |a: Option<&String>, b: &String| a.filter(|text| !text.is_empty()).unwrap_or(b).clone();
    let reason = detail.and_then(|detail| detail.return_reason.as_ref());
    let mut rest = Rest {
        bank_reference: first(detail.map(|detail| &detail.bank_reference), &entry.bank_reference),
        account: detail.map(|detail| detail.counterparty_account.clone()).unwrap_or_default(),
        reason: reason.map(|Reason { class, code, text }| (class.name().to_owned(), code.clone(), text.clone())),
        ..Rest::default()
    };
    if is_named {
        return rest;
    }
    let BatchTotal { message_id, payment_information_id, count, .. } = entry.batch.clone().unwrap_or_default();
    let mut names = vec![message_id, payment_information_id, entry.entry_reference.clone()];
    if let Some(detail) = detail {
        names.extend([&detail.message_id, &detail.payment_information_id, &detail.end_to_end_id].map(String::clone));
        rest.name.clone_from(&detail.counterparty_name);
    }
    names.retain(|name| !name.is_empty());
    names.dedup();
    let text = first(detail.map(|detail| &detail.text), &entry.text);
    Rest { names, count, code: entry.code.clone(), text: cut_text(text), ..rest }
}

fn cut_text(mut text: String) -> String {
    let end = (0..=TEXT_BYTES_MAX.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    text.truncate(end);
    text
}

impl StatementSink for Teller {
    fn head(&mut self, head: &StatementHead) -> Result<()> {
        self.flush()?;
        self.send(Told::Head(head.clone()))
    }

    fn entry(&mut self, entry: &Entry) -> Result<()> {
        self.close()?;
        self.entry = Some(Open { entry: entry.clone(), details: 0, only: None, sum_minor: Some(0) });
        Ok(())
    }

    fn detail(&mut self, detail: &EntryDetail) -> Result<()> {
        let Some(mut open) = self.entry.take() else { return Ok(()) };
        open.details += 1;
        let add = |sum: i64| detail.amount.and_then(|money| sum.checked_add(money.minor));
        open.sum_minor = open.sum_minor.and_then(add);
        if open.details == 1 {
            open.only = Some(detail.clone());
        } else {
            if let Some(first) = open.only.take() {
                self.one_of_many(&open.entry, &first)?;
            }
            self.one_of_many(&open.entry, detail)?;
        }
        self.entry = Some(open);
        Ok(())
    }

    fn fault(&mut self, fault: &EntryFault) -> Result<()> {
        self.send(Told::Fault(fault.clone()))
    }

    fn end(&mut self, end: &StatementEnd) -> Result<()> {
        self.flush()?;
        self.send(Told::End(end.clone()))
    }
}

impl Teller {
    /// One payment of several: without a sum of its own it proves nothing.
    fn one_of_many(&mut self, entry: &Entry, detail: &EntryDetail) -> Result<()> {
        match detail.amount {
            Some(amount) => self.line(entry, Some(detail), amount),
            None => self.send_fault(entry, "amount_missing", String::from("one of several payments states no sum")),
        }
    }
}

impl StatusSink for Teller {
    fn head(&mut self, head: &StatusHead) -> Result<()> {
        self.send(Told::Status(head.clone()))
    }

    fn line(&mut self, line: StatusLine<'_>) -> Result<()> {
        self.statuses.push(Status {
            is_payment: line.level == paymaster_connectors::contract::Level::Payment,
            payment_information_id: line.payment_information_id.to_owned(),
            payee_account: line.payee_account.to_owned(),
            report: line.report,
            alarm: line.alarm.map(|alarm| (alarm.code, alarm.text)),
        });
        if self.statuses.len() >= CHUNK_LINES {
            let statuses = mem::take(&mut self.statuses);
            self.send(Told::Statuses(statuses))?;
        }
        Ok(())
    }
}
