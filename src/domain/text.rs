//! What a cell of text may hold: lengths, control characters, hidden direction marks, scripts.
//! Deliberately not here: which cell has which limit (`row`).

use std::borrow::Cow;

/// Why a text is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextError {
    /// More characters than its limit.
    TooLong,
    /// NUL, tabs, line breaks where they have no place, and other control characters.
    Control,
    /// Characters that are not seen but change what is seen.
    Direction,
    /// Letters that look like ASCII and are not.
    MixedScripts,
}

impl TextError {
    /// Stable name for programs.
    pub fn code(self) -> &'static str {
        match self {
            Self::TooLong => "text_too_long",
            Self::Control => "text_control",
            Self::Direction => "text_direction",
            Self::MixedScripts => "id_mixed_scripts",
        }
    }
}

/// An id: printable ASCII, because ids are compared byte by byte and read aloud.
pub fn check_id(text: &str, chars_max: usize) -> Result<(), TextError> {
    if is_plain(text) {
        return if text.len() > chars_max { Err(TextError::TooLong) } else { Ok(()) };
    }
    check_chars(text, chars_max, |_| false)?;
    Err(TextError::MixedScripts)
}

/// Text in any script on one line. Joiners are letters' business in Persian and Indic scripts and stay.
pub fn check_line(text: &str, chars_max: usize) -> Result<(), TextError> {
    if is_plain(text) && text.len() <= chars_max {
        return Ok(());
    }
    check_chars(text, chars_max, is_joiner)
}

/// Text in any script; its line breaks become spaces.
pub fn fold_lines(text: &str, chars_max: usize) -> Result<Cow<'_, str>, TextError> {
    let folded = if text.contains(['\r', '\n']) {
        Cow::Owned(text.replace("\r\n", " ").replace(['\r', '\n'], " "))
    } else {
        Cow::Borrowed(text)
    };
    check_line(&folded, chars_max)?;
    Ok(folded)
}

/// Makes a text safe to open in a spreadsheet, which would run what begins like a formula. For exports that
/// people read; never for files that come back to us or go to a provider.
pub fn for_people(text: &str) -> Cow<'_, str> {
    const FORMULA: [char; 11] = ['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠'];
    if text.starts_with(FORMULA) { Cow::Owned(format!("'{text}")) } else { Cow::Borrowed(text) }
}

fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
}

fn check_chars(text: &str, chars_max: usize, allowed: fn(char) -> bool) -> Result<(), TextError> {
    // A character has at least one byte, so most texts need no counting.
    if text.len() > chars_max && text.chars().count() > chars_max {
        return Err(TextError::TooLong);
    }
    for char in text.chars().filter(|char| !allowed(*char)) {
        if char.is_control() || matches!(char, '\u{2028}' | '\u{2029}') {
            return Err(TextError::Control);
        }
        if is_hidden(char) {
            return Err(TextError::Direction);
        }
    }
    Ok(())
}

/// Zero-width non-joiner and joiner.
fn is_joiner(char: char) -> bool {
    matches!(char, '\u{200c}' | '\u{200d}')
}

/// Direction marks, embeddings, overrides and isolates; zero-width characters; tags.
fn is_hidden(char: char) -> bool {
    matches!(
        char,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formulas_are_kept_here_and_harmless_in_exports() {
        // Cases 21 and 22.
        for name in ["=cmd|' /C calc'!A0", "＝1+1", "+1", "-1", "@x", "＋", "－", "＠"] {
            assert_eq!(check_line(name, 140), Ok(()), "{name}");
            assert_eq!(for_people(name), format!("'{name}"));
        }
        for name in ["", "Amina", "O'Neil", "a=b", "አማና"] {
            assert_eq!(for_people(name), name);
        }
    }

    #[test]
    fn line_breaks_fold_to_one_space() {
        assert_eq!(fold_lines("a\r\nb\nc\rd", 9).as_deref(), Ok("a b c d"));
        assert_eq!(fold_lines("a\tb", 9), Err(TextError::Control));
        assert_eq!(fold_lines("é\né", 3).as_deref(), Ok("é é"));
        assert_eq!(fold_lines("é\néé", 3), Err(TextError::TooLong));
    }
}
