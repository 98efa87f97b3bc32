//! A bank over a folder of its own, files for it, and what it wrote, read by the project's own readers.

mod days;
mod faults;
mod files;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::*;
use crate::contract::{Level, Money, StatusHead, StatusLine, StatusSink};
use crate::iso20022::{camt, pain002};
use crate::kept::Kept;
use crate::mt940::{self, Mode};

/// A Wednesday.
const FIRST_DAY: &str = "2026-11-25";
const DEBTOR: &str = "001122334455";

fn kes() -> Currency {
    Currency::parse("KES").unwrap()
}

fn date(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

/// A folder that is gone when it is dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("paymaster-bank-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

struct World {
    folder: Folder,
    settings: BankSettings,
    bank: Bank,
}

impl World {
    fn new(name: &str, change: impl FnOnce(&mut BankSettings)) -> Self {
        let folder = Folder::new(name);
        let mut settings = BankSettings::new(folder.0.clone(), kes());
        settings.first_day = date(FIRST_DAY);
        change(&mut settings);
        let bank = Bank::open(settings.clone()).unwrap();
        Self { folder, settings, bank }
    }

    fn with_faults(name: &str, faults: BankFaults) -> Self {
        Self::new(name, |settings| settings.faults = faults)
    }

    fn reopen(&mut self) {
        self.bank = Bank::open(self.settings.clone()).unwrap();
    }

    fn send(&self, name: &str, file: &str) {
        fs::write(self.folder.0.join("in").join(name), file).unwrap();
    }

    fn pay(&mut self, order: &Order) {
        self.send(&format!("{}.xml", order.message_id), &order.text());
        assert_eq!(self.bank.take().unwrap(), 1);
    }

    /// Names in `out` that begin so, in order.
    fn out(&self, head: &str) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.folder.0.join("out")).unwrap().map(|entry| entry.unwrap().path());
        let mut paths: Vec<_> = entries.filter(|path| name_of(path).starts_with(head)).collect();
        paths.sort();
        paths
    }

    fn statuses(&self) -> Vec<Status> {
        self.out("PAIN002").iter().map(|path| status(path)).collect()
    }

    fn status(&self) -> Status {
        self.statuses().pop().unwrap()
    }

    /// Every statement in `out`, each of which must add up.
    fn statements(&self) -> Vec<Kept> {
        let paths = [self.out("CAMT053"), self.out("MT940")].concat();
        let read: Vec<_> = paths.iter().map(|path| statement(path)).collect();
        for kept in &read {
            assert_eq!((kept.faults.len(), kept.ends.len()), (0, 1));
            assert_eq!(kept.ends[0].check, crate::contract::Check::Holds);
        }
        read
    }

    fn end_day(&mut self) -> NaiveDate {
        self.bank.end_day().unwrap()
    }
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}

/// A payment file.
#[derive(Clone)]
struct Order {
    message_id: String,
    kind: &'static str,
    batch: Option<bool>,
    day: String,
    rows: Vec<(String, String, i64)>,
}

impl Order {
    fn new(message_id: &str, rows: &[(&str, String, i64)]) -> Self {
        let rows = rows.iter().map(|(reference, account, minor)| ((*reference).to_owned(), account.clone(), *minor));
        let message_id = message_id.to_owned();
        Self { message_id, kind: "pain.001.001.09", batch: None, day: FIRST_DAY.to_owned(), rows: rows.collect() }
    }

    fn many(message_id: &str, count: u64) -> Self {
        let row = |n: u64| (format!("{message_id}R{n:06}"), account_with(PLAIN, n), 10_000 + i64::try_from(n).unwrap());
        Self { rows: (1..=count).map(row).collect(), ..Self::new(message_id, &[]) }
    }

    fn sum(&self) -> i64 {
        self.rows.iter().map(|(_, _, minor)| minor).sum()
    }

    fn text(&self) -> String {
        let totals =
            format!("<NbOfTxs>{}</NbOfTxs><CtrlSum>{}</CtrlSum>", self.rows.len(), xml::plain(self.sum(), kes()));
        let batch = self.batch.map(|batch| format!("<BtchBookg>{batch}</BtchBookg>")).unwrap_or_default();
        let (day, bic) = match self.kind {
            "pain.001.001.03" => (self.day.clone(), "BIC"),
            _ => (format!("<Dt>{}</Dt>", self.day), "BICFI"),
        };
        let mut text = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Document xmlns=\"urn:iso:std:iso:20022:tech:xsd:{}\">\
<CstmrCdtTrfInitn><GrpHdr><MsgId>{id}</MsgId><CreDtTm>2026-11-25T08:00:00</CreDtTm>{totals}<InitgPty><Nm>M</Nm></InitgPty>\
</GrpHdr><PmtInf><PmtInfId>{id}-1</PmtInfId><PmtMtd>TRF</PmtMtd>{batch}{totals}<ReqdExctnDt>{day}</ReqdExctnDt>\
<Dbtr><Nm>M</Nm></Dbtr><DbtrAcct><Id><Othr><Id>{DEBTOR}</Id></Othr></Id></DbtrAcct>\
<DbtrAgt><FinInstnId><{bic}>BANKKENA</{bic}></FinInstnId></DbtrAgt>",
            self.kind,
            id = self.message_id,
        );
        for (reference, account, minor) in &self.rows {
            let key = if account.starts_with("DE") {
                format!("<IBAN>{account}</IBAN>")
            } else {
                format!("<Othr><Id>{account}</Id></Othr>")
            };
            let amount = xml::plain(*minor, kes());
            write!(
                text,
                "<CdtTrfTxInf><PmtId><EndToEndId>{reference}</EndToEndId></PmtId><Amt><InstdAmt Ccy=\"KES\">{amount}</InstdAmt></Amt>\
<Cdtr><Nm>Amina &amp; Söhne / Nairobi</Nm></Cdtr><CdtrAcct><Id>{key}</Id></CdtrAcct></CdtTrfTxInf>"
            )
            .unwrap();
        }
        text.push_str("</PmtInf></CstmrCdtTrfInitn></Document>");
        text
    }
}

