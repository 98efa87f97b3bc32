//! The benchmark: the product against the floor of its own database, in one run, as ratios.
//!
//! Floor and product alternate, each on a database made for it; the median of the rounds counts. A figure is only
//! worth something if the books hold, so each product round is verified before it counts.

mod files;
mod instant;
mod recovery;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Args;
use paymaster_connectors::contract::Currency;
use serde_json::json;
use tokio::sync::watch;

use recovery::Recovery;

use super::said;
use super::screen::Screen;
use crate::clock::{Clock, random};
use crate::domain::payroll::{PayrollKind, PayrollState};
use crate::engine::{Actor, CycleRequest, Engine, IntakeRequest, ProgrammeRequest, Provider, Route};
use crate::jobs::{self, WorkTerms};
use crate::sample::Sample;
use crate::store::payroll::{PayrollRow, Total};
use crate::store::{Store, floor, meter};

#[derive(Debug, Args)]
pub struct BenchArgs {
    /// How many rows the payroll has
    #[arg(long, default_value_t = 100_000)]
    rows: u64,
    /// How many rounds; the median counts
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Bad rows in a thousand
    #[arg(long, default_value_t = 0)]
    bad_per_mille: u32,
    /// Also pay it with a worker that is killed half way, and print what that costs
    #[arg(long)]
    kill: bool,
    /// Measure the files of a bank instead: writing, reading, and importing a statement
    #[arg(long)]
    files: bool,
    /// What the worker that is killed runs
    #[arg(long, hide = true)]
    work_on: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// How often the end of the payroll is looked for; below a thousandth of any round that counts.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Updates of a hot row that must stay on their page, in a thousand.
const HOT_PER_MILLE_MIN: i64 = 950;
/// Longest time a round may take.
const ROUND_MAX: Duration = Duration::from_secs(3_600);

/// What is paid.
struct Payroll<'a> {
    file: &'a std::path::Path,
    declared: Total,
    currency: Currency,
}

/// One round's figures.
#[derive(Debug, Clone, Copy, Default)]
struct Round {
    yardstick: Duration,
    floor_load: Duration,
    floor_settle: Duration,
    intake: Duration,
    whole: Duration,
    accepted: i64,
    round_trips: u64,
    commits: u64,
    wal_bytes: i64,
    hot_per_mille: i64,
}

/// Runs the benchmark.
pub async fn run(args: BenchArgs, database_url: Option<String>) -> Result<()> {
    if let Some(url) = &args.work_on {
        return recovery::work_on(url).await;
    }
    ensure!(args.rows > 0 && args.rounds > 0, "--rows and --rounds must be above 0");
    let screen = Screen { json: args.json };
    if args.files {
        return files::run(screen, (args.rows, args.rounds), database_url).await;
    }
    let run = format!("{:08x}", u32::from_be_bytes(random::<4>()?));
    let folder = std::env::temp_dir().join(format!("paymaster-bench-{run}"));
    std::fs::create_dir_all(&folder)?;
    let base = database_url.unwrap_or_else(|| folder.join("db").display().to_string());
    let currency = Currency::parse("KES").context("the benchmark's currency")?;
    let file = folder.join("payroll.csv");
    let mut out = std::io::BufWriter::new(std::fs::File::create(&file)?);
    let sample = Sample { bad_per_mille: args.bad_per_mille, ..Sample::new(args.rows, 1, currency, "bench") };
    let declared = crate::sample::write(&sample, &mut out)?;
    std::io::Write::flush(&mut out)?;
    drop(out);
    let declared = Total { payments: i64::try_from(declared.rows)?, sum_minor: declared.sum_minor };
    let payroll = Payroll { file: &file, declared, currency };
    let (mut rounds, mut recoveries) = (Vec::new(), Vec::new());
    let mut database = "";
    for number in 0..args.rounds {
        let mut round = Round::default();
        let name = |what: &str| format!("paymaster_bench_{run}_{number}_{what}");
        database = floor_round(&base, &name("floor"), declared.payments, &mut round).await?;
        product_round(&base, &name("product"), &payroll, &mut round).await?;
        screen.line(format!("round {}: {}", number + 1, round.line()));
        if args.kill {
            let recovery = recovery::rounds(&base, &name("worker"), &payroll).await?;
            screen.line(format!("round {}: {}", number + 1, recovery.line()));
            recoveries.push(recovery);
        }
        rounds.push(round);
    }
    std::fs::remove_dir_all(&folder)?;
    tell(screen, (&rounds, &recoveries), database, args.rows)
}

async fn floor_round(base: &str, name: &str, rows: i64, round: &mut Round) -> Result<&'static str> {
    let store = Store::open(&floor::fresh(base, name).await?, true).await?;
    floor::checkpoint(&store).await;
    round.yardstick = timed(floor::yardstick(&store, rows)).await?;
    floor::checkpoint(&store).await;
    round.floor_load = timed(floor::load(&store, rows)).await?;
    floor::checkpoint(&store).await;
    round.floor_settle = timed(floor::settle(&store, rows)).await?;
    let database = store.db.name();
    store.db.close().await;
    floor::drop(base, name).await?;
    Ok(database)
}

