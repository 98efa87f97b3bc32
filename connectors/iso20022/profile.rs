//! What one bank wants in our files. Two banks of the same standard differ in nothing else.
//! Deliberately not here: addresses of servers, keys, calendars.

use serde::Deserialize;

use super::charset::Charset;
use super::pain002::StatusProfile;

/// Longest identifier and code of a party or agent.
const ID_CHARS_MAX: usize = 35;
/// Longest account number that is no IBAN.
const ACCOUNT_CHARS_MAX: usize = 34;
/// Longest name in the basic set; ISO 20022 itself takes 140.
pub(super) const NAME_CHARS_MAX: usize = 70;
/// Longest remittance text.
pub(super) const TEXT_CHARS_MAX: usize = 140;
/// Longest file name without what a delivery puts around it.
const FILE_NAME_CHARS_MAX: usize = 120;

/// Everything in our files that a bank decides.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BankProfile {
    /// Version of `pain.001`.
    #[serde(default)]
    pub version: Version,
    /// Whose money is paid out.
    pub debtor: Debtor,
    /// How the bank calls whoever sends the file; the debtor without a number when absent.
    #[serde(default)]
    pub initiator: Option<Initiator>,
    /// Service level code, such as `SEPA`, `NURG` or `URGP`.
    #[serde(default)]
    pub service_level: Option<String>,
    /// Category purpose code, such as `SSBE`, `GOVT`, `PENS` or `SALA`.
    #[serde(default)]
    pub category_purpose: Option<String>,
    /// Purpose code of each payment, for banks that want it there.
    #[serde(default)]
    pub purpose: Option<String>,
    /// Who bears charges.
    #[serde(default)]
    pub charge_bearer: ChargeBearer,
    /// One debit for all payments (`true`), one each (`false`), or as agreed with the bank (absent).
    #[serde(default)]
    pub batch_booking: Option<bool>,
    /// The characters the bank takes.
    #[serde(default)]
    pub charset: Charset,
    /// How payee accounts are written.
    #[serde(default)]
    pub account_form: AccountForm,
    /// Proprietary scheme name beside account numbers that are no IBAN.
    #[serde(default)]
    pub account_scheme: Option<String>,
    /// What the `@provider` part of a payee account is to the bank.
    #[serde(default)]
    pub payee_agent: PayeeAgent,
    /// Clearing system code beside member numbers.
    #[serde(default)]
    pub clearing_system: Option<String>,
    /// Whether each payment carries the UUID of its reference as UETR, for banks that track by it; not in `.03`.
    #[serde(default)]
    pub uetr: bool,
    /// Most payments in a file.
    #[serde(default = "defaults::payments_max")]
    pub payments_max: u32,
    /// Most bytes in a file.
    #[serde(default = "defaults::bytes_max")]
    pub bytes_max: usize,
    /// Name of the file with `{message_id}`, and `{date}` for the day it was made, as `yyyymmdd`.
    #[serde(default = "defaults::file_name")]
    pub file_name: String,
    /// How the bank's status reports are to be read.
    #[serde(default)]
    pub status: StatusProfile,
}

mod defaults {
    pub fn payments_max() -> u32 {
        10_000
    }
    pub fn bytes_max() -> usize {
        20 << 20
    }
    pub fn file_name() -> String {
        "PAIN001_{date}_{message_id}.xml".to_owned()
    }
}

/// Versions of `pain.001` that are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub enum Version {
    /// The one in force.
    #[default]
    #[serde(rename = "pain.001.001.09")]
    V09,
    /// For older banks.
    #[serde(rename = "pain.001.001.03")]
    V03,
}

impl Version {
    /// The name of the message.
    pub fn name(self) -> &'static str {
        match self {
            Self::V09 => "pain.001.001.09",
            Self::V03 => "pain.001.001.03",
        }
    }
}

/// Whose money is paid out.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Debtor {
    /// As the bank knows it.
    pub name: String,
    /// The account that is debited.
    pub account: DebtorAccount,
    /// The bank itself; left open where its files do not name it.
    #[serde(default)]
    pub agent: Option<Agent>,
}

/// The account that is debited.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DebtorAccount {
    /// An IBAN.
    Iban(String),
    /// The bank's own number.
    Other(String),
}

/// A bank.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Agent {
    /// By its BIC.
    Bic(String),
    /// By its number in the profile's clearing system.
    ClearingMember(String),
}

/// Who sends the file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Initiator {
    /// Its name.
    pub name: String,
    /// The number that the bank gave it.
    #[serde(default)]
    pub id: Option<String>,
}

/// Who bears charges. Payees receive the whole sum in each case that is offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChargeBearer {
    /// Each side its own bank's.
    #[default]
    Shar,
    /// As the service level says; what SEPA demands.
    Slev,
    /// The payer all of them.
    Debt,
}

