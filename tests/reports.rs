//! Reports: every sum is the ledger's and the batches', the files are exact, and nobody sees another tenant's.

use std::io::Read;

use paymaster::domain::disbursement::State;
use paymaster::domain::id::{Id, Payroll};
use paymaster::engine::paper::Paper;
use paymaster::engine::{Actor, Cell, Narrow, Outcome, REPORTS, ReportName, Table};
use paymaster::values;
use paymaster_connectors::contract::Profile;
use reqwest::Method;
use serde_json::json;

use crate::api::world::World as Service;
use crate::exceptions::stage::{A, B, Mood, Stage, code};
use crate::on_both;

/// More than any row pays by itself, so that each set of rows has a sum of its own.
const ROWS: [(&str, &str, &str); 7] = [
    ("S1", "1.00", A),
    ("R1", "2.00", A),
    ("R2", "4.00", B),
    ("T1", "8.00", B),
    ("H1", "16.00", A),
    ("C1", "32.00", A),
    ("X1", "100000.01", A),
];

/// A payroll with one row for each cause: settled, two rejected, returned, held, cancelled, refused at intake; another
/// that the provider took three hours ago, and one that is in doubt since now.
struct Scene {
    stage: Stage,
    mixed: Id<Payroll>,
    doubtful: Id<Payroll>,
}

async fn scene(database: crate::world::Database) -> Scene {
    let stage = Stage::with(database, Mood::Takes, Profile { statements: true, ..Profile::worst() }).await;
    stage.world.step().await;
    stage.world.pass_seconds(3 * 3_600);
    let (world, checker) = (&stage.world, &stage.world.checker);
    world.engine.hold_beneficiary(checker, "cash", "B-H1", "court").await.unwrap();
    let mixed = world.take_in(&ROWS).await.id;
    world.engine.cancel(checker, stage.row_of(mixed, "C1").await.shown.number, "moved away").await.unwrap();
    world.release(mixed).await;
    stage.steps().await;
    for (what, entitlement) in [("settled", "S1"), ("rejected", "R1"), ("rejected", "R2"), ("settled", "T1")] {
        stage.hear(what, stage.row_of(mixed, entitlement).await.shown.number).await;
    }
    stage.hear("returned as=R-1", stage.row_of(mixed, "T1").await.shown.number).await;
    *stage.script.mood.lock().unwrap() = Mood::SaysNothing;
    let doubtful = world.take_in(&[("D1", "64.00", A), ("D2", "128.00", B)]).await.id;
    world.release(doubtful).await;
    world.step().await;
    let states = world.states(doubtful).await;
    assert_eq!((states["D1"].0, states["D2"].0), (State::InDoubt, State::InDoubt));
    world.verified().await;
    Scene { stage, mixed, doubtful }
}

impl Scene {
    async fn try_report(&self, name: ReportName, narrow: &Narrow) -> Outcome<Table> {
        let world = &self.stage.world;
        world.engine.report(&world.maker.scope, name, narrow).await
    }

    /// A report whose checks hold.
    async fn report(&self, name: ReportName, narrow: &Narrow) -> Table {
        let table = self.try_report(name, narrow).await.unwrap();
        assert!(table.checks.iter().all(|check| check.holds()), "{:?}", table.checks);
        assert!(table.rows.iter().all(|row| row.len() == table.columns.len()));
        table
    }

    async fn csv(&self, name: ReportName, narrow: &Narrow) -> String {
        text(&self.report(name, narrow).await)
    }

