//! The demo's bank: the sandbox's, over a folder below the data folder, with days of two seconds and faults of its own.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use paymaster_connectors::contract::{Currency, Money};
use paymaster_connectors::sandbox::bank::{Bank, BankFaults, BankHouse, BankSettings};
use serde_json::json;

use crate::engine::{Provider, Route};

/// Provider part of the payee accounts that the bank pays.
pub const BANK: &str = "state-bank";
/// How often the bank looks into its folder.
const TAKE_EVERY: Duration = Duration::from_millis(200);
/// How long one of its days is.
const DAY_LENGTH: Duration = Duration::from_secs(2);
/// Money comes back on the next business day, over a weekend too.
const RETURNED_WITHIN_DAYS: i64 = 3;
/// Payments in one file.
const FILE_PAYMENTS_MAX: u32 = 5_000;

/// Opens the bank below `folder`; every file that it is sent and sends stays there.
pub fn open(folder: &Path, currency: Currency, seed: u64) -> Result<BankHouse> {
    let settings = BankSettings {
        float: Money::new(i64::MAX / 4, currency),
        fee_minor: 12_500,
        faults: BankFaults {
            seed,
            reject_per_mille: 15,
            late_reject_per_mille: 5,
            return_per_mille: 5,
            duplicate_statement: true,
            status_twice: true,
            ..BankFaults::none()
        },
        ..BankSettings::new(folder.to_owned(), currency)
    };
    BankHouse::start(settings, TAKE_EVERY, DAY_LENGTH).context("the sandbox's bank")
}

/// The bank as a provider, by its folder.
pub fn provider(name: &str, folder: &Path) -> Result<Provider> {
    let folder = folder.canonicalize()?;
    let settings = json!({
        "bank": {
            "debtor": {"name": "Ministry of Social Protection", "account": {"other": "0011223344"}, "agent": {"bic": "STBKKENAXXX"}},
            "category_purpose": "SSBE", "payments_max": FILE_PAYMENTS_MAX, "batch_booking": false,
        },
        "delivery": {
            "kind": "folder", "path": folder, "outbox": "in", "collect": ["out"], "sent": ["in/done"],
            "collected": {"archive": "out/taken"},
        },
        "kept_days": 30, "collect_every_seconds": 1, "look_every_seconds": 1, "fence_seconds": 2,
    });
    Ok(Provider {
        name: name.to_owned(),
        routes: Route::parse(&format!("*@{BANK}")).into_iter().collect(),
        connector: paymaster_connectors::open("bank", name, settings)?,
        callback_secret: None,
    })
}

/// Whether nothing will come back any more, and we know of everything that did.
pub fn is_quiet(bank: &Bank, returned: i64) -> bool {
    let last = bank.ledger().iter().map(|credit| credit.day).max();
    let passed = last.is_some_and(|last| (bank.day() - last).num_days() > RETURNED_WITHIN_DAYS);
    bank.waiting() == 0 && passed && i64::try_from(bank.summary().returns) == Ok(returned)
}