/// A status as the project's reader understands it.
#[derive(Default)]
struct Status {
    heads: Vec<StatusHead>,
    /// Level, name, status, reason code.
    lines: Vec<(Level, String, String, String)>,
}

impl StatusSink for Status {
    fn head(&mut self, head: &StatusHead) -> anyhow::Result<()> {
        self.heads.push(head.clone());
        Ok(())
    }
    fn line(&mut self, line: StatusLine<'_>) -> anyhow::Result<()> {
        let name = match line.level {
            Level::Payment => line.end_to_end_id,
            Level::PaymentInformation => line.payment_information_id,
            Level::Group => "",
        };
        let alarm = line.alarm.map(|alarm| alarm.text).unwrap_or_default();
        let said = line.report.map(|report| format!("{:?}", report.outcome)).unwrap_or(alarm);
        self.lines.push((line.level, name.to_owned(), line.status.to_owned(), said));
        Ok(())
    }
}

impl Status {
    fn group(&self) -> &str {
        let mut groups = self.lines.iter().filter(|(level, ..)| *level == Level::Group);
        groups.next().map_or("", |(_, _, status, _)| status)
    }

    /// Name and status of every payment that is named.
    fn rows(&self) -> Vec<(&str, &str)> {
        let rows = self.lines.iter().filter(|(level, ..)| *level == Level::Payment);
        rows.map(|(_, name, status, _)| (name.as_str(), status.as_str())).collect()
    }
}

fn status(path: &Path) -> Status {
    let bytes = fs::read(path).unwrap();
    let text = String::from_utf8(bytes).unwrap();
    // There is no schema of version 10 at hand; what is written here is the same in version 12.
    let newer = text.replace("pain.002.001.10", "pain.002.001.12");
    let kind = if text.contains("pain.002.001.03") { "pain.002.001.03" } else { "pain.002.001.12" };
    valid(kind, newer.as_bytes(), &name_of(path));
    let mut status = Status::default();
    pain002::read(text.as_bytes(), &pain002::StatusProfile::default(), &mut status).unwrap();
    status
}

fn statement(path: &Path) -> Kept {
    let bytes = fs::read(path).unwrap();
    let mut kept = Kept::default();
    let name = name_of(path);
    if name.ends_with(".sta") {
        mt940::read(bytes.as_slice(), Mode::Strict, &mut kept).unwrap();
    } else {
        let text = String::from_utf8(bytes).unwrap();
        let start = text.find("camt.05").unwrap();
        valid(&text[start..start + 15], text.as_bytes(), &name);
        camt::read(text.as_bytes(), &mut kept).unwrap();
    }
    kept
}

/// Fails unless the schema `kind` takes `bytes`. Where schemas or the validator are not at hand it says so.
fn valid(kind: &str, bytes: &[u8], label: &str) {
    let schema = std::env::var_os("PAYMASTER_XSD").map(|folder| PathBuf::from(folder).join(format!("{kind}.xsd")));
    let schema = schema.filter(|schema| schema.exists() && Command::new("xmllint").arg("--version").output().is_ok());
    let Some(schema) = schema else {
        println!("{label}: not held against {kind}, the schema or xmllint is missing");
        return;
    };
    let file = std::env::temp_dir().join(format!(
        "paymaster-bank-{}-{:?}.xml",
        std::process::id(),
        std::thread::current().id()
    ));
    fs::write(&file, bytes).unwrap();
    let told =
        Command::new("xmllint").args(["--noout", "--stream", "--schema"]).arg(schema).arg(&file).output().unwrap();
    fs::remove_file(&file).unwrap();
    assert!(told.status.success(), "{label}: {}", String::from_utf8_lossy(&told.stderr));
}

fn minor(money: Option<crate::contract::Balance>) -> i64 {
    money.unwrap().money.minor
}

fn money(minor: i64) -> Money {
    Money::new(minor, kes())
}
