//! What a bank's statements say.

use std::io::{BufReader, Read};

use super::super::camt::read;
use super::valid;
use crate::contract::{Check, Direction, EntryKind, EntryStatus, ReasonClass, Reference, StatementKind};
use crate::kept::Kept;
use crate::reading::ReadError;

const VERSIONS: [&str; 3] = ["02", "08", "11"];

fn balance(code: &str, amount: &str, mark: &str) -> String {
    format!(
        "<Bal><Tp><CdOrPrtry><Cd>{code}</Cd></CdOrPrtry></Tp><Amt Ccy=\"KES\">{amount}</Amt><CdtDbtInd>{mark}</CdtDbtInd>\
<Dt><Dt>2026-11-23</Dt></Dt></Bal>"
    )
}

fn head(version: &str) -> String {
    let page = if version == "02" { "" } else { "<StmtPgntn><PgNb>1</PgNb><LastPgInd>true</LastPgInd></StmtPgntn>" };
    format!(
        "<Id>ST1</Id>{page}<ElctrncSeqNb>12</ElctrncSeqNb><LglSeqNb>3</LglSeqNb><CreDtTm>2026-11-23T20:00:00</CreDtTm>\
<FrToDt><FrDtTm>2026-11-22T00:00:00</FrDtTm><ToDtTm>2026-11-23T23:59:59</ToDtTm></FrToDt>\
<Acct><Id><Othr><Id>001122</Id></Othr></Id><Ccy>KES</Ccy></Acct>"
    )
}

/// A whole `camt.053` around `inside` a statement.
fn file(version: &str, inside: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Document xmlns=\"urn:iso:std:iso:20022:tech:xsd:camt.053.001.{version}\">\n\
<BkToCstmrStmt><GrpHdr><MsgId>M1</MsgId><CreDtTm>2026-11-23T20:00:00</CreDtTm></GrpHdr>\n<Stmt>{inside}</Stmt></BkToCstmrStmt></Document>"
    )
}

/// `amount` and what stands between the status and the details.
fn entry(version: &str, (amount, mark): (&str, &str), code: &str, inside: &str) -> String {
    let status = if version == "02" { "BOOK" } else { "<Cd>BOOK</Cd>" };
    let parts: Vec<_> = code.split('/').collect();
    let code = match parts.as_slice() {
        [domain, family, sub] => {
            format!("<Domn><Cd>{domain}</Cd><Fmly><Cd>{family}</Cd><SubFmlyCd>{sub}</SubFmlyCd></Fmly></Domn>")
        }
        _ => format!("<Prtry><Cd>{code}</Cd></Prtry>"),
    };
    format!(
        "<Ntry><Amt Ccy=\"KES\">{amount}</Amt><CdtDbtInd>{mark}</CdtDbtInd><Sts>{status}</Sts><BookgDt><Dt>2026-11-23</Dt></BookgDt>\
<ValDt><DtTm>2026-11-24T00:00:00</DtTm></ValDt><AcctSvcrRef>B1</AcctSvcrRef><BkTxCd>{code}</BkTxCd>{inside}</Ntry>\n"
    )
}

fn payment(version: &str, reference: &str) -> String {
    let (open, shut) = if version == "02" { ("", "") } else { ("<Pty>", "</Pty>") };
    let amount = if version == "02" { "" } else { "<Amt Ccy=\"KES\">10.00</Amt><CdtDbtInd>DBIT</CdtDbtInd>" };
    format!(
        "<TxDtls><Refs><MsgId>F1</MsgId><AcctSvcrRef>B2</AcctSvcrRef><PmtInfId>F1-1</PmtInfId><EndToEndId>{reference}</EndToEndId></Refs>{amount}\
<AmtDtls><InstdAmt><Amt Ccy=\"KES\">10.00</Amt></InstdAmt><TxAmt><Amt Ccy=\"KES\">10.00</Amt></TxAmt></AmtDtls>\
<RltdPties><Dbtr>{open}<Nm>Ministry</Nm>{shut}</Dbtr><DbtrAcct><Id><Othr><Id>001122</Id></Othr></Id></DbtrAcct>\
<Cdtr>{open}<Nm>Amina &amp; Co</Nm>{shut}</Cdtr><CdtrAcct><Id><IBAN>DE89370400440532013000</IBAN></Id></CdtrAcct></RltdPties>\
<RmtInf><Ustrd>grant</Ustrd><Ustrd>november</Ustrd></RmtInf></TxDtls>"
    )
}

