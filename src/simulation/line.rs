//! A connector over the simulated network: the contract's verbs, with a provider that may be four kinds of careless.
//! Deliberately not here: what the provider does (`operator`) and what happens on the way (`world`).

use std::collections::BTreeSet;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use paymaster_connectors::contract::{
    Ask, Batch, Callback, CallbackTrust, Connector, Currency, Dedupe, Failure, Finality, Gate, Inquiry, Message, Money,
    Outcome, Profile, Reason, ReasonClass, Received, Reference, Report, Said, Source,
};

use super::actor::{self, Actor, Phase};
use super::operator::{Asked, Kind};
use super::rare::Rare;
use super::world::{Answer, Request, SECOND, Word};
use crate::domain::guard::Guard;

/// How long a call is waited for.
const TIMEOUT: i64 = 30 * SECOND;
/// Longest stop between the gate and the write that the lease's margin bears.
const GAP_MAX: i64 = 40 * SECOND;

/// How one provider is reached, and how it behaves by contract.
#[derive(Debug, Clone)]
pub(super) struct Terms {
    pub provider: usize,
    pub kind: Kind,
    /// One call for each payment.
    pub single: bool,
    /// Callbacks at an unguessable address count; else they only make us ask.
    pub believed: bool,
    /// How long a reference is remembered.
    pub window: i64,
    /// When a doubt is old enough to tell a person.
    pub doubt_limit: i64,
    /// Most payments in one batch.
    pub items_max: u32,
}

impl Terms {
    pub fn profile(&self) -> Profile {
        let seconds = Duration::from_secs;
        let statement = self.kind == Kind::StatementOnly;
        Profile {
            dedupe: if self.kind.dedupes() { Dedupe::ByKey } else { Dedupe::None },
            dedupe_window: Duration::from_micros(self.window.unsigned_abs()),
            remembers_rejections: self.kind == Kind::Remembers,
            // A statement shows what was carried out, and that may take half a day.
            absent_after: if statement { seconds(24 * 3_600) } else { seconds(300) },
            fence: seconds(180),
            inquiry: Inquiry::Direct,
            callback_trust: if self.believed { CallbackTrust::SecretUrl } else { CallbackTrust::Hint },
            finality: if statement { Finality::Statement } else { Finality::Status },
            items_max: self.items_max,
            concurrency: 4,
            batches_in_flight: 4,
            inquire_every: if statement { seconds(1_800) } else { seconds(5) },
            inquire_every_max: if statement { seconds(6 * 3_600) } else { seconds(1_200) },
            doubt_limit: Duration::from_micros(self.doubt_limit.unsigned_abs()),
            ..Profile::worst()
        }
    }
}

/// One worker's line to one provider.
pub(super) struct Line {
    pub actor: Actor,
    pub terms: Terms,
    pub profile: Profile,
    pub currency: Currency,
}

impl Line {
    async fn call(&self, request: Request) -> Option<Answer> {
        self.actor.world.call(actor::task(), (self.terms.provider, request), TIMEOUT).await
    }

    /// One write: the gate, whatever a scheduler does to a thread between two instructions, and the bytes.
    async fn write(&self, rows: Vec<Asked>, gate: &dyn Gate) -> Result<Answer, Failure> {
        let count = u32::try_from(rows.len()).unwrap_or(u32::MAX);
        if let Err(failure) = gate.pass(count).await {
            if matches!(&failure, Failure::Unavailable { reason, .. } if reason.code == "lease") {
                self.actor.world.look().note(Rare::WokeAfterLease);
            }
            return Err(failure);
        }
        let gap = {
            let mut inner = self.actor.world.look();
            if inner.storm && inner.chance.falls(20) { inner.chance.between(SECOND, GAP_MAX) } else { 0 }
        };
        if gap > 0 {
            self.actor.world.wait(actor::task(), gap).await;
        }
        if self.actor.is_cut_off() {
            let reason = Reason::unknown("not_connected", "nobody answers");
            return Err(Failure::Unavailable { reason, retry_after_seconds: None });
        }
        self.actor.world.look().written(&rows);
        self.actor.set_phase(Phase::Waiting);
        let mut answer = self.call(Request::Pay(rows.clone())).await;
        if answer.is_none() && !Guard::OneAttemptForIntent.stands() {
            answer = self.call(Request::Pay(rows)).await;
        }
        self.actor.set_phase(Phase::Sending);
        match answer {
            Some(Answer::Broken) | None => Err(Failure::InDoubt(Reason::unknown("no_answer", "nobody knows"))),
            Some(Answer::Busy(seconds)) => {
                Err(Failure::Unavailable { reason: Reason::unknown("busy", "not now"), retry_after_seconds: seconds })
            }
            Some(answer) => Ok(answer),
        }
    }

    fn heard(&self, source: Source, answer: &Answer) -> (Message, Vec<Report>) {
        let message = Message { source, origin: "simulated".to_owned(), bytes: Bytes::from(format!("{answer:?}")) };
        let reports = match answer {
            Answer::Taken => vec![Report::batch(Outcome::Accepted)],
            Answer::Words(words) => {
                words.iter().map(|(reference, word, amount)| self.report(*reference, *word, *amount)).collect()
            }
            Answer::Busy(_) | Answer::Broken => Vec::new(),
        };
        (message, reports)
    }

