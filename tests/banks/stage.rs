//! A house with a bank beside the mobile operator: files in a folder, the sandbox's bank behind it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use paymaster::domain::disbursement::State;
use paymaster::domain::id::{Id, Payroll};
use paymaster::domain::payroll::PayrollState;
use paymaster::engine::{Engine, Provider, Route, Timeline};
use paymaster::store::payroll::{PayrollRow, Total};
use paymaster_connectors::contract::Currency;
use paymaster_connectors::sandbox::bank::{Bank, BankSettings, account_with};
use serde_json::{Value, json};

use crate::world::{Database, World};

/// The bank's name among the providers.
pub const BANK: &str = "state-bank";

pub struct Stage {
    pub world: World,
    pub bank: Bank,
    pub root: PathBuf,
}

/// Writes the settings of a connector over others.
fn over(base: &mut Value, with: &Value) {
    match (base, with) {
        (Value::Object(base), Value::Object(with)) => {
            for (key, value) in with {
                over(base.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (base, with) => *base = with.clone(),
    }
}

impl Stage {
    pub async fn new(kind: Database) -> Self {
        Self::with(kind, |_| {}, json!({})).await
    }

    /// A bank set up by `bank`, and a connector with these settings over the usual ones.
    pub async fn with(kind: Database, bank: impl FnOnce(&mut BankSettings), settings: Value) -> Self {
        let mut world = World::new(kind).await;
        let root = world.folder.path().join("bank");
        let mut bank_settings = BankSettings {
            first_day: "2026-11-25".parse().unwrap(),
            ..BankSettings::new(root.clone(), Currency::parse("KES").unwrap())
        };
        bank(&mut bank_settings);
        let bank = Bank::open(bank_settings).unwrap();
        let provider = Self::provider(&root, &settings);
        Arc::get_mut(&mut world.engine).unwrap().providers.push(provider);
        Self { world, bank, root }
    }

    pub fn provider(root: &std::path::Path, settings: &Value) -> Provider {
        let mut all = json!({
            "bank": {"debtor": {"name": "Treasury", "account": {"other": "0011223344"}, "agent": {"bic": "BANKKENAXXX"}}},
            "delivery": {"kind": "folder", "path": root, "outbox": "in", "collect": ["out"], "sent": ["in/done"]},
            "collect_every_seconds": 60, "look_every_seconds": 5, "fence_seconds": 60,
        });
        over(&mut all, settings);
        Provider {
            name: BANK.to_owned(),
            routes: vec![Route::parse("*@bank").unwrap()],
            connector: paymaster_connectors::open("bank", BANK, all).unwrap(),
            callback_secret: None,
        }
    }

    pub fn engine(&self) -> &Engine {
        &self.world.engine
    }

    /// A released payroll of rows with these account endings; the n-th row is `E000n` over 100.00 and n cents.
    pub async fn released(&self, endings: &[&str]) -> PayrollRow {
        let rows: Vec<(String, String, String)> = (1..)
            .zip(endings)
            .map(|(n, ending)| {
                (format!("E{n:04}"), format!("100.{n:02}"), format!("account:{}@bank", account_with(ending, n)))
            })
            .collect();
        let rows: Vec<_> = rows.iter().map(|(a, b, c)| (a.as_str(), b.as_str(), c.as_str())).collect();
        let payroll = self.world.take_in(&rows).await;
        assert_eq!(payroll.state, PayrollState::Draft, "{:?}", payroll.refusal);
        assert_eq!(payroll.accepted.payments, i64::try_from(endings.len()).unwrap());
        self.world.release(payroll.id).await;
        payroll
    }

    /// Sends what is due.
    pub async fn send(&self) {
        while self.world.step().await {}
    }

    /// Looks into the bank's folder, once, and does what follows.
    pub async fn listen(&self) {
        self.engine().collect_soon(BANK).await.unwrap();
        self.world.pass_seconds(1);
        self.world.step().await;
        while self.world.step().await {}
    }

    /// The bank takes what lies there and answers; then it is listened to.
    pub async fn answered(&mut self) {
        self.bank.take().unwrap();
        self.listen().await;
    }

    /// The bank's day ends; its statement comes with the next morning.
    pub async fn day_ends(&mut self) {
        self.bank.take().unwrap();
        self.bank.end_day().unwrap();
        self.world.pass_seconds(24 * 3600);
        self.listen().await;
    }

    /// State that counts and reason of each payment, by entitlement.
    pub async fn states(&self, id: Id<Payroll>) -> BTreeMap<String, (State, Option<String>)> {
        let rows = self.engine().disbursements(&self.world.maker.scope, id, &[], (0, 1_000)).await.unwrap();
        let one = |row: Timeline| (row.entitlement, (row.state, row.shown.reason.map(|(_, code)| code)));
        rows.into_iter().map(one).collect()
    }

    pub async fn state(&self, id: Id<Payroll>) -> PayrollState {
        self.engine().payroll_state(&self.world.maker.scope, id).await.unwrap()
    }

    /// How many payments are in each state.
    pub async fn count(&self, id: Id<Payroll>, state: State) -> usize {
        self.states(id).await.values().filter(|(one, _)| *one == state).count()
    }

    /// Codes of the open exceptions, sorted.
    pub async fn exceptions(&self) -> Vec<String> {
        let open = self.engine().exceptions(&self.world.maker.scope, 0, 1_000).await.unwrap();
        let mut codes: Vec<String> = open.into_iter().map(|one| one.code).collect();
        codes.sort();
        codes
    }

    /// The bank paid exactly what we say is settled, nobody twice, and verify finds nothing.
    pub async fn books_agree(&self, id: Id<Payroll>) {
        let net = self.bank.net();
        assert_eq!(self.bank.summary().repeated_references, 0, "somebody was paid twice");
        let rows = self.engine().disbursements(&self.world.maker.scope, id, &[], (0, 1_000)).await.unwrap();
        for row in rows {
            let reference = self.engine().reference(row.shown.number);
            let paid = net.get(reference.as_str()).map_or(0, |net| net.sum_minor);
            let wanted = if row.state == State::Settled { row.shown.amount_minor } else { 0 };
            if row.state.is_final() {
                assert_eq!(paid, wanted, "{reference} is {}", row.state);
                assert!(row.shown.evidence.is_some(), "{reference} has no evidence");
            }
        }
        self.world.verified().await;
    }

    /// Leaves a file where the bank leaves its own.
    pub fn leave(&self, name: &str, content: &str) {
        std::fs::write(self.root.join("out").join(name), content).unwrap();
    }

    pub fn names(&self, folder: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.root.join(folder)).unwrap().map(|entry| entry.unwrap());
        let files = entries.filter(|entry| entry.file_type().unwrap().is_file());
        let mut names: Vec<String> = files.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }
}

/// So many rows of a kind.
pub fn plain(count: usize) -> Vec<&'static str> {
    vec![paymaster_connectors::sandbox::bank::PLAIN; count]
}

/// The sum of the first `count` rows.
pub fn total(count: i64) -> Total {
    let sum_minor = (1..=count).map(|n| 10_000 + n).sum();
    Total { payments: count, sum_minor }
}
