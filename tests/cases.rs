//! The list of bad payroll files, answered through the engine's door on both databases. What a file or a cell
//! comes to stands in the table of `files`; here are the cases that need more than one file, or more than a file.
//! Numbers are those of the list. Deliberately not here: the same questions put to the domain alone, which are
//! beside it, and the API's own door.

mod files;
mod repeats;

use paymaster::domain::id::{Id, Payroll};
use paymaster::domain::payroll::PayrollState;
use paymaster::engine::{Error, IntakeRequest, RefusedKind};
use paymaster::store::notes;
use paymaster::store::payroll::{PayrollRow, Total};
use paymaster::values;

use crate::on_both;
use crate::world::{World, borrowed, csv, rows, totals};

const A: &str = "mobile:+254700000001@mobile-op";
const B: &str = "mobile:+254700000002@mobile-op";
/// A whole chunk of the intake and some rows more.
const MANY: usize = paymaster::engine::CHUNK_ROWS + 500;

fn refused_code<T: std::fmt::Debug>(outcome: Result<T, Error>) -> (RefusedKind, &'static str) {
    match outcome {
        Err(Error::Refused(refused)) => (refused.kind, refused.code),
        other => panic!("not a refusal: {other:?}"),
    }
}

/// A payroll that was refused left nothing that could be paid, and the books agree.
async fn left_nothing(world: &World, payroll: &PayrollRow, code: &str) {
    let refusal = payroll.refusal.as_deref().unwrap_or("none");
    assert_eq!((payroll.state, refusal.split(':').next()), (PayrollState::Refused, Some(code)), "{refusal}");
    assert_eq!(payroll.accepted, Total::default());
    let mut tx = world.engine.store.read().await.unwrap();
    let sql = "SELECT (SELECT COUNT(*) FROM disbursement WHERE payroll = $1), (SELECT COUNT(*) FROM batch WHERE payroll = $1), \
               (SELECT COUNT(*) FROM payee WHERE number NOT IN (SELECT number FROM disbursement)), \
               (SELECT COUNT(*) FROM disbursement WHERE number NOT IN (SELECT number FROM payee))";
    let left = tx.one(sql, values![payroll.id.number()]).await.unwrap();
    assert_eq!([0, 1, 2, 3].map(|column| left.int(column).unwrap()), [0; 4], "{refusal}");
    drop(tx);
    world.verified().await;
}

/// The whole reject file, page by page.
async fn reject_file(world: &World, id: Id<Payroll>) -> String {
    let (mut file, mut above) = (Vec::new(), 0);
    loop {
        let (page, last) = world.engine.reject_page(&world.maker.scope, id, above).await.unwrap();
        file.extend_from_slice(&page);
        match last {
            Some(last) => above = last,
            None => return String::from_utf8(file).unwrap(),
        }
    }
}

on_both! {
    async fn case_2_a_header_alone_is_no_payroll(database) {
        let world = World::new(database).await;
        let header = csv(&[]);
        let payroll = world.take_in_text(&header, Total { payments: 1, sum_minor: 100 }).await;
        left_nothing(&world, &payroll, "totals_differ").await;
        for (payments, sum_minor) in [(0, 0), (1, 0), (0, 1), (-1, 100), (1, -100), (i64::MIN, i64::MIN)] {
            let request = world.request(header.as_bytes(), Total { payments, sum_minor });
            let outcome = world.engine.take_in(&world.maker, &request).await;
            assert_eq!(refused_code(outcome), (RefusedKind::Invalid, "declared_missing"));
        }
    }
}

on_both! {
    /// A line of 64 MiB, as the header and as a row. It is refused after a block or two and never held whole.
    async fn case_18_a_huge_line(database) {
        let world = World::new(database).await;
        let line = vec![b'x'; 64 << 20];
        let row = [csv(&[("E1", "1.00", A)]).as_bytes(), &line].concat();
        for (file, place) in [(line, "line 1"), (row, "line 3")] {
            let payroll = world.engine.take_in(&world.maker, &world.request(&file, Total { payments: 1, sum_minor: 100 })).await.unwrap();
            left_nothing(&world, &payroll, "record_too_long").await;
            assert!(payroll.refusal.unwrap().contains(place));
        }
    }
}

