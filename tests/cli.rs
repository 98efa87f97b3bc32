//! The `paymaster` program as a stranger at a terminal uses it: files, exit codes and words, on SQLite.
//! Deliberately not here: workers (`processes`) and what a payroll becomes (`flow`).

use std::path::PathBuf;
use std::process::Command;

use clap::CommandFactory;
use paymaster::cli::Cli;
use paymaster::store::{Store, values};
use serde_json::Value;

use crate::world::Folder;

/// A folder with a configuration and a database of its own.
struct Desk {
    folder: Folder,
}

/// What a command came to.
#[derive(Debug)]
struct Said {
    code: i32,
    out: String,
    err: String,
}

const CONFIG: &str = r#"
database_url = "paymaster.db"
data = "data"
[[provider]]
name = "mobile-op"
connector = "mobile_money"
accounts = ["mobile:*@mobile-op"]
[provider.settings]
base_url = "http://127.0.0.1:9/mm/v1.2"
debit_party = { key = "accountid", value = "programme" }
"#;

/// Three good rows of which one begins like a formula, and one whose amount cannot be read.
const PAYROLL: &str = "entitlement,beneficiary_id,payee_name,payee_account,amount,currency\n\
    E1,B1,=1+1,mobile:+254700000001@mobile-op,100.00,KES\n\
    E2,B2,Wanjiru,mobile:+254700000002@mobile-op,200.50,KES\n\
    E3,B3,Otieno,mobile:+254700000003@mobile-op,\"1,000.00\",KES\n\
    E4,B4,Achieng,mobile:+254700000004@mobile-op,300.00,KES\n";

impl Desk {
    fn new() -> Self {
        let desk = Self { folder: Folder::new() };
        desk.write("paymaster.toml", CONFIG);
        desk
    }

    /// A desk with a programme, its cycle and its money, and the payroll file.
    fn furnished() -> Self {
        let desk = Self::new();
        desk.ok("programme create cash --currency KES --person bruno");
        desk.ok("programme cycle cash 2026-11 --first-day 2026-11-01 --last-day 2026-11-30 --person bruno");
        let funded = desk.ok("programme fund cash 5000.00 --note W-17 --person bruno");
        assert_eq!(funded.out, "available: 5000.00 KES\n");
        desk.write("payroll.csv", PAYROLL);
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    /// Runs a command, its words divided by spaces, with the desk's configuration.
    fn run(&self, words: &str) -> Said {
        self.bare(&format!("--config paymaster.toml {words}"))
    }

    /// The same without the configuration.
    fn bare(&self, words: &str) -> Said {
        let mut command = Command::new(env!("CARGO_BIN_EXE_paymaster"));
        command.args(words.split_whitespace()).current_dir(self.folder.path()).env("TMPDIR", self.folder.path());
        for name in ["PAYMASTER_CONFIG", "PAYMASTER_DATABASE_URL", "PAYMASTER_LOG"] {
            command.env_remove(name);
        }
        let output = command.output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Said { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
    }

    fn ok(&self, words: &str) -> Said {
        let said = self.run(words);
        assert_eq!((said.code, said.err.as_str()), (0, ""), "{words}: {said:?}");
        said
    }

    /// Runs a command that must end with this code and say all of these, wherever.
    fn fails(&self, words: &str, code: i32, texts: &[&str]) {
        let said = self.run(words);
        assert_eq!(said.code, code, "{words}: {said:?}");
        let all = format!("{}{}", said.out, said.err);
        for text in texts {
            assert!(all.contains(text), "{words} does not say `{text}`: {said:?}");
        }
        assert!(!all.contains("panicked"), "{all}");
    }

    /// Hands the payroll in and returns its id.
    fn submitted(&self) -> String {
        let said =
            self.ok("payroll submit payroll.csv --programme cash --cycle 2026-11 --rows 4 --sum 600.50 --person amina");
        first_word(&said.out)
    }
}

fn first_word(text: &str) -> String {
    text.split_whitespace().next().unwrap().to_owned()
}

/// The line that begins with a word, its words.
fn line<'a>(text: &'a str, begins: &str) -> Vec<&'a str> {
    let found = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    found.into_iter().find(|words| words.first() == Some(&begins)).unwrap_or_else(|| panic!("no {begins} in {text}"))
}

