//! Payments by what became of them: not paid, on their way, come back.

use anyhow::Result;
use paymaster_connectors::contract::Money;

use super::{Cell, Check, Column, Kind, Made, ROWS_ASKED, Sums, balance, suspended};
use crate::domain::disbursement::State;
use crate::store::db::Tx;
use crate::store::ledger::Account;
use crate::store::report::{self as sql, BatchBooks, Unpaid, Within};

pub(super) const UNPAID: &[Column] = &[
    ("programme", Kind::Text),
    ("payroll", Kind::Text),
    ("provider", Kind::Text),
    ("state", Kind::Text),
    ("class", Kind::Text),
    ("code", Kind::Text),
    ("reissued", Kind::Text),
    ("payments", Kind::Count),
    ("sum", Kind::Money),
    ("currency", Kind::Text),
];

pub(super) const RETURNS: &[Column] = &[
    ("programme", Kind::Text),
    ("payroll", Kind::Text),
    ("provider", Kind::Text),
    ("class", Kind::Text),
    ("code", Kind::Text),
    ("reissued", Kind::Text),
    ("payments", Kind::Count),
    ("sum", Kind::Money),
    ("currency", Kind::Text),
];

pub(super) const IN_DOUBT: &[Column] = &[
    ("provider", Kind::Text),
    ("age", Kind::Text),
    ("state", Kind::Text),
    ("payments", Kind::Count),
    ("sum", Kind::Money),
    ("currency", Kind::Text),
];

/// How what was not taken in is called beside states.
const REFUSED: &str = "refused";

const HOUR_MICROS: i64 = 3_600_000_000;
/// Ages by the first copy: how they are called, and how long ago that may be.
const AGES: [(&str, i64); 4] = [
    ("under 1 hour", HOUR_MICROS),
    ("under 24 hours", 24 * HOUR_MICROS),
    ("under 3 days", 72 * HOUR_MICROS),
    ("under 7 days", 168 * HOUR_MICROS),
];
const OLDER: &str = "7 days or more";

/// Everything that was not paid and is not on its way.
pub(super) async fn unpaid(tx: &mut Tx, only: &Within<'_>) -> Result<Made> {
    let mut all = sql::unpaid(tx, only, ROWS_ASKED).await?;
    all.extend(sql::refused(tx, only, ROWS_ASKED).await?);
    all.sort_by(|a, b| {
        let key = |one: &Unpaid| (one.programme.clone(), one.payroll.number());
        key(a).cmp(&key(b))
    });
    let checks = unpaid_checks(tx, only, &all).await?;
    let row = |one: Unpaid| {
        let mut row = vec![
            Cell::text(&one.programme),
            Cell::text(one.payroll.to_string()),
            Cell::text(&one.provider),
            Cell::text(&one.state),
        ];
        row.extend(reason_and_sum(one));
        row
    };
    Ok((all.into_iter().map(row).collect(), checks))
}

fn reason_and_sum(one: Unpaid) -> [Cell; 6] {
    [
        Cell::Text(one.class),
        Cell::Text(one.code),
        Cell::text(if one.is_followed { "yes" } else { "no" }),
        Cell::Count(one.total.payments),
        Cell::Money(Money::new(one.total.sum_minor, one.currency)),
        Cell::text(one.currency.code()),
    ]
}

fn sums_of(all: &[Unpaid], states: &[&str]) -> Result<Sums> {
    let some = all.iter().filter(|one| states.contains(&one.state.as_str()));
    Sums::of(some.map(|one| (one.currency, one.total.sum_minor)))
}