on_both! {
    /// No selection of amounts may overflow, however they are signed; and what was refused can still be read.
    async fn case_25_sums_that_do_not_fit(database) {
        let world = World::new(database).await;
        let most = "92233720368547758.07";
        let negative = format!("-{most}");
        let ups = [("E1", most, A), ("E2", most, A)];
        let swings = [("E1", most, A), ("E2", &negative, A), ("E3", most, A), ("E4", &negative, A), ("E5", "1.00", A)];
        let downs = [("E1", "100.00", A), ("E2", &negative, A), ("E3", "-50.00", A)];
        for (rows, place) in [(&ups[..], "line 3"), (&swings, "line 3"), (&downs, "line 3")] {
            let payroll = world.take_in_text(&csv(rows), Total { payments: 2, sum_minor: 100 }).await;
            left_nothing(&world, &payroll, "sum_too_large").await;
            assert!(payroll.refusal.as_deref().unwrap().contains(place), "{:?}", payroll.refusal);
            world.engine.payroll_status(&world.maker.scope, payroll.id).await.unwrap();
        }
        let one = world.take_in_text(&csv(&[("E1", most, A), ("E2", "-0.07", A), ("E3", "1.00", A)]), Total { payments: 3, sum_minor: 100 }).await;
        left_nothing(&world, &one, "sum_too_large").await;
        let one = world.take_in_text(&csv(&[("E1", "92233720368547757.07", A), ("E2", "1.00", A)]), Total { payments: 2, sum_minor: i64::MAX }).await;
        assert_eq!((one.accepted, one.refused), (Total { payments: 1, sum_minor: 100 }, Total { payments: 1, sum_minor: i64::MAX - 100 }));
        world.verified().await;
    }
}

on_both! {
    async fn case_45_accounts_shared_by_many_are_flagged(database) {
        let world = World::new(database).await;
        let programme = |shared_account_max| paymaster::engine::ProgrammeRequest {
            code: "cash".to_owned(),
            name: "Cash".to_owned(),
            currency: paymaster_connectors::contract::Currency::parse("KES").unwrap(),
            all_or_nothing: false,
            amount_minor_max: None,
            shared_account_max,
        };
        let shared: Vec<(String, String, String)> = (0..50).map(|n| (format!("S{n}"), "1.00".to_owned(), A.to_owned())).collect();
        let with_others: Vec<(String, String, String)> = shared.into_iter().chain(rows(5)).collect();
        for (limit, prefix, wanted) in [(Some(49), "a", Some("1 accounts are shared by more than 49 rows each, 50 rows in all")), (Some(50), "b", None), (None, "c", None)] {
            world.engine.save_programme(&world.checker, &programme(limit)).await.unwrap();
            let all: Vec<(String, String, String)> = with_others.iter().map(|(key, amount, account)| (format!("{prefix}{key}"), amount.clone(), account.clone())).collect();
            let payroll = world.take_in(&borrowed(&all)).await;
            assert_eq!((payroll.state, payroll.accepted), (PayrollState::Draft, totals(&borrowed(&all))), "flagged, not refused");
            let mut tx = world.engine.store.read().await.unwrap();
            let facts = notes::facts(&mut tx, &world.maker.scope, payroll.id.number(), 100).await.unwrap();
            let flagged = facts.iter().find(|fact| fact.event == "payroll.shared_accounts").map(|fact| fact.note.as_str());
            assert_eq!(flagged, wanted);
            drop(tx);
            let first = world.engine.disbursements(&world.maker.scope, payroll.id, &[], (0, 1)).await.unwrap().remove(0);
            let timeline = world.engine.disbursement(&world.maker.scope, first.shown.number).await.unwrap();
            assert_eq!(timeline.entries.iter().any(|entry| entry.event == "payroll.shared_accounts"), wanted.is_some());
        }
    }
}

on_both! {
    /// Held, whatever their rows say, however the hold was typed; others of the file are not.
    async fn cases_53_and_54_beneficiaries_on_hold(database) {
        let world = World::new(database).await;
        world.engine.hold_beneficiary(&world.checker, "cash", "B-E1", "under review").await.unwrap();
        world.engine.hold_beneficiary(&world.checker, "cash", " B-E3 ", "reported deceased").await.unwrap();
        world.engine.hold_beneficiary(&world.checker, "cash", "B-E3  ", "told twice").await.unwrap();
        let payroll = world.take_in(&[("E1", "10.00", A), ("E2", "20.00", B), ("E3", "5.00", A), ("E4", "0", A)]).await;
        assert_eq!((payroll.state, payroll.accepted), (PayrollState::Draft, Total { payments: 3, sum_minor: 3_500 }));
        let states = world.states(payroll.id).await;
        assert_eq!(["E1", "E2", "E3"].map(|key| states[key].0.name()), ["held", "queued", "held"]);
        let status = world.engine.payroll_status(&world.maker.scope, payroll.id).await.unwrap();
        assert_eq!((status.held, status.providers[0].total), (Total { payments: 2, sum_minor: 1_500 }, Total { payments: 1, sum_minor: 2_000 }));
        world.verified().await;
    }
}

