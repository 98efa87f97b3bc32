//! What a bank says of our files.

use serde_json::{Value, json};

use super::super::pain002::{StatusProfile, read};
use super::valid;
use crate::contract::{About, Outcome, Reason, ReasonClass, Reference, Report};
use crate::contract::{Alarm, Level, StatusHead, StatusLine, StatusSink};
use crate::reading::ReadError;

/// A status, kept.
struct Line {
    level: Level,
    payment_information_id: String,
    payee_account: String,
    report: Option<Report>,
    alarm: Option<Alarm>,
}

/// Keeps all that is told.
#[derive(Default)]
struct Kept {
    heads: Vec<StatusHead>,
    lines: Vec<Line>,
}

impl StatusSink for Kept {
    fn head(&mut self, head: &StatusHead) -> anyhow::Result<()> {
        self.heads.push(head.clone());
        Ok(())
    }
    fn line(&mut self, line: StatusLine<'_>) -> anyhow::Result<()> {
        self.lines.push(Line {
            level: line.level,
            payment_information_id: line.payment_information_id.to_owned(),
            payee_account: line.payee_account.to_owned(),
            report: line.report,
            alarm: line.alarm,
        });
        Ok(())
    }
}

pub(super) const VERSIONS: [&str; 4] = ["pain.002.001.03", "pain.002.001.10", "pain.002.001.12", "pain.002.001.14"];

pub(super) fn file(version: &str, group: &str, infos: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Document xmlns=\"urn:iso:std:iso:20022:tech:xsd:{version}\">\
<CstmrPmtStsRpt><GrpHdr><MsgId>S1</MsgId><CreDtTm>2026-11-23T10:00:00</CreDtTm></GrpHdr><OrgnlGrpInfAndSts>\
<OrgnlMsgId>000000008JN20007</OrgnlMsgId><OrgnlMsgNmId>pain.001.001.09</OrgnlMsgNmId><OrgnlNbOfTxs>3</OrgnlNbOfTxs>\
<OrgnlCtrlSum>3001.56</OrgnlCtrlSum>{group}</OrgnlGrpInfAndSts>{infos}</CstmrPmtStsRpt></Document>"
    )
}

fn info(status: &str, rows: &str) -> String {
    format!("<OrgnlPmtInfAndSts><OrgnlPmtInfId>000000008JN20007-1</OrgnlPmtInfId>{status}{rows}</OrgnlPmtInfAndSts>")
}

fn named(number: i64) -> Reference {
    Reference::new(number, 7)
}

fn row(number: i64, inside: &str) -> String {
    format!("<TxInfAndSts><OrgnlEndToEndId>{}</OrgnlEndToEndId>{inside}</TxInfAndSts>", named(number))
}

fn reason(code: &str) -> String {
    format!("<StsRsnInf><Rsn><Cd>{code}</Cd></Rsn><AddtlInf>told so</AddtlInf></StsRsnInf>")
}

fn profile(settings: Value) -> StatusProfile {
    let profile: StatusProfile = serde_json::from_value(settings).unwrap();
    profile.check().unwrap();
    profile
}

fn kept(text: &str, settings: Value) -> (Kept, Result<(), ReadError>) {
    let mut kept = Kept::default();
    let done = read(text.as_bytes(), &profile(settings), &mut kept);
    (kept, done)
}

/// Level, outcome and alarm of each line.
fn told(text: &str, settings: Value) -> Vec<(Level, Option<Outcome>, Option<&'static str>)> {
    let (kept, done) = kept(text, settings);
    done.unwrap();
    let lines = kept.lines.into_iter();
    lines
        .map(|line| (line.level, line.report.map(|report| report.outcome), line.alarm.map(|alarm| alarm.code)))
        .collect()
}

fn rejected(class: ReasonClass, code: &str) -> Option<Outcome> {
    Some(Outcome::Rejected(Reason::new(class, code, "told so")))
}

use Level::{Group, Payment, PaymentInformation};

