//! Writes `pain.001`: one file with one group of payments for a batch, as the bank's profile wants it.
//! Everything in it follows from the batch, the profile and the two dates given, so that writing twice gives the
//! same bytes. Before a file may leave it is read back and compared.
//! Deliberately not here: which day is a banking day, and how a batch is cut.

use std::fmt::Write as _;
use std::io::{self, Write};

use quick_xml::events::{BytesDecl, BytesStart, Event};
use rust_decimal::Decimal;

use super::form::{BLANK, Form, Paper, branch, leaf, leaf_if, path};
use super::profile::{
    AccountForm, Agent, BankProfile, DebtorAccount, NAME_CHARS_MAX, PayeeAgent, TEXT_CHARS_MAX, Version, is_bic,
    is_iban, is_member, is_other_account,
};
use super::readback::{Totals, compare};
use crate::contract::{Batch, Currency, Failure, Instruction, Reason, ReasonClass, Reference};

/// Bytes gathered before they are handed on.
const CHUNK_BYTES: usize = 64 << 10;
/// Most digits of an amount or control sum.
const DIGITS_MAX: u32 = 18;

/// Why a file was not written. Nothing left in any case.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// One payment cannot be written; the batch can go without it.
    #[error("{reference} ({code}): {text}")]
    Payment {
        /// Which one.
        reference: Reference,
        /// Stable lower-case code.
        code: &'static str,
        /// For people.
        text: String,
    },
    /// The file as a whole cannot be written.
    #[error("{code}: {text}")]
    File {
        /// Stable lower-case code.
        code: &'static str,
        /// For people.
        text: String,
    },
    /// The bytes could not be put down.
    #[error("the file could not be written: {0}")]
    Io(#[from] io::Error),
}

impl WriteError {
    pub(super) fn file(code: &'static str, text: impl Into<String>) -> Self {
        Self::File { code, text: text.into() }
    }

    fn payment(instruction: &Instruction, code: &'static str, text: impl Into<String>) -> Self {
        Self::Payment { reference: instruction.reference, code, text: text.into() }
    }
}

impl From<WriteError> for Failure {
    fn from(error: WriteError) -> Self {
        let text = error.to_string();
        match error {
            WriteError::Payment { code, .. } | WriteError::File { code, .. } => {
                Self::Refused(Reason::new(ReasonClass::Format, code, text))
            }
            WriteError::Io(_) => Self::Blocked(Reason::new(ReasonClass::Format, "file_not_written", text)),
        }
    }
}

/// The name of the file in its own head: the batch's reference, for ever.
pub fn message_id(batch: &Batch) -> String {
    batch.reference.to_string()
}

/// The name of the file's one group of payments.
pub fn payment_information_id(batch: &Batch) -> String {
    format!("{}-1", batch.reference)
}

/// The name of the file outside.
pub fn file_name(profile: &BankProfile, batch: &Batch) -> String {
    let date = batch.made_at.format("%Y%m%d").to_string();
    profile.file_name.replace("{message_id}", &message_id(batch)).replace("{date}", &date)
}

/// The bytes of a file, read back and found right.
pub fn encode(profile: &BankProfile, batch: &Batch) -> Result<Vec<u8>, WriteError> {
    let mut bytes = Vec::new();
    write(profile, batch, &mut bytes)?;
    check(batch, bytes.as_slice())?;
    Ok(bytes)
}

/// Reads written bytes back and compares every payment, the counts and the control sums with the order.
/// What was written by [`write()`] must pass here before it leaves.
pub fn check(batch: &Batch, bytes: impl io::BufRead) -> Result<Totals, WriteError> {
    compare(batch, &message_id(batch), bytes)
}

/// Writes the file as a stream. It is not checked: see [`check`].
pub fn write(profile: &BankProfile, batch: &Batch, out: impl Write) -> Result<Totals, WriteError> {
    let totals = totals(profile, batch)?;
    let frame = Form::draw(|paper| document(paper, profile, batch, &totals))?;
    let [before, after] = frame.pieces() else {
        return Err(WriteError::file("profile_unusable", "the profile has a control character"));
    };
    let mut out = Counted { out, written: 0, bytes_max: profile.bytes_max };
    let mut lines = Lines::new(profile, batch.currency)?;
    out.put(before)?;
    for instruction in &batch.instructions {
        lines.add(instruction)?;
        if lines.bytes.len() >= CHUNK_BYTES {
            out.put(&lines.bytes)?;
            lines.bytes.clear();
        }
    }
    out.put(&lines.bytes)?;
    out.put(after)?;
    out.out.flush()?;
    Ok(totals)
}

