//! Files that come in, and what the bank says of them.

use super::*;

fn code(world: &World) -> (String, String) {
    let text = fs::read_to_string(world.out("PAIN002").pop().unwrap()).unwrap();
    let between = |open: &str, shut: &str| {
        let rest = text.split_once(open).map_or("", |(_, rest)| rest);
        rest.split_once(shut).map_or("", |(value, _)| value).to_owned()
    };
    (between("<Rsn><Cd>", "</Cd>"), between("<OrgnlMsgId>", "</OrgnlMsgId>"))
}

#[test]
fn a_bad_file_is_refused_as_a_whole_and_nothing_of_it_is_executed() {
    let good = Order::many("F1", 2).text();
    let cases: [(&str, String, &str, &str); 13] = [
        ("count", good.replacen("<NbOfTxs>2", "<NbOfTxs>3", 1), "AM18", "F1"),
        (
            "count_below",
            good.replace("-1</PmtInfId><PmtMtd>TRF</PmtMtd><NbOfTxs>2", "-1</PmtInfId><PmtMtd>TRF</PmtMtd><NbOfTxs>1"),
            "AM18",
            "F1",
        ),
        ("sum", good.replacen("<CtrlSum>200.03", "<CtrlSum>200.04", 1), "AM10", "F1"),
        (
            "sum_below",
            good.replace("<CtrlSum>200.03</CtrlSum><ReqdExctnDt>", "<CtrlSum>200.02</CtrlSum><ReqdExctnDt>"),
            "AM10",
            "F1",
        ),
        ("torn", good[..good.len() - 40].to_owned(), "FF01", "F1"),
        ("not_xml", "hello".to_owned(), "FF01", "NOTPROVIDED"),
        ("empty", String::new(), "FF01", "NOTPROVIDED"),
        ("namespace", good.replace("pain.001.001.09", "pain.008.001.08"), "FF01", "NOTPROVIDED"),
        ("long_id", good.replace("<MsgId>F1<", &format!("<MsgId>{}<", "X".repeat(36))), "FF01", "NOTPROVIDED"),
        ("no_reference", good.replacen("<EndToEndId>F1R000001</EndToEndId>", "", 1), "FF01", "F1"),
        ("no_debtor", good.replace(&format!("<Othr><Id>{DEBTOR}</Id></Othr>"), ""), "FF01", "F1"),
        ("doctype", good.replacen("<Document", "<!DOCTYPE x><Document", 1), "FF01", "NOTPROVIDED"),
        ("two", good.replace("</Document>", "</Document><x/>"), "FF01", "F1"),
    ];
    for (name, text, wanted, message_id) in cases {
        assert_ne!(text, good, "{name}");
        let mut world = World::new(&format!("bad-{name}"), |_| {});
        world.send("f.xml", &text);
        assert_eq!(world.bank.take().unwrap(), 1, "{name}");
        assert_eq!(world.status().group(), "RJCT", "{name}");
        assert_eq!(code(&world), (wanted.to_owned(), message_id.to_owned()), "{name}");
        assert_eq!(world.bank.summary().credits, 0, "{name}");
        assert!(world.folder.0.join("in/done/f.xml").exists(), "{name}");
        // A file that was refused does not use its name up.
        world.pay(&Order::many("F1", 2));
        assert_eq!(world.bank.summary().credits, 2, "{name}");
    }
}

#[test]
fn a_second_file_of_one_name_is_refused_unless_the_bank_forgets() {
    for forgets in [false, true] {
        let faults = BankFaults { forgets_message_ids: forgets, ..BankFaults::default() };
        let mut world = World::with_faults(&format!("twice-{forgets}"), faults);
        let order = Order::many("F1", 3);
        world.pay(&order);
        world.pay(&order);
        let summary = world.bank.summary();
        assert_eq!(summary.repeated_references, if forgets { 3 } else { 0 });
        assert_eq!(summary.credits, if forgets { 6 } else { 3 });
        assert_eq!(code(&world).0, if forgets { "" } else { "DU01" });
        assert!(world.folder.0.join("in/done/2-F1.xml").exists());
    }
}

