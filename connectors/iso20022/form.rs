//! A piece of XML with blanks: written once by the XML writer, filled in for every payment by copying.
//! Deliberately not here: what is written into it.

use std::io;

use quick_xml::Writer;
use quick_xml::escape::escape;
use quick_xml::events::BytesText;

/// Stands for a blank while a form is drawn. No XML document may hold it, so no value can be taken for one.
pub const BLANK: &str = "\u{1}";

/// What a form is drawn into.
pub type Paper = Writer<Vec<u8>>;

/// The pieces between the blanks.
pub struct Form {
    pieces: Vec<Vec<u8>>,
}

impl Form {
    /// Draws a form.
    pub fn draw(draw: impl FnOnce(&mut Paper) -> io::Result<()>) -> io::Result<Self> {
        let mut paper = Writer::new(Vec::new());
        draw(&mut paper)?;
        let drawn = paper.into_inner();
        Ok(Self { pieces: drawn.split(|byte| [*byte] == *BLANK.as_bytes()).map(<[u8]>::to_vec).collect() })
    }

    /// What stands before, between and after the blanks.
    pub fn pieces(&self) -> &[Vec<u8>] {
        &self.pieces
    }

    /// Begins a copy at the end of `out`; its blanks are filled in one after another.
    pub fn copy<'a>(&'a self, out: &'a mut Vec<u8>) -> Copy<'a> {
        Copy { pieces: self.pieces.iter(), out }
    }
}

/// A form that is being filled in.
pub struct Copy<'a> {
    pieces: std::slice::Iter<'a, Vec<u8>>,
    out: &'a mut Vec<u8>,
}

impl Copy<'_> {
    /// Fills in a value that has nothing to escape: letters, digits, a full stop.
    pub fn plain(&mut self, value: &str) {
        self.piece();
        self.out.extend_from_slice(value.as_bytes());
    }

    /// Fills in any value.
    pub fn text(&mut self, value: &str) {
        self.plain(&escape(value));
    }

    /// What stands after the last blank.
    pub fn end(mut self) {
        self.piece();
    }

    fn piece(&mut self) {
        if let Some(piece) = self.pieces.next() {
            self.out.extend_from_slice(piece);
        }
    }
}

/// An element with a text.
pub fn leaf(paper: &mut Paper, name: &str, text: &str) -> io::Result<()> {
    paper.create_element(name).write_text_content(BytesText::new(text)).map(|_| ())
}

/// An element with a text, where there is one.
pub fn leaf_if(paper: &mut Paper, name: &str, text: Option<&str>) -> io::Result<()> {
    text.map_or(Ok(()), |text| leaf(paper, name, text))
}

/// An element with elements.
pub fn branch(paper: &mut Paper, name: &str, inside: impl FnOnce(&mut Paper) -> io::Result<()>) -> io::Result<()> {
    paper.create_element(name).write_inner_content(inside).map(|_| ())
}

/// Elements one inside the other, the last with a text.
pub fn path(paper: &mut Paper, names: &[&str], text: &str) -> io::Result<()> {
    match names {
        [] => Ok(()),
        [name] => leaf(paper, name, text),
        [name, inner @ ..] => branch(paper, name, |paper| path(paper, inner, text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_are_filled_in_order_and_escaped() {
        let form = Form::draw(|paper| {
            branch(paper, "A", |paper| {
                leaf(paper, "B", BLANK)?;
                path(paper, &["C", "D"], BLANK)?;
                leaf_if(paper, "E", None)
            })
        });
        let (form, mut out) = (form.unwrap(), b"before".to_vec());
        let mut copy = form.copy(&mut out);
        copy.plain("a.b");
        copy.text("<&");
        copy.end();
        assert_eq!(String::from_utf8(out).unwrap(), "before<A><B>a.b</B><C><D>&lt;&amp;</D></C></A>");
    }
}