/// Rejections and returns against ledger and batches. What never left has no account: it is held against the
/// payrolls' books, which know no providers.
async fn unpaid_checks(tx: &mut Tx, only: &Within<'_>, all: &[Unpaid]) -> Result<Vec<Check>> {
    let batches = sql::batch_books(tx, only).await?;
    let by_batches = |what: fn(&BatchBooks) -> i64| Sums::of(batches.iter().map(|(place, one)| (place.2, what(one))));
    let [rejected, returned] = [State::Rejected, State::Returned].map(|state| sums_of(all, &[state.name()]));
    let (rejected, returned) = (rejected?, returned?);
    let mut checks = rejected.against(&by_batches(|one| one.rejected_minor)?, "rejected, by the batches");
    checks.extend(returned.against(&by_batches(|one| one.returned_minor)?, "returned, by the batches"));
    let given_back = sql::given_back(tx, only).await?.into_iter().map(|(place, minor)| (place.2, minor));
    let rejected = rejected.less(&suspended(tx, only, Account::Available).await?)?;
    checks.extend(rejected.against(&Sums::of(given_back)?, "rejected, less what waits in suspense"));
    checks.extend(returned_check(tx, only, returned).await?);
    if only.provider.is_none() {
        let books = sql::payroll_books(tx, only).await?;
        let [refused, cancelled, accepted] =
            [0, 1, 2].map(|at| Sums::of(books.iter().map(|(currency, sums)| (*currency, sums[at]))));
        let (refused, cancelled) = (refused?, cancelled?);
        let held = accepted?.less(&cancelled)?.less(&by_batches(|one| one.all_minor)?)?;
        checks.extend(
            sums_of(all, &[State::Planned.name(), State::Held.name()])?.against(&held, "held, by the payrolls"),
        );
        checks.extend(sums_of(all, &[State::Cancelled.name()])?.against(&cancelled, "cancelled, by the payrolls"));
        checks.extend(sums_of(all, &[REFUSED])?.against(&refused, "refused at intake, by the payrolls"));
    }
    Ok(checks)
}

/// What came back stays in the account of returns, also when it is paid again: that takes new money. Only what was
/// contradicted is away from there, in suspense.
async fn returned_check(tx: &mut Tx, only: &Within<'_>, returned: Sums) -> Result<Vec<Check>> {
    let returned = returned.less(&suspended(tx, only, Account::Returned).await?)?;
    let ledger = balance(tx, only, Account::Returned).await?;
    Ok(returned.against(&ledger, "returned, less what waits in suspense"))
}

/// Payments that came back.
pub(super) async fn returns(tx: &mut Tx, only: &Within<'_>) -> Result<Made> {
    let mut all = sql::unpaid(tx, only, ROWS_ASKED).await?;
    all.retain(|one| one.state == State::Returned.name());
    let checks = returned_check(tx, only, sums_of(&all, &[State::Returned.name()])?).await?;
    let row = |one: Unpaid| {
        let mut row = vec![Cell::text(&one.programme), Cell::text(one.payroll.to_string()), Cell::text(&one.provider)];
        row.extend(reason_and_sum(one));
        row
    };
    Ok((all.into_iter().map(row).collect(), checks))
}

/// Payments on their way, by how long ago their batch was first to be sent.
pub(super) async fn in_doubt(tx: &mut Tx, only: &Within<'_>, now: i64) -> Result<Made> {
    let since = AGES.map(|(_, micros)| now.saturating_sub(micros));
    let all = sql::on_the_way(tx, only, &since, ROWS_ASKED).await?;
    let sums = Sums::of(all.iter().map(|one| (one.currency, one.total.sum_minor)))?;
    let open = sql::batch_books(tx, only).await?.into_iter().map(|(place, one)| (place.2, one.open.sum_minor));
    let mut checks = sums.against(&Sums::of(open)?, "on their way, by the batches");
    let sums = sums.less(&suspended(tx, only, Account::InTransit).await?)?;
    let ledger = balance(tx, only, Account::InTransit).await?;
    checks.extend(sums.against(&ledger, "on their way, less what waits in suspense"));
    let row = |one: sql::OnTheWay| {
        vec![
            Cell::text(one.provider),
            Cell::text(AGES.get(one.age).map_or(OLDER, |(name, _)| name)),
            Cell::text(one.state.name()),
            Cell::Count(one.total.payments),
            Cell::Money(Money::new(one.total.sum_minor, one.currency)),
            Cell::text(one.currency.code()),
        ]
    };
    Ok((all.into_iter().map(row).collect(), checks))
}