fn kept(text: &str) -> (Kept, Result<(), ReadError>) {
    let mut kept = Kept::default();
    let done = read(text.as_bytes(), &mut kept);
    (kept, done)
}

fn whole(text: &str) -> Kept {
    let (kept, done) = kept(text);
    done.unwrap();
    kept
}

/// A payment, a return, a fee, a batch debit and a pending entry: 1000.00 becomes 884.50.
pub(super) fn mixed(version: &str) -> String {
    let returned = payment(version, "006RBCDC1JBZJ4HM")
        .replace("</TxDtls>", "<RtrInf><Rsn><Cd>AC04</Cd></Rsn><AddtlInf>closed</AddtlInf></RtrInf></TxDtls>");
    let details = |inside: &str| format!("<NtryDtls>{inside}</NtryDtls>");
    let batch = "<Btch><MsgId>F1</MsgId><PmtInfId>F1-1</PmtInfId><NbOfTxs>1000</NbOfTxs><TtlAmt Ccy=\"KES\">100.00</TtlAmt></Btch>";
    let pending = if version == "02" { "<Sts>PDNG</Sts>" } else { "<Sts><Cd>PDNG</Cd></Sts>" };
    let booked = if version == "02" { "<Sts>BOOK</Sts>" } else { "<Sts><Cd>BOOK</Cd></Sts>" };
    let inside = [
        head(version),
        balance("OPBD", "1000.00", "CRDT"),
        balance("CLBD", "884.50", "CRDT"),
        entry(version, ("10.00", "DBIT"), "PMNT/ICDT/ESCT", &details(&payment(version, "006RBCDC1JBZJ4HM"))),
        entry(version, ("10.00", "CRDT"), "PMNT/ICDT/RRTN", &details(&returned)),
        entry(version, ("15.50", "DBIT"), "ACMT/MDOP/CHRG", "<AddtlNtryInf>monthly</AddtlNtryInf>"),
        entry(version, ("100.00", "DBIT"), "NTRF", &details(batch)),
        entry(version, ("7.00", "DBIT"), "NTRF", "").replace(booked, pending),
    ];
    file(version, &inside.concat())
}

#[test]
fn all_versions_are_read_the_same() {
    for version in VERSIONS {
        let text = mixed(version);
        valid(&format!("camt.053.001.{version}"), text.as_bytes(), "mixed");
        let kept = whole(&text);
        let head = &kept.heads[0];
        assert_eq!((head.kind, head.id.as_str(), head.account.as_str()), (StatementKind::Statement, "ST1", "001122"));
        assert_eq!((head.sequence, head.legal_sequence), (Some(12), Some(3)));
        assert_eq!(head.page, (version != "02").then_some(1));
        assert_eq!(
            (head.from.unwrap().to_string(), head.to.unwrap().to_string()),
            ("2026-11-22".into(), "2026-11-23".into())
        );
        let told = kept.entries.iter().map(|one| (one.position, one.direction, one.amount.minor, one.kind));
        use Direction::{Credit, Debit};
        let wanted = [
            (1, Debit, 1_000, EntryKind::Payment),
            (2, Credit, 1_000, EntryKind::Return),
            (3, Debit, 1_550, EntryKind::Fee),
            (4, Debit, 10_000, EntryKind::Payment),
            (5, Debit, 700, EntryKind::Payment),
        ];
        assert!(told.eq(wanted), "{version}");
        assert_eq!((kept.entries[0].code.as_str(), kept.entries[3].code.as_str()), ("PMNT/ICDT/ESCT", "NTRF"));
        assert_eq!((kept.entries[2].text.as_str(), kept.entries[4].status), ("monthly", EntryStatus::Pending));
        assert_eq!(kept.entries[0].valued_on.unwrap().to_string(), "2026-11-24");
        let batch = kept.entries[3].batch.as_ref().unwrap();
        assert_eq!((batch.count, batch.total.unwrap().minor, batch.message_id.as_str()), (Some(1000), 10_000, "F1"));
        let end = &kept.ends[0];
        assert_eq!((end.entries, end.debits_minor, end.credits_minor), (5, 12_550, 1_000));
        assert_eq!((end.check, end.is_last_page), (Check::Holds, head.page.map(|_| true)));
    }
}

