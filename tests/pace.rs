//! The pace of a provider over several engines on one database: its rate, what it asks for, when it is left alone,
//! how much it is given at once, and what is done first. The connector here writes down when it was let through.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt;
use paymaster::clock::{Clock, Simulated};
use paymaster::domain::disbursement::State;
use paymaster::domain::id::{Batch as BatchId, Id};
use paymaster::domain::payroll::PayrollState;
use paymaster::engine::{Engine, Provider, Route};
use paymaster::store::Store;
use paymaster::store::payroll::PayrollRow;
use paymaster::values;
use paymaster_connectors::contract::{
    Batch, Connector, Failure, Finality, Gate, Inquiry, Message, Outcome, Profile, Reason, ReasonClass, Reference,
    Report, Said, Source,
};

use crate::on_both;
use crate::world::{Database, World, borrowed, rows};

/// Writes of one batch that are under way at once.
const WRITES_AT_ONCE: usize = 16;
/// Longest wait for a test that would otherwise hang.
const PATIENCE: Duration = Duration::from_secs(120);

type Meanwhile = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What the provider does, and what was done to it.
struct Script {
    profile: Profile,
    /// What the next sends come to, the last of them first; well when there is none.
    failures: Mutex<Vec<Failure>>,
    /// Happens during the next send, after this many writes.
    meanwhile: Mutex<Option<(usize, Meanwhile)>>,
    /// Sends that must be under way together before any of them goes on.
    together: Option<tokio::sync::Barrier>,
    /// Instants of all writes.
    writes: Mutex<Vec<i64>>,
    /// What was sent, batch by batch.
    sent: Mutex<Vec<Reference>>,
    asked: Mutex<Vec<Reference>>,
    under_way: AtomicI64,
    most_under_way: AtomicI64,
}

impl Script {
    fn new(profile: Profile) -> Arc<Self> {
        Arc::new(Self {
            profile,
            failures: Mutex::default(),
            meanwhile: Mutex::default(),
            together: None,
            writes: Mutex::default(),
            sent: Mutex::default(),
            asked: Mutex::default(),
            under_way: AtomicI64::new(0),
            most_under_way: AtomicI64::new(0),
        })
    }

    fn sent(&self) -> usize {
        self.sent.lock().unwrap().len()
    }
}

/// The provider as one engine sees it.
struct Paced(Arc<Script>, Clock);

#[async_trait]
impl Connector for Paced {
    fn profile(&self) -> &Profile {
        &self.0.profile
    }

    fn encode(&self, _batch: &Batch) -> Result<Vec<u8>, Failure> {
        Ok(b"wire".to_vec())
    }

    async fn submit(&self, batch: &Batch, _wire: &[u8], gate: &dyn Gate, said: &mut dyn Said) -> Result<(), Failure> {
        let script = &self.0;
        script.sent.lock().unwrap().push(batch.reference);
        let under_way = script.under_way.fetch_add(1, Ordering::SeqCst) + 1;
        script.most_under_way.fetch_max(under_way, Ordering::SeqCst);
        if let Some(together) = &script.together {
            together.wait().await;
        }
        let done = self.write_all(batch, gate, said).await;
        script.under_way.fetch_sub(1, Ordering::SeqCst);
        done
    }

    async fn inquire(&self, batch: &Batch, said: &mut dyn Said) -> Result<(), Failure> {
        self.0.asked.lock().unwrap().push(batch.reference);
        let reports = batch.instructions.iter().map(|one| Report::instruction(one.reference, Outcome::Settled));
        say(said, Source::Inquiry, reports.collect()).await;
        Ok(())
    }
}

impl Paced {
    async fn write_all(&self, batch: &Batch, gate: &dyn Gate, said: &mut dyn Said) -> Result<(), Failure> {
        let failure = self.0.failures.lock().unwrap().pop();
        if let Some(failure) = failure {
            return Err(failure);
        }
        let meanwhile = self.0.meanwhile.lock().unwrap().take();
        let (after, meanwhile) = meanwhile.map_or((usize::MAX, None), |(after, what)| (after, Some(what)));
        let (first, rest) = batch.instructions.split_at(after.min(batch.instructions.len()));
        let mut reports = self.write(first, gate).await;
        if let Some(meanwhile) = meanwhile {
            meanwhile.await;
        }
        reports.extend(self.write(rest, gate).await);
        say(said, Source::Reply, reports).await;
        Ok(())
    }