/// Counts and adds up what is to be written, and refuses what no file can hold.
fn totals(profile: &BankProfile, batch: &Batch) -> Result<Totals, WriteError> {
    let count = batch.instructions.len();
    if count == 0 {
        return Err(WriteError::file("empty_batch", "a file needs at least one payment"));
    }
    if count > profile.payments_max as usize {
        return Err(WriteError::file("too_many_payments", format!("{count} payments")));
    }
    let mut sum: i128 = 0;
    for instruction in &batch.instructions {
        let money = instruction.amount;
        if money.currency != batch.currency {
            return Err(WriteError::payment(instruction, "currency_mixed", money.currency.code()));
        }
        if money.minor <= 0 || money.minor >= 10_i64.pow(DIGITS_MAX) {
            return Err(WriteError::payment(instruction, "amount_unwritable", money.to_string()));
        }
        sum += i128::from(money.minor);
    }
    if sum >= 10_i128.pow(DIGITS_MAX) {
        return Err(WriteError::file("sum_too_large", "the control sum has more than 18 digits"));
    }
    let sum = Decimal::from_i128_with_scale(sum, batch.currency.exponent());
    Ok(Totals { payments: count as u64, sum })
}

/// The whole document, with a blank where the payments go.
fn document(paper: &mut Paper, profile: &BankProfile, batch: &Batch, totals: &Totals) -> io::Result<()> {
    paper.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    let namespace = format!("urn:iso:std:iso:20022:tech:xsd:{}", profile.version.name());
    let document = BytesStart::new("Document").with_attributes([("xmlns", namespace.as_str())]);
    paper.write_event(Event::Start(document.borrow()))?;
    branch(paper, "CstmrCdtTrfInitn", |paper| {
        branch(paper, "GrpHdr", |paper| group_header(paper, profile, batch, totals))?;
        branch(paper, "PmtInf", |paper| payment_information(paper, profile, batch, totals))
    })?;
    paper.write_event(Event::End(document.to_end()))
}

fn group_header(paper: &mut Paper, profile: &BankProfile, batch: &Batch, totals: &Totals) -> io::Result<()> {
    leaf(paper, "MsgId", &message_id(batch))?;
    leaf(paper, "CreDtTm", &batch.made_at.format("%Y-%m-%dT%H:%M:%S").to_string())?;
    leaf(paper, "NbOfTxs", &totals.payments.to_string())?;
    leaf(paper, "CtrlSum", &totals.sum.to_string())?;
    let (name, id) = match &profile.initiator {
        Some(initiator) => (&initiator.name, initiator.id.as_deref()),
        None => (&profile.debtor.name, None),
    };
    branch(paper, "InitgPty", |paper| {
        name_of(paper, profile, name)?;
        id.map_or(Ok(()), |id| path(paper, &["Id", "OrgId", "Othr", "Id"], id))
    })
}

