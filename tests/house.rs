//! What tests of whole programs share: programs that do not outlive their test, the configuration that they run
//! with, the people who prepare a payroll, and holding all three books against each other at the end.
//! Deliberately not here: what happens to the programs meanwhile.

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use paymaster::config::Config;
use paymaster::domain::disbursement::State;
use paymaster::domain::id::{Id, Payroll};
use paymaster::domain::payroll::PayrollState;
use paymaster::engine::{Actor, CycleRequest, Engine, PayrollStatus, ProgrammeRequest};
use paymaster_connectors::contract::{Currency, Reference};
use paymaster_connectors::registry::{SigningKey, VerifyingKey};
use paymaster_connectors::sandbox::Told;

use crate::world::Folder;

/// How often a state that is waited for is looked at.
pub const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Longest wait for any state; a dead worker's work is taken up well before.
pub const PATIENCE: Duration = Duration::from_secs(120);
/// Disbursements read at once.
const PAGE: i64 = 1_000;

/// A `paymaster` program; it does not outlive its test.
pub struct Program {
    pub child: Child,
    /// Where it says what it does.
    said: PathBuf,
}

impl Program {
    /// Starts it. What it says is added to a file; what it prints can be read from the child.
    pub fn start(command: &mut Command, said: PathBuf) -> Self {
        let file = File::options().create(true).append(true).open(&said).unwrap();
        Self { child: command.stdin(Stdio::null()).stderr(file).spawn().unwrap(), said }
    }

    /// A worker with this configuration.
    pub fn worker(config: &Path, said: PathBuf) -> Self {
        let mut command = paymaster();
        command.arg("--config").arg(config).arg("work").stdout(Stdio::null());
        Self::start(&mut command, said)
    }

