//! Single mode: one write or question for each payment, several in flight, evidence handed over in lots.
//! Deliberately not here: reading bodies (`answers`), and when to ask again (the engine).

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use futures_util::{Stream, StreamExt};

use super::answers::{self, Found, State, Target};
use super::flush::{Flush, Told};
use super::object::Object;
use super::rail::Question;
use super::reasons;
use super::wire::{self, Line};
use super::{MobileMoney, ask_again};
use crate::contract::{
    Batch, Failure, Gate, Instruction, Outcome, Reason, ReasonClass, Reference, Report, Said, Source,
};
use crate::http::{self, Answer};

/// Calls in a row that may fail before no more are begun: the provider is not well.
const FAILED_IN_A_ROW_MAX: u32 = 20;
/// Path of the write.
const DISBURSEMENTS: [&str; 3] = ["transactions", "type", "disbursement"];

/// Why no more calls are begun, once something says so.
#[derive(Debug, Default)]
struct Halt {
    because: OnceLock<Failure>,
    /// A failure of one question that does not stop the others.
    remembered: OnceLock<Failure>,
    failed_in_a_row: AtomicU32,
}

impl Halt {
    fn stop(&self, failure: Failure) {
        // The first cause is the one that is told.
        let _ = self.because.set(failure);
    }

    fn answered(&self) {
        self.failed_in_a_row.store(0, Ordering::Relaxed);
    }

    /// Counts a call without an answer; too many in a row stop the rest with `failure`.
    fn failed(&self, reason: &Reason, failure: fn(Reason) -> Failure) {
        if self.failed_in_a_row.fetch_add(1, Ordering::Relaxed) + 1 >= FAILED_IN_A_ROW_MAX {
            self.stop(failure(reason.clone()));
        }
    }

    fn end(self) -> Result<(), Failure> {
        self.because.into_inner().or(self.remembered.into_inner()).map_or(Ok(()), Err)
    }
}

impl MobileMoney {
    pub(super) async fn submit_single(
        &self,
        batch: &Batch,
        wire: &[u8],
        gate: &dyn Gate,
        said: &mut dyn Said,
    ) -> Result<(), Failure> {
        let lines = open_lines(batch, wire).ok_or_else(foreign_wire)?;
        let halt = Halt::default();
        let work = futures_util::stream::iter(0..lines.len()).map(|n| self.send_one(&lines[n], gate, &halt));
        let work = work.buffer_unordered(self.settings.concurrency as usize);
        let origin = format!("POST /{}", DISBURSEMENTS.join("/"));
        run(work, Flush::new(said, Source::Reply, origin, Failure::InDoubt)).await?;
        halt.end()
    }

    pub(super) async fn inquire_single(&self, batch: &Batch, said: &mut dyn Said) -> Result<(), Failure> {
        let (open, halt) = (&batch.instructions, Halt::default());
        let work = futures_util::stream::iter(0..open.len()).map(|n| self.ask_one(&open[n], &halt));
        let work = work.buffer_unordered(self.settings.concurrency as usize);
        run(work, Flush::new(said, Source::Inquiry, "GET /transactions".to_owned(), ask_again)).await?;
        halt.end()
    }

