//! Reads a payroll file (RFC 4180, UTF-8) from a stream, in memory that does not grow with the file.
//! Parsing is `csv_core`; this adds the limits, line numbers and the refusals a person can act on.
//! Deliberately not here: what the cells mean (`row`) and which columns there are (`columns`).

use std::io::{ErrorKind, Read};

use csv_core::{ReadRecordResult, ReaderBuilder, Terminator};

use super::columns::Columns;

/// The longest row that is read, without its line ending.
pub const RECORD_BYTES_MAX: usize = 64 * 1024;
/// The most columns a header may have.
pub const COLUMNS_MAX: usize = 100;
/// How much is asked of the stream at once.
const BLOCK_BYTES: usize = 64 * 1024;
/// CR and LF, which a row of the full length still needs room for.
const ENDING_BYTES: usize = 2;
/// What is looked at to tell that a file is no UTF-8 text at all.
const SNIFF_BYTES: usize = 1024;

/// Why a whole file is refused. Nothing of it has an effect.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {text} ({code})")]
pub struct FileRefusal {
    /// Stable name for programs.
    pub code: &'static str,
    /// The line it is about, counted from 1.
    pub line: u64,
    /// What is wrong and what to do about it.
    pub text: String,
}

impl FileRefusal {
    /// A refusal at a line.
    pub fn new(code: &'static str, line: u64, text: impl Into<String>) -> Self {
        Self { code, line, text: text.into() }
    }
}

/// One row as RFC 4180 calls it. Borrows the reader's buffers, so it lives until the next one is read.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    line: u64,
    raw: &'a [u8],
    text: &'a [u8],
    ends: &'a [usize],
}

impl<'a> Record<'a> {
    /// The line on which it begins, counted from 1. Rows with line breaks in quotes take several.
    pub fn line(&self) -> u64 {
        self.line
    }

    /// Exactly the bytes of the file, without the line ending.
    pub fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// How many fields it has.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// A row has at least one field, so this is never true.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// A field without its quotes.
    pub fn field(&self, index: usize) -> Option<&'a [u8]> {
        let end = *self.ends.get(index)?;
        let begin = if index == 0 { 0 } else { *self.ends.get(index - 1)? };
        self.text.get(begin..end)
    }

    /// All fields from left to right.
    pub fn fields(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let row = *self;
        (0..row.len()).filter_map(move |index| row.field(index))
    }
}

/// Where a row was found in the buffers.
struct Span {
    line: u64,
    end: usize,
    text: usize,
    ends: usize,
}

/// Rows of one file. Ask for the `header` first, then for rows until there is none.
pub struct Reader<R> {
    source: R,
    core: csv_core::Reader,
    /// Bytes of the file; the current row always lies in one piece from `start`.
    buffer: Box<[u8]>,
    start: usize,
    at: usize,
    filled: usize,
    /// The current row's fields, unquoted, one after the other, and where each ends.
    text: Box<[u8]>,
    ends: Box<[usize]>,
}

impl<R: Read> Reader<R> {
    /// A reader with all the memory it will ever use.
    pub fn new(source: R) -> Self {
        // Only the line feed ends a row: a lone carriage return inside one is then a control character
        // of that row and does not tear it in two.
        let core = ReaderBuilder::new().terminator(Terminator::Any(b'\n')).build();
        let row = RECORD_BYTES_MAX + 2 * ENDING_BYTES;
        Self {
            source,
            core,
            buffer: vec![0; row + BLOCK_BYTES].into(),
            start: 0,
            at: 0,
            filled: 0,
            text: vec![0; row].into(),
            ends: vec![0; row].into(),
        }
    }

