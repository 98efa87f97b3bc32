//! The first command: one made-up payroll, paid the whole way against a sandbox, and three books compared.

mod bank;
mod file;
mod report;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Args;
use paymaster_connectors::contract::{Currency, Money};
use paymaster_connectors::registry::{Registry, SigningKey};
use paymaster_connectors::sandbox::bank::BankHouse;
use paymaster_connectors::sandbox::{self, Sandbox};
use tokio::sync::watch;

use file::Made;

use super::said;
use super::screen::Screen;
use crate::clock::{Clock, random};
use crate::domain::id::{Id, Payroll};
use crate::domain::payroll::{PayrollKind, PayrollState};
use crate::engine::{Actor, CycleRequest, Engine, IntakeRequest, LeaseTerms, ProgrammeRequest, Provider};
use crate::jobs::{self, WorkTerms};
use crate::store::Store;
use crate::store::payroll::Total;

#[derive(Debug, Args)]
pub struct DemoArgs {
    /// How many rows the payroll has
    #[arg(long, default_value_t = 10_000)]
    rows: u64,
    /// The same seed makes the same payroll
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Pay this file instead of a made-up one; its totals are read from FILE.totals or counted
    #[arg(long, value_name = "FILE")]
    payroll: Option<PathBuf>,
    /// Folder for everything the run leaves; a fresh one without it
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Which rails to pay over
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "bank,mobile_money", value_parser = ["bank", "mobile_money"])]
    rails: Vec<String>,
    /// Print one JSON object last, and words to standard error
    #[arg(long)]
    json: bool,
}

/// Name of the operator in the demo, and provider part of the payee accounts of made-up payrolls.
const OPERATOR: &str = "mobile-op";
/// Time the demo may take beyond a generous rate before it says what is stuck.
const PATIENCE: Duration = Duration::from_secs(180);
/// Rows a second that even a slow machine does.
const ROWS_PER_SECOND_MIN: u64 = 500;
/// How often progress is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Over which rails is paid.
#[derive(Debug, Clone, Copy)]
struct Rails {
    bank: bool,
    mobile_money: bool,
}

/// Everything that runs during the demo.
struct Stage {
    screen: Screen,
    engine: Arc<Engine>,
    sandbox: Sandbox,
    bank: Option<BankHouse>,
    maker: Actor,
    checker: Actor,
    folder: PathBuf,
    provider: String,
    bank_name: String,
    programme: String,
}

/// Runs the demo; false when the books do not agree.
pub async fn run(args: DemoArgs, database_url: Option<String>) -> Result<bool> {
    let screen = Screen { json: args.json };
    let has = |rail: &str| args.rails.iter().any(|one| one == rail);
    // Who pays a given file needs the operator, whatever else it is paid over.
    let rails = Rails { bank: has("bank") && args.payroll.is_none(), mobile_money: has("mobile_money") };
    let run = format!("{:08x}", u32::from_be_bytes(random::<4>()?));
    let folder = match &args.data {
        Some(folder) => folder.clone(),
        None => std::env::temp_dir().join(format!("paymaster-demo-{run}")),
    };
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    screen.line(format!("Everything this run leaves is in {}", folder.display()));
    let made = match &args.payroll {
        Some(file) => file::given(file)?,
        None => file::made_up((args.rows, args.seed), rails, &folder)?,
    };
    let sum = Money::new(made.declared.sum_minor, made.currency);
    screen.line(format!("A payroll of {} rows and {sum}: {}", made.declared.payments, made.file.display()));

    let url = database_url.unwrap_or_else(|| folder.join(format!("paymaster-{run}.db")).display().to_string());
    let mut stage = Stage::set(screen, &url, (folder, run), made.currency, args.seed).await?;
    if rails.bank {
        stage.bank = Some(bank::open(&stage.folder.join(&stage.bank_name), made.currency, args.seed)?);
    }
    let (stop, stopping) = watch::channel(false);
    let serving = stage.serve(&made, stopping.clone()).await?;
    let terms =
        WorkTerms { sweep: Duration::from_millis(100), poll: Duration::from_millis(20), ..WorkTerms::default() };
    let working = tokio::spawn(jobs::run(stage.engine.clone(), terms, stopping));
    let paid = stage.pay(&made).await;
    // What is under way is finished before the books are compared, whatever came of it.
    let _ = stop.send(true);
    working.await??;
    serving.await??;
    let (id, took) = paid?;
    stage.sandbox.quiet().await;
    let paid_by_bank = stage.bank.as_ref().map(|bank| bank.with(|bank| bank.net())).unwrap_or_default();
    let agreed = report::print(&stage, (id, &paid_by_bank), took).await?;
    if let Some(bank) = stage.bank.take() {
        bank.stop()?;
    }
    stage.sandbox.shutdown().await;
    stage.engine.store.db.close().await;
    Ok(agreed)
}