#[test]
fn a_sample_is_the_same_for_the_same_seed() {
    let desk = Desk::new();
    for (file, seed) in [("a.csv", 7), ("b.csv", 7), ("c.csv", 8)] {
        let said = desk.ok(&format!("sample --rows 300 --seed {seed} {file}"));
        assert!(said.out.starts_with("300 rows, ") && said.out.trim_end().ends_with(file), "{said:?}");
    }
    assert_eq!((desk.read("a.csv"), desk.read("a.csv.totals")), (desk.read("b.csv"), desk.read("b.csv.totals")));
    assert_ne!(desk.read("a.csv"), desk.read("c.csv"));
    assert!(desk.read("a.csv.totals").starts_with("rows = 300\nsum = \""));
}

#[test]
fn totals_come_from_the_file_beside_or_from_the_maker() {
    let desk = Desk::furnished();
    desk.ok("sample --rows 300 sample.csv");
    let said = desk.ok("payroll submit sample.csv --programme cash --cycle 2026-11 --person amina");
    assert!(said.out.lines().next().unwrap().ends_with("submitted (cash 2026-11)"), "{said:?}");
    assert_eq!(line(&said.out, "declared")[1], "300");
    assert_eq!(line(&said.out, "declared")[1..], line(&said.out, "file")[1..]);
    let submit = "payroll submit payroll.csv --programme cash --cycle 2026-11 --person amina";
    desk.fails(submit, 2, &["declare --rows and --sum", "payroll.csv.totals"]);
    desk.fails(&format!("{submit} --rows 4"), 2, &["--sum"]);
    desk.submitted();
}

#[test]
fn a_payroll_that_is_not_what_was_declared_is_refused_with_both_numbers() {
    let desk = Desk::furnished();
    let submit = "payroll submit payroll.csv --programme cash --cycle 2026-11 --person amina";
    let both = ["totals_differ", "5 rows and 700.50 KES", "4 rows and 600.50 KES"];
    desk.fails(&format!("{submit} --rows 5 --sum 700.50"), 1, &both);
    desk.fails(&format!("{submit} --rows 4 --sum 600.51"), 1, &["4 rows and 600.51 KES", "4 rows and 600.50 KES"]);
    desk.fails(&format!("{submit} --rows 4 --sum 600,50"), 2, &["`600,50` is not a sum"]);
    // Nothing of the refused ones stands in the way.
    desk.submitted();
}

#[test]
fn what_does_not_exist_is_named() {
    let desk = Desk::furnished();
    let rest = "--rows 4 --sum 600.50 --person amina";
    let submit = format!("payroll submit payroll.csv --programme nobody --cycle 2026-11 {rest}");
    desk.fails(&submit, 2, &["programme_unknown", "there is no programme nobody"]);
    desk.fails(&format!("payroll submit payroll.csv --programme cash --cycle 1999-01 {rest}"), 2, &["cycle_unknown"]);
    desk.fails(&format!("payroll submit none.csv --programme cash --cycle 2026-11 {rest}"), 2, &["none.csv"]);
    desk.fails("payroll status nonsense", 2, &["`nonsense` is not a payroll's id", "prl_"]);
    desk.fails("programme create x --currency XYZ --person bruno", 2, &["`XYZ` is not an ISO 4217 currency code"]);
    let id = desk.submitted();
    let last = if id.ends_with('0') { '1' } else { '0' };
    let other = format!("{}{last}", &id[..id.len() - 1]);
    for verb in ["status", "rejects", "export"] {
        desk.fails(&format!("payroll {verb} {other}"), 2, &[]);
    }
}

