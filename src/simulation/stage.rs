//! The stage: workers as tasks that are run one at a time, each until it waits for something simulated.
//!
//! Between two waits a task has the database to itself; where it waits, it may be killed, put to sleep, or overtaken.
//! Deliberately not here: what the events of providers mean (`outside`).

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;

use anyhow::{Context, Result};
use paymaster_connectors::contract::Currency;

use super::actor::{self, Actor, Phase};
use super::line::{Line, Terms};
use super::rare::Rare;
use super::world::{Event, HOUR, SECOND, World};
use crate::clock::{Clock, Simulated};
use crate::domain::id::{Batch, Id, Payroll};
use crate::engine::{Actor as Person, Engine, Provider, Route};
use crate::store::{Store, slate, weather};

/// Workers that drive batches. One more process stands at the door and takes callbacks and people's words.
pub(super) const WORKERS: usize = 3;
/// The process at the door.
pub(super) const DOOR: usize = WORKERS;
/// Shortest time a worker does not look after it found nothing.
const IDLE_MIN: i64 = 2 * SECOND;
/// Longest time a worker does not look, in a storm and after it.
const IDLE_MAX: (i64, i64) = (120 * SECOND, 4 * HOUR);
/// How far the clocks of two workers may differ. Fences and quiet times must bear it.
const SKEW_MAX: i64 = 2 * SECOND;

type Running = Pin<Box<dyn Future<Output = ()>>>;

struct Task {
    worker: usize,
    future: Running,
}

/// One process.
struct Process {
    engine: Arc<Engine>,
    actor: Actor,
    clock: Arc<Simulated>,
    alive: bool,
    /// Until when it sleeps; its tasks wait with it.
    asleep: bool,
    deferred: Vec<u64>,
    /// What its own clock is ahead of the world's, and how long that clock stood still.
    skew: i64,
    stood_still: i64,
}

/// A maker and a checker.
#[derive(Clone)]
pub(super) struct People {
    pub maker: Person,
    pub checker: Person,
}

/// Everything that runs.
pub(super) struct Stage {
    pub world: Arc<World>,
    pub store: Store,
    pub terms: Vec<Terms>,
    pub currency: Currency,
    pub folder: PathBuf,
    pub people: People,
    processes: Vec<Process>,
    tasks: BTreeMap<u64, Task>,
    last_task: u64,
}

impl Stage {
    pub async fn open(world: Arc<World>, store: Store, terms: Vec<Terms>, folder: PathBuf) -> Result<Self> {
        let currency = Currency::parse("KES").context("no KES")?;
        let clock = Clock::Simulated(Arc::new(Simulated::new(world.look().now)));
        let scope = Engine::new(store.afresh(), clock).tenant("sim").await?;
        let [maker, checker] = ["amina", "bruno"].map(|person| Person { scope, person: person.to_owned() });
        let people = People { maker, checker };
        let (processes, tasks, last_task) = (Vec::new(), BTreeMap::new(), 0);
        let mut stage = Self { world, store, terms, currency, folder, people, processes, tasks, last_task };
        for worker in 0..=DOOR {
            // Workers begin when an event says so; the door is open from the start.
            let process = Process { alive: worker == DOOR, ..stage.process(worker) };
            stage.processes.push(process);
        }
        Ok(stage)
    }

    /// A process as it starts: nothing in its memory.
    fn process(&self, worker: usize) -> Process {
        let mut inner = self.world.look();
        let skew = inner.chance.between(-SKEW_MAX, SKEW_MAX);
        let clock = Arc::new(Simulated::new(inner.now + skew));
        drop(inner);
        let actor = Actor::new(self.world.clone(), worker);
        let mut engine = Engine::new(self.store.afresh(), Clock::Simulated(clock.clone()));
        engine.providers = self.terms.iter().map(|terms| self.provider(terms, &actor)).collect();
        Process {
            engine: Arc::new(engine),
            actor,
            clock,
            alive: true,
            asleep: false,
            deferred: Vec::new(),
            skew,
            stood_still: 0,
        }
    }

    fn provider(&self, terms: &Terms, actor: &Actor) -> Provider {
        let name = provider_name(terms.provider);
        let line =
            Line { actor: actor.clone(), terms: terms.clone(), profile: terms.profile(), currency: self.currency };
        Provider {
            routes: vec![Route { scheme: "mobile".to_owned(), provider: name.clone() }],
            name,
            connector: Arc::new(line),
            callback_secret: Some("secret".to_owned()),
        }
    }

    pub fn engine(&self, worker: usize) -> Arc<Engine> {
        self.processes[worker].engine.clone()
    }

    pub fn is_up(&self, worker: usize) -> bool {
        self.processes[worker].alive
    }

    /// Adds a task to a process and runs it until it waits.
    pub async fn spawn(&mut self, worker: usize, future: impl Future<Output = ()> + 'static) {
        self.last_task += 1;
        let number = self.last_task;
        let weather = Arc::new(self.processes[worker].actor.clone());
        let future = Box::pin(actor::as_task(number, weather::around(weather, future)));
        self.tasks.insert(number, Task { worker, future });
        self.run(number).await;
    }

