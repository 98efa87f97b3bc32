//! What happens, when, and how it ends: kills, stops, restarts, cuts and pauses drawn from a seed.
//! Deliberately not here: what is paid meanwhile, and whether it was right.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{ChildStdout, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use paymaster::engine::Engine;
use tokio::task::JoinHandle;

use super::PROVIDERS;
use super::cluster::Cluster;
use super::dice::Dice;
use super::proxy::{Shared, Upstream, Weather, Which};
use crate::house::{LOOK_EVERY, PATIENCE, Program, paymaster};
use crate::world::Folder;

/// Longest wait for a verb in the middle of the storm.
const VERB_TIMEOUT: Duration = Duration::from_secs(3);

/// One thing that happens.
#[derive(Debug, Clone, Copy)]
enum Event {
    Kill,
    Stop,
    Cut(Which),
    Refuse(Which),
    Slow(Which),
    Deafen(Which),
    RestartPostgres(&'static str),
    KillOperator,
    Pause,
}

/// Everything that happens in one round, in an order that is drawn anew for each; so each kind happens soon.
const ROUND: [Event; 20] = [
    Event::Kill,
    Event::Kill,
    Event::Kill,
    Event::Stop,
    Event::Stop,
    Event::Stop,
    Event::Cut(Which::Operator),
    Event::Cut(Which::Registry),
    Event::Cut(Which::Database),
    Event::Refuse(Which::Operator),
    Event::Refuse(Which::Registry),
    Event::Refuse(Which::Database),
    Event::Slow(Which::Operator),
    Event::Slow(Which::Database),
    Event::Deafen(Which::Operator),
    Event::Deafen(Which::Database),
    Event::RestartPostgres("immediate"),
    Event::RestartPostgres("fast"),
    Event::KillOperator,
    Event::Pause,
];

/// What undoes an event.
enum Ending {
    /// Wakes this worker if it is still that program.
    Wake(usize, u32),
    Clear(Which),
    StartOperator,
    Resume(&'static str),
}

/// How often each kind happened.
#[derive(Debug, Default, Clone, Copy)]
pub struct Counts {
    pub kills: u32,
    pub stops: u32,
    pub postgres_restarts: u32,
    pub operator_restarts: u32,
    pub cuts: u32,
    pub refusals: u32,
    pub slows: u32,
    pub deafs: u32,
    pub pauses: u32,
    /// Workers that could not start because the database was away, and were started again.
    pub false_starts: u32,
}

/// The operator as a program of its own, on one ledger however often it starts.
pub struct Operator {
    running: Option<(Program, BufReader<ChildStdout>)>,
    pub address: SocketAddr,
    folder: PathBuf,
    seed: u64,
}

/// The address in a URL such as `http://127.0.0.1:7001/path`.
pub fn address(url: &str) -> SocketAddr {
    url.trim().split('/').nth(2).and_then(|address| address.parse().ok()).unwrap_or_else(|| panic!("{url}?"))
}

impl Operator {
    pub fn new(folder: &Folder, seed: u64) -> Self {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut operator = Self { running: None, address: any, folder: folder.path().to_owned(), seed };
        operator.start();
        operator
    }

    /// It listens, and has read its ledger, when this returns. The line to it hides that its port is another.
    pub fn start(&mut self) {
        let mut command = paymaster();
        command.args(["sandbox", "--operator", "127.0.0.1:0", "--registry", "127.0.0.1:0", "--folder"]);
        command.arg(self.folder.join("operator")).args(["--seed", &self.seed.to_string()]);
        for (fault, per_mille) in [("reject", "50"), ("lose-reply", "40"), ("lose-request", "40")] {
            command.args([&format!("--{fault}-per-mille"), per_mille]);
        }
        let mut program = Program::start(command.stdout(Stdio::piped()), self.folder.join("operator.txt"));
        let mut printed = BufReader::new(program.child.stdout.take().unwrap());
        let mut line = String::new();
        printed.read_line(&mut line).unwrap();
        assert!(line.starts_with("operator http"), "the operator did not start: {}", program.said());
        self.address = address(line.trim_start_matches("operator "));
        self.running = Some((program, printed));
    }

    /// As a power cut would; false when it is down already.
    pub fn kill(&mut self) -> bool {
        let Some((program, _)) = self.running.take() else { return false };
        program.kill();
        true
    }
}

/// The workers, each in its place.
pub struct Workers {
    all: Vec<Program>,
    config: PathBuf,
    folder: PathBuf,
    started: u32,
}

impl Workers {
    pub fn start(count: usize, config: PathBuf, folder: PathBuf) -> Self {
        let mut workers = Self { all: Vec::new(), config, folder, started: 0 };
        for _ in 0..count {
            let worker = workers.fresh();
            workers.all.push(worker);
        }
        workers
    }

