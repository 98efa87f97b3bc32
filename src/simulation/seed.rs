//! One seed from beginning to end: a programme, a payroll or two, a storm, a calm, a judgement.
//! Deliberately not here: how anything works.

use std::path::Path;

use anyhow::{Result, ensure};

use super::audit::{self, Verdict};
use super::line::Terms;
use super::operator::{Kind, Operator};
use super::people;
use super::rare::{Rare, Seen};
use super::stage::{DOOR, Stage, WORKERS, provider_name};
use super::world::{self, Answer, Event, HOUR, SECOND, World};
use crate::chance::Chance;
use crate::domain::payroll::PayrollKind;
use crate::engine::{CycleRequest, IntakeRequest, ProgrammeRequest};
use crate::store::db::Db;
use crate::store::payroll::{PayrollRow, Total};
use crate::store::slate;

/// 2026-11-25 08:00 UTC.
const MORNING: i64 = 1_795_593_600_000_000;
/// Events after which a world that has not come to rest never will.
const EVENTS_MAX: u64 = 20_000;
/// The end of the world if it does not come to rest before.
const END_OF_TIME: i64 = 20 * 24 * HOUR;
/// What the programme has.
const FUNDS_MINOR: i64 = 100_000_000;

/// What one seed came to.
pub(super) struct Ran {
    pub verdict: Verdict,
    pub wrong: Vec<String>,
    pub events: u64,
    pub hash: u64,
    pub seen: Seen,
}

/// Runs one seed on a wiped database.
pub(super) async fn run(db: &Db, folder: &Path, seed: u64) -> Result<Ran> {
    let mut chance = world::chance(seed);
    let world = World::new(chance.any(), MORNING);
    let terms = terms(&mut chance);
    for one in &terms {
        let short = chance.falls(100);
        let float = if short { chance.between(10_000, 60_000) } else { i64::MAX / 4 };
        world.look().operators.push(Operator::new(one.kind, one.window, float));
    }
    let store = slate::store(db).await?;
    let mut stage = Stage::open(world.clone(), store, terms, folder.to_owned()).await?;
    found(&stage).await?;
    for payroll in 0..chance.between(1, 2) {
        pay(&stage, payroll, &mut chance).await?;
    }
    {
        let mut inner = world.look();
        for worker in 0..WORKERS {
            let soon = inner.chance.between(0, 5 * SECOND);
            inner.after(soon, Event::Start(worker));
        }
        inner.after(chance.between(HOUR / 12, HOUR), Event::Calm);
        inner.after(chance.between(60 * SECOND, HOUR), Event::Person);
        if chance.falls(120) {
            inner.to_be_restored = true;
            let backup = chance.between(0, 300 * SECOND);
            inner.after(backup, Event::Backup);
            inner.after(backup + chance.between(SECOND, 900 * SECOND), Event::Restore);
        }
    }
    let mut wrong = play(&mut stage).await?;
    // A world that never comes to rest has somebody who still waits.
    let restless = u64::try_from(wrong.len())?;
    let mut verdict = audit::judge(&stage, &mut wrong).await?;
    verdict.forgotten += restless;
    drop(stage);
    let inner = world.look();
    Ok(Ran { verdict, wrong, events: inner.events, hash: inner.hash, seen: inner.seen })
}

/// Who pays whom: one provider or two, of kinds that the seed chooses.
fn terms(chance: &mut Chance) -> Vec<Terms> {
    let providers = usize::try_from(chance.between(1, 2)).unwrap_or(1);
    let one = |provider| Terms {
        provider,
        kind: Kind::ALL[chance.place(Kind::ALL.len())],
        single: chance.falls(350),
        believed: chance.falls(600),
        doubt_limit: if chance.falls(500) { 30 * 24 * HOUR } else { chance.between(HOUR / 4, 6 * HOUR) },
        window: if chance.falls(500) { 24 * HOUR } else { chance.between(HOUR / 5, HOUR) },
        items_max: u32::try_from(chance.between(1, 5)).unwrap_or(1),
    };
    (0..providers).map(one).collect()
}

/// A programme with a cycle and money.
async fn found(stage: &Stage) -> Result<()> {
    let (engine, checker) = (stage.at_the_door(), &stage.people.checker);
    let programme = ProgrammeRequest {
        code: "cash".to_owned(),
        name: "Cash".to_owned(),
        currency: stage.currency,
        all_or_nothing: false,
        amount_minor_max: None,
        shared_account_max: None,
    };
    engine.save_programme(checker, &programme).await?;
    let cycle =
        CycleRequest { code: "2026-11".to_owned(), first_day: "2026-11-01".parse()?, last_day: "2026-11-30".parse()? };
    engine.make_cycle(checker, "cash", &cycle).await?;
    engine.fund(checker, "cash", FUNDS_MINOR, "simulated").await?;
    Ok(())
}

