//! The few strokes that every XML file of the bank is drawn with. Deliberately not here: any message.

use std::io::{self, Write};

use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesEnd, BytesStart, BytesText, Event};
use rust_decimal::Decimal;

use super::accounts::is_iban;
use crate::contract::Currency;

/// An element with a text.
pub(super) fn leaf<W: Write>(paper: &mut Writer<W>, name: &str, text: &str) -> io::Result<()> {
    paper.create_element(name).write_text_content(BytesText::new(text)).map(|_| ())
}

/// An element with elements.
pub(super) fn branch<W: Write>(
    paper: &mut Writer<W>,
    name: &str,
    inside: impl FnOnce(&mut Writer<W>) -> io::Result<()>,
) -> io::Result<()> {
    paper.create_element(name).write_inner_content(inside).map(|_| ())
}

/// Elements one inside the other, the last with a text.
pub(super) fn path<W: Write>(paper: &mut Writer<W>, names: &[&str], text: &str) -> io::Result<()> {
    match names {
        [] => Ok(()),
        [name] => leaf(paper, name, text),
        [name, inner @ ..] => branch(paper, name, |paper| path(paper, inner, text)),
    }
}

/// A whole message of this kind, such as `camt.053.001.08`.
pub(super) fn document<W: Write>(
    paper: &mut Writer<W>,
    kind: &str,
    root: &str,
    inside: impl FnOnce(&mut Writer<W>) -> io::Result<()>,
) -> io::Result<()> {
    paper.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    let namespace = format!("urn:iso:std:iso:20022:tech:xsd:{kind}");
    paper.write_event(Event::Start(BytesStart::new("Document").with_attributes([("xmlns", namespace.as_str())])))?;
    branch(paper, root, inside)?;
    paper.write_event(Event::End(BytesEnd::new("Document")))
}

/// A sum as the messages write it.
pub(super) fn plain(minor: i64, currency: Currency) -> String {
    Decimal::new(minor, currency.exponent()).to_string()
}

/// An amount with its currency.
pub(super) fn amount<W: Write>(paper: &mut Writer<W>, name: &str, minor: i64, currency: Currency) -> io::Result<()> {
    let text = plain(minor, currency);
    let element = paper.create_element(name).with_attribute(("Ccy", currency.code()));
    element.write_text_content(BytesText::new(&text)).map(|_| ())
}

/// What identifies an account; nothing where there is none.
pub(super) fn account<W: Write>(paper: &mut Writer<W>, name: &str, id: &str) -> io::Result<()> {
    match id {
        "" => Ok(()),
        id if is_iban(id) => path(paper, &[name, "Id", "IBAN"], id),
        id => path(paper, &[name, "Id", "Othr", "Id"], id),
    }
}
