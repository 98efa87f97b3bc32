//! The ledger: each line moves an amount from one account to another, so that it balances by its shape.

use std::collections::HashMap;

use anyhow::Result;
use paymaster_connectors::contract::Currency;

use super::batch::BatchRow;
use super::db::Tx;
use super::{Scope, values};
use crate::domain::disbursement::State;
use crate::domain::id::{Id, Programme};

/// Accounts of a programme. `Available` is also kept as a row of its own that can be guarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Account {
    /// Where the money came from; the only account that goes below zero.
    Funding,
    /// May still be reserved.
    Available,
    /// Promised to a released payroll.
    Reserved,
    /// Sent, no end yet.
    InTransit,
    /// Arrived.
    Paid,
    /// Came back.
    Returned,
    /// Contradicted; waits for two persons.
    Suspense,
}

impl Account {
    /// All accounts with their stored names.
    pub const ALL: [(Self, &'static str); 7] = [
        (Self::Funding, "funding"),
        (Self::Available, "available"),
        (Self::Reserved, "reserved"),
        (Self::InTransit, "in_transit"),
        (Self::Paid, "paid"),
        (Self::Returned, "returned"),
        (Self::Suspense, "suspense"),
    ];

    /// Where the money of a payment of a released payroll is, by the state that counts. A contradiction moves it from
    /// there to `Suspense`; what two persons decide moves it to the account of the state they decided on.
    pub const OF_STATES: [(State, Self); 10] = [
        (State::Planned, Self::Available),
        (State::Held, Self::Available),
        (State::Queued, Self::Reserved),
        (State::Submitting, Self::InTransit),
        (State::Accepted, Self::InTransit),
        (State::InDoubt, Self::InTransit),
        (State::Settled, Self::Paid),
        (State::Rejected, Self::Available),
        (State::Returned, Self::Returned),
        (State::Cancelled, Self::Available),
    ];

    /// Where the money of a payment in this state is; see [`Account::OF_STATES`].
    pub fn of(state: State) -> Self {
        Self::OF_STATES.iter().find(|(known, _)| *known == state).map_or(Self::Suspense, |(_, account)| *account)
    }

    /// Stored and shown name.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(account, _)| *account == self).map_or("?", |(_, name)| name)
    }

    /// Reads a stored name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| *known == name).map(|(account, _)| *account)
    }
}

/// One line of the ledger.
#[derive(Debug)]
pub struct Entry<'a> {
    /// Whose money.
    pub programme: Id<Programme>,
    /// In which currency.
    pub currency: Currency,
    /// With which provider; empty where none has it.
    pub provider: &'a str,
    /// Where it goes.
    pub debit: Account,
    /// Where it comes from.
    pub credit: Account,
    /// How much, above zero.
    pub amount_minor: i64,
    /// For which payroll.
    pub payroll: Option<i64>,
    /// For which batch.
    pub batch: Option<i64>,
    /// On which evidence.
    pub evidence: Option<i64>,
}

impl<'a> Entry<'a> {
    /// A line about a batch: `(debit, credit)`, how much, on which evidence.
    pub fn of_batch(
        row: &'a BatchRow,
        (debit, credit): (Account, Account),
        amount_minor: i64,
        evidence: Option<i64>,
    ) -> Self {
        Self {
            programme: row.programme,
            currency: row.currency,
            provider: &row.provider,
            debit,
            credit,
            amount_minor,
            payroll: Some(row.payroll.number()),
            batch: Some(row.id.number()),
            evidence,
        }
    }
}

/// Posts one line. Lines that touch `Available` also change the guarded row; posting more than is there fails.
pub async fn post(tx: &mut Tx, number: i64, entry: &Entry<'_>, now: i64) -> Result<()> {
    let sql = "INSERT INTO ledger_entry (number, programme, currency, provider, debit, credit, amount_minor, payroll, \
               batch, evidence, at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";
    let bound = values![
        number,
        entry.programme.number(),
        entry.currency.code(),
        entry.provider,
        entry.debit.name(),
        entry.credit.name(),
        entry.amount_minor,
        entry.payroll,
        entry.batch,
        entry.evidence,
        now
    ];
    tx.execute(sql, bound).await?;
    let change = match (entry.debit, entry.credit) {
        (Account::Available, _) => entry.amount_minor,
        (_, Account::Available) => -entry.amount_minor,
        _ => return Ok(()),
    };
    let sql = "UPDATE funding_account SET available_minor = available_minor + $2 WHERE programme = $1 \
               AND available_minor + $2 >= 0";
    let changed = tx.execute(sql, values![entry.programme.number(), change]).await?;
    anyhow::ensure!(changed == 1, "not enough money is available");
    Ok(())
}

/// What a programme may still reserve, locked until the unit of work ends.
pub async fn available(tx: &mut Tx, programme: Id<Programme>) -> Result<i64> {
    let sql = format!("SELECT available_minor FROM funding_account WHERE programme = $1{}", tx.for_update());
    tx.one(&sql, values![programme.number()]).await?.int(0)
}

/// What each programme of a tenant may still spend.
pub async fn all_available(tx: &mut Tx, scope: &Scope) -> Result<HashMap<Id<Programme>, i64>> {
    let sql = "SELECT f.programme, f.available_minor FROM funding_account f JOIN programme p \
               ON p.number = f.programme WHERE p.tenant = $1";
    let rows = tx.rows(sql, values![scope.tenant.number()]).await?;
    rows.iter().map(|row| Ok((Id::new(row.int(0)?), row.int(1)?))).collect()
}

/// Balance of each account of a programme: what went in less what went out.
pub async fn balances(tx: &mut Tx, programme: Id<Programme>) -> Result<Vec<(Account, i64)>> {
    let sql = "SELECT account, CAST(SUM(amount) AS BIGINT) FROM (SELECT debit AS account, amount_minor AS amount \
               FROM ledger_entry WHERE programme = $1 UNION ALL SELECT credit, -amount_minor FROM ledger_entry \
               WHERE programme = $1) AS lines GROUP BY account";
    let rows = tx.rows(sql, values![programme.number()]).await?;
    let mut balances: Vec<(Account, i64)> = Account::ALL.iter().map(|(account, _)| (*account, 0)).collect();
    for row in rows {
        let name = row.text(0)?;
        for (account, balance) in &mut balances {
            if account.name() == name {
                *balance = row.int(1)?;
            }
        }
    }
    Ok(balances)
}