/// A payroll, made, approved and released.
async fn pay(stage: &Stage, payroll: i64, chance: &mut Chance) -> Result<()> {
    let mut rows = Vec::new();
    for row in 0..chance.between(2, 9) {
        let provider = provider_name(chance.place(stage.terms.len()));
        let account = format!("mobile:+2547{payroll}{row:07}@{provider}");
        rows.push((format!("E{payroll}-{row}"), chance.between(1_000, 20_000), account));
    }
    let taken = hand_in(stage, PayrollKind::Payment, &rows).await?;
    ensure!(taken.accepted == taken.declared, "the payroll was not taken in whole: {:?}", taken.refusal);
    stage.let_out(taken.id).await
}

/// Takes rows `entitlement, minor units, account` in.
pub(super) async fn hand_in(stage: &Stage, kind: PayrollKind, rows: &[(String, i64, String)]) -> Result<PayrollRow> {
    let mut text = String::from("entitlement,beneficiary_id,payee_name,payee_account,amount,currency\n");
    for (entitlement, minor, account) in rows {
        text.push_str(&format!(
            "{entitlement},B-{entitlement},Payee,{account},{}.{:02},KES\n",
            minor / 100,
            minor % 100
        ));
    }
    let file = stage.folder.join("payroll.csv");
    std::fs::write(&file, text)?;
    let declared =
        Total { payments: i64::try_from(rows.len())?, sum_minor: rows.iter().map(|(_, minor, _)| minor).sum() };
    let request = IntakeRequest {
        programme: "cash".to_owned(),
        cycle: "2026-11".to_owned(),
        kind,
        declared,
        pay_on: None,
        idempotency_key: None,
        file,
    };
    Ok(stage.at_the_door().take_in(&stage.people.maker, &request).await?)
}

/// Lets everything happen until the world comes to rest.
async fn play(stage: &mut Stage) -> Result<Vec<String>> {
    let world = stage.world.clone();
    loop {
        let event = world.look().next();
        let Some(event) = event else { return Ok(vec!["the world stood still".to_owned()]) };
        let may_rest = matches!(event, Event::Wake(_) | Event::Reply { .. } | Event::CallBack { .. } | Event::Person);
        happen(stage, event).await?;
        let (now, events, quiet) = {
            let inner = world.look();
            (inner.now, inner.events, inner.is_quiet())
        };
        if may_rest && quiet && stage.unfinished().await? == 0 {
            return Ok(Vec::new());
        }
        if events > EVENTS_MAX || now > MORNING + END_OF_TIME {
            return Ok(vec![format!("no rest after {events} events")]);
        }
    }
}

async fn happen(stage: &mut Stage, event: Event) -> Result<()> {
    let world = stage.world.clone();
    match event {
        Event::Wake(waiter) => go_on(stage, waiter, None).await,
        Event::Reply { call, answer } => go_on(stage, call, Some(answer)).await,
        Event::Arrive { provider, call, request } => stage.arrived(provider, call, request),
        Event::Execute { provider, place } => stage.execute(provider, place),
        Event::GiveBack { provider, place } => stage.give_back(provider, place),
        Event::CallBack { provider, place, word, tries } => stage.called((provider, place), word, tries).await,
        Event::Kill(worker) => stage.kill(worker),
        Event::Start(worker) => stage.start(worker).await,
        Event::Sleep { worker, micros, suspended } => stage.sleep(worker, micros, suspended),
        Event::Rouse(worker) => stage.rouse(worker).await,
        Event::Person => people::look_in(stage).await?,
        Event::Backup => slate::copy(&stage.store.db, false).await?,
        Event::Restore => restore(stage).await?,
        Event::Calm => world.look().storm = false,
    }
    Ok(())
}

/// Ends a wait, and goes on with whoever waited.
async fn go_on(stage: &mut Stage, waiter: u64, answer: Option<Answer>) {
    let woken = stage.world.look().end(waiter, answer);
    if let Some(task) = woken {
        stage.run(task).await;
    }
}

/// Everybody is stopped, the copy is put back, a person says so, and everybody begins again.
async fn restore(stage: &mut Stage) -> Result<()> {
    for worker in 0..=DOOR {
        stage.kill(worker);
    }
    slate::copy(&stage.store.db, true).await?;
    stage.start(DOOR).await;
    stage.at_the_door().restored("bruno", None).await?;
    let mut inner = stage.world.look();
    inner.note(Rare::Restored);
    inner.to_be_restored = false;
    inner.tell_returns_again();
    Ok(())
}
