//! The identity of a payment: the same entitlement of the same cycle is the same payment for ever, whatever
//! file, order, amount or account it comes with. This is what stops paying twice at the door.
//! Deliberately not here: the reference a provider sees, and refusing control characters (`row`).

use std::borrow::Cow;
use std::fmt;

use ring::digest::{Context, SHA256};
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

/// First byte of what is hashed. Another way of hashing gets another number, so that both never mix.
const VERSION: u8 = 1;
/// 128 bits: two of 10^12 payments meet by chance once in 10^14 worlds.
const IDENTITY_BYTES: usize = 16;

/// What a payment is known by inside one tenant. Frozen: identities are stored and compared for ever.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identity([u8; IDENTITY_BYTES]);

/// Tenant, programme and cycle, hashed once for all rows of a payroll.
#[derive(Clone)]
pub struct CycleScope(Context);

impl CycleScope {
    /// Takes the names that stay the same for ever: those by which people know them.
    pub fn new(tenant: &str, programme: &str, cycle: &str) -> Self {
        let mut hash = Context::new(&SHA256);
        hash.update(&[VERSION]);
        for text in [tenant, programme, cycle] {
            add(&mut hash, text);
        }
        Self(hash)
    }
}

impl Identity {
    /// The identity of one instalment of an entitlement; no instalment is the empty text.
    pub fn new(scope: &CycleScope, beneficiary: &str, entitlement: &str, instalment: &str) -> Self {
        let mut hash = scope.0.clone();
        for text in [beneficiary, entitlement, instalment] {
            add(&mut hash, text);
        }
        let digest = hash.finish();
        let mut bytes = [0; IDENTITY_BYTES];
        for (byte, hashed) in bytes.iter_mut().zip(digest.as_ref()) {
            *byte = *hashed;
        }
        Self(bytes)
    }

    /// A stored identity.
    pub fn from_bytes(bytes: [u8; IDENTITY_BYTES]) -> Self {
        Self(bytes)
    }

    /// As it is stored.
    pub fn as_bytes(&self) -> &[u8; IDENTITY_BYTES] {
        &self.0
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Its length goes before each field, so that the end of one cannot pass for the beginning of the next.
fn add(hash: &mut Context, text: &str) {
    let canonical = canonical(text);
    // A cell is at most 64 KiB; a longer text saturates and is still hashed whole.
    let length = u32::try_from(canonical.len()).unwrap_or(u32::MAX);
    hash.update(&length.to_be_bytes());
    hash.update(canonical.as_bytes());
}

/// One spelling for equal texts: composed (NFC) and without white space around. Case and leading zeros are
/// kept, since registries tell `A1` from `a1` and `007` from `7`.
fn canonical(text: &str) -> Cow<'_, str> {
    let trimmed = text.trim();
    if trimmed.is_ascii() || is_nfc_quick(trimmed.chars()) == IsNormalized::Yes {
        return Cow::Borrowed(trimmed);
    }
    Cow::Owned(trimmed.nfc().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(scope: [&str; 3], row: [&str; 3]) -> String {
        Identity::new(&CycleScope::new(scope[0], scope[1], scope[2]), row[0], row[1], row[2]).to_string()
    }

    const SCOPE: [&str; 3] = ["acme", "cash-transfer", "2026-01"];

    #[test]
    fn golden_vectors_never_change() {
        let cases = [
            (SCOPE, ["30012345", "HH-1", ""], "c33a43346ba15c9b77e5c87e76010dbf"),
            (SCOPE, ["30012345", "HH-1", "2"], "2938683a23108801eb536e67f4ae7067"),
            (["a", "b", "c"], ["d", "e", "f"], "0f30fb2fe36d0509cc1f0c3285c94c5f"),
            (["", "", ""], ["", "", ""], "6bb0f5246ac6ee3fa6a6879c512f393f"),
            (["acme", "Año", "2026-01"], ["007", "é", "1"], "ed7ff61f949f52634dfe0111ed888637"),
        ];
        for (scope, row, wanted) in cases {
            assert_eq!(identity(scope, row), wanted, "{scope:?} {row:?}");
        }
    }

    #[test]
    fn equal_spellings_agree_and_others_do_not() {
        let wanted = identity(SCOPE, ["Añez", "HH-1", "1"]);
        // Case 51: composed and decomposed are one.
        assert_eq!(identity(SCOPE, ["An\u{303}ez", "HH-1", "1"]), wanted);
        assert_eq!(identity(SCOPE, [" Añez\u{a0}", "\tHH-1 ", "1\n"]), wanted);
        for other in [
            ["añez", "HH-1", "1"],
            ["Anez", "HH-1", "1"],
            ["Añez", "hh-1", "1"],
            ["Añez", "HH-01", "1"],
            ["Añez", "HH-1", "01"],
            ["Añez", "HH-1", ""],
            ["HH-1", "Añez", "1"],
        ] {
            assert_ne!(identity(SCOPE, other), wanted, "{other:?}");
        }
    }

    #[test]
    fn fields_do_not_run_into_each_other() {
        let shifts = [["ab", "c", ""], ["a", "bc", ""], ["a", "b", "c"], ["", "abc", ""], ["abc", "", ""]];
        let all: std::collections::BTreeSet<String> = shifts.iter().map(|row| identity(SCOPE, *row)).collect();
        assert_eq!(all.len(), shifts.len());
        assert_ne!(identity(["a", "bc", "d"], ["", "", ""]), identity(["ab", "c", "d"], ["", "", ""]));
        assert_ne!(identity(["a", "b", "c"], ["d", "", ""]), identity(["a", "b", "cd"], ["", "", ""]));
    }
}