impl Stage {
    /// Starts the sandbox, opens the database, makes programme, cycle and money.
    async fn set(screen: Screen, url: &str, place: (PathBuf, String), currency: Currency, seed: u64) -> Result<Self> {
        let (folder, run) = place;
        let store = Store::open(url, true).await?;
        // A database that is used again may hold batches of an earlier run; its provider has another name.
        let provider = format!("{OPERATOR}-{run}");
        let key = SigningKey::from_pkcs8(&SigningKey::generate()?, None)?;
        let settings = sandbox::Settings {
            folder: Some(folder.join(&provider)),
            float: Money::new(i64::MAX / 2, currency),
            verifying_key: Some(key.public_key()),
            faults: sandbox::Faults {
                seed,
                lose_first_replies: 1,
                lose_reply_per_mille: 100,
                lose_request_per_mille: 20,
                duplicate_callback_per_mille: 100,
                silent_callback_per_mille: 100,
                payee_suffixes: false,
                ..sandbox::Faults::default()
            },
            registry_faults: sandbox::RegistryFaults { seed, refuse_first_n: 1, lose_ack_per_mille: 50 },
            ..sandbox::Settings::new(currency)
        };
        let sandbox = Sandbox::start(settings).await?;
        let mut engine = Engine::new(store, Clock::System);
        // A rejection counts only once no second copy can arrive any more; on one machine that is soon.
        engine.lease = LeaseTerms { lease_micros: 8_000_000, margin_micros: 4_000_000 };
        let settings = serde_json::json!({"url": sandbox.registry_url(), "sender_id": "pay.demo.example", "receiver_id": "registry.demo.example", "timeout_seconds": 30});
        engine.registry = Some(Registry::open(serde_json::from_value(settings)?, key)?);
        let scope = said(engine.tenant("demo").await)?;
        let person = |name: &str| Actor { scope, person: name.to_owned() };
        Ok(Self {
            screen,
            sandbox,
            maker: person("Amina (prepares)"),
            checker: person("Bruno (approves)"),
            folder,
            programme: format!("demo-{run}"),
            bank: None,
            bank_name: format!("{}-{run}", bank::BANK),
            provider,
            engine: Arc::new(engine),
        })
    }