    async fn write(&self, some: &[paymaster_connectors::contract::Instruction], gate: &dyn Gate) -> Vec<Report> {
        let one = |reference: Reference| async move {
            let outcome = match gate.pass(1).await {
                Ok(()) => {
                    self.0.writes.lock().unwrap().push(self.1.now());
                    Outcome::Settled
                }
                Err(Failure::Unavailable { reason, .. }) => Outcome::NotSent(reason),
                Err(other) => panic!("a gate says later or nothing: {other}"),
            };
            Report::instruction(reference, outcome)
        };
        let references: Vec<Reference> = some.iter().map(|one| one.reference).collect();
        futures_util::stream::iter(references).map(one).buffer_unordered(WRITES_AT_ONCE).collect().await
    }
}

async fn say(said: &mut dyn Said, source: Source, reports: Vec<Report>) {
    said.say(Message { source, origin: "test".to_owned(), bytes: "{}".into() }, reports).await.unwrap();
}

fn unavailable(retry_after_seconds: Option<u64>) -> Failure {
    Failure::Unavailable { reason: Reason::new(ReasonClass::NotExecuted, "http_503", "later"), retry_after_seconds }
}

/// One payment a batch, eight batches at once, believed at its word.
fn plain() -> Profile {
    Profile {
        inquiry: Inquiry::Direct,
        finality: Finality::Reply,
        items_max: 1,
        batches_in_flight: 8,
        inquire_every: Duration::from_secs(1),
        inquire_every_max: Duration::from_secs(60),
        ..Profile::worst()
    }
}

/// Several engines with this provider on one database, and a payroll of `count` rows that is released.
struct Stage {
    world: World,
    script: Arc<Script>,
    /// The first is the world's own.
    engines: Vec<Arc<Engine>>,
    payroll: PayrollRow,
}

impl Stage {
    async fn new(database: Database, script: Arc<Script>, count: usize, engines: usize) -> Self {
        let mut world = World::new(database).await;
        let clock = world.engine.clock.clone();
        let paced = || Arc::new(Paced(script.clone(), clock.clone()));
        Arc::get_mut(&mut world.engine).unwrap().providers[0].connector = paced();
        let mut all = vec![world.engine.clone()];
        for _ in 1..engines {
            all.push(Arc::new(another(&world.url, clock.clone(), paced()).await));
        }
        let rows = rows(count);
        let payroll = world.take_in(&borrowed(&rows)).await;
        world.release(payroll.id).await;
        Self { world, script, engines: all, payroll }
    }

    async fn batches(&self) -> Vec<Id<BatchId>> {
        let found = self.world.engine.batches(&self.world.maker.scope, self.payroll.id, 0, 1_000).await.unwrap();
        found.into_iter().map(|batch| batch.id).collect()
    }

    fn fail(&self, failures: impl IntoIterator<Item = Failure>) {
        let mut all: Vec<Failure> = failures.into_iter().collect();
        all.reverse();
        *self.script.failures.lock().unwrap() = all;
    }

    /// What is due for the last engine.
    async fn due(&self) -> Vec<i64> {
        self.engines.last().unwrap().due().await.unwrap().batches
    }

    async fn closed_until(&self) -> Option<i64> {
        self.engines.last().unwrap().provider_standings().await.unwrap()[0].closed_until
    }

    async fn all_settled(&self) {
        self.world.complete(self.payroll.id).await;
        let states = self.world.states(self.payroll.id).await;
        assert!(states.values().all(|(state, _)| *state == State::Settled), "{states:?}");
        self.world.verified().await;
    }
}

async fn another(url: &str, clock: Clock, connector: Arc<dyn Connector>) -> Engine {
    let mut engine = Engine::new(Store::open(url, false).await.unwrap(), clock);
    let routes = vec![Route::parse("mobile:*@mobile-op").unwrap()];
    engine.providers.push(Provider { name: "mobile-op".to_owned(), routes, connector, callback_secret: None });
    engine
}

