//! What leaves for a bank.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::pain001::{WriteError, check, encode, file_name, write};
use super::super::{BankProfile, read_back};
use super::valid;
use crate::contract::{Batch, Currency, Failure, Instruction, Money, Reference};

const NAMES: [&str; 6] =
    ["Amina Otieno", "José Muñoz & Söhne", "Дмитрий Шостакович", "አበበ ቢቂላ", "O'Brien <x>", "王小明"];

fn profile(more: Value) -> BankProfile {
    let mut all = json!({
        "debtor": {"name": "Ministry of Social Protection", "account": {"iban": "DE89370400440532013000"}},
    });
    for (key, value) in more.as_object().unwrap() {
        all[key] = value.clone();
    }
    let profile: BankProfile = serde_json::from_value(all).unwrap();
    profile.check().unwrap();
    profile
}

fn instruction(number: i64) -> Instruction {
    let kes = Currency::parse("KES").unwrap();
    let name = NAMES[usize::try_from(number).unwrap() % NAMES.len()];
    let account = match number % 2 {
        0 => "iban:DE89370400440532013000@bankkena".to_owned(),
        _ => format!("account:{number:012}@bankkena"),
    };
    Instruction {
        reference: Reference::new(number, 7),
        amount: Money::new(100_050 + number, kes),
        payee_name: name.to_owned(),
        payee_account: account,
        purpose: if number % 3 == 0 { String::new() } else { "Cash transfer / 2026-11".to_owned() },
        provider_reference: None,
    }
}

fn batch(count: i64) -> Batch {
    Batch {
        reference: Reference::new(9_000_000, 7),
        title: "Hunger safety net".to_owned(),
        currency: Currency::parse("KES").unwrap(),
        made_at: "2026-11-23T08:30:00Z".parse().unwrap(),
        execute_on: "2026-11-24".parse().unwrap(),
        wire_bytes: 0,
        provider_reference: None,
        instructions: (1..=count).map(instruction).collect(),
    }
}

fn code(error: WriteError) -> &'static str {
    match error {
        WriteError::Payment { code, .. } | WriteError::File { code, .. } => code,
        WriteError::Io(_) => "io",
    }
}