    /// Opens our own door on loopback, so that the operator can call back, and the provider behind it.
    async fn serve(&mut self, made: &Made, stop: watch::Receiver<bool>) -> Result<tokio::task::JoinHandle<Result<()>>> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let secret = format!("{:032x}", u128::from_be_bytes(random::<16>()?));
        let callback_url = format!("http://{}/callbacks/{}/{secret}", listener.local_addr()?, self.provider);
        let settings = serde_json::json!({
            "base_url": self.sandbox.operator_url(), "mode": "batch", "debit_party": {"key": "accountid", "value": "programme"},
            "callback_url": callback_url, "items_max": 1_000, "inquire_every_millis": 200, "inquire_every_max_seconds": 2,
            "timeout_seconds": 3, "fence_seconds": 4, "absent_after_seconds": 4,
        });
        let provider = Provider {
            name: self.provider.clone(),
            routes: made.routes.clone(),
            connector: paymaster_connectors::open("mobile_money", &self.provider, settings)?,
            callback_secret: Some(secret),
        };
        let engine = Arc::get_mut(&mut self.engine).context("the engine is in use already")?;
        engine.providers.push(provider);
        if self.bank.is_some() {
            engine.providers.push(bank::provider(&self.bank_name, &self.folder.join(&self.bank_name))?);
        }
        let state = crate::api::ApiState {
            engine: self.engine.clone(),
            spool: self.folder.join("spool"),
            body_bytes_max: 1 << 20,
        };
        Ok(tokio::spawn(crate::api::serve(listener, state, stop)))
    }

    /// Takes the payroll in as one person, has it approved by another, and follows it to its end.
    async fn pay(&self, made: &Made) -> Result<(Id<Payroll>, Duration)> {
        let currency = made.currency;
        let request = ProgrammeRequest {
            code: self.programme.clone(),
            name: String::from("Demonstration cash transfer"),
            currency,
            all_or_nothing: false,
            amount_minor_max: None,
            shared_account_max: Some(4),
        };
        let today = chrono::DateTime::from_timestamp_micros(self.engine.clock.now()).unwrap_or_default().date_naive();
        let cycle = CycleRequest {
            code: String::from("this-month"),
            first_day: today,
            last_day: today + chrono::Days::new(27),
        };
        said(self.engine.save_programme(&self.checker, &request).await)?;
        said(self.engine.make_cycle(&self.checker, &self.programme, &cycle).await)?;

        let began = Instant::now();
        let request = IntakeRequest {
            programme: self.programme.clone(),
            cycle: cycle.code,
            kind: PayrollKind::Payment,
            declared: made.declared,
            pay_on: None,
            idempotency_key: None,
            file: made.file.clone(),
        };
        let row = said(self.engine.take_in(&self.maker, &request).await)?;
        ensure!(row.state == PayrollState::Draft, "the payroll was refused: {}", row.refusal.unwrap_or_default());
        let sum = |total: Total| format!("{} rows, {}", total.payments, Money::new(total.sum_minor, currency));
        self.screen.line(format!("  {:<12} {} accepted; {} refused", "intake", sum(row.accepted), sum(row.refused)));
        said(self.engine.submit_payroll(&self.maker, row.id).await)?;
        said(self.engine.approve_payroll(&self.checker, row.id).await)?;
        said(self.engine.fund(&self.checker, &self.programme, row.accepted.sum_minor, "demonstration warrant").await)?;
        said(self.engine.release_payroll(&self.checker, row.id).await)?;
        self.screen.line(format!(
            "  {:<12} prepared by {}, approved and released by {}",
            "approval", self.maker.person, self.checker.person
        ));
        self.follow(row.id, row.accepted, began).await?;
        Ok((row.id, began.elapsed()))
    }

    /// Waits until the bank's statements show what we think they must.
    async fn reconciled(&self, id: Id<Payroll>, began: Instant, patience: Duration) -> Result<()> {
        let Some(bank) = &self.bank else { return Ok(()) };
        loop {
            let found = said(self.engine.reconciliation(&self.maker.scope, id).await)?;
            let returned = found.batches.iter().filter(|batch| batch.provider == self.bank_name);
            let returned: i64 = returned.map(|batch| batch.legs.returned.payments).sum();
            if found.payroll.state == PayrollState::Reconciled && bank.with(|bank| bank::is_quiet(bank, returned)) {
                self.screen.line(format!("  {:<12} by the bank's statements, nothing differs", "reconciled"));
                return Ok(());
            }
            ensure!(began.elapsed() < patience, "the statements do not agree: {:?}", found.differences);
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Waits until each payment has its end and the registry has acknowledged each outcome.
    async fn follow(&self, id: Id<Payroll>, accepted: Total, began: Instant) -> Result<()> {
        let payments = u64::try_from(accepted.payments)?;
        let patience = PATIENCE + Duration::from_secs(payments / ROWS_PER_SECOND_MIN);
        let mut stage = self.screen.stage("payments", payments);
        loop {
            let status = said(self.engine.payroll_status(&self.maker.scope, id).await)?;
            let ended: i64 = status
                .providers
                .iter()
                .map(|one| one.settled.payments + one.rejected.payments + one.returned.payments)
                .sum();
            stage.at(u64::try_from(ended)?);
            if matches!(status.payroll.state, PayrollState::Completed | PayrollState::Reconciled) {
                stage.done(&format!("{ended} proven ends"));
                break;
            }
            ensure!(began.elapsed() < patience, "payments are stuck:\n{}", super::payroll::describe(&status));
            tokio::time::sleep(LOOK_EVERY).await;
        }
        self.reconciled(id, began, patience).await?;
        let mut stage = self.screen.stage("registry", payments);
        loop {
            let status = said(self.engine.payroll_status(&self.maker.scope, id).await)?;
            let told: i64 =
                status.publications.iter().filter(|(state, ..)| state == "acknowledged").map(|(.., items)| items).sum();
            stage.at(u64::try_from(told)?.min(payments));
            // What came back later was told once more.
            if told >= accepted.payments && status.publications.iter().all(|(state, ..)| state == "acknowledged") {
                stage.done(&format!("{told} outcomes acknowledged"));
                return Ok(());
            }
            ensure!(began.elapsed() < patience, "the registry is stuck:\n{}", super::payroll::describe(&status));
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}
