//! Files that mean harm, or are broken: refused by code, at a place, in bounded memory, and never with a panic.

use std::io::{BufReader, Read, repeat};

use proptest::prelude::*;

use super::super::pain002::StatusProfile;
use super::super::{camt, pain002, read_back};
use super::camt::mixed;
use crate::contract::{StatusHead, StatusLine, StatusSink};
use crate::kept::Kept;
use crate::reading::ReadError;

struct Nobody;

impl StatusSink for Nobody {
    fn head(&mut self, _: &StatusHead) -> anyhow::Result<()> {
        Ok(())
    }
    fn line(&mut self, _: StatusLine<'_>) -> anyhow::Result<()> {
        Ok(())
    }
}

fn statement(bytes: &[u8]) -> Result<(), ReadError> {
    camt::read(bytes, &mut Kept::default())
}

fn status(bytes: &[u8]) -> Result<(), ReadError> {
    pain002::read(bytes, &StatusProfile::default(), &mut Nobody)
}

fn code(text: &str) -> &'static str {
    statement(text.as_bytes()).map_or_else(|error| error.code(), |()| "read")
}

#[test]
fn document_types_and_entities_are_refused() {
    let good = mixed("08");
    assert_eq!(code(&good), "read");
    let with =
        |before: &str, text: &str| good.replace("<Document", &format!("{before}<Document")).replace("grant", text);
    for (text, wanted) in [
        (with("<!DOCTYPE d [<!ENTITY x SYSTEM \"file:///etc/passwd\">]>", "&x;"), "doctype"),
        (with("<!DOCTYPE d [<!ENTITY a \"ha\"><!ENTITY b \"&a;&a;&a;&a;\">]>", "&b;"), "doctype"),
        (with("<!DOCTYPE d SYSTEM \"http://127.0.0.1/x.dtd\">", "x"), "doctype"),
        (with("<!doctype d>", "x"), "doctype"),
        (with("", "&x;"), "entity"),
        (with("", "&nbsp;"), "entity"),
        (with("", "&#0;"), "entity"),
        (with("", "&#xD800;"), "entity"),
        (with("", "&#1;"), "control_character"),
        (with("", "&"), "malformed"),
        (with("", "&amp;&lt;&#65;&#x42;<![CDATA[<c>]]>"), "read"),
    ] {
        assert_eq!(code(&text), wanted, "{text}");
    }
    let mut kept = Kept::default();
    let text = with("", "a&amp;b &lt;&#65;&#x42;<![CDATA[<c>]]><!-- no --> d");
    camt::read(text.as_bytes(), &mut kept).unwrap();
    assert_eq!(kept.details[0].text, "a&b <AB<c> d november");
    // What would be included is passed over, and a schema that is named is not fetched.
    let included = good.replace("<NtryDtls>", "<NtryDtls><xi:include href=\"file:///etc/passwd\"/>");
    let named = included.replace("<Document ", "<Document xsi:schemaLocation=\"a http://127.0.0.1:1/x.xsd\" ");
    assert_eq!(code(&named), "read");
}

#[test]
fn other_messages_and_encodings_are_refused_by_name() {
    let good = mixed("08");
    for (text, wanted) in [
        (String::new(), "no_document"),
        ("<html><body/></html>".into(), "no_document"),
        ("plain text".into(), "no_document"),
        ("<Document/>".into(), "wrong_message"),
        (good.replace("camt.053", "pain.008"), "wrong_message"),
        (good.replace("camt.053", "camt.054"), "wrong_message"),
        (good.replace("BkToCstmrStmt", "CstmrPmtStsRpt"), "wrong_message"),
        (good.replace("UTF-8", "ISO-8859-1"), "encoding"),
        (good.replace("</Ntry>", ""), "malformed"),
        (good.replace("Ccy=\"KES\"", "Ccy=\"KES\" Ccy=\"USD\""), "malformed"),
        (good.replace("Ccy=\"KES\"", "Ccy=KES"), "malformed"),
        (good.replace("</Document>", ""), "truncated"),
        (good.clone() + "<Document/>", "second_document"),
        (good.clone() + "text", "trailing_text"),
    ] {
        assert_eq!(code(&text), wanted, "{text}");
    }
    assert_eq!(status(good.as_bytes()).unwrap_err().code(), "wrong_message");
    // It says UTF-8 and is Latin-1.
    let lie = good.replace("grant", "caf~").into_bytes();
    let lie: Vec<u8> = lie.into_iter().map(|byte| if byte == b'~' { 0xe9 } else { byte }).collect();
    assert_eq!(statement(&lie).unwrap_err().code(), "encoding");
    let ReadError::Unreadable { at, .. } = statement(good.replace("grant", "&x;").as_bytes()).unwrap_err() else {
        panic!("another error")
    };
    let place = u64::try_from(good.find("grant").unwrap()).unwrap();
    assert!((place..place + 10).contains(&at), "{at} is not near {place}");
}