#[test]
fn two_people_are_needed() {
    let desk = Desk::furnished();
    let id = desk.submitted();
    desk.fails(&format!("payroll release {id} --person bruno"), 2, &["submitted"]);
    desk.fails(&format!("payroll approve {id} --person amina"), 2, &["maker_is_checker", "did not make this payroll"]);
    assert_eq!(desk.ok(&format!("payroll approve {id} --person bruno")).out, format!("{id} approved\n"));
    desk.fails(&format!("payroll approve {id} --person carol"), 2, &["approved"]);
    desk.fails(&format!("payroll release {id} --person amina"), 2, &["maker_is_checker"]);
    assert_eq!(desk.ok(&format!("payroll release {id} --person bruno")).out, format!("{id} released\n"));
    desk.fails(&format!("payroll release {id} --person bruno"), 2, &["released"]);
    let status = desk.ok(&format!("payroll status {id}")).out;
    assert_eq!(status.lines().next().unwrap(), format!("{id} released (cash 2026-11)"));
    assert_eq!(line(&status, "file"), ["file", "4", "payments", "600.50", "KES"]);
    assert_eq!(line(&status, "refused"), ["refused", "1", "payments", "0.00", "KES"]);
    assert_eq!(line(&status, "amount_not_plain"), ["amount_not_plain", "1", "payments", "0.00", "KES"]);
    assert_eq!(line(&status, "accepted"), ["accepted", "3", "payments", "600.50", "KES"]);
    assert_eq!(line(&status, "waiting"), ["waiting", "3", "payments", "600.50", "KES"]);
    assert_eq!(line(&status, "settled"), ["settled", "0", "payments", "0.00", "KES"]);
    assert!(status.contains("mobile-op in 1 batches"), "{status}");
}

#[test]
fn money_that_is_not_there_is_not_released() {
    let desk = Desk::furnished();
    desk.write("big.csv", &PAYROLL.replace("300.00", "30000.00"));
    let submit = "payroll submit big.csv --programme cash --cycle 2026-11 --rows 4 --sum 30300.50 --person amina";
    let id = first_word(&desk.ok(submit).out);
    desk.ok(&format!("payroll approve {id} --person bruno"));
    desk.fails(&format!("payroll release {id} --person bruno"), 2, &["funds_short", "fund the programme first"]);
    let funded = desk.ok("programme fund cash 25300.50 --person bruno");
    assert_eq!(funded.out, "available: 30300.50 KES\n");
    desk.ok(&format!("payroll release {id} --person bruno"));
    desk.fails("programme fund cash 0 --person bruno", 2, &["amount_not_positive"]);
    desk.fails("programme fund cash 1.001 --person bruno", 2, &[]);
}

#[test]
fn rejects_are_mended_and_sent_again() {
    let desk = Desk::furnished();
    let id = desk.submitted();
    let rejects = desk.ok(&format!("payroll rejects {id}")).out;
    assert_eq!(rejects.lines().count(), 2, "{rejects}");
    assert!(rejects.lines().nth(1).unwrap().starts_with("4,amount_not_plain,"), "{rejects}");
    let submit = "payroll submit again.csv --programme cash --cycle 2026-11 --person amina";
    desk.write("again.csv", &rejects.replace("\"1,000.00\"", "1000.00"));
    let said = desk.ok(&format!("{submit} --rows 1 --sum 1000.00"));
    assert_eq!(line(&said.out, "accepted"), ["accepted", "1", "payments", "1000.00", "KES"]);
    let again = first_word(&said.out);
    assert_eq!(desk.ok(&format!("payroll rejects {again}")).out.lines().count(), 1);
    // The same file is the same payroll, and its rows in another file are not owed again.
    assert_eq!(desk.submitted(), id);
    desk.write("other.csv", &PAYROLL.replace("Wanjiru", "Wambui"));
    let said =
        desk.run("payroll submit other.csv --programme cash --cycle 2026-11 --rows 4 --sum 600.50 --person amina");
    assert_eq!(line(&said.out, "accepted")[1], "0", "{said:?}");
    assert_eq!(line(&said.out, "refused")[1], "4", "{said:?}");
}