#[test]
fn a_payment_is_told_with_all_that_names_it() {
    for version in VERSIONS {
        let kept = whole(&mixed(version));
        let paid = &kept.details[0];
        assert_eq!((paid.entry_position, paid.position, paid.kind), (1, 1, EntryKind::Payment));
        assert_eq!(paid.reference(), Reference::parse("006RBCDC1JBZJ4HM"));
        assert_eq!((paid.amount.unwrap().minor, paid.instructed.unwrap().minor), (1_000, 1_000));
        assert_eq!((paid.message_id.as_str(), paid.payment_information_id.as_str()), ("F1", "F1-1"));
        assert_eq!((paid.bank_reference.as_str(), paid.text.as_str()), ("B2", "grant november"));
        assert_eq!(
            (paid.counterparty_name.as_str(), paid.counterparty_account.as_str()),
            ("Amina & Co", "DE89370400440532013000")
        );
        let back = &kept.details[1];
        let reason = back.return_reason.as_ref().unwrap();
        assert_eq!(
            (back.kind, reason.class, reason.code.as_str()),
            (EntryKind::Return, ReasonClass::FixAtBank, "ac04")
        );
        assert_eq!(reason.text, "closed");
        assert_eq!(back.counterparty_account, "DE89370400440532013000", "the payee's, although it is a credit");
        assert_eq!(kept.details.len(), 2, "a batch debit without details has none");
    }
}

#[test]
fn notices_and_interim_reports_are_read_as_what_they_are() {
    for (root, name, element, kind) in [
        ("BkToCstmrDbtCdtNtfctn", "camt.054", "Ntfctn", StatementKind::Notice),
        ("BkToCstmrAcctRpt", "camt.052", "Rpt", StatementKind::Interim),
    ] {
        for version in VERSIONS {
            let text = mixed(version).replace("BkToCstmrStmt", root).replace("camt.053", name);
            let text = text.replace("<Stmt>", &format!("<{element}>")).replace("</Stmt>", &format!("</{element}>"));
            let text = text.replace("StmtPgntn", &format!("{element}Pgntn"));
            let text = if kind == StatementKind::Notice { without(&text, "Bal") } else { text };
            valid(&format!("{name}.001.{version}"), text.as_bytes(), "kinds");
            let kept = whole(&text);
            assert_eq!((kept.heads[0].kind, kept.entries.len()), (kind, 5));
            let wanted = if kind == StatementKind::Notice { Check::Unproven("notice") } else { Check::Holds };
            assert_eq!(kept.ends[0].check, wanted);
        }
    }
}

/// The text without every element of this name.
fn without(text: &str, name: &str) -> String {
    let end = format!("</{name}>");
    let (open, mut text) = (format!("<{name}>"), text.to_owned());
    while let (Some(from), Some(to)) = (text.find(&open), text.find(&end)) {
        text.replace_range(from..to + end.len(), "");
    }
    text
}

