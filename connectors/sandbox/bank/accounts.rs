//! Account numbers: which of them are valid IBANs, and numbers whose end calls for an outcome.
//! Deliberately not here: what the ends mean (`faults.rs`), and registries of banks.

/// Shortest and longest IBAN.
const IBAN_CHARS: std::ops::RangeInclusive<usize> = 15..=34;
/// The bank in the IBANs that are made here.
const BANK_CODE: &str = "37040044";

/// A valid account number of twelve digits that ends with `suffix`; `n` tells them apart.
pub fn account_with(suffix: &str, n: u64) -> String {
    format!("{:08}{suffix}", n % 100_000_000)
}

/// A valid IBAN that ends with `suffix`; `n` tells them apart.
pub fn iban_with(suffix: &str, n: u64) -> String {
    let number = format!("{BANK_CODE}{:06}{suffix}", n % 1_000_000);
    let rest = remainder(&format!("{number}DE00")).unwrap_or(0);
    format!("DE{:02}{number}", 98 - rest)
}

/// Whether a text has the shape of an IBAN and its check digits are right.
pub(super) fn is_iban(text: &str) -> bool {
    let Some((head, rest)) = text.split_at_checked(4) else { return false };
    let country = head.bytes().take(2).all(|byte| byte.is_ascii_uppercase());
    let check = head.bytes().skip(2).all(|byte| byte.is_ascii_digit());
    let shape = IBAN_CHARS.contains(&text.len()) && country && check;
    shape && remainder(&format!("{rest}{head}")) == Some(1)
}

/// What is left of the number that a text stands for after division by 97; letters count from 10.
fn remainder(text: &str) -> Option<u32> {
    text.chars().try_fold(0_u32, |rest, c| {
        let value = c.to_digit(36)?;
        Some(if value < 10 { rest * 10 + value } else { rest * 100 + value } % 97)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_digits_are_made_and_checked() {
        for known in ["DE89370400440532013000", "GB82WEST12345698765432", "KW81CBKU0000000000001234560101"] {
            assert!(is_iban(known), "{known}");
        }
        for wrong in
            ["DE88370400440532013000", "de89370400440532013000", "DE8937040044", "", "DE89 3704 0044 0532 0130 00"]
        {
            assert!(!is_iban(wrong), "{wrong}");
        }
        for n in 0..200 {
            let iban = iban_with("9101", n);
            assert!(is_iban(&iban) && iban.ends_with("9101"), "{iban}");
        }
        assert_eq!(account_with("9101", 7), "000000079101");
    }
}