#[test]
fn an_export_is_safe_for_spreadsheets() {
    let desk = Desk::furnished();
    let id = desk.submitted();
    let export = desk.ok(&format!("payroll export {id}")).out;
    let mut reader = csv::Reader::from_reader(export.as_bytes());
    let header = reader.headers().unwrap().clone();
    let columns = ["entitlement", "payee_name", "amount", "currency", "state"];
    let places = columns.map(|name| header.iter().position(|known| known == name).unwrap());
    let rows: Vec<[String; 5]> =
        reader.records().map(Result::unwrap).map(|row| places.map(|at| row.get(at).unwrap().to_owned())).collect();
    let row = |cells: [&str; 5]| cells.map(str::to_owned);
    assert_eq!(
        rows,
        [
            row(["E1", "'=1+1", "100.00", "KES", "queued"]),
            row(["E2", "Wanjiru", "200.50", "KES", "queued"]),
            row(["E4", "Achieng", "300.00", "KES", "queued"]),
        ]
    );
}

#[test]
fn tokens_are_made_and_ended() {
    let desk = Desk::new();
    let said = desk.ok("token create --role maker --person amina");
    let lines: Vec<&str> = said.out.lines().collect();
    assert!(lines.len() == 2 && lines[0].starts_with("tok_") && lines[1].starts_with("pm_"), "{said:?}");
    assert_eq!(desk.ok(&format!("token revoke {}", lines[0])).out, "ended\n");
    desk.fails(&format!("token revoke {}", lines[0]), 2, &["token_unknown"]);
    desk.fails("token revoke nonsense", 2, &["tok_"]);
    desk.fails("token create --role emperor --person amina", 2, &["emperor", "maker"]);
}

