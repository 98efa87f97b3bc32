//! A cursor over XML that trusts nothing: it goes down element by element and keeps only the current one.
//! No document type, no entity but the five and numeric ones, nothing fetched; depth, sizes and text are bounded.
//! Deliberately not here: what any element means.

use std::io::{self, BufRead, Read};
use std::ops::Range;

use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::attributes::Attributes;
use quick_xml::events::{BytesDecl, Event};
use quick_xml::{Error, Reader};

use crate::reading::ReadError;

/// Deepest nesting that is followed; the messages read here need less than 20.
const DEPTH_MAX: u32 = 64;
/// Longest tag, comment or run of text.
const EVENT_BYTES_MAX: usize = 256 << 10;
/// Longest text of one element, however it is cut up.
const TEXT_BYTES_MAX: usize = 64 << 10;
/// Longest file.
const FILE_BYTES_MAX: u64 = 16 << 30;

/// A limit was passed; travels inside an [`io::Error`] through the XML reader.
#[derive(Debug, thiserror::Error)]
#[error("{1}")]
struct Limit(&'static str, &'static str);

/// Gives out no more bytes than one event may have, and counts all of them.
struct Metered<R> {
    inner: R,
    event_left: usize,
    file_left: u64,
}

impl<R: BufRead> Read for Metered<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let taken = available.len().min(into.len());
        into[..taken].copy_from_slice(&available[..taken]);
        self.consume(taken);
        Ok(taken)
    }
}

impl<R: BufRead> BufRead for Metered<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let available = self.inner.fill_buf()?;
        if available.is_empty() {
            return Ok(available);
        }
        if self.event_left == 0 {
            return Err(io::Error::other(Limit("too_long", "a tag or text is too long")));
        }
        if self.file_left == 0 {
            return Err(io::Error::other(Limit("file_too_long", "the file is too long")));
        }
        Ok(&available[..available.len().min(self.event_left)])
    }

    fn consume(&mut self, amount: usize) {
        self.event_left = self.event_left.saturating_sub(amount);
        self.file_left = self.file_left.saturating_sub(amount as u64);
        self.inner.consume(amount);
    }
}

/// What the cursor came upon.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Start,
    End,
    Text,
    Other,
    Eof,
}

/// A kind of message: its name up to the version, and the element below `Document`.
#[derive(Clone, Copy)]
pub struct MessageKind {
    /// Such as `camt.053.001.`.
    pub name: &'static str,
    /// Such as `BkToCstmrStmt`.
    pub root: &'static str,
}

/// The cursor. After [`Xml::child`] gave a name, exactly one of `text`, `skip` or a loop over `child` must follow.
pub struct Xml<R> {
    reader: Reader<Metered<R>>,
    tag: Vec<u8>,
    name: Range<usize>,
    depth: u32,
    text: String,
}

impl<R: BufRead> Xml<R> {
    /// Stands before the first byte.
    pub fn new(inner: R) -> Self {
        let mut reader = Reader::from_reader(Metered { inner, event_left: 0, file_left: FILE_BYTES_MAX });
        reader.config_mut().expand_empty_elements = true;
        Self { reader, tag: Vec::new(), name: 0..0, depth: 0, text: String::new() }
    }

    /// Goes to the message: through any envelope into `Document`, whose namespace must name one of `kinds` in
    /// whatever version, and into its element. Says which kind it is.
    pub fn open(&mut self, kinds: &[MessageKind]) -> Result<usize, ReadError> {
        loop {
            match self.step(false)? {
                Step::Start if self.is_named(b"Document") => break,
                Step::Start if self.is_named(b"AppHdr") => self.skip()?,
                Step::Eof => return Err(self.unreadable("no_document", "there is no element `Document`")),
                _ => {}
            }
        }
        let namespace = self.namespace()?;
        let fits = |kind: &MessageKind| namespace.is_empty() || namespace.contains(kind.name);
        if !kinds.iter().any(fits) {
            return Err(self.unreadable("wrong_message", format!("the namespace is `{}`", short(&namespace))));
        }
        let root = match self.child()? {
            Some(name) => String::from_utf8_lossy(name).into_owned(),
            None => return Err(self.unreadable("wrong_message", "the document is empty")),
        };
        let found = kinds.iter().position(|kind| kind.root == root && fits(kind));
        found.ok_or_else(|| self.unreadable("wrong_message", format!("the message is `{}`", short(&root))))
    }

