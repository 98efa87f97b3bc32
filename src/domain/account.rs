//! Payee accounts: financial addresses `scheme:id@provider`, as G2P Connect writes them.
//! Deliberately not here: which provider and rail pays one (routing), and whether it exists (lookup).

use std::fmt;

use iban::{Iban, IbanLike};

/// Where money for a payee goes. Scheme and provider are lower-case, so equal accounts are equal text.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PayeeAccount {
    text: String,
    /// Bytes before the colon; 0 when there is no scheme.
    scheme: usize,
    /// Where the `@` stands.
    at: usize,
}

/// Why a text is no payee account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AccountError {
    /// Not `scheme:id@provider` in ASCII.
    #[error("write the account as scheme:id@provider, such as mobile:+254712345678@mobile-op, in ASCII without spaces")]
    Malformed,
    /// A mobile number that only its own country can dial.
    #[error("write the phone number with + and the country code, such as +254712345678")]
    PhoneNotInternational,
    /// Wrong check digits, length or country.
    #[error("the IBAN is wrong: its check digits, length or country do not fit")]
    IbanInvalid,
}

impl AccountError {
    /// Stable name for programs.
    pub fn code(self) -> &'static str {
        match self {
            Self::Malformed => "account_malformed",
            Self::PhoneNotInternational => "phone_not_international",
            Self::IbanInvalid => "iban_invalid",
        }
    }
}

impl PayeeAccount {
    /// Reads an address; the scheme may be missing. The id is kept as written, but an IBAN in capitals.
    pub fn parse(text: &str) -> Result<Self, AccountError> {
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(AccountError::Malformed);
        }
        let (left, provider) = text.split_once('@').ok_or(AccountError::Malformed)?;
        let (scheme, id) = left.split_once(':').map_or((None, left), |(scheme, id)| (Some(scheme), id));
        let scheme_fits = scheme.is_none_or(|scheme| is_name(scheme, b"._-"));
        if !scheme_fits || id.is_empty() || !is_name(provider, b".-") {
            return Err(AccountError::Malformed);
        }
        let mut address = text.to_owned();
        let scheme_bytes = scheme.map_or(0, str::len);
        address[..scheme_bytes].make_ascii_lowercase();
        address[left.len()..].make_ascii_lowercase();
        let mut account = Self { text: address, scheme: scheme_bytes, at: left.len() };
        account.check_id()?;
        Ok(account)
    }

    /// The rules of the schemes that have some.
    fn check_id(&mut self) -> Result<(), AccountError> {
        match self.scheme() {
            Some("mobile") if !is_international(self.id()) => Err(AccountError::PhoneNotInternational),
            Some("iban") => {
                // One IBAN must have one spelling, or two rows to it would look like two accounts.
                self.text[self.scheme + 1..self.at].make_ascii_uppercase();
                let iban: Iban = self.id().parse().map_err(|_| AccountError::IbanInvalid)?;
                if iban.electronic_str() == self.id() { Ok(()) } else { Err(AccountError::IbanInvalid) }
            }
            _ => Ok(()),
        }
    }

    /// The whole address.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What kind of id it is, such as `mobile`, `iban` or `account`.
    pub fn scheme(&self) -> Option<&str> {
        (self.scheme > 0).then(|| &self.text[..self.scheme])
    }

    /// The number or name within the scheme.
    pub fn id(&self) -> &str {
        let begin = if self.scheme > 0 { self.scheme + 1 } else { 0 };
        &self.text[begin..self.at]
    }

    /// Who holds the account.
    pub fn provider(&self) -> &str {
        &self.text[self.at + 1..]
    }
}

impl fmt::Display for PayeeAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for PayeeAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// ASCII letters and digits and a few signs, at least one of them.
fn is_name(text: &str, signs: &[u8]) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || signs.contains(&byte))
}

/// E.164: `+`, then 8 to 15 digits that do not begin with 0.
fn is_international(id: &str) -> bool {
    id.strip_prefix('+').is_some_and(|digits| {
        (8..=15).contains(&digits.len()) && !digits.starts_with('0') && digits.bytes().all(|byte| byte.is_ascii_digit())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_parts_of_an_address() {
        let cases = [
            ("mobile:+254712345678@Mobile-Op", Some("mobile"), "+254712345678", "mobile-op"),
            ("MOBILE:+254712345678@m", Some("mobile"), "+254712345678", "m"),
            ("account:12345@abcd0000001.ifsc.pymt-rail", Some("account"), "12345", "abcd0000001.ifsc.pymt-rail"),
            ("token:AbC@national-id", Some("token"), "AbC", "national-id"),
            ("JoeUser@national-bank", None, "JoeUser", "national-bank"),
            ("voucher:1:2@food.coupon-network", Some("voucher"), "1:2", "food.coupon-network"),
            ("iban:de89370400440532013000@bank", Some("iban"), "DE89370400440532013000", "bank"),
        ];
        for (text, scheme, id, provider) in cases {
            let account = PayeeAccount::parse(text).unwrap();
            assert_eq!((account.scheme(), account.id(), account.provider()), (scheme, id, provider), "{text}");
            assert_eq!(PayeeAccount::parse(account.as_str()), Ok(account), "{text}");
        }
    }

    #[test]
    fn refuses_what_cannot_be_paid() {
        use AccountError::*;
        // (case of the list of bad input, text, refusal)
        let cases = [
            (46, "iban:DE88370400440532013000@bank", IbanInvalid),
            (46, "iban:DE00370400440532013000@bank", IbanInvalid),
            (47, "iban:DE8937040044053201300@bank", IbanInvalid),
            (47, "iban:KE89370400440532013000@bank", IbanInvalid),
            (48, "mobile:0712345678@op", PhoneNotInternational),
            (48, "mobile:254712345678@op", PhoneNotInternational),
            (48, "mobile:+0712345678@op", PhoneNotInternational),
            (48, "mobile:+1234567@op", PhoneNotInternational),
            (48, "mobile:+1234567890123456@op", PhoneNotInternational),
            (48, "mobile:++25471234567@op", PhoneNotInternational),
            (50, "mobile:+254712345678@о\u{440}", Malformed),
            (50, "аccount:1@bank", Malformed),
            (0, "", Malformed),
            (0, "@", Malformed),
            (0, "mobile:@op", Malformed),
            (0, "mobile:+254712345678@", Malformed),
            (0, "mobile:+254712345678", Malformed),
            (0, ":1@bank", Malformed),
            (0, "account:1@b@c", Malformed),
            (0, "account:1 2@bank", Malformed),
            (0, "account:1@ba nk", Malformed),
            (0, "account:1@bank/../x", Malformed),
        ];
        for (case, text, wanted) in cases {
            assert_eq!(PayeeAccount::parse(text), Err(wanted), "case {case}: {text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_answered_and_what_is_read_is_read_again(text in "\\PC{0,40}|[a-z:@+0-9A-Z.]{0,40}") {
            if let Ok(account) = PayeeAccount::parse(&text) {
                proptest::prop_assert_eq!(PayeeAccount::parse(account.as_str()), Ok(account));
            }
        }
    }
}
