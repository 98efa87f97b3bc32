//! Cuts an MT940 file into fields: envelope off, continuation lines joined, every length bounded.
//! Deliberately not here: what a field means.

use std::io::BufRead;

use super::Mode;
use crate::reading::ReadError;

/// Longest line; the standard has 65 characters, some banks do not cut lines at all.
const LINE_BYTES_MAX: usize = 4 << 10;
/// Longest field with all its lines.
const FIELD_BYTES_MAX: usize = 16 << 10;
/// Longest file.
const FILE_BYTES_MAX: u64 = 16 << 30;

/// One field.
#[derive(Debug, Default)]
pub struct Field {
    /// Such as `61` or `62F`.
    pub tag: String,
    /// Its lines, with a line feed between them.
    pub value: String,
    /// Where in the file it begins.
    pub at: u64,
}

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// The field was filled in.
    Field,
    /// A message is over.
    Break,
    /// The file is over.
    End,
}

/// Reads fields one after another.
pub struct Fields<R> {
    from: R,
    mode: Mode,
    raw: Vec<u8>,
    line: String,
    line_at: u64,
    at: u64,
    is_ahead: bool,
}

/// What a line is.
enum Shape {
    Field,
    Break,
    More,
    Nothing,
}

impl<R: BufRead> Fields<R> {
    /// Stands before the first byte.
    pub fn new(from: R, mode: Mode) -> Self {
        Self { from, mode, raw: Vec::new(), line: String::new(), line_at: 0, at: 0, is_ahead: false }
    }

    /// Bytes read so far.
    pub fn at(&self) -> u64 {
        self.at
    }

    /// The next field, put into `field`, whose memory is used again.
    pub fn next(&mut self, field: &mut Field) -> Result<Next, ReadError> {
        field.tag.clear();
        field.value.clear();
        loop {
            if !self.is_ahead && !self.read_line()? {
                return Ok(if field.tag.is_empty() { Next::End } else { Next::Field });
            }
            self.is_ahead = false;
            match shape(&self.line) {
                Shape::Nothing => {}
                Shape::Break | Shape::Field if !field.tag.is_empty() => {
                    self.is_ahead = true;
                    return Ok(Next::Field);
                }
                Shape::Break => return Ok(Next::Break),
                Shape::Field => self.begin(field),
                Shape::More if field.tag.is_empty() => {
                    // Some banks put lines of their own before the first field.
                    if self.mode == Mode::Strict {
                        return Err(ReadError::unreadable("malformed", self.line_at, "a line belongs to no field"));
                    }
                }
                Shape::More => {
                    if field.value.len() + self.line.len() >= FIELD_BYTES_MAX {
                        return Err(ReadError::unreadable("too_long", self.line_at, "a field is too long"));
                    }
                    field.value.push('\n');
                    field.value.push_str(&self.line);
                }
            }
        }
    }

    fn begin(&self, field: &mut Field) {
        let rest = self.line.get(1..).unwrap_or_default();
        let (tag, value) = rest.split_once(':').unwrap_or((rest, ""));
        field.tag.push_str(tag);
        field.value.push_str(value);
        field.at = self.line_at;
    }

    /// Reads a line into `self.line`, without its end and the envelope's marks. Says whether there was one.
    fn read_line(&mut self) -> Result<bool, ReadError> {
        self.raw.clear();
        self.line.clear();
        self.line_at = self.at;
        loop {
            let available = self.from.fill_buf()?;
            if available.is_empty() {
                break;
            }
            let end = available.iter().position(|byte| *byte == b'\n');
            let taken = end.map_or(available.len(), |end| end + 1);
            if self.raw.len() + taken > LINE_BYTES_MAX {
                return Err(ReadError::unreadable("too_long", self.line_at, "a line is too long"));
            }
            self.raw.extend_from_slice(&available[..taken]);
            self.from.consume(taken);
            self.at += taken as u64;
            if end.is_some() {
                break;
            }
        }
        if self.at > FILE_BYTES_MAX {
            return Err(ReadError::unreadable("file_too_long", self.at, "the file is too long"));
        }
        if self.raw.is_empty() {
            return Ok(false);
        }
        self.decode()?;
        Ok(true)
    }

    /// Bytes that are no UTF-8 are taken for Latin-1, which is what they are where they occur.
    fn decode(&mut self) -> Result<(), ReadError> {
        let visible = |c: &char| !c.is_control();
        match std::str::from_utf8(self.raw.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&self.raw)) {
            Ok(text) if self.mode == Mode::Lenient || text.is_ascii() => self.line.extend(text.chars().filter(visible)),
            Err(_) if self.mode == Mode::Lenient => {
                self.line.extend(self.raw.iter().map(|byte| char::from(*byte)).filter(visible));
            }
            _ => return Err(ReadError::unreadable("encoding", self.line_at, "a line is not ASCII")),
        }
        if let Some(block) = self.line.find("{4:") {
            self.line.drain(..block + 3);
            if self.line.is_empty() {
                // An empty block is no message; its mark is what separates it from the one before.
                self.line.push('-');
            }
        }
        let kept = self.line.trim_end().len();
        self.line.truncate(kept);
        Ok(())
    }
}

fn shape(line: &str) -> Shape {
    let bytes = line.as_bytes();
    match bytes {
        [] => Shape::Nothing,
        b"-" | [b'-', b'}', ..] | [b'{', ..] => Shape::Break,
        [b':', a, b, b':', ..] if a.is_ascii_digit() && b.is_ascii_digit() => Shape::Field,
        [b':', a, b, c, b':', ..] if a.is_ascii_digit() && b.is_ascii_digit() && c.is_ascii_uppercase() => Shape::Field,
        _ => Shape::More,
    }
}