    /// After the message: nothing else may follow but the ends of the envelope and what it carries beside.
    pub fn finish(&mut self) -> Result<(), ReadError> {
        loop {
            match self.step(true)? {
                Step::Eof => return Ok(()),
                Step::Start if self.is_named(b"Document") => {
                    return Err(self.unreadable("second_document", "a second `Document` follows"));
                }
                Step::Text if self.depth == 0 && !self.text.trim().is_empty() => {
                    return Err(self.unreadable("trailing_text", "text follows the document"));
                }
                _ => self.text.clear(),
            }
        }
    }

    /// The next element inside the current one, by its local name; `None` at the current one's end.
    pub fn child(&mut self) -> Result<Option<&[u8]>, ReadError> {
        loop {
            match self.step(false)? {
                Step::Start => break,
                Step::End => return Ok(None),
                Step::Eof => return Err(self.truncated()),
                Step::Text | Step::Other => {}
            }
        }
        Ok(Some(&self.tag[self.name.clone()]))
    }

    /// The text of the element just met, without white space around it; elements inside are passed over.
    pub fn text(&mut self) -> Result<&str, ReadError> {
        self.text.clear();
        loop {
            match self.step(true)? {
                Step::Start => self.skip()?,
                Step::End => break,
                Step::Eof => return Err(self.truncated()),
                Step::Text | Step::Other => {}
            }
        }
        let text = self.text.trim_ascii();
        match text.bytes().any(|byte| byte.is_ascii_control() && !byte.is_ascii_whitespace()) {
            true => Err(self.unreadable("control_character", "a text has a control character")),
            false => Ok(text),
        }
    }

    /// Puts the text of the element just met into `slot`.
    pub fn text_into(&mut self, slot: &mut String) -> Result<(), ReadError> {
        slot.clear();
        slot.push_str(self.text()?);
        Ok(())
    }

    /// Puts the text of the element just met into `slot`, or of the one element inside it: what is a word in
    /// older versions is a choice of code and proprietary word in newer ones.
    pub fn word_or_choice(&mut self, slot: &mut String) -> Result<(), ReadError> {
        slot.clear();
        self.text.clear();
        let outside = self.depth.saturating_sub(1);
        while self.depth > outside {
            match self.step(true)? {
                Step::Eof => return Err(self.truncated()),
                Step::Start | Step::End | Step::Text | Step::Other => {}
            }
        }
        slot.push_str(self.text.trim_ascii());
        Ok(())
    }

    /// Passes over the element just met.
    pub fn skip(&mut self) -> Result<(), ReadError> {
        let outside = self.depth.saturating_sub(1);
        while self.depth > outside {
            if self.step(false)? == Step::Eof {
                return Err(self.truncated());
            }
        }
        Ok(())
    }

    /// An attribute of the element just met, as written.
    pub fn attribute(&self, key: &str) -> Result<Option<&str>, ReadError> {
        let broken = || self.unreadable("malformed", "an attribute is malformed");
        let inside = self.tag.get(1..self.tag.len().saturating_sub(1)).unwrap_or_default();
        let inside = std::str::from_utf8(inside).map_err(|_| broken())?.trim_end_matches('/');
        let mut found = None;
        let start = self.name.end.saturating_sub(1);
        for attribute in Attributes::new(inside, start).with_checks(false) {
            let attribute = attribute.map_err(|_| broken())?;
            if attribute.key.into_inner() == key {
                // Borrowed from the tag by construction; an owned value would be an unescaped one.
                let std::borrow::Cow::Borrowed(value) = attribute.value else { return Err(broken()) };
                if found.replace(value).is_some() {
                    return Err(broken());
                }
            }
        }
        Ok(found)
    }

    /// An error at the current place.
    pub fn unreadable(&self, code: &'static str, text: impl Into<String>) -> ReadError {
        ReadError::unreadable(code, self.at(), text)
    }

    /// Bytes read so far.
    pub fn at(&self) -> u64 {
        self.reader.buffer_position()
    }

    /// The namespace that `Document` declares for itself; empty where it declares none.
    fn namespace(&self) -> Result<String, ReadError> {
        let prefix = self.tag.get(1..self.name.start.saturating_sub(1)).unwrap_or_default();
        let key = match prefix.is_empty() {
            true => "xmlns".to_owned(),
            false => format!("xmlns:{}", String::from_utf8_lossy(prefix)),
        };
        Ok(self.attribute(&key)?.unwrap_or_default().to_owned())
    }