    /// Sends a signal by its name.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([format!("-{name}"), self.child.id().to_string()]).status().unwrap();
        assert!(sent.success(), "the program was gone before {name}");
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// As a power cut would.
    pub fn kill(mut self) {
        assert_eq!(self.ended(), None, "it ended by itself: {}", self.said());
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Tells it to stop and waits until it has.
    pub async fn stop(mut self) -> ExitStatus {
        self.signal("TERM");
        let began = Instant::now();
        loop {
            if let Some(status) = self.ended() {
                return status;
            }
            assert!(began.elapsed() < PATIENCE, "it does not stop: {}", self.said());
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Everything it has said.
    pub fn said(&self) -> String {
        std::fs::read_to_string(&self.said).unwrap_or_default()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The program, with what of its log is kept.
pub fn paymaster() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_paymaster"));
    let log = std::env::var("PAYMASTER_LOG").unwrap_or_else(|_| "warn,paymaster::cli=info".to_owned());
    command.env("PAYMASTER_LOG", log);
    command
}

/// What differs between the configurations of tests.
pub struct Setup<'a> {
    pub url: &'a str,
    pub operator: String,
    pub registry: String,
    /// Names and modes; each pays the mobile accounts at its name.
    pub providers: &'a [(&'a str, &'a str)],
    pub batches: usize,
    pub items_max: usize,
    pub lease_seconds: u32,
    pub timeout_seconds: u32,
    pub fence_seconds: u32,
}

/// Makes the key that messages to the registry are signed with; returns its public half.
pub fn signing_key(folder: &Folder) -> VerifyingKey {
    let key = SigningKey::generate().unwrap();
    std::fs::write(folder.path().join("registry.key"), base64::engine::general_purpose::STANDARD.encode(&key)).unwrap();
    SigningKey::from_pkcs8(&key, None).unwrap().public_key()
}

/// Writes the configuration that the test's engine and its workers share.
pub fn configuration(folder: &Folder, setup: &Setup<'_>) -> PathBuf {
    let Setup { url, operator, registry, batches, items_max, lease_seconds, timeout_seconds, fence_seconds, .. } =
        setup;
    let data = folder.path().display();
    let mut text = format!(
        r#"
database_url = "{url}"
data = "{data}"
[work]
batches = {batches}
sweep_millis = 100
poll_millis = 20
lease_seconds = {lease_seconds}
lease_margin_seconds = 2
[registry]
url = "{registry}"
sender_id = "pay.test"
timeout_seconds = {timeout_seconds}
signing_key = {{ file = "{data}/registry.key" }}
"#
    );
    for (name, mode) in setup.providers {
        text.push_str(&format!(
            r#"
[[provider]]
name = "{name}"
connector = "mobile_money"
accounts = ["mobile:*@{name}"]
[provider.settings]
base_url = "{operator}"
mode = "{mode}"
debit_party = {{ key = "accountid", value = "programme" }}
items_max = {items_max}
concurrency = 4
timeout_seconds = {timeout_seconds}
fence_seconds = {fence_seconds}
absent_after_seconds = {fence_seconds}
inquire_every_millis = 100
inquire_every_max_seconds = 1
"#
        ));
    }
    let path = folder.path().join("paymaster.toml");
    std::fs::write(&path, text).unwrap();
    path
}

/// The engine of a configuration, with a programme and a cycle; and who makes and who checks.
pub async fn open(config: &Path) -> (Arc<Engine>, Actor, Actor) {
    let engine = Config::read(Some(config)).unwrap().engine(true).await.unwrap();
    let scope = engine.tenant("default").await.unwrap();
    let [maker, checker] = ["amina", "bruno"].map(|person| Actor { scope, person: person.to_owned() });
    let request = ProgrammeRequest {
        code: "cash".to_owned(),
        name: "Cash".to_owned(),
        currency: Currency::parse("KES").unwrap(),
        all_or_nothing: false,
        amount_minor_max: None,
        shared_account_max: None,
    };
    engine.save_programme(&checker, &request).await.unwrap();
    let day = |text: &str| text.parse().unwrap();
    let cycle = CycleRequest { code: "2026-11".to_owned(), first_day: day("2026-11-01"), last_day: day("2026-11-30") };
    engine.make_cycle(&checker, "cash", &cycle).await.unwrap();
    (engine, maker, checker)
}

/// Whether the payroll is completed and the registry has acknowledged every end.
pub fn is_done(status: &PayrollStatus) -> bool {
    let told: i64 =
        status.publications.iter().filter(|(state, ..)| state == "acknowledged").map(|(.., items)| items).sum();
    status.payroll.state == PayrollState::Completed && told == status.payroll.accepted.payments
}

/// The books of the others: what the operator credited, and what the registry was told.
pub struct Books {
    pub credits: HashMap<Reference, Vec<i64>>,
    pub told: HashMap<String, (String, Option<i64>)>,
}

/// What comparing came to.
#[derive(Debug, Default)]
pub struct Verdict {
    pub payments: i64,
    pub settled_minor: i64,
    pub paid_twice: u64,
    /// Without a proven end, or not told of.
    pub forgotten: u64,
    /// What does not hold, in words.
    pub wrong: Vec<String>,
}

impl Books {
    pub fn new(outcomes: Vec<Told>) -> Self {
        let told = outcomes.into_iter().map(|one| (one.instruction, (one.status, one.amount_minor))).collect();
        Self { credits: HashMap::new(), told }
    }

    pub fn credit(&mut self, reference: &str, amount_minor: i64) {
        self.credits.entry(Reference::parse(reference).unwrap()).or_default().push(amount_minor);
    }

    /// Holds one payroll against them; its credits are crossed out, so that what is left was never ordered.
    pub async fn compare(&mut self, engine: &Engine, actor: &Actor, id: Id<Payroll>, verdict: &mut Verdict) {
        let (mut above, mut seen) = (0, 0);
        loop {
            let page = engine.disbursements(&actor.scope, id, &[], (above, PAGE)).await.unwrap();
            let Some(last) = page.last() else { break };
            above = last.shown.number;
            for row in &page {
                let (reference, amount) = (engine.reference(row.shown.number), row.shown.amount_minor);
                let credited = self.credits.remove(&reference).unwrap_or_default();
                let told = self.told.get(reference.as_str());
                let (wanted, word) = match row.state {
                    State::Settled => (vec![amount], "succ"),
                    _ => (vec![], "rjct"),
                };
                verdict.paid_twice += u64::from(credited.len() > 1);
                verdict.settled_minor += wanted.iter().sum::<i64>();
                let ended = matches!(row.state, State::Settled | State::Rejected) && row.shown.evidence.is_some();
                verdict.forgotten += u64::from(!ended || told.is_none());
                if !ended || credited != wanted || told != Some(&(word.to_owned(), Some(amount))) {
                    let state = row.state;
                    verdict
                        .wrong
                        .push(format!("{reference} of {amount} is {state}, credited {credited:?}, told {told:?}"));
                }
                seen += 1;
            }
        }
        verdict.payments += seen;
        let accepted = engine.payroll_status(&actor.scope, id).await.unwrap().payroll.accepted.payments;
        if seen != accepted {
            verdict.wrong.push(format!("payroll {id} has {seen} rows, and {accepted} were accepted"));
        }
    }
}