    fn report(&self, reference: Reference, word: Word, amount_minor: i64) -> Report {
        let outcome = match word {
            Word::Accepted => Outcome::Accepted,
            Word::Settled | Word::OtherAmount => Outcome::Settled,
            Word::Rejected => Outcome::Rejected(Reason::new(ReasonClass::FixData, "no_account", "no such account")),
            Word::FloatShort => Outcome::Rejected(Reason::new(ReasonClass::Funding, "float", "no money left")),
            Word::Returned => Outcome::Returned(Reason::new(ReasonClass::FixAtBank, "returned", "sent back")),
            Word::Absent => Outcome::Absent,
        };
        let amount = match word {
            Word::OtherAmount => Some(Money::new(amount_minor + 1, self.currency)),
            Word::Settled | Word::Returned => Some(Money::new(amount_minor, self.currency)),
            _ => None,
        };
        Report { amount, ..Report::instruction(reference, outcome) }
    }
}

fn not_stored(error: &anyhow::Error) -> Reason {
    Reason::unknown("not_stored", format!("{error:#}"))
}

#[async_trait]
impl Connector for Line {
    fn profile(&self) -> &Profile {
        &self.profile
    }

    fn encode(&self, batch: &Batch) -> Result<Vec<u8>, Failure> {
        let line = |one: &paymaster_connectors::contract::Instruction| {
            format!("{} {} {}\n", one.reference, one.amount.minor, one.payee_account)
        };
        Ok(batch.instructions.iter().map(line).collect::<String>().into_bytes())
    }

    async fn submit(&self, batch: &Batch, wire: &[u8], gate: &dyn Gate, said: &mut dyn Said) -> Result<(), Failure> {
        self.actor.set_phase(Phase::Sending);
        let sent = self.send(batch, wire, gate, said).await;
        self.actor.set_phase(Phase::Idle);
        sent
    }

    async fn inquire(&self, batch: &Batch, said: &mut dyn Said) -> Result<(), Failure> {
        let again =
            || Failure::Unavailable { reason: Reason::unknown("no_answer", "ask again"), retry_after_seconds: None };
        let references = batch.instructions.iter().map(|one| one.reference).collect();
        let answer = self.call(Request::Ask(references)).await.ok_or_else(again)?;
        if !matches!(answer, Answer::Words(_)) {
            return Err(again());
        }
        let source = if self.terms.kind == Kind::StatementOnly { Source::Statement } else { Source::Inquiry };
        let (message, reports) = self.heard(source, &answer);
        said.say(message, reports).await.map_err(|_| again())
    }

    fn receive(&self, call: &Callback) -> Result<Received, Failure> {
        let unreadable = || Failure::Refused(Reason::new(ReasonClass::Format, "unreadable", "not a callback"));
        let text = std::str::from_utf8(&call.body).map_err(|_| unreadable())?;
        let mut fields = text.split(' ');
        let (Some(reference), Some(word), Some(amount)) = (fields.next(), fields.next(), fields.next()) else {
            return Err(unreadable());
        };
        let reference = Reference::parse(reference).ok_or_else(unreadable)?;
        let word = match word {
            "settled" => Word::Settled,
            "rejected" => Word::Rejected,
            "returned" => Word::Returned,
            "short" => Word::FloatShort,
            _ => return Err(unreadable()),
        };
        let reports = vec![self.report(reference, word, amount.parse().map_err(|_| unreadable())?)];
        Ok(Received { reports, ask: vec![Ask::Instruction(reference)] })
    }
}

impl Line {
    async fn send(&self, batch: &Batch, wire: &[u8], gate: &dyn Gate, said: &mut dyn Said) -> Result<(), Failure> {
        let open: BTreeSet<Reference> = batch.instructions.iter().map(|one| one.reference).collect();
        let mut rows = decode(wire);
        rows.retain(|row| open.contains(&row.reference));
        if !self.terms.single {
            let answer = self.write(rows, gate).await?;
            let (message, reports) = self.heard(Source::Reply, &answer);
            return said.say(message, reports).await.map_err(|error| Failure::InDoubt(not_stored(&error)));
        }
        let mut stopped = None;
        for row in rows {
            let reference = row.reference;
            if let Some(failure) = &stopped {
                self.not_sent(reference, failure, said).await?;
                continue;
            }
            match self.write(vec![row], gate).await {
                Ok(answer) => {
                    let (message, reports) = self.heard(Source::Reply, &named(answer, reference));
                    said.say(message, reports).await.map_err(|error| Failure::InDoubt(not_stored(&error)))?;
                }
                Err(Failure::InDoubt(_)) => {}
                Err(failure) => {
                    self.not_sent(reference, &failure, said).await?;
                    stopped = Some(failure);
                }
            }
        }
        stopped.map_or(Ok(()), Err)
    }

    async fn not_sent(&self, reference: Reference, failure: &Failure, said: &mut dyn Said) -> Result<(), Failure> {
        let reason = Reason::unknown("not_begun", failure.to_string());
        let message = Message { source: Source::Reply, origin: "not begun".to_owned(), bytes: Bytes::new() };
        let reports = vec![Report::instruction(reference, Outcome::NotSent(reason))];
        said.say(message, reports).await.map_err(|error| Failure::InDoubt(not_stored(&error)))
    }
}

/// In single mode a bare "taken" speaks of the one payment.
fn named(answer: Answer, reference: Reference) -> Answer {
    match answer {
        Answer::Taken => Answer::Words(vec![(reference, Word::Accepted, 0)]),
        answer => answer,
    }
}

fn decode(wire: &[u8]) -> Vec<Asked> {
    let text = String::from_utf8_lossy(wire);
    let row = |line: &str| {
        let mut fields = line.splitn(3, ' ');
        let reference = Reference::parse(fields.next()?)?;
        let amount_minor = fields.next()?.parse().ok()?;
        Some(Asked { reference, amount_minor, account: fields.next()?.to_owned() })
    };
    text.lines().filter_map(row).collect()
}
