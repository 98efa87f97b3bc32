//! Who does not know whether a call arrived calls again: at the door, once and several times are the same.
//!
//! A call is repeated at once, and later too where a late repeat cannot be a new wish: a second "pause" after a
//! "resume" is one. Deliberately not here: funding, which adds each time and says so.

use paymaster::domain::id::Id;
use paymaster::store::ledger;
use proptest::prelude::*;
use reqwest::Method;
use serde_json::{Value, json};

use super::{draws, runtime};
use crate::api::world::{Got, HEADER, SECRET, World, row};

/// Steps of a payroll's way through the door.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Call {
    Intake,
    Move(&'static str),
    /// A worker comes by and does what is due.
    Work,
    /// A provider's call about the batch.
    Callback,
}

const WAY: [Call; 13] = [
    Call::Intake,
    Call::Move("submit"),
    Call::Move("approve"),
    Call::Move("recall"),
    Call::Move("submit"),
    Call::Move("approve"),
    Call::Move("release"),
    Call::Move("pause"),
    Call::Callback,
    Call::Move("resume"),
    Call::Work,
    Call::Callback,
    Call::Intake,
];
const RELEASED: usize = 6;

/// After the step at `after`, the step `back` before it is called `times` more.
type Repeat = (usize, usize, usize);

/// Whether a repeat of one step after another is still a repeat and not a new wish.
fn is_repeat(after: usize, step: usize) -> bool {
    match WAY[step] {
        Call::Intake | Call::Work | Call::Callback => true,
        Call::Move("pause" | "resume") => after == step,
        Call::Move(_) => after == step || after >= RELEASED,
    }
}

struct House {
    world: World,
    payroll: String,
}

impl House {
    async fn call(&mut self, call: Call) -> Got {
        let world = &self.world;
        match call {
            Call::Intake => {
                let file = [HEADER, &row(1, "000001", "100.50"), &row(2, "990001", "200"), &row(3, "000003", "1e3")];
                let got = world.upload((3, "300.50"), &[("idempotency-key", "one")], &file.concat()).await;
                self.payroll = format!("/v1/payrolls/{}", got.json()["id"].as_str().unwrap());
                got
            }
            Call::Move(verb) => {
                let token = if verb == "submit" { &world.maker } else { &world.checker };
                world.post(&format!("{}/{verb}", self.payroll), token, Value::Null).await
            }
            Call::Work => {
                for number in world.engine.due().await.unwrap().batches {
                    world.engine.drive(Id::new(number)).await.unwrap();
                }
                world.get(&self.payroll, &world.maker).await
            }
            Call::Callback => {
                let batches = world.get(&format!("{}/batches", self.payroll), &world.auditor).await.good();
                let name = batches["items"][0]["provider_reference"].as_str().unwrap_or("B-unknown").to_owned();
                let body = json!({"batchId": name, "batchStatus": "completed"}).to_string();
                world.send(Method::PUT, &format!("/callbacks/mobile-op/{SECRET}"), "", &[], body.into_bytes()).await
            }
        }
    }

    /// Everything that could differ: payrolls, payments, money here and there, and what verify finds.
    async fn sum_up(&self) -> Value {
        let world = &self.world;
        let mut payrolls = world.get("/v1/payrolls", &world.auditor).await.good()["items"].clone();
        for payroll in payrolls.as_array_mut().unwrap() {
            *payroll =
                json!({"state": payroll["state"], "accepted": payroll["accepted"], "refused": payroll["refused"]});
        }
        let path = format!("{}/disbursements", self.payroll);
        let payments = world.get(&path, &world.auditor).await.good()["items"].clone();
        let payments: Vec<Value> = payments
            .as_array()
            .unwrap()
            .iter()
            .map(|one| json!([one["entitlement"], one["state"], one["amount_minor"], one["reason"]["code"]]))
            .collect();
        let programme = world.engine.programme(&world.scope, "grant").await.unwrap().id;
        let mut tx = world.engine.store.read().await.unwrap();
        let balances = ledger::balances(&mut tx, programme).await.unwrap();
        drop(tx);
        let balances: Vec<Value> = balances.iter().map(|(account, minor)| json!([account.name(), minor])).collect();
        let paid = world.sandbox.ledger_summary();
        let found = world.engine.verify().await.unwrap().findings;
        assert!(found.is_empty(), "{found:?}");
        json!({
            "payrolls": payrolls, "payments": payments, "balances": balances,
            "paid": [paid.credits, usize::try_from(paid.sum_minor).unwrap()],
            "exceptions": world.get("/v1/exceptions", &world.auditor).await.good()["items"],
        })
    }
}

/// Goes the whole way with these repeats, and sums up.
async fn go(repeats: &[Repeat]) -> Value {
    let mut house = House { world: World::with_programme().await, payroll: String::new() };
    for (step, call) in WAY.into_iter().enumerate() {
        house.call(call).await.good();
        for (_, back, times) in repeats.iter().filter(|(after, ..)| *after == step) {
            let again = step - back % (step + 1);
            if !is_repeat(step, again) {
                continue;
            }
            for _ in 0..*times {
                let status = house.call(WAY[again]).await.status.as_u16();
                assert!((200..300).contains(&status) || status == 409, "{:?} again: {status}", WAY[again]);
            }
        }
    }
    house.world.work().await;
    house.call(Call::Callback).await.good();
    let sum = house.sum_up().await;
    house.world.stop().await;
    sum
}

#[test]
fn a_call_repeated_is_a_call_made_once() {
    let runtime = runtime();
    let once = runtime.block_on(go(&[]));
    assert_eq!(once["payrolls"].as_array().unwrap().len(), 1);
    assert_eq!(once["payrolls"][0]["state"], "completed");
    assert_eq!(once["paid"], json!([1, 10_050]));
    let repeats = proptest::collection::vec((0..WAY.len(), 0..WAY.len(), 1_usize..=3), 6..=16);
    draws(20, 3)
        .run(&repeats, |repeats| {
            prop_assert_eq!(&runtime.block_on(go(&repeats)), &once, "{:?}", repeats);
            Ok(())
        })
        .unwrap();
}
