//! A provider calls us: keep the raw bytes, then let the call make us ask, or apply it as far as it is trusted.

use paymaster_connectors::contract::{Ask, Callback, CallbackTrust, Instruction, Message, Source};
use std::collections::BTreeMap;

use super::{Engine, Outcome, RefusedKind, refused};
use crate::domain::batch::effective;
use crate::domain::id::{Batch, Id};
use crate::store::notes::{self, CallbackRow};
use crate::store::seal::sha256;
use crate::store::{batch, disbursement};

impl Engine {
    /// Takes a provider's call at its unguessable address. The bytes are durable before this returns.
    pub async fn hear(&self, provider: &str, secret: &str, call: &Callback) -> Outcome<()> {
        let known = self.providers.iter().find(|known| known.name == provider);
        let Some(known) =
            known.filter(|known| known.callback_secret.as_deref().is_some_and(|wanted| same(wanted, secret)))
        else {
            return refused(RefusedKind::NotFound, "callback_unknown", "there is nothing here");
        };
        let received = known.connector.receive(call);
        let verdict = if received.is_ok() { "heard" } else { "unreadable" };
        let now = self.clock.now();
        let number = self.store.draw(1, now).await?.take()?;
        let sealed = self.store.keys.seal(&call.body);
        let hash = sha256(&call.body);
        let row = CallbackRow { number, provider, sha256: &hash, sealed: &sealed, verdict };
        let mut tx = self.store.begin().await?;
        let fresh = notes::keep_callback(&mut tx, &row, now).await?;
        tx.commit().await?;
        let Ok(received) = received else {
            return refused(RefusedKind::Invalid, "callback_unreadable", "the body is not a message of this protocol");
        };
        for ask in &received.ask {
            self.ask_about(provider, ask).await?;
        }
        if fresh && known.connector.profile().callback_trust != CallbackTrust::Hint && !received.reports.is_empty() {
            let message = Message {
                source: Source::Callback,
                origin: format!("callback of {provider}"),
                bytes: call.body.clone(),
            };
            self.apply_callback(provider, message, received.reports).await?;
            // Only now: a crash before this line leaves it to be applied when the provider calls again.
            let mut tx = self.store.begin().await?;
            notes::set_callback_applied(&mut tx, provider, &hash).await?;
            tx.commit().await?;
        }
        Ok(())
    }

    /// Makes the batch due now. A call about something unknown has been kept and has no other effect.
    async fn ask_about(&self, provider: &str, ask: &Ask) -> anyhow::Result<()> {
        let mut tx = self.store.begin().await?;
        let found = match ask {
            Ask::Batch(name) => batch::by_provider_reference(&mut tx, provider, name).await?,
            Ask::Instruction(reference) if reference.tag() == self.store.tag => {
                batch::of_disbursement(&mut tx, provider, reference.number()).await?
            }
            Ask::Instruction(_) => None,
        };
        if let Some(id) = found {
            batch::make_due_now(&mut tx, id, self.clock.now()).await?;
        }
        tx.commit().await
    }

    async fn apply_callback(
        &self,
        provider: &str,
        message: Message,
        reports: Vec<paymaster_connectors::contract::Report>,
    ) -> anyhow::Result<()> {
        use paymaster_connectors::contract::About;
        let mut of_batches: BTreeMap<Id<Batch>, Vec<_>> = BTreeMap::new();
        for report in reports {
            let About::Instruction(reference) = report.about else { continue };
            let mut tx = self.store.read().await?;
            if let Some(id) = batch::of_disbursement(&mut tx, provider, reference.number()).await? {
                of_batches.entry(id).or_default().push(report);
            }
        }
        for (id, reports) in of_batches {
            let facts = self.facts_of(id).await?;
            self.apply(id, &facts, &[(message.clone(), reports)], None).await?;
        }
        Ok(())
    }

    async fn facts_of(&self, id: Id<Batch>) -> anyhow::Result<Vec<Instruction>> {
        let mut tx = self.store.read().await?;
        let Some(row) = batch::get_any(&mut tx, id).await? else { return Ok(Vec::new()) };
        let mut members = disbursement::members(&mut tx, id, row.numbers).await?;
        members.retain(|member| effective(member.state, row.state) != crate::domain::disbursement::State::Held);
        Ok(self.outgoing(&mut tx, &row, members).await?.instructions)
    }
}

/// Compares without telling by time how much agreed.
fn same(wanted: &str, given: &str) -> bool {
    let difference = wanted.bytes().zip(given.bytes()).fold(0, |all, (a, b)| all | (a ^ b));
    wanted.len() == given.len() && difference == 0
}
