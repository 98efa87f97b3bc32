//! The text of `:86:`: free, or cut by `/KEY/`, `?NN` or `KEY+`. Only what matching needs is taken out of it.
//! Deliberately not here: any bank's own meaning of the rest.

use super::line::LINE_CHARS;
use crate::contract::{EntryKind, Reason};
use crate::iso20022::{push_text, returned};

/// Words that begin a part of the text in the `KEY+` style.
const KEYS: [&str; 16] = [
    "EREF", "KREF", "MREF", "CRED", "DEBT", "COAM", "OAMT", "SVWZ", "ABWA", "ABWE", "IBAN", "BIC", "RTRN", "PURP",
    "ANAM", "NAME",
];
/// German business codes by which money comes back.
const RETURN_CODES: [&str; 2] = ["109", "159"];
/// The same of the bank's charges.
const FEE_CODES: [&str; 2] = ["805", "808"];

/// What was found in a text.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Said {
    pub kind: EntryKind,
    pub end_to_end_id: String,
    pub account: String,
    pub name: String,
    pub return_reason: Option<Reason>,
    pub text: String,
}

/// Reads the value of a `:86:` and the supplementary details of the line before.
pub fn read(value: &str, supplementary: &str) -> Said {
    let joined = join(value);
    let mut said = Said::default();
    match question_marks(&joined) {
        Some((code, parts)) => numbered(&mut said, code, &parts),
        None => {
            let keyed = |key| slashed(&joined, key).or_else(|| plus(&joined, key)).unwrap_or_default().to_owned();
            said.end_to_end_id = keyed("EREF");
            said.account = keyed("IBAN");
            said.name = keyed("NAME");
            reason(&mut said, &keyed("RTRN"), &joined);
            push_text(&mut said.text, &joined);
        }
    }
    push_text(&mut said.text, supplementary);
    said
}

/// Lines into one: a full line, or one before a key, goes on without a space.
fn join(value: &str) -> String {
    let mut joined = String::with_capacity(value.len());
    let mut is_full = true;
    for line in value.lines() {
        if !is_full && !line.starts_with(['/', '?']) {
            joined.push(' ');
        }
        joined.push_str(line);
        is_full = line.chars().count() >= LINE_CHARS;
    }
    joined
}

/// The three digits before the first `?NN` and the parts after, when the text has that style.
fn question_marks(text: &str) -> Option<(&str, Vec<(&str, &str)>)> {
    let (code, rest) = text.split_once('?')?;
    let code = code.trim();
    if code.len() > 3 || !code.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let parts = rest.split('?').filter_map(|part| part.split_at_checked(2));
    Some((code, parts.collect()))
}

fn numbered(said: &mut Said, code: &str, parts: &[(&str, &str)]) {
    let mut purpose = String::new();
    for (number, text) in parts {
        match number.as_bytes() {
            [b'2', b'0'..=b'9'] | [b'6', b'0'..=b'3'] => purpose.push_str(text),
            b"31" => said.account = text.trim().to_owned(),
            b"32" | b"33" => said.name.push_str(text),
            _ => {}
        }
    }
    said.end_to_end_id = plus(&purpose, "EREF").unwrap_or_default().to_owned();
    said.kind = match code {
        code if RETURN_CODES.contains(&code) => EntryKind::Return,
        code if FEE_CODES.contains(&code) => EntryKind::Fee,
        _ => EntryKind::Payment,
    };
    let stated = plus(&purpose, "RTRN").unwrap_or_default().to_owned();
    reason(said, &stated, &purpose);
    push_text(&mut said.text, &purpose);
}

fn reason(said: &mut Said, code: &str, text: &str) {
    if let Some(code) = code.split_whitespace().next() {
        said.kind = EntryKind::Return;
        said.return_reason = Some(returned(code, text));
    } else if said.kind == EntryKind::Return {
        said.return_reason = Some(returned("", text));
    }
}

/// What stands after `/KEY/`, up to the next slash.
fn slashed<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let mut from = 0;
    while let Some(found) = text.get(from..)?.find(key) {
        let (start, end) = (from + found, from + found + key.len());
        let before = text.get(..start)?.ends_with('/');
        if let Some(rest) = text.get(end..)?.strip_prefix('/')
            && before
        {
            return rest.split('/').next().map(str::trim).filter(|value| !value.is_empty());
        }
        from = end;
    }
    None
}

/// What stands after `KEY+` or `KEY:`, up to the next key of that style.
fn plus<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let start = text.find(&format!("{key}+")).or_else(|| text.find(&format!("{key}:")))?;
    let rest = text.get(start + key.len() + 1..)?;
    let ends = KEYS.iter().flat_map(|key| [rest.find(&format!("{key}+")), rest.find(&format!("{key}:"))]);
    let end = ends.flatten().min().unwrap_or(rest.len());
    let value = rest.get(..end)?.trim();
    // Names and texts may have spaces; the keys asked for here have none.
    let value = if key == "NAME" { value } else { value.split_whitespace().next().unwrap_or_default() };
    Some(value).filter(|value| !value.is_empty())
}