#[test]
fn all_levels_of_all_versions_are_read_the_same() {
    for version in VERSIONS {
        let inside = format!(
            "<TxSts>RJCT</TxSts>{}<AcctSvcrRef>B9</AcctSvcrRef><OrgnlTxRef><Amt><InstdAmt Ccy=\"KES\">10.5</InstdAmt></Amt>\
<CdtrAcct><Id><Othr><Id>0011</Id></Othr></Id></CdtrAcct></OrgnlTxRef>",
            reason("AC01")
        );
        let rows = row(1, &inside) + &row(2, "<TxSts>ACSP</TxSts>");
        let text = file(version, "<GrpSts>PART</GrpSts>", &info("<PmtInfSts>PART</PmtInfSts>", &rows));
        valid(version, text.as_bytes(), "levels");
        let (kept, done) = kept(&text, json!({}));
        done.unwrap();
        let head = &kept.heads[0];
        assert_eq!((head.original_message_id.as_deref(), head.original_count), (Some("000000008JN20007"), Some(3)));
        assert_eq!(head.original_sum.unwrap().to_string(), "3001.56");
        let line = &kept.lines[0];
        let report = line.report.as_ref().unwrap();
        assert_eq!(report.about, About::Instruction(named(1)));
        assert_eq!(Some(report.outcome.clone()), rejected(ReasonClass::FixData, "ac01"));
        assert_eq!((report.amount.unwrap().minor, report.provider_reference.as_deref()), (1050, Some("B9")));
        assert_eq!((line.payee_account.as_str(), line.payment_information_id.as_str()), ("0011", "000000008JN20007-1"));
        let rest = kept.lines[1..].iter().map(|line| (line.level, line.report.as_ref().map(|one| &one.outcome)));
        let wanted = [(Payment, Some(&Outcome::Accepted)), (PaymentInformation, None), (Group, None)];
        assert!(rest.eq(wanted));
    }
}

#[test]
fn a_group_alone_speaks_for_all_but_settles_nobody_by_silence() {
    let says =
        |status: &str, settings| told(&file("pain.002.001.10", &format!("<GrpSts>{status}</GrpSts>"), ""), settings);
    for status in ["RCVD", "ACTC", "ACCP", "ACSP", "ACSC", "ACCC", "ACWC", "PDNG"] {
        assert_eq!(says(status, json!({})), [(Group, Some(Outcome::Accepted), None)], "{status}");
    }
    assert_eq!(says("ACSC", json!({"settled_by": ["ACSC"]})), [(Group, Some(Outcome::Accepted), None)]);
    let agreed = json!({"settled_by": ["ACSC"], "silence": "inherits"});
    assert_eq!(says("ACSC", agreed.clone()), [(Group, Some(Outcome::Settled), None)]);
    assert_eq!(says("ACCC", agreed.clone()), [(Group, Some(Outcome::Accepted), None)]);
    assert_eq!(says("PART", json!({})), [(Group, None, None)]);
    assert_eq!(says("PART", agreed), [(Group, Some(Outcome::Accepted), None)]);
    assert_eq!(says("XXXX", json!({})), [(Group, None, Some("unknown_status"))]);
    assert_eq!(says("CANC", json!({})), [(Group, None, Some("cancelled"))]);
    let rejects = file("pain.002.001.10", &format!("<GrpSts>RJCT</GrpSts>{}", reason("AM04")), "");
    assert_eq!(told(&rejects, json!({})), [(Group, rejected(ReasonClass::Funding, "am04"), None)]);
}

#[test]
fn banks_that_list_rejections_only_say_nothing_of_the_others_unless_agreed() {
    let rows = row(2, &format!("<TxSts>RJCT</TxSts>{}", reason("AC04")));
    let text = file("pain.002.001.03", "", &info("<PmtInfSts>ACSC</PmtInfSts>", &rows));
    let no = (Payment, rejected(ReasonClass::FixAtBank, "ac04"), None);
    let settled_by = json!({"settled_by": ["ACSC"]});
    assert_eq!(told(&text, settled_by), [no.clone(), (PaymentInformation, Some(Outcome::Accepted), None)]);
    let agreed = json!({"settled_by": ["ACSC"], "silence": "inherits"});
    assert_eq!(told(&text, agreed), [no, (PaymentInformation, Some(Outcome::Settled), None)]);
}

#[test]
fn statuses_and_reasons_come_down_to_listed_rows() {
    let group = format!("<GrpSts>RJCT</GrpSts>{}", reason("MD07"));
    let text = file("pain.002.001.10", &group, &info("", &row(1, "")));
    let no = rejected(ReasonClass::Stop, "md07");
    let lines = told(&text, json!({}));
    assert!(matches!(&lines[0], (Payment, Some(Outcome::Rejected(reason)), None) if reason.code == "md07"));
    assert_eq!(lines[1], (Group, no, None));
    let text = file("pain.002.001.10", "<GrpSts>ACCP</GrpSts>", &info("<PmtInfSts>ACSC</PmtInfSts>", &row(1, "")));
    let lines = told(&text, json!({"settled_by": ["ACSC"]}));
    assert_eq!(lines[0], (Payment, Some(Outcome::Settled), None), "a row that is listed is no silence");
    assert_eq!(
        told(&file("pain.002.001.10", "", &info("", &row(1, ""))), json!({})),
        [(Payment, None, Some("no_status"))]
    );
}

