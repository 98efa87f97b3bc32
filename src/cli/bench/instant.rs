//! A provider in this process that answers at once: the benchmark measures us, not a network.

use anyhow::Context;
use async_trait::async_trait;
use paymaster_connectors::contract::{
    Batch, Connector, Dedupe, Failure, Finality, Gate, Instruction, Message, Outcome, Profile, Reason, Report, Said,
    Source,
};

/// Payments in one batch.
const ITEMS_MAX: u32 = 5_000;

/// Settles every instruction in its reply, with a line of evidence for each; asked, it has settled everything.
pub struct Instant {
    profile: Profile,
}

impl Instant {
    pub fn new() -> Self {
        let profile = Profile {
            dedupe: Dedupe::ByKey,
            finality: Finality::Reply,
            items_max: ITEMS_MAX,
            concurrency: 8,
            batches_in_flight: 64,
            ..Profile::worst()
        };
        Self { profile }
    }
}

#[async_trait]
impl Connector for Instant {
    fn profile(&self) -> &Profile {
        &self.profile
    }

    fn encode(&self, batch: &Batch) -> Result<Vec<u8>, Failure> {
        let mut wire = String::with_capacity(batch.instructions.len() * 80);
        for one in &batch.instructions {
            for field in [one.reference.as_str(), &one.amount.normalised(), &one.payee_account] {
                wire.push_str(field);
                wire.push(',');
            }
            wire.push('\n');
        }
        Ok(wire.into_bytes())
    }

    async fn submit(&self, batch: &Batch, wire: &[u8], gate: &dyn Gate, said: &mut dyn Said) -> Result<(), Failure> {
        gate.pass(u32::try_from(batch.instructions.len()).unwrap_or(u32::MAX)).await?;
        let message = Message { source: Source::Reply, origin: String::from("bench"), bytes: wire.to_vec().into() };
        hear(batch, message, said).await
    }

    async fn inquire(&self, batch: &Batch, said: &mut dyn Said) -> Result<(), Failure> {
        let message = Message { source: Source::Inquiry, origin: String::from("bench"), bytes: bytes::Bytes::new() };
        hear(batch, message, said).await
    }
}

async fn hear(batch: &Batch, message: Message, said: &mut dyn Said) -> Result<(), Failure> {
    let settled =
        |one: &Instruction| Report { amount: Some(one.amount), ..Report::instruction(one.reference, Outcome::Settled) };
    let reports = batch.instructions.iter().map(settled).collect();
    let heard = said.say(message, reports).await.context("the engine cannot listen");
    heard.map_err(|error| Failure::InDoubt(Reason::unknown("not_heard", format!("{error:#}"))))
}