#[test]
fn the_tables_are_made_once_and_verify_wants_them() {
    let desk = Desk::new();
    desk.fails("verify", 2, &["paymaster migrate"]);
    for _ in 0..2 {
        assert_eq!(desk.ok("migrate").out, "The tables are up to date.\n");
    }
    assert!(desk.ok("verify").out.ends_with("0 findings\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verify_names_what_does_not_hold() {
    let desk = Desk::furnished();
    desk.submitted();
    let said = desk.ok("verify");
    assert!(said.out.starts_with("1 payrolls, 3 disbursements, 1 programmes, "), "{said:?}");
    assert!(said.out.ends_with("0 findings\n"), "{said:?}");
    let store = Store::open(&desk.path("paymaster.db").display().to_string(), false).await.unwrap();
    let mut tx = store.begin().await.unwrap();
    let sql = "UPDATE disbursement SET amount_minor = amount_minor + $1 WHERE number = (SELECT MIN(number) FROM disbursement)";
    assert_eq!(tx.execute(sql, values![1]).await.unwrap(), 1);
    tx.commit().await.unwrap();
    store.db.close().await;
    desk.fails("verify", 1, &["partition: prl_", "totals: prl_", "60050", "60051"]);
    let said = desk.run("verify --json");
    let found: Value = serde_json::from_str(said.out.lines().last().unwrap()).unwrap();
    assert_eq!((said.code, found["disbursements"].as_i64()), (1, Some(3)));
    let rules: Vec<&str> =
        found["findings"].as_array().unwrap().iter().map(|one| one["rule"].as_str().unwrap()).collect();
    assert!(rules.contains(&"partition") && rules.contains(&"totals"), "{rules:?}");
}

#[test]
fn a_configuration_with_a_mistake_is_refused_by_name() {
    let desk = Desk::new();
    desk.write("paymaster.toml", "databse_url = \"x\"\n");
    desk.fails("migrate", 2, &["paymaster.toml cannot be used", "databse_url"]);
    desk.write("paymaster.toml", &CONFIG.replace("\nbase_url", "\nbase_uri"));
    desk.fails("migrate", 2, &["mobile-op", "base_uri"]);
    desk.write("paymaster.toml", &CONFIG.replace("\"mobile_money\"", "\"pigeon\""));
    desk.fails("migrate", 2, &["mobile-op", "pigeon"]);
    desk.write("paymaster.toml", "[work]\nlease_seconds = 5\nlease_margin_seconds = 5\n");
    desk.fails("migrate", 2, &["work.lease_margin_seconds"]);
    desk.fails("--config none.toml migrate", 2, &["config"]);
    let said = desk.bare("--config none.toml migrate");
    assert_eq!(said.code, 2);
    assert!(said.err.contains("cannot read none.toml"), "{said:?}");
    let said = desk.bare("--database-url mysql://x/y migrate");
    assert_eq!(said.code, 2);
    assert!(said.err.contains("postgres://"), "{said:?}");
}

/// The object in the last line of a demo that went well, with the keys everybody may rely on.
fn proven(said: &Said) -> Value {
    assert_eq!(said.code, 0, "{said:?}");
    let object: Value = serde_json::from_str(said.out.lines().last().unwrap()).unwrap();
    assert_eq!(said.out.lines().count(), 1, "words belong to standard error: {}", said.out);
    let numbers = [
        "rows",
        "accepted",
        "refused",
        "settled",
        "rejected",
        "in_doubt",
        "paid_twice",
        "forgotten",
        "sum_settled_minor",
        "seconds",
        "payments_per_second",
    ];
    for key in numbers {
        assert!(object[key].is_number(), "{key}: {object}");
    }
    for key in ["provider_ledger_agrees", "registry_agrees", "ledger_balances"] {
        assert_eq!(object[key], Value::Bool(true), "{key}: {object}");
    }
    let int = |key: &str| object[key].as_i64().unwrap();
    assert_eq!((int("in_doubt"), int("paid_twice"), int("forgotten")), (0, 0, 0));
    assert_eq!(int("rows"), int("accepted") + int("refused"));
    assert_eq!(int("accepted"), int("settled") + int("rejected") + int("returned"));
    assert!(int("settled") > 0 && int("sum_settled_minor") > 0, "{object}");
    object
}

#[test]
fn the_demo_proves_itself_and_again_in_the_same_folder() {
    let desk = Desk::new();
    for seed in [1, 2] {
        let object = proven(&desk.bare(&format!("demo --rows 500 --seed {seed} --json --data run")));
        assert_eq!((object["rows"].as_i64(), object["database"].as_str()), (Some(500), Some("sqlite")), "{object}");
        assert!(desk.read("run/report.txt").contains("paid twice 0, forgotten 0, in doubt 0"));
    }
}

#[test]
fn the_demo_pays_a_file_that_is_given() {
    let desk = Desk::new();
    desk.write("payroll.csv", PAYROLL);
    let object = proven(&desk.bare("demo --payroll payroll.csv --json --data run"));
    let ints = ["rows", "accepted", "refused"].map(|key| object[key].as_i64().unwrap());
    assert_eq!(ints, [4, 3, 1]);
    let said = desk.bare("demo --payroll payroll.csv --data other");
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.out.contains("Reconciliation") && !said.out.contains("DOES NOT AGREE"), "{said:?}");
    desk.fails("demo --payroll none.csv", 2, &["cannot read none.csv"]);
    desk.fails("demo --rows 0", 2, &["--rows must be above 0"]);
    desk.fails("demo --rails nonsense", 2, &["nonsense", "mobile_money"]);
}

#[test]
fn completions_and_the_version_are_printed() {
    let desk = Desk::new();
    let said = desk.ok("completions bash");
    assert!(said.out.contains("_paymaster()") && said.out.contains("complete -F _paymaster"));
    assert_eq!(desk.ok("--version").out, format!("paymaster {}\n", env!("CARGO_PKG_VERSION")));
}

/// The path of a command and of all below it.
fn paths(command: &clap::Command, path: &str, all: &mut Vec<String>) {
    all.push(path.to_owned());
    for below in command.get_subcommands().filter(|below| below.get_name() != "help") {
        paths(below, &format!("{path} {}", below.get_name()), all);
    }
}

#[test]
fn every_command_explains_itself() {
    let (desk, mut all, mut text) = (Desk::new(), Vec::new(), String::new());
    paths(&Cli::command(), "", &mut all);
    assert!(all.len() > 20, "{all:?}");
    for path in all {
        let said = desk.bare(&format!("{path} --help"));
        assert_eq!((said.code, said.err.as_str()), (0, ""), "{path}");
        text.push_str(&format!("$ paymaster{path} --help\n{}\n", said.out));
    }
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots/help.txt");
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        std::fs::write(&file, &text).unwrap();
    }
    let kept = std::fs::read_to_string(&file).unwrap_or_default();
    let differs = text.lines().zip(kept.lines()).find(|(now, kept)| now != kept);
    assert!(text == kept, "the help changed ({differs:?}); look at it, then run with UPDATE_SNAPSHOTS=1");
}

