//! What is released never exceeds what there is, whoever else releases at the same time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use paymaster::domain::id::{Id, Payroll};
use paymaster::domain::payroll::PayrollState;
use paymaster::engine::Error;
use paymaster::store::ledger::Account;

use super::order::balances;
use crate::on_both;
use crate::world::World;

/// What the house's programme was given.
const FUNDS_MINOR: i64 = 100_000_000;
/// Rows of each payroll of a round, each of the largest sum of the programme but one.
const ROUNDS: [&[usize]; 3] = [&[3, 1, 4, 1, 5, 2], &[2, 1, 1, 2, 1, 3], &[1, 1, 1]];

/// A payroll of so many rows of 99,999.99, approved.
async fn approved(world: &World, round: usize, at: usize, rows: usize) -> (Id<Payroll>, i64) {
    let keys: Vec<String> = (0..rows).map(|n| format!("R{round}-{at}-{n}")).collect();
    let account = "mobile:+254700000001@mobile-op";
    let rows: Vec<(&str, &str, &str)> = keys.iter().map(|key| (key.as_str(), "99999.99", account)).collect();
    let payroll = world.take_in(&rows).await;
    world.submit_and_approve(payroll.id).await;
    (payroll.id, payroll.accepted.sum_minor)
}

/// Releases them all at once; what was released of them, and what was refused.
async fn release_all(world: &World, payrolls: &[(Id<Payroll>, i64)]) -> (Vec<i64>, Vec<i64>) {
    let tasks: Vec<_> = payrolls
        .iter()
        .map(|(id, _)| {
            let (engine, checker, id) = (world.engine.clone(), world.checker.clone(), *id);
            tokio::spawn(async move { engine.release_payroll(&checker, id).await })
        })
        .collect();
    let (mut released, mut refused) = (Vec::new(), Vec::new());
    for (task, (id, sum)) in tasks.into_iter().zip(payrolls) {
        let (list, state) = match task.await.unwrap() {
            Ok(PayrollState::Released) => (&mut released, PayrollState::Released),
            Err(Error::Refused(why)) if why.code == "funds_short" => (&mut refused, PayrollState::Approved),
            other => panic!("neither released nor short of funds: {other:?}"),
        };
        list.push(*sum);
        let stands = world.engine.payroll_state(&world.maker.scope, *id).await.unwrap();
        assert_eq!(stands, state);
    }
    (released, refused)
}

fn adds_up(balances: &BTreeMap<Account, i64>) {
    let (available, reserved) = (balances[&Account::Available], balances[&Account::Reserved]);
    assert_eq!(available + reserved, FUNDS_MINOR, "{balances:?}");
    assert!(available >= 0, "{balances:?}");
}

on_both! {
    /// Payrolls that do not all fit, released at once, round by round: those that can are released, no others.
    async fn what_is_released_at_once_never_exceeds_the_funds(database) {
        let world = Arc::new(World::new(database).await);
        let (mut out, over) = (0, Arc::new(AtomicBool::new(false)));
        let watcher = tokio::spawn({
            let (world, over) = (world.clone(), over.clone());
            async move {
                while !over.load(Ordering::SeqCst) {
                    adds_up(&balances(&world).await);
                    tokio::task::yield_now().await;
                }
            }
        });
        let mut fitted = Vec::new();
        for (round, all) in ROUNDS.iter().enumerate() {
            let mut payrolls = Vec::new();
            for (at, rows) in all.iter().enumerate() {
                payrolls.push(approved(&world, round, at, *rows).await);
            }
            let (released, refused) = release_all(&world, &payrolls).await;
            out += released.iter().sum::<i64>();
            let now = balances(&world).await;
            adds_up(&now);
            assert_eq!(now[&Account::Reserved], out);
            let left = now[&Account::Available];
            assert!(refused.iter().all(|sum| *sum > left), "{refused:?} could have had of {left}");
            fitted.push((released.len(), refused.len()));
        }
        over.store(true, Ordering::SeqCst);
        watcher.await.unwrap();
        assert!(fitted[0].0 > 0 && fitted[0].1 > 0, "the first round must be too much at once: {fitted:?}");
        assert!(out <= FUNDS_MINOR);
        // Of what is left, not one row more.
        assert!(FUNDS_MINOR - out < 9_999_999, "{out}");
        world.verified().await;
    }
}