    /// Reads the first row and finds the columns in it.
    pub fn header(&mut self) -> Result<Columns, FileRefusal> {
        while self.filled < BLOCK_BYTES && self.refill()? {}
        if let Some((code, text)) = sniff(&self.buffer[..self.filled]) {
            return Err(FileRefusal::new(code, 1, text));
        }
        if self.buffer[..self.filled].starts_with(b"\xef\xbb\xbf") {
            self.at = 3;
        }
        if !self.skip_blank_lines()? {
            return Err(FileRefusal::new("file_empty", 1, "the file is empty; send it again with its rows"));
        }
        let line = self.core.line();
        if has_lone_cr(&self.buffer[self.start..self.filled]) {
            let text = "lines end with a carriage return alone; save the file with line feeds (LF or CRLF)";
            return Err(FileRefusal::new("line_endings", line, text));
        }
        let span = self.advance().map_err(|refusal| self.too_many_or(refusal))?;
        Columns::read(&self.record(&span))
    }

    /// The next row, blank lines left out; `None` at the end of the file.
    #[expect(clippy::should_implement_trait, reason = "an Iterator cannot lend rows from its own buffers")]
    pub fn next(&mut self) -> Result<Option<Record<'_>>, FileRefusal> {
        if !self.skip_blank_lines()? {
            return Ok(None);
        }
        let span = self.advance()?;
        Ok(Some(self.record(&span)))
    }

    fn record(&self, span: &Span) -> Record<'_> {
        Record {
            line: span.line,
            raw: &self.buffer[self.start..span.end],
            text: &self.text[..span.text],
            ends: &self.ends[..span.ends],
        }
    }

    /// Moves to the first byte of the next row; `false` at the end of the file.
    fn skip_blank_lines(&mut self) -> Result<bool, FileRefusal> {
        loop {
            self.start = self.at;
            if self.at == self.filled && !self.refill()? {
                return Ok(false);
            }
            match self.buffer[self.at..self.filled].first() {
                Some(b'\n') => self.core.set_line(self.core.line() + 1),
                Some(b'\r') => {}
                _ => return Ok(true),
            }
            self.at += 1;
        }
    }

    /// Parses one row that begins at `start`.
    fn advance(&mut self) -> Result<Span, FileRefusal> {
        let mut span = Span { line: self.core.line(), end: 0, text: 0, ends: 0 };
        loop {
            let limit = self.start + RECORD_BYTES_MAX + ENDING_BYTES;
            let window = self.at..self.filled.min(limit);
            if self.parse(&mut span, window) {
                span.end = self.at - 1;
                return self.complete(span);
            }
            if self.at >= limit {
                return Err(self.too_long(span.line, self.at));
            }
            if self.at == self.filled && !self.refill()? {
                return self.finish(span);
            }
        }
    }

    /// Feeds bytes of the buffer to the parser; `true` when a row is complete.
    fn parse(&mut self, span: &mut Span, window: std::ops::Range<usize>) -> bool {
        let input = &self.buffer[window];
        // An empty input would tell the parser that the file has ended.
        if input.is_empty() {
            return false;
        }
        let (text, ends) = (&mut self.text[span.text..], &mut self.ends[span.ends..]);
        let (result, read, written, ended) = self.core.read_record(input, text, ends);
        self.at += read;
        span.text += written;
        span.ends += ended;
        result == ReadRecordResult::Record
    }

    /// The file has ended inside a row: right if only its line feed is missing, wrong inside quotes.
    fn finish(&mut self, mut span: Span) -> Result<Span, FileRefusal> {
        let (text, ends) = (&mut self.text[span.text..], &mut self.ends[span.ends..]);
        let (result, _, written, ended) = self.core.read_record(b"\n", text, ends);
        if result != ReadRecordResult::Record {
            return Err(unclosed(span.line));
        }
        span.end = self.at;
        span.text += written;
        span.ends += ended;
        self.complete(span)
    }

    /// Takes the carriage return of a CRLF off the row, where the parser takes it for text, and checks the length.
    fn complete(&mut self, mut span: Span) -> Result<Span, FileRefusal> {
        if self.buffer[self.start..span.end].ends_with(b"\r") {
            span.end -= 1;
            span.text = span.text.saturating_sub(1);
            if let Some(last) = self.ends[..span.ends].last_mut() {
                *last = span.text;
            }
        }
        let raw = &self.buffer[self.start..span.end];
        if raw.len() > RECORD_BYTES_MAX {
            return Err(self.too_long(span.line, span.end));
        }
        if raw.contains(&b'"') && has_stray_quote(raw) {
            let text = format!(
                "in the row that begins on line {} text follows a closing quotation mark; close the quotation marks \
                 before each comma and write a quotation mark inside them twice",
                span.line
            );
            return Err(FileRefusal::new("quote_stray", span.line, text));
        }
        Ok(span)
    }

    /// A row that goes on over line ends is inside quotes, so the quotes are what is wrong with it.
    fn too_long(&self, line: u64, end: usize) -> FileRefusal {
        if self.buffer[self.start..end].contains(&b'\n') {
            return unclosed(line);
        }
        let text = format!("the row is longer than {RECORD_BYTES_MAX} bytes; shorten it");
        FileRefusal::new("record_too_long", line, text)
    }

    /// A header that is too long because of its columns is told so.
    fn too_many_or(&self, refusal: FileRefusal) -> FileRefusal {
        let commas = self.buffer[self.start..self.at].iter().filter(|byte| **byte == b',').count();
        if commas < COLUMNS_MAX { refusal } else { too_many_columns(refusal.line) }
    }

    /// Reads on behind what is there, after moving the current row to the front; `false` at the end.
    fn refill(&mut self) -> Result<bool, FileRefusal> {
        self.buffer.copy_within(self.start..self.filled, 0);
        self.at -= self.start;
        self.filled -= self.start;
        self.start = 0;
        loop {
            match self.source.read(&mut self.buffer[self.filled..]) {
                Ok(0) => return Ok(false),
                Ok(bytes) => {
                    self.filled = self.buffer.len().min(self.filled + bytes);
                    return Ok(true);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    let text = format!("the file could not be read to its end ({error}); send it again");
                    return Err(FileRefusal::new("read_failed", self.core.line(), text));
                }
            }
        }
    }
}

