//! Cash in transit: what the batches say is on its way, beside the ledger's account of it.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use paymaster_connectors::contract::Money;

use super::{Cell, Column, Kind, Made, Sums};
use crate::store::db::Tx;
use crate::store::ledger::Account;
use crate::store::report::{self as sql, Place, Within};

pub(super) const IN_TRANSIT: &[Column] = &[
    ("programme", Kind::Text),
    ("provider", Kind::Text),
    ("payments", Kind::Count),
    ("by_batches", Kind::Money),
    ("in_suspense", Kind::Money),
    ("by_ledger", Kind::Money),
    ("difference", Kind::Money),
    ("currency", Kind::Text),
];

/// One place: payments and money by the batches, in suspense, by the ledger.
#[derive(Default)]
struct Transit {
    payments: i64,
    batches: i64,
    suspense: i64,
    ledger: i64,
}

/// What has left and has no end is in transit, but for what was contradicted: that waits in suspense.
pub(super) async fn in_transit(tx: &mut Tx, only: &Within<'_>) -> Result<Made> {
    let mut places: BTreeMap<Place, Transit> = BTreeMap::new();
    for (place, books) in sql::batch_books(tx, only).await? {
        let transit = places.entry(place).or_default();
        (transit.payments, transit.batches) = (books.open.payments, books.open.sum_minor);
    }
    for (place, account, minor) in sql::suspended(tx, only).await? {
        if account == Account::InTransit {
            places.entry(place).or_default().suspense += minor;
        }
    }
    for (place, minor) in sql::balances(tx, only, Account::InTransit).await? {
        places.entry(place).or_default().ledger = minor;
    }
    let (mut rows, mut report, mut ledger) = (Vec::new(), Sums::default(), Sums::default());
    for ((programme, provider, currency), one) in places {
        let expected = one.batches.checked_sub(one.suspense).context("a sum of a report is too large")?;
        report.add(currency, expected)?;
        ledger.add(currency, one.ledger)?;
        if (one.payments, one.batches, one.suspense, one.ledger) == (0, 0, 0, 0) {
            continue;
        }
        let money = |minor| Cell::Money(Money::new(minor, currency));
        rows.push(vec![
            Cell::text(programme),
            Cell::text(provider),
            Cell::Count(one.payments),
            money(one.batches),
            money(one.suspense),
            money(one.ledger),
            money(expected.saturating_sub(one.ledger)),
            Cell::text(currency.code()),
        ]);
    }
    Ok((rows, report.against(&ledger, "in transit, less what waits in suspense")))
}