    fn is_named(&self, name: &[u8]) -> bool {
        &self.tag[self.name.clone()] == name
    }

    fn truncated(&self) -> ReadError {
        self.unreadable("truncated", "the file ends inside an element")
    }

    /// One event on. With `keep`, text is added to `self.text`.
    fn step(&mut self, keep: bool) -> Result<Step, ReadError> {
        self.tag.clear();
        self.reader.get_mut().event_left = EVENT_BYTES_MAX;
        // Matched where it lies: moving an event costs as much as reading a short one.
        let (code, why) = match self.reader.read_event_into(&mut self.tag) {
            Err(error) => return Err(failed(&error, self.reader.error_position())),
            Ok(Event::Start(start)) => {
                let qualified = start.name().into_inner();
                let local = qualified.len() - qualified.find(':').map_or(0, |colon| colon + 1);
                self.name = 1 + qualified.len() - local..1 + qualified.len();
                self.depth += 1;
                match self.depth > DEPTH_MAX {
                    false => return Ok(Step::Start),
                    true => ("too_deep", "elements are nested too deeply"),
                }
            }
            Ok(Event::End(_)) => {
                self.depth = self.depth.saturating_sub(1);
                return Ok(Step::End);
            }
            Ok(Event::Text(_) | Event::CData(_)) if !keep => return Ok(Step::Text),
            Ok(Event::Text(text)) => return grow(&mut self.text, &text, self.reader.buffer_position()),
            Ok(Event::CData(text)) => return grow(&mut self.text, &text, self.reader.buffer_position()),
            Ok(Event::GeneralRef(name)) => match meaning(&name) {
                Some(_) if !keep => return Ok(Step::Text),
                Some(c) => {
                    return grow(&mut self.text, c.encode_utf8(&mut [0; 4]), self.reader.buffer_position());
                }
                None => ("entity", "an entity is not known"),
            },
            Ok(Event::DocType(_)) => ("doctype", "a document type is not taken"),
            Ok(Event::Decl(declaration)) if !is_utf8(&declaration) => ("encoding", "only UTF-8 is taken"),
            Ok(Event::Decl(_) | Event::Comment(_) | Event::PI(_)) => return Ok(Step::Other),
            // The reader is told to give these as a start and an end.
            Ok(Event::Empty(_)) => ("malformed", "an element is malformed"),
            Ok(Event::Eof) if self.depth > 0 => ("truncated", "the file ends inside an element"),
            Ok(Event::Eof) => return Ok(Step::Eof),
        };
        Err(self.unreadable(code, why))
    }
}

fn grow(text: &mut String, more: &str, at: u64) -> Result<Step, ReadError> {
    if text.len() + more.len() > TEXT_BYTES_MAX {
        return Err(ReadError::unreadable("too_long", at, "a text is too long"));
    }
    text.push_str(more);
    Ok(Step::Text)
}

/// The character that a reference stands for: the five of XML and numeric ones.
fn meaning(reference: &quick_xml::events::BytesRef<'_>) -> Option<char> {
    match reference.resolve_char_ref() {
        Ok(Some(c)) => Some(c),
        Ok(None) => resolve_predefined_entity(reference).and_then(|text| text.chars().next()),
        Err(_) => None,
    }
}

fn is_utf8(declaration: &BytesDecl<'_>) -> bool {
    match declaration.encoding() {
        None => true,
        Some(Ok(name)) => ["utf-8", "utf8", "us-ascii", "ascii"].iter().any(|known| name.eq_ignore_ascii_case(known)),
        Some(Err(_)) => false,
    }
}

fn failed(error: &Error, at: u64) -> ReadError {
    match error {
        Error::Io(io) => match io.get_ref().and_then(|inner| inner.downcast_ref::<Limit>()) {
            Some(limit) => ReadError::unreadable(limit.0, at, limit.1),
            None => ReadError::Io(io::Error::new(io.kind(), io.to_string())),
        },
        Error::Encoding(_) => ReadError::unreadable("encoding", at, "the bytes are not UTF-8"),
        other => ReadError::unreadable("malformed", at, short(&other.to_string())),
    }
}

/// Longest part of the file that an error shows.
const SHOWN_CHARS_MAX: usize = 120;

fn short(text: &str) -> String {
    text.chars().take(SHOWN_CHARS_MAX).collect()
}