async fn timed(work: impl Future<Output = Result<()>>) -> Result<Duration> {
    let began = Instant::now();
    work.await?;
    Ok(began.elapsed())
}

/// A house with one instant provider, a programme, a cycle, and money enough.
async fn house(url: &str, payroll: &Payroll<'_>) -> Result<(Arc<Engine>, Actor, Actor)> {
    let (declared, currency) = (payroll.declared, payroll.currency);
    let mut engine = Engine::new(Store::open(url, true).await?, Clock::System);
    engine.providers.push(provider());
    let engine = Arc::new(engine);
    let scope = said(engine.tenant("bench").await)?;
    let [maker, checker] = ["maker", "checker"].map(|person| Actor { scope, person: person.to_owned() });
    let code = String::from("bench");
    let request = ProgrammeRequest {
        code,
        name: String::from("Bench"),
        currency,
        all_or_nothing: false,
        amount_minor_max: None,
        shared_account_max: None,
    };
    said(engine.save_programme(&checker, &request).await)?;
    let day = chrono::DateTime::from_timestamp_micros(engine.clock.now()).unwrap_or_default().date_naive();
    let cycle = CycleRequest { code: String::from("c"), first_day: day, last_day: day };
    said(engine.make_cycle(&checker, "bench", &cycle).await)?;
    said(engine.fund(&checker, "bench", declared.sum_minor, "").await)?;
    Ok((engine, maker, checker))
}

fn provider() -> Provider {
    Provider {
        name: String::from("bench"),
        routes: Route::parse("*@bench").into_iter().collect(),
        connector: Arc::new(instant::Instant::new()),
        callback_secret: None,
    }
}

fn work_terms() -> WorkTerms {
    WorkTerms { sweep: Duration::from_millis(100), poll: Duration::from_millis(40), ..WorkTerms::default() }
}

/// Takes the payroll in and lets it go; also how long the intake took.
async fn pay(
    engine: &Engine,
    (maker, checker): (&Actor, &Actor),
    payroll: &Payroll<'_>,
) -> Result<(PayrollRow, Duration)> {
    let began = Instant::now();
    let request = IntakeRequest {
        programme: String::from("bench"),
        cycle: String::from("c"),
        kind: PayrollKind::Payment,
        declared: payroll.declared,
        pay_on: None,
        idempotency_key: None,
        file: payroll.file.to_owned(),
    };
    let row = said(engine.take_in(maker, &request).await)?;
    ensure!(row.state == PayrollState::Draft, "refused: {:?}", row.refusal);
    let intake = began.elapsed();
    said(engine.submit_payroll(maker, row.id).await)?;
    said(engine.approve_payroll(checker, row.id).await)?;
    said(engine.release_payroll(checker, row.id).await)?;
    Ok((row, intake))
}

async fn product_round(base: &str, name: &str, payroll: &Payroll<'_>, round: &mut Round) -> Result<()> {
    let (engine, maker, checker) = house(&floor::fresh(base, name).await?, payroll).await?;
    let scope = maker.scope;
    let (stop, stopping) = watch::channel(false);
    let working = tokio::spawn(jobs::run(engine.clone(), work_terms(), stopping));
    floor::checkpoint(&engine.store).await;
    let (wal_before, meter_before) = (floor::counted(&engine.store).await?, meter::read());
    let began = Instant::now();
    let (row, intake) = pay(&engine, (&maker, &checker), payroll).await?;
    round.intake = intake;
    while said(engine.payroll_state(&scope, row.id).await)? != PayrollState::Completed {
        ensure!(began.elapsed() < ROUND_MAX, "the payroll is stuck");
        tokio::time::sleep(LOOK_EVERY).await;
    }
    round.whole = began.elapsed();
    let meter_after = meter::read();
    round.accepted = row.accepted.payments;
    (round.round_trips, round.commits) = (meter_after.0 - meter_before.0, meter_after.1 - meter_before.1);
    let _ = stop.send(true);
    working.await??;
    if let (Some(before), Some(after)) = (wal_before, floor::counted(&engine.store).await?) {
        (round.wal_bytes, round.hot_per_mille) = (after.0 - before.0, after.1);
    }
    ensure!(
        round.hot_per_mille == 0 || round.hot_per_mille >= HOT_PER_MILLE_MIN,
        "only {} in a thousand updates stayed on their page",
        round.hot_per_mille
    );
    let found = engine.verify().await?;
    ensure!(found.findings.is_empty(), "the books do not hold: {:?}", found.findings);
    engine.store.db.close().await;
    drop(engine);
    floor::drop(base, name).await
}