#[test]
fn rows_that_cannot_be_paid_are_rejected_alone_in_both_versions() {
    for kind in ["pain.001.001.03", "pain.001.001.09"] {
        let iban = iban_with(PLAIN, 1);
        let broken = iban.replace("DE", "DE0").replacen("DE0", "DE", 1).replace("37040044", "37040045");
        let mut order =
            Order::new("F1", &[("GOOD", iban, 500), ("IBAN", broken, 500), ("PLAIN", account_with(PLAIN, 2), 1)]);
        order.kind = kind;
        let mut text = order.text();
        valid(kind, text.as_bytes(), kind);
        text = text.replacen("<InstdAmt Ccy=\"KES\">0.01", "<InstdAmt Ccy=\"UGX\">0.01", 1);
        let mut world = World::new(&format!("rows-{kind}"), |settings| settings.status_version = StatusVersion::V03);
        world.send("f.xml", &text);
        world.bank.take().unwrap();
        let status = world.status();
        assert_eq!(status.group(), "PART");
        assert_eq!(status.rows(), [("GOOD", "ACSP"), ("IBAN", "RJCT"), ("PLAIN", "RJCT")]);
        let codes: Vec<_> = world.bank.rejections().iter().map(|one| &*one.code).collect();
        assert_eq!(codes, ["AC01", "AM03"]);
        assert_eq!((world.bank.summary().credits, world.bank.summary().sum_minor), (1, 500));
    }
}

#[test]
fn a_bank_says_as_much_as_it_is_told_to() {
    let rows = [("A", account_with(PLAIN, 1), 100), ("B", account_with(CLOSED_ACCOUNT, 2), 100)];
    let wanted = [
        (Reporting::All, 1, vec![("A", "ACSP"), ("B", "RJCT")]),
        (Reporting::NegativeOnly, 1, vec![("B", "RJCT")]),
        (Reporting::GroupOnly, 1, vec![]),
        (Reporting::Silent, 0, vec![]),
    ];
    for version in [StatusVersion::V03, StatusVersion::V10] {
        for (reporting, files, rows_told) in &wanted {
            let mut world = World::new(&format!("says-{reporting:?}-{version:?}"), |settings| {
                settings.statuses = *reporting;
                settings.status_version = version;
            });
            world.pay(&Order::new("F1", &rows));
            let statuses = world.statuses();
            assert_eq!(statuses.len(), *files);
            for status in &statuses {
                assert_eq!((status.group(), status.rows()), ("PART", rows_told.clone()));
                assert_eq!(status.heads[0].original_message_id.as_deref(), Some("F1"));
                assert_eq!(status.heads[0].original_count, Some(2));
            }
            assert_eq!(world.bank.summary().credits, 1);
        }
    }
}

#[test]
fn only_complete_files_are_taken() {
    let mut world = World::new("complete", |_| {});
    let text = Order::many("F1", 1).text();
    for name in [".f.xml", "f.xml.part", "f.xml.tmp", "f.xml.done", "f.ok", "f.txt"] {
        world.send(name, &text);
    }
    assert_eq!(world.bank.take().unwrap(), 0);
    world.send("f.xml", &text);
    assert_eq!(world.bank.take().unwrap(), 1);
    assert_eq!(world.bank.take().unwrap(), 0);
    assert_eq!(world.bank.ledger()[0].amount, money(10_001));
}

#[test]
fn the_projects_own_files_are_taken() {
    let profile = serde_json::json!({
        "debtor": {"name": "Ministry", "account": {"iban": "DE89370400440532013000"}, "agent": {"bic": "BANKKENA"}},
        "batch_booking": true,
    });
    let profile: crate::iso20022::BankProfile = serde_json::from_value(profile).unwrap();
    let instruction = |number: i64| crate::contract::Instruction {
        reference: crate::contract::Reference::new(number, 7),
        amount: money(100 + number),
        payee_name: "Amina".to_owned(),
        payee_account: format!("iban:{}@bankkena", iban_with(PLAIN, number.unsigned_abs())),
        purpose: "grant".to_owned(),
        provider_reference: None,
    };
    let batch = crate::contract::Batch {
        reference: crate::contract::Reference::new(9, 7),
        title: "Net".to_owned(),
        currency: kes(),
        made_at: "2026-11-25T08:30:00Z".parse().unwrap(),
        execute_on: date(FIRST_DAY),
        wire_bytes: 0,
        provider_reference: None,
        instructions: (1..=20).map(instruction).collect(),
    };
    let bytes = crate::iso20022::pain001::encode(&profile, &batch).unwrap();
    let mut world = World::new("own", |_| {});
    world.send("f.xml", &String::from_utf8(bytes).unwrap());
    world.bank.take().unwrap();
    assert_eq!(world.status().group(), "ACCP");
    let paid: Vec<_> = world.bank.ledger().iter().map(|credit| (credit.reference.to_string(), credit.amount)).collect();
    let wanted: Vec<_> = batch.instructions.iter().map(|one| (one.reference.to_string(), one.amount)).collect();
    assert_eq!(paid, wanted);
}