on_both! {
    /// Time passes four times as slowly as it does outside, so that a busy machine does not matter.
    async fn a_rate_is_used_and_never_passed_by_two_engines_together(database) {
        const RATE: usize = 200;
        const ROWS: usize = 400;
        let script = Script::new(Profile { items_max: 40, batches_in_flight: 100, rate_per_second: 200, ..plain() });
        let stage = Stage::new(database, script, ROWS, 2).await;
        let Clock::Fixed(clock) = stage.world.engine.clock.clone() else { panic!("the world's clock is moved by hand") };
        let ticking = tokio::spawn(async move {
            let mut ticks = tokio::time::interval(Duration::from_millis(2));
            loop {
                ticks.tick().await;
                clock.fetch_add(500, Ordering::SeqCst);
            }
        });
        let mut driven = tokio::task::JoinSet::new();
        for (position, id) in stage.batches().await.into_iter().enumerate() {
            let engine = stage.engines[position % 2].clone();
            driven.spawn(async move { engine.drive(id).await.unwrap() });
        }
        driven.join_all().await;
        ticking.abort();
        let mut writes = stage.script.writes.lock().unwrap().clone();
        writes.sort_unstable();
        assert_eq!(writes.len(), ROWS);
        for pair in writes.windows(RATE + 1) {
            assert!(pair[RATE] - pair[0] >= 1_000_000, "{} payments in {} µs", RATE + 1, pair[RATE] - pair[0]);
        }
        let took = writes[ROWS - 1] - writes[0];
        let at_the_rate = i64::try_from(ROWS * 1_000_000 / RATE).unwrap();
        assert!(took * 95 <= at_the_rate * 100, "{ROWS} payments took {took} µs");
        stage.all_settled().await;
    }
}

on_both! {
    /// A provider without a rate has no slots, and a lease that would end before the slot lets nothing through.
    async fn a_slot_beyond_the_lease_is_not_waited_for(database) {
        let script = Script::new(Profile { items_max: 2, rate_per_second: 1, ..plain() });
        let stage = Stage::new(database, script, 2, 1).await;
        let (store, now) = (&stage.world.engine.store, stage.world.engine.clock.now());
        let mut tx = store.begin().await.unwrap();
        let sql = "INSERT INTO pace (provider, next_slot_at) VALUES ('mobile-op', $1)";
        tx.execute(sql, values![now + 3_600_000_000]).await.unwrap();
        tx.commit().await.unwrap();
        stage.world.step().await;
        assert_eq!((stage.script.sent(), stage.script.writes.lock().unwrap().len()), (1, 0));
        assert_eq!(stage.closed_until().await, None, "it was not the provider that failed");
        let mut tx = store.begin().await.unwrap();
        let slot = tx.one("SELECT next_slot_at FROM pace", &[]).await.unwrap().int(0).unwrap();
        assert_eq!(slot, now + 3_600_000_000, "nothing was reserved");
        tx.execute("UPDATE pace SET next_slot_at = 0", &[]).await.unwrap();
        tx.commit().await.unwrap();
        let states = stage.world.states(stage.payroll.id).await;
        assert!(states.values().all(|(state, _)| *state == State::Queued), "{states:?}");
    }
}

on_both! {
    /// "In thirty seconds" is heard by one engine and kept by both, for sends and for questions.
    async fn what_a_provider_asks_for_is_kept_by_all(database) {
        let stage = Stage::new(database, Script::new(plain()), 3, 2).await;
        let ids = stage.batches().await;
        stage.fail([Failure::InDoubt(Reason::unknown("timeout", "")), unavailable(Some(30))]);
        for id in &ids[..2] {
            stage.engines[0].drive(*id).await.unwrap();
        }
        let until = stage.closed_until().await.unwrap();
        assert_eq!(until - stage.world.engine.clock.now(), 30_000_000);
        stage.world.pass_seconds(29);
        assert_eq!(stage.due().await, Vec::<i64>::new());
        for id in &ids {
            stage.engines[1].drive(*id).await.unwrap();
        }
        assert_eq!((stage.script.sent(), stage.script.asked.lock().unwrap().len()), (2, 0));
        stage.world.pass_seconds(1);
        assert_eq!(stage.due().await.len(), 3);
        stage.engines[1].drive(ids[2]).await.unwrap();
        assert_eq!(stage.script.sent(), 3);
        stage.all_settled().await;
    }
}

