//! Makes payrolls, has them approved and releases them, as people would, while the storm rages.
//!
//! A verb that failed is tried again; what state the payroll is in says which verb is next. A file that was not taken
//! in is given up: nobody was promised anything about it.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use paymaster::domain::batch::BatchState;
use paymaster::domain::id::{Batch, Id, Payroll};
use paymaster::domain::payroll::{PayrollKind, PayrollState};
use paymaster::engine::{Actor, Engine, IntakeRequest};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::dice::Dice;
use super::{ITEMS_MAX, PROVIDERS};
use crate::house;
use crate::world::{csv, totals};

/// Longest wait for one verb; whoever waits longer goes away and asks again.
const VERB_TIMEOUT: Duration = Duration::from_secs(10);
/// How often what is being paid is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Payrolls that are being paid at the same time.
const OPEN_MAX: usize = 3;
/// Longest wait from the end of the storm until everything is paid.
const PATIENCE: Duration = Duration::from_secs(300);
/// Batches read at once.
const PAGE: i64 = 1_000;
/// Payments that go one by one, in a hundred.
const SINGLES_PERCENT: u64 = 10;

/// What was made, and seen on the way.
#[derive(Debug, Default)]
pub struct Fed {
    pub payrolls: Vec<Id<Payroll>>,
    pub in_doubt: HashSet<Id<Batch>>,
    open: Vec<Id<Payroll>>,
    files: u64,
    /// Files that an outage caught in the middle.
    pub given_up: u64,
}

/// The people.
pub struct Feeder {
    engine: Arc<Engine>,
    maker: Actor,
    checker: Actor,
    folder: PathBuf,
    dice: Dice,
    fed: Fed,
}

/// A feeder at work.
pub struct Feeding {
    enough: watch::Sender<bool>,
    task: JoinHandle<Fed>,
}

impl Drop for Feeding {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Feeding {
    /// Makes no more payrolls, and waits until all are paid. `watch` is asked meanwhile.
    pub async fn finish(mut self, mut watch: impl FnMut()) -> Fed {
        self.enough.send_replace(true);
        loop {
            watch();
            if let Ok(fed) = tokio::time::timeout(LOOK_EVERY, &mut self.task).await {
                return fed.unwrap();
            }
        }
    }
}

impl Feeder {
    pub fn start(engine: Arc<Engine>, people: (Actor, Actor), folder: PathBuf, dice: Dice) -> Feeding {
        let (enough, until) = watch::channel(false);
        let feeder = Self { engine, maker: people.0, checker: people.1, folder, dice, fed: Fed::default() };
        Feeding { enough, task: tokio::spawn(feeder.feed(until)) }
    }

    async fn feed(mut self, mut enough: watch::Receiver<bool>) -> Fed {
        let mut healed_at = None;
        loop {
            if *enough.borrow() {
                let healed_at = *healed_at.get_or_insert_with(Instant::now);
                if self.fed.open.is_empty() {
                    return self.fed;
                }
                assert!(healed_at.elapsed() < PATIENCE, "nothing moves: {}", self.stuck().await);
            } else if self.fed.open.len() < OPEN_MAX {
                self.hand_in().await;
            }
            for id in self.fed.open.clone() {
                let _ = tokio::time::timeout(VERB_TIMEOUT, self.look(id)).await;
            }
            let _ = tokio::time::timeout(LOOK_EVERY, enough.changed()).await;
        }
    }

    /// A file with rows of its own is handed in until it is known what became of it.
    async fn hand_in(&mut self) {
        let (request, began) = (self.file(), Instant::now());
        while began.elapsed() < PATIENCE {
            let taken = tokio::time::timeout(VERB_TIMEOUT, self.engine.take_in(&self.maker, &request)).await;
            match taken {
                Ok(Ok(row)) => {
                    assert_eq!((row.state, row.accepted), (PayrollState::Draft, request.declared), "{:?}", row.refusal);
                    self.fed.payrolls.push(row.id);
                    self.fed.open.push(row.id);
                    return;
                }
                // It died under our hands, and is cleared away in ten minutes.
                Ok(Err(paymaster::engine::Error::Refused(why))) => {
                    assert_eq!(why.code, "idempotency_key_in_use", "{why}");
                    self.fed.given_up += 1;
                    return;
                }
                Ok(Err(_)) | Err(_) => {}
            }
        }
        panic!("a file cannot be handed in");
    }

    fn file(&mut self) -> IntakeRequest {
        self.fed.files += 1;
        let (number, count) = (self.fed.files, self.dice.between(300, 1_500));
        let row = |n: u64| {
            let single = n * 100 / count < SINGLES_PERCENT;
            let provider = PROVIDERS[usize::from(single)].0;
            let account = format!("mobile:+254{number:03}{n:06}@{provider}");
            (format!("P{number}E{n}"), format!("{}.{:02}", 100 + n, n % 100), account)
        };
        let rows: Vec<(String, String, String)> = (0..count).map(row).collect();
        let rows = crate::world::borrowed(&rows);
        let file = self.folder.join(format!("payroll-{number}.csv"));
        std::fs::write(&file, csv(&rows)).unwrap();
        IntakeRequest {
            programme: "cash".to_owned(),
            cycle: "2026-11".to_owned(),
            kind: PayrollKind::Payment,
            declared: totals(&rows),
            pay_on: None,
            idempotency_key: Some(format!("chaos-{number}")),
            file,
        }
    }

    /// Does what is next with a payroll, and notes which of its batches are in doubt.
    async fn look(&mut self, id: Id<Payroll>) -> Option<()> {
        let status = self.engine.payroll_status(&self.maker.scope, id).await.ok()?;
        match status.payroll.state {
            PayrollState::Draft => self.engine.submit_payroll(&self.maker, id).await.ok().map(|_| ()),
            PayrollState::Submitted => self.engine.approve_payroll(&self.checker, id).await.ok().map(|_| ()),
            PayrollState::Approved => self.engine.release_payroll(&self.checker, id).await.ok().map(|_| ()),
            PayrollState::Released | PayrollState::Completed => {
                for row in self.engine.batches(&self.maker.scope, id, 0, PAGE).await.ok()? {
                    if row.state == BatchState::InDoubt {
                        self.fed.in_doubt.insert(row.id);
                    }
                }
                if house::is_done(&status) {
                    self.fed.open.retain(|open| *open != id);
                }
                Some(())
            }
            other => panic!("payroll {id} is {other}"),
        }
    }

    /// What is not done, for whoever looks into it.
    async fn stuck(&self) -> String {
        let mut text = String::new();
        for id in &self.fed.open {
            text.push_str(&format!("{:?}\n", self.engine.payroll_status(&self.maker.scope, *id).await));
            let batches = self.engine.batches(&self.maker.scope, *id, 0, PAGE).await.unwrap_or_default();
            for row in batches.iter().filter(|row| row.state != BatchState::Completed) {
                text.push_str(&format!("{row:?}\n"));
            }
        }
        text
    }
}

/// Every payroll fits one page of batches.
const _: () = assert!(1_500 / ITEMS_MAX < 1_000);