/// Profiles that use every branch of the writer.
fn profiles() -> [(&'static str, BankProfile); 4] {
    let rich = json!({
        "initiator": {"name": "Treasury", "id": "CUST-77"}, "service_level": "SEPA", "category_purpose": "SSBE",
        "purpose": "GOVT", "charge_bearer": "slev", "batch_booking": true, "payee_agent": "bic",
        "payments_max": 100_000, "bytes_max": 200 << 20,
    });
    let local = json!({
        "debtor": {"name": "Trésor", "account": {"other": "001-22/3"}, "agent": {"clearing_member": "0102"}},
        "account_form": "other", "account_scheme": "BBAN", "payee_agent": "clearing_member",
        "clearing_system": "KENCC", "batch_booking": false, "uetr": true, "charset": "utf8",
    });
    let mut old = local.clone();
    old["version"] = json!("pain.001.001.03");
    let mut old_rich = rich.clone();
    old_rich["version"] = json!("pain.001.001.03");
    old_rich["debtor"] = json!({"name": "M", "account": {"other": "1"}, "agent": {"bic": "BANKKENA"}});
    [("rich", profile(rich)), ("local", profile(local)), ("old", profile(old)), ("old_rich", profile(old_rich))]
}

#[test]
fn every_profile_gives_files_that_the_schema_takes() {
    for count in [1, 1_000] {
        let mut batch = batch(count);
        for (name, profile) in profiles() {
            if profile.account_form == super::super::AccountForm::Other {
                batch
                    .instructions
                    .iter_mut()
                    .for_each(|one| one.payee_account = one.payee_account.replace("iban:", "a:"));
            }
            let bytes = encode(&profile, &batch).unwrap();
            valid(profile.version.name(), &bytes, &format!("{name}-{count}"));
        }
    }
}

#[test]
fn a_hundred_thousand_payments_stream_through() {
    let batch = batch(100_000);
    let [(_, profile), ..] = profiles();
    let bytes = encode(&profile, &batch).unwrap();
    let mut payments = 0;
    let (id, totals) = read_back(bytes.as_slice(), &mut |_, _| {
        payments += 1;
        Ok(())
    })
    .unwrap();
    let minor: i64 = batch.instructions.iter().map(|one| one.amount.minor).sum();
    assert_eq!((id, payments, totals.payments), (batch.reference.to_string(), 100_000, 100_000));
    assert_eq!(totals.sum.to_string(), format!("{}.{:02}", minor / 100, minor % 100));
    valid("pain.001.001.09", &bytes, "many");
}

#[test]
fn a_file_says_what_the_profile_asks_for_and_is_made_the_same_twice() {
    let batch = batch(2);
    let [(_, rich), (_, local), (_, old), _] = profiles();
    let text = |profile: &BankProfile| String::from_utf8(encode(profile, &batch).unwrap()).unwrap();
    let written = text(&rich);
    for part in [
        "<MsgId>000000008JN20007</MsgId><CreDtTm>2026-11-23T08:30:00</CreDtTm><NbOfTxs>2</NbOfTxs><CtrlSum>2001.03</CtrlSum>",
        "<PmtInfId>000000008JN20007-1</PmtInfId><PmtMtd>TRF</PmtMtd><BtchBookg>true</BtchBookg>",
        "<SvcLvl><Cd>SEPA</Cd></SvcLvl><CtgyPurp><Cd>SSBE</Cd></CtgyPurp>",
        "<ReqdExctnDt><Dt>2026-11-24</Dt></ReqdExctnDt>",
        "<InstrId>0000000000001007</InstrId><EndToEndId>0000000000001007</EndToEndId></PmtId>",
        "<InstdAmt Ccy=\"KES\">1000.51</InstdAmt>",
        "<CdtrAgt><FinInstnId><BICFI>BANKKENA</BICFI></FinInstnId></CdtrAgt><Cdtr><Nm>Jose Munoz + Sohne</Nm></Cdtr>",
        "<Othr><Id>000000000001</Id></Othr>",
        "<IBAN>DE89370400440532013000</IBAN>",
        "<Purp><Cd>GOVT</Cd></Purp><RmtInf><Ustrd>Cash transfer / 2026-11</Ustrd></RmtInf>",
    ] {
        assert!(written.contains(part), "{part} is not in {written}");
    }
    assert_eq!(written, text(&rich));
    assert_eq!(file_name(&rich, &batch), "PAIN001_20261123_000000008JN20007.xml");
    let mut others = batch.clone();
    others.instructions[1].payee_account = "a:1@b".into();
    let written = String::from_utf8(encode(&local, &others).unwrap()).unwrap();
    let uetr = format!("<UETR>{}</UETR></PmtId>", Reference::new(1, 7).uuid());
    assert!(written.contains(&uetr), "{written}");
    assert!(written.contains("<Nm>José Muñoz &amp; Söhne</Nm>"), "{written}");
    assert!(written.contains("<ClrSysId><Cd>KENCC</Cd></ClrSysId><MmbId>0102</MmbId>"), "{written}");
    let written = String::from_utf8(encode(&old, &others).unwrap()).unwrap();
    assert!(written.contains("<ReqdExctnDt>2026-11-24</ReqdExctnDt>") && !written.contains("UETR"), "{written}");
}

#[test]
fn what_cannot_be_written_is_refused_by_name() {
    let iban = profile(json!({"account_form": "iban"}));
    let plain = profile(json!({}));
    let agent = profile(json!({"payee_agent": "bic"}));
    let narrow = profile(json!({"payments_max": 1}));
    let short = profile(json!({"bytes_max": 1_000}));
    type Change = fn(&mut Batch);
    let cases: [(&BankProfile, Change, &str); 12] = [
        (&plain, |batch| batch.instructions.clear(), "empty_batch"),
        (&iban, |_| (), "account_unwritable"),
        (&plain, |batch| batch.instructions[0].payee_account = "account:1<2@b".into(), "account_unwritable"),
        (&plain, |batch| batch.instructions[0].payee_account = "account:@b".into(), "account_unwritable"),
        (&plain, |batch| batch.instructions[0].payee_account = String::new(), "account_unwritable"),
        (&agent, |batch| batch.instructions[0].payee_account = "account:1@nobank".into(), "agent_unwritable"),
        (&plain, |batch| batch.instructions[1].payee_name = "\u{202e} ".into(), "name_unwritable"),
        (&plain, |batch| batch.instructions[1].amount.minor = 0, "amount_unwritable"),
        (&plain, |batch| batch.instructions[1].amount.minor = i64::MAX, "amount_unwritable"),
        (&plain, |batch| batch.currency = Currency::parse("USD").unwrap(), "currency_mixed"),
        (&narrow, |_| (), "too_many_payments"),
        (&short, |_| (), "file_too_long"),
    ];
    for (profile, change, wanted) in cases {
        let mut batch = batch(3);
        change(&mut batch);
        let error = encode(profile, &batch).unwrap_err();
        assert_eq!(code(error), wanted);
    }
    let mut batch = batch(3);
    batch.instructions[1].payee_name.clear();
    let error = encode(&plain, &batch).unwrap_err();
    assert!(error.to_string().starts_with(batch.instructions[1].reference.as_str()), "{error}");
    assert!(matches!(Failure::from(error), Failure::Refused(reason) if reason.code == "name_unwritable"));
}

#[test]
fn a_file_that_is_not_the_order_does_not_leave() {
    let batch = batch(3);
    let profile = profile(json!({}));
    let good = String::from_utf8(encode(&profile, &batch).unwrap()).unwrap();
    assert_eq!(check(&batch, good.as_bytes()).unwrap().payments, 3);
    let end = "</CdtTrfTxInf>";
    let first = &good[good.find("<CdtTrfTxInf>").unwrap()..good.find(end).unwrap() + end.len()];
    for (from, to) in [
        (">1000.51<", ">1000.52<"),
        (">1000.51<", ">9000.51<"),
        ("<CtrlSum>3001.56", "<CtrlSum>3001.57"),
        ("<CtrlSum>3001.56", "<CtrlSum>x"),
        ("<NbOfTxs>3", "<NbOfTxs>4"),
        ("Ccy=\"KES\">1000.51", "Ccy=\"USD\">1000.51"),
        ("<EndToEndId>0000000000001007", "<EndToEndId>0000000000002007"),
        ("<MsgId>0", "<MsgId>1"),
        (first, ""),
        (first, &format!("{first}{first}")),
        ("</Document>", ""),
        ("</Document>", "</Document><Document/>"),
    ] {
        assert!(good.contains(from), "{from}");
        let error = check(&batch, good.replace(from, to).as_bytes()).unwrap_err();
        assert_eq!(code(error), "read_back", "{from}");
    }
}

#[test]
fn a_full_disk_is_an_error() {
    let batch = batch(3);
    let mut room = [0_u8; 700];
    let error = write(&profile(json!({})), &batch, room.as_mut_slice()).unwrap_err();
    assert_eq!(code(error), "io");
}

#[test]
fn profiles_are_checked_by_key() {
    let mut all = json!({"debtor": {"name": "M", "account": {"other": "1"}}});
    all["servicelevel"] = json!("SEPA");
    assert!(serde_json::from_value::<BankProfile>(all).unwrap_err().to_string().contains("servicelevel"));
    for (key, value) in [
        ("debtor", json!({"name": "", "account": {"other": "1"}})),
        ("debtor", json!({"name": "M", "account": {"iban": "12"}})),
        ("debtor", json!({"name": "M", "account": {"other": "1"}, "agent": {"bic": "x"}})),
        ("service_level", json!("LONGER")),
        ("purpose", json!("\u{1}")),
        ("payments_max", json!(0)),
        ("file_name", json!("fixed.xml")),
        ("file_name", json!("../{message_id}")),
        ("file_name", json!(".{message_id}")),
        ("status", json!({"settled_by": ["RJCT"]})),
        ("status", json!({"reasons": {"X1": "nothing"}})),
    ] {
        let mut all = json!({"debtor": {"name": "M", "account": {"other": "1"}}});
        all[key] = value;
        let profile: BankProfile = serde_json::from_value(all).unwrap();
        assert!(profile.check().unwrap_err().starts_with(key), "{key}");
    }
}

proptest! {
    #[test]
    fn any_payments_come_back_as_they_went(
        payments in prop::collection::vec((".{0,90}", ".{0,200}", 1..=i64::from(u32::MAX), "[A-Z0-9]{1,34}"), 1..20),
        wide in any::<bool>(),
    ) {
        let mut batch = batch(i64::try_from(payments.len()).unwrap());
        for (one, (name, purpose, minor, account)) in batch.instructions.iter_mut().zip(&payments) {
            one.payee_name = format!("{name}x");
            one.purpose.clone_from(purpose);
            one.amount.minor = *minor;
            one.payee_account = format!("account:{account}@b");
        }
        let profile = profile(json!({"charset": if wide { "utf8" } else { "latin" }}));
        let bytes = encode(&profile, &batch);
        // The last letter may stand behind the longest name: then nothing of the name may be writable.
        if let Err(error) = &bytes {
            prop_assert!(error.to_string().contains("name_unwritable"), "{}", error);
            return Ok(());
        }
        let mut read = vec![];
        read_back(bytes.unwrap().as_slice(), &mut |id, money| {
            read.push((id.to_owned(), money));
            Ok(())
        }).unwrap();
        let sent = batch.instructions.iter().map(|one| (one.reference.to_string(), one.amount)).collect::<Vec<_>>();
        prop_assert_eq!(read, sent);
    }
}