    async fn send_one(&self, (line, instruction): &(Line<'_>, &Instruction), gate: &dyn Gate, halt: &Halt) -> Told {
        let reference = line.reference;
        if let Some(failure) = halt.because.get() {
            return Told::not_sent(reference, reason(failure));
        }
        let request = self.rail.post(&DISBURSEMENTS, reference.uuid(), Bytes::copy_from_slice(line.body));
        let request = match request {
            Ok(request) => request,
            Err(failure) => return stopped(reference, failure, halt),
        };
        if let Err(failure) = gate.pass(1).await {
            return stopped(reference, failure, halt);
        }
        // Another call may have been told to stop while this one waited.
        if let Some(failure) = halt.because.get() {
            return Told::not_sent(reference, reason(failure));
        }
        match http::send(request).await {
            Ok(answer) => self.taken(&answer, instruction, halt),
            // Anything weaker than a doubt would say of unmentioned payments that nothing was written.
            Err(Failure::InDoubt(reason)) => {
                halt.failed(&reason, Failure::InDoubt);
                Told::default()
            }
            Err(failure) => stopped(reference, failure, halt),
        }
    }

    /// What the answer to one write says. Silence means: in doubt.
    fn taken(&self, answer: &Answer, instruction: &Instruction, halt: &Halt) -> Told {
        let reference = instruction.reference;
        let told = |report| Told::exchange(reference, answer, report);
        let failure = match created(answer, instruction, &self.settings.identifier_key) {
            Ok(report) => {
                halt.answered();
                return told(report);
            }
            Err(failure) => failure,
        };
        match failure {
            Failure::Refused(reason) => {
                halt.answered();
                told(Some(Report::instruction(reference, Outcome::Rejected(reason))))
            }
            Failure::InDoubt(reason) => {
                halt.failed(&reason, Failure::InDoubt);
                told(None)
            }
            failure => {
                let outcome = Outcome::NotSent(reason(&failure));
                halt.stop(failure);
                told(Some(Report::instruction(reference, outcome)))
            }
        }
    }

    async fn ask_one(&self, instruction: &Instruction, halt: &Halt) -> Told {
        let mut told = Told::default();
        if halt.because.get().is_some() {
            return told;
        }
        let mut followed = self.follow(instruction, &mut told).await;
        if matches!(&followed, Ok(Some(report)) if is_bare_failure(report)) {
            // The protocol gives a failed payment no reason, and some providers call one failed that is only
            // delayed: a word that ends a payment is worth a second question.
            followed = self.follow(instruction, &mut told).await;
        }
        match followed {
            Ok(report) => {
                halt.answered();
                told.report = report;
            }
            Err(Failure::Unavailable { reason, retry_after_seconds: None }) => {
                halt.failed(&reason, ask_again);
                let _ = halt.remembered.set(ask_again(reason));
            }
            Err(failure) => halt.stop(failure),
        }
        told
    }

    /// Asks until something is known of one payment: by its name, or by what its correlation id led to.
    async fn follow(&self, instruction: &Instruction, told: &mut Told) -> Result<Option<Report>, Failure> {
        let reference = instruction.reference;
        let absent = || Some(Report::instruction(reference, Outcome::Absent));
        if let Some(name) = &instruction.provider_reference {
            let object = self.object(&["transactions", name.as_str()], reference, told).await?;
            return Ok(object.map_or_else(absent, |object| self.status(&object, instruction)));
        }
        let uuid = reference.uuid().to_string();
        let Some(object) = self.object(&["responses", uuid.as_str()], reference, told).await? else {
            return Ok(absent());
        };
        match object.link.as_deref().and_then(answers::target) {
            Some(Target::Payment(name)) => self.payment(&name, instruction, told).await,
            Some(Target::Request(state)) => self.request(&state, instruction, told).await,
            // Some providers answer with the payment itself.
            _ if object.payment_status.is_some() => Ok(self.status(&object, instruction)),
            _ => Err(ask_again(Reason::unknown("no_link", "the response leads to no payment"))),
        }
    }

    async fn request(
        &self,
        state: &str,
        instruction: &Instruction,
        told: &mut Told,
    ) -> Result<Option<Report>, Failure> {
        let object = self.known(&["requeststates", state], instruction.reference, told).await?;
        match (answers::state(object.status.as_ref()), &object.object_reference) {
            (Some(State::Done | State::Returned), Some(name)) => self.payment(name, instruction, told).await,
            (Some(State::Done | State::Returned | State::Pending), name) => {
                Ok(Some(accepted(instruction.reference, name.clone())))
            }
            (Some(State::Failed), _) => match answers::failed_request(&object) {
                Failure::InDoubt(_) => Ok(None),
                failure => Ok(Some(Report::instruction(instruction.reference, Outcome::Rejected(reason(&failure))))),
            },
            (None, _) => Ok(None),
        }
    }

    async fn payment(&self, name: &str, instruction: &Instruction, told: &mut Told) -> Result<Option<Report>, Failure> {
        let object = self.known(&["transactions", name], instruction.reference, told).await?;
        Ok(self.status(&object, instruction))
    }

    /// What the provider has just named must be there; its absence says nothing about the payment.
    async fn known(&self, path: &[&str], reference: Reference, told: &mut Told) -> Result<Object, Failure> {
        let object = self.object(path, reference, told).await?;
        object.ok_or_else(|| ask_again(Reason::unknown("dead_link", "the provider does not know what it named")))
    }

    /// One question; `None` when the provider says that it has no such thing.
    async fn object(&self, path: &[&str], reference: Reference, told: &mut Told) -> Result<Option<Object>, Failure> {
        let answer = self.rail.ask(&Question::path(path)).await?;
        told.keep(reference, &answer);
        match answers::found(&answer) {
            Found::Object(object) => Ok(Some(*object)),
            Found::Absent => Ok(None),
            Found::Failed(failure) => Err(failure),
        }
    }

    fn status(&self, object: &Object, instruction: &Instruction) -> Option<Report> {
        answers::payment(object, instruction, &self.settings.identifier_key)
    }
}

/// Runs the calls and hands over what they told, in lots and in time.
async fn run(work: impl Stream<Item = Told>, mut flush: Flush<'_>) -> Result<(), Failure> {
    let mut work = std::pin::pin!(work);
    let mut clock = tokio::time::interval(super::flush::EVERY);
    loop {
        tokio::select! {
            told = work.next() => match told {
                Some(told) => flush.add(told).await?,
                None => return flush.now().await,
            },
            _ = clock.tick() => flush.now().await?,
        }
    }
}

/// The stored bodies of instructions that are still open; `None` when the bytes are not this batch's.
fn open_lines<'a>(batch: &'a Batch, wire: &'a [u8]) -> Option<Vec<(Line<'a>, &'a Instruction)>> {
    let mut open: BTreeMap<_, _> = batch.instructions.iter().map(|item| (item.reference, item)).collect();
    let lines = wire::lines(wire)?;
    // Taken out once found, so that a body that stands there twice is still sent once.
    let found: Vec<_> =
        lines.into_iter().filter_map(|line| open.remove(&line.reference).map(|item| (line, item))).collect();
    open.is_empty().then_some(found)
}