on_both! {
    /// Five failures in a row over both engines, one of them a doubt; then one try at a time, until one is well.
    async fn a_provider_that_fails_is_left_alone_and_tried_again(database) {
        let stage = Stage::new(database, Script::new(plain()), 8, 2).await;
        let ids = stage.batches().await;
        let doubt = Failure::InDoubt(Reason::unknown("timeout", ""));
        stage.fail([unavailable(None), doubt, unavailable(None), unavailable(None), unavailable(None), unavailable(None)]);
        for (position, id) in ids.iter().enumerate() {
            stage.engines[position % 2].drive(*id).await.unwrap();
        }
        assert_eq!(stage.script.sent(), 5, "the rest was not tried");
        assert_eq!(stage.closed_until().await.unwrap() - stage.world.engine.clock.now(), 1_000_000);
        stage.world.pass_seconds(1);
        // While one engine tries, the other does not.
        let (other, second) = (stage.engines[1].clone(), ids[7]);
        let tried = stage.due().await;
        assert_eq!(tried.len(), 1, "one is told of, not all");
        // The sixth failure comes before its time; what happens meanwhile is told by the next.
        stage.engines[0].drive(ids[5]).await.unwrap();
        assert_eq!(stage.script.sent(), 6);
        assert_eq!(stage.closed_until().await.unwrap() - stage.world.engine.clock.now(), 2_000_000, "longer each time");
        stage.world.pass_seconds(2);
        *stage.script.meanwhile.lock().unwrap() = Some((0, Box::pin(async move { other.drive(second).await.unwrap() })));
        stage.engines[0].drive(ids[6]).await.unwrap();
        assert_eq!(stage.script.sent(), 7, "only the one that tried");
        assert_eq!(stage.closed_until().await, None);
        let standing = &stage.engines[1].provider_standings().await.unwrap()[0];
        assert_eq!((standing.failures, standing.batches_in_hand), (0, 0));
        stage.engines[1].drive(second).await.unwrap();
        assert_eq!(stage.script.sent(), 8);
        stage.all_settled().await;
    }
}

on_both! {
    /// Sends go on three at a time and never otherwise: more is not allowed, and with less the test would hang.
    async fn lanes_are_used_and_never_passed_by_four_engines(database) {
        let script = Script::new(Profile { batches_in_flight: 3, ..plain() });
        let script = Arc::new(Script { together: Some(tokio::sync::Barrier::new(3)), ..Arc::into_inner(script).unwrap() });
        let stage = Stage::new(database, script, 21, 4).await;
        let (scope, id) = (stage.world.maker.scope, stage.payroll.id);
        let mut working = tokio::task::JoinSet::new();
        for engine in stage.engines.clone() {
            working.spawn(async move {
                while engine.payroll_state(&scope, id).await.unwrap() != PayrollState::Completed {
                    let mut driven = tokio::task::JoinSet::new();
                    for number in engine.due().await.unwrap().batches {
                        let engine = engine.clone();
                        driven.spawn(async move { engine.drive(Id::new(number)).await.unwrap() });
                    }
                    driven.join_all().await;
                }
            });
        }
        tokio::time::timeout(PATIENCE, working.join_all()).await.unwrap();
        assert_eq!(stage.script.most_under_way.load(Ordering::SeqCst), 3);
        assert_eq!(stage.script.sent(), 21, "each was sent once");
        stage.all_settled().await;
    }
}

