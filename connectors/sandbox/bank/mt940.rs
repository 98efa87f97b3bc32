//! Writes the day's statement as MT940: sixteen characters for a reference, the whole of it in the text below.
//! Deliberately not here: what is in it (`sheet.rs`), and the network's envelope.

use std::io::{self, Write};

use chrono::NaiveDate;

use super::accounts::is_iban;
use super::journal::OtherKind;
use super::sheet::{Content, Entry, Sheet};
use super::xml::plain;
use crate::contract::Currency;

/// Width of a line of text.
const LINE_CHARS: usize = 65;
/// Most lines of a text.
const LINES_MAX: usize = 6;
/// Longest reference.
const REFERENCE_CHARS: usize = 16;
/// Longest name that is written.
const NAME_CHARS_MAX: usize = 70;

/// The statement.
pub(super) fn statement<W: Write>(sheet: &Sheet<'_>, mut out: W) -> io::Result<W> {
    let balance = |day: NaiveDate, minor: i64| {
        let mark = if minor < 0 { 'D' } else { 'C' };
        let sum = comma(minor.saturating_abs(), sheet.currency);
        format!("{mark}{}{}{sum}", day.format("%y%m%d"), sheet.currency.code())
    };
    write!(out, ":20:{}\r\n", sheet.id())?;
    write!(out, ":25:{}\r\n", sheet.account.id)?;
    write!(out, ":28C:{:05}/1\r\n", sheet.number)?;
    write!(out, ":60F:{}\r\n", balance(sheet.previous_day, sheet.opening_minor))?;
    for entry in &sheet.entries {
        line(&mut out, sheet, entry)?;
    }
    write!(out, ":62F:{}\r\n-\r\n", balance(sheet.day, sheet.closing_minor))?;
    Ok(out)
}

fn line<W: Write>(out: &mut W, sheet: &Sheet<'_>, entry: &Entry) -> io::Result<()> {
    let said = Said::of(sheet, entry);
    let mark = match entry.content {
        Content::Back(_) if sheet.reversals => "RD",
        _ if entry.minor < 0 => "D",
        _ => "C",
    };
    let is_short = !said.reference.is_empty() && said.reference.len() <= REFERENCE_CHARS;
    // A reference that would be cut is better left to the text.
    let reference = if is_short && is_usable(&said.reference) { &said.reference } else { "NONREF" };
    let day = sheet.day.format("%y%m%d%m%d");
    let sum = comma(entry.minor.saturating_abs(), sheet.currency);
    write!(out, ":61:{day}{mark}{sum}{}{reference}//{}\r\n", said.kind, entry.reference)?;
    if said.text.is_empty() {
        return Ok(());
    }
    write!(out, ":86:{}\r\n", wrapped(&said.text))
}

/// What the line and its text say of an entry.
struct Said {
    kind: &'static str,
    reference: String,
    text: String,
}

impl Said {
    fn of(sheet: &Sheet<'_>, entry: &Entry) -> Self {
        match &entry.content {
            Content::Paid(place) => Self::payment(sheet, *place, ("NTRF", false)),
            Content::Back(place) if sheet.reversals => Self::payment(sheet, *place, ("NTRF", true)),
            Content::Back(place) => Self::payment(sheet, *place, ("NRTI", true)),
            Content::Batch(group, credits) => {
                let message_id = sheet.book.file_of(*group).map_or("", |file| &*file.message_id);
                let id = sheet.book.group(*group).map_or("", |group| &*group.id);
                let text = format!("/PREF/{}/NRTX/{}", clean(id), credits.len());
                Self { kind: "NTRF", reference: message_id.to_owned(), text }
            }
            Content::Other(OtherKind::Charge) => {
                Self { kind: "NCHG", reference: String::new(), text: "CHARGES".to_owned() }
            }
            Content::Other(OtherKind::Foreign) => {
                Self { kind: "NMSC", reference: String::new(), text: "BOOKED BY THE BANK".to_owned() }
            }
        }
    }

    fn payment(sheet: &Sheet<'_>, place: u32, (kind, is_back): (&'static str, bool)) -> Self {
        let Some(credit) = sheet.book.credits.get(place as usize) else {
            return Self { kind, reference: String::new(), text: String::new() };
        };
        let mut text = String::new();
        if is_back {
            text = format!("/RTRN/{}", credit.return_code());
        }
        text.push_str(&format!("/EREF/{}", clean(&credit.reference)));
        let name: String = credit.name.chars().take(NAME_CHARS_MAX).map(|c| if c == '/' { ' ' } else { c }).collect();
        if !name.is_empty() {
            text.push_str(&format!("/NAME/{}", clean(&name)));
        }
        if !credit.account.is_empty() {
            let key = if is_iban(&credit.account) { "IBAN" } else { "ACCT" };
            text.push_str(&format!("/{key}/{}", clean(&credit.account)));
        }
        Self { kind, reference: credit.reference.to_string(), text }
    }
}

/// Whether a reference can stand in a line without breaking it.
fn is_usable(reference: &str) -> bool {
    clean(reference) == reference
        && !reference.starts_with('/')
        && !reference.ends_with('/')
        && !reference.contains("//")
}

/// Only what the network's character set has; a colon could begin a field.
fn clean(text: &str) -> String {
    let known = |c: char| c.is_ascii_alphanumeric() || "/-?().,'+ ".contains(c);
    text.chars().map(|c| if known(c) { c } else { '.' }).collect()
}

/// Cuts an ASCII text into full lines.
fn wrapped(text: &str) -> String {
    let characters: Vec<char> = text.chars().take(LINE_CHARS * LINES_MAX).collect();
    let lines: Vec<String> = characters.chunks(LINE_CHARS).map(|line| line.iter().collect()).collect();
    lines.join("\r\n")
}

/// A sum with a comma, which stands even where no decimals follow.
fn comma(minor: i64, currency: Currency) -> String {
    let text = plain(minor, currency);
    if text.contains('.') { text.replace('.', ",") } else { format!("{text},") }
}