impl ChargeBearer {
    pub(super) fn code(self) -> &'static str {
        match self {
            Self::Shar => "SHAR",
            Self::Slev => "SLEV",
            Self::Debt => "DEBT",
        }
    }
}

/// How payee accounts are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccountForm {
    /// An address `iban:` as IBAN, any other as the bank's own number.
    #[default]
    ByScheme,
    /// Only IBANs are taken.
    Iban,
    /// Always as the bank's own number.
    Other,
}

/// What the `@provider` part of a payee account is to the bank.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PayeeAgent {
    /// Nothing: the account tells.
    #[default]
    None,
    /// A BIC.
    Bic,
    /// A number in `clearing_system`.
    ClearingMember,
}

impl BankProfile {
    pub(super) fn writes_uetr(&self) -> bool {
        self.uetr && self.version == Version::V09
    }

    /// Refuses values that no bank could take, each with the name of its key.
    pub fn check(&self) -> Result<(), String> {
        let fits = |text: &str, most: usize| {
            !text.trim().is_empty() && text.chars().count() <= most && !text.chars().any(char::is_control)
        };
        let code = |code: &Option<String>, most| code.as_deref().is_none_or(|code| fits(code, most));
        let (DebtorAccount::Iban(account) | DebtorAccount::Other(account)) = &self.debtor.account;
        let agent = match &self.debtor.agent {
            None => true,
            Some(Agent::Bic(bic)) => is_bic(bic),
            Some(Agent::ClearingMember(id)) => fits(id, ID_CHARS_MAX),
        };
        let initiator = self.initiator.as_ref();
        let iban = matches!(self.debtor.account, DebtorAccount::Other(_)) || is_iban(account);
        let rules = [
            (fits(&self.debtor.name, NAME_CHARS_MAX), "debtor.name must have 1 to 70 characters"),
            (iban && fits(account, ACCOUNT_CHARS_MAX), "debtor.account is no account"),
            (agent, "debtor.agent is no bank"),
            (
                initiator.is_none_or(|one| fits(&one.name, NAME_CHARS_MAX)),
                "initiator.name must have 1 to 70 characters",
            ),
            (initiator.is_none_or(|one| code(&one.id, ID_CHARS_MAX)), "initiator.id must have 1 to 35 characters"),
            (code(&self.service_level, 4), "service_level must have 1 to 4 characters"),
            (code(&self.category_purpose, 4), "category_purpose must have 1 to 4 characters"),
            (code(&self.purpose, 4), "purpose must have 1 to 4 characters"),
            (code(&self.account_scheme, ID_CHARS_MAX), "account_scheme must have 1 to 35 characters"),
            (code(&self.clearing_system, 5), "clearing_system must have 1 to 5 characters"),
            (self.payments_max > 0, "payments_max must be at least 1"),
            (self.bytes_max > 0, "bytes_max must be at least 1"),
            (
                is_file_name(&self.file_name),
                "file_name must have {message_id} and only letters, digits, dots and dashes",
            ),
        ];
        match rules.into_iter().find(|(holds, _)| !holds) {
            Some((_, rule)) => Err(rule.to_owned()),
            None => self.status.check().map_err(|text| format!("status.{text}")),
        }
    }
}

/// Eight or eleven characters: four of the bank, two letters of the country, two of the place, three of the branch.
pub(super) fn is_bic(text: &str) -> bool {
    let bytes = text.as_bytes();
    let upper = |byte: &u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
    matches!(bytes.len(), 8 | 11)
        && bytes.iter().all(upper)
        && bytes.iter().skip(4).take(2).all(u8::is_ascii_uppercase)
        && bytes.iter().take(4).all(u8::is_ascii_uppercase)
}

/// The shape that the schemas ask for; whether it is a true one was checked when the payee came.
pub(super) fn is_iban(text: &str) -> bool {
    let bytes = text.as_bytes();
    (5..=ACCOUNT_CHARS_MAX).contains(&bytes.len())
        && bytes.iter().all(u8::is_ascii_alphanumeric)
        && bytes.iter().take(2).all(u8::is_ascii_uppercase)
        && bytes.iter().skip(2).take(2).all(u8::is_ascii_digit)
}

/// A number that the bank itself gave out.
pub(super) fn is_other_account(text: &str) -> bool {
    (1..=ACCOUNT_CHARS_MAX).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-./ ".contains(&byte))
}

/// A member number of a clearing system.
pub(super) fn is_member(text: &str) -> bool {
    (1..=ID_CHARS_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn is_file_name(pattern: &str) -> bool {
    let plain = pattern.replace("{message_id}", "").replace("{date}", "");
    pattern.contains("{message_id}")
        && pattern.len() <= FILE_NAME_CHARS_MAX
        && !pattern.starts_with(['.', '-'])
        && plain.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}