/// The refusal of a header with more columns than allowed.
pub(super) fn too_many_columns(line: u64) -> FileRefusal {
    FileRefusal::new("columns_too_many", line, format!("the header has more than {COLUMNS_MAX} columns"))
}

fn unclosed(line: u64) -> FileRefusal {
    let text = format!("a quotation mark in the row that begins on line {line} is never closed; close or remove it");
    FileRefusal::new("quote_unclosed", line, text)
}

/// Tells files that are no UTF-8 text by how they begin.
fn sniff(bytes: &[u8]) -> Option<(&'static str, &'static str)> {
    /// How archives, office files and prints begin.
    const BINARY: [&[u8]; 7] =
        [b"PK\x03\x04", b"PK\x05\x06", b"\x1f\x8b", b"\xd0\xcf\x11\xe0", b"BZh", b"\x28\xb5\x2f\xfd", b"%PDF"];
    if BINARY.iter().any(|magic| bytes.starts_with(magic)) {
        return Some(("not_csv", "this is an archive or office file, not CSV; save the sheet as CSV (UTF-8)"));
    }
    let head = &bytes[..bytes.len().min(SNIFF_BYTES)];
    let nul = head.iter().filter(|byte| **byte == 0).count();
    let utf16 = head.starts_with(b"\xff\xfe") || head.starts_with(b"\xfe\xff");
    (utf16 || nul > head.len() / 4).then_some(("encoding", "the file is not UTF-8; save it as CSV (UTF-8)"))
}

/// Whether a cell goes on behind its closing quotation mark. The parser would take that for text, and so a
/// mark that was forgotten could hide the rows up to the next one inside a cell, without anyone noticing.
fn has_stray_quote(mut row: &[u8]) -> bool {
    while let Some(first) = row.first() {
        let mut end = 0;
        if *first == b'"' {
            // Each closed pair of marks is followed by the next one (an escaped mark) or ends the cell.
            while row.get(end) == Some(&b'"') {
                let inside = row.get(end + 1..).unwrap_or_default();
                end += 2 + inside.iter().position(|byte| *byte == b'"').unwrap_or(inside.len());
            }
            if row.get(end).is_some_and(|byte| *byte != b',') {
                return true;
            }
        }
        let rest = row.get(end..).unwrap_or_default();
        let comma = rest.iter().position(|byte| *byte == b',').unwrap_or(rest.len());
        row = rest.get(comma + 1..).unwrap_or_default();
    }
    false
}