fn seconds(time: Duration) -> String {
    format!("{}.{:03} s", time.as_secs(), time.subsec_millis())
}

impl Round {
    fn line(&self) -> String {
        format!(
            "floor load {}, settle {}; product intake {}, whole {}",
            seconds(self.floor_load),
            seconds(self.floor_settle),
            seconds(self.intake),
            seconds(self.whole)
        )
    }
}

/// The middle one of an odd number of values, the upper middle one of an even number.
fn median_of<T: Ord + Copy>(mut values: Vec<T>) -> Option<T> {
    values.sort_unstable();
    values.get(values.len() / 2).copied()
}

fn median<T: Ord + Copy>(rounds: &[Round], value: impl Fn(&Round) -> T) -> Option<T> {
    median_of(rounds.iter().map(value).collect())
}

/// Thousandths of one duration over another.
fn ratio(above: Duration, below: Duration) -> u128 {
    above.as_micros() * 1_000 / below.as_micros().max(1)
}

fn thousandths(value: u128) -> String {
    format!("{}.{:03}", value / 1_000, value % 1_000)
}

fn tell(screen: Screen, (rounds, recoveries): (&[Round], &[Recovery]), database: &str, rows: u64) -> Result<()> {
    let middle = |value: fn(&Round) -> Duration| median(rounds, value).unwrap_or_default();
    let (floor_load, floor_settle) = (middle(|round| round.floor_load), middle(|round| round.floor_settle));
    let (intake, whole) = (middle(|round| round.intake), middle(|round| round.whole));
    let intake_ratio = median(rounds, |round| ratio(round.intake, round.floor_load)).unwrap_or(0);
    let whole_ratio = median(rounds, |round| ratio(round.whole, round.floor_load + round.floor_settle)).unwrap_or(0);
    let yardstick_ratio = median(rounds, |round| ratio(round.floor_load, round.yardstick)).unwrap_or(0);
    let last = rounds.last().copied().unwrap_or_default();
    let payments = u128::from(last.accepted.unsigned_abs()).max(1);
    let per_payment = |value: u64| format!("0.{:06}", u128::from(value) * 1_000_000 / payments);
    let micros = |time: Duration| thousandths(time.as_nanos() / payments);
    let peak_kib = peak_memory_kib().unwrap_or(0);
    screen.line(format!("{rows} rows on {database}, median of {} rounds", rounds.len()));
    screen.line(format!("  intake / floor              {}", thousandths(intake_ratio)));
    screen.line(format!("  whole payroll / floor       {}", thousandths(whole_ratio)));
    let recovery_ratio = median_of(recoveries.iter().map(|one| ratio(one.killed, one.undisturbed)).collect());
    if let Some(recovery_ratio) = recovery_ratio {
        screen.line(format!("  killed half way / not       {}", thousandths(recovery_ratio)));
    }
    screen.line(format!("  floor load / yardstick      {}", thousandths(yardstick_ratio)));
    screen.line(format!(
        "  microseconds a payment      floor {} + {}, intake {}, whole {}",
        micros(floor_load),
        micros(floor_settle),
        micros(intake),
        micros(whole)
    ));
    screen.line(format!(
        "  round trips, commits        {} and {} a payment",
        per_payment(last.round_trips),
        per_payment(last.commits)
    ));
    screen.line(format!(
        "  write-ahead log             {} bytes a payment; {} in a thousand updates stayed on their page",
        u128::from(last.wal_bytes.unsigned_abs()) / payments,
        last.hot_per_mille
    ));
    screen.line(format!("  peak memory                 {} MiB", peak_kib / 1_024));
    if screen.json {
        let number = |text: String| text.parse::<serde_json::Number>().map(serde_json::Value::Number);
        screen.object(&json!({
            "rows": rows, "database": database, "rounds": rounds.len(),
            "intake_ratio": number(thousandths(intake_ratio))?, "whole_ratio": number(thousandths(whole_ratio))?,
            "recovery_ratio": recovery_ratio.map(|ratio| number(thousandths(ratio))).transpose()?,
            "floor_to_yardstick": number(thousandths(yardstick_ratio))?,
            "floor_load_seconds": floor_load.as_secs_f64(), "floor_settle_seconds": floor_settle.as_secs_f64(),
            "intake_seconds": intake.as_secs_f64(), "whole_seconds": whole.as_secs_f64(),
            "round_trips_per_payment": number(per_payment(last.round_trips))?, "commits_per_payment": number(per_payment(last.commits))?,
            "wal_bytes_per_payment": u128::from(last.wal_bytes.unsigned_abs()) / payments, "hot_per_mille": last.hot_per_mille,
            "peak_memory_kib": peak_kib,
        }));
    }
    Ok(())
}

/// Highest memory of this process so far, where the system tells.
fn peak_memory_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}