#[test]
fn sums_are_recomputed_to_the_minor_unit() {
    let text = mixed("08");
    assert_eq!(whole(&text.replace(">884.50<", ">884.49<")).ends[0].check, Check::Differs(-1));
    let overdrawn = text.replace(">1000.00</Amt><CdtDbtInd>CRDT", ">1000.00</Amt><CdtDbtInd>DBIT");
    let overdrawn = overdrawn.replace(">884.50</Amt><CdtDbtInd>CRDT", ">1115.50</Amt><CdtDbtInd>DBIT");
    let kept = whole(&overdrawn);
    assert_eq!((kept.heads[0].opening.unwrap().money.minor, kept.ends[0].check), (-100_000, Check::Holds));
    assert_eq!(whole(&without(&text, "Bal")).ends[0].check, Check::Unproven("no_opening_balance"));
    let other = text.replacen("<Ntry><Amt Ccy=\"KES\">", "<Ntry><Amt Ccy=\"USD\">", 1);
    assert_eq!(whole(&other).ends[0].check, Check::Unproven("mixed_currencies"));
    let page = text.replace(">OPBD<", ">ITBD<").replace(">CLBD<", ">ITBD<").replace(">true<", ">false<");
    let kept = whole(&page);
    assert_eq!((kept.ends[0].check, kept.ends[0].is_last_page), (Check::Holds, Some(false)));
    let previous = text.replace(">OPBD<", ">PRCD<");
    assert_eq!(whole(&previous).ends[0].check, Check::Holds);
    let empty = file("08", &(head("08") + &balance("OPBD", "5.00", "CRDT") + &balance("CLBD", "5.00", "CRDT")));
    assert_eq!(whole(&empty).ends[0].check, Check::Holds);
}

#[test]
fn a_bad_entry_or_detail_is_a_fault_and_the_rest_goes_on() {
    let text = mixed("08");
    for (from, to, code) in [
        (">15.50<", ">15.505<", "amount_decimals"),
        (">15.50<", ">-15.50<", "amount_malformed"),
        (">15.50<", "><", "amount_malformed"),
        (">15.50<", ">999999999999999999.00<", "amount_too_large"),
        ("Ccy=\"KES\">15.50<", ">15.50<", "currency_missing"),
        ("\"KES\">15.50<", "\"XXX\">15.50<", "currency_unknown"),
        (">15.50</Amt><CdtDbtInd>DBIT<", ">15.50</Amt><CdtDbtInd>WHAT<", "direction_missing"),
    ] {
        assert!(text.contains(from), "{from}");
        let kept = whole(&text.replace(from, to));
        let fault = &kept.faults[0];
        assert_eq!((fault.code, fault.entry_position, fault.detail_position), (code, 3, None), "{to}");
        assert_eq!((kept.entries.len(), kept.entries[2].position), (4, 4), "{to}");
        assert_eq!(kept.ends[0].check, Check::Unproven("unreadable_entries"), "{to}");
    }
    let kept = whole(&text.replacen("</Refs><Amt Ccy=\"KES\">10.00<", "</Refs><Amt Ccy=\"KES\">10.001<", 1));
    assert_eq!((kept.faults[0].code, kept.faults[0].detail_position), ("amount_decimals", Some(1)));
    assert_eq!((kept.details.len(), kept.ends[0].check), (1, Check::Holds), "the entry itself stands");
}

#[test]
fn reversals_are_returns_and_charges_are_told() {
    let details = "<NtryDtls><TxDtls><Refs><EndToEndId>X</EndToEndId></Refs><Chrgs><Rcrd><Amt Ccy=\"KES\">1.00</Amt></Rcrd>\
<Rcrd><Amt Ccy=\"KES\">0.50</Amt></Rcrd></Chrgs></TxDtls></NtryDtls>";
    let one = entry("08", ("3.00", "CRDT"), "NTRF", details).replace("<Sts>", "<RvslInd>true</RvslInd><Sts>");
    let text = file("08", &(head("08") + &one));
    let kept = whole(&text);
    assert_eq!((kept.entries[0].kind, kept.entries[0].is_reversal), (EntryKind::Return, true));
    assert_eq!((kept.details[0].kind, kept.details[0].charges.unwrap().minor), (EntryKind::Return, 150));
    let unmapped = mixed("08").replace("<Cd>AC04</Cd>", "<Prtry>house rule 7</Prtry>");
    let kept = whole(&unmapped);
    let reason = kept.details[1].return_reason.as_ref().unwrap();
    assert_eq!((reason.class, reason.code.as_str()), (ReasonClass::Unknown, "house rule 7"));
}