on_both! {
    /// More paused batches than are told of at once, all due before the one that may go.
    async fn what_must_not_be_sent_does_not_starve_the_rest(database) {
        let script = Script::new(Profile { batches_in_flight: 100, ..plain() });
        let stage = Stage::new(database, script, 510, 1).await;
        let world = &stage.world;
        world.engine.pause_payroll(&world.checker, stage.payroll.id, true).await.unwrap();
        world.pass_seconds(1);
        let other = world.take_in(&[("X1", "10.00", "mobile:+254799999999@mobile-op")]).await;
        world.release(other.id).await;
        let wanted = world.engine.batches(&world.maker.scope, other.id, 0, 10).await.unwrap()[0].id;
        assert_eq!(stage.due().await, [wanted.number()]);
        world.pass_seconds(20);
        let programme = world.engine.programme(&world.maker.scope, "cash").await.unwrap().id;
        for provider in [true, false] {
            if provider {
                world.engine.pause_provider("mobile-op", Some("test")).await.unwrap();
            } else {
                world.engine.pause_programme(programme, Some("test")).await.unwrap();
            }
            assert_eq!(stage.due().await, Vec::<i64>::new());
            world.engine.pause_provider("mobile-op", None).await.unwrap();
        }
        world.engine.pause_programme(programme, None).await.unwrap();
        assert_eq!(stage.due().await, [wanted.number()]);
        world.engine.pause_payroll(&world.checker, stage.payroll.id, false).await.unwrap();
        assert_eq!(stage.due().await.len(), 500);
    }
}

on_both! {
    /// Doubts before everything else, and among them the one whose first copy is oldest.
    async fn the_oldest_doubt_comes_first(database) {
        let stage = Stage::new(database, Script::new(plain()), 4, 1).await;
        let ids = stage.batches().await;
        let doubt = || Failure::InDoubt(Reason::unknown("timeout", ""));
        for id in [ids[2], ids[1]] {
            stage.fail([doubt()]);
            stage.world.engine.drive(id).await.unwrap();
            stage.world.pass_seconds(5);
        }
        let wanted = [ids[2], ids[1], ids[0], ids[3]].map(Id::number);
        let due = stage.due().await;
        assert_eq!(due[..2], wanted[..2]);
        assert_eq!(due.len(), 4);
        stage.all_settled().await;
    }
}

on_both! {
    /// A pause in the middle of a batch that is written payment by payment: half a second later nothing more leaves,
    /// and what did not leave waits, untouched.
    async fn a_pause_stops_a_batch_in_the_middle(database) {
        for code in ["provider", "programme", "payroll"] {
            let script = Script::new(Profile { items_max: 40, ..plain() });
            let stage = Stage::new(database, script.clone(), 40, 1).await;
            let world = &stage.world;
            let simulated = Arc::new(Simulated::new(world.engine.clock.now()));
            let clock = Clock::Simulated(simulated.clone());
            let worker = another(&world.url, clock.clone(), Arc::new(Paced(script.clone(), clock))).await;
            let (engine, checker, id) = (world.engine.clone(), world.checker.clone(), stage.payroll.id);
            let programme = engine.programme(&world.maker.scope, "cash").await.unwrap().id;
            let pause = async move {
                match code {
                    "provider" => engine.pause_provider("mobile-op", Some("test")).await.unwrap(),
                    "programme" => engine.pause_programme(programme, Some("test")).await.unwrap(),
                    _ => engine.pause_payroll(&checker, id, true).await.unwrap(),
                }
                simulated.passed.fetch_add(500_000, Ordering::SeqCst);
            };
            *script.meanwhile.lock().unwrap() = Some((15, Box::pin(pause)));
            worker.drive(stage.batches().await[0]).await.unwrap();
            assert_eq!(script.writes.lock().unwrap().len(), 15, "{code}");
            let states = world.states(stage.payroll.id).await;
            let count = |wanted: State| states.values().filter(|(state, _)| *state == wanted).count();
            assert_eq!((count(State::Settled), count(State::Queued)), (15, 25), "{code}");
            world.pass_seconds(60);
            assert_eq!(stage.due().await, Vec::<i64>::new(), "{code}");
            world.engine.pause_provider("mobile-op", None).await.unwrap();
            world.engine.pause_programme(programme, None).await.unwrap();
            world.engine.pause_payroll(&world.checker, stage.payroll.id, false).await.unwrap();
            stage.all_settled().await;
            assert_eq!(script.writes.lock().unwrap().len(), 40, "{code}");
        }
    }
}