    /// Goes on with a task until it waits again.
    pub async fn run(&mut self, number: u64) {
        let Some(mut task) = self.tasks.remove(&number) else { return };
        let process = &mut self.processes[task.worker];
        if process.asleep {
            process.deferred.push(number);
            self.tasks.insert(number, task);
            return;
        }
        let now = self.world.look().now;
        process.clock.now.store(now + process.skew, Ordering::SeqCst);
        process.clock.passed.store(now - process.stood_still, Ordering::SeqCst);
        let world = self.world.clone();
        let ended = poll_fn(|cx| {
            world.look().parked = false;
            match task.future.as_mut().poll(cx) {
                Poll::Ready(()) => Poll::Ready(true),
                Poll::Pending if world.look().parked => Poll::Ready(false),
                Poll::Pending => Poll::Pending,
            }
        })
        .await;
        if !ended {
            self.tasks.insert(number, task);
        }
    }

    pub fn kill(&mut self, worker: usize) {
        let process = &mut self.processes[worker];
        if !process.alive {
            return;
        }
        let mut inner = self.world.look();
        match process.actor.phase() {
            Phase::Sending => inner.note(Rare::KilledBeforeWrite),
            Phase::Waiting => inner.note(Rare::KilledBeforeAnswer),
            Phase::Idle => {}
        }
        let back = inner.chance.between(SECOND, 60 * SECOND);
        inner.after(back, Event::Start(worker));
        drop(inner);
        process.alive = false;
        self.tasks.retain(|_, task| task.worker != worker);
    }

    /// Begins a process anew, if it is dead.
    pub async fn start(&mut self, worker: usize) {
        if !self.processes[worker].alive {
            self.processes[worker] = self.process(worker);
            self.begin(worker).await;
        }
    }

    /// Puts a worker to its work.
    pub async fn begin(&mut self, worker: usize) {
        if worker != DOOR {
            let process = &self.processes[worker];
            let work = work(process.engine.clone(), process.actor.clone());
            self.spawn(worker, work).await;
        }
    }

    pub fn sleep(&mut self, worker: usize, micros: i64, suspended: bool) {
        let process = &mut self.processes[worker];
        if !process.alive || process.asleep {
            return;
        }
        process.asleep = true;
        if suspended {
            process.stood_still += micros;
        }
        self.world.look().after(micros, Event::Rouse(worker));
    }

    pub async fn rouse(&mut self, worker: usize) {
        let process = &mut self.processes[worker];
        process.asleep = false;
        for task in std::mem::take(&mut process.deferred) {
            self.run(task).await;
        }
    }

    /// Does something outside the weather, on the door's clock.
    pub fn at_the_door(&self) -> Arc<Engine> {
        let process = &self.processes[DOOR];
        let now = self.world.look().now;
        process.clock.now.store(now + process.skew, Ordering::SeqCst);
        process.engine.clone()
    }

    /// A payroll that was taken in is approved and released.
    pub async fn let_out(&self, id: Id<Payroll>) -> Result<()> {
        let engine = self.at_the_door();
        engine.submit_payroll(&self.people.maker, id).await?;
        engine.approve_payroll(&self.people.checker, id).await?;
        engine.release_payroll(&self.people.checker, id).await?;
        Ok(())
    }

    /// Payments that still wait for an end, and exceptions that wait for a decision.
    pub async fn unfinished(&self) -> Result<i64> {
        let mut tx = self.store.read().await?;
        slate::unfinished(&mut tx).await
    }
}

pub(super) fn provider_name(provider: usize) -> String {
    format!("p{provider}")
}

/// What a worker does for as long as it lives: look what is due, do it, look again.
async fn work(engine: Arc<Engine>, actor: Actor) {
    loop {
        let due = engine.due().await.map(|due| due.batches).unwrap_or_default();
        let found = !due.is_empty();
        for number in due.into_iter().chain(stray(&engine, &actor).await) {
            // What goes wrong is found again, as in the service.
            let _ = engine.drive(Id::<Batch>::new(number)).await;
        }
        let pause = pause(&engine, &actor, found).await;
        actor.world.wait(actor::task(), pause).await;
    }
}

/// How long until the next look. Looking in vain proves nothing, so that a worker sleeps until something is due.
async fn pause(engine: &Engine, actor: &Actor, found: bool) -> i64 {
    let due = match engine.store.read().await {
        Ok(mut tx) => slate::next_due(&mut tx).await.ok().flatten(),
        Err(_) => None,
    };
    let mut inner = actor.world.look();
    let jitter = inner.chance.between(SECOND / 10, SECOND);
    let most = if inner.storm { IDLE_MAX.0 } else { IDLE_MAX.1 };
    // What is due and not found is stopped by a person, or by a provider that is not well.
    let least = if found { 0 } else { IDLE_MIN };
    let until_due = due.map_or(most, |due| due - inner.now);
    // When it is calm, one is enough.
    if !inner.storm && actor.worker > 0 { most } else { until_due.clamp(least, most) + jitter }
}

/// A job that nobody sent: now and then a worker comes to a batch although another may be at it.
async fn stray(engine: &Engine, actor: &Actor) -> Option<i64> {
    let storm = {
        let mut inner = actor.world.look();
        inner.storm && inner.chance.falls(150)
    };
    if !storm {
        return None;
    }
    let mut tx = engine.store.read().await.ok()?;
    let all = slate::batches(&mut tx).await.ok()?;
    drop(tx);
    let mut inner = actor.world.look();
    inner.note(Rare::CameTwice);
    let place = inner.chance.place(all.len());
    all.get(place).copied()
}