fn payment_information(paper: &mut Paper, profile: &BankProfile, batch: &Batch, totals: &Totals) -> io::Result<()> {
    leaf(paper, "PmtInfId", &payment_information_id(batch))?;
    leaf(paper, "PmtMtd", "TRF")?;
    leaf_if(paper, "BtchBookg", profile.batch_booking.map(|one| if one { "true" } else { "false" }))?;
    leaf(paper, "NbOfTxs", &totals.payments.to_string())?;
    leaf(paper, "CtrlSum", &totals.sum.to_string())?;
    if profile.service_level.is_some() || profile.category_purpose.is_some() {
        branch(paper, "PmtTpInf", |paper| {
            let inside = |paper: &mut Paper, name, code: &Option<String>| {
                code.as_deref().map_or(Ok(()), |code| path(paper, &[name, "Cd"], code))
            };
            inside(paper, "SvcLvl", &profile.service_level)?;
            inside(paper, "CtgyPurp", &profile.category_purpose)
        })?;
    }
    let day = batch.execute_on.format("%Y-%m-%d").to_string();
    match profile.version {
        Version::V09 => path(paper, &["ReqdExctnDt", "Dt"], &day)?,
        Version::V03 => leaf(paper, "ReqdExctnDt", &day)?,
    }
    branch(paper, "Dbtr", |paper| name_of(paper, profile, &profile.debtor.name))?;
    branch(paper, "DbtrAcct", |paper| {
        match &profile.debtor.account {
            DebtorAccount::Iban(iban) => path(paper, &["Id", "IBAN"], iban)?,
            DebtorAccount::Other(id) => path(paper, &["Id", "Othr", "Id"], id)?,
        }
        leaf(paper, "Ccy", batch.currency.code())
    })?;
    branch(paper, "DbtrAgt", |paper| match &profile.debtor.agent {
        Some(Agent::Bic(bic)) => agent(paper, profile, (PayeeAgent::Bic, bic)),
        Some(Agent::ClearingMember(id)) => agent(paper, profile, (PayeeAgent::ClearingMember, id)),
        None => path(paper, &["FinInstnId", "Othr", "Id"], "NOTPROVIDED"),
    })?;
    leaf(paper, "ChrgBr", profile.charge_bearer.code())?;
    paper.write_event(Event::Text(quick_xml::events::BytesText::new(BLANK)))
}

fn name_of(paper: &mut Paper, profile: &BankProfile, name: &str) -> io::Result<()> {
    let mut written = String::new();
    profile.charset.write(name, NAME_CHARS_MAX, &mut written);
    leaf(paper, "Nm", &written)
}

fn agent(paper: &mut Paper, profile: &BankProfile, (kind, id): (PayeeAgent, &str)) -> io::Result<()> {
    let bic = if profile.version == Version::V03 { "BIC" } else { "BICFI" };
    branch(paper, "FinInstnId", |paper| match kind {
        PayeeAgent::None => Ok(()),
        PayeeAgent::Bic => leaf(paper, bic, id),
        PayeeAgent::ClearingMember => branch(paper, "ClrSysMmbId", |paper| {
            if let Some(system) = &profile.clearing_system {
                path(paper, &["ClrSysId", "Cd"], system)?;
            }
            leaf(paper, "MmbId", id)
        }),
    })
}

/// The four forms of a payment: with an IBAN or another number, with a remittance text or none.
struct Lines<'a> {
    profile: &'a BankProfile,
    forms: [[Form; 2]; 2],
    bytes: Vec<u8>,
    amount: String,
    name: String,
    text: String,
    agent: String,
    uetr: [u8; uuid::fmt::Hyphenated::LENGTH],
}

impl<'a> Lines<'a> {
    fn new(profile: &'a BankProfile, currency: Currency) -> io::Result<Self> {
        let form = |is_iban, has_text| Form::draw(|paper| payment(paper, profile, currency, (is_iban, has_text)));
        let forms = [[form(false, false)?, form(false, true)?], [form(true, false)?, form(true, true)?]];
        let uetr = [0; uuid::fmt::Hyphenated::LENGTH];
        let [amount, name, text, agent] = [const { String::new() }; 4];
        Ok(Self { profile, forms, bytes: Vec::with_capacity(2 * CHUNK_BYTES), amount, name, text, agent, uetr })
    }

    /// Adds one payment to the bytes.
    fn add(&mut self, instruction: &Instruction) -> Result<(), WriteError> {
        let (account, is_iban) = self.account(instruction)?;
        self.profile.charset.write(&instruction.payee_name, NAME_CHARS_MAX, &mut self.name);
        if self.name.is_empty() {
            return Err(WriteError::payment(instruction, "name_unwritable", "nothing of the name can be written"));
        }
        self.profile.charset.write(&instruction.purpose, TEXT_CHARS_MAX, &mut self.text);
        self.amount.clear();
        write!(self.amount, "{}", instruction.amount.decimal()).map_err(|_| io::Error::other("no amount"))?;
        let reference = instruction.reference;
        let mut copy = self.forms[usize::from(is_iban)][usize::from(!self.text.is_empty())].copy(&mut self.bytes);
        copy.plain(reference.as_str());
        copy.plain(reference.as_str());
        if self.profile.writes_uetr() {
            copy.plain(reference.uuid().hyphenated().encode_lower(&mut self.uetr));
        }
        copy.plain(&self.amount);
        if self.profile.payee_agent != PayeeAgent::None {
            copy.plain(&self.agent);
        }
        copy.text(&self.name);
        copy.plain(account);
        if !self.text.is_empty() {
            copy.text(&self.text);
        }
        copy.end();
        Ok(())
    }

