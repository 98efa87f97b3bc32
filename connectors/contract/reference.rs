//! The one name a payment has towards providers: 16 characters of [0-9A-Z] that fit every rail
//! (an MT940 customer reference holds no more), unique for ever, ascending in time.
//! Deliberately not here: where numbers come from; the store allots them before anything is sent.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Crockford's alphabet: no I, L, O or U, so that a reference survives being read aloud.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// What no character of the alphabet stands for.
const NO_DIGIT: u8 = u8::MAX;
/// The digit of every character: references are read a million at a time.
const DIGITS: [u8; 256] = {
    let mut digits = [NO_DIGIT; 256];
    let mut digit = 0_u8;
    while digit < 32 {
        digits[ALPHABET[digit as usize] as usize] = digit;
        digit += 1;
    }
    digits
};
/// Characters that carry the number: 13 × 5 bits hold 63.
const NUMBER_CHARS: usize = 13;
/// Length of a reference.
pub const REFERENCE_CHARS: usize = 16;

/// A payment's (or batch's) reference: 13 characters of a number and 3 of the installation's tag.
/// The tag keeps two installations that use one provider from ever meeting under the same reference.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Reference([u8; REFERENCE_CHARS]);

impl Reference {
    /// Frozen function of a stored number and the installation's stored tag (15 bits).
    /// Never change it: references already sent must be found again.
    pub fn new(number: i64, tag: u16) -> Self {
        let mut chars = [b'0'; REFERENCE_CHARS];
        write_base32(&mut chars[..NUMBER_CHARS], number.unsigned_abs());
        write_base32(&mut chars[NUMBER_CHARS..], u64::from(tag & 0x7fff));
        Self(chars)
    }

    /// Reads a reference as a provider gave it back; `None` when it cannot be one of any installation.
    pub fn parse(text: &str) -> Option<Self> {
        let chars: [u8; REFERENCE_CHARS] = text.as_bytes().try_into().ok()?;
        let known = chars.iter().all(|c| DIGITS[usize::from(*c)] != NO_DIGIT);
        let reference = Self(chars);
        (known && read_base32(&chars[..NUMBER_CHARS]) <= i64::MAX as u64).then_some(reference)
    }

    /// The number it was made from.
    pub fn number(self) -> i64 {
        i64::try_from(read_base32(&self.0[..NUMBER_CHARS])).unwrap_or(i64::MAX)
    }

    /// The installation's tag it was made from.
    pub fn tag(self) -> u16 {
        u16::try_from(read_base32(&self.0[NUMBER_CHARS..])).unwrap_or(0)
    }

    /// The characters.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The UUID for rails that demand one: version 4 bits (some providers check them) over the SHA-256
    /// of the reference. Frozen, like the reference itself.
    pub fn uuid(self) -> Uuid {
        let digest = ring::digest::digest(&ring::digest::SHA256, &self.0);
        let mut bytes = [0_u8; 16];
        bytes.copy_from_slice(&digest.as_ref()[..16]);
        uuid::Builder::from_random_bytes(bytes).into_uuid()
    }
}

/// Writes `value` big-endian in base 32, filling `chars`.
fn write_base32(chars: &mut [u8], mut value: u64) {
    for slot in chars.iter_mut().rev() {
        *slot = ALPHABET[(value & 31) as usize];
        value >>= 5;
    }
}

fn read_base32(chars: &[u8]) -> u64 {
    chars.iter().fold(0, |value, c| (value << 5) | u64::from(DIGITS[usize::from(*c)] & 31))
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl TryFrom<String> for Reference {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text).ok_or_else(|| format!("`{text}` is not a reference"))
    }
}

impl From<Reference> for String {
    fn from(reference: Reference) -> Self {
        reference.as_str().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_vectors_are_frozen() {
        let reference = Reference::new(7_612_345_678_901_234, 0x1234);
        assert_eq!(reference.as_str(), "006RBCDC1JBZJ4HM");
        assert_eq!(reference.uuid().to_string(), "8688c948-147b-433d-9511-a4e6de9b583b");
    }

    #[test]
    fn numbers_survive_and_order_is_kept() {
        let numbers = [0, 1, 31, 32, 1 << 22, i64::MAX - 1, i64::MAX];
        for pair in numbers.windows(2) {
            let (low, high) = (Reference::new(pair[0], 9), Reference::new(pair[1], 9));
            assert!(low < high);
            assert_eq!(Reference::parse(high.as_str()), Some(high));
            assert_eq!((high.number(), high.tag()), (pair[1], 9));
        }
    }

    #[test]
    fn foreign_text_is_no_reference() {
        for text in [
            "",
            "short",
            "006RBCDC1JBZJ4HM0",
            "006rbcdc1jbzj4hm",
            "00ILOUDC1JBZJ4HM",
            "ZZZZZZZZZZZZZZZZ",
            "006RBCDC1JBZJ4H\u{41f}",
        ] {
            assert_eq!(Reference::parse(text), None, "{text}");
        }
    }
}
