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

    /// Adds the form to `out` with its blanks filled in, in order. A blank without a value stays empty.
    pub fn fill<'a>(&self, values: impl IntoIterator<Item = &'a str>, out: &mut Vec<u8>) {
        let mut values = values.into_iter();
        for (index, piece) in self.pieces.iter().enumerate() {
            if index > 0 {
                out.extend_from_slice(escape(values.next().unwrap_or_default()).as_bytes());
            }
            out.extend_from_slice(piece);
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
        let mut out = b"before".to_vec();
        form.unwrap().fill(["a<b", "&"], &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), "before<A><B>a&lt;b</B><C><D>&amp;</D></C></A>");
    }
}