#[test]
fn every_size_is_bounded() {
    let good = mixed("08");
    let (before, after) = good.split_once("grant").unwrap();
    // Nothing of these is held in memory: they are made while they are read.
    let endless = |byte: u8| repeat(byte).take(1 << 30);
    let read = |before: &str, byte: u8| {
        let from = BufReader::new(before.as_bytes().chain(endless(byte)));
        camt::read(from, &mut Kept::default()).unwrap_err().code()
    };
    assert_eq!(read(before, b'x'), "too_long", "a text");
    assert_eq!(read(&format!("{before}<"), b'x'), "too_long", "a tag");
    assert_eq!(read(&format!("{before}<a b=\""), b'x'), "too_long", "an attribute");
    assert_eq!(read(&format!("{before}<!--"), b'x'), "too_long", "a comment");
    assert_eq!(read(&format!("{before}<![CDATA["), b'x'), "too_long", "raw text");
    assert_eq!(read(&format!("{before}<?"), b'x'), "too_long", "an instruction");
    assert_eq!(read(&format!("{before}&"), b'x'), "too_long", "an entity");
    assert_eq!(read("<!DOCTYPE d [", b' '), "too_long", "a document type");
    let cut_up = format!("{before}{}{after}", "<![CDATA[0123456789]]>".repeat(10_000));
    assert_eq!(code(&cut_up), "too_long", "a text in pieces");
    let deep = format!("{before}{}{}{after}", "<a>".repeat(100_000), "</a>".repeat(100_000));
    assert_eq!(code(&deep), "too_deep");
    let skipped = format!("{}{}{after}", before.replace("<Ustrd>", "<Other>"), "&amp;".repeat(100_000));
    assert_eq!(code(&skipped.replacen("</Ustrd>", "</Other>", 1)), "read", "what is passed over may be long");
    assert_eq!(code(&"<a>".repeat(100_000)), "too_deep");
}

#[test]
fn a_file_that_breaks_off_anywhere_is_an_error() {
    let good = mixed("08");
    for end in 0..good.len() {
        if good.is_char_boundary(end) {
            assert!(statement(&good.as_bytes()[..end]).is_err(), "cut at {end}");
        }
    }
}

fn changed(text: &str, changes: &[(prop::sample::Index, u8, u8)]) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    for (at, byte, kind) in changes {
        let at = at.index(bytes.len());
        match kind % 4 {
            0 => bytes[at] = *byte,
            2 if bytes.len() > 1 => drop(bytes.remove(at)),
            3 => bytes.truncate(at + 1),
            _ => bytes.insert(at, *byte),
        }
    }
    bytes
}

proptest! {
    #[test]
    fn no_bytes_make_a_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = (statement(&bytes), status(&bytes), read_back(bytes.as_slice(), &mut |_, _| Ok(())));
    }

    #[test]
    fn no_markup_makes_a_reader_panic(parts in prop::collection::vec("[<>/!?\\[\\]&;#x\"'= a:-]{0,6}", 0..60)) {
        let head = "<Document><BkToCstmrStmt><Stmt><Ntry><Amt Ccy=\"KES\">";
        let text = head.to_owned() + &parts.concat();
        let _ = (statement(text.as_bytes()), status(text.replace("BkToCstmrStmt", "CstmrPmtStsRpt").as_bytes()));
    }

    #[test]
    fn no_change_makes_a_reader_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), any::<u8>()), 1..6),
    ) {
        let mut kept = Kept::default();
        if camt::read(changed(&mixed("08"), &changes).as_slice(), &mut kept).is_ok() {
            prop_assert_eq!(kept.heads.len(), kept.ends.len());
            let told: u64 = kept.ends.iter().map(|end| end.entries).sum();
            prop_assert_eq!(told, kept.entries.len() as u64);
        }
        let text = super::pain002::file(super::pain002::VERSIONS[1], "<GrpSts>RJCT</GrpSts>", "");
        let _ = status(&changed(&text, &changes));
    }
}