/// Whether the first line has a carriage return that no line feed follows.
fn has_lone_cr(bytes: &[u8]) -> bool {
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or(bytes);
    let line = if line.len() < bytes.len() { line.strip_suffix(b"\r").unwrap_or(line) } else { line };
    line.contains(&b'\r')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::columns::{Column, reject_header, write_reject};
    use super::*;

    const HEADER: &str = "entitlement,beneficiary_id,payee_name,payee_account,amount,currency\n";

    /// A row as text: its line and its fields.
    type Row = (u64, Vec<String>);

    fn rows(file: &[u8]) -> Result<(Columns, Vec<Row>), FileRefusal> {
        let mut reader = Reader::new(file);
        let columns = reader.header()?;
        let mut rows = Vec::new();
        while let Some(row) = reader.next()? {
            let fields = row.fields().map(|field| String::from_utf8_lossy(field).into_owned()).collect();
            rows.push((row.line(), fields));
        }
        Ok((columns, rows))
    }

    fn code(file: &[u8]) -> (&'static str, u64) {
        rows(file).map_or_else(|refusal| (refusal.code, refusal.line), |_| ("accepted", 0))
    }

    fn file(body: &str) -> Vec<u8> {
        format!("{HEADER}{body}").into_bytes()
    }

    #[test]
    fn whole_files_are_refused_by_name() {
        let head = HEADER.trim_end();
        let utf16: Vec<u8> = HEADER.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let with_mark = [b"\xff\xfe".as_slice(), utf16.as_slice()].concat();
        let many = format!("{head},{}\n", "x,".repeat(1_000_000));
        let some = format!("{head}{}\n", ",x".repeat(100));
        // (case of the list of bad input, file, code, line)
        let cases: Vec<(u32, Vec<u8>, &str, u64)> = vec![
            (1, vec![], "file_empty", 1),
            (1, b"\xef\xbb\xbf".to_vec(), "file_empty", 1),
            (1, b"\n\r\n\n".to_vec(), "file_empty", 1),
            (2, HEADER.into(), "accepted", 0),
            (4, with_mark, "encoding", 1),
            (4, utf16, "encoding", 1),
            (6, HEADER.replace("amount", "montant\u{e9}").chars().map(|c| c as u8).collect(), "encoding", 1),
            (8, format!("{HEADER}a,b,c,d,e,f\n").replace('\n', "\r").into(), "line_endings", 1),
            (8, format!("{HEADER}a,b,c,d,e,f\n").replace('\n', "\r\r\n").into(), "line_endings", 1),
            (11, head.replace(",amount", "").into(), "column_missing", 1),
            (12, format!("{head},tenant_id\n").into(), "column_unknown", 1),
            (13, format!("{head},Amount\n").into(), "column_repeated", 1),
            (13, format!("{head},reject_code,reject_code\n").into(), "column_repeated", 1),
            (16, file("a,b,c,d,1,KES\na,\"b,c,d,1,KES\na,b,c,d,1,KES\n"), "quote_unclosed", 3),
            (16, file("a,b,c,d,1,\"KES"), "quote_unclosed", 2),
            (16, file(&format!("a,\"b,c,d,1,KES\n{}", "a,b,c,d,1,KES\n".repeat(9_000))), "quote_unclosed", 2),
            (16, file("a,b,c,d,1,\"KES\na,b,c,d,1,\"KES\"\n"), "quote_stray", 2),
            (16, file("a,b,\"c\"\"\"c,d,1,KES\n"), "quote_stray", 2),
            (16, file("a,b,\"c\" ,d,1,KES\n"), "quote_stray", 2),
            (18, file(&format!("a,b,{},d,1,KES\n", "c".repeat(RECORD_BYTES_MAX))), "record_too_long", 2),
            (20, head.replace(',', ";").into(), "delimiter", 1),
            (20, head.replace(',', "\t").into(), "delimiter", 1),
            (59, b"\x1f\x8b\x08\x00".to_vec(), "not_csv", 1),
            (60, b"PK\x03\x04zip".to_vec(), "not_csv", 1),
            (61, b"PK\x03\x04[Content_Types].xml".to_vec(), "not_csv", 1),
            (62, many.into(), "columns_too_many", 1),
            (62, some.into(), "columns_too_many", 1),
        ];
        for (case, file, wanted, line) in cases {
            assert_eq!(code(&file), (wanted, line), "case {case}");
        }
    }

    #[test]
    fn whole_files_that_look_odd_are_accepted() {
        let row = ["a", "b", "c", "d", "1", "KES"];
        let head = HEADER.trim_end();
        // (case of the list of bad input, file, lines on which rows begin)
        let cases: Vec<(u32, String, Vec<u64>)> = vec![
            (3, format!("\u{feff}{HEADER}a,b,c,d,1,KES\n"), vec![2]),
            (9, format!("{head}\r\na,b,c,d,1,KES\na,b,c,d,1,KES\r\n"), vec![2, 3]),
            (10, format!("{HEADER}a,b,c,d,1,KES"), vec![2]),
            (10, format!("{HEADER}a,b,c,d,1,KES\r"), vec![2]),
            (10, format!("{HEADER}a,b,c,d,1,\"KES\""), vec![2]),
            (0, format!("\n\n{HEADER}\r\n\na,b,c,d,1,KES\n\n\na,b,c,d,1,KES\n\n"), vec![6, 9]),
            (16, format!("{HEADER}a,b,\"c\",\"d\",\"1\",KES"), vec![2]),
            (0, format!("{HEADER}\"a\",b,\"c\",d,1,\"KES\"\r\n"), vec![2]),
        ];
        for (case, file, lines) in cases {
            let (_, rows) = rows(file.as_bytes()).unwrap();
            let wanted: Vec<Row> = lines.into_iter().map(|line| (line, row.map(str::to_owned).to_vec())).collect();
            assert_eq!(rows, wanted, "case {case}");
        }
    }

    #[test]
    fn headers_are_found_in_any_order_and_case() {
        // Case 14, and the columns of a reject file that comes back.
        let header = "reject_line,Currency, AMOUNT ,payee_account,\"payee_name\",beneficiary_id,entitlement,note\n";
        let (columns, _) = rows(header.as_bytes()).unwrap();
        assert_eq!(columns.count(), 8);
        assert_eq!(columns.index(Column::Amount), Some(2));
        assert_eq!(columns.index(Column::Note), Some(7));
        assert_eq!(columns.index(Column::Purpose), None);
    }

    #[test]
    fn rows_with_line_breaks_count_lines_and_not_rows() {
        // Case 17.
        let (_, rows) = rows(&file("a,b,\"c\r\nc\n\"\"c\"\"\",d,1,KES\na,b,c,d,1,KES\n")).unwrap();
        assert_eq!(rows[0].0, 2);
        assert_eq!(rows[0].1[2], "c\r\nc\n\"c\"");
        assert_eq!(rows[1].0, 5);
    }

    #[test]
    fn the_longest_row_is_read_and_one_byte_more_is_not() {
        for ending in ["\n", "\r\n", ""] {
            let cell = |bytes: usize| format!("a,b,{},d,1,KES{ending}", "c".repeat(bytes - "a,b,,d,1,KES".len()));
            let (_, read) = rows(&file(&cell(RECORD_BYTES_MAX))).unwrap();
            assert_eq!(read[0].1[5], "KES");
            assert_eq!(code(&file(&cell(RECORD_BYTES_MAX + 1))), ("record_too_long", 2));
        }
    }

    #[test]
    fn a_gigabyte_on_one_line_is_refused_after_a_block_or_two() {
        // Case 18. The stream would fail if it were read on.
        let endless = HEADER.as_bytes().chain(std::io::repeat(b'x').take(4 * BLOCK_BYTES as u64)).chain(Broken);
        let mut reader = Reader::new(endless);
        reader.header().unwrap();
        assert_eq!(reader.next().unwrap_err().code, "record_too_long");
        let mut broken = Reader::new(HEADER.as_bytes().chain(Broken));
        assert_eq!(broken.header().unwrap_err().code, "read_failed");
    }

    struct Broken;

    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("cut"))
        }
    }

    /// Gives a few bytes at a time, as networks do.
    struct Drops<'a>(&'a [u8], usize);

    impl Read for Drops<'_> {
        fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
            let bytes = self.1.min(out.len());
            self.0.read(&mut out[..bytes])
        }
    }

    #[test]
    fn a_reject_file_gives_rows_back_unchanged_and_can_be_sent_again() {
        let body = "a,\"b\nb\",\"c \"\"c\"\"\", d ,1,KES\n=a,b,c\n\"a,a\",b,c,d,1,KES,more,cells\n";
        let (_, wanted) = rows(&file(body)).unwrap();
        let mut source = file(body);
        // Sending the reject file again and again changes nothing but the line numbers.
        for _ in 0..3 {
            let mut reader = Reader::new(source.as_slice());
            let columns = reader.header().unwrap();
            let mut rejects = reject_header();
            while let Some(row) = reader.next().unwrap() {
                let (mut cells, line) = (Vec::new(), i64::try_from(row.line()).unwrap());
                columns.write_row(&row, &mut cells);
                write_reject(line, "code", "a, \"b\"", &cells, &mut rejects);
            }
            source = rejects;
        }
        let (again, read) = rows(&source).unwrap();
        assert_eq!(again.count(), Column::ALL.len() + 3);
        assert_eq!(read[0].1[2], "a, \"b\"");
        // A whole row is given back under every column, a ragged one as it stood.
        let named: Vec<&str> =
            Column::ALL.iter().filter_map(|column| again.index(*column)).map(|at| read[0].1[at].as_str()).collect();
        assert_eq!(named, ["a", "", "b\nb", "c \"c\"", " d ", "1", "KES", "", ""]);
        assert_eq!(read[1].1[3..], wanted[1].1);
        assert_eq!(read[2].1[3..], wanted[2].1);
    }

    proptest! {
        #[test]
        fn any_bytes_are_answered_within_bounds(
            bytes in prop::collection::vec(prop_oneof![Just(b','), Just(b'"'), Just(b'\n'), Just(b'\r'), any::<u8>()], 0..600),
            drops in 1_usize..50,
        ) {
            let body = [HEADER.as_bytes(), &bytes].concat();
            for file in [bytes.as_slice(), body.as_slice()] {
                let mut reader = Reader::new(Drops(file, drops));
                let held = (reader.buffer.len(), reader.text.len(), reader.ends.len());
                if reader.header().is_ok() {
                    while let Ok(Some(row)) = reader.next() {
                        prop_assert!(row.raw().len() <= RECORD_BYTES_MAX && !row.is_empty());
                        prop_assert_eq!(row.fields().count(), row.len());
                    }
                }
                prop_assert_eq!(held, (reader.buffer.len(), reader.text.len(), reader.ends.len()));
            }
        }

        #[test]
        fn what_the_csv_crate_writes_is_read_back(
            cells in prop::collection::vec(prop::collection::vec("[a-z,;\"\n\r é]{0,12}", 6), 1..20),
            drops in 1_usize..300,
        ) {
            let mut writer = csv::WriterBuilder::new().quote_style(csv::QuoteStyle::Always).from_writer(Vec::new());
            for row in &cells {
                writer.write_record(row).unwrap();
            }
            let body = file(&String::from_utf8(writer.into_inner().unwrap()).unwrap());
            let mut reader = Reader::new(Drops(&body, drops));
            reader.header().unwrap();
            for wanted in &cells {
                let row = reader.next().unwrap().unwrap();
                let read: Vec<&[u8]> = row.fields().collect();
                prop_assert_eq!(read, wanted.iter().map(String::as_bytes).collect::<Vec<_>>());
            }
            prop_assert!(reader.next().unwrap().is_none());
        }
    }
}
