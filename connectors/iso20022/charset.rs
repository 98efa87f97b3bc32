//! The characters a bank takes, and how other ones are brought into them. The payee's name in our books stays as
//! it is; only the copy in the file changes.
//! Deliberately not here: escaping for XML.

use deunicode::deunicode_char;
use serde::Deserialize;

/// The characters that a bank takes in texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Charset {
    /// The basic Latin set of the European Payments Council, which nearly every bank takes.
    #[default]
    Latin,
    /// Anything that XML may hold.
    Utf8,
}

/// Signs of the basic Latin set beside letters, digits and the space.
const SIGNS: &[u8] = b"/-?:().,'+";

fn is_latin(c: char) -> bool {
    u8::try_from(c).is_ok_and(|byte| READY[usize::from(byte)])
}

impl Charset {
    /// Puts `text` into `slot`: in this character set, without white space at the ends or twice, and with at most
    /// `chars_max` characters. Empty when nothing of it can be written.
    pub fn write(self, text: &str, chars_max: usize, slot: &mut String) {
        slot.clear();
        if is_ready(text, chars_max) {
            return slot.push_str(text);
        }
        let mut written = Written { slot, left: chars_max, last: ' ' };
        for c in text.chars() {
            match self {
                Self::Latin if is_latin(c) => written.latin(c),
                Self::Latin if c.is_whitespace() => written.latin(' '),
                Self::Latin => deunicode_char(c).unwrap_or_default().chars().for_each(|c| written.latin(near(c))),
                Self::Utf8 if c.is_control() || c.is_whitespace() => written.push(' '),
                Self::Utf8 if matches!(c, '\u{fffe}' | '\u{ffff}') => {}
                Self::Utf8 => written.push(c),
            }
            if written.left == 0 {
                break;
            }
        }
        slot.truncate(slot.trim_end().len());
    }
}

/// Whether a text is as it should be in either set, as most are.
fn is_ready(text: &str, chars_max: usize) -> bool {
    text.len() <= chars_max
        && text.bytes().all(|byte| READY[usize::from(byte)])
        && !text.starts_with([' ', '/'])
        && !text.ends_with(' ')
        && !text.contains("  ")
        && !text.contains("//")
}

/// The bytes of the basic set.
const READY: [bool; 256] = {
    let mut ready = [false; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        ready[byte as usize] = byte == b' ' || byte.is_ascii_alphanumeric();
        byte += 1;
    }
    let mut sign = 0;
    while sign < SIGNS.len() {
        ready[SIGNS[sign] as usize] = true;
        sign += 1;
    }
    ready
};

/// The nearest sign of the set.
fn near(c: char) -> char {
    match c {
        c if is_latin(c) => c,
        '&' => '+',
        '_' => '-',
        '[' | '{' | '<' => '(',
        ']' | '}' | '>' => ')',
        '"' | '`' => '\'',
        ';' | '|' => ',',
        '!' => '.',
        _ => ' ',
    }
}

struct Written<'a> {
    slot: &'a mut String,
    left: usize,
    last: char,
}

impl Written<'_> {
    /// The set's users may not begin a text with a slash or write two.
    fn latin(&mut self, c: char) {
        let is_refused = c == '/' && (self.last == '/' || self.slot.is_empty());
        if !is_refused {
            self.push(c);
        }
    }

    fn push(&mut self, c: char) {
        if self.left == 0 || (c == ' ' && self.last == ' ') {
            return;
        }
        self.slot.push(c);
        self.left -= 1;
        self.last = c;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(charset: Charset, text: &str, chars_max: usize) -> String {
        let mut slot = "left over".to_owned();
        charset.write(text, chars_max, &mut slot);
        slot
    }

    #[test]
    fn names_of_other_scripts_come_into_the_basic_set() {
        for (name, latin) in [
            ("Amina Otieno", "Amina Otieno"),
            ("  José \t Muñoz\n", "Jose Munoz"),
            ("Jose\u{301} Núñez", "Jose Nunez"),
            ("Łukasz Żółć-Öztürk", "Lukasz Zolc-Ozturk"),
            ("Smith & Sons <x>", "Smith + Sons (x)"),
            ("//a//b", "a/b"),
            ("O’Brien", "O'Brien"),
            ("\u{202e}evil\u{200b}\u{0}", "evil"),
            ("\u{202e}\u{200b}", ""),
        ] {
            assert_eq!(written(Charset::Latin, name, 70), latin, "{name}");
        }
        for name in ["Дмитрий", "አበበ", "محمد", "王小明", "ธนา"] {
            let latin = written(Charset::Latin, name, 70);
            assert!(!latin.is_empty() && latin.chars().all(is_latin), "{name} became {latin}");
        }
    }

    #[test]
    fn wide_sets_keep_letters_and_lose_controls() {
        assert_eq!(written(Charset::Utf8, " አበበ\u{7}\u{ffff} <b> ", 70), "አበበ <b>");
        assert_eq!(written(Charset::Utf8, "aaaa bbbb", 5), "aaaa");
        assert_eq!(written(Charset::Latin, "ßßß", 5), "sssss");
    }
}