    /// The account's number and whether it is an IBAN; its bank goes into `self.agent`.
    fn account<'b>(&mut self, instruction: &'b Instruction) -> Result<(&'b str, bool), WriteError> {
        let bad = |code, text: &str| WriteError::payment(instruction, code, text);
        let address = instruction.payee_account.as_str();
        let (address, provider) = address.rsplit_once('@').unwrap_or((address, ""));
        let (scheme, id) = address.split_once(':').unwrap_or(("", address));
        let is_iban = match self.profile.account_form {
            AccountForm::ByScheme => scheme.eq_ignore_ascii_case("iban"),
            AccountForm::Iban => true,
            AccountForm::Other => false,
        };
        match is_iban {
            true if !self::is_iban(id) => return Err(bad("account_unwritable", "the payee account is no IBAN")),
            false if !is_other_account(id) => return Err(bad("account_unwritable", "the payee account is no number")),
            _ => {}
        }
        self.agent.clear();
        match self.profile.payee_agent {
            PayeeAgent::None => {}
            PayeeAgent::Bic => self.agent.push_str(&provider.to_ascii_uppercase()),
            PayeeAgent::ClearingMember => self.agent.push_str(provider),
        }
        let fits = match self.profile.payee_agent {
            PayeeAgent::None => true,
            PayeeAgent::Bic => is_bic(&self.agent),
            PayeeAgent::ClearingMember => is_member(&self.agent),
        };
        if fits { Ok((id, is_iban)) } else { Err(bad("agent_unwritable", "the payee account names no bank")) }
    }
}

/// One payment with blanks, in the order in which [`Lines::add`] fills them in.
fn payment(
    paper: &mut Paper,
    profile: &BankProfile,
    currency: Currency,
    (is_iban, has_text): (bool, bool),
) -> io::Result<()> {
    branch(paper, "CdtTrfTxInf", |paper| {
        branch(paper, "PmtId", |paper| {
            leaf(paper, "InstrId", BLANK)?;
            leaf(paper, "EndToEndId", BLANK)?;
            leaf_if(paper, "UETR", profile.writes_uetr().then_some(BLANK))
        })?;
        branch(paper, "Amt", |paper| {
            let amount = paper.create_element("InstdAmt").with_attribute(("Ccy", currency.code()));
            amount.write_text_content(quick_xml::events::BytesText::new(BLANK)).map(|_| ())
        })?;
        if profile.payee_agent != PayeeAgent::None {
            branch(paper, "CdtrAgt", |paper| agent(paper, profile, (profile.payee_agent, BLANK)))?;
        }
        path(paper, &["Cdtr", "Nm"], BLANK)?;
        branch(paper, "CdtrAcct", |paper| {
            branch(paper, "Id", |paper| match is_iban {
                true => leaf(paper, "IBAN", BLANK),
                false => branch(paper, "Othr", |paper| {
                    leaf(paper, "Id", BLANK)?;
                    let scheme = profile.account_scheme.as_deref();
                    scheme.map_or(Ok(()), |scheme| path(paper, &["SchmeNm", "Prtry"], scheme))
                }),
            })
        })?;
        if let Some(purpose) = &profile.purpose {
            path(paper, &["Purp", "Cd"], purpose)?;
        }
        if has_text { path(paper, &["RmtInf", "Ustrd"], BLANK) } else { Ok(()) }
    })
}

/// Hands bytes on as long as the file may grow.
struct Counted<W> {
    out: W,
    written: usize,
    bytes_max: usize,
}

impl<W: Write> Counted<W> {
    fn put(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        self.written += bytes.len();
        if self.written > self.bytes_max {
            return Err(WriteError::file("file_too_long", format!("more than {} bytes", self.bytes_max)));
        }
        Ok(self.out.write_all(bytes)?)
    }
}
