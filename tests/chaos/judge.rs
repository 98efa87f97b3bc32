//! Holds the books against each other when everything has ended: the operator's ledger as it has it after one more
//! crash, what the registry was told, and ours; and says in one line what there was.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use paymaster::domain::payroll::PayrollState;
use paymaster::engine::{Actor, Engine};
use paymaster_connectors::sandbox::Sandbox;
use serde_json::Value;

use super::feed::Fed;
use super::storm::{Counts, Storm};
use crate::house::{Books, Verdict, paymaster};

/// Payrolls and batches read at once.
const PAGE: i64 = 1_000;
/// A run at least so long must have seen everything.
const LONG: Duration = Duration::from_secs(20);

/// How often one worker may start its two queues again while the database is away.
const RESTARTS_A_SECOND_MAX: usize = 4;

/// A run that has ended.
pub struct Case {
    pub storm: Storm,
    pub engine: Arc<Engine>,
    pub maker: Actor,
    pub config: PathBuf,
    pub registry: Sandbox,
    pub fed: Fed,
    pub lasts: Duration,
    pub raged: Duration,
    pub seed: u64,
}

pub async fn judge(mut case: Case) {
    let workers = case.storm.workers.count();
    case.storm.stop_workers().await;
    let said = case.storm.said();
    let before = asked(&case.storm, "ledger/summary").await;
    case.storm.restart_operator();
    let summary = asked(&case.storm, "ledger/summary").await;
    assert_eq!(summary, before, "the operator forgot what it had paid");
    let mut books = Books::new(case.registry.outcomes());
    for line in asked(&case.storm, "ledger").await.lines() {
        let credit: Value = serde_json::from_str(line).unwrap();
        books.credit(credit["reference"].as_str().unwrap(), credit["amount_minor"].as_i64().unwrap());
    }
    let restarts = said.matches("worker future ended").count();
    let restarts_max = RESTARTS_A_SECOND_MAX * usize::try_from(case.raged.as_secs()).unwrap() * workers;
    assert!(restarts <= restarts_max, "{restarts} restarts of queues: an outage is answered with a storm");
    let (mut verdict, mut resends) = (Verdict::default(), 0);
    for row in case.engine.payrolls(&case.maker.scope, i64::MAX, PAGE).await.unwrap() {
        if row.state == PayrollState::Completed {
            books.compare(&case.engine, &case.maker, row.id, &mut verdict).await;
            let batches = case.engine.batches(&case.maker.scope, row.id, 0, PAGE).await.unwrap();
            resends += batches.iter().filter(|batch| batch.copies > 1).count();
        } else {
            assert!(!case.fed.payrolls.contains(&row.id), "payroll {} is {}", row.id, row.state);
            assert_ne!(row.state, PayrollState::Released, "payroll {} was forgotten", row.id);
        }
    }
    say(&case, &verdict, resends);
    assert_eq!(verdict.wrong, Vec::<String>::new(), "the workers said:\n{said}");
    assert_eq!((verdict.paid_twice, verdict.forgotten), (0, 0));
    assert!(books.credits.is_empty(), "credits that nobody ordered: {:?}", books.credits);
    let summary: Value = serde_json::from_str(&summary).unwrap();
    assert_eq!((&summary["repeated_references"], &summary["sum_minor"]), (&0.into(), &verdict.settled_minor.into()));
    let exceptions = case.engine.exceptions(&case.maker.scope, 0, PAGE).await.unwrap();
    assert!(exceptions.is_empty(), "{exceptions:?}\nthe workers said:\n{said}");
    verified(&case).await;
    was_chaos(&case, resends);
}

/// What the operator shows at its own door. Asked directly: the line may be used by others only.
async fn asked(storm: &Storm, what: &str) -> String {
    let url = format!("http://{}/admin/{what}", storm.operator.address);
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    client.get(url).send().await.unwrap().error_for_status().unwrap().text().await.unwrap()
}

async fn verified(case: &Case) {
    let mut command = paymaster();
    command.arg("--config").arg(&case.config).arg("verify");
    let told = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let (said, failed) = (String::from_utf8_lossy(&told.stdout), String::from_utf8_lossy(&told.stderr));
    assert_eq!(told.status.code(), Some(0), "{said}{failed}");
}

fn say(case: &Case, verdict: &Verdict, resends: usize) {
    let Counts {
        kills,
        stops,
        postgres_restarts,
        operator_restarts,
        cuts,
        refusals,
        slows,
        deafs,
        pauses,
        false_starts,
    } = case.storm.counts;
    println!(
        "chaos seed {}: {} s ({} s to the last end), {} payrolls ({} files given up), {} payments, {kills} kills, {stops} stops, \
         {postgres_restarts} restarts of PostgreSQL, {operator_restarts} provider restarts, {cuts} cuts, \
         {refusals} refused, {slows} slow and {deafs} half-open spells, {pauses} pauses, {false_starts} false starts, \
         {} batches in doubt, {resends} resends, paid_twice {}, forgotten {}",
        case.seed,
        case.lasts.as_secs(),
        case.raged.as_secs(),
        case.fed.payrolls.len(),
        case.fed.given_up,
        verdict.payments,
        case.fed.in_doubt.len(),
        verdict.paid_twice,
        verdict.forgotten,
    );
}

/// A calm day proves nothing.
fn was_chaos(case: &Case, resends: usize) {
    if case.lasts < LONG {
        return;
    }
    let (counts, on_a_server) = (case.storm.counts, case.storm.cluster.is_some());
    let each = [counts.kills, counts.stops, counts.operator_restarts, counts.cuts, counts.refusals];
    let each = each.into_iter().chain([counts.slows, counts.deafs, counts.pauses]);
    assert!(each.into_iter().all(|count| count > 0), "not everything happened: {counts:?}");
    assert!(!on_a_server || counts.postgres_restarts > 0, "PostgreSQL was never restarted");
    assert!(!case.fed.payrolls.is_empty() && !case.fed.in_doubt.is_empty(), "nothing was in doubt");
    assert!(resends > 0, "nothing was sent again");
}