    async fn write(&self, sql: &str, bound: &[paymaster::store::db::Value<'_>]) {
        let mut tx = self.stage.world.engine.store.begin().await.unwrap();
        tx.execute(sql, bound).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// A statement that counts and whose name a spreadsheet would run: two charges, one given back, one entry that
    /// nobody ordered, and S1 as booked.
    async fn statement(&self, booked: bool) {
        let (bytes, at): (&[u8], i64) = (b"x", 1);
        let sql = "INSERT INTO file (number, provider, name, bytes, sha256, state, at) VALUES (1, 'mobile-op', 'f', 1, $1, 'read', $2)";
        self.write(sql, values![bytes, at]).await;
        let sql = "INSERT INTO statement (number, file, provider, kind, id, account, currency, sequence, page, last_day, proof, \
                   standing, at) VALUES (2, 1, 'mobile-op', 'statement', '=1+1', '+254', 'KES', 7, 0, '2026-11-25', 'holds', 'counted', $1)";
        self.write(sql, values![at]).await;
        for (number, direction, minor, day, verdict) in [
            (3, "debit", 75, "2026-11-25", "fee"),
            (4, "credit", 25, "2026-11-25", "fee"),
            (5, "debit", 10, "2026-10-31", "fee"),
            (6, "debit", 500, "2026-11-25", "unknown"),
        ] {
            let sql = "INSERT INTO entry (number, statement, position, detail, direction, kind, currency, amount_minor, payments, \
                       booked_on, verdict, sealed) VALUES ($1, 2, $1, 0, $2, 'fee', 'KES', $3, 1, $4, $5, $6)";
            self.write(sql, values![i64::from(number), direction, i64::from(minor), day, verdict, bytes]).await;
        }
        let batch = self.stage.row_of(self.mixed, "S1").await.shown.batch.number();
        if booked {
            let sql = "INSERT INTO booking (batch, statement, debits, debits_minor, credits, credits_minor) VALUES ($1, 2, 1, 100, 0, 0)";
            self.write(sql, values![batch]).await;
        }
    }
}

fn text(table: &Table) -> String {
    String::from_utf8(Paper::Csv.write(table).unwrap()).unwrap()
}

fn all() -> Narrow {
    Narrow::default()
}

on_both! {
    async fn what_was_not_paid_by_cause(database) {
        let scene = scene(database).await;
        let mixed = scene.mixed;
        let wanted = format!(
            "programme,payroll,provider,state,class,code,reissued,payments,sum,currency\n\
             cash,{mixed},mobile-op,held,,,no,1,16.00,KES\n\
             cash,{mixed},mobile-op,rejected,fix_at_bank,closed,no,2,6.00,KES\n\
             cash,{mixed},mobile-op,returned,fix_at_bank,closed,no,1,8.00,KES\n\
             cash,{mixed},mobile-op,cancelled,stop,withdrawn,no,1,32.00,KES\n\
             cash,{mixed},,refused,,amount_over_ceiling,no,1,100000.01,KES\n"
        );
        assert_eq!(scene.csv(ReportName::Unpaid, &all()).await, wanted);
        let table = scene.report(ReportName::Unpaid, &all()).await;
        let sums: Vec<(&str, i64)> = table.checks.iter().map(|check| (check.what, check.ledger_minor)).collect();
        let wanted = [
            ("rejected, by the batches", 600),
            ("returned, by the batches", 800),
            ("rejected, less what waits in suspense", 600),
            ("returned, less what waits in suspense", 800),
            ("held, by the payrolls", 1_600),
            ("cancelled, by the payrolls", 3_200),
            ("refused at intake, by the payrolls", 10_000_001),
        ];
        assert_eq!(sums, wanted);
        let balances = scene.stage.balances().await;
        assert_eq!(balances["returned"], 800);

        // One that was paid again is told apart from the one that was not.
        *scene.stage.script.mood.lock().unwrap() = Mood::Takes;
        scene.stage.reissue(&[("R1", "2.00", A)]).await;
        let csv = scene.csv(ReportName::Unpaid, &Narrow { payroll: Some(mixed), ..all() }).await;
        assert!(csv.contains("closed,no,1,4.00,KES\n") && csv.contains("closed,yes,1,2.00,KES\n"), "{csv}");
        // Through a provider, what never had one is not there.
        let csv = scene.csv(ReportName::Unpaid, &Narrow { provider: Some("mobile-op".to_owned()), ..all() }).await;
        assert_eq!((csv.lines().count(), csv.contains("refused")), (1 + 5, false), "{csv}");
    }
}

on_both! {
    async fn what_is_on_its_way_by_age_and_by_the_ledger(database) {
        let scene = scene(database).await;
        let wanted = "provider,age,state,payments,sum,currency\n\
                      mobile-op,under 1 hour,in_doubt,2,192.00,KES\n\
                      mobile-op,under 24 hours,accepted,2,30.00,KES\n";
        assert_eq!(scene.csv(ReportName::InDoubt, &all()).await, wanted);
        let header = "programme,provider,payments,by_batches,in_suspense,by_ledger,difference,currency\n";
        let transit = format!("{header}cash,mobile-op,4,222.00,0.00,222.00,0.00,KES\n");
        assert_eq!(scene.csv(ReportName::InTransit, &all()).await, transit);
        assert_eq!(scene.stage.balances().await["in_transit"], 22_200);
        let doubtful = Narrow { payroll: Some(scene.doubtful), ..all() };
        let transit = format!("{header}cash,mobile-op,2,192.00,0.00,192.00,0.00,KES\n");
        assert_eq!(scene.csv(ReportName::InTransit, &doubtful).await, transit);
        scene.stage.world.pass_seconds(7 * 24 * 3_600);
        let csv = scene.csv(ReportName::InDoubt, &doubtful).await;
        assert!(csv.ends_with("mobile-op,7 days or more,in_doubt,2,192.00,KES\n"), "{csv}");
    }
}

on_both! {
    /// Contradicted money waits in suspense; the reports say so and stay equal to the ledger, until it is decided and after.
    async fn what_is_contradicted_stays_equal_to_the_ledger(database) {
        use paymaster::domain::exception::Decision;
        let scene = scene(database).await;
        let stage = &scene.stage;
        stage.hear("settled", stage.row_of(scene.mixed, "R1").await.shown.number).await;
        stage.hear("returned as=R-2", stage.row_of(scene.mixed, "T1").await.shown.number).await;
        stage.hear("settled amount=1", stage.number("E1").await).await;
        assert_eq!(stage.balances().await["suspense"], 200 + 800 + 1_000);
        for (report, ..) in REPORTS {
            scene.report(report, &all()).await;
            scene.report(report, &Narrow { payroll: Some(scene.mixed), ..all() }).await;
        }
        let csv = scene.csv(ReportName::InTransit, &all()).await;
        assert!(csv.ends_with("cash,mobile-op,4,222.00,10.00,212.00,0.00,KES\n"), "{csv}");
        for task in stage.exceptions().await {
            let decision = if task.code == "returned_twice" { Decision::Stands } else { Decision::Settled };
            stage.decide(task.id, decision).await;
        }
        for (report, ..) in REPORTS {
            scene.report(report, &all()).await;
        }
        let csv = scene.csv(ReportName::Unpaid, &all()).await;
        assert!(csv.contains("rejected,fix_at_bank,closed,no,1,4.00,KES\n"), "{csv}");
    }
}

on_both! {
    async fn what_came_back(database) {
        let scene = scene(database).await;
        let mixed = scene.mixed;
        let header = "programme,payroll,provider,class,code,reissued,payments,sum,currency\n";
        let wanted = format!("{header}cash,{mixed},mobile-op,fix_at_bank,closed,no,1,8.00,KES\n");
        assert_eq!(scene.csv(ReportName::Returns, &all()).await, wanted);
        // Paid again, it is in the account of returns still: that takes new money.
        *scene.stage.script.mood.lock().unwrap() = Mood::Takes;
        let again = scene.stage.reissue(&[("T1", "8.00", B)]).await.id;
        scene.stage.world.release(again).await;
        scene.stage.steps().await;
        let csv = scene.csv(ReportName::Returns, &all()).await;
        assert_eq!(csv, wanted.replace(",no,", ",yes,"));
        assert_eq!(scene.report(ReportName::Returns, &all()).await.checks[0].ledger_minor, 800);
        assert_eq!(scene.csv(ReportName::Returns, &Narrow { payroll: Some(scene.doubtful), ..all() }).await, header);
    }
}

on_both! {
    async fn charges_and_differences_of_statements(database) {
        let scene = scene(database).await;
        scene.statement(true).await;
        let wanted = "provider,account,month,statement,entries,sum,currency\n\
                      mobile-op,'+254,2026-10,'=1+1,1,0.10,KES\n\
                      mobile-op,'+254,2026-11,'=1+1,2,0.50,KES\n";
        assert_eq!(scene.csv(ReportName::Fees, &all()).await, wanted);
        assert_eq!(scene.report(ReportName::Fees, &all()).await.checks[0].ledger_minor, 60);
        let (mixed, doubtful, first) = (scene.mixed, scene.doubtful, scene.stage.payroll.id);
        let wanted = format!(
            "of,provider,account,name,day,difference,entries,sum,currency\n\
             statement,mobile-op,'+254,'=1+1,2026-11-25,unknown_entries,1,,KES\n\
             statement,mobile-op,'+254,'=1+1,2026-11-25,unknown_debits,,5.00,KES\n\
             payroll,mobile-op,,{first},,without_end,2,30.00,KES\n\
             payroll,mobile-op,,{mixed},,debits,-1,-8.00,KES\n\
             payroll,mobile-op,,{mixed},,credits,-1,-8.00,KES\n\
             payroll,mobile-op,,{doubtful},,without_end,2,192.00,KES\n"
        );
        assert_eq!(scene.csv(ReportName::StatementDifferences, &all()).await, wanted);
        let checks = scene.report(ReportName::StatementDifferences, &all()).await.checks;
        assert_eq!((checks[0].report_minor, checks[0].ledger_minor), (-800, -800));
        let sql = "INSERT INTO exception (number, tenant, programme, code, subject, provider, evidence, detail, opened_at) \
                   SELECT 9, p.tenant, p.number, 'statement_gap', 2, 'mobile-op', 0, '', 1 FROM programme p WHERE p.code = 'cash'";
        scene.write(sql, &[]).await;
        scene.write("UPDATE statement SET proof = 'unstated'", &[]).await;
        let csv = scene.csv(ReportName::StatementDifferences, &all()).await;
        assert!(csv.contains("2026-11-25,statement_gap,,,KES\n") && csv.contains("balances: unstated"), "{csv}");
        scene.write("UPDATE statement SET standing = 'overruled'", &[]).await;
        assert_eq!(scene.report(ReportName::Fees, &all()).await.rows, Vec::<Vec<Cell>>::new());
        assert!(!scene.csv(ReportName::StatementDifferences, &all()).await.contains("statement,mobile-op"));
    }
}

on_both! {
    async fn what_does_not_exist_is_refused_and_another_tenant_sees_nothing(database) {
        let scene = scene(database).await;
        scene.statement(false).await;
        let world = &scene.stage.world;
        let eve = Actor { scope: world.engine.tenant("another").await.unwrap(), person: "eve".to_owned() };
        let of = |programme: Option<&str>, payroll, provider: Option<&str>| Narrow {
            programme: programme.map(str::to_owned),
            payroll,
            provider: provider.map(str::to_owned),
        };
        for (report, ..) in REPORTS {
            let table = world.engine.report(&eve.scope, report, &all()).await.unwrap();
            assert_eq!((table.rows.len(), table.checks.len()), (0, 0), "{}", table.name);
            let theirs = world.engine.report(&eve.scope, report, &of(None, Some(scene.mixed), None)).await;
            assert_eq!(code(theirs), "payroll_unknown");
            let theirs = world.engine.report(&eve.scope, report, &of(Some("cash"), None, None)).await;
            assert_eq!(code(theirs), "programme_unknown");
            for (narrow, wanted) in [
                (of(Some("nobody"), None, None), "programme_unknown"),
                (of(None, Some(Id::new(7)), None), "payroll_unknown"),
                (of(None, None, Some("nobody")), "provider_unknown"),
            ] {
                assert_eq!(code(scene.try_report(report, &narrow).await), wanted);
            }
            let whole = scene.csv(report, &all()).await;
            assert_eq!(scene.csv(report, &of(Some("cash"), None, None)).await, whole);
        }
    }
}

/// Cells of a sheet as they are shown: words from the shared ones, numbers as written.
fn sheet(bytes: &[u8], number: usize) -> Vec<Vec<String>> {
    let mut archive = zip::ZipArchive::new(std::io::Cursor::new(bytes)).unwrap();
    let mut part = |name: &str| {
        let mut text = String::new();
        archive.by_name(name).unwrap().read_to_string(&mut text).unwrap();
        text
    };
    let inside = |text: &str, tag: &str| {
        let from = text.find(&format!("<{tag}")).map(|at| at + text[at..].find('>').unwrap() + 1);
        from.map(|from| text[from..].split(&format!("</{tag}>")).next().unwrap().to_owned()).unwrap_or_default()
    };
    let plain =
        |text: String| text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&amp;", "&");
    let shared = part("xl/sharedStrings.xml");
    let words: Vec<String> = shared.split("<si>").skip(1).map(|one| plain(inside(one, "t"))).collect();
    let text = part(&format!("xl/worksheets/sheet{number}.xml"));
    assert!(text.contains("state=\"frozen\"") && text.contains("<cols>"), "{text}");
    assert!(!text.contains("<f>"), "nothing is a formula");
    let cell = |cell: &str| {
        let value = inside(cell, "v");
        if cell.split('>').next().unwrap().contains("t=\"s\"") {
            words[value.parse::<usize>().unwrap()].clone()
        } else {
            value
        }
    };
    text.split("<row ").skip(1).map(|row| row.split("<c ").skip(1).map(cell).collect()).collect()
}

on_both! {
    /// The spreadsheet has the cells of the CSV; long amounts and formulas are words in it.
    async fn a_spreadsheet_has_the_same_cells(database) {
        let scene = scene(database).await;
        scene.statement(true).await;
        for (report, ..) in REPORTS {
            let table = scene.report(report, &all()).await;
            let bytes = Paper::Xlsx.write(&table).unwrap();
            let csv = text(&table);
            let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(csv.as_bytes());
            let wanted: Vec<Vec<String>> = reader.records().map(|row| row.unwrap().iter().map(unmarked).collect()).collect();
            let filled = |row: Vec<String>| row.iter().map(|cell| unmarked(cell)).collect::<Vec<_>>();
            let wanted: Vec<Vec<String>> = wanted.into_iter().map(|row| row.into_iter().filter(|cell| !cell.is_empty()).collect()).collect();
            let found: Vec<Vec<String>> = sheet(&bytes, 1).into_iter().map(filled).map(|row| row.into_iter().filter(|cell| !cell.is_empty()).collect()).collect();
            assert_eq!(found, wanted, "{}", table.name);
            let checks = sheet(&bytes, 2);
            assert_eq!(checks.len(), 1 + table.checks.len());
            assert!(checks.iter().skip(1).all(|row| row.last().unwrap() == "yes"), "{checks:?}");
            assert_eq!(bytes, Paper::Xlsx.write(&table).unwrap(), "the same report is the same file");
        }
    }
}

/// A cell without the mark that makes it harmless, and a number without the zeros at its end.
fn unmarked(cell: &str) -> String {
    let cell = cell.strip_prefix('\'').unwrap_or(cell);
    match cell.parse::<rust_decimal::Decimal>() {
        Ok(number) if !cell.starts_with('+') => number.normalize().to_string(),
        _ => cell.to_owned(),
    }
}

#[test]
fn cells_are_exact_and_harmless() {
    use paymaster::engine::Kind;
    use paymaster_connectors::contract::{Currency, Money};
    let money = |minor, code| Cell::Money(Money::new(minor, Currency::parse(code).unwrap()));
    let words = ["=1+1", "+1", "-1", "@x", "\tx", "\rx", "＝1", "＋1", "－1", "＠x", "a \"b\", c", "plain"];
    let mut rows: Vec<Vec<Cell>> = words.iter().map(|text| vec![Cell::Text((*text).to_owned()), Cell::Empty]).collect();
    rows.push(vec![Cell::Count(-3), money(i64::MAX, "KES")]);
    rows.push(vec![Cell::Count(i64::MAX), money(-5, "KWD")]);
    rows.push(vec![Cell::Day("2026-11-25".to_owned()), money(7, "JPY")]);
    let columns = &[("what", Kind::Text), ("sum", Kind::Money)];
    let table = Table { name: "unpaid", title: "T", columns, rows, checks: vec![], at: 0 };
    let wanted = "what,sum\n'=1+1,\n'+1,\n'-1,\n'@x,\n'\tx,\n\"'\rx\",\n'＝1,\n'＋1,\n'－1,\n'＠x,\n\"a \"\"b\"\", c\",\nplain,\n\
                  -3,92233720368547758.07\n9223372036854775807,-0.005\n2026-11-25,7\n";
    assert_eq!(text(&table), wanted);
    let cells = sheet(&Paper::Xlsx.write(&table).unwrap(), 1);
    assert_eq!(cells[1], ["=1+1"]);
    assert_eq!(cells[13], ["-3", "92233720368547758.07"]);
    assert_eq!(cells[14], ["9223372036854775807", "-0.005"]);
    assert_eq!(cells[15], ["2026-11-25", "7"]);
}

#[tokio::test]
async fn the_doors_give_files() {
    let world = Service::with_programme().await;
    let file = "entitlement,beneficiary_id,payee_name,payee_account,amount,currency\n\
                E1,B1,One,mobile:+254700000001@mobile-op,100.50,KES\nE2,B2,Two,mobile:+254700990001@mobile-op,20.00,KES\n";
    let made = world.upload((2, "120.50"), &[], file).await.good();
    let path = format!("/v1/payrolls/{}", made["id"].as_str().unwrap());
    world.post(&format!("{path}/submit"), &world.maker, json!(null)).await.good();
    world.post(&format!("{path}/approve"), &world.checker, json!(null)).await.good();
    world.post(&format!("{path}/release"), &world.checker, json!(null)).await.good();
    world.work().await;
    let id = made["id"].as_str().unwrap();

    let list = world.get("/v1/reports", &world.auditor).await.good();
    let names: Vec<&str> = list["items"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(names, REPORTS.map(|(_, name, _)| name));
    let got = world
        .get(&format!("/v1/reports/unpaid.csv?programme=grant&payroll={id}&provider=mobile-op"), &world.auditor)
        .await;
    assert_eq!(
        got.text(),
        format!(
            "programme,payroll,provider,state,class,code,reissued,payments,sum,currency\n\
         grant,{id},mobile-op,rejected,fix_data,account_not_found,no,1,20.00,KES\n"
        )
    );
    assert_eq!(got.header("content-type"), "text/csv; charset=utf-8");
    assert_eq!(got.header("content-disposition"), "attachment; filename=\"unpaid.csv\"");
    assert_eq!(got.header("x-content-type-options"), "nosniff");
    let got = world.get("/v1/reports/unpaid.xlsx", &world.maker).await;
    assert_eq!(got.header("content-type"), "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet");
    assert_eq!(sheet(&got.bytes, 1)[1].last().map(String::as_str), Some("KES"));
    for (path, status, code) in [
        ("nobody.csv", 404, "report_unknown"),
        ("unpaid", 404, "report_unknown"),
        ("unpaid.pdf", 404, "report_unknown"),
        ("unpaid.csv?programme=nobody", 404, "programme_unknown"),
        ("unpaid.csv?payroll=nobody", 404, "payroll_unknown"),
        ("unpaid.csv?provider=nobody", 404, "provider_unknown"),
        ("unpaid.csv?what=ever", 400, "query_malformed"),
    ] {
        world.get(&format!("/v1/reports/{path}"), &world.auditor).await.problem(status, code);
    }
    world.get("/v1/reports/unpaid.csv", "nobody").await.problem(401, "token_unknown");

    let again = format!("{path}/reissue");
    world.post(&again, &world.checker, json!({})).await.problem(403, "role_forbidden");
    world.post(&again, &world.maker, json!({"code": []})).await.problem(400, "json_malformed");
    world.post(&again, &world.maker, json!({"classes": ["funding"]})).await.problem(409, "nothing_to_reissue");
    let draft =
        world.send(Method::POST, &again, &world.maker, &[("content-type", "application/json")], b"{}".to_vec()).await;
    assert_eq!(draft.status, 201, "{}", draft.text());
    let location = draft.header("location").to_owned();
    let draft = draft.good();
    assert_eq!(location, format!("/v1/payrolls/{}", draft["id"].as_str().unwrap()));
    assert_eq!(
        (&draft["kind"], &draft["state"], &draft["accepted"]["sum"]),
        (&json!("reissue"), &json!("draft"), &json!("20.00"))
    );
    world.post(&again, &world.maker, json!({})).await.problem(409, "nothing_to_reissue");
    world.stop().await;
}