#[test]
fn a_report_is_printed_or_written() {
    let desk = Desk::furnished();
    let id = desk.submitted();
    let header = "programme,payroll,provider,state,class,code,reissued,payments,sum,currency\n";
    let row = format!("cash,{id},,refused,,amount_not_plain,no,1,0.00,KES\n");
    assert_eq!(desk.ok("report unpaid").out, format!("{header}{row}"));
    assert_eq!(desk.ok(&format!("report unpaid --programme cash --payroll {id} --provider mobile-op")).out, header);
    assert_eq!(desk.ok("report unpaid --out unpaid.csv").out, "");
    assert_eq!(desk.read("unpaid.csv"), format!("{header}{row}"));
    desk.ok("report in_transit --format xlsx --out transit.xlsx");
    assert!(std::fs::read(desk.path("transit.xlsx")).unwrap().starts_with(b"PK"));
    desk.fails("report in_transit --format xlsx", 2, &["--out"]);
    desk.fails("report nothing", 2, &["unpaid, in_doubt"]);
    desk.fails("report unpaid --format pdf", 2, &["csv or xlsx"]);
    desk.fails("report unpaid --provider nobody", 2, &["provider_unknown"]);
    desk.fails(&format!("payroll reissue {id} --class funding --person amina"), 2, &["nothing_to_reissue"]);
}

#[test]
fn a_set_of_exceptions_is_named_and_counted() {
    let desk = Desk::furnished();
    assert_eq!(desk.ok("exceptions --summary").out, "");
    assert_eq!(desk.ok("exceptions list --owner bank --provider mobile-op --code overpaid").out, "");
    let propose = "exceptions propose --decision stands --reason known --person amina";
    assert_eq!(desk.ok(&format!("{propose} --code overpaid --code other_amount")).out, "0 proposed\n");
    assert_eq!(desk.ok("exceptions confirm --owner finance --decision stands --person bruno").out, "0 decided\n");
    assert_eq!(desk.ok("exceptions withdraw --provider mobile-op --person bruno").out, "0 taken off\n");
    desk.fails(propose, 2, &["filter_missing", "by code, provider, owner"]);
    desk.fails(&format!("{propose} exc_0000000000001"), 2, &["exception_unknown"]);
    desk.fails(&format!("{propose} exc_0000000000001 --code overpaid"), 2, &["--code"]);
    desk.fails("exceptions confirm --code overpaid --person bruno", 2, &["--decision"]);
    desk.fails("exceptions confirm exc_0000000000001 --decision stands --person bruno", 2, &["--decision"]);
    desk.fails("exceptions list --owner nobody", 2, &["registry, bank, finance, operations"]);
    desk.fails("exceptions list --payroll nonsense", 2, &["`nonsense` is not a payroll's id", "prl_"]);
    desk.fails("exceptions", 2, &["--summary"]);
}