    pub fn count(&self) -> usize {
        self.all.len()
    }

    fn fresh(&mut self) -> Program {
        self.started += 1;
        Program::worker(&self.config, self.folder.join(format!("worker-{}.txt", self.started)))
    }

    /// Another worker in the place of this one.
    fn replace(&mut self, place: usize) -> Program {
        let fresh = self.fresh();
        std::mem::replace(&mut self.all[place], fresh)
    }

    /// Starts those again that never came to work because the database was away; as whoever runs them does.
    fn revive(&mut self) -> u32 {
        let mut false_starts = 0;
        for place in 0..self.all.len() {
            if let Some(status) = self.all[place].ended() {
                let said = self.all[place].said();
                assert!(!said.contains("working"), "a worker ended by itself with {status}: {said}");
                self.replace(place);
                false_starts += 1;
            }
        }
        false_starts
    }

    /// Everything any of them has said.
    fn said(&self) -> String {
        let files = (1..=self.started).map(|number| self.folder.join(format!("worker-{number}.txt")));
        files.filter_map(|file| std::fs::read_to_string(file).ok()).collect()
    }
}

/// Everybody who can be hit, and how often each was.
pub struct Storm {
    pub dice: Dice,
    pub engine: Arc<Engine>,
    pub workers: Workers,
    pub operator: Operator,
    pub cluster: Option<Arc<Cluster>>,
    pub lines: Shared,
    pub counts: Counts,
    endings: Vec<(Instant, Ending)>,
    round: Vec<Event>,
    /// A restart of PostgreSQL that is under way.
    restarting: Option<JoinHandle<()>>,
}

/// Who can be hit.
pub struct Parts {
    pub dice: Dice,
    pub engine: Arc<Engine>,
    pub workers: Workers,
    pub operator: Operator,
    pub cluster: Option<Arc<Cluster>>,
    pub lines: Shared,
}

impl Storm {
    pub fn new(parts: Parts) -> Self {
        let Parts { dice, engine, workers, operator, cluster, lines } = parts;
        let (counts, endings, round, restarting) = (Counts::default(), Vec::new(), Vec::new(), None);
        Self { dice, engine, workers, operator, cluster, lines, counts, endings, round, restarting }
    }