on_both! {
    async fn case_55_days_to_pay_on(database) {
        let world = World::new(database).await;
        let file = csv(&[("E1", "10.00", A)]);
        let on = |day: &str| IntakeRequest { pay_on: Some(day.parse().unwrap()), ..world.request(file.as_bytes(), Total { payments: 1, sum_minor: 1_000 }) };
        for (day, code) in [("2026-11-24", "pay_on_past"), ("0001-01-01", "pay_on_past"), ("-0001-01-01", "pay_on_past"), ("2027-11-27", "pay_on_far"), ("9999-12-31", "pay_on_far"), ("+262142-12-31", "pay_on_far")] {
            assert_eq!(refused_code(world.engine.take_in(&world.maker, &on(day)).await), (RefusedKind::Invalid, code), "{day}");
        }
        let payroll = world.engine.take_in(&world.maker, &on("2026-11-25")).await.unwrap();
        assert_eq!((payroll.state, payroll.pay_on.as_deref()), (PayrollState::Draft, Some("2026-11-25")));
    }
}

#[test]
fn case_55_days_that_do_not_exist_are_refused_by_the_command_line() {
    use clap::Parser;
    let submit = |day| {
        [
            "paymaster",
            "payroll",
            "submit",
            "f.csv",
            "--programme",
            "p",
            "--cycle",
            "c",
            "--person",
            "a",
            "--pay-on",
            day,
        ]
    };
    assert!(paymaster::cli::Cli::try_parse_from(submit("2027-02-28")).is_ok());
    for day in ["2027-02-29", "2027-02-30", "2027-13-01", "2027-00-01", "30.01.2027", "", "today"] {
        assert!(paymaster::cli::Cli::try_parse_from(submit(day)).is_err(), "{day}");
    }
}

on_both! {
    async fn case_56_content_counts_and_names_do_not(database) {
        let world = World::new(database).await;
        let (one, other) = (csv(&[("E1", "10.00", A)]), csv(&[("E2", "20.00", B)]));
        let request = world.request(one.as_bytes(), Total { payments: 1, sum_minor: 1_000 });
        let first = world.engine.take_in(&world.maker, &request).await.unwrap();
        // The same name with other content is another payroll.
        std::fs::write(&request.file, &other).unwrap();
        let request = IntakeRequest { declared: Total { payments: 1, sum_minor: 2_000 }, ..request };
        let second = world.engine.take_in(&world.maker, &request).await.unwrap();
        assert_ne!(second.id, first.id);
        assert_eq!((second.state, second.accepted), (PayrollState::Draft, Total { payments: 1, sum_minor: 2_000 }));
        // The same content under other names, by another person too, is the same payroll.
        for actor in [&world.maker, &world.checker] {
            let request = world.request(one.as_bytes(), Total { payments: 1, sum_minor: 1_000 });
            assert_eq!(world.engine.take_in(actor, &request).await.unwrap().id, first.id);
        }
        assert_eq!(world.engine.payrolls(&world.maker.scope, i64::MAX, 10).await.unwrap().len(), 2);
        world.verified().await;
    }
}

on_both! {
    /// With the totals of the whole it is refused, wherever it was cut.
    async fn case_57_an_upload_that_was_cut(database) {
        let world = World::new(database).await;
        let all = rows(300);
        let (file, declared) = (csv(&borrowed(&all)), totals(&borrowed(&all)));
        for percent in [1, 50, 99] {
            let cut = &file[..file.len() * percent / 100];
            let payroll = world.take_in_text(cut, declared).await;
            left_nothing(&world, &payroll, "totals_differ").await;
        }
        // Cut inside the last amount: as many rows, another sum.
        let cut = file.rfind(".99,KES").unwrap();
        left_nothing(&world, &world.take_in_text(&format!("{},KES\n", &file[..cut]), declared).await, "totals_differ").await;
        let payroll = world.take_in_text(&file, declared).await;
        assert_eq!((payroll.state, payroll.accepted), (PayrollState::Draft, declared));
    }
}