/// What the answer to a write says about a payment that the provider has taken.
fn created(answer: &Answer, instruction: &Instruction, key: &str) -> Result<Option<Report>, Failure> {
    if !answer.status.is_success() {
        return Err(answers::not_taken(answer));
    }
    let unread = || Failure::InDoubt(Reason::unknown("unreadable", "the answer to the payment cannot be read"));
    let object = Object::read(&answer.body).ok_or_else(unread)?;
    if object.payment_status.is_some() {
        return Ok(answers::payment(&object, instruction, key));
    }
    match answers::state(object.status.as_ref()) {
        Some(State::Pending | State::Done | State::Returned) => {
            Ok(Some(accepted(instruction.reference, object.object_reference)))
        }
        Some(State::Failed) => Err(answers::failed_request(&object)),
        None => Err(unread()),
    }
}

fn is_bare_failure(report: &Report) -> bool {
    matches!(&report.outcome, Outcome::Rejected(reason) if reasons::is_unstated(reason))
}

fn accepted(reference: Reference, provider_reference: Option<String>) -> Report {
    Report { provider_reference, ..Report::instruction(reference, Outcome::Accepted) }
}

/// Bytes of another batch are a fault of ours, for which no payment is failed.
fn foreign_wire() -> Failure {
    Failure::Blocked(Reason::new(ReasonClass::Format, "wire", "the stored bytes are not this batch's"))
}

/// Nothing was written for this row, and nothing more will be begun.
fn stopped(reference: Reference, failure: Failure, halt: &Halt) -> Told {
    let told = Told::not_sent(reference, reason(&failure));
    halt.stop(failure);
    told
}

fn reason(failure: &Failure) -> Reason {
    match failure {
        Failure::Refused(reason) | Failure::Blocked(reason) | Failure::InDoubt(reason) => reason.clone(),
        Failure::Unavailable { reason, .. } => reason.clone(),
    }
}