    /// For so long, something every 100 to 800 ms. The sleep is the schedule; nothing is waited for by it.
    pub async fn rage(&mut self, lasts: Duration) {
        let end = Instant::now() + lasts;
        let mut next = Instant::now();
        while Instant::now() < end {
            self.watch();
            self.end(|at| at <= Instant::now()).await;
            if Instant::now() >= next {
                let event = self.drawn();
                self.happen(event).await;
                next = Instant::now() + self.dice.millis(100, 800);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    fn drawn(&mut self) -> Event {
        if self.round.is_empty() {
            let on_a_server = self.cluster.is_some();
            let needs_server = |event: &Event| match event {
                Event::RestartPostgres(_) => true,
                Event::Cut(which) | Event::Refuse(which) | Event::Slow(which) | Event::Deafen(which) => {
                    *which == Which::Database
                }
                _ => false,
            };
            self.round = ROUND.into_iter().filter(|event| on_a_server || !needs_server(event)).collect();
            self.dice.shuffle(&mut self.round);
        }
        self.round.pop().unwrap()
    }

    async fn happen(&mut self, event: Event) {
        let place = self.dice.below(self.workers.all.len());
        match event {
            Event::Kill => {
                // One that ended by itself meanwhile is looked into by `watch`.
                if self.workers.all[place].ended().is_none() {
                    self.workers.replace(place).kill();
                    self.counts.kills += 1;
                }
            }
            Event::Stop => {
                let worker = &mut self.workers.all[place];
                if worker.ended().is_none() {
                    worker.signal("STOP");
                    let ending = Ending::Wake(place, worker.child.id());
                    self.counts.stops += 1;
                    self.later((200, 8_000), ending);
                }
            }
            Event::Cut(which) => {
                self.counts.cuts += 1;
                self.lines.get(which).unwrap().cut();
            }
            Event::Refuse(which) => self.weather(which, Weather::Refusing, (200, 2_000)),
            Event::Slow(which) => {
                let most = if which == Which::Database { 200 } else { 1_500 };
                let longer = self.dice.millis(20, most);
                self.weather(which, Weather::Slow(longer), (500, 3_000));
            }
            Event::Deafen(which) => self.weather(which, Weather::Deaf, (500, 5_000)),
            Event::RestartPostgres(mode) => self.restart_postgres(mode).await,
            Event::KillOperator => {
                if self.operator.kill() {
                    self.lines.operator.lead(None);
                    self.counts.operator_restarts += 1;
                    self.later((0, 3_000), Ending::StartOperator);
                }
            }
            Event::Pause => {
                let (provider, _) = PROVIDERS[self.dice.below(PROVIDERS.len())];
                // Even one that failed may have been written.
                self.later((200, 3_000), Ending::Resume(provider));
                self.counts.pauses += u32::from(self.set_pause(provider, Some("chaos")).await);
            }
        }
    }

    /// Other things go on happening meanwhile; a restart that is under way ends before the next begins.
    async fn restart_postgres(&mut self, mode: &'static str) {
        self.postgres_is_back().await;
        let cluster = self.cluster.clone().unwrap();
        self.restarting = Some(tokio::task::spawn_blocking(move || cluster.restart(mode)));
        self.counts.postgres_restarts += 1;
    }

    async fn postgres_is_back(&mut self) {
        if let Some(restarting) = self.restarting.take() {
            restarting.await.unwrap();
        }
    }

    fn weather(&mut self, which: Which, weather: Weather, lasts: (u64, u64)) {
        let count = match weather {
            Weather::Refusing => &mut self.counts.refusals,
            Weather::Slow(_) => &mut self.counts.slows,
            Weather::Clear | Weather::Deaf => &mut self.counts.deafs,
        };
        *count += 1;
        let line = self.lines.get(which).unwrap();
        // Another weather may hold there; what it swallowed must not be missed.
        line.clear();
        line.set(weather);
        self.later(lasts, Ending::Clear(which));
    }

    fn later(&mut self, (low, high): (u64, u64), ending: Ending) {
        self.endings.push((Instant::now() + self.dice.millis(low, high), ending));
    }

    async fn end(&mut self, is_due: impl Fn(Instant) -> bool) {
        let due: Vec<_> = self.endings.extract_if(.., |(at, _)| is_due(*at)).collect();
        for (_, ending) in due {
            match ending {
                Ending::Wake(place, number) => {
                    let worker = &mut self.workers.all[place];
                    if worker.child.id() == number && worker.ended().is_none() {
                        worker.signal("CONT");
                    }
                }
                Ending::Clear(which) => self.lines.get(which).unwrap().clear(),
                Ending::StartOperator => self.start_operator(),
                Ending::Resume(provider) => {
                    if !self.set_pause(provider, None).await {
                        self.endings.push((Instant::now(), Ending::Resume(provider)));
                    }
                }
            }
        }
    }

    fn start_operator(&mut self) {
        self.operator.start();
        self.lines.operator.lead(Some(Upstream::Tcp(self.operator.address)));
    }

    async fn set_pause(&self, provider: &str, reason: Option<&str>) -> bool {
        let asked = tokio::time::timeout(VERB_TIMEOUT, self.engine.pause_provider(provider, reason));
        matches!(asked.await, Ok(Ok(())))
    }

    /// Every program must be alive that nobody killed.
    pub fn watch(&mut self) {
        if let Some((operator, _)) = &mut self.operator.running {
            assert_eq!(operator.ended(), None, "the operator ended by itself: {}", operator.said());
        }
        self.counts.false_starts += self.workers.revive();
    }

    /// Ends everything that has not ended.
    pub async fn heal(&mut self) {
        self.lines.all().for_each(super::proxy::Proxy::clear);
        self.postgres_is_back().await;
        let began = Instant::now();
        while !self.endings.is_empty() {
            assert!(began.elapsed() < PATIENCE, "the storm does not end: {}", self.said());
            self.watch();
            self.end(|_| true).await;
        }
    }

    /// The operator dies once more, and is asked what it remembers.
    pub fn restart_operator(&mut self) {
        self.operator.kill();
        self.start_operator();
    }

    /// Tells the workers to stop; each must do so of its own, with nothing left under way.
    pub async fn stop_workers(&mut self) {
        for worker in std::mem::take(&mut self.workers.all) {
            let status = worker.stop().await;
            assert!(status.success(), "a worker ended with {status}: {}", self.said());
        }
        let said = self.said();
        for word in ["panicked", "did not end in time"] {
            assert!(!said.contains(word), "a worker said `{word}`: {said}");
        }
    }

    pub fn said(&self) -> String {
        self.workers.said()
    }
}
