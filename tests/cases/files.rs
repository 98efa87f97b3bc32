//! The table: what each bad file or cell comes to, by its number in the list.

use super::*;

/// Columns of the files in the table.
const COLUMNS: [&str; 9] = [
    "entitlement",
    "instalment",
    "beneficiary_id",
    "payee_name",
    "payee_account",
    "amount",
    "currency",
    "purpose",
    "note",
];

/// What one file comes to.
struct Case {
    number: u32,
    file: Vec<u8>,
    declared: Total,
    /// Why the file is refused; empty when it is taken in.
    refusal: &'static str,
    accepted: Total,
    rejects: Vec<(u64, &'static str)>,
}

/// Minor units of a good row.
const GOOD_MINOR: i64 = 125_050;

/// A row of the table's columns, with one cell spoilt and an entitlement of its own.
fn row(key: &str, column: &str, cell: &[u8]) -> Vec<u8> {
    let good = [key, "1", "30012345", "Amina Ali", A, "1250.50", "KES", "Cash transfer", ""];
    let cells = COLUMNS.iter().zip(good).map(|(name, good)| if *name == column { cell } else { good.as_bytes() });
    let quoted = |cell: &[u8]| [b"\"", cell, b"\""].concat();
    [cells.map(quoted).collect::<Vec<_>>().join(&b","[..]), b"\n".to_vec()].concat()
}

/// A good row in line 2 and one with this cell in line 3, which counts `counted` in the file's sum.
fn cell(number: u32, column: &str, cell: impl AsRef<[u8]>, wanted: (&'static str, i64)) -> Case {
    let (code, counted) = wanted;
    let key = |which: &str| format!("{which}{number}-{}", unique());
    let rows = [row(&key("G"), "", b""), row(&key("X"), column, cell.as_ref())].concat();
    let good = Total { payments: 1, sum_minor: GOOD_MINOR };
    let all = Total { payments: 2, sum_minor: GOOD_MINOR + counted };
    let (accepted, rejects) = if code.is_empty() { (all, vec![]) } else { (good, vec![(3, code)]) };
    let file = [COLUMNS.join(",").as_bytes(), b"\n", &rows].concat();
    Case { number, file, declared: all, refusal: "", accepted, rejects }
}

fn unique() -> i64 {
    use std::sync::atomic::{AtomicI64, Ordering};
    static COUNT: AtomicI64 = AtomicI64::new(1);
    COUNT.fetch_add(1, Ordering::SeqCst)
}

/// A file that is refused as a whole.
fn whole(number: u32, file: impl Into<Vec<u8>>, refusal: &'static str) -> Case {
    let declared = Total { payments: 2, sum_minor: 300 };
    Case { number, file: file.into(), declared, refusal, accepted: Total::default(), rejects: vec![] }
}

/// A file that looks odd and is taken in: two rows, 3.00 in all.
fn odd(number: u32, file: impl Into<Vec<u8>>) -> Case {
    let declared = Total { payments: 2, sum_minor: 300 };
    Case { accepted: declared, ..Case { refusal: "", ..whole(number, file, "") } }
}

/// Two good rows, 3.00 in all, with entitlements of their own.
fn two() -> String {
    let (one, other) = (format!("T{}", unique()), format!("T{}", unique()));
    csv(&[(&one, "1.00", A), (&other, "2.00", B)])
}

fn refused_files() -> Vec<Case> {
    let utf16 = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    let latin1 = |text: &str| text.chars().map(|c| c as u8).collect::<Vec<u8>>();
    let head = |from: &str, to: &str| two().replacen(from, to, 1);
    vec![
        whole(1, "", "file_empty"),
        whole(1, "\u{feff}\n\r\n", "file_empty"),
        whole(4, [b"\xff\xfe".to_vec(), utf16(&two())].concat(), "encoding"),
        whole(4, utf16(&two()), "encoding"),
        whole(6, latin1(&head("payee_name", "pay\u{e9}e_name")), "encoding"),
        whole(8, two().replace('\n', "\r"), "line_endings"),
        whole(11, two().replace(",amount,", ",").replace(",1.00,", ","), "column_missing"),
        whole(12, head("currency\n", "currency,tenant_id\n"), "column_unknown"),
        whole(13, head("currency\n", "currency,Amount\n"), "column_repeated"),
        whole(16, format!("{}E9,B,\"Name,{A},1.00,KES\nE8,B,Name,{A},1.00,KES\n", two()), "quote_unclosed"),
        whole(16, format!("{}E9,B,\"Name,{A},1.00,KES\nE8,B,\"Name\",{A},1.00,KES\n", two()), "quote_stray"),
        whole(18, format!("{}{}\n", two(), "x".repeat(70_000)), "record_too_long"),
        whole(20, two().replace(',', ";"), "delimiter"),
        whole(20, two().replace(',', "\t"), "delimiter"),
        whole(23, format!("{}E9,B,Name,{A},0,KES\n", two()), "totals_differ"),
        whole(23, two().lines().take(2).collect::<Vec<_>>().join("\n"), "totals_differ"),
        whole(24, two().replace(",2.00,", ",2.01,"), "totals_differ"),
        whole(24, two().replace(",2.00,", ",1.99,"), "totals_differ"),
        Case {
            rejects: vec![(2, "amount_over_ceiling")],
            ..whole(25, two().replace(",1.00,", ",92233720368547758.07,"), "sum_too_large")
        },
        whole(25, two().replace(",2.00,", ",9223372036854775808,"), "totals_differ"),
        whole(40, two().replacen("KES", "USD", 1), "currency_mixed"),
        whole(40, two().replace("KES", "USD"), "currency_mixed"),
        whole(40, two().replace(",2.00,KES", ",2.00,usd"), "totals_differ"),
        whole(59, [b"\x1f\x8b\x08\x00".to_vec(), vec![0; 100_000]].concat(), "not_csv"),
        whole(60, [b"PK\x03\x04\x14\0\0\0\x08\0../../x".to_vec(), two().into_bytes()].concat(), "not_csv"),
        whole(61, b"PK\x03\x04\x14\0\x06\0[Content_Types].xml".to_vec(), "not_csv"),
        whole(62, format!("{}\n", "x,".repeat(1_000_000)), "columns_too_many"),
    ]
}

fn odd_files() -> Vec<Case> {
    let header = |name: &str| two().replacen("payee_account,amount", name, 1);
    vec![
        odd(3, format!("\u{feff}{}", two())),
        odd(9, two().replacen('\n', "\r\n", 2)),
        odd(10, two().trim_end()),
        odd(14, header(" Payee_Account ,AMOUNT")),
        odd(17, header("\"payee_account\",\"amount\"").replacen("\n", "\n\n\r\n", 1)),
    ]
}

fn ragged_and_encoded_rows() -> Vec<Case> {
    let mut all = vec![
        cell(5, "payee_name", b"Jos\xc3", ("text_not_utf8", GOOD_MINOR)),
        cell(6, "payee_name", b"Jos\xe9", ("text_not_utf8", GOOD_MINOR)),
        cell(7, "payee_name", b"A\0B", ("text_control", GOOD_MINOR)),
        cell(7, "entitlement", b"A\0B", ("text_control", GOOD_MINOR)),
        cell(17, "note", b"one\r\ntwo", ("", GOOD_MINOR)),
        cell(17, "payee_name", b"one\ntwo", ("text_control", GOOD_MINOR)),
    ];
    for cells in ["E,B,Name", "E,B,Name,x,1.00,KES,more"] {
        let file = format!("{}{cells}\n", two());
        let declared = Total { payments: 3, sum_minor: 300 };
        all.push(Case { declared, rejects: vec![(4, "columns_ragged")], ..odd(15, file) });
    }
    all
}

fn cells_of_text() -> Vec<Case> {
    let long = "x".repeat(501);
    let good = |number, column, text: &str| cell(number, column, text, ("", GOOD_MINOR));
    let bad = |number, column, text: &str, code| cell(number, column, text, (code, GOOD_MINOR));
    vec![
        bad(19, "entitlement", &long[..65], "text_too_long"),
        bad(19, "payee_name", &long[..141], "text_too_long"),
        bad(19, "payee_account", &long[..129], "text_too_long"),
        bad(19, "note", &long, "text_too_long"),
        good(19, "note", &long[..500]),
        good(21, "payee_name", "=cmd|' /C calc'!A0"),
        good(22, "payee_name", "\u{ff1d}1+1"),
        bad(46, "payee_account", "iban:DE88370400440532013000@mobile-op", "iban_invalid"),
        bad(47, "payee_account", "iban:DE8937040044053201300@mobile-op", "iban_invalid"),
        bad(48, "payee_account", "mobile:0712345678@mobile-op", "phone_not_international"),
        // An identity number is the programme's own key, so its check digits are the registry's to check.
        good(49, "beneficiary_id", "000000000"),
        bad(50, "entitlement", "\u{410}1", "id_mixed_scripts"),
        bad(50, "beneficiary_id", "\u{410}1", "id_mixed_scripts"),
        bad(50, "payee_account", "mobile:+254700000001@m\u{43e}bile-op", "account_malformed"),
        bad(52, "payee_name", "Ali\u{202e}anima", "text_direction"),
        bad(52, "payee_name", "A\u{200b}li", "text_direction"),
        bad(0, "payee_account", "account:1@nobody", "account_no_provider"),
        bad(0, "entitlement", " ", "entitlement_missing"),
        bad(0, "beneficiary_id", "", "beneficiary_missing"),
        bad(0, "payee_name", "\u{a0}", "payee_name_missing"),
    ]
}

fn cells_of_money() -> Vec<Case> {
    let amount = |number, text: &str, code, counted| cell(number, "amount", text, (code, counted));
    vec![
        amount(26, "", "amount_empty", 0),
        amount(27, "0", "amount_not_positive", 0),
        amount(28, "-5", "amount_not_positive", -500),
        amount(29, "1,000.00", "amount_not_plain", 0),
        amount(30, "1.000,00", "amount_not_plain", 0),
        amount(31, "1e3", "amount_not_plain", 0),
        amount(32, "NaN", "amount_not_plain", 0),
        amount(32, "Inf", "amount_not_plain", 0),
        amount(33, "10.005", "amount_decimals", 0),
        amount(35, "010.00", "", 1_000),
        amount(36, "\u{661}\u{662}", "amount_foreign_digits", 0),
        amount(37, " 10.00 ", "", 1_000),
        amount(37, "10.00\u{a0}", "amount_not_plain", 0),
        amount(38, "100000.01", "amount_over_ceiling", 10_000_001),
        amount(39, "100000.00", "", 10_000_000),
        cell(40, "currency", "usd", ("currency_unknown", 0)),
        cell(40, "currency", "XXX", ("currency_unknown", 0)),
        cell(40, "currency", "", ("currency_unknown", 0)),
    ]
}

on_both! {
    /// The numbers that are missing here have tests of their own; 0 is not on the list.
    async fn every_file_of_the_table_comes_to_what_it_says(database) {
        let world = World::new(database).await;
        let mut seen = std::collections::BTreeSet::new();
        for case in [refused_files(), odd_files(), ragged_and_encoded_rows(), cells_of_text(), cells_of_money()].into_iter().flatten() {
            let number = case.number;
            let request = world.request(&case.file, case.declared);
            let payroll = world.engine.take_in(&world.maker, &request).await.unwrap();
            std::fs::remove_file(request.file).unwrap();
            if case.refusal.is_empty() {
                assert_eq!((payroll.state, payroll.file, payroll.accepted), (PayrollState::Draft, case.declared, case.accepted), "case {number}: {payroll:?}");
                assert_eq!(payroll.accepted.and(payroll.refused), Some(payroll.file), "case {number}");
            } else {
                assert_eq!(payroll.state, PayrollState::Refused, "case {number}");
                left_nothing(&world, &payroll, case.refusal).await;
            }
            let rejects = world.rejects(payroll.id).await;
            if case.refusal != "totals_differ" {
                let rejects: Vec<(u64, &str)> = rejects.iter().map(|(line, code)| (*line, code.as_str())).collect();
                assert_eq!(rejects, case.rejects, "case {number}");
            }
            seen.insert(number);
        }
        world.verified().await;
        let wanted = [0, 1, 52].into_iter().chain(3..=33).chain(35..=40).chain(46..=50).chain(59..=62);
        assert_eq!(seen, wanted.collect());
    }
}

/// Case 34, and a currency of three decimals: the programme's currency says how many an amount may have.
mod case_34 {
    use super::*;
    use paymaster::engine::{CycleRequest, ProgrammeRequest};

    on_both! {
        async fn decimals_of_other_currencies(database) {
            let world = World::new(database).await;
            for (code, rows, accepted, wanted) in [
                ("JPY", ["10", "10.5", "10.0"], Total { payments: 2, sum_minor: 20 }, (3, "amount_decimals")),
                ("KWD", ["10.125", "10.1255", "10.1"], Total { payments: 2, sum_minor: 20_225 }, (3, "amount_decimals")),
            ] {
                let currency = paymaster_connectors::contract::Currency::parse(code).unwrap();
                let programme = ProgrammeRequest { code: code.to_owned(), name: code.to_owned(), currency, all_or_nothing: false, amount_minor_max: None, shared_account_max: None };
                world.engine.save_programme(&world.checker, &programme).await.unwrap();
                let cycle = CycleRequest { code: "2026-11".to_owned(), first_day: "2026-11-01".parse().unwrap(), last_day: "2026-11-30".parse().unwrap() };
                world.engine.make_cycle(&world.checker, code, &cycle).await.unwrap();
                let file = csv(&[("E1", rows[0], A), ("E2", rows[1], A), ("E3", rows[2], A)]).replace("KES", code);
                let request = world.request(file.as_bytes(), Total { payments: 3, ..accepted });
                let payroll = world.engine.take_in(&world.maker, &IntakeRequest { programme: code.to_owned(), ..request }).await.unwrap();
                assert_eq!((payroll.state, payroll.accepted), (PayrollState::Draft, accepted));
                assert_eq!(world.rejects(payroll.id).await, [(wanted.0, wanted.1.to_owned())]);
            }
            world.verified().await;
        }
    }
}