#[test]
fn several_statements_and_envelopes_are_taken() {
    let text = mixed("08");
    let one = &text[text.find("<Stmt>").unwrap()..text.find("</BkToCstmrStmt>").unwrap()];
    let kept = whole(&text.replace(one, &format!("{one}{}", one.replace("ST1", "ST2"))));
    assert_eq!(kept.heads.iter().map(|head| head.id.as_str()).collect::<Vec<_>>(), ["ST1", "ST2"]);
    assert_eq!(kept.entries[5].position, 1);
    let wrapped = text.replace("<Document", "<Envelope><AppHdr><Id>x</Id></AppHdr><Document") + "<More/></Envelope>";
    assert_eq!(whole(&wrapped).entries.len(), 5);
    let prefixed = text.replace("</", "</c:").replace("xmlns=", "xmlns:c=");
    let prefixed = prefixed.replace('<', "<c:").replace("<c:/c:", "</c:").replace("<c:?", "<?");
    assert_eq!(whole(&prefixed).entries.len(), 5);
}

/// Entries made one after another, so that the file is nowhere whole.
struct Entries {
    left: u32,
    ready: Vec<u8>,
    at: usize,
}

impl Read for Entries {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        if self.at == self.ready.len() && self.left > 0 {
            self.left -= 1;
            let reference = Reference::new(i64::from(self.left), 7).to_string();
            let details = format!("<NtryDtls>{}</NtryDtls>", payment("08", &reference));
            self.ready = entry("08", ("10.00", "DBIT"), "PMNT/ICDT/ESCT", &details).into_bytes();
            self.at = 0;
        }
        let taken = into.len().min(self.ready.len() - self.at);
        into[..taken].copy_from_slice(&self.ready[self.at..self.at + taken]);
        self.at += taken;
        Ok(taken)
    }
}

/// Counts and keeps nothing.
#[derive(Default)]
struct Counted {
    details: u64,
    ours: u64,
    check: Option<Check>,
}

impl crate::contract::StatementSink for Counted {
    fn head(&mut self, _: &crate::contract::StatementHead) -> anyhow::Result<()> {
        Ok(())
    }
    fn entry(&mut self, _: &crate::contract::Entry) -> anyhow::Result<()> {
        Ok(())
    }
    fn detail(&mut self, detail: &crate::contract::EntryDetail) -> anyhow::Result<()> {
        self.details += 1;
        self.ours += u64::from(detail.reference().is_some());
        Ok(())
    }
    fn fault(&mut self, fault: &crate::contract::EntryFault) -> anyhow::Result<()> {
        anyhow::bail!("{fault:?}")
    }
    fn end(&mut self, end: &crate::contract::StatementEnd) -> anyhow::Result<()> {
        self.check = Some(end.check);
        Ok(())
    }
}

#[test]
fn many_entries_stream_through() {
    const COUNT: u32 = 100_000;
    let closing = format!("{}.00", 5_000_000 - 10 * COUNT);
    let inside = head("08") + &balance("OPBD", "5000000.00", "CRDT") + &balance("CLBD", &closing, "CRDT") + "@";
    let text = file("08", &inside);
    let (before, after) = text.split_once('@').unwrap();
    let entries = Entries { left: COUNT, ready: vec![], at: 0 };
    let mut counted = Counted::default();
    read(BufReader::new(before.as_bytes().chain(entries).chain(after.as_bytes())), &mut counted).unwrap();
    assert_eq!((counted.details, counted.ours, counted.check), (100_000, 100_000, Some(Check::Holds)));
}