on_both! {
    async fn case_58_nothing_but_bad_rows(database) {
        const COUNT: usize = 30_000;
        let world = World::new(database).await;
        let bad: Vec<(String, String, String)> = rows(COUNT).into_iter().map(|(key, _, account)| (key, "-1.00".to_owned(), account)).chain([("L".to_owned(), "999999.00".to_owned(), A.to_owned())]).collect();
        let declared = Total { payments: COUNT as i64 + 1, sum_minor: 99_999_900 - COUNT as i64 * 100 };
        assert!(declared.sum_minor > 0);
        let payroll = world.take_in_text(&csv(&borrowed(&bad)), declared).await;
        left_nothing(&world, &payroll, "nothing_payable").await;
        assert_eq!((payroll.file, payroll.refused), (declared, declared));
        let file = reject_file(&world, payroll.id).await;
        let lines: Vec<&str> = file.lines().skip(1).collect();
        assert_eq!(lines.len(), bad.len());
        for (line, text) in (2..).zip(&lines[..COUNT]) {
            assert!(text.starts_with(&format!("{line},amount_not_positive,")) && text.contains(&format!("E{:05},", line - 2)), "{text}");
        }
        assert!(lines[COUNT].starts_with(&format!("{},amount_over_ceiling,", COUNT + 2)));
    }
}

on_both! {
    /// The last row of many is in another currency: everything before it was in the database, and goes.
    async fn case_40_a_refusal_after_many_rows_leaves_none(database) {
        let world = World::new(database).await;
        let mut all = rows(MANY);
        all[7].1 = "0".to_owned();
        let (file, declared) = (csv(&borrowed(&all)), totals(&borrowed(&all)));
        for (bad, code) in [("X,B-X,Name,{A},1.00,USD\n", "currency_mixed"), ("X,B-X,\"Name,{A},1.00,KES\n", "quote_unclosed"), ("", "totals_differ")] {
            let payroll = world.take_in_text(&format!("{file}{}", bad.replace("{A}", A)), Total { payments: declared.payments + 1, ..declared }).await;
            left_nothing(&world, &payroll, code).await;
            assert_eq!(world.rejects(payroll.id).await, [(9, "amount_not_positive".to_owned())]);
        }
        let payroll = world.take_in_text(&file, declared).await;
        assert_eq!((payroll.state, payroll.accepted.payments), (PayrollState::Draft, MANY as i64 - 1));
        world.verified().await;
    }
}

on_both! {
    /// The reject file, mended, is a payroll file; sent again as it is, it comes back as it was.
    async fn a_mended_reject_file_is_taken_in(database) {
        let world = World::new(database).await;
        let payroll = world.take_in_text(
            &format!("{}E3,B-E3,\"Name, of \"\"E3\"\"\",{A},1e3,KES\nE4,B-E4, =Name ,{B},\"4,00\",KES\n", csv(&[("E1", "10.00", A), ("E2", "0", B)])),
            Total { payments: 4, sum_minor: 1_000 },
        ).await;
        assert_eq!(payroll.accepted, Total { payments: 1, sum_minor: 1_000 });
        let codes = [(3, "amount_not_positive"), (4, "amount_not_plain"), (5, "amount_not_plain")].map(|(line, code)| (line, code.to_owned()));
        assert_eq!(world.rejects(payroll.id).await, codes);
        let file = reject_file(&world, payroll.id).await;
        let unmended = world.take_in_text(&file, Total { payments: 3, sum_minor: 1 }).await;
        left_nothing(&world, &unmended, "totals_differ").await;
        let amounts = std::collections::HashMap::from([("E2", "2.00"), ("E3", "1000.00"), ("E4", "4.00")]);
        let mut reader = ::csv::Reader::from_reader(file.as_bytes());
        let header = reader.headers().unwrap().clone();
        let at = |name: &str| header.iter().position(|known| known == name).unwrap();
        let mut mended = ::csv::Writer::from_writer(Vec::new());
        mended.write_record(&header).unwrap();
        for row in reader.records().map(Result::unwrap) {
            let amount = amounts[&row[at("entitlement")]];
            mended.write_record(row.iter().enumerate().map(|(place, cell)| if place == at("amount") { amount } else { cell })).unwrap();
        }
        let again = world.take_in_text(&String::from_utf8(mended.into_inner().unwrap()).unwrap(), Total { payments: 3, sum_minor: 100_600 }).await;
        assert_eq!((again.state, again.accepted, again.refused), (PayrollState::Draft, Total { payments: 3, sum_minor: 100_600 }, Total::default()));
        let rows = world.engine.disbursements(&world.maker.scope, again.id, &[], (0, 10)).await.unwrap();
        let names: Vec<&str> = rows.iter().map(|row| row.payee_name.as_str()).collect();
        assert_eq!(names, ["Name of E2", "Name, of \"E3\"", "=Name"]);
        world.verified().await;
    }
}