#[test]
fn a_late_rejection_is_one_more_report() {
    let rows = row(1, "<TxSts>ACSP</TxSts>") + &row(1, &format!("<TxSts>RJCT</TxSts>{}", reason("AC06")));
    let lines = told(&file("pain.002.001.10", "", &info("", &rows)), json!({}));
    let no = rejected(ReasonClass::FixAtBank, "ac06");
    assert_eq!(lines, [(Payment, Some(Outcome::Accepted), None), (Payment, no, None)]);
}

#[test]
fn a_row_against_its_group_is_told_and_somebody_is_called() {
    let rows = row(1, "<TxSts>ACSC</TxSts>");
    let text = file("pain.002.001.10", &format!("<GrpSts>RJCT</GrpSts>{}", reason("FF01")), &info("", &rows));
    let lines = told(&text, json!({"settled_by": ["ACSC"]}));
    assert_eq!(lines[0], (Payment, Some(Outcome::Settled), Some("contradicts_group")));
}

#[test]
fn codes_that_nobody_mapped_reject_nobody() {
    let says = |code: &str, settings| {
        let rows = row(1, &format!("<TxSts>RJCT</TxSts>{}", reason(code)));
        told(&file("pain.002.001.10", "", &info("", &rows)), settings).remove(0)
    };
    assert_eq!(says("ZZ99", json!({})), (Payment, None, Some("unknown_reason")));
    let mapped = json!({"reasons": {"ZZ99": "limit"}});
    assert_eq!(says("ZZ99", mapped), (Payment, rejected(ReasonClass::Limit, "zz99"), None));
    assert_eq!(says("TECH", json!({})), (Payment, rejected(ReasonClass::Unknown, "tech"), None));
    assert_eq!(says("DU01", json!({})), (Payment, rejected(ReasonClass::Duplicate, "du01"), None));
    let bare = told(&file("pain.002.001.10", "", &info("", &row(1, "<TxSts>RJCT</TxSts>"))), json!({})).remove(0);
    let unstated = Outcome::Rejected(Reason::new(ReasonClass::NotExecuted, "unstated", ""));
    assert_eq!(bare, (Payment, Some(unstated), None));
}

#[test]
fn what_is_not_ours_is_told_without_a_report() {
    let rows = "<TxInfAndSts><OrgnlEndToEndId>SOMEBODY-ELSE</OrgnlEndToEndId><TxSts>ACSC</TxSts></TxInfAndSts>";
    let (kept, done) = kept(&file("pain.002.001.10", "", &info("", rows)), json!({}));
    done.unwrap();
    assert_eq!(kept.lines[0].report, None);
    let text = "SOMEBODY-ELSE".to_owned();
    assert_eq!(kept.lines[0].alarm, Some(Alarm { code: "unknown_reference", text }));
    let bad = "<TxSts>ACSC</TxSts><OrgnlTxRef><Amt><InstdAmt Ccy=\"KES\">1.005</InstdAmt></Amt></OrgnlTxRef>";
    let lines = told(&file("pain.002.001.10", "", &info("", &row(1, bad))), json!({}));
    assert_eq!(lines, [(Payment, None, Some("amount_decimals"))]);
}

#[test]
fn a_file_the_bank_could_not_read_has_no_name_of_ours() {
    let group = format!("<GrpSts>RJCT</GrpSts>{}", reason("FF01"));
    let text = file("pain.002.001.10", &group, "").replace("000000008JN20007<", "NOTPROVIDED<");
    let (kept, done) = kept(&text, json!({}));
    done.unwrap();
    assert_eq!(kept.heads[0].original_message_id, None);
    assert!(
        matches!(&kept.lines[0].report.as_ref().unwrap().outcome, Outcome::Rejected(reason) if reason.code == "ff01")
    );
}

#[test]
fn a_report_about_nothing_is_refused() {
    let text = file("pain.002.001.10", "", "").replace("OrgnlGrpInfAndSts", "Other");
    assert_eq!(kept(&text, json!({})).1.unwrap_err().code(), "no_original");
}
