//! The GSMA Mobile Money API 1.2 as a connector: batches or single disbursements, asked for until they end.
//!
//! The order of calls is here and in `batch`, `single` and `statement`; what bytes mean is in `wire`, `object`, `answers`
//! and `reasons`, which are pure. Deliberately not here: approval of batches at the provider, reversals,
//! and account checks.

mod answers;
mod batch;
mod flush;
mod object;
mod rail;
mod reasons;
mod settings;
mod single;
mod statement;
#[cfg(test)]
mod tests;
mod wire;

use async_trait::async_trait;

use answers::Found;
use object::Object;
use rail::{Question, Rail};
pub use settings::{Asking, Mode, Party, Settings, Trust};

use crate::contract::{
    Ask, Batch, Callback, Connector, Failure, Gate, Message, Money, Outcome, Profile, Reason, ReasonClass, Received,
    Reference, Report, Said,
};

/// One provider that speaks this protocol.
#[derive(Debug)]
pub struct MobileMoney {
    /// The installation's name for the provider.
    name: String,
    settings: Settings,
    profile: Profile,
    rail: Rail,
}

/// Opens a provider; settings that cannot work are `Blocked`.
pub fn open(name: &str, settings: Settings) -> Result<MobileMoney, Failure> {
    settings.check()?;
    let (profile, rail) = (settings.profile(), Rail::new(&settings)?);
    Ok(MobileMoney { name: name.to_owned(), settings, profile, rail })
}

#[async_trait]
impl Connector for MobileMoney {
    fn profile(&self) -> &Profile {
        &self.profile
    }

    fn encode(&self, batch: &Batch) -> Result<Vec<u8>, Failure> {
        wire::encode(&self.settings, batch)
    }

    async fn submit(&self, batch: &Batch, wire: &[u8], gate: &dyn Gate, said: &mut dyn Said) -> Result<(), Failure> {
        let sent = match self.settings.mode {
            Mode::Batch => self.submit_batch(batch, wire, gate, said).await,
            Mode::Single => self.submit_single(batch, wire, gate, said).await,
        };
        self.noted("submit", batch, sent)
    }

    async fn inquire(&self, batch: &Batch, said: &mut dyn Said) -> Result<(), Failure> {
        let asked = match (self.settings.ask, self.settings.mode) {
            (Asking::Statement, _) => self.inquire_statement(batch, said).await,
            (Asking::Status, Mode::Batch) => self.inquire_batch(batch, said).await,
            (Asking::Status, Mode::Single) => self.inquire_single(batch, said).await,
        };
        self.noted("inquire", batch, asked)
    }

    async fn balance(&self) -> Result<Option<Money>, Failure> {
        let party = &self.settings.debit_party;
        let question = Question::path(["accounts", party.key.as_str(), party.value.as_str(), "balance"]);
        match answers::found(&self.rail.ask(&question).await?) {
            Found::Object(object) => {
                let sum = object.available_balance.as_ref().or(object.current_balance.as_ref());
                Ok(object.money(sum, None).unwrap_or(None))
            }
            Found::Absent => Ok(None),
            Found::Failed(failure) => Err(failure),
        }
    }

    fn receive(&self, call: &Callback) -> Result<Received, Failure> {
        let object = Object::read(&call.body).ok_or_else(|| illegible("no_object", "the body is no JSON object"))?;
        if let Some(id) = object.batch_id {
            return Ok(Received { reports: Vec::new(), ask: vec![Ask::Batch(id)] });
        }
        let reference = object.our_reference.as_deref().and_then(|name| Reference::parse(name.trim()));
        if let Some(reference) = reference {
            let believed = self.settings.callback_trust == Trust::SecretUrl;
            let reports = if believed { called(&object, reference).into_iter().collect() } else { Vec::new() };
            return Ok(Received { reports, ask: vec![Ask::Instruction(reference)] });
        }
        match (object.object_reference, object.error_code.or(object.error_category), object.server_correlation_id) {
            (Some(id), ..) if self.settings.mode == Mode::Batch => {
                Ok(Received { reports: Vec::new(), ask: vec![Ask::Batch(id)] })
            }
            // It does not say what it is about: kept as evidence, and the next inquiry finds out.
            (Some(_), ..) | (_, Some(_), _) | (.., Some(_)) => Ok(Received::default()),
            _ => Err(illegible("no_reference", "the body names neither a batch nor a payment of ours")),
        }
    }
}

impl MobileMoney {
    fn noted(&self, call: &str, batch: &Batch, done: Result<(), Failure>) -> Result<(), Failure> {
        if let Err(failure) = &done {
            tracing::warn!(provider = %self.name, batch = %batch.reference, %failure, "{call} did not finish");
        }
        done
    }
}

/// What a believed callback says. Settling and coming back need the sum: facts that cannot be matched are no
/// evidence. A failure only makes us ask: a word that ends a payment is not taken from whoever calls.
fn called(object: &Object, reference: Reference) -> Option<Report> {
    let outcome = match answers::state(object.payment_status.as_ref())? {
        answers::State::Done => Outcome::Settled,
        answers::State::Failed => return None,
        answers::State::Returned => Outcome::Returned(reasons::of_returned(object)),
        answers::State::Pending => Outcome::Accepted,
    };
    let amount = object.money(object.amount.as_ref(), None).ok()?;
    if outcome != Outcome::Accepted && amount.is_none() {
        return None;
    }
    let provider_reference = object.payment_reference.clone();
    Some(Report { amount, provider_reference, ..Report::instruction(reference, outcome) })
}

fn illegible(code: &str, text: &str) -> Failure {
    Failure::Refused(Reason::new(ReasonClass::Format, code, text))
}

/// Keeps an answer that says nothing about a payment, and fails.
async fn unsaid<T>(message: Message, failure: Failure, said: &mut dyn Said) -> Result<T, Failure> {
    if !message.bytes.is_empty() {
        tell(said, message, Vec::new(), ask_again).await?;
    }
    Err(failure)
}

/// Hands over evidence; when nobody can listen any more, `otherwise` says what that means for the caller.
async fn tell(
    said: &mut dyn Said,
    message: Message,
    reports: Vec<Report>,
    otherwise: fn(Reason) -> Failure,
) -> Result<(), Failure> {
    let told = said.say(message, reports).await;
    told.map_err(|error| otherwise(Reason::unknown("not_stored", format!("{error:#}"))))
}

/// Asking may simply be done again.
fn ask_again(reason: Reason) -> Failure {
    Failure::Unavailable { reason, retry_after_seconds: None }
}