on_both! {
    async fn an_idempotency_key_stands_for_one_request(database) {
        let world = World::new(database).await;
        let (one, other) = (csv(&[("E1", "10.00", A)]), csv(&[("E2", "10.00", B)]));
        let declared = Total { payments: 1, sum_minor: 1_000 };
        let keyed = |key: &str, file: &str| IntakeRequest { idempotency_key: Some(key.to_owned()), ..world.request(file.as_bytes(), declared) };
        let first = world.engine.take_in(&world.maker, &keyed("k1", &one)).await.unwrap();
        assert_eq!(world.engine.take_in(&world.maker, &keyed("k1", &one)).await.unwrap().id, first.id);
        let reused = [
            keyed("k1", &other),
            IntakeRequest { declared: Total { sum_minor: 1_001, ..declared }, ..keyed("k1", &one) },
            IntakeRequest { pay_on: Some("2026-12-01".parse().unwrap()), ..keyed("k1", &one) },
        ];
        for request in reused {
            assert_eq!(refused_code(world.engine.take_in(&world.maker, &request).await), (RefusedKind::Conflict, "idempotency_key_reused"));
        }
        for key in ["", "a\0b", "a\nb", &"k".repeat(256), &"k".repeat(10_000)] {
            assert_eq!(refused_code(world.engine.take_in(&world.maker, &keyed(key, &other)).await), (RefusedKind::Invalid, "idempotency_key_malformed"));
        }
        // The key of a refused payroll answers with that refusal.
        let cut = keyed("k2", &csv(&[]));
        let refused = world.engine.take_in(&world.maker, &cut).await.unwrap();
        left_nothing(&world, &refused, "totals_differ").await;
        assert_eq!(world.engine.take_in(&world.maker, &cut).await.unwrap().id, refused.id);
        assert_eq!(world.engine.payrolls(&world.maker.scope, i64::MAX, 10).await.unwrap().len(), 2);
        // Another tenant's key of the same name is another key; and it sees nothing of ours.
        let stranger = paymaster::engine::Actor { scope: world.engine.tenant("another").await.unwrap(), person: "eve".to_owned() };
        assert_eq!(refused_code(world.engine.take_in(&stranger, &keyed("k1", &one)).await), (RefusedKind::NotFound, "programme_unknown"));
        world.verified().await;
    }
}

on_both! {
    /// The same key at the same time: one payroll, and whoever was slower is told to ask again or gets it.
    async fn a_key_used_at_the_same_time_has_one_effect(database) {
        let world = World::new(database).await;
        let all = rows(200);
        let request = |_: usize| IntakeRequest { idempotency_key: Some("k".to_owned()), ..world.request(csv(&borrowed(&all)).as_bytes(), totals(&borrowed(&all))) };
        let requests: Vec<IntakeRequest> = (0..8).map(request).collect();
        let outcomes = futures_util::future::join_all(requests.iter().map(|request| world.engine.take_in(&world.maker, request))).await;
        let mut ids = Vec::new();
        for outcome in outcomes {
            match outcome {
                Ok(row) => ids.push(row.id),
                slower => assert_eq!(refused_code(slower), (RefusedKind::Conflict, "idempotency_key_in_use")),
            }
        }
        ids.dedup();
        assert_eq!(ids.len(), 1, "{ids:?}");
        let payrolls = world.engine.payrolls(&world.maker.scope, i64::MAX, 10).await.unwrap();
        assert_eq!(payrolls.iter().map(|row| (row.id, row.accepted)).collect::<Vec<_>>(), [(ids[0], totals(&borrowed(&all)))]);
        assert_eq!(world.engine.take_in(&world.maker, &requests[0]).await.unwrap().id, ids[0]);
        world.verified().await;
    }
}

on_both! {
    /// Names that cannot be anybody's are unknown, on both databases alike.
    async fn a_programme_or_cycle_that_cannot_exist_is_unknown(database) {
        let world = World::new(database).await;
        let request = || world.request(csv(&[("E1", "1.00", A)]).as_bytes(), Total { payments: 1, sum_minor: 100 });
        for code in ["", "other", "ca\0sh", "cash' OR '1'='1", "CASH", "cash "] {
            let outcome = world.engine.take_in(&world.maker, &IntakeRequest { programme: code.to_owned(), ..request() }).await;
            assert_eq!(refused_code(outcome), (RefusedKind::NotFound, "programme_unknown"), "{code:?}");
            let outcome = world.engine.take_in(&world.maker, &IntakeRequest { cycle: code.to_owned(), ..request() }).await;
            assert_eq!(refused_code(outcome), (RefusedKind::NotFound, "cycle_unknown"), "{code:?}");
        }
    }
}
